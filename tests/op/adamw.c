#include "check.h"

#include <math.h>

/* Settings as a run has them; as the first step of a new one; without memory; with long memory of slopes only; extremes. */
static const tr_adamw_args settings[] = {
    { .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-4, .grad_scale = 1, .step = 1 },
    { .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .grad_scale = 0x1p-16f, .step = 1000 },
    { .lr = 0.5, .beta1 = 0, .beta2 = 0, .eps = 1e-3, .weight_decay = 0, .grad_scale = 0.37f, .step = 2 },
    { .lr = 1e-3, .beta1 = 0.3, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.5, .grad_scale = 3, .step = 7 },
    { .lr = 1e-3, .beta1 = 0.5, .beta2 = 0.9999, .eps = 1e-8, .weight_decay = 0.01, .grad_scale = 1, .step = 3000000000 },
};

/* In place in p, m and v; the magnitudes of the terms beside each. */
static void ref_adamw(double *p, double *m, double *v, double *p_mag, double *m_mag, const double *g, int64_t n,
                      const tr_adamw_args *a)
{
    const double fix1 = 1 - pow(a->beta1, (double)a->step), fix2 = 1 - pow(a->beta2, (double)a->step);
    for (int64_t i = 0; i < n; i++) {
        const double gi = (double)a->grad_scale * g[i];
        m_mag[i] = a->beta1 > 0.5 ? fabs(m[i]) + (1 - a->beta1) * (fabs(gi) + fabs(m[i])) /* from the nearer end */
                                  : fabs(gi) + a->beta1 * (fabs(gi) + fabs(m[i]));
        m[i] = m[i] + (1 - a->beta1) * (gi - m[i]);
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * gi * gi;
        const double denom = sqrt(v[i] / fix2) + a->eps;
        p_mag[i] = fabs(p[i]) + a->lr / fix1 * m_mag[i] / denom;
        p[i] = p[i] * (1 - a->lr * a->weight_decay) - a->lr / fix1 * m[i] / denom;
    }
}

CHECK_OP(adamw)
{
    static const int64_t size[] = { 1, 7, 64, 1000, 40007 };
    for (size_t j = 0; j < sizeof settings / sizeof *settings; j++)
        for (int k = 0; k < 5; k++)
            for (check_fill f = 0; f < FILL_N; f++) {
                const int64_t n = size[k];
                tr_tensor p = check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(n)),
                          m = check_input_as(c, f == FILL_TINY ? f : FILL_NORMAL, TR_F32, TR_DIMS(n)), g = check_input_as(c, f, TR_F32, TR_DIMS(n)), v;
                float *squares = (float *)check_room(c, n);
                double *start = check_f64(c, check_input_as(c, f == FILL_MEAN_1000 ? FILL_NORMAL : f, TR_F32, TR_DIMS(n)));
                for (int64_t i = 0; i < n; i++)
                    squares[i] = i % 11 ? (float)(start[i] * start[i]) : 0; /* a v that has seen nothing, too */
                v = check_values(c, TR_F32, TR_DIMS(n), squares);
                double *p64 = check_f64(c, p), *m64 = check_f64(c, m), *v64 = check_f64(c, v), *g64 = check_f64(c, g),
                       *p_mag = check_room(c, n), *m_mag = check_room(c, n);
                check_mutable(c, p);
                check_mutable(c, m);
                check_mutable(c, v);
                ref_adamw(p64, m64, v64, p_mag, m_mag, g64, n, &settings[j]);
                check_ok(c, tr_adamw(check_stream(c), p, m, v, g, &settings[j]));
                /* m: g', the difference, the rate, product and sum. v: two products beside beta2 v, two rates, g' twice, the sum.
                 * p: those of m, half those of v, root, two divisions, eps, two factors, product and sum. */
                check_near(c, m, m64, m_mag, 5);
                check_near(c, v, v64, v64, 8);
                check_near(c, p, p64, p_mag, 16);
                check_release(c);
            }
}

BENCH_OP(adamw)
{
    for (bench_begin(c, "8 M"); bench_more(c);) {
        const tr_dims d = TR_DIMS(8 << 20);
        tr_tensor p = bench_tensor(c, TR_F32, d), m = bench_tensor(c, TR_F32, d), v = bench_tensor(c, TR_F32, d),
                  g = bench_tensor(c, TR_F32, d);
        BENCH_TIME(c, tr_adamw(check_stream(c), p, m, v, g, &settings[0]));
    }
}
