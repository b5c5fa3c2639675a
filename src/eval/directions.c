/* directions.c - does the hair run along the strokes, and as in the truth? */
#include "eval/eval_int.h"

#include <math.h>

#define WINDOW 5                                /* pixels to each side that a stroke's direction is fitted to */
#define READ 3                                  /* and within which the hair's is read, where it is clearest */

/* The direction of the skeleton at (x, y) by the line fitted to it there; false at crossings and ends, which have none. */
static bool stroke_angle(double *out, const eval_view *v, int x, int y)
{
    double n = 0, sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
    for (int u = y - WINDOW; u <= y + WINDOW; u++)
        for (int t = x - WINDOW; t <= x + WINDOW; t++) {
            if (t < 0 || u < 0 || t >= v->w || u >= v->h || !(v->skeleton.data[(int64_t)u * v->w + t] > 0)) continue;
            const double a = t - x, b = u - y;
            n++;
            sx += a;
            sy += b;
            xx += a * a;
            yy += b * b;
            xy += a * b;
        }
    if (n < 5) return false;
    xx -= sx * sx / n;
    yy -= sy * sy / n;
    xy -= sx * sy / n;
    const double spread = hypot(xx - yy, 2 * xy), wide = (xx + yy + spread) / 2, narrow = (xx + yy - spread) / 2;
    if (narrow > 0.25 * wide) return false;
    *out = 0.5 * atan2(2 * xy, xx - yy);
    return true;
}

static double folded(double d) { return fabs(d - M_PI * floor(d / M_PI + 0.5)) * (180 / M_PI); }       /* degrees, 0 to 90 */

tress_status eval_directions(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    eval_flow flow = { 0 }, truth = { 0 };
    double *angle = NULL, total = 0, weight = 0;
    int64_t n = 0;
    TR_TRY(eval_flow_make(&flow, v->result.luma));
    if (v->skeleton.data) {
        TR_TRY(tr_alloc_array((void **)&angle, (int64_t)v->w * v->h, sizeof *angle));
        for (int y = 0; y < v->h; y++)
            for (int x = 0; x < v->w; x++) {
                const int64_t i = (int64_t)y * v->w + x;
                double phi;
                if (!(v->skeleton.data[i] > 0) || !(v->matte.data[i] > 0.5f) || !stroke_angle(&phi, v, x, y)) continue;
                int64_t best = i;
                for (int u = y < READ ? 0 : y - READ; u <= y + READ && u < v->h; u++)
                    for (int t = x < READ ? 0 : x - READ; t <= x + READ && t < v->w; t++) {
                        const int64_t k = (int64_t)u * v->w + t;
                        if (flow.clear.data[k] > flow.clear.data[best]) best = k;
                    }
                const double d = (double)flow.angle.data[best] - phi, c = (double)flow.clear.data[best];
                total += c * cos(2 * d);
                weight += c;
                angle[n++] = folded(d);
            }
        if (weight > 0) value[TR_METRIC_AGREEMENT] = total / weight;
        value[TR_METRIC_ANGLE] = eval_median(angle, n);
    }
    if (v->truth.luma.data) {
        TR_TRY(eval_flow_make(&truth, v->truth.luma));
        total = weight = 0;
        for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
            const double c = (double)(flow.clear.data[i] * truth.clear.data[i] * v->matte.data[i]);
            total += c * cos(2 * ((double)flow.angle.data[i] - (double)truth.angle.data[i]));
            weight += c;
        }
        if (weight > 0) value[TR_METRIC_AGREEMENT_TRUTH] = total / weight;
    }
done:
    tr_free(angle);
    eval_flow_fini(&flow);
    eval_flow_fini(&truth);
    return st;
}
