/* composite.c - the drawn picture back into the photo. reference: hair editing notes, 3.4. */
#include "image/composite.h"

#include "image/matte_int.h"

#include <math.h>

double tr_edit_radius(int width, int height, int grow)
{
    return grow >= 0 ? grow : ceil(24.0 * (width > height ? width : height) / 1024);
}

tress_status tr_composite_alpha(tr_planes *out, tr_planes matte, tr_planes old, double r)
{
    tress_status st = TRESS_OK;
    tr_planes d = { 0 };
    if (!(r >= 0)) TR_TRY(tr_fail(TRESS_E_ARG, "a composite that reaches %g pixels round the matte; expected 0 or more", r));
    TR_TRY(tr_union_distance(&d, matte, old));
    const int64_t n = (int64_t)d.w * d.h;
    const float none = (float)(d.w + d.h);
    for (int64_t i = 0; i < n; i++) {
        const double v = d.data[i];
        const double t = v <= 0 ? 1 : d.data[i] >= none || v >= r ? 0 : 1 - v / r;
        d.data[i] = (float)(t * t * (3 - 2 * t));
    }
    *out = d;
    d = (tr_planes){ 0 };
done:
    tr_planes_fini(&d);
    return st;
}

/* A stretch of `side` round lo..hi, moved and cut to lie in 0..n. */
static void stretch(int *begin, int *end, int lo, int hi, int side, int n)
{
    if (side > n) side = n;
    int at = (int)floor((lo + hi - side) / 2.0);
    if (at < 0) at = 0;
    if (at > n - side) at = n - side;
    *begin = at;
    *end = at + side;
}

void tr_edit_box(int box[4], tr_planes region)
{
    int x0 = region.w, y0 = region.h, x1 = 0, y1 = 0;
    for (int y = 0; y < region.h; y++)
        for (int x = 0; x < region.w; x++) {
            if (!(region.data[(int64_t)y * region.w + x] > 0)) continue;
            if (x < x0) x0 = x;
            if (x >= x1) x1 = x + 1;
            if (y < y0) y0 = y;
            if (y >= y1) y1 = y + 1;
        }
    if (x1 <= x0) {
        x0 = y0 = 0;
        x1 = region.w;
        y1 = region.h;
    }
    const int longer = x1 - x0 > y1 - y0 ? x1 - x0 : y1 - y0;
    const int side = (int)ceil(longer * 1.6 - 1e-9);
    stretch(&box[0], &box[2], x0, x1, side, region.w);
    stretch(&box[1], &box[3], y0, y1, side, region.h);
}

#define ROWS 16

typedef struct job {
    tr_image *img;                              /* the photo's copy, changed in place */
    tr_planes drawn, alpha;
    const int *box;
} job;

static tress_status paste(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    const tr_image *img = j->img;
    const int n_channel = img->channels, n_colour = n_channel >= 3 ? 3 : 1;
    const float top = img->depth == 8 ? 255.0f : 65535.0f;
    const int y0 = j->box[1] + (int)i * ROWS, y1 = y0 + ROWS < j->box[3] ? y0 + ROWS : j->box[3];
    (void)i_thread;
    for (int y = y0; y < y1; y++)
        for (int x = j->box[0]; x < j->box[2]; x++) {
            const float a = j->alpha.data[(int64_t)y * img->width + x];
            const int64_t from = (int64_t)(y - j->box[1]) * j->drawn.w + (x - j->box[0]), to = ((int64_t)y * img->width + x) * n_channel;
            if (!(a > 0)) continue;
            float v[3];
            for (int c = 0; c < 3; c++) {
                v[c] = tr_plane(j->drawn, c)[from];
                if (!isfinite(v[c])) return tr_fail(TRESS_E_NONFINITE, "the drawn picture is not finite at pixel %d, %d", x - j->box[0], y - j->box[1]);
                v[c] = v[c] < 0 ? 0 : v[c] > 1 ? 1 : v[c];
            }
            if (n_colour == 1) v[0] = 0.299f * v[0] + 0.587f * v[1] + 0.114f * v[2];
            for (int c = 0; c < n_colour; c++) {
                if (img->depth == 8) {
                    uint8_t *p = (uint8_t *)img->data + to + c;
                    *p = (uint8_t)tr_quantise(a * v[c] + (1 - a) * ((float)*p / top), top);
                } else {
                    uint16_t *p = (uint16_t *)img->data + to + c;
                    *p = (uint16_t)tr_quantise(a * v[c] + (1 - a) * ((float)*p / top), top);
                }
            }
        }
    return TRESS_OK;
}

tress_status tr_composite(tr_image **out, const tr_image *photo, tr_planes drawn, const int box[4], tr_planes alpha)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    if (alpha.c != 1 || alpha.w != photo->width || alpha.h != photo->height)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "the composite's alpha has %d x %d pixels, the photo %d x %d", alpha.w, alpha.h, photo->width, photo->height));
    if (box[0] < 0 || box[1] < 0 || box[0] >= box[2] || box[1] >= box[3] || box[2] > photo->width || box[3] > photo->height)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "the box %d %d %d %d is not inside the photo of %d x %d", box[0], box[1], box[2], box[3], photo->width, photo->height));
    if (drawn.c != 3 || drawn.w != box[2] - box[0] || drawn.h != box[3] - box[1])
        TR_TRY(tr_fail(TRESS_E_SHAPE, "the drawn picture has %d x %d pixels and %d planes, its place in the photo %d x %d", drawn.w, drawn.h, drawn.c,
                       box[2] - box[0], box[3] - box[1]));
    TR_TRY(tr_image_copy(&img, photo));
    job j = { .img = img, .drawn = drawn, .alpha = alpha, .box = box };
    TR_TRY(tr_parallel(tr_thread_count(), (box[3] - box[1] + ROWS - 1) / ROWS, paste, &j));
    *out = img;
    img = NULL;
done:
    tr_image_free(img);
    return st;
}
