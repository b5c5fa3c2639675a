#include "check.h"

#include <math.h>

/* Against the definition in float64: the frequency carries the rounding of its exponent (up to ln 10000) and the angle its
 * own, so an error is u (10 + 2) times the angle beside that of the result. */
CHECK_OP(timestep_embed)
{
    static const int64_t sizes[][2] = { { 1, 2 }, { 3, 256 }, { 2, 62 }, { 6, 320 } };      /* b, d */
    static const float times[] = { 1000, 0, 0.001f, 1, 999.5f, 317.8125f };
    for (int k = 0; k < 4; k++) {
        const int64_t b = sizes[k][0], d = sizes[k][1], half = d / 2;
        tr_tensor y = tr_slice(check_output(c, TR_DIMS(b, d + 2)), 1, 0, d);
        double *want = check_room(c, b * d), *mag = check_room(c, b * d);
        for (int64_t i = 0; i < b; i++)
            for (int64_t j = 0; j < half; j++) {
                const double angle = (double)times[i] * pow(10000, -(double)j / (double)half);
                want[i * d + j] = cos(angle);
                want[i * d + half + j] = sin(angle);
                mag[i * d + j] = mag[i * d + half + j] = 1 + 12 * angle;
            }
        check_ok(c, tr_timestep_embed(check_stream(c), y, tr_view((void *)(uintptr_t)times, TR_F32, TR_DIMS(b))));
        check_near(c, y, want, mag, 2);
    }
}

BENCH_OP(timestep_embed)
{
    float t[2] = { 1000, 500 };
    for (bench_begin(c, "2 x 256"); bench_more(c);) {
        tr_tensor y = bench_input(c, TR_DIMS(2, 256));
        BENCH_TIME(c, tr_timestep_embed(check_stream(c), y, tr_view(t, TR_F32, TR_DIMS(2))));
    }
}
