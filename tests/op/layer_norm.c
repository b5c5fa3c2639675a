#include "check.h"

#include <math.h>

static void ref_layer_norm(double *want, double *mag, const double *x, const double *w, const double *b, int64_t n, int64_t d, double eps)
{
    for (int64_t i = 0; i < n; i++) {
        const double *xi = x + i * d;
        double mean = 0, var = 0;
        for (int64_t j = 0; j < d; j++) mean += xi[j] / (double)d;
        for (int64_t j = 0; j < d; j++) var += (xi[j] - mean) * (xi[j] - mean) / (double)d;
        const double rstd = 1 / sqrt(var + eps);
        for (int64_t j = 0; j < d; j++) {
            want[i * d + j] = (xi[j] - mean) * rstd * w[j] + b[j];
            mag[i * d + j] = (fabs(xi[j]) + fabs(mean)) * rstd * fabs(w[j]) + fabs(b[j]);
        }
    }
}

CHECK_OP(layer_norm)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3, TR_F32, TR_F32, TR_F16 };
    static const int64_t sizes[][2] = { { 1, 1 }, { 3, 64 }, { 7, 65 }, { 77, 768 }, { 19, 1280 },
                                      { 77, 192 }, { 5, 2432 } };   /* n, d; the last two divide into pieces of 8 and leave lanes without any */
    for (int k = 0; k < 7; k++)
        for (check_fill f = 0; f < FILL_N; f++) {
            const int64_t n = sizes[k][0], d = sizes[k][1], pad = k % 2 && k < 5 ? 3 : 0;
            tr_tensor x = tr_slice(check_input(c, f, TR_DIMS(n, d + pad)), 1, pad, d);
            tr_tensor w = check_weight(c, FILL_NORMAL, types[k], TR_DIMS(d)), b = check_weight(c, FILL_NORMAL, types[k], TR_DIMS(d));
            tr_tensor y = tr_slice(check_output(c, TR_DIMS(n, d + pad)), 1, 0, d);
            double *want = check_room(c, n * d), *mag = check_room(c, n * d);
            ref_layer_norm(want, mag, check_f64(c, x), check_f64(c, w), check_f64(c, b), n, d, 1e-5f);
            check_ok(c, tr_layer_norm(check_stream(c), y, x, w, b, 1e-5f));
            check_near(c, y, want, mag, 8);
            check_release(c);
        }
}

BENCH_OP(layer_norm)
{
    const int64_t n = check_is_host(c) ? 1024 : 8192;
    for (bench_begin(c, "%d x 1280", (int)n); bench_more(c);) {
        tr_tensor y = bench_input(c, TR_DIMS(n, 1280)), x = bench_input(c, TR_DIMS(n, 1280));
        tr_tensor w = bench_tensor(c, TR_F16, TR_DIMS(1280)), b = bench_tensor(c, TR_F16, TR_DIMS(1280));
        BENCH_TIME(c, tr_layer_norm(check_stream(c), y, x, w, b, 1e-5f));
    }
}
