/* slopes.c - slopes and the direction of hair. */
#include "eval/eval_int.h"

#include <math.h>
#include <stdlib.h>

#define RADIUS_MAX 64

static int mirrored(int i, int n)               /* the edge repeated: 1 0 0 1 2 */
{
    i %= 2 * n;
    if (i < 0) i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

/* out = in under k[-r .. r], along x or along y; k is odd or even, which sign tells. */
static void convolve(tr_planes out, tr_planes in, const double *k, int r, double sign, bool down)
{
    for (int y = 0; y < in.h; y++)
        for (int x = 0; x < in.w; x++) {
            double sum = sign > 0 ? k[0] * (double)in.data[(int64_t)y * in.w + x] : 0;
            for (int t = 1; t <= r; t++) {
                const int64_t a = down ? (int64_t)mirrored(y - t, in.h) * in.w + x : (int64_t)y * in.w + mirrored(x - t, in.w);
                const int64_t b = down ? (int64_t)mirrored(y + t, in.h) * in.w + x : (int64_t)y * in.w + mirrored(x + t, in.w);
                sum += k[t] * ((double)in.data[b] + sign * (double)in.data[a]);
            }
            out.data[(int64_t)y * in.w + x] = (float)sum;
        }
}

tress_status eval_slopes(tr_planes *dx, tr_planes *dy, tr_planes grey, double sigma)
{
    tress_status st = TRESS_OK;
    tr_planes half = { 0 }, x = { 0 }, y = { 0 };
    double smooth[RADIUS_MAX + 1], slope[RADIUS_MAX + 1], sum = 0;
    const int r = (int)ceil(4 * sigma);
    TR_ASSERT(grey.c == 1 && sigma > 0 && r <= RADIUS_MAX);
    for (int t = 0; t <= r; t++) {
        smooth[t] = exp(-0.5 * t * t / (sigma * sigma));
        sum += t ? 2 * smooth[t] : smooth[t];
    }
    for (int t = 0; t <= r; t++) {
        smooth[t] /= sum;
        slope[t] = t / (sigma * sigma) * smooth[t];                         /* of a ramp of 1 a pixel this gives 1 */
    }
    TR_TRY(tr_planes_new(&half, 1, grey.h, grey.w));
    TR_TRY(tr_planes_new(&x, 1, grey.h, grey.w));
    TR_TRY(tr_planes_new(&y, 1, grey.h, grey.w));
    convolve(half, grey, smooth, r, 1, true);
    convolve(x, half, slope, r, -1, false);
    convolve(half, grey, smooth, r, 1, false);
    convolve(y, half, slope, r, -1, true);
    *dx = x;
    *dy = y;
    x = y = (tr_planes){ 0 };
done:
    tr_planes_fini(&half);
    tr_planes_fini(&x);
    tr_planes_fini(&y);
    return st;
}

tress_status eval_flow_make(eval_flow *out, tr_planes luma)
{
    tress_status st = TRESS_OK;
    tr_planes dx = { 0 }, dy = { 0 }, tensor = { 0 }, wide = { 0 };
    eval_flow f = { 0 };
    const int64_t n = (int64_t)luma.w * luma.h;
    TR_TRY(eval_slopes(&dx, &dy, luma, 1.2));
    TR_TRY(tr_planes_new(&tensor, 3, luma.h, luma.w));
    for (int64_t i = 0; i < n; i++) {
        tensor.data[i] = dx.data[i] * dx.data[i];
        tensor.data[n + i] = dy.data[i] * dy.data[i];
        tensor.data[2 * n + i] = dx.data[i] * dy.data[i];
    }
    TR_TRY(tr_gaussian(&wide, tensor, 3));
    TR_TRY(tr_planes_new(&f.angle, 1, luma.h, luma.w));
    TR_TRY(tr_planes_new(&f.clear, 1, luma.h, luma.w));
    for (int64_t i = 0; i < n; i++) {
        const double xx = (double)wide.data[i], yy = (double)wide.data[n + i], xy = (double)wide.data[2 * n + i];
        const double clear = hypot(xx - yy, 2 * xy) / (xx + yy + 1e-6);
        f.angle.data[i] = (float)(0.5 * atan2(2 * xy, xx - yy) + M_PI / 2);
        f.clear.data[i] = (float)(clear * clear);
    }
    *out = f;
    f = (eval_flow){ 0 };
done:
    eval_flow_fini(&f);
    tr_planes_fini(&dx);
    tr_planes_fini(&dy);
    tr_planes_fini(&tensor);
    tr_planes_fini(&wide);
    return st;
}

void eval_flow_fini(eval_flow *f)
{
    tr_planes_fini(&f->angle);
    tr_planes_fini(&f->clear);
}

void eval_shift(double *dx, double *dy, int i, double scale)
{
    const double angle = 2 * M_PI * (i + 0.5) / EVAL_SHIFTS, length = (12 + 12 * (double)(5 * i % EVAL_SHIFTS) / (EVAL_SHIFTS - 1)) * fmax(1, scale);
    *dx = length * cos(angle);
    *dy = length * sin(angle);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void eval_sort(double *v, int64_t n)
{
    if (n > 1) qsort(v, (size_t)n, sizeof *v, ascending);
}

double eval_median(double *v, int64_t n)
{
    if (n < 1) return NAN;
    eval_sort(v, n);
    return n & 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}
