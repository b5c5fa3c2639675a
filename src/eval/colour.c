/* colour.c - is it the colour that was asked for: in words or numbers, by the strokes, by the truth? */
#include "eval/eval_int.h"

#include <math.h>
#include <string.h>

tress_status eval_hair_colour(tr_lab *out, bool *there, const eval_view *v, tr_planes lab)
{
    tress_status st = TRESS_OK;
    double *x = NULL, m[3];
    int64_t n = 0;
    TR_TRY(tr_alloc_array((void **)&x, (int64_t)v->w * v->h, sizeof *x));
    for (int c = 0; c < 3; c++) {
        n = 0;
        for (int64_t i = 0; i < (int64_t)v->w * v->h; i++)
            if (v->matte.data[i] > 0.9f) x[n++] = (double)tr_plane(lab, c)[i];
        m[c] = eval_median(x, n);
    }
    *there = n > 20;
    if (*there) *out = (tr_lab){ m[0], m[1], m[2] };
done:
    tr_free(x);
    return st;
}

static double clamped(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

static void asked(double *value, tr_lab hair, const tr_wanted *w)
{
    const tr_lab near = { clamped(hair.l, w->low.l, w->high.l), clamped(hair.a, w->low.a, w->high.a), clamped(hair.b, w->low.b, w->high.b) };
    value[TR_METRIC_COLOUR] = tr_de00(hair, near);
    if (hypot(hair.a, hair.b) < 2 || hypot(near.a, near.b) < 2) return;      /* greys have no hue */
    const double d = (atan2(hair.b, hair.a) - atan2(near.b, near.a)) * (180 / M_PI);
    value[TR_METRIC_HUE] = fabs(d - 360 * floor(d / 360 + 0.5));
}

/* ---- the strokes ----------------------------------------------------------------------------------------- */

#define COLOURS_MAX 256
#define PIXELS_MIN 12                           /* a colour on fewer is the rim of a stroke */

typedef struct stroke_colour { float rgb[3]; int n; int64_t n_hair; tr_lab sum; } stroke_colour;

static tress_status strokewise(double *out, const eval_view *v)
{
    tress_status st = TRESS_OK;
    int16_t *index = NULL;
    stroke_colour *all = NULL;
    double de[COLOURS_MAX];
    int n = 0, n_de = 0;
    const int64_t n_pixel = (int64_t)v->w * v->h;
    const int reach = (int)ceil(fmax(2, 4 * v->scale));
    TR_TRY(tr_alloc_array((void **)&index, n_pixel, sizeof *index));
    TR_TRY(tr_alloc_array((void **)&all, COLOURS_MAX, sizeof *all));
    for (int64_t i = 0; i < n_pixel; i++) {
        index[i] = -1;
        if (!(v->strokes.data[i] > 0)) continue;
        const float rgb[3] = { v->stroke_rgb.data[i], v->stroke_rgb.data[n_pixel + i], v->stroke_rgb.data[2 * n_pixel + i] };
        int k = 0;
        while (k < n && memcmp(all[k].rgb, rgb, sizeof rgb) != 0) k++;
        if (k == n) {
            if (n == COLOURS_MAX) continue;
            memcpy(all[n++].rgb, rgb, sizeof rgb);
        }
        all[k].n++;
        index[i] = (int16_t)k;
    }
    for (int y = 0; y < v->h; y++)
        for (int x = 0; x < v->w; x++) {        /* each hair pixel counts for the stroke nearest to it */
            const int64_t i = (int64_t)y * v->w + x;
            int best = -1, nearest = reach * reach + 1;
            if (!(v->matte.data[i] > 0.5f)) continue;
            for (int u = -reach; u <= reach; u++)
                for (int t = -reach; t <= reach; t++) {
                    if (x + t < 0 || y + u < 0 || x + t >= v->w || y + u >= v->h || t * t + u * u >= nearest) continue;
                    const int k = index[i + (int64_t)u * v->w + t];
                    if (k >= 0 && all[k].n >= PIXELS_MIN) best = k, nearest = t * t + u * u;
                }
            if (best < 0) continue;
            const tr_lab c = eval_lab(v->result.lab, i);
            all[best].sum.l += c.l;
            all[best].sum.a += c.a;
            all[best].sum.b += c.b;
            all[best].n_hair++;
        }
    for (int k = 0; k < n; k++) {
        const double m = (double)all[k].n_hair, rgb[3] = { (double)all[k].rgb[0], (double)all[k].rgb[1], (double)all[k].rgb[2] };
        if (m > 0) de[n_de++] = tr_de00((tr_lab){ all[k].sum.l / m, all[k].sum.a / m, all[k].sum.b / m }, tr_lab_of(rgb));
    }
    *out = eval_median(de, n_de);
done:
    tr_free(index);
    tr_free(all);
    return st;
}

tress_status eval_colour(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    tr_lab hair, its;
    bool there = false, truth = false;
    TR_TRY(eval_hair_colour(&hair, &there, v, v->result.lab));
    if (there && v->in->colour) asked(value, hair, v->in->colour);
    if (v->strokes.data) TR_TRY(strokewise(&value[TR_METRIC_COLOUR_STROKES], v));
    if (v->truth.lab.data) TR_TRY(eval_hair_colour(&its, &truth, v, v->truth.lab));
    if (there && truth) value[TR_METRIC_COLOUR_TRUTH] = tr_de00(hair, its);
done:
    return st;
}
