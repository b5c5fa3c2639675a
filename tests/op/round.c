#include "check.h"

#include <math.h>
#include <string.h>

/* The nearest number of `digits` binary digits, ties to even; below the least normal number 2^low the step stays; from the middle
 * above the largest on: infinity. By nearbyint, with no table and no bits. */
static double ref_round(double x, int digits, int low, double most)
{
    int e;
    if (!isfinite(x) || x == 0) return x;
    frexp(x, &e);                                            /* |x| in 2^(e - 1) .. 2^e */
    const double step = ldexp(1, (e - 1 < low ? low : e - 1) - digits + 1), y = nearbyint(x / step) * step;
    return fabs(y) > most ? copysign((double)INFINITY, x) : copysign(y, x);
}

CHECK_OP(round)
{
    static const tr_dtype types[] = { TR_F16, TR_BF16 };
    static const float edges[] = { 0,           -0.0f,       65504,           65519.996f,     65520,
                                   -65520,      1e30f,       0x1p-24f,        0x1p-25f,       0x1.000002p-25f,
                                   0x1.8p-24f,  0x1p-14f,    0x1.ffcp-15f,    INFINITY,       -INFINITY,
                                   NAN,         0x1.fep127f, 0x1.fefffep127f, 0x1.ffp127f,    -0x1.fffffep127f,
                                   0x1p-133f,   0x1p-134f,   0x1.8p-133f,     0x1p-149f,      0x1p-126f,
                                   1.00390625f, 1.01171875f, 1 + 0x1p-11f,    1 + 0x1.8p-10f, 1 - 0x1p-12f };
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < 7; k++)
            for (int f = 0; f <= FILL_N; f++) {
                static const int64_t size[] = { 1, 7, 64, 511, 1025, 16384, 40007 };
                const int64_t n = f == FILL_N ? (int64_t)(sizeof edges / sizeof *edges) : size[k];
                tr_tensor x =
                    f == FILL_N ? check_values(c, TR_F32, TR_DIMS(n), edges) : check_input_as(c, (check_fill)f, TR_F32, TR_DIMS(1, n));
                double *want = check_f64(c, x);
                for (int64_t i = 0; i < n; i++)
                    want[i] = t ? ref_round(want[i], 8, -126, 0x1.fep127) : ref_round(want[i], 11, -14, 65504);
                check_mutable(c, x);
                check_ok(c, tr_round(check_stream(c), x, types[t]));
                check_equal(c, x, want);
                check_release(c);
            }
}

BENCH_OP(round)
{
    static const tr_dtype types[] = { TR_F16, TR_BF16 };
    for (int t = 0; t < 2; t++)
        for (bench_begin(c, "4096 x 4096 %s", tr_dtype_name(types[t])); bench_more(c);)
            BENCH_TIME(c, tr_round(check_stream(c), bench_tensor(c, TR_F32, TR_DIMS(4096, 4096)), types[t]));
}
