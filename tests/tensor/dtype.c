/* Number types: every one of the 65536 patterns of the 16-bit floats and the 256 of float8, both ways, and every rounding
 * boundary between neighbours. The reference is the definition of the format in float64. */
#include "tensor/tensor.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

typedef struct format {
    int n_exp, n_frac, bias;
    bool infinite;                              /* has infinities; else only all ones is NaN */
    float    (*widen)(uint32_t);
    uint32_t (*narrow)(float);
} format;

static float w16(uint32_t h) { return tr_f16_to_f32((uint16_t)h); }
static float wb(uint32_t h) { return tr_bf16_to_f32((uint16_t)h); }
static float w8(uint32_t h) { return tr_f8e4m3_to_f32((uint8_t)h); }
static uint32_t n16(float f) { return tr_f32_to_f16(f); }
static uint32_t nb(float f) { return tr_f32_to_bf16(f); }
static uint32_t n8(float f) { return tr_f32_to_f8e4m3(f); }

static const format f16 = { 5, 10, 15, true, w16, n16 }, bf16 = { 8, 7, 127, true, wb, nb }, f8 = { 4, 3, 7, false, w8, n8 };

/* By the definition. NAN for NaN. */
static double value(const format *f, uint32_t h)
{
    const uint32_t m = h & ((1u << f->n_frac) - 1), e = h >> f->n_frac & ((1u << f->n_exp) - 1), e_max = (1u << f->n_exp) - 1;
    const double sign = h >> (f->n_frac + f->n_exp) & 1 ? -1 : 1;
    if (e == e_max && f->infinite) return m ? (double)NAN : sign * (double)INFINITY;
    if (e == e_max && !f->infinite && m == (1u << f->n_frac) - 1) return (double)NAN;
    if (e == 0) return sign * ldexp(m, 1 - f->bias - f->n_frac);
    return sign * ldexp((double)(m | 1u << f->n_frac), (int)e - f->bias - f->n_frac);
}

static void check_all(const format *f)
{
    const uint32_t n = 1u << (1 + f->n_exp + f->n_frac), top = n / 2;
    for (uint32_t h = 0; h < n; h++) {
        const double want = value(f, h);
        const float got = f->widen(h);
        if (isnan(want)) {
            assert_true(isnan(got));
            const uint32_t back = f->narrow(got);
            assert_true(isnan(value(f, back)));
            assert_int_equal(back & top, h & top);
            continue;
        }
        assert_true((double)got == want && !signbit(got) == !(h & top));
        assert_int_equal(f->narrow(got), h);
    }
    /* Between each finite value and the next of the same sign: below, at and above the midpoint. */
    for (uint32_t h = 0; h + 1 < top; h++) {
        const double lo = value(f, h), hi = value(f, h + 1);
        if (!isfinite(lo) || !isfinite(hi)) continue;
        const float mid = (float)((lo + hi) / 2);
        assert_true((double)mid == (lo + hi) / 2);
        const uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(f->narrow(mid), even);
        assert_int_equal(f->narrow(-mid), even | top);
        assert_int_equal(f->narrow(nextafterf(mid, 0)), mid > 0 && nextafterf(mid, 0) < (float)lo ? h - 1 : h);
        assert_int_equal(f->narrow(nextafterf(mid, INFINITY)), h + 1);
    }
}

static void test_f16(void **state)
{
    (void)state;
    check_all(&f16);
    assert_int_equal(tr_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(tr_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(tr_f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(tr_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(tr_f32_to_f16(0x1p-149f), 0);
}

static void test_bf16(void **state)
{
    (void)state;
    check_all(&bf16);
    assert_int_equal(tr_f32_to_bf16(3.4028235e38f), 0x7f80);       /* nearest is 2^128 */
}

static void test_f8(void **state)
{
    (void)state;
    check_all(&f8);
    for (float v = 449; v < 520; v += 0.5f) assert_int_equal(tr_f32_to_f8e4m3(v), 0x7e);
    assert_int_equal(tr_f32_to_f8e4m3(1e30f), 0x7e);
    assert_int_equal(tr_f32_to_f8e4m3(-INFINITY), 0xfe);
}

static void test_names(void **state)
{
    (void)state;
    static const size_t sizes[TR_DTYPE_N] = { 4, 2, 2, 1, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1, 1 };
    for (int i = 0; i < TR_DTYPE_N; i++) {
        tr_dtype t = TR_DTYPE_N;
        assert_true(tr_dtype_parse(&t, tr_dtype_name((tr_dtype)i)));
        assert_int_equal(t, i);
        assert_int_equal(tr_dtype_size(t), sizes[i]);
    }
    tr_dtype t = TR_F16;
    assert_false(tr_dtype_parse(&t, "F33"));
    assert_false(tr_dtype_parse(&t, ""));
    assert_int_equal(t, TR_F16);
    assert_true(tr_dtype_is_float(TR_F8_E4M3) && tr_dtype_is_float(TR_F64) && !tr_dtype_is_float(TR_I8) && !tr_dtype_is_float(TR_BOOL));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_f16), cmocka_unit_test(test_bf16), cmocka_unit_test(test_f8),
                                        cmocka_unit_test(test_names) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
