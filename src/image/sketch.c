/* sketch.c - strokes told from their canvas, and the control pictures made of them. reference: hair editing notes, 3.1 and 3.3. */
#include "image/resize.h"
#include "image/sketch_int.h"

#include <math.h>
#include <stdlib.h>

/* 8-bit steps as floats; the thousandth of a step keeps equal values from passing for larger ones. */
#define STEP(n, side) (((float)(n) + (side) * 0.001f) / 255.0f)

void tr_strokes_fini(tr_strokes *s)
{
    tr_planes_fini(&s->mask);
    tr_planes_fini(&s->rgb);
    *s = (tr_strokes){ 0 };
}

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Median of the outermost pixels of a plane. */
static tress_status border_median(float *out, const float *v, int w, int h)
{
    tress_status st = TRESS_OK;
    float *all = NULL;
    int64_t n = 0;
    TR_TRY(tr_alloc_array((void **)&all, 2 * ((int64_t)w + h), sizeof *all));
    for (int x = 0; x < w; x++) {
        all[n++] = v[x];
        if (h > 1) all[n++] = v[(int64_t)(h - 1) * w + x];
    }
    for (int y = 1; y < h - 1; y++) {
        all[n++] = v[(int64_t)y * w];
        if (w > 1) all[n++] = v[(int64_t)y * w + w - 1];
    }
    qsort(all, (size_t)n, sizeof *all, compare);
    *out = all[n / 2];
done:
    tr_free(all);
    return st;
}

tress_status tr_strokes_read(tr_strokes *out, const tr_image *sketch)
{
    tress_status st = TRESS_OK;
    tr_strokes s = { 0 };
    tr_planes alpha = { 0 }, grey = { 0 };
    const int64_t n = (int64_t)sketch->width * sketch->height;
    int64_t n_stroke = 0;
    bool clear = false;                         /* some pixel lets the ground through */
    float luma = 0, canvas[3];
    TR_TRY(tr_image_rgb(&s.rgb, sketch));
    TR_TRY(tr_image_alpha(&alpha, sketch));
    TR_TRY(tr_planes_new(&s.mask, 1, sketch->height, sketch->width));
    for (int64_t i = 0; i < n && !clear; i++) clear = alpha.data[i] < 1;
    if (clear) {
        for (int64_t i = 0; i < n; i++) s.mask.data[i] = alpha.data[i] > STEP(10, 1);
    } else {
        TR_TRY(tr_image_grey(&grey, sketch));
        TR_TRY(border_median(&luma, grey.data, grey.w, grey.h));
        s.light = luma > STEP(127, 1);
        if (s.light) {                          /* paper that is not quite white moves the threshold down with it */
            const float below = fminf(STEP(240, -1), luma - STEP(15, 1));
            for (int64_t i = 0; i < n; i++) s.mask.data[i] = grey.data[i] < below;
        } else {
            for (int c = 0; c < 3; c++) TR_TRY(border_median(&canvas[c], tr_plane(s.rgb, c), s.rgb.w, s.rgb.h));
            for (int64_t i = 0; i < n; i++) {
                float most = 0;
                for (int c = 0; c < 3; c++) most = fmaxf(most, fabsf(tr_plane(s.rgb, c)[i] - canvas[c]));
                s.mask.data[i] = most > STEP(10, 1);
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        n_stroke += s.mask.data[i] > 0;
        for (int c = 0; c < 3; c++) tr_plane(s.rgb, c)[i] *= s.mask.data[i];
    }
    s.coverage = (double)n_stroke / (double)n;
    *out = s;
    s = (tr_strokes){ 0 };
done:
    tr_strokes_fini(&s);
    tr_planes_fini(&alpha);
    tr_planes_fini(&grey);
    return st;
}

/* One plane three times. */
static tress_status triple(tr_planes *out, tr_planes one)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    const int64_t n = (int64_t)one.w * one.h;
    TR_TRY(tr_planes_new(&p, 3, one.h, one.w));
    for (int c = 0; c < 3; c++)
        for (int64_t i = 0; i < n; i++) tr_plane(p, c)[i] = one.data[i];
    *out = p;
done:
    return st;
}

/* Stroke colours on the mask at working size: the mean colour of the strokes under each pixel. */
static tress_status recolour(tr_planes *out, const tr_strokes *s, tr_planes mask)
{
    tress_status st = TRESS_OK;
    tr_planes rgb = { 0 }, weight = { 0 };
    const int64_t n = (int64_t)mask.w * mask.h;
    const tr_filter filter = mask.w < s->mask.w ? TR_FILTER_BOX : TR_FILTER_BILINEAR;
    TR_TRY(tr_resize(&rgb, s->rgb, mask.w, mask.h, filter));
    TR_TRY(tr_resize(&weight, s->mask, mask.w, mask.h, filter));
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            float *v = tr_plane(rgb, c) + i;
            *v = mask.data[i] > 0 && weight.data[i] > 0 ? fminf(1.0f, *v / weight.data[i]) : 0.0f;
        }
    *out = rgb;
    rgb = (tr_planes){ 0 };
done:
    tr_planes_fini(&rgb);
    tr_planes_fini(&weight);
    return st;
}

static tress_status render_canny(tr_planes *out, const tr_image *sketch, int width, int height)
{
    tress_status st = TRESS_OK;
    tr_planes grey = { 0 }, alpha = { 0 }, sized = { 0 }, edges = { 0 };
    const int64_t n = (int64_t)sketch->width * sketch->height;
    bool clear = false;
    TR_TRY(tr_image_grey(&grey, sketch));
    TR_TRY(tr_image_alpha(&alpha, sketch));
    for (int64_t i = 0; i < n && !clear; i++) clear = alpha.data[i] < 1;
    /* On a clear canvas the drawing is its coverage: colours under alpha 0 mean nothing. */
    TR_TRY(tr_resize(&sized, clear ? alpha : grey, width, height, TR_FILTER_LANCZOS));
    TR_TRY(tr_canny(&edges, sized, 1.4, 100, 200));
    TR_TRY(triple(out, edges));
done:
    tr_planes_fini(&grey);
    tr_planes_fini(&alpha);
    tr_planes_fini(&sized);
    tr_planes_fini(&edges);
    return st;
}

tress_status tr_sketch_render(tr_planes *out, const tr_image *sketch, int width, int height, tress_control_image kind)
{
    tress_status st = TRESS_OK;
    tr_strokes s = { 0 };
    tr_planes mask = { 0 }, rgb = { 0 };
    if (width < 1 || height < 1) TR_TRY(tr_fail(TRESS_E_ARG, "a control picture of %d x %d", width, height));
    if (kind == TRESS_CONTROL_RAW) {
        TR_TRY(tr_image_rgb(&rgb, sketch));
        TR_TRY(tr_resize(out, rgb, width, height, TR_FILTER_LANCZOS));
        goto done;
    }
    TR_TRY(tr_strokes_read(&s, sketch));
    if (s.coverage == 0)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "no stroke in the sketch of %d x %d: every pixel is like its border", sketch->width, sketch->height));
    if (kind == TRESS_CONTROL_CANNY) {
        TR_TRY(render_canny(out, sketch, width, height));
        goto done;
    }
    TR_TRY(tr_mask_resize(&mask, s.mask, width, height));
    if (kind == TRESS_CONTROL_COLOUR) TR_TRY(recolour(out, &s, mask));
    else TR_TRY(triple(out, mask));
done:
    tr_strokes_fini(&s);
    tr_planes_fini(&mask);
    tr_planes_fini(&rgb);
    return st;
}

void tr_control_range_apply(tr_planes p, tress_control_range range)
{
    const int64_t n = (int64_t)p.c * p.h * p.w;
    for (int64_t i = 0; i < n; i++) p.data[i] = range == TRESS_RANGE_VENDOR ? 127.5f * p.data[i] + 0.5f : 2.0f * p.data[i] - 1.0f;
}
