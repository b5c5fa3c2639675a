/* JSON: depth, duplicates, trailing bytes, types and ranges; every message names the place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/core.h"

#include <stdlib.h>
#include <string.h>

static tress_status parse(json_t **o, const char *s) { return tr_json_parse(o, s, strlen(s), 4, "x.json"); }

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", " ", "{", "}", "[[]", "{\"a\":1,\"a\":2}", "{\"o\":{\"a\":1,\"a\":1}}", "{} {}", "{}x", "{\"a\":01}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":1.}",
        "{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":1e999}", "{\"a\":99999999999999999999}", "{\"a\":\"\\u0000\"}", "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}", "{\"a\":\"x\ny\"}", "{'a':1}", "{\"a\":1,}", "[1,]", "{\"a\" 1}", "\"a", "{\"a\":\"b\\", "[[[[[]]]]]",
        "{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}", "nul", "1", "\"text\"", "// no\n{}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *o = (json_t *)(uintptr_t)1;
        if (parse(&o, bad[i]) != TRESS_E_FORMAT) fail_msg("%s was not refused", bad[i]);
        assert_ptr_equal(o, (void *)(uintptr_t)1);
        assert_int_equal(strncmp(tr_message(), "x.json: ", 8), 0);
    }
}

static void bombs(void **state)
{
    (void)state;
    enum { N = 8 << 20 };
    char *s = malloc(N);
    json_t *o = NULL;
    assert_non_null(s);
    memset(s, '[', N);
    assert_int_equal(tr_json_parse(&o, s, N, 16, "bomb"), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "nested deeper than 16"));
    for (int i = 0; i + 5 <= N; i += 5) memcpy(s + i, "{\"a\":", 5);
    assert_int_equal(tr_json_parse(&o, s, N, 16, "bomb"), TRESS_E_FORMAT);
    free(s);
}

static void brackets_in_strings_do_not_count(void **state)
{
    (void)state;
    json_t *o = NULL;
    assert_int_equal(parse(&o, "{\"[[[[[[[\":\"{{{{{{\\\"{{{\", \"b\":[[[1]]]}"), TRESS_OK);
    assert_int_equal(json_object_size(o), 2);
    json_decref(o);
}

static void typed(void **state)
{
    (void)state;
    json_t *o = NULL;
    int64_t i = 0;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    assert_int_equal(parse(&o, "{\"i\":7,\"d\":1.5,\"b\":true,\"s\":\"word\",\"n\":null}"), TRESS_OK);
    assert_int_equal(tr_json_int(&i, o, "i", 0, 7, 1, "w"), TRESS_OK);
    assert_int_equal(i, 7);
    assert_int_equal(tr_json_int(&i, o, "absent", 0, 7, 3, "w"), TRESS_OK);
    assert_int_equal(i, 3);
    assert_int_equal(tr_json_int(&i, o, "i", 0, 6, 1, "w.json"), TRESS_E_FORMAT);
    assert_string_equal(tr_message(), "w.json: \"i\" is 7, expected 0 to 6");
    assert_int_equal(tr_json_int(&i, o, "d", 0, 6, 1, "w"), TRESS_E_FORMAT);
    assert_int_equal(tr_json_int(&i, o, "n", 0, 6, 1, "w"), TRESS_E_FORMAT);
    assert_int_equal(i, 3);
    assert_int_equal(tr_json_double(&d, o, "i", 0, 10, 0, "w"), TRESS_OK);
    assert_true(d == 7);
    assert_int_equal(tr_json_double(&d, o, "d", 0, 1, 0, "w"), TRESS_E_FORMAT);
    assert_int_equal(tr_json_double(&d, o, "s", 0, 1, 0, "w"), TRESS_E_FORMAT);
    assert_int_equal(tr_json_bool(&b, o, "b", false, "w"), TRESS_OK);
    assert_true(b);
    assert_int_equal(tr_json_bool(&b, o, "i", false, "w"), TRESS_E_FORMAT);
    assert_int_equal(tr_json_string(&s, o, "s", NULL, "w"), TRESS_OK);
    assert_string_equal(s, "word");
    assert_int_equal(tr_json_string(&s, o, "absent", "other", "w"), TRESS_OK);
    assert_string_equal(s, "other");
    assert_int_equal(tr_json_string(&s, o, "b", NULL, "w"), TRESS_E_FORMAT);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(bombs), cmocka_unit_test(brackets_in_strings_do_not_count), cmocka_unit_test(typed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
