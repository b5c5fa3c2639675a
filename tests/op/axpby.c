#include "check.h"

#include <math.h>

CHECK_OP(axpby)
{
    static const int64_t sizes[][2] = { { 1, 1 }, { 3, 64 }, { 7, 65 }, { 33, 1030 }, { 2, 70001 } };      /* n, d */
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int kind = 0; kind < 5; kind++) {           /* y = ax + bz, a x, in place of x, of z, strided rows */
                const int64_t n = sizes[k][0], d = sizes[k][1], pad = kind == 4 ? 5 : 0;
                tr_tensor x = tr_slice(check_input(c, f, TR_DIMS(n, d + pad)), 1, pad, d), z = check_input(c, f, TR_DIMS(n, d));
                double *want = check_room(c, n * d), *mag = check_room(c, n * d), *vx = check_f64(c, x), *vz = check_f64(c, z);
                const float a = 0.7f, b = -1.9f;
                for (int64_t i = 0; i < n * d; i++) {
                    want[i] = (double)a * vx[i] + (kind == 1 ? 0 : (double)b * vz[i]);
                    mag[i] = fabs((double)a * vx[i]) + (kind == 1 ? 0 : fabs((double)b * vz[i]));
                }
                tr_tensor y = kind == 2 ? x : kind == 3 ? z : tr_slice(check_output(c, TR_DIMS(n, d + pad)), 1, 0, d);
                if (kind == 2 || kind == 3) check_mutable(c, y);
                check_ok(c, tr_axpby(check_stream(c), y, a, x, b, kind == 1 ? tr_none() : z));
                check_near(c, y, want, mag, 2);
                check_release(c);
            }
}

BENCH_OP(axpby)
{
    const int64_t n = check_is_host(c) ? 4096 : 16384;
    for (bench_begin(c, "%d x 1536", (int)n); bench_more(c);) {
        tr_tensor y = bench_input(c, TR_DIMS(n, 1536)), x = bench_input(c, TR_DIMS(n, 1536)), z = bench_input(c, TR_DIMS(n, 1536));
        BENCH_TIME(c, tr_axpby(check_stream(c), y, 2, x, 3, z));
    }
}
