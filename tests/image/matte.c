/* Mattes, distances, regions and fills against their definitions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "image/golden.h"

static tr_planes scatter(int w, int h, double share, uint64_t seed)
{
    tr_planes p = { 0 };
    assert_int_equal(tr_planes_new(&p, 1, h, w), TRESS_OK);
    for (int i = 0; i < w * h; i++)
        if (tr_philox_uniform(seed, 0, (uint64_t)i) < share) p.data[i] = 0.25f + 0.75f * tr_philox_uniform(seed, 1, (uint64_t)i);
    return p;
}

static double nearest(tr_planes m, int x, int y)                                 /* by looking everywhere */
{
    double best = INFINITY;
    for (int v = 0; v < m.h; v++)
        for (int u = 0; u < m.w; u++)
            if (m.data[v * m.w + u] > 0) best = fmin(best, hypot(u - x, v - y));
    return best;
}

static void test_distance(void **state)
{
    static const struct { int w, h; double share; } cases[] = { { 1, 1, 1 }, { 9, 1, 0.3 }, { 1, 9, 0.3 }, { 37, 23, 0.004 }, { 64, 65, 0.001 }, { 65, 64, 0.02 }, { 130, 70, 0.3 }, { 50, 50, 1 } };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            tr_planes m = scatter(cases[k].w, cases[k].h, cases[k].share, seed), d = { 0 };
            if (k == 4) m.data[0] = 1;
            assert_int_equal(tr_distance(&d, m), TRESS_OK);
            for (int y = 0; y < m.h; y++)
                for (int x = 0; x < m.w; x++) {
                    const double best = nearest(m, x, y), want = isinf(best) ? m.w + m.h : best;
                    if (!(fabs(d.data[y * m.w + x] - want) <= 1e-6 * want)) fail_msg("case %zu at %d, %d: %g, expected %g", k, x, y, d.data[y * m.w + x], want);
                }
            tr_planes_fini(&m);
            tr_planes_fini(&d);
        }
    tr_planes m = { 0 }, d = { 0 };                                              /* nothing set */
    assert_int_equal(tr_planes_new(&m, 1, 5, 7), TRESS_OK);
    assert_int_equal(tr_distance(&d, m), TRESS_OK);
    for (int i = 0; i < 35; i++) assert_true(d.data[i] == 12);
    tr_planes_fini(&d);
    tr_planes none = { 0 };
    assert_int_equal(tr_edit_region(&d, m, none, 1e6), TRESS_OK);
    for (int i = 0; i < 35; i++) assert_true(d.data[i] == 0);
    tr_planes_fini(&d);
    tr_planes_fini(&m);
}

static void test_edit_region(void **state)
{
    (void)state;
    tr_planes m = { 0 }, old = { 0 }, e = { 0 };
    assert_int_equal(tr_planes_new(&m, 1, 40, 60), TRESS_OK);
    assert_int_equal(tr_planes_new(&old, 1, 40, 60), TRESS_OK);
    m.data[20 * 60 + 10] = 0.01f;                                                /* the faintest hair counts */
    old.data[10 * 60 + 40] = 1;
    for (int with = 0; with < 2; with++) {
        tr_planes none = { 0 };
        assert_int_equal(tr_edit_region(&e, m, with ? old : none, 5), TRESS_OK);
        for (int y = 0; y < 40; y++)
            for (int x = 0; x < 60; x++) {
                const bool in = hypot(x - 10, y - 20) <= 5 || (with && hypot(x - 40, y - 10) <= 5);
                if (e.data[y * 60 + x] != (float)in) fail_msg("at %d, %d", x, y);
            }
        tr_planes_fini(&e);
    }
    old.w = 59;
    assert_int_equal(tr_edit_region(&e, m, old, 5), TRESS_E_SHAPE);
    old.w = 60;
    assert_int_equal(tr_edit_region(&e, m, old, -1), TRESS_E_ARG);
    assert_int_equal(tr_edit_region(&e, m, old, NAN), TRESS_E_ARG);
    assert_null(e.data);
    tr_planes_fini(&m);
    tr_planes_fini(&old);
}

static int reflect(int i, int n)
{
    while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
    return i;
}

static void test_gaussian(void **state)
{
    static const struct { int w, h; double sigma; } cases[] = { { 31, 17, 1.3 }, { 5, 40, 3 }, { 1, 1, 2 }, { 600, 3, 10 }, { 12, 9, 0 } };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        tr_planes in = scatter(cases[k].w, cases[k].h, 0.5, 3), out = { 0 };
        const double s = cases[k].sigma;
        const int r = (int)ceil(4 * s);
        assert_int_equal(tr_gaussian(&out, in, s), TRESS_OK);
        double sum = 0;
        for (int t = -r; t <= r; t++) sum += s > 0 ? exp(-t * t / (2 * s * s)) : 1;
        for (int y = 0; y < in.h; y++)
            for (int x = 0; x < in.w; x += 1 + in.w / 40) {
                double want = 0;
                for (int v = -r; v <= r; v++)
                    for (int u = -r; u <= r; u++)
                        want += (s > 0 ? exp(-(u * u + v * v) / (2 * s * s)) : 1) / sum / sum * in.data[reflect(y + v, in.h) * in.w + reflect(x + u, in.w)];
                if (!(fabs(out.data[y * in.w + x] - want) <= 2e-6)) fail_msg("case %zu at %d, %d: %g, expected %g", k, x, y, out.data[y * in.w + x], want);
            }
        tr_planes_fini(&in);
        tr_planes_fini(&out);
    }
    tr_planes in = scatter(4, 4, 1, 1), out = { 0 };
    assert_int_equal(tr_gaussian(&out, in, -1), TRESS_E_ARG);
    assert_int_equal(tr_gaussian(&out, in, NAN), TRESS_E_ARG);
    tr_planes_fini(&in);
}

static void test_soft(void **state)
{
    (void)state;
    tr_planes m = { 0 }, soft = { 0 };
    assert_int_equal(tr_planes_new(&m, 1, 512, 512), TRESS_OK);
    for (int y = 200; y < 300; y++)
        for (int x = 100; x < 400; x++) m.data[y * 512 + x] = 1;
    for (int x = 100; x < 400; x++) m.data[100 * 512 + x] = 0.4f;                /* a wisp: too faint to grow, but it stays */
    assert_int_equal(tr_matte_soft(&soft, m), TRESS_OK);
    for (int i = 0; i < 512 * 512; i++) assert_true(soft.data[i] >= m.data[i] && soft.data[i] <= 1);
    assert_true(soft.data[100 * 512 + 200] == 0.4f && soft.data[95 * 512 + 200] == 0);
    /* across the upper edge: a disc of 9 (15 / 2, odd, rounded up) grows it by 4, then an error function of sigma 5 */
    for (int y = 170; y < 230; y++) {
        const double t = (y + 0.5 - 196) / 5, want = 0.5 * erfc(-t / sqrt(2));
        const double v = soft.data[y * 512 + 250];
        if (!(fabs(v - fmax(want, m.data[y * 512 + 250])) <= 0.004)) fail_msg("row %d: %g, expected %g", y, v, want);
    }
    tr_planes_fini(&m);
    tr_planes_fini(&soft);
}

static void test_reduce(void **state)
{
    (void)state;
    tr_planes in = scatter(48, 32, 0.5, 5), out = { 0 };
    assert_int_equal(tr_area_reduce(&out, in, 8), TRESS_OK);
    assert_true(out.w == 6 && out.h == 4);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 6; x++) {
            double sum = 0;
            for (int k = 0; k < 64; k++) sum += in.data[(y * 8 + k / 8) * 48 + x * 8 + k % 8];
            assert_true(fabs(out.data[y * 6 + x] - sum / 64) <= 1e-7);
        }
    tr_planes_fini(&out);
    assert_int_equal(tr_area_reduce(&out, in, 5), TRESS_E_SHAPE);
    assert_int_equal(tr_area_reduce(&out, in, 0), TRESS_E_SHAPE);
    tr_planes_fini(&in);
}

static void test_fill(void **state)
{
    static const int sizes[][2] = { { 64, 64 }, { 61, 37 }, { 1, 20 }, { 7, 1 }, { 1, 1 } };
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        const int w = sizes[k][0], h = sizes[k][1];
        tr_planes photo = { 0 }, hole = { 0 }, out = { 0 };
        assert_int_equal(tr_planes_new(&photo, 3, h, w), TRESS_OK);
        assert_int_equal(tr_planes_new(&hole, 1, h, w), TRESS_OK);
        for (int i = 0; i < w * h; i++) {
            const int x = i % w, y = i / w;
            hole.data[i] = w > 30 && hypot(x - w / 2, y - h / 2) < h / 4.0 ? 0.1f : 0;
            tr_plane(photo, 0)[i] = hole.data[i] > 0 ? 1 : (float)x / (float)w;  /* a ramp round a white hole */
            tr_plane(photo, 1)[i] = hole.data[i] > 0 ? 0 : 0.3f;
            tr_plane(photo, 2)[i] = hole.data[i] > 0 ? 1 : (float)y / (float)h;
        }
        assert_int_equal(tr_fill(&out, photo, hole), TRESS_OK);
        for (int i = 0; i < w * h; i++) {
            for (int c = 0; c < 3; c++)
                if (!(hole.data[i] > 0)) assert_true(tr_plane(out, c)[i] == tr_plane(photo, c)[i]);
            assert_true(fabsf(tr_plane(out, 1)[i] - 0.3f) <= 1e-6f);             /* what surrounds it is one colour */
            /* no seam: the ramp goes on within a tenth */
            if (!(fabsf(tr_plane(out, 0)[i] - (float)(i % w) / (float)w) <= 0.1f)) fail_msg("%d x %d, pixel %d: %g", w, h, i, tr_plane(out, 0)[i]);
        }
        tr_planes_fini(&out);
        for (int i = 0; i < w * h; i++) hole.data[i] = 1;
        assert_int_equal(tr_fill(&out, photo, hole), TRESS_OK);
        for (int i = 0; i < 3 * w * h; i++) assert_true(out.data[i] == 0.5f);
        tr_planes_fini(&out);
        tr_planes_fini(&photo);
        tr_planes_fini(&hole);
    }
}

static void test_read(void **state)
{
    tr_image *img = NULL;
    tr_planes m = { 0 };
    (void)state;
    assert_int_equal(tr_image_new(&img, 8, 8, 1, 8), TRESS_OK);
    uint8_t *v = img->data;
    assert_int_equal(tr_matte_read(&m, img, "matte.png"), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "matte.png: the matte is empty"));
    for (int i = 0; i < 64; i++) v[i] = 253;                                     /* 0.992 */
    assert_int_equal(tr_matte_read(&m, img, "matte.png"), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "matte.png: the matte is full"));
    v[5] = 252;
    assert_int_equal(tr_matte_read(&m, img, "matte.png"), TRESS_OK);
    assert_true(m.data[5] == 252 / 255.0f && m.data[6] == 253 / 255.0f);
    tr_planes_fini(&m);
    for (int i = 0; i < 64; i++) v[i] = 0;
    v[9] = 1;
    assert_int_equal(tr_matte_read(&m, img, "matte.png"), TRESS_OK);
    tr_planes_fini(&m);
    tr_image_free(img);
    assert_int_equal(tr_image_new(&img, 2, 1, 4, 8), TRESS_OK);                  /* a matte drawn in white on a clear canvas */
    memset(img->data, 255, 8);
    ((uint8_t *)img->data)[3] = 51;
    assert_int_equal(tr_matte_read(&m, img, "matte.png"), TRESS_OK);
    assert_true(fabsf(m.data[0] - 0.2f) < 1e-6f && fabsf(m.data[1] - 1) < 1e-6f);
    tr_planes_fini(&m);
    tr_image_free(img);
}

/* The real mattes are soft: many pixels lie between black and white. */
static void test_real(void **state)
{
    const char *dir = getenv("TRESS_SHARED_DATA");
    char path[1024];
    (void)state;
    for (int k = 4; k <= 7; k++) {
        tr_image *img = NULL;
        tr_planes m = { 0 };
        snprintf(path, sizeof path, "%s/braid/matte/braid_%d.png", dir ? dir : TRESS_SOURCE_DIR "/../shared/data", k);
        if (!tr_file_exists(path)) {
            print_message("no %s: skipped\n", path);
            skip();
        }
        assert_int_equal(tr_image_read(&img, path), TRESS_OK);
        assert_int_equal(tr_matte_read(&m, img, path), TRESS_OK);
        double n = 0, n_soft = 0;
        for (int i = 0; i < m.w * m.h; i++) {
            n += m.data[i] > 0;
            n_soft += m.data[i] > 0 && m.data[i] < 1;
        }
        if (!(n > 0.03 * m.w * m.h && n_soft / n > 0.02)) fail_msg("%s: %g hair, %g of it soft", path, n, n_soft / n);
        tr_planes_fini(&m);
        tr_image_free(img);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance), cmocka_unit_test(test_edit_region), cmocka_unit_test(test_gaussian), cmocka_unit_test(test_soft),
        cmocka_unit_test(test_reduce),   cmocka_unit_test(test_fill),        cmocka_unit_test(test_read),     cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests_name("image/matte", tests, NULL, NULL);
}
