/* Noise levels: each distribution against its distribution function, the shift, the key. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/sigma.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N 200000
#define PI 3.14159265358979323846
static double x[N];

static int by_value(const void *a, const void *b)
{
    const double p = *(const double *)a, q = *(const double *)b;
    return p < q ? -1 : p > q;
}

/* P(sigma <= t) before the shift, in closed form. */
static double distribution(const tr_sigma *s, double t)
{
    if (s->shift != 1) t = t / (s->shift - (s->shift - 1) * t);                /* the shift undone */
    if (t <= 0) return 0;
    if (t >= 1) return 1;
    if (s->kind == TR_SIGMA_UNIFORM) return t;
    if (s->kind == TR_SIGMA_LOGIT_NORMAL) return 0.5 * erfc(-(log(t / (1 - t)) - s->mean) / s->std / sqrt(2));
    if (s->kind == TR_SIGMA_COSMAP) return 2 / PI * atan2(t, 1 - t);
    double lo = 0, hi = 1;                                                     /* mode: sigma falls as u grows, so P = 1 - u(t), by halving */
    for (int i = 0; i < 60; i++) {
        const double u = (lo + hi) / 2;
        if (1 - u - s->mode_scale * (pow(cos(PI * u / 2), 2) - 1 + u) > t) lo = u;
        else hi = u;
    }
    return 1 - (lo + hi) / 2;
}

/* Kolmogorov and Smirnov: sqrt(n) times the largest distance exceeds 2.3 once in 20,000 times; the draws are fixed, so never by chance. */
static void distributions(void **state)
{
    (void)state;
    static const tr_sigma spec[] = {
        TR_SIGMA_DEFAULT, { TR_SIGMA_LOGIT_NORMAL, 0.7, 0.5, 0, 1 }, { TR_SIGMA_LOGIT_NORMAL, -1, 2, 0, 3 }, { TR_SIGMA_UNIFORM, 0, 1, 0, 1 },
        { TR_SIGMA_UNIFORM, 0, 1, 0, 3 }, { TR_SIGMA_MODE, 0, 1, 1.29, 1 }, { TR_SIGMA_MODE, 0, 1, -0.8, 0.5 }, { TR_SIGMA_COSMAP, 0, 1, 0, 1 },
        { TR_SIGMA_COSMAP, 0, 1, 0, 3 },
    };
    for (size_t k = 0; k < sizeof spec / sizeof *spec; k++) {
        assert_int_equal(tr_sigma_check(&spec[k]), TRESS_OK);
        for (int i = 0; i < N; i++) x[i] = tr_sigma_draw(&spec[k], 11, i / 4, i % 4);
        qsort(x, N, sizeof *x, by_value);
        assert_true(x[0] >= TR_SIGMA_MIN && x[N - 1] <= 1);
        double d = 0;
        for (int i = 0; i < N; i++) {
            if (x[i] == TR_SIGMA_MIN) continue;                                /* those below have been lifted to it */
            const double f = distribution(&spec[k], x[i]);
            d = fmax(d, fmax(fabs(f - (double)i / N), fabs(f - (double)(i + 1) / N)));
        }
        if (!(d * sqrt(N) <= 2.3)) fail_msg("spec %zu: distance %g", k, d * sqrt(N));
    }
}

/* The median of the symmetric ones is the shift of a half. */
static void medians(void **state)
{
    (void)state;
    for (int kind = 0; kind < TR_SIGMA_N; kind++) {
        const tr_sigma s = { (tr_sigma_kind)kind, 0, 1, 1.29, 3 };
        for (int i = 0; i < N; i++) x[i] = tr_sigma_draw(&s, 5, i, 0);
        qsort(x, N, sizeof *x, by_value);
        assert_true(fabs(x[N / 2] - 0.75) < 0.01);                             /* 0.75, spread of a median below 0.003 */
    }
}

static void keyed(void **state)
{
    (void)state;
    const tr_sigma s = TR_SIGMA_DEFAULT;
    const double v = tr_sigma_draw(&s, 1, 2, 3);
    assert_true(v == tr_sigma_draw(&s, 1, 2, 3));
    assert_true(v != tr_sigma_draw(&s, 2, 2, 3) && v != tr_sigma_draw(&s, 1, 3, 3) && v != tr_sigma_draw(&s, 1, 2, 4));
    assert_true(tr_sigma_draw(&s, 1, 3, 2) != v);
    assert_true(tr_sigma_draw(&s, UINT64_C(1) << 40, 2, 3) != v);              /* the whole seed counts */
    /* neighbours are independent: correlation of steps and of samples, 5 standard errors */
    double step = 0, sample = 0, var = 0;
    for (int i = 0; i < N; i++) {
        const double a = tr_sigma_draw(&s, 9, i, 0) - 0.5, b = tr_sigma_draw(&s, 9, i + 1, 0) - 0.5, c = tr_sigma_draw(&s, 9, i, 1) - 0.5;
        step += a * b, sample += a * c, var += a * a;
    }
    assert_true(fabs(step / var) < 5 / sqrt(N) && fabs(sample / var) < 5 / sqrt(N));
}

static void refused(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        tr_sigma s = TR_SIGMA_DEFAULT;
        if (i == 0) s.mean = NAN;
        if (i == 1) s.mean = 11;
        if (i == 2) s.std = 0;
        if (i == 3) s.std = INFINITY;
        if (i == 4) s.mode_scale = 1.8;
        if (i == 5) s.mode_scale = -1.1;
        if (i == 6) s.shift = 0;
        if (i == 7) s.shift = NAN;
        assert_int_equal(tr_sigma_check(&s), TRESS_E_ARG);
    }
    /* at the bounds nothing leaves 0 .. 1 or is NaN */
    static const tr_sigma edge[] = { { TR_SIGMA_LOGIT_NORMAL, 10, 10, 0, 100 }, { TR_SIGMA_LOGIT_NORMAL, -10, 10, 0, 0.01 }, { TR_SIGMA_MODE, 0, 1, 1.75, 100 },
                                     { TR_SIGMA_MODE, 0, 1, -1, 0.01 }, { TR_SIGMA_COSMAP, 0, 1, 0, 100 } };
    for (int k = 0; k < 5; k++) {
        assert_int_equal(tr_sigma_check(&edge[k]), TRESS_OK);
        for (int i = 0; i < 20000; i++) {
            const double v = tr_sigma_draw(&edge[k], 3, i, 0);
            assert_true(v >= TR_SIGMA_MIN && v <= 1);
        }
    }
    tr_sigma_kind kind = TR_SIGMA_N;
    for (int i = 0; i < TR_SIGMA_N; i++) {
        assert_true(tr_sigma_parse(&kind, tr_sigma_name((tr_sigma_kind)i)));
        assert_int_equal(kind, i);
    }
    assert_false(tr_sigma_parse(&kind, "logit_normal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(distributions), cmocka_unit_test(medians), cmocka_unit_test(keyed), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
