#include "check.h"

#include <math.h>

/* y = (x - mean) / sqrt(var + eps) (1 + scale) + shift; rows i use row i / (n / g) of scale and shift. */
static void ref_adaln(double *want, double *mag, const double *x, const double *scale, const double *shift, int64_t n, int64_t d, int64_t g, double eps)
{
    for (int64_t i = 0; i < n; i++) {
        const double *xi = x + i * d, *a = scale + i / (n / g) * d, *b = shift + i / (n / g) * d;
        double mean = 0, var = 0;
        for (int64_t j = 0; j < d; j++) mean += xi[j] / (double)d;
        for (int64_t j = 0; j < d; j++) var += (xi[j] - mean) * (xi[j] - mean) / (double)d;
        const double rstd = 1 / sqrt(var + eps);
        for (int64_t j = 0; j < d; j++) {
            want[i * d + j] = (xi[j] - mean) * rstd * (1 + a[j]) + b[j];
            mag[i * d + j] = (fabs(xi[j]) + fabs(mean)) * rstd * (1 + fabs(a[j])) + fabs(b[j]);
        }
    }
}

CHECK_OP(adaln)
{
    static const int64_t sizes[][3] = { { 1, 1, 1 }, { 3, 64, 1 }, { 8, 65, 2 }, { 6, 130, 6 }, { 154, 1536, 2 }, { 33, 2432, 3 }, { 9, 192, 3 },
                                      { 6, 2432, 2 }, { 5, 256, 1 } };      /* n, d, g; some that divide into pieces of 8 and leave lanes without any */
    for (int k = 0; k < 9; k++)
        for (check_fill f = 0; f < FILL_N; f++) {
            const int64_t n = sizes[k][0], d = sizes[k][1], g = sizes[k][2], pad = k % 2 && k < 6 ? 3 : 0;      /* rows strided */
            tr_tensor x = tr_slice(check_input(c, f, TR_DIMS(n, d + pad)), 1, pad, d), scale = check_input(c, FILL_NORMAL, TR_DIMS(g, d));
            tr_tensor y = tr_slice(check_output(c, TR_DIMS(n, d + pad)), 1, 0, d), shift = check_input(c, FILL_NORMAL, TR_DIMS(g, d));
            double *want = check_room(c, n * d), *mag = check_room(c, n * d);
            ref_adaln(want, mag, check_f64(c, x), check_f64(c, scale), check_f64(c, shift), n, d, g, 1e-6f);
            check_ok(c, tr_adaln(check_stream(c), y, x, scale, shift, 1e-6f));
            check_near(c, y, want, mag, 8);
            check_release(c);
        }
}

BENCH_OP(adaln)
{
    static const int64_t sizes[][2] = { { 1024, 1536 }, { 4096, 2432 }, { 8192, 2432 } };
    for (int k = 0; k < (check_is_host(c) ? 2 : 3); k++)
        for (bench_begin(c, "%d x %d", (int)sizes[k][0], (int)sizes[k][1]); bench_more(c);) {
            tr_tensor y = bench_input(c, TR_DIMS(sizes[k][0], sizes[k][1])), x = bench_input(c, TR_DIMS(sizes[k][0], sizes[k][1]));
            tr_tensor a = bench_input(c, TR_DIMS(2, sizes[k][1])), b = bench_input(c, TR_DIMS(2, sizes[k][1]));
            BENCH_TIME(c, tr_adaln(check_stream(c), y, x, a, b, 1e-6f));
        }
}
