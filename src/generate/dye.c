#include "generate/dye.h"

#include <string.h>

bool tr_dye_wanted(const tress_generate_args *a) { return a->colour_start > 0 || a->colour_guide > 0 || a->colour_reference > 0; }

/* Colours [3, h, w] = G(colours m) / G(m) where m > 0. */
static tress_status smooth(tr_planes colours, tr_planes m, double reach)
{
    tress_status st = TRESS_OK;
    tr_planes one = { 0 }, sum = { 0 }, weight = { 0 };
    const int64_t n = (int64_t)m.h * m.w;
    TR_TRY(tr_gaussian(&weight, m, reach));
    TR_TRY(tr_planes_new(&one, 1, m.h, m.w));
    for (int c = 0; c < 3; c++) {
        float *to = tr_plane(colours, c);
        for (int64_t i = 0; i < n; i++) one.data[i] = to[i] * m.data[i];
        TR_TRY(tr_gaussian(&sum, one, reach));
        for (int64_t i = 0; i < n; i++)
            if (m.data[i] > 0 && weight.data[i] > 0) to[i] = sum.data[i] / weight.data[i];
        tr_planes_fini(&sum);
    }
done:
    tr_planes_fini(&one);
    tr_planes_fini(&sum);
    tr_planes_fini(&weight);
    return st;
}

/* Tokens whose matte and whose neighbours' is above a half. */
static tress_status choose_rows(tr_dye *d, tr_planes hair)
{
    tress_status st = TRESS_OK;
    const int h = hair.h, w = hair.w;
    void *p = NULL;
    TR_TRY(tr_alloc_array(&p, (int64_t)h * w, sizeof *d->row));
    d->row = p;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            bool inside = true;
            for (int k = 0; k < 9; k++) {
                const int v = y + k / 3 - 1, u = x + k % 3 - 1;
                if (v >= 0 && v < h && u >= 0 && u < w) inside = inside && hair.data[v * w + u] > 0.5f;
            }
            if (inside) d->row[d->n_row++] = y * w + x;
        }
done:
    return st;
}

tress_status tr_dye_make(tr_dye *out, const tr_canvas *c, const tr_canvas_rules *r)
{
    tress_status st = TRESS_OK;
    tr_dye d = { 0 };
    tr_planes unknown = { 0 };
    const int64_t n = (int64_t)c->height * c->width;
    const int side = c->height > c->width ? c->height : c->width;
    int64_t n_stroke = 0;
    TR_ASSERT(c->colour.data && c->stroke.data && c->reference.data);
    TR_TRY(tr_planes_new(&unknown, 1, c->height, c->width));
    for (int64_t i = 0; i < n; i++) {
        unknown.data[i] = c->stroke.data[i] > 0 ? 0 : 1;
        n_stroke += c->stroke.data[i] > 0;
    }
    if (n_stroke == 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "the sketch: no stroke lies on the part that is drawn, so it gives no colour"));
    TR_TRY(tr_fill(&d.picture, c->colour, unknown));
    TR_TRY(smooth(d.picture, c->hair, 12.0 * side / 1024));
    for (int k = 0; k < 3; k++) {
        float *to = tr_plane(d.picture, k);
        const float *photo = tr_plane(c->reference, k);
        for (int64_t i = 0; i < n; i++) to[i] = c->hair.data[i] * to[i] + (1 - c->hair.data[i]) * photo[i];
    }
    TR_TRY(tr_area_reduce(&d.hair, c->hair, r->cell));
    TR_TRY(choose_rows(&d, c->soft));
    *out = d;
    memset(&d, 0, sizeof d);
done:
    tr_planes_fini(&unknown);
    tr_dye_fini(&d);
    return st;
}

void tr_dye_fini(tr_dye *d)
{
    tr_planes_fini(&d->picture);
    tr_planes_fini(&d->hair);
    tr_free(d->row);
    memset(d, 0, sizeof *d);
}
