/* tress synth's folder: every triplet there, of one size, described; wrong words refused before anything is written. */
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512];

static void refused(tress *t, tress_synth_args a, const char *why)
{
    assert_int_equal(tress_synth(t, &a), TRESS_E_ARG);
    if (!strstr(tress_last_error(), why)) fail_msg("\"%s\" does not say \"%s\"", tress_last_error(), why);
}

static void a_data_set(void **state)
{
    (void)state;
    tress *t = NULL;
    char path[700], *text = NULL;
    size_t n = 0;
    int lines = 0;
    static const char *const part[] = { "img", "matte", "sketch", "bald" };
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    snprintf(folder, sizeof folder, "%s/synth-test-%d", TRESS_BINARY_DIR, (int)getpid());
    refused(t, (tress_synth_args){ .to = folder, .count = 0, .size = 64 }, "count 0");
    refused(t, (tress_synth_args){ .to = folder, .count = 1, .size = 64, .style = "mohawk" }, "fishtail braid");
    assert_int_not_equal(access(folder, F_OK), 0);
    const tress_synth_args a = { .to = folder, .count = 3, .size = 64, .seed = 41, .style = "braids", .bald = true };
    assert_int_equal(tress_synth(t, &a), TRESS_OK);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            tress_image *img = NULL;
            snprintf(path, sizeof path, "%s/%s/%08d.png", folder, part[k], 41 + i);
            assert_int_equal(tress_image_load(t, &img, path), TRESS_OK);
            const tress_image_info info = tress_image_get_info(img);
            assert_int_equal(info.width, 64);
            assert_int_equal(info.height, 64);
            assert_int_equal(info.channels, k == 1 ? 1 : 3);
            tress_image_free(img);
        }
    snprintf(path, sizeof path, "%s/scenes.jsonl", folder);
    assert_int_equal(tr_file_read(&text, &n, path, 1 << 20), TRESS_OK);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        json_t *o = NULL;
        const char *caption = NULL, *style = NULL;
        int64_t seed = 0;
        assert_int_equal(tr_json_parse(&o, line, strlen(line), 8, path), TRESS_OK);
        assert_int_equal(tr_json_int(&seed, o, "seed", 0, 1000, -1, path), TRESS_OK);
        assert_int_equal(seed, 41 + lines);
        assert_int_equal(tr_json_string(&caption, o, "caption", "", path), TRESS_OK);
        assert_int_equal(tr_json_string(&style, o, "style", "", path), TRESS_OK);
        assert_non_null(strstr(style, "braid"));
        assert_non_null(strstr(caption, style));
        json_decref(o);
    }
    assert_int_equal(lines, 3);
    tr_free(text);
    tress_free(t);
    snprintf(path, sizeof path, "rm -rf '%s'", folder);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_data_set) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
