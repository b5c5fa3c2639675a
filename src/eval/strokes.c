/* strokes.c - is an edge drawn where a stroke was? Hair is full of edges, so that the plain share misleads: it is set against what the same strokes
 * would find elsewhere. */
#include "eval/eval_int.h"

#include <math.h>

static double share_near(const eval_view *v, tr_planes far, double reach, double dx, double dy, int64_t *n_seen)
{
    int64_t n = 0, near = 0;
    for (int y = 0; y < v->h; y++)
        for (int x = 0; x < v->w; x++) {
            if (!(v->skeleton.data[(int64_t)y * v->w + x] > 0)) continue;
            const double u = nearbyint(x + dx), t = nearbyint(y + dy);
            if (!(u >= 0 && u < v->w && t >= 0 && t < v->h)) continue;
            n++;
            near += far.data[(int64_t)t * v->w + (int64_t)u] <= reach;
        }
    *n_seen = n;
    return n ? (double)near / (double)n : 0;
}

tress_status eval_strokes(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    tr_planes grey = { 0 }, edges = { 0 }, to_edge = { 0 }, to_stroke = { 0 };
    const double reach = fmax(1.5, 3 * v->scale), band = 8 * fmax(1, v->scale);
    int64_t n = 0, n_band = 0, n_near = 0;
    double chance = 0;
    if (!v->skeleton.data) return TRESS_OK;
    TR_TRY(tr_planes_new(&grey, 1, v->h, v->w));
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) grey.data[i] = v->result.luma.data[i] / 255;
    TR_TRY(tr_canny(&edges, grey, 1.0, 60, 120));
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++)
        if (!(v->matte.data[i] > 0)) edges.data[i] = 0;
    TR_TRY(tr_distance(&to_edge, edges));
    TR_TRY(tr_distance(&to_stroke, v->skeleton));
    const double recall = share_near(v, to_edge, reach, 0, 0, &n);
    if (n == 0) goto done;
    for (int k = 0; k < EVAL_SHIFTS; k++) {
        double dx, dy;
        int64_t n_moved;
        eval_shift(&dx, &dy, k, v->scale);
        chance += share_near(v, to_edge, reach, dx, dy, &n_moved) / EVAL_SHIFTS;
    }
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        if (!(edges.data[i] > 0) || (double)to_stroke.data[i] > band) continue;
        n_band++;
        n_near += (double)to_stroke.data[i] <= reach;
    }
    value[TR_METRIC_RECALL] = recall;
    value[TR_METRIC_LIFT] = chance < 1 ? (recall - chance) / (1 - chance) : 0;          /* edges everywhere tell nothing */
    if (n_band) value[TR_METRIC_PRECISION] = (double)n_near / (double)n_band;
done:
    tr_planes_fini(&grey);
    tr_planes_fini(&edges);
    tr_planes_fini(&to_edge);
    tr_planes_fini(&to_stroke);
    return st;
}
