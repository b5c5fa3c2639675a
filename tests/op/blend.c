#include "check.h"

#include <math.h>

CHECK_OP(blend)
{
    static const int64_t sizes[][4] = { { 1, 1, 1, 1 }, { 2, 3, 5, 7 }, { 1, 16, 9, 33 }, { 3, 4, 64, 65 } };      /* b, c, h, w */
    for (int k = 0; k < 4; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int kind = 0; kind < 4; kind++) {           /* m [1], m [b], in place of x, of z */
                const int64_t b = sizes[k][0], n = sizes[k][1], h = sizes[k][2], w = sizes[k][3], mb = kind ? b : 1, all = b * n * h * w;
                tr_tensor m = check_input(c, FILL_NORMAL, TR_DIMS(mb, 1, h, w)), x = check_input(c, f, TR_DIMS(b, n, h, w)), z = check_input(c, f, TR_DIMS(b, n, h, w));
                double *want = check_room(c, all), *mag = check_room(c, all), *vm = check_f64(c, m), *vx = check_f64(c, x), *vz = check_f64(c, z);
                for (int64_t i = 0; i < all; i++) {
                    const double t = vm[(mb > 1 ? i / (n * h * w) : 0) * h * w + i % (h * w)];
                    want[i] = t * vx[i] + (1 - t) * vz[i];
                    mag[i] = fabs(t * vx[i]) + (1 + fabs(t)) * fabs(vz[i]);
                }
                tr_tensor y = kind == 2 ? x : kind == 3 ? z : check_output(c, TR_DIMS(b, n, h, w));
                if (kind >= 2) check_mutable(c, y);
                check_ok(c, tr_blend(check_stream(c), y, m, x, z));
                check_near(c, y, want, mag, 3);
                check_release(c);
            }
}

BENCH_OP(blend)
{
    for (bench_begin(c, "2 x 16 x 512 x 512"); bench_more(c);) {
        const tr_dims d = TR_DIMS(2, 16, 512, 512);
        tr_tensor y = bench_input(c, d), m = bench_input(c, TR_DIMS(1, 1, 512, 512)), x = bench_input(c, d), z = bench_input(c, d);
        BENCH_TIME(c, tr_blend(check_stream(c), y, m, x, z));
    }
}
