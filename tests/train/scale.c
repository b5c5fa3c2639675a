/* The loss scale, step by step. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/scale.h"

#include <float.h>
#include <string.h>

static void grows_and_shrinks(void **state)
{
    (void)state;
    tr_scale s;
    tr_scale_init(&s, true);
    assert_true(s.scale == 65536);
    for (int i = 0; i < 1999; i++) assert_int_equal(tr_scale_update(&s, true), TRESS_OK);
    assert_true(s.scale == 65536 && s.n_good == 1999);
    assert_int_equal(tr_scale_update(&s, true), TRESS_OK);
    assert_true(s.scale == 131072 && s.n_good == 0);
    for (int i = 0; i < 1999; i++) assert_int_equal(tr_scale_update(&s, true), TRESS_OK);
    assert_int_equal(tr_scale_update(&s, false), TRESS_OK);
    assert_true(s.scale == 65536 && s.n_good == 0 && s.n_bad == 1 && s.n_skipped == 1);
    for (int i = 0; i < 2000; i++) assert_int_equal(tr_scale_update(&s, true), TRESS_OK);
    assert_true(s.scale == 131072 && s.n_bad == 0 && s.n_skipped == 1);
    s.scale = (double)FLT_MAX * 0.75;
    for (int i = 0; i < 4000; i++) assert_int_equal(tr_scale_update(&s, true), TRESS_OK);
    assert_true(s.scale == (double)FLT_MAX * 0.75);
}

static void ends(void **state)
{
    (void)state;
    tr_scale s;
    tr_scale_init(&s, true);
    for (int i = 1; i <= 16; i++) assert_int_equal(tr_scale_update(&s, false), TRESS_OK);
    assert_true(s.scale == 1);
    assert_int_equal(tr_scale_update(&s, false), TRESS_E_NONFINITE);             /* below 1 */
    assert_non_null(strstr(tr_message(), "loss scale of 1"));
    assert_true(s.scale == 1);

    tr_scale_init(&s, true);
    s.scale = 0x1p40;
    for (int i = 1; i <= 19; i++) assert_int_equal(tr_scale_update(&s, false), TRESS_OK);
    assert_int_equal(tr_scale_update(&s, false), TRESS_E_NONFINITE);
    assert_non_null(strstr(tr_message(), "20 steps in a row"));

    for (int dynamic = 0; dynamic < 2; dynamic++) {                               /* one good step in between: no run of bad ones */
        tr_scale_init(&s, dynamic);
        s.scale = dynamic ? 0x1p60 : 1;
        for (int i = 0; i < 2; i++) {
            for (int k = 1; k <= 19; k++) assert_int_equal(tr_scale_update(&s, false), TRESS_OK);
            assert_int_equal(tr_scale_update(&s, true), TRESS_OK);
        }
        assert_int_equal(s.n_skipped, 38);
        if (!dynamic) assert_true(s.scale == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(grows_and_shrinks), cmocka_unit_test(ends) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
