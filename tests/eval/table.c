/* Reports: quartiles, JSON that parses, CSV with hostile names, a page in which they stay text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "eval/eval.h"

static const char *const names[4] = { "plain", "a,b", "say \"hi\"", "<script>alert(1)</script>&" };

static tr_eval_table table(void)
{
    tr_eval_table t = { .n = 4 };
    assert_int_equal(tr_alloc_array((void **)&t.row, t.n, sizeof *t.row), TRESS_OK);
    for (int i = 0; i < t.n; i++) {
        assert_int_equal(tr_strdup(&t.row[i].name, names[i]), TRESS_OK);
        memset(t.row[i].sha256, 'a' + i, 64);
        for (int m = 0; m < TR_METRICS; m++) t.row[i].value[m] = NAN;
        t.row[i].value[TR_METRIC_LIFT] = (double[]){ 0.4, 0.1, 0.3, 0.2 }[i];
        if (i < 2) t.row[i].value[TR_METRIC_HOLE] = i;
    }
    return t;
}

static void quartiles(void **state)
{
    (void)state;
    tr_eval_table t = table();
    double q[3];
    assert_int_equal(tr_eval_quartiles(q, &t, TR_METRIC_LIFT), 4);  /* as numpy.percentile gives them */
    assert_true(fabs(q[0] - 0.175) < 1e-12 && fabs(q[1] - 0.25) < 1e-12 && fabs(q[2] - 0.325) < 1e-12);
    assert_int_equal(tr_eval_quartiles(q, &t, TR_METRIC_HOLE), 2);
    assert_true(q[1] == 0.5);
    assert_int_equal(tr_eval_quartiles(q, &t, TR_METRIC_SSIM), 0);
    assert_true(isnan(q[1]));
    tr_eval_table_fini(&t);
}

static void json(void **state)
{
    (void)state;
    tr_eval_table t = table();
    tr_str s = { 0 };
    json_t *o = NULL;
    assert_int_equal(tr_eval_json(&s, &t), TRESS_OK);
    assert_int_equal(tr_json_parse(&o, s.s, s.len, 8, "the report"), TRESS_OK);
    const json_t *rows = json_object_get(o, "rows"), *metrics = json_object_get(o, "metrics"), *lift = json_object_get(metrics, "sketch.lift");
    assert_int_equal(json_array_size(rows), 4);
    for (size_t i = 0; i < 4; i++) assert_string_equal(json_string_value(json_object_get(json_array_get(rows, i), "name")), names[i]);
    assert_true(json_is_null(json_object_get(json_array_get(rows, 2), "matte.hole")));
    assert_true(json_real_value(json_object_get(json_array_get(rows, 2), "sketch.lift")) == 0.3);
    assert_int_equal(json_integer_value(json_object_get(lift, "n")), 4);
    assert_true(fabs(json_real_value(json_object_get(lift, "median")) - 0.25) < 1e-9);
    assert_string_equal(json_string_value(json_object_get(lift, "better")), "high");
    assert_int_equal(json_object_size(metrics), TR_METRICS);
    json_decref(o);
    tr_str_fini(&s);
    tr_eval_table_fini(&t);
}

static void csv(void **state)
{
    (void)state;
    tr_eval_table t = table();
    tr_str s = { 0 };
    assert_int_equal(tr_eval_csv(&s, &t), TRESS_OK);
    assert_non_null(strstr(s.s, "name,sha256,background.max,"));
    assert_non_null(strstr(s.s, "\nplain,aaaa"));
    assert_non_null(strstr(s.s, "\n\"a,b\",bbbb"));
    assert_non_null(strstr(s.s, "\n\"say \"\"hi\"\"\",cccc"));
    int lines = 0, commas = 0;
    for (const char *p = s.s; *p; p++) lines += *p == '\n';
    for (const char *p = strstr(s.s, "\nplain") + 1; *p != '\n'; p++) commas += *p == ',';
    assert_int_equal(lines, 5);
    assert_int_equal(commas, TR_METRICS + 1);
    tr_str_fini(&s);
    tr_eval_table_fini(&t);
}

static void html(void **state)
{
    (void)state;
    tr_eval_table t = table();
    tr_str s = { 0 };
    assert_int_equal(tr_alloc((void **)&t.row[1].view, 4), TRESS_OK);
    memcpy(t.row[1].view, "Man", 4);
    t.row[1].n_view = 4;                                            /* with its NUL: TWFuAA== */
    assert_int_equal(tr_eval_html(&s, &t, "a <b> & c"), TRESS_OK);
    assert_null(strstr(s.s, "<script"));
    assert_non_null(strstr(s.s, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;"));
    assert_non_null(strstr(s.s, "<title>a &lt;b&gt; &amp; c</title>"));
    assert_non_null(strstr(s.s, "base64,TWFuAA==\""));
    assert_non_null(strstr(s.s, "<tr><td>sketch.lift<td>high<td>4<td>0.175<td>0.250<td>0.325"));
    assert_null(strstr(s.s, "truth.ssim"));                         /* nobody has it */
    tr_str_fini(&s);
    tr_eval_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(quartiles), cmocka_unit_test(json), cmocka_unit_test(csv), cmocka_unit_test(html) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
