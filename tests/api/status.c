/* The statuses, their names and exit codes: what scripts rely on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tress.h"

#include <string.h>

static void exit_codes(void **state)
{
    (void)state;
    static const int want[] = { 0, 2, 3, 3, 3, 4, 5, 6, 7, 8, 130 };
    for (int i = 0; i <= TRESS_E_CANCELLED; i++) {
        assert_int_equal(tress_exit_code((tress_status)i), want[i]);
        assert_true(strlen(tress_status_name((tress_status)i)) > 1);
    }
    assert_string_equal(tress_version(), TRESS_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(exit_codes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
