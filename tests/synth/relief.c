/* Relief parts the locks and leaves all else alone: no hair, no change; even hair stays even; stripes part by the same share at any tone. */
#include "synth/paint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define N 256                                   /* half of 512: a canvas unit is half a pixel */

/* Hair on the left half alone, in vertical stripes eight pixels wide of tone `low` and `high`. */
static tr_plate striped(float low, float high)
{
    tr_plate c;
    assert_int_equal(tr_plate_new(&c, N), TRESS_OK);
    for (int64_t i = 0; i < (int64_t)N * N; i++) {
        const int x = (int)(i % N);
        const float tone = x % 16 < 8 ? low : high;
        c.colour[i] = v3(tone, .5f * tone, .25f * tone);
        if (x < N / 2) c.through[i] = 0;
    }
    return c;
}

static float at(const tr_plate *c, int x) { return c->colour[(int64_t)(N / 2) * N + x].x; }

static void only_hair_changes(void **state)
{
    (void)state;
    tr_plate c = striped(.1f, .2f), before = striped(.1f, .2f);
    int64_t changed = 0;
    assert_int_equal(tr_paint_relief(&c, 0), TRESS_OK);
    assert_memory_equal(c.colour, before.colour, (size_t)N * N * sizeof *c.colour);
    assert_int_equal(tr_paint_relief(&c, 1.8f), TRESS_OK);
    for (int64_t i = 0; i < (int64_t)N * N; i++) {
        if (before.through[i] == 1) assert_memory_equal(&c.colour[i], &before.colour[i], sizeof *c.colour);
        else changed += memcmp(&c.colour[i], &before.colour[i], sizeof *c.colour) != 0;
    }
    assert_true(changed > N * N / 4);
    tr_plate_fini(&c);
    tr_plate_fini(&before);
}

static void even_hair_stays(void **state)
{
    (void)state;
    tr_plate c = striped(.15f, .15f);
    assert_int_equal(tr_paint_relief(&c, 1.8f), TRESS_OK);
    for (int64_t i = 0; i < (int64_t)N * N; i++)
        if (!(fabsf(c.colour[i].x - .15f) <= 1e-5f)) fail_msg("place %d: %g, expected .15: also at the edge of hair and picture", (int)i, (double)c.colour[i].x);
    tr_plate_fini(&c);
}

static void locks_part(void **state)
{
    (void)state;
    static const float dark[] = { .05f, .4f };
    float ratio[2];
    for (int k = 0; k < 2; k++) {
        tr_plate c = striped(dark[k], 1.5f * dark[k]);
        assert_int_equal(tr_paint_relief(&c, 1), TRESS_OK);
        const int rim = 48;                     /* the first pixel of a dark stripe: 47 is light */
        ratio[k] = at(&c, rim - 1) / at(&c, rim);
        /* Beside a rim a tent of half width 3 has 6/9 of its weight on its own side, one of half width 7 has 28/49. */
        const float want = 1.5f * powf(1.5f, 1 / 3.0f - 1 / 7.0f);
        if (!(fabsf(ratio[k] - want) <= .02f * want)) fail_msg("a step of 1.5 became %g, expected %g", (double)ratio[k], (double)want);
        const vec3 p = c.colour[(int64_t)(N / 2) * N + rim];
        if (!(fabsf(p.y / p.x - .5f) <= 1e-6f && fabsf(p.z / p.x - .25f) <= 1e-6f)) fail_msg("the hue changed");
        tr_plate_fini(&c);
    }
    if (!(fabsf(ratio[0] - ratio[1]) <= .05f * ratio[1])) fail_msg("dark hair parts by %g, fair by %g", (double)ratio[0], (double)ratio[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(only_hair_changes), cmocka_unit_test(even_hair_stays), cmocka_unit_test(locks_part) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
