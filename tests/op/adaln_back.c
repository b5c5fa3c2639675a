#include "slope.h"

#include <math.h>

typedef struct sizes { int64_t n, d, g; const double *scale; } sizes;

static void forward(void *self, double *y, const double *x)
{
    const sizes *k = self;
    for (int64_t i = 0; i < k->n; i++) {
        const double *xi = x + i * k->d, *a = k->scale + i / (k->n / k->g) * k->d;
        double mean = 0, var = 0;
        for (int64_t j = 0; j < k->d; j++) mean += xi[j] / (double)k->d;
        for (int64_t j = 0; j < k->d; j++) var += (xi[j] - mean) * (xi[j] - mean) / (double)k->d;
        for (int64_t j = 0; j < k->d; j++) y[i * k->d + j] = (xi[j] - mean) / sqrt(var + (double)1e-6f) * (1 + a[j]);
    }
}

/* residual may be NULL. mag: the formula with |terms|; x - mean is exact in the sums, which are in float64. */
static void ref_adaln_back(double *want, double *mag, const double *dy, const double *x, const double *residual, const sizes *k)
{
    const int64_t d = k->d;
    for (int64_t i = 0; i < k->n; i++) {
        const double *xi = x + i * d, *dyi = dy + i * d, *a = k->scale + i / (k->n / k->g) * d;
        double mean = 0, var = 0, mean_g = 0, mean_gx = 0, terms_g = 0, terms_gx = 0;
        for (int64_t j = 0; j < d; j++) mean += xi[j] / (double)d;
        for (int64_t j = 0; j < d; j++) var += (xi[j] - mean) * (xi[j] - mean) / (double)d;
        const double rstd = 1 / sqrt(var + (double)1e-6f);
        for (int64_t j = 0; j < d; j++) {
            const double g = dyi[j] * (1 + a[j]) / (double)d, gx = g * (xi[j] - mean) * rstd;
            mean_g += g;
            mean_gx += gx;
            terms_g += fabs(g);
            terms_gx += fabs(gx);
        }
        for (int64_t j = 0; j < d; j++) {
            const double r = residual ? residual[i * d + j] : 0;
            want[i * d + j] = r + rstd * (dyi[j] * (1 + a[j]) - mean_g - (xi[j] - mean) * rstd * mean_gx);
            mag[i * d + j] =
                fabs(r) + rstd * (fabs(dyi[j]) * (1 + fabs(a[j])) + terms_g + (fabs(xi[j]) + fabs(mean)) * rstd * terms_gx);
        }
    }
}

CHECK_OP(adaln_back)
{
    static const int64_t size[][3] = { { 1, 1, 1 }, { 6, 7, 3 }, { 3, 64, 1 }, { 8, 65, 2 }, { 154, 1536, 2 }, { 33, 2432, 3 }, { 10, 2432, 2 } };   /* n, d, g */
    for (int k = 0; k < 7; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int kind = 0; kind < 4; kind++) {           /* no residual; with one; dx is dy; dx is the residual */
                const int64_t n = size[k][0], d = size[k][1], g = size[k][2], pad = k % 2 ? 3 : 0;      /* rows strided */
                tr_tensor x = tr_slice(check_input(c, f, TR_DIMS(n, d + pad)), 1, pad, d),
                          scale = check_input(c, FILL_NORMAL, TR_DIMS(g, d));
                tr_tensor dy_all = check_input(c, kind ? FILL_NORMAL : FILL_SPIKES, TR_DIMS(n, d + 2 * pad)),
                          dy = tr_slice(dy_all, 1, pad, d);
                tr_tensor r_all = check_input(c, FILL_NORMAL, TR_DIMS(n, d + pad)),
                          r = kind ? tr_slice(r_all, 1, 0, d) : tr_none();
                const sizes shape = { n, d, g, check_f64(c, scale) };
                double *want = check_room(c, n * d), *mag = check_room(c, n * d), *x64 = check_f64(c, x),
                       *dy64 = check_f64(c, dy);
                ref_adaln_back(want, mag, dy64, x64, NULL, &shape);
                if (d == 7 && f == FILL_NORMAL && kind)
                    check_slope(c, want, forward, (void *)&shape, x64, n * d, dy64, n * d, 0.1);
                ref_adaln_back(want, mag, dy64, x64, kind ? check_f64(c, r) : NULL, &shape);
                tr_tensor dx = kind == 2 ? dy : kind == 3 ? r : tr_slice(check_output(c, TR_DIMS(n, d + pad)), 1, pad, d);
                if (kind == 2) check_mutable(c, dy_all);
                if (kind == 3) check_mutable(c, r_all);
                check_ok(c, tr_adaln_back(check_stream(c), dx, dy, x, scale, r, 1e-6f));
                check_near(c, dx, want, mag, 8);
                check_release(c);
            }
}

BENCH_OP(adaln_back)
{
    static const int64_t size[][2] = { { 1024, 1536 }, { 4096, 2432 }, { 8192, 2432 } };
    for (int k = 0; k < (check_is_host(c) ? 2 : 3); k++)
        for (bench_begin(c, "%d x %d", (int)size[k][0], (int)size[k][1]); bench_more(c);) {
            const tr_dims d = TR_DIMS(size[k][0], size[k][1]);
            tr_tensor dx = bench_input(c, d), dy = bench_input(c, d), x = bench_input(c, d),
                      r = bench_input(c, d);
            tr_tensor a = bench_input(c, TR_DIMS(2, size[k][1]));
            BENCH_TIME(c, tr_adaln_back(check_stream(c), dx, dy, x, a, r, 1e-6f));
        }
}
