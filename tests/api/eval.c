/* tress eval over a folder of rendered scenes, whose renders are perfect results, and over one picture. */
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512], drawn[600];
static tress *t;
static char noted[256];

static void note(void *self, const char *text)
{
    (void)self;
    snprintf(noted, sizeof noted, "%s", text);
}

/* img/NAME of the scenes becomes drawn/AS. */
static void result(const char *name, const char *as)
{
    char from[700], to[700], *bytes = NULL;
    size_t n = 0;
    snprintf(from, sizeof from, "%s/%s", folder, name);
    snprintf(to, sizeof to, "%s/%s", drawn, as);
    assert_int_equal(tr_file_read(&bytes, &n, from, 1 << 24), TRESS_OK);
    assert_int_equal(tr_file_write(to, bytes, n), TRESS_OK);
    tr_free(bytes);
}

static json_t *report_of(const tress_eval_args *a)
{
    char *text = NULL;
    json_t *o = NULL;
    if (tress_eval(t, a, &text) != TRESS_OK) fail_msg("%s", tress_last_error());
    assert_int_equal(tr_json_parse(&o, text, strlen(text), 8, "the report"), TRESS_OK);
    tress_text_free(text);
    return o;
}

static json_t *row(const json_t *report, size_t i) { return json_array_get(json_object_get(report, "rows"), i); }
static double number(const json_t *r, const char *key)
{
    const json_t *v = json_object_get(r, key);
    if (!json_is_number(v)) fail_msg("%s is no number", key);
    return json_number_value(v);
}

static void contains(const char *path, const char *what)
{
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(tr_file_read(&text, &n, path, 1 << 24), TRESS_OK);
    if (!strstr(text, what)) fail_msg("%s does not hold %s", path, what);
    tr_free(text);
}

static void a_folder(void **state)
{
    (void)state;
    char csv[700], html[700];
    snprintf(csv, sizeof csv, "%s/eval.csv", folder);
    snprintf(html, sizeof html, "%s/eval.html", folder);
    tress_eval_args a;
    tress_eval_defaults(&a);
    a.data = folder, a.results = drawn, a.csv = csv, a.html = html;
    json_t *o = report_of(&a);
    assert_non_null(strstr(noted, "1 of the 3 pictures"));
    assert_int_equal(json_array_size(json_object_get(o, "rows")), 3);
    static const char *const name[3] = { "00000041", "00000042-1", "00000042-12" };
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(json_string_value(json_object_get(row(o, i), "name")), name[i]);
        assert_true(number(row(o, i), "truth.psnr") == 100 || i == 2);
        assert_true(number(row(o, i), "ring.de00") > 0 || i == 2);  /* to the bald photo, on which no hair casts a shadow */
        assert_true(number(row(o, i), "sketch.recall") > 0.3 || i == 2);
    }
    assert_true(number(row(o, 0), "light.angle") <= 180 && number(row(o, 0), "light.truth") == 0 && number(row(o, 0), "colour.truth") == 0);
    /* the last is the bald photo itself: nothing changed anywhere, and there is no hair */
    assert_true(number(row(o, 2), "background.changed") == 0 && number(row(o, 2), "ring.de00") == 0 && number(row(o, 2), "truth.psnr") < 40);
    assert_true(number(row(o, 2), "tone.de00") == number(row(o, 2), "tone.de00_photo"));
    contains(csv, "\n00000042-12,");
    contains(html, "data:image/jpeg;base64,/9j/");
    json_decref(o);
}

static void one_picture(void **state)
{
    (void)state;
    char photo[700], matte[700], sketch[700];
    snprintf(photo, sizeof photo, "%s/bald/00000041.png", folder);
    snprintf(matte, sizeof matte, "%s/matte/00000041.png", folder);
    snprintf(sketch, sizeof sketch, "%s/sketch/00000041.png", folder);
    tress_eval_args a;
    tress_eval_defaults(&a);
    a.photo = photo, a.matte = matte, a.result = photo;
    json_t *o = report_of(&a);
    assert_true(number(row(o, 0), "background.max") == 0 && number(row(o, 0), "ring.de00") == 0);
    assert_true(json_is_null(json_object_get(row(o, 0), "sketch.lift")) && json_is_null(json_object_get(row(o, 0), "light.angle")) &&
                json_is_null(json_object_get(row(o, 0), "colour.de00")));
    json_decref(o);
    a.sketch = sketch, a.colour = "#804020", a.has_light = true, a.light[0] = -1;
    o = report_of(&a);
    assert_true(number(row(o, 0), "sketch.lift") < 0.9 && number(row(o, 0), "colour.de00") > 0 && number(row(o, 0), "light.angle") >= 0);
    json_decref(o);
}

static void refused(const tress_eval_args *a, tress_status st, const char *why)
{
    char *text = NULL;
    assert_int_equal(tress_eval(t, a, &text), st);
    assert_null(text);
    if (!strstr(tress_last_error(), why)) fail_msg("\"%s\" does not say \"%s\"", tress_last_error(), why);
}

static void refusals(void **state)
{
    (void)state;
    tress_eval_args a;
    char photo[700], missing[700];
    snprintf(photo, sizeof photo, "%s/bald/00000041.png", folder);
    snprintf(missing, sizeof missing, "%s/nothing.png", folder);
    tress_eval_defaults(&a);
    refused(&a, TRESS_E_ARG, "--photo, --matte and --result are needed");
    a.data = folder;
    refused(&a, TRESS_E_ARG, "--results");
    a.results = folder;
    refused(&a, TRESS_E_FORMAT, "holds no result");
    a.results = drawn, a.photo = photo;
    refused(&a, TRESS_E_ARG, "name one");
    a.photo = NULL, a.colour = "beige";
    refused(&a, TRESS_E_ARG, "expected #rrggbb, black, dark brown");
    tress_eval_defaults(&a);
    a.photo = a.result = photo, a.matte = missing;
    refused(&a, TRESS_E_IO, "nothing.png");
}

static int set_up(void **state)
{
    (void)state;
    const tress_options o = { .hooks.note = note };
    assert_int_equal(tress_new(&t, &o), TRESS_OK);
    snprintf(folder, sizeof folder, "%s/eval-test-%d", TRESS_BINARY_DIR, (int)getpid());
    snprintf(drawn, sizeof drawn, "%s/drawn", folder);
    const tress_synth_args a = { .to = folder, .count = 3, .size = 96, .seed = 41, .style = "open", .bald = true };
    assert_int_equal(tress_synth(t, &a), TRESS_OK);
    assert_int_equal(tr_dir_make(drawn), TRESS_OK);
    result("img/00000041.png", "00000041.png");
    result("img/00000042.png", "00000042-1.png");
    result("bald/00000042.png", "00000042-12.png");
    result("img/00000042.png", "00000042-x.png");                   /* no result of anything: another ending, another name */
    result("img/00000042.png", "000000420.png");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[700];
    tress_free(t);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_folder), cmocka_unit_test(one_picture), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
