/* control.c - the sketch in the frame. It is first drawn at the scaled photo's size as generation draws it, where strokes keep their
 * width; moving and mirroring by whole pixels then changes none of them, and only turning needs new ones. */
#include "data/prepare_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- moved ----------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The median of plane c's border: the canvas of a raw sketch. */
static tress_status canvas_of(float *out, tr_planes p, int c)
{
    tress_status st = TRESS_OK;
    float *v = NULL;
    int64_t n = 0;
    TR_TRY(tr_alloc_array((void **)&v, 2 * ((int64_t)p.w + p.h), sizeof *v));
    for (int y = 0; y < p.h; y++)
        for (int x = 0; x < p.w; x += y == 0 || y == p.h - 1 || p.w == 1 ? 1 : p.w - 1) v[n++] = tr_plane(p, c)[(int64_t)y * p.w + x];
    qsort(v, (size_t)n, sizeof *v, by_value);
    *out = v[n / 2];
done:
    tr_free(v);
    return st;
}

/* from [3, scaled] into the frame, pixel by pixel; ground[3] outside. */
static tress_status move(tr_planes *out, const tr_frame *f, tr_planes from, const float ground[3])
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    TR_TRY(tr_planes_new(&p, 3, f->height, f->width));
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < f->height; y++)
            for (int x = 0; x < f->width; x++) {
                const int u = (f->flip ? f->width - 1 - x : x) + f->x, v = y + f->y;
                const bool in = u >= 0 && u < from.w && v >= 0 && v < from.h;
                tr_plane(p, c)[(int64_t)y * p.w + x] = in ? tr_plane(from, c)[(int64_t)v * from.w + u] : ground[c];
            }
    *out = p;
done:
    return st;
}

/* ---- turned ---------------------------------------------------------------------------------------------- */

#define FINER 2                                 /* strokes are turned at twice the size and then drawn at the frame's: no gaps, no fat */
#define SEEN 0.375f                             /* half would part pixels that touch by a corner: between them the value is just a half */

static tress_status turn_strokes(tr_planes *out, const tr_frame *f, tr_planes from, tress_control_image kind)
{
    tress_status st = TRESS_OK;
    tr_planes mask = { 0 }, mask_turned = { 0 }, rgb_turned = { 0 };
    tr_image *img = NULL;
    const int64_t n_from = (int64_t)from.w * from.h, n = (int64_t)FINER * f->width * FINER * f->height;
    int64_t n_set = 0;
    tr_affine m = tr_frame_map(f, from.w, from.h);
    m.a /= FINER, m.b /= FINER, m.d /= FINER, m.e /= FINER;
    TR_TRY(tr_planes_new(&mask, 1, from.h, from.w));
    for (int64_t i = 0; i < n_from; i++)
        mask.data[i] = tr_plane(from, 0)[i] > 0 || tr_plane(from, 1)[i] > 0 || tr_plane(from, 2)[i] > 0;
    TR_TRY(tr_affine_apply(&mask_turned, mask, m, FINER * f->width, FINER * f->height, TR_FILTER_BILINEAR, 0));
    if (kind == TRESS_CONTROL_COLOUR) TR_TRY(tr_affine_apply(&rgb_turned, from, m, FINER * f->width, FINER * f->height, TR_FILTER_BILINEAR, 0));
    TR_TRY(tr_image_new(&img, FINER * f->width, FINER * f->height, 4, 8));
    uint8_t *to = img->data;
    for (int64_t i = 0; i < n; i++) {
        const float w = mask_turned.data[i];
        if (!(w >= SEEN)) continue;
        n_set++;
        for (int c = 0; c < 3; c++) to[4 * i + c] = rgb_turned.data ? (uint8_t)tr_quantise(tr_plane(rgb_turned, c)[i] / w, 255) : 255;
        to[4 * i + 3] = 255;
    }
    if (n_set == 0) TR_TRY(tr_planes_new(out, 3, f->height, f->width));          /* all strokes were moved out of the frame */
    else {
        if (n_set == n) to[3] = 0;              /* strokes are told by alpha only where some of it is clear */
        TR_TRY(tr_sketch_render(out, img, f->width, f->height, kind == TRESS_CONTROL_COLOUR ? kind : TRESS_CONTROL_LINES));
    }
done:
    tr_planes_fini(&mask);
    tr_planes_fini(&mask_turned);
    tr_planes_fini(&rgb_turned);
    tr_image_free(img);
    return st;
}

/* A raw sketch is a picture like the photo. */
static tress_status turn_raw(tr_planes *out, const tr_frame *f, tr_planes from, const float ground[3])
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 }, one = { 0 }, turned = { 0 };
    const tr_affine m = tr_frame_map(f, from.w, from.h);
    TR_TRY(tr_planes_new(&p, 3, f->height, f->width));
    TR_TRY(tr_planes_new(&one, 1, from.h, from.w));
    for (int c = 0; c < 3; c++) {
        memcpy(one.data, tr_plane(from, c), sizeof(float) * (size_t)from.w * (size_t)from.h);
        TR_TRY(tr_affine_apply(&turned, one, m, f->width, f->height, TR_FILTER_BICUBIC, ground[c]));
        memcpy(tr_plane(p, c), turned.data, sizeof(float) * (size_t)f->width * (size_t)f->height);
        tr_planes_fini(&turned);
    }
    *out = p;
    p = (tr_planes){ 0 };
done:
    tr_planes_fini(&p);
    tr_planes_fini(&one);
    tr_planes_fini(&turned);
    return st;
}

/* ---- widened --------------------------------------------------------------------------------------------- */

typedef struct offset { int dx, dy; double far; } offset;

static int by_distance(const void *a, const void *b)
{
    const offset *x = a, *y = b;
    if (x->far != y->far) return x->far < y->far ? -1 : 1;
    return x->dy != y->dy ? x->dy - y->dy : x->dx - y->dx;
}

#define GROW_MAX 160                            /* pixels: 16 at 1024, at the largest resolution, and some */

/* Strokes `grow` pixels wider, in the colour of the nearest: a line of width 1 becomes one of width 1 + grow. Thinner would cut those
 * of one pixel. */
static tress_status widen(tr_planes p, int by)
{
    tress_status st = TRESS_OK;
    tr_planes stroke = { 0 }, d = { 0 };
    offset *o = NULL;
    int n = 0;
    const int64_t n_pixel = (int64_t)p.w * p.h;
    const double c = by % 2 / 2.0, r = (by + 1) / 2.0;
    TR_ASSERT(by > 0 && by <= GROW_MAX);
    TR_TRY(tr_alloc_array((void **)&o, ((int64_t)by + 1) * (by + 1), sizeof *o));
    TR_TRY(tr_planes_new(&stroke, 1, p.h, p.w));
    for (int dy = -(by / 2); dy <= by - by / 2; dy++)
        for (int dx = -(by / 2); dx <= by - by / 2; dx++)
            if ((dx - c) * (dx - c) + (dy - c) * (dy - c) <= r * r) o[n++] = (offset){ dx, dy, hypot(dx - c, dy - c) };
    qsort(o, (size_t)n, sizeof *o, by_distance);
    for (int64_t i = 0; i < n_pixel; i++) stroke.data[i] = tr_plane(p, 0)[i] > 0 || tr_plane(p, 1)[i] > 0 || tr_plane(p, 2)[i] > 0;
    TR_TRY(tr_distance(&d, stroke));
    for (int y = 0; y < p.h; y++)
        for (int x = 0; x < p.w; x++) {
            const int64_t i = (int64_t)y * p.w + x;
            if (d.data[i] == 0 || (double)d.data[i] > r + 1) continue;
            for (int k = 0; k < n; k++) {
                const int u = x - o[k].dx, v = y - o[k].dy;
                if (u < 0 || u >= p.w || v < 0 || v >= p.h || !(stroke.data[(int64_t)v * p.w + u] > 0)) continue;
                for (int ch = 0; ch < 3; ch++) tr_plane(p, ch)[i] = tr_plane(p, ch)[(int64_t)v * p.w + u];
                break;
            }
        }
done:
    tr_free(o);
    tr_planes_fini(&stroke);
    tr_planes_fini(&d);
    return st;
}

tress_status tr_frame_control(tr_planes *out, const tr_frame *f, const tr_image *sketch, tress_control_image kind, int grow)
{
    tress_status st = TRESS_OK;
    tr_planes whole = { 0 }, p = { 0 };
    float ground[3] = { 0, 0, 0 };
    TR_TRY(tr_sketch_render(&whole, sketch, f->scaled_w, f->scaled_h, kind));
    if (kind == TRESS_CONTROL_RAW)
        for (int c = 0; c < 3; c++) TR_TRY(canvas_of(&ground[c], whole, c));
    if (f->turn == 0) TR_TRY(move(&p, f, whole, ground));
    else if (kind == TRESS_CONTROL_RAW) TR_TRY(turn_raw(&p, f, whole, ground));
    else TR_TRY(turn_strokes(&p, f, whole, kind));
    if (grow > 0) TR_TRY(widen(p, grow));
    *out = p;
    p = (tr_planes){ 0 };
done:
    tr_planes_fini(&whole);
    tr_planes_fini(&p);
    return st;
}
