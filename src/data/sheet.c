/* sheet.c - the contact sheet of a check. */
#include "data/check.h"

#include <math.h>
#include <string.h>

#define FRAME 4                                 /* pixels */

typedef struct sheet_job {
    const tr_check *c;
    const int *chosen;
    tr_image **picture;
    int cell;
} sheet_job;

/* A file of the item at the cell's size: what cannot be shown is left out, the findings say why. */
static tress_status load(tr_image **out, const char *path)
{
    char hash[65];
    const tress_status st = tr_data_load(out, hash, path);
    return st == TRESS_E_OOM ? st : TRESS_OK;
}

static void frame(tr_planes rgb, float r, float g)
{
    const float colour[3] = { r, g, 0 };
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < rgb.h; y++)
            for (int x = 0; x < rgb.w; x++)
                if (x < FRAME || y < FRAME || x >= rgb.w - FRAME || y >= rgb.h - FRAME) tr_plane(rgb, c)[(int64_t)y * rgb.w + x] = colour[c];
}

static tress_status overlay_matte(tr_planes rgb, const tr_image *img)
{
    tress_status st = TRESS_OK;
    tr_planes m = { 0 }, small = { 0 };
    st = tr_matte_read(&m, img, "the matte");
    if (st != TRESS_OK) return st == TRESS_E_OOM ? st : TRESS_OK;
    TR_TRY(tr_resize(&small, m, rgb.w, rgb.h, TR_FILTER_BILINEAR));
    TR_TRY(tr_overlay(rgb, small, (tr_planes){ 0 }));
done:
    tr_planes_fini(&m);
    tr_planes_fini(&small);
    return st;
}

static tress_status overlay_strokes(tr_planes rgb, const tr_image *img)
{
    tress_status st = TRESS_OK;
    tr_planes s = { 0 };
    st = tr_sketch_render(&s, img, rgb.w, rgb.h, TRESS_CONTROL_LINES);
    if (st != TRESS_OK) return st == TRESS_E_OOM ? st : TRESS_OK;
    TR_TRY(tr_overlay(rgb, (tr_planes){ 0 }, (tr_planes){ 1, s.h, s.w, s.data }));   /* its three planes are one */
done:
    tr_planes_fini(&s);
    return st;
}

static tress_status draw_item(void *self, int64_t i, int i_thread)
{
    tress_status st = TRESS_OK;
    const sheet_job *j = self;
    const tr_data_item *item = &j->c->data->item[j->chosen[i]];
    const tr_data_facts *a = &j->c->facts[j->chosen[i]];
    tr_image *img[TR_DATA_KINDS] = { NULL };
    tr_planes full = { 0 }, rgb = { 0 };
    int w = j->cell, h = j->cell;
    (void)i_thread;
    for (int k = 0; k < TR_DATA_KINDS; k++) TR_TRY(load(&img[k], item->path[k]));
    if (img[TR_DATA_IMG]) {
        const double f = (double)j->cell / fmax(img[TR_DATA_IMG]->width, img[TR_DATA_IMG]->height);
        w = (int)fmax(1, round(img[TR_DATA_IMG]->width * f));
        h = (int)fmax(1, round(img[TR_DATA_IMG]->height * f));
        TR_TRY(tr_image_rgb(&full, img[TR_DATA_IMG]));
        TR_TRY(tr_resize(&rgb, full, w, h, TR_FILTER_LANCZOS));
    } else {
        TR_TRY(tr_planes_new(&rgb, 3, h, w));
    }
    if (img[TR_DATA_MATTE]) TR_TRY(overlay_matte(rgb, img[TR_DATA_MATTE]));
    if (img[TR_DATA_SKETCH]) TR_TRY(overlay_strokes(rgb, img[TR_DATA_SKETCH]));
    if (a->unfit) frame(rgb, 1, 0);
    else if (a->warned) frame(rgb, 1, 0.75f);
    TR_TRY(tr_planes_image(&j->picture[i], rgb, 8));
done:
    for (int k = 0; k < TR_DATA_KINDS; k++) tr_image_free(img[k]);
    tr_planes_fini(&full);
    tr_planes_fini(&rgb);
    return st;
}

/* Which items are shown, in their order; the number of them. */
static int choose(int chosen[TR_SHEET_ITEMS], const tr_check *c)
{
    const int n = c->data->n_item, most = n < TR_SHEET_ITEMS ? n : TR_SHEET_ITEMS;
    int n_found[2] = { 0 }, n_chosen = 0, n_other, left[3], seen = 0;
    for (int i = 0; i < n; i++) {
        n_found[0] += c->facts[i].unfit;
        n_found[1] += !c->facts[i].unfit && c->facts[i].warned;
    }
    n_other = n - n_found[0] - n_found[1];
    left[0] = n_found[0] < most ? n_found[0] : most;
    left[1] = n_found[1] < most - left[0] ? n_found[1] : most - left[0];
    left[2] = most - left[0] - left[1];
    const int n_spread = left[2];
    for (int i = 0; i < n; i++) {
        const int kind = c->facts[i].unfit ? 0 : c->facts[i].warned ? 1 : 2;
        if (kind == 2) {                        /* the k-th of n_other where floor(k n_spread / n_other) steps up */
            const int64_t k = seen++;
            if ((k + 1) * n_spread / n_other == k * n_spread / n_other) continue;
        } else if (left[kind]-- <= 0) {
            continue;
        }
        chosen[n_chosen++] = i;
    }
    return n_chosen;
}

tress_status tr_check_sheet(tr_image **out, const tr_check *c, int n_thread)
{
    tress_status st = TRESS_OK;
    int chosen[TR_SHEET_ITEMS];
    tr_image *picture[TR_SHEET_ITEMS] = { NULL };
    const char *label[TR_SHEET_ITEMS];
    tr_str text[TR_SHEET_ITEMS] = { { 0 } };
    const int n = choose(chosen, c), cell = n <= 12 ? 448 : n <= 48 ? 320 : 224;
    *out = NULL;
    if (n == 0) return TRESS_OK;
    sheet_job j = { .c = c, .chosen = chosen, .picture = picture, .cell = cell };
    TR_TRY(tr_parallel(n_thread, n, draw_item, &j));
    for (int i = 0; i < n; i++) {
        const tr_data_facts *a = &c->facts[chosen[i]];
        TR_TRY(tr_str_printf(&text[i], "%s%s", a->unfit ? "!! " : a->warned ? "! " : "", c->data->item[chosen[i]].name));
        label[i] = text[i].s;
    }
    TR_TRY(tr_sheet(out, (const tr_image *const *)picture, label, n, (int)ceil(sqrt(1.3 * n)), cell));
done:
    for (int i = 0; i < TR_SHEET_ITEMS; i++) {
        tr_image_free(picture[i]);
        tr_str_fini(&text[i]);
    }
    return st;
}
