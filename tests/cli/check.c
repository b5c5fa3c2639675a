/* tress check: the report on stdout, exit code 3 with it when the data is unfit, the sheet where it was asked for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/run.h"

static void fit(void **state)
{
    (void)state;
    RUN("synth", "-o", "set", "-n", "3", "--size", "64", "-s", "5", "-q");
    run_expect(0, NULL, NULL);
    RUN("check", "--data", "set", "--sheet", "sheet.png");
    run_expect(0, "pictures  3, 0 of them in test/", "verdict   fit: 0 problems");
    assert_non_null(strstr(ran.out, "sheet     sheet.png"));
    assert_true(run_there("sheet.png"));
    assert_non_null(strstr(ran.err, "check"));                    /* progress, on stderr */
    RUN("check", "--data", "set", "--json", "-q");
    run_expect(0, "\"fit\": true", "\"sheet\": null");
    assert_string_equal(ran.err, "");
}

static void unfit(void **state)
{
    (void)state;
    RUN("synth", "-o", "bad", "-n", "3", "--size", "64", "-s", "5", "-q");
    run_put("bad/img/00000006.png", "x", 1);
    run_put("bad/sketch/lonely.png", "x", 1);
    RUN("check", "--data", "bad", "--sheet", "bad.jpg");
    run_expect(3, "unfit to train on: 2 problems", "bad/sketch/lonely.png has no img and no matte of the same stem");
    assert_non_null(strstr(ran.out, "unfit     bad/sketch/lonely.png has no img"));
    assert_non_null(strstr(ran.out, "unfit     bad/img/00000006.png 1 bytes are no picture"));
    assert_non_null(strstr(ran.out, "verdict   unfit: 2 problems"));
    assert_true(run_there("bad.jpg"));
    RUN("check", "--data", "bad", "--json", "-q");
    assert_int_equal(ran.code, 3);
    assert_non_null(strstr(ran.out, "\"fit\": false"));
}

static void refused(void **state)
{
    (void)state;
    RUN("check");
    run_expect(2, "--data", NULL);
    RUN("check", "--data", "nowhere");
    run_expect(6, "nowhere", NULL);
    assert_string_equal(ran.out, "");
    RUN("check", "--data", "set", "--sheet", "sheet.gif");
    run_expect(2, "--sheet sheet.gif", NULL);
    RUN("check", "--data", "set", "--sheet", "no/sheet.png");
    run_expect(6, "--sheet no/sheet.png", NULL);
    mkdir(strcat(strcpy((char[128]){ 0 }, run_dir), "/empty"), 0777);
    RUN("check", "--data", "empty", "--sheet", "none.png");
    run_expect(3, "holds no folders img/", NULL);
    assert_false(run_there("none.png"));                          /* nothing to show */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(fit), cmocka_unit_test(unfit), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, run_enter, run_leave);
}
