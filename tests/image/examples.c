/* The example pictures: what make_examples draws is what lies in examples/, and it is fit to be used. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "image/golden.h"

#include <sys/stat.h>
#include <unistd.h>

#define EXAMPLES TRESS_SOURCE_DIR "/examples/"

static const char *const styles[] = { "straight", "wavy", "bob", "ponytail", "braid", "bun" };
static const char *const photos[] = { "ada", "ben", "mina" };

static tr_image *example(const char *folder, const char *kind, const char *name)
{
    char path[1024];
    tr_image *img = NULL;
    snprintf(path, sizeof path, "%s%s/%s.png", folder, kind, name);
    if (tr_image_read(&img, path) != TRESS_OK) fail_msg("%s", tr_message());
    return img;
}

static void same(const char *drawn, const char *kind, const char *name)
{
    tr_image *want = example(EXAMPLES, kind, name), *got = example(drawn, kind, name);
    assert_true(want->width == got->width && want->height == got->height && want->channels == got->channels && got->depth == 8);
    int64_t n_off = 0;
    for (size_t i = 0; i < tr_image_bytes(want); i++) n_off += abs(((uint8_t *)want->data)[i] - ((uint8_t *)got->data)[i]) > 2;
    /* another C library rounds the last bit of a sine its own way; that may move a sample across an edge here and there */
    if (!(n_off <= (int64_t)tr_image_bytes(want) / 1000)) fail_msg("%s/%s.png: %lld values differ by more than 2", kind, name, (long long)n_off);
    tr_image_free(want);
    tr_image_free(got);
}

static void test_drawn_again(void **state)
{
    char folder[512], command[2048];
    (void)state;
    snprintf(folder, sizeof folder, "%s/examples-%ld/", TRESS_BINARY_DIR, (long)getpid());
    snprintf(command, sizeof command, "'%s/make_examples' '%s' straight wavy bob ponytail braid bun mina", TRESS_BINARY_DIR, folder);
    assert_int_equal(system(command), 0);
    for (int i = 0; i < 6; i++) {
        same(folder, "sketch", styles[i]);
        same(folder, "matte", styles[i]);
    }
    same(folder, "photo", "mina");
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void test_fit(void **state)
{
    int64_t n_byte = 0;
    (void)state;
    for (int i = 0; i < 6; i++) {
        tr_image *a = example(EXAMPLES, "sketch", styles[i]), *b = example(EXAMPLES, "matte", styles[i]);
        tr_strokes s = { 0 };
        tr_planes m = { 0 };
        assert_true(a->width == 512 && a->height == 512 && b->width == 512 && b->height == 512 && b->channels == 1);
        assert_int_equal(tr_strokes_read(&s, a), TRESS_OK);
        assert_int_equal(tr_matte_read(&m, b, styles[i]), TRESS_OK);
        assert_false(s.light);
        double n = 0, n_soft = 0, n_in = 0, n_stroke = 0;
        for (int k = 0; k < 512 * 512; k++) {
            n += m.data[k] > 0;
            n_soft += m.data[k] > 0 && m.data[k] < 1;
            n_stroke += s.mask.data[k];
            n_in += s.mask.data[k] > 0 && m.data[k] > 0;
        }
        if (!(s.coverage > 0.015 && s.coverage < 0.045)) fail_msg("%s: strokes cover %g", styles[i], s.coverage);
        if (!(n > 0.05 * 512 * 512 && n_soft / n > 0.1 && n_soft / n < 0.5)) fail_msg("%s: matte %g, soft %g", styles[i], n, n_soft / n);
        if (!(n_in / n_stroke > 0.97)) fail_msg("%s: %g of the strokes on hair", styles[i], n_in / n_stroke);
        tr_strokes_fini(&s);
        tr_planes_fini(&m);
        tr_image_free(a);
        tr_image_free(b);
    }
    for (int i = 0; i < 15; i++) {
        struct stat about;
        char path[512];
        snprintf(path, sizeof path, EXAMPLES "%s/%s.png", i < 6 ? "sketch" : i < 12 ? "matte" : "photo", i < 12 ? styles[i % 6] : photos[i - 12]);
        assert_int_equal(stat(path, &about), 0);
        n_byte += about.st_size;
    }
    for (int i = 0; i < 3; i++) {
        tr_image *img = example(EXAMPLES, "photo", photos[i]);
        assert_true(img->width == 512 && img->height == 512 && img->channels == 3 && img->depth == 8);
        tr_image_free(img);
    }
    assert_true(n_byte < 1500000);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_drawn_again), cmocka_unit_test(test_fit) };
    return cmocka_run_group_tests_name("image/examples", tests, NULL, NULL);
}
