#include "slope.h"

#include <math.h>
#include <stdlib.h>

#define K_TANH (2 * sqrt(2 / M_PI))             /* 1 + tanh(u) = 2 sigmoid(2 u) */

/* The exponent of a sigmoid, and x times its slope; gelu_erf has neither. */
static double exponent(double x, tr_act act)
{
    return act == TR_ACT_SILU ? x : act == TR_ACT_GELU_QUICK ? (double)1.702f * x : K_TANH * (x + (double)0.044715f * x * x * x);
}
static double steepness(double x, tr_act act)
{
    return act == TR_ACT_GELU_TANH ? K_TANH * (x + 3 * (double)0.044715f * x * x * x) : exponent(x, act);
}

#define N_SLOPE 81

static void forward(void *self, double *y, const double *x)
{
    const tr_act act = *(const tr_act *)self;
    for (int i = 0; i < N_SLOPE; i++) {
        if (act == TR_ACT_NONE) y[i] = x[i];
        else if (act == TR_ACT_GELU_ERF) y[i] = 0.5 * x[i] * erfc(-x[i] / sqrt(2));
        else if (act == TR_ACT_GELU_TANH)
            y[i] = 0.5 * x[i] * (1 + tanh(sqrt(2 / M_PI) * (x[i] + (double)0.044715f * x[i] * x[i] * x[i])));
        else y[i] = x[i] / (1 + exp(-exponent(x[i], act)));
    }
}

/* act'(x), and the formula with |terms|: s (1 + (1 - s) t), where the relative errors of s and 1 - s grow with the error of the
 * exponent; Phi(x) + x phi(x). */
static double ref_slope(double *mag, double x, tr_act act)
{
    if (act == TR_ACT_NONE) return *mag = 0, 1;
    if (act == TR_ACT_GELU_ERF) {
        const double phi = exp(-0.5 * x * x) / sqrt(2 * M_PI);
        *mag = 0.5 * (1 + fabs(erf(x / sqrt(2)))) + fabs(x) * phi * (1 + fmin(0.5 * x * x, 170));
        return 0.5 * erfc(-x / sqrt(2)) + x * phi;
    }
    const double k = exponent(x, act), t = steepness(x, act), s = 1 / (1 + exp(-k)), rest = 1 / (1 + exp(k)),
                 grow = fmin(fabs(k), 170);
    const double bend = s == 0 || rest == 0 ? 0 : s * rest * t;
    *mag = s * (1 + rest * grow) + fabs(bend) * (1 + grow);
    return s + bend;
}

CHECK_OP(activate_back)
{
    static const int64_t size[][2] = { { 1, 1 }, { 3, 7 }, { 5, 64 }, { 40, 1000 }, { 1, 40007 } };
    for (tr_act act = TR_ACT_NONE; act <= TR_ACT_GELU_QUICK; act++) {
        double x[N_SLOPE], dy[N_SLOPE], slope[N_SLOPE], terms;
        for (int i = 0; i < N_SLOPE; i++) {
            x[i] = 0.2 * (i - N_SLOPE / 2);
            dy[i] = i % 2 ? 1 : -1;
            slope[i] = dy[i] * ref_slope(&terms, x[i], act);
        }
        check_slope(c, slope, forward, &act, x, N_SLOPE, dy, N_SLOPE, 1);
        for (int k = 0; k < 5; k++)
            for (int f = 0; f <= FILL_N + 1; f++) {
                const int64_t n = size[k][0], d = size[k][1], pad = k % 2 ? 3 : 0;
                tr_tensor x_all, dy_all;
                if (f >= FILL_N) { /* every size of argument, both signs: -110 .. 110; as far as floats go */
                    float *v = malloc((size_t)(n * (d + pad)) * sizeof *v);
                    for (int64_t i = 0, m = n * (d + pad); i < m; i++)
                        v[i] = f == FILL_N ? (float)(i * 2 - m) * 110.0f / (float)m
                                           : (float)((i % 2 ? 1 : -1) * pow(10, (double)(i % 381) / 10));
                    x_all = check_values(c, TR_F32, TR_DIMS(n, d + pad), v);
                    free(v);
                } else {
                    x_all = check_input(c, (check_fill)f, TR_DIMS(n, d + pad));
                }
                dy_all = check_input(c, f == FILL_TINY ? FILL_NORMAL : f == FILL_N ? FILL_TINY : FILL_SPIKES,
                                     TR_DIMS(n, d + pad));
                const bool in_place = k == 3;
                if (in_place) check_mutable(c, dy_all);
                tr_tensor in = tr_slice(x_all, 1, pad, d), back = tr_slice(dy_all, 1, 0, d);
                tr_tensor dx = in_place ? back : tr_slice(check_output(c, TR_DIMS(n, d + pad)), 1, 1 * (pad > 0), d);
                double *want = check_f64(c, in), *mag = check_room(c, n * d), *dy64 = check_f64(c, back);
                for (int64_t i = 0; i < n * d; i++) {
                    want[i] = dy64[i] * ref_slope(&mag[i], want[i], act);
                    mag[i] *= fabs(dy64[i]);
                }
                check_ok(c, tr_activate_back(check_stream(c), dx, back, in, act));
                check_near(c, dx, want, mag, 8);
                check_release(c);
            }
        /* Infinities have slopes, NaN has none. */
        static const float far[] = { INFINITY, -INFINITY, NAN, 3e38f, -3e38f }, ones[] = { 1, 1, 1, 1, 1 };
        const bool none = act == TR_ACT_NONE;
        const double limit[] = { 1, none, none ? 1 : (double)NAN, 1, none };
        tr_tensor in = check_values(c, TR_F32, TR_DIMS(1, 5), far), back = check_values(c, TR_F32, TR_DIMS(1, 5), ones),
                  dx = check_output(c, TR_DIMS(1, 5));
        check_ok(c, tr_activate_back(check_stream(c), dx, back, in, act));
        double *got = check_f64(c, dx), *want = check_room(c, 5);
        for (int i = 0; i < 5; i++) want[i] = got[i] == 0 && limit[i] == 0 ? got[i] : limit[i];      /* 0 of either sign */
        check_equal(c, dx, want);
        check_release(c);
    }
}

BENCH_OP(activate_back)
{
    static const char *const names[] = { "none", "silu", "gelu tanh", "gelu erf", "gelu quick" };
    const int64_t n = check_is_host(c) ? 1024 : 8192, d = check_is_host(c) ? 6144 : 9728;
    for (tr_act act = TR_ACT_SILU; act <= TR_ACT_GELU_QUICK; act++)
        for (bench_begin(c, "%d x %d %s", (int)n, (int)d, names[act]); bench_more(c);) {
            tr_tensor dx = bench_input(c, TR_DIMS(n, d)), dy = bench_input(c, TR_DIMS(n, d)),
                      x = bench_input(c, TR_DIMS(n, d));
            BENCH_TIME(c, tr_activate_back(check_stream(c), dx, dy, x, act));
        }
}
