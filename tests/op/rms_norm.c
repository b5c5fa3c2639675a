#include "check.h"

#include <math.h>

static void ref_rms_norm(double *want, double *mag, const double *x, const double *w, int64_t n, int64_t d, double eps)
{
    for (int64_t i = 0; i < n; i++) {
        double sq = 0;
        for (int64_t j = 0; j < d; j++) sq += x[i * d + j] * x[i * d + j] / (double)d;
        for (int64_t j = 0; j < d; j++) {
            want[i * d + j] = x[i * d + j] / sqrt(sq + eps) * w[j];
            mag[i * d + j] = fabs(want[i * d + j]);
        }
    }
}

CHECK_OP(rms_norm)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3, TR_F32 };
    static const struct { int rank; int64_t n[4]; } sizes[] = { { 2, { 1, 1 } }, { 2, { 3, 65 } }, { 3, { 5, 7, 64 } }, { 4, { 2, 77, 3, 64 } }, { 2, { 9, 4096 } } };
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int in_place = 0; in_place < 2; in_place++) {
                const int last = sizes[k].rank - 1;
                tr_dims d = { .rank = sizes[k].rank }, wide, wider;
                for (int a = 0; a <= last; a++) d.n[a] = sizes[k].n[a];
                wide = d;
                wide.n[last - 1] += 2;                          /* as heads of a fused product lie */
                wider = wide;
                wider.n[last - 1] += 3;
                tr_tensor x = check_input(c, f, wide), y = in_place ? x : check_output(c, wider), w = check_weight(c, FILL_NORMAL, types[k], TR_DIMS(d.n[last]));
                if (in_place) check_mutable(c, x);
                x = tr_slice(x, last - 1, 1, d.n[last - 1]);
                y = tr_slice(y, last - 1, 1, d.n[last - 1]);
                const int64_t n = tr_count(x);
                double *want = check_room(c, n), *mag = check_room(c, n);
                ref_rms_norm(want, mag, check_f64(c, x), check_f64(c, w), n / d.n[last], d.n[last], 1e-6f);
                check_ok(c, tr_rms_norm(check_stream(c), y, x, w, 1e-6f));
                check_near(c, y, want, mag, 4);
                check_release(c);
            }
}

BENCH_OP(rms_norm)
{
    const int64_t n = check_is_host(c) ? 4096 : 8192;
    for (bench_begin(c, "%d x 38 x 64, strided", (int)n); bench_more(c);) {
        tr_tensor x = tr_slice(bench_input(c, TR_DIMS(n, 3, 38, 64)), 1, 0, 1), w = bench_tensor(c, TR_F16, TR_DIMS(64));
        x = tr_index(x, 1, 0);
        BENCH_TIME(c, tr_rms_norm(check_stream(c), x, x, w, 1e-6f));
    }
    for (bench_begin(c, "256 x 4096"); bench_more(c);) {
        tr_tensor x = bench_input(c, TR_DIMS(256, 4096)), y = bench_input(c, TR_DIMS(256, 4096)), w = bench_tensor(c, TR_F16, TR_DIMS(4096));
        BENCH_TIME(c, tr_rms_norm(check_stream(c), y, x, w, 1e-6f));
    }
}
