/* The formula that C tests and Python golden makers share: values printed by tools/golden/seeded.py. */
#include "seeded.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static void test_values(void **state)
{
    static const double want[] = { -0.2135193645954132, -0.03564541041851044, -2.097907066345215, -1.5946778059005737, -0.27001500129699707, 2.7667248249053955 };
    float got[6];
    (void)state;
    seeded_normal(got, 6, "a.weight", 7, 0, 1);
    for (int i = 0; i < 6; i++) assert_true(fabs(got[i] - want[i]) <= 1.2e-7 * fabs(want[i]));
    seeded_weight(got, "a.weight", 7, TR_DIMS(6));
    for (int i = 0; i < 6; i++) assert_true(fabs(got[i] - (1 + 0.1 * want[i])) <= 2e-7);
    seeded_weight(got, "a.weight", 7, TR_DIMS(2, 3));
    for (int i = 0; i < 6; i++) assert_true(fabs(got[i] - want[i] / sqrt(3.0)) <= 2e-7 * fabs(want[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_values) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
