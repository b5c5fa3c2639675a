/* relief.c - deeper creases: a lock that lies lower than what is round it is darker, one that stands out brighter.
 *
 * The light grids know shade of some eight units; between single locks it is finer, and that is what one sees hair by. So each lock's
 * tone moves away from the mean of its neighbourhood: an unsharp mask (Luft, Colditz and Deussen 2006 lay it over the depth instead) on a
 * logarithmic scale, by the same share in dark hair and fair. */
#include "synth/paint.h"

#define AROUND 5.0f                             /* canvas units: half a side of the boxes that a neighbourhood is averaged over */
#define OWN 1.0f                                /* the same of the place itself: a lock, not a hair */
#define LEAST .002f                             /* linear tone below which nothing is told apart */

/* Sums over 2 r + 1 places along rows, then along columns; what lies outside counts as nothing. */
static void box(float *x, float *line, int n, int r)
{
    for (int pass = 0; pass < 2; pass++) {
        const int64_t step = pass == 0 ? 1 : n, next = pass == 0 ? n : 1;
        for (int j = 0; j < n; j++) {
            float *p = x + j * next;
            double sum = 0;
            for (int i = 0; i < n; i++) line[i] = p[i * step];
            for (int i = 0; i < r && i < n; i++) sum += (double)line[i];
            for (int i = 0; i < n; i++) {
                if (i + r < n) sum += (double)line[i + r];
                if (i > r) sum -= (double)line[i - r - 1];
                p[i * step] = (float)sum;
            }
        }
    }
}

/* Tone times share becomes tone, averaged over hair alone: two boxes, which make a tent. share is spoilt. */
static void average(float *tone, float *share, float *line, int n, float reach)
{
    const int r = (int)(reach * (float)n / 512 + .5f);
    for (int k = 0; k < 2; k++) {
        box(tone, line, n, r);
        box(share, line, n, r);
    }
    for (int64_t i = 0; i < (int64_t)n * n; i++) tone[i] = share[i] > 1e-4f ? tone[i] / share[i] : 0;
}

tress_status tr_paint_relief(tr_plate *c, float amount)
{
    tress_status st = TRESS_OK;
    float *wide = NULL, *near = NULL, *share = NULL, *line = NULL;
    const int n = c->n;
    const int64_t count = (int64_t)n * n;
    TR_TRY(tr_alloc_array((void **)&wide, count, sizeof *wide));
    TR_TRY(tr_alloc_array((void **)&near, count, sizeof *near));
    TR_TRY(tr_alloc_array((void **)&share, count, sizeof *share));
    TR_TRY(tr_alloc_array((void **)&line, n, sizeof *line));
    for (int64_t i = 0; i < count; i++) {
        share[i] = 1 - c->through[i];
        if (share[i] > 0) wide[i] = near[i] = share[i] * logf(f_clamp(v_dot(c->colour[i], v3(.30f, .59f, .11f)), 0, 8) + LEAST);
    }
    average(near, share, line, n, OWN);
    for (int64_t i = 0; i < count; i++) share[i] = 1 - c->through[i];
    average(wide, share, line, n, AROUND);
    for (int64_t i = 0; i < count; i++)
        if (c->through[i] < 1) c->colour[i] = v_scale(c->colour[i], expf(amount * (1 - c->through[i]) * f_clamp(near[i] - wide[i], -1, .7f)));
done:
    tr_free(wide);
    tr_free(near);
    tr_free(share);
    tr_free(line);
    return st;
}
