/* Views: what element [i, j, ..] of a view is, and sizes that overflow. */
#include "tensor/tensor.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static int32_t at(tr_tensor t, const int64_t *i)
{
    int64_t k = 0;
    for (int a = 0; a < t.rank; a++) k += i[a] * t.stride[a];
    return ((const int32_t *)t.data)[k];
}
#define AT(t, ...) at(t, (int64_t[]){ __VA_ARGS__ })

static void test_views(void **state)
{
    (void)state;
    int32_t x[120];
    for (int i = 0; i < 120; i++) x[i] = i;
    tr_tensor t = tr_view(x, TR_I32, TR_DIMS(2, 3, 4, 5));
    assert_true(tr_is_contiguous(t) && tr_count(t) == 120 && tr_has_dims(t, TR_DIMS(2, 3, 4, 5)) && !tr_has_dims(t, TR_DIMS(2, 3, 20)));
    assert_int_equal(AT(t, 1, 2, 3, 4), 119);

    tr_tensor s = tr_slice(t, 2, 1, 2);
    assert_true(tr_has_dims(s, TR_DIMS(2, 3, 2, 5)) && !tr_is_contiguous(s));
    assert_int_equal(AT(s, 1, 2, 1, 4), 60 + 40 + 10 + 4);
    assert_true(tr_is_contiguous(tr_slice(t, 0, 1, 1)));

    tr_tensor i = tr_index(t, 1, 2);
    assert_true(tr_has_dims(i, TR_DIMS(2, 4, 5)));
    assert_int_equal(AT(i, 1, 3, 4), 119);
    assert_int_equal(AT(i, 0, 1, 0), 45);

    const int order[] = { 0, 3, 1, 2 };
    tr_tensor p = tr_permute(t, order);
    assert_true(tr_has_dims(p, TR_DIMS(2, 5, 3, 4)));
    assert_int_equal(AT(p, 1, 4, 2, 3), 119);
    assert_int_equal(AT(p, 0, 1, 2, 3), 40 + 15 + 1);

    assert_int_equal(AT(tr_reshape(t, TR_DIMS(6, 20)), 5, 19), 119);
    tr_tensor r = tr_reshape(s, TR_DIMS(6, 10));                 /* rows of 2 x 5 inside steps of 20 */
    assert_int_equal(AT(r, 4, 7), AT(s, 1, 1, 1, 2));
    r = tr_reshape(s, TR_DIMS(1, 2, 1, 3, 10, 1));
    assert_int_equal(AT(r, 0, 1, 0, 2, 9, 0), AT(s, 1, 2, 1, 4));
    r = tr_reshape(tr_slice(t, 3, 0, 4), TR_DIMS(24, 2, 2));     /* a refinement of a strided last dim */
    assert_int_equal(AT(r, 23, 1, 0), AT(t, 1, 2, 3, 2));
    r = tr_reshape(tr_slice(tr_slice(t, 0, 1, 1), 2, 3, 1), TR_DIMS(3, 5));
    assert_int_equal(AT(r, 2, 4), 119);
    r = tr_reshape(tr_index(t, 3, 2), TR_DIMS(24));
    assert_int_equal(AT(r, 7), 37);

    assert_true(tr_is_none(tr_none()));
    assert_int_equal(tr_count(tr_view(x, TR_I32, TR_DIMS(3, 0))), 0);
    assert_int_equal(tr_count((tr_tensor){ .data = x, .dtype = TR_I32 }), 1);
}

static void test_bytes(void **state)
{
    (void)state;
    size_t n = 0;
    assert_int_equal(tr_bytes(&n, TR_F16, TR_DIMS(3, 5)), TRESS_OK);
    assert_int_equal(n, 30);
    assert_int_equal(tr_bytes(&n, TR_F32, TR_DIMS(0, INT64_MAX, INT64_MAX)), TRESS_OK);
    assert_int_equal(n, 0);
    n = 7;
    assert_int_equal(tr_bytes(&n, TR_F32, TR_DIMS(INT64_MAX / 2)), TRESS_E_SHAPE);
    assert_int_equal(tr_bytes(&n, TR_I8, TR_DIMS(1LL << 32, 1LL << 31)), TRESS_E_SHAPE);
    assert_int_equal(tr_bytes(&n, TR_I8, TR_DIMS(-1)), TRESS_E_SHAPE);
    assert_int_equal(n, 7);
}

static void test_text(void **state)
{
    (void)state;
    char buf[TR_DIMS_TEXT];
    assert_string_equal(tr_dims_text(buf, 3, (int64_t[]){ 2, 77, 768 }), "[2, 77, 768]");
    assert_string_equal(tr_dims_text(buf, 0, NULL), "[]");
    const int64_t big[] = { INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN };
    tr_dims_text(buf, 6, big);
    assert_int_equal(buf[TR_RANK_MAX * 20 + 5 * 2 + 1], ']');
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_views), cmocka_unit_test(test_bytes), cmocka_unit_test(test_text) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
