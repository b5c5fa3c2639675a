#include "slope.h"

#include <math.h>

typedef struct sizes { int64_t n, d; const double *w; } sizes;

static void forward(void *self, double *y, const double *x)
{
    const sizes *k = self;
    for (int64_t i = 0; i < k->n; i++) {
        double sq = 0;
        for (int64_t j = 0; j < k->d; j++) sq += x[i * k->d + j] * x[i * k->d + j] / (double)k->d;
        for (int64_t j = 0; j < k->d; j++) y[i * k->d + j] = x[i * k->d + j] / sqrt(sq + (double)1e-6f) * k->w[j];
    }
}

static void ref_rms_norm_back(double *want, double *mag, const double *dy, const double *x, const sizes *k)
{
    const int64_t d = k->d;
    for (int64_t i = 0; i < k->n; i++) {
        const double *xi = x + i * d, *dyi = dy + i * d;
        double sq = 0, gx = 0, terms = 0;
        for (int64_t j = 0; j < d; j++) {
            sq += xi[j] * xi[j] / (double)d;
            gx += dyi[j] * k->w[j] * xi[j] / (double)d;
            terms += fabs(dyi[j] * k->w[j] * xi[j]) / (double)d;
        }
        const double rms = 1 / sqrt(sq + (double)1e-6f);
        for (int64_t j = 0; j < d; j++) {
            want[i * d + j] = rms * (dyi[j] * k->w[j] - xi[j] * rms * rms * gx);
            mag[i * d + j] = rms * (fabs(dyi[j] * k->w[j]) + fabs(xi[j]) * rms * rms * terms);
        }
    }
}

CHECK_OP(rms_norm_back)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3, TR_F32 };
    static const struct {
        int rank;
        int64_t n[4];
    } size[] = { { 2, { 1, 3 } }, { 2, { 3, 65 } }, { 3, { 5, 7, 9 } }, { 4, { 2, 77, 3, 64 } }, { 2, { 9, 4096 } } };
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int in_place = 0; in_place < 2; in_place++) {
                const int last = size[k].rank - 1;
                tr_dims d = { .rank = size[k].rank }, wide, wider;
                for (int a = 0; a <= last; a++) d.n[a] = size[k].n[a];
                wide = d;
                wide.n[last - 1] += 2;                          /* as heads of a fused product lie */
                wider = wide;
                wider.n[last - 1] += 3;
                tr_tensor x = check_input(c, f, wide), dy = check_input(c, k % 2 ? FILL_NORMAL : FILL_SPIKES, wider);
                tr_tensor dx = in_place ? dy : check_output(c, wide),
                          w = check_weight(c, FILL_NORMAL, types[k], TR_DIMS(d.n[last]));
                if (in_place) check_mutable(c, dy);
                x = tr_slice(x, last - 1, 1, d.n[last - 1]);
                dy = tr_slice(dy, last - 1, 2, d.n[last - 1]);
                dx = in_place ? dy : tr_slice(dx, last - 1, 0, d.n[last - 1]);
                const int64_t n = tr_count(x);
                const sizes shape = { n / d.n[last], d.n[last], check_f64(c, w) };
                double *want = check_room(c, n), *mag = check_room(c, n), *x64 = check_f64(c, x), *dy64 = check_f64(c, dy);
                ref_rms_norm_back(want, mag, dy64, x64, &shape);
                if (k == 2 && f == FILL_NORMAL) check_slope(c, want, forward, (void *)&shape, x64, n, dy64, n, 0.1);
                check_ok(c, tr_rms_norm_back(check_stream(c), dx, dy, x, w, 1e-6f));
                check_near(c, dx, want, mag, 8);
                check_release(c);
            }
}

BENCH_OP(rms_norm_back)
{
    const int64_t n = check_is_host(c) ? 4096 : 8192;
    for (bench_begin(c, "%d x 38 x 64, strided", (int)n); bench_more(c);) {
        tr_tensor x = tr_slice(bench_input(c, TR_DIMS(n, 3, 38, 64)), 1, 0, 1),
                  dy = bench_input(c, TR_DIMS(n, 38, 64));
        tr_tensor w = bench_tensor(c, TR_F16, TR_DIMS(64));
        x = tr_index(x, 1, 0);
        BENCH_TIME(c, tr_rms_norm_back(check_stream(c), dy, dy, x, w, 1e-6f));
    }
}
