/* Every style gives a picture one could train on: hair, a matte of it, strokes that lie on it; the same seed the same bytes. */
#include "synth/synth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SIZE 128

static double mean(tr_planes p, int plane)
{
    double sum = 0;
    for (int64_t i = 0; i < (int64_t)p.h * p.w; i++) sum += (double)tr_plane(p, plane)[i];
    return sum / ((double)p.h * p.w);
}

static bool is_stroke(tr_planes p, int64_t i)
{
    const int64_t n = (int64_t)p.h * p.w;
    return p.data[i] > 0 || p.data[i + n] > 0 || p.data[i + 2 * n] > 0;
}

static void check_picture(const tr_synth_picture *p, int style)
{
    const int64_t n = (int64_t)SIZE * SIZE;
    int64_t strokes = 0, on_hair = 0, changed = 0;
    for (int64_t i = 0; i < 3 * n; i++) {
        assert_true(p->photo.data[i] >= 0 && p->photo.data[i] <= 1);
        assert_true(p->bald.data[i] >= 0 && p->bald.data[i] <= 1);
    }
    for (int64_t i = 0; i < n; i++) {
        assert_true(p->matte.data[i] >= 0 && p->matte.data[i] <= 1);
        if (is_stroke(p->sketch, i)) {
            strokes++;
            on_hair += p->matte.data[i] > .2f;
        }
        if (p->matte.data[i] > .95f) changed += p->photo.data[i] != p->bald.data[i];
    }
    const double hair = mean(p->matte, 0), ink = (double)strokes / (double)n;
    if (!(hair > .02 && hair < .6)) fail_msg("style %d: hair covers %.3f of the picture", style, hair);
    if (!(ink > .003 && ink < .09)) fail_msg("style %d: strokes cover %.4f", style, ink);
    if (!(on_hair >= .75 * (double)strokes)) fail_msg("style %d: %.2f of the strokes lie on hair", style, (double)on_hair / (double)strokes);
    assert_true(p->n_stroke >= 2 && changed > 0);
    const double light = (double)p->light[0] * p->light[0] + (double)p->light[1] * p->light[1] + (double)p->light[2] * p->light[2];
    assert_true(light > .999 && light < 1.001);
    assert_non_null(strstr(p->caption, p->colour));
}

static void every_style(void **state)
{
    (void)state;
    for (int style = 0; style < tr_synth_style_count(); style++) {
        tr_synth_picture p;
        assert_int_equal(tr_synth_draw(&p, 1000 + (uint64_t)style, style, SIZE), TRESS_OK);
        assert_string_equal(p.style, tr_synth_style_name(style));
        check_picture(&p, style);
        tr_synth_picture_fini(&p);
    }
}

static void same_seed_same_bytes(void **state)
{
    (void)state;
    tr_synth_picture a, b, c;
    assert_int_equal(tr_synth_draw(&a, 7, -1, 96), TRESS_OK);
    assert_int_equal(tr_synth_draw(&b, 7, -1, 96), TRESS_OK);
    assert_int_equal(tr_synth_draw(&c, 8, -1, 96), TRESS_OK);
    const size_t n = sizeof(float) * 3 * 96 * 96;
    assert_memory_equal(a.photo.data, b.photo.data, n);
    assert_memory_equal(a.sketch.data, b.sketch.data, n);
    assert_memory_equal(a.matte.data, b.matte.data, n / 3);
    assert_memory_not_equal(a.photo.data, c.photo.data, n);
    tr_synth_picture_fini(&a);
    tr_synth_picture_fini(&b);
    tr_synth_picture_fini(&c);
}

static void refuses_bad_arguments(void **state)
{
    (void)state;
    tr_synth_picture p = { 0 };
    assert_int_equal(tr_synth_draw(&p, 1, -1, 63), TRESS_E_ARG);
    assert_int_equal(tr_synth_draw(&p, 1, -1, 65), TRESS_E_ARG);
    assert_int_equal(tr_synth_draw(&p, 1, tr_synth_style_count(), 64), TRESS_E_ARG);
    assert_null(p.photo.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_style), cmocka_unit_test(same_seed_same_bytes), cmocka_unit_test(refuses_bad_arguments) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
