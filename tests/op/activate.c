#include "check.h"

#include <math.h>
#include <stdlib.h>

static double act_of(double x, tr_act act)
{
    switch (act) {
    case TR_ACT_SILU: return x / (1 + exp(-x));
    case TR_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case TR_ACT_GELU_ERF: return 0.5 * x * (1 + erf(x / sqrt(2)));
    case TR_ACT_GELU_QUICK: return x / (1 + exp(-1.702 * x));
    default: return x;
    }
}

/* |terms| of the formula: of 0.5 x (1 + f), and of x / (1 + e), whose relative error grows with the error of the exponent. */
static double mag_of(double x, tr_act act)
{
    switch (act) {
    case TR_ACT_SILU: return fabs(act_of(x, act)) * (1 + fmin(fabs(x), 100));
    case TR_ACT_GELU_QUICK: return fabs(act_of(x, act)) * (1 + 1.702 * fmin(fabs(x), 60));
    case TR_ACT_GELU_TANH: return 0.5 * fabs(x) * (1 + fabs(tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))));
    case TR_ACT_GELU_ERF: return 0.5 * fabs(x) * (1 + fabs(erf(x / sqrt(2))));
    default: return 0;
    }
}

CHECK_OP(activate)
{
    static const int64_t sizes[] = { 1, 7, 64, 1000, 40007 };
    for (tr_act act = TR_ACT_NONE; act <= TR_ACT_GELU_QUICK; act++)
        for (int k = 0; k < 5; k++)
            for (int f = 0; f <= FILL_N; f++) {
                const int64_t n = sizes[k];
                tr_tensor x;
                if (f == FILL_N) {                           /* every size of argument, both signs: -110 .. 110 */
                    float *v = malloc((size_t)n * sizeof *v);
                    for (int64_t i = 0; i < n; i++) v[i] = (float)(i * 2 - n) * 110.0f / (float)n;
                    x = check_values(c, TR_F32, TR_DIMS(n), v);
                    free(v);
                } else {
                    x = check_input(c, (check_fill)f, TR_DIMS(n));
                }
                const bool in_place = k == 3;
                double *want = check_f64(c, x), *mag = check_room(c, n);
                for (int64_t i = 0; i < n; i++) {
                    mag[i] = mag_of(want[i], act);
                    want[i] = act_of(want[i], act);
                }
                tr_tensor y = in_place ? x : check_output(c, TR_DIMS(n));
                if (in_place) check_mutable(c, x);
                check_ok(c, tr_activate(check_stream(c), y, x, act));
                check_near(c, y, want, mag, 8);
                check_release(c);
            }
}

BENCH_OP(activate)
{
    static const char *const names[] = { "none", "silu", "gelu tanh", "gelu erf", "gelu quick" };
    const int64_t n = check_is_host(c) ? 1024 : 8192, d = check_is_host(c) ? 6144 : 9728;
    for (tr_act act = TR_ACT_SILU; act <= TR_ACT_GELU_QUICK; act++)
        for (bench_begin(c, "%d x %d %s", (int)n, (int)d, names[act]); bench_more(c);) {
            tr_tensor y = bench_input(c, TR_DIMS(n, d)), x = bench_input(c, TR_DIMS(n, d));
            BENCH_TIME(c, tr_activate(check_stream(c), y, x, act));
        }
}
