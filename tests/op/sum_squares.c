#include "check.h"

#include <math.h>
#include <stdlib.h>

/* A number as a tensor, so that it is compared like one. */
static tr_tensor as_output(check *c, double v)
{
    tr_tensor y = check_output_as(c, TR_F64, TR_DIMS(1));
    check_ok(c, tr_upload(check_stream(c), y, &v));
    return y;
}

CHECK_OP(sum_squares)
{
    static const int64_t size[] = { 0, 1, 63, 1000, 16384, 16385, 200003 };
    for (int k = 0; k < 7; k++)
        for (check_fill f = 0; f < FILL_N; f++) {
            const int64_t n = size[k];
            tr_tensor x = check_input_as(c, f, TR_F32, k % 2 ? TR_DIMS(n) : TR_DIMS(1, n, 1));
            double *x64 = check_f64(c, x), want = 0, got = -1;
            for (int64_t i = 0; i < n; i++) want += x64[i] * x64[i];
            check_ok(c, tr_sum_squares(check_stream(c), x, &got));
            check_near(c, as_output(c, got), &want, &want, (double)(n + 8) * 0x1p-28);      /* two sums of n terms in float64 */
            check_release(c);
        }
    static const float bad[] = { INFINITY, -INFINITY, NAN };
    for (int k = 0; k < 3; k++)
        for (int at = 0; at < 2; at++) {                     /* the first, the last of another thread's work */
            const int64_t n = 40001;
            float *v = calloc((size_t)n, sizeof *v);
            v[at ? n - 1 : 0] = bad[k];
            tr_tensor x = check_values(c, TR_F32, TR_DIMS(n), v);
            double got = -1, want = k < 2 ? (double)INFINITY : (double)NAN;
            free(v);
            check_ok(c, tr_sum_squares(check_stream(c), x, &got));
            check_equal(c, as_output(c, got), &want);
            check_release(c);
        }
}

BENCH_OP(sum_squares)
{
    for (bench_begin(c, "4096 x 4096"); bench_more(c);) {
        double sum;
        BENCH_TIME(c, tr_sum_squares(check_stream(c), bench_tensor(c, TR_F32, TR_DIMS(4096, 4096)), &sum));
    }
}
