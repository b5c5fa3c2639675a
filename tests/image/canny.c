/* Edges against OpenCV's, pixel for pixel. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "image/golden.h"

static void test_opencv(void **state)
{
    golden g;
    size_t i;
    json_t *o;
    int64_t n_all = 0, n_edge = 0, n_off = 0;
    (void)state;
    golden_open(&g, "canny");
    json_array_foreach(json_object_get(g.json, "cases"), i, o) {
        const uint8_t *bits = golden_at(&g, "out.%d", (int)i).data;
        tr_planes in = golden_planes(golden_at(&g, "in.%d", (int)number(o, "input"))), out = { 0 };
        int64_t off = 0;
        assert_int_equal(tr_canny(&out, in, number(o, "sigma"), (int)number(o, "low"), (int)number(o, "high")), TRESS_OK);
        assert_true(out.c == 1 && out.h == in.h && out.w == in.w);
        const int64_t n = (int64_t)in.h * in.w;
        for (int64_t k = 0; k < n; k++) {
            const int want = bits[k / 8] >> (7 - k % 8) & 1;
            assert_true(out.data[k] == 0.0f || out.data[k] == 1.0f);
            off += want != (int)out.data[k];
            n_edge += want;
        }
        if (off) print_message("case %zu (input %g, sigma %g, %g): %lld of %lld pixels differ\n", i, number(o, "input"), number(o, "sigma"), number(o, "low"),
                               (long long)off, (long long)n);
        n_off += off;
        n_all += n;
        tr_planes_fini(&in);
        tr_planes_fini(&out);
    }
    print_message("%lld pixels, %lld edges, %lld differ\n", (long long)n_all, (long long)n_edge, (long long)n_off);
    assert_true(n_edge > 10000);
    assert_int_equal(n_off, 0);                                                  /* the same integers: no tolerance */
    golden_close(&g);
}

static void test_arguments(void **state)
{
    tr_planes in = { 0 }, out = { 0 };
    (void)state;
    assert_int_equal(tr_planes_new(&in, 3, 4, 4), TRESS_OK);
    assert_int_equal(tr_canny(&out, in, 1, 1, 2), TRESS_E_ARG);
    in.c = 1;
    assert_int_equal(tr_canny(&out, in, NAN, 1, 2), TRESS_E_ARG);
    assert_int_equal(tr_canny(&out, in, 41, 1, 2), TRESS_E_ARG);
    assert_int_equal(tr_canny(&out, in, 1, -1, 2), TRESS_E_ARG);
    assert_null(out.data);
    tr_planes_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_opencv), cmocka_unit_test(test_arguments) };
    return cmocka_run_group_tests_name("image/canny", tests, NULL, NULL);
}
