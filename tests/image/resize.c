/* Resampling against Pillow; affine maps against Pillow and against polynomials. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "image/golden.h"

static tr_filter filter_of(const json_t *o)
{
    static const char *const names[] = { "nearest", "box", "bilinear", "bicubic", "lanczos" };
    const char *s = json_string_value(json_object_get(o, "filter"));
    for (int i = 0; i < 5; i++)
        if (s && !strcmp(s, names[i])) return (tr_filter)i;
    fail_msg("no filter");
    return TR_FILTER_BOX;
}

/* Largest distance in steps of 1/255 after rounding, and the share of values that differ at all. */
static int steps(tr_planes p, tr_tensor t, double *share)
{
    int most = 0;
    int64_t n_off = 0;
    for (int64_t i = 0; i < tr_count(t); i++) {
        const float v = tr_plane(p, (int)(i % p.c))[i / p.c];
        assert_true(isfinite(v));
        const int d = abs((int)tr_quantise(v, 255) - ((const uint8_t *)t.data)[i]);
        if (d > most) most = d;
        n_off += d != 0;
    }
    *share = (double)n_off / (double)tr_count(t);
    return most;
}

static void test_pillow(void **state)
{
    golden g;
    size_t i;
    json_t *o;
    double worst = 0;
    (void)state;
    golden_open(&g, "resize");
    json_array_foreach(json_object_get(g.json, "cases"), i, o) {
        tr_tensor want = golden_at(&g, "out.%d", (int)i);
        tr_planes in = golden_planes(golden_at(&g, "in.%d", (int)number(o, "input"))), out = { 0 };
        double box[4], share;
        for (size_t k = 0; k < 4; k++) box[k] = json_number_value(json_array_get(json_object_get(o, "box"), k));
        const int w = (int)number(o, "width"), h = (int)number(o, "height");
        assert_int_equal(tr_resize_box(&out, in, box, w, h, filter_of(o)), TRESS_OK);
        assert_int_equal(out.w, w);
        assert_int_equal(out.h, h);
        assert_int_equal(out.c, in.c);
        const int most = steps(out, want, &share);
        if (!(most <= (filter_of(o) == TR_FILTER_NEAREST ? 0 : 1))) fail_msg("case %zu: off by %d / 255", i, most);
        if (share > worst && w * h > 100) worst = share;
        if (box[0] == 0 && box[2] == in.w && box[1] == 0 && box[3] == in.h) {
            tr_planes again = { 0 };
            assert_int_equal(tr_resize(&again, in, w, h, filter_of(o)), TRESS_OK);
            for (int64_t k = 0; k < (int64_t)out.c * h * w; k++) assert_true(fabsf(again.data[k] - out.data[k]) <= 1e-6f);
            tr_planes_fini(&again);
        }
        tr_planes_fini(&in);
        tr_planes_fini(&out);
    }
    print_message("at most %.1f %% of a picture's values are a step from Pillow's\n", 100 * worst);
    if (!(worst < 0.25)) fail_msg("%.3f of the values differ", worst);            /* rounding alone moves about a tenth */
    golden_close(&g);
}

static void test_affine_pillow(void **state)
{
    golden g;
    size_t i;
    json_t *o;
    (void)state;
    golden_open(&g, "resize");
    json_array_foreach(json_object_get(g.json, "affine"), i, o) {
        tr_tensor want = golden_at(&g, "affine.%d", (int)i);
        tr_planes in = golden_planes(golden_at(&g, "in.%d", (int)number(o, "input"))), out = { 0 };
        double m[6], share;
        for (size_t k = 0; k < 6; k++) m[k] = json_number_value(json_array_get(json_object_get(o, "map"), k));
        const int w = (int)number(o, "width"), h = (int)number(o, "height");
        assert_int_equal(tr_affine_apply(&out, in, (tr_affine){ m[0], m[1], m[2], m[3], m[4], m[5] }, w, h, filter_of(o), 0), TRESS_OK);
        const int most = steps(out, want, &share);
        if (!(most <= (filter_of(o) == TR_FILTER_NEAREST ? 0 : 1))) fail_msg("map %zu: off by %d / 255", i, most);
        tr_planes_fini(&in);
        tr_planes_fini(&out);
    }
    golden_close(&g);
}

/* Catmull-Rom reproduces quadratics, so a turned and enlarged parabola must come out as the parabola. */
static void test_affine_bicubic(void **state)
{
    tr_planes in = { 0 }, out = { 0 };
    (void)state;
    assert_int_equal(tr_planes_new(&in, 2, 40, 50), TRESS_OK);
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 50; x++) {
            in.data[y * 50 + x] = (float)((x + 0.5) * (x + 0.5) / 2500 * 0.5 + (y + 0.5) / 100);
            tr_plane(in, 1)[y * 50 + x] = 0.25f;
        }
    const tr_affine m = { 0.6, -0.3, 15, 0.3, 0.6, 4 };
    assert_int_equal(tr_affine_apply(&out, in, m, 40, 30, TR_FILTER_BICUBIC, 0.75f), TRESS_OK);
    int n_in = 0, n_out = 0;
    for (int y = 0; y < 30; y++)
        for (int x = 0; x < 40; x++) {
            const double sx = m.a * (x + 0.5) + m.b * (y + 0.5) + m.c, sy = m.d * (x + 0.5) + m.e * (y + 0.5) + m.f;
            const float a = out.data[y * 40 + x], b = tr_plane(out, 1)[y * 40 + x];
            if (sx >= 2 && sx < 48 && sy >= 2 && sy < 38) {
                if (!(fabs(a - (sx * sx / 5000 + sy / 100)) <= 1e-6) || !(fabsf(b - 0.25f) <= 1e-7f)) fail_msg("at %d %d: %g", x, y, a);
                n_in++;
            } else if (sx < 0 || sy < 0 || sx >= 50 || sy >= 40) {
                assert_true(a == 0.75f && b == 0.75f);
                n_out++;
            }
        }
    assert_true(n_in > 500);
    tr_planes_fini(&in);
    tr_planes_fini(&out);
    (void)n_out;
}

/* A line one pixel wide, reduced ten times: sampling alone would lose it; the prefilter keeps its whole weight. */
static void test_affine_thin(void **state)
{
    tr_planes in = { 0 }, out = { 0 };
    (void)state;
    assert_int_equal(tr_planes_new(&in, 1, 400, 400), TRESS_OK);
    for (int y = 0; y < 400; y++) in.data[y * 400 + 203] = 1;
    for (int k = 0; k < 2; k++) {
        const tr_affine m = tr_affine_place(400, 400, 20, 20, 0.1, k ? 30 : 0, false);
        double sum = 0;
        assert_int_equal(tr_affine_apply(&out, in, m, 40, 40, TR_FILTER_BILINEAR, 0), TRESS_OK);
        for (int x = 0; x < 40; x++) sum += out.data[20 * 40 + x];
        const double w = k ? 0.1 / cos(M_PI / 6) : 0.1;                          /* width along the row */
        if (!(fabs(sum - w) <= 0.01)) fail_msg("weight %g, expected %g", sum, w);
        tr_planes_fini(&out);
    }
    tr_planes_fini(&in);
}

static void test_place(void **state)
{
    (void)state;
    /* a point right of the sketch's centre goes, turned by 90 degrees clockwise, below the photo's point */
    for (int flip = 0; flip < 2; flip++) {
        const tr_affine m = tr_affine_place(100, 80, 300, 200, 2, 90, flip);
        const double px = 300, py = 220;                                         /* 20 photo pixels = 10 of the sketch */
        assert_true(fabs(m.a * px + m.b * py + m.c - (flip ? 40 : 60)) < 1e-9);
        assert_true(fabs(m.d * px + m.e * py + m.f - 40) < 1e-9);
        /* and one above it goes to the right */
        assert_true(fabs(m.a * 320 + m.b * 200 + m.c - 50) < 1e-9 && fabs(m.d * 320 + m.e * 200 + m.f - 30) < 1e-9);
        assert_true(fabs(m.a * 300 + m.b * 200 + m.c - 50) < 1e-9 && fabs(m.d * 300 + m.e * 200 + m.f - 40) < 1e-9);
    }
    const tr_affine same = tr_affine_place(64, 48, 32, 24, 1, 0, false);
    tr_planes in = { 0 }, out = { 0 };
    assert_int_equal(tr_planes_new(&in, 3, 48, 64), TRESS_OK);
    for (int i = 0; i < 3 * 48 * 64; i++) in.data[i] = tr_philox_uniform(1, 0, (uint64_t)i);
    for (int f = 0; f < 3; f++) {
        static const tr_filter filters[] = { TR_FILTER_NEAREST, TR_FILTER_BILINEAR, TR_FILTER_BICUBIC };
        assert_int_equal(tr_affine_apply(&out, in, same, 64, 48, filters[f], 0), TRESS_OK);
        assert_memory_equal(in.data, out.data, 3 * 48 * 64 * sizeof(float));
        tr_planes_fini(&out);
    }
    assert_int_equal(tr_affine_apply(&out, in, same, 64, 48, TR_FILTER_LANCZOS, 0), TRESS_E_ARG);
    assert_int_equal(tr_affine_apply(&out, in, (tr_affine){ NAN, 0, 0, 0, 1, 0 }, 64, 48, TR_FILTER_BILINEAR, 0), TRESS_E_ARG);
    assert_int_equal(tr_resize(&out, in, 0, 5, TR_FILTER_BOX), TRESS_E_ARG);
    assert_int_equal(tr_resize_box(&out, in, (double[4]){ -1, 0, 5, 5 }, 5, 5, TR_FILTER_BOX), TRESS_E_ARG);
    assert_int_equal(tr_resize_box(&out, in, (double[4]){ 0, 0, NAN, 5 }, 5, 5, TR_FILTER_BOX), TRESS_E_ARG);
    assert_int_equal(tr_resize_box(&out, in, (double[4]){ 0, 0, 65, 5 }, 5, 5, TR_FILTER_BOX), TRESS_E_ARG);
    assert_null(out.data);
    tr_planes_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pillow),      cmocka_unit_test(test_affine_pillow), cmocka_unit_test(test_affine_bicubic),
        cmocka_unit_test(test_affine_thin), cmocka_unit_test(test_place),
    };
    return cmocka_run_group_tests_name("image/resize", tests, NULL, NULL);
}
