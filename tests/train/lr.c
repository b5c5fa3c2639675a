/* Learning rates against numbers that diffusers.optimization.get_scheduler gives (worked out from its formulas, in fractions). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/lr.h"

#include <math.h>
#include <string.h>

/* Each value is a handful of roundings from the exact one: 8 units in the last place of the base rate. */
static void expect(const tr_lr *lr, int64_t done, double want)
{
    const double got = tr_lr_at(lr, done);
    if (!(fabs(got - want) <= 8 * 0x1p-53 * lr->base)) fail_msg("%s after %d steps: %.17g, expected %.17g", tr_lr_name(lr->kind), (int)done, got, want);
}

static void values(void **state)
{
    (void)state;
    const double b = 1e-4;
    const tr_lr flat = { TR_LR_CONSTANT, b, 0, 100 }, warm = { TR_LR_CONSTANT, b, 10, 100 };
    expect(&flat, 0, b), expect(&flat, 99, b), expect(&flat, 1000, b);
    expect(&warm, 0, 0), expect(&warm, 1, b / 10), expect(&warm, 9, b * 0.9), expect(&warm, 10, b), expect(&warm, 99, b);

    const tr_lr line = { TR_LR_LINEAR, b, 0, 100 }, line_warm = { TR_LR_LINEAR, b, 20, 100 };
    expect(&line, 0, b), expect(&line, 25, b * 0.75), expect(&line, 99, b * 0.01), expect(&line, 100, 0), expect(&line, 150, 0);
    expect(&line_warm, 0, 0), expect(&line_warm, 5, b / 4), expect(&line_warm, 20, b), expect(&line_warm, 60, b / 2), expect(&line_warm, 80, b / 4);

    const tr_lr wave = { TR_LR_COSINE, b, 0, 120 }, wave_warm = { TR_LR_COSINE, b, 30, 120 };
    expect(&wave, 0, b), expect(&wave, 40, b * 0.75), expect(&wave, 60, b / 2), expect(&wave, 80, b / 4);
    expect(&wave, 30, b * (0.5 + 0.25 * 1.41421356237309504880)), expect(&wave, 120, 0), expect(&wave, 180, 0);
    expect(&wave_warm, 15, b / 2), expect(&wave_warm, 30, b), expect(&wave_warm, 60, b * 0.75), expect(&wave_warm, 75, b / 2), expect(&wave_warm, 90, b / 4);

    const tr_lr poly = { TR_LR_POLYNOMIAL, b, 0, 100 }, poly_warm = { TR_LR_POLYNOMIAL, b, 50, 100 };
    expect(&poly, 0, b), expect(&poly, 50, 5.005e-5), expect(&poly, 99, 1e-7 + 0.01 * (1e-4 - 1e-7)), expect(&poly, 100, 1e-7), expect(&poly, 500, 1e-7);
    expect(&poly_warm, 25, b / 2), expect(&poly_warm, 50, b), expect(&poly_warm, 75, 5.005e-5);

    const tr_lr all_warm = { TR_LR_COSINE, b, 10, 10 };
    expect(&all_warm, 9, b * 0.9), expect(&all_warm, 10, 0);
}

/* Extending a run: the same step has the same rate as long as it is not the end that is approached. */
static void shape(void **state)
{
    (void)state;
    for (int kind = 0; kind < TR_LR_N; kind++)
        for (int64_t warmup = 0; warmup < 40; warmup += 13) {
            const tr_lr lr = { (tr_lr_kind)kind, 3e-4, warmup, 57 };
            assert_int_equal(tr_lr_check(&lr), TRESS_OK);
            for (int64_t k = 0; k < 70; k++) {
                const double v = tr_lr_at(&lr, k), next = tr_lr_at(&lr, k + 1);
                assert_true(v >= 0 && v <= lr.base);
                if (k < warmup) assert_true(next > v);
                else assert_true(kind == TR_LR_CONSTANT ? next == v : next <= v);
            }
        }
}

static void refused(void **state)
{
    (void)state;
    const tr_lr bad[] = {
        { TR_LR_CONSTANT, NAN, 0, 10 }, { TR_LR_CONSTANT, -1e-9, 0, 10 }, { TR_LR_CONSTANT, 1.5, 0, 10 }, { TR_LR_CONSTANT, INFINITY, 0, 10 },
        { TR_LR_POLYNOMIAL, 1e-7, 0, 10 }, { TR_LR_LINEAR, 1e-4, -1, 10 }, { TR_LR_LINEAR, 1e-4, 11, 10 }, { TR_LR_LINEAR, 1e-4, 0, 0 },
    };
    static const char *const word[] = { "--learning-rate", "--learning-rate", "--learning-rate", "--learning-rate", "polynomial", "--warmup-steps",
                                        "--warmup-steps", "--steps" };
    for (int i = 0; i < 8; i++) {
        assert_int_equal(tr_lr_check(&bad[i]), TRESS_E_ARG);
        assert_non_null(strstr(tr_message(), word[i]));
    }
    for (int i = 0; i < TR_LR_N; i++) {
        tr_lr_kind kind = TR_LR_N;
        assert_true(tr_lr_parse(&kind, tr_lr_name((tr_lr_kind)i)));
        assert_int_equal(kind, i);
    }
    tr_lr_kind kind = TR_LR_COSINE;
    assert_false(tr_lr_parse(&kind, "constant_with_warmup"));
    assert_false(tr_lr_parse(&kind, ""));
    assert_int_equal(kind, TR_LR_COSINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(values), cmocka_unit_test(shape), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
