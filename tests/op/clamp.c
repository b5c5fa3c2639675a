#include "check.h"

#include <math.h>

CHECK_OP(clamp)
{
    static const int64_t sizes[][2] = { { 1, 1 }, { 3, 64 }, { 7, 65 }, { 2, 40001 } };
    for (int k = 0; k < 4; k++)
        for (check_fill f = 0; f < FILL_N; f++) {
            const int64_t n = sizes[k][0], d = sizes[k][1], pad = k % 2 ? 3 : 0;
            tr_tensor x = tr_slice(check_input(c, f, TR_DIMS(n, d + pad)), 1, pad, d), y = tr_slice(check_output(c, TR_DIMS(n, d + pad)), 1, 0, d);
            double *want = check_f64(c, x);
            for (int64_t i = 0; i < n * d; i++) want[i] = want[i] < -0.5 ? -0.5 : want[i] > 1000.25 ? 1000.25 : want[i];
            check_ok(c, tr_clamp(check_stream(c), y, x, -0.5f, 1000.25f));
            check_equal(c, y, want);
            check_release(c);
        }
    const float odd[] = { NAN, INFINITY, -INFINITY, 0, -0.0f };
    tr_tensor x = check_values(c, TR_F32, TR_DIMS(5), odd), y = check_output(c, TR_DIMS(5));
    check_ok(c, tr_clamp(check_stream(c), y, x, -30, 20));
    check_equal(c, y, (double[]){ (double)NAN, 20, -30, 0, -0.0 });
}

BENCH_OP(clamp)
{
    const int64_t n = check_is_host(c) ? 4096 : 16384;
    for (bench_begin(c, "%d x 1536", (int)n); bench_more(c);) {
        tr_tensor y = bench_input(c, TR_DIMS(n, 1536)), x = bench_input(c, TR_DIMS(n, 1536));
        BENCH_TIME(c, tr_clamp(check_stream(c), y, x, -1, 1));
    }
}
