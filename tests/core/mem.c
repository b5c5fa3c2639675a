/* Counted memory: alignment, zeroes, overflow, and the trip wire that fails the nth allocation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/core.h"

#include <string.h>

static void aligned_zeroed_counted(void **state)
{
    (void)state;
    const tr_mem_stats before = tr_mem_now();
    for (size_t n = 0; n < 300; n += 7) {
        void *p = NULL;
        assert_int_equal(tr_alloc(&p, n), TRESS_OK);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(((char *)p)[i], 0);
        memset(p, 0xee, n);
        assert_int_equal(tr_mem_now().bytes - before.bytes, n);
        tr_free(p);
    }
    assert_int_equal(tr_mem_now().bytes, before.bytes);
    assert_int_equal(tr_mem_now().n_alloc - before.n_alloc, 43);
    tr_free(NULL);
}

static void peak(void **state)
{
    (void)state;
    void *p = NULL, *q = NULL;
    tr_mem_reset_peak();
    const int64_t base = tr_mem_now().bytes;
    assert_int_equal(tr_alloc_raw(&p, 1000), TRESS_OK);
    assert_int_equal(tr_alloc_raw(&q, 500), TRESS_OK);
    tr_free(p);
    tr_free(q);
    assert_int_equal(tr_mem_now().peak_bytes - base, 1500);
    tr_mem_reset_peak();
    assert_int_equal(tr_mem_now().peak_bytes, base);
}

static void too_much_is_oom(void **state)
{
    (void)state;
    void *p = &p;
    size_t n = 3;
    assert_int_equal(tr_alloc(&p, SIZE_MAX), TRESS_E_OOM);
    assert_int_equal(tr_alloc(&p, SIZE_MAX - 64), TRESS_E_OOM);
    assert_int_equal(tr_alloc_array(&p, INT64_MAX, 16), TRESS_E_OOM);
    assert_int_equal(tr_alloc_array(&p, -1, 1), TRESS_E_OOM);
    assert_int_equal(tr_mul_bytes(&n, INT64_MAX, 2), TRESS_E_OOM);
    assert_int_equal(tr_mul_bytes(&n, (int64_t)1 << 40, (size_t)1 << 40), TRESS_E_OOM);
    assert_ptr_equal(p, &p);
    assert_int_equal(n, 3);
    assert_int_equal(tr_mul_bytes(&n, 0, SIZE_MAX), TRESS_OK);
    assert_int_equal(n, 0);
}

static void realloc_keeps_and_zeroes(void **state)
{
    (void)state;
    void *p = NULL;
    assert_int_equal(tr_realloc(&p, 0, 5), TRESS_OK);
    memcpy(p, "hello", 5);
    assert_int_equal(tr_realloc(&p, 5, 4000), TRESS_OK);
    assert_memory_equal(p, "hello\0\0\0", 8);
    assert_int_equal(((char *)p)[3999], 0);
    void *old = p;
    tr_mem_fail_at(1);
    assert_int_equal(tr_realloc(&p, 4000, 8000), TRESS_E_OOM);
    tr_mem_fail_at(0);
    assert_ptr_equal(p, old);
    tr_free(p);
}

static void nth_fails(void **state)
{
    (void)state;
    void *p[5] = { 0 };
    tr_mem_fail_at(3);
    for (int i = 0; i < 5; i++) assert_int_equal(tr_alloc(&p[i], 8), i < 2 ? TRESS_OK : TRESS_E_OOM);
    assert_non_null(strstr(tr_message(), "out of memory"));
    tr_mem_fail_at(0);
    for (int i = 0; i < 5; i++) {
        if (i >= 2) assert_null(p[i]);
        tr_free(p[i]);
    }
}

static void growing_text(void **state)
{
    (void)state;
    tr_str s = { .max = 1000 };
    for (int i = 0; i < 100; i++) assert_int_equal(tr_str_printf(&s, "%02d,", i), TRESS_OK);
    assert_int_equal(s.len, 300);
    assert_int_equal(strlen(s.s), 300);
    assert_int_equal(tr_str_add(&s, "\0x", 2), TRESS_OK);
    assert_int_equal(s.len, 302);
    assert_int_equal(tr_str_printf(&s, "%0600d", 7), TRESS_OK);          /* beyond the small buffer */
    assert_int_equal(s.len, 902);
    assert_int_equal(tr_str_printf(&s, "%0600d", 7), TRESS_E_OOM);       /* beyond max */
    assert_int_equal(s.len, 902);
    assert_int_equal(s.s[901], '7');
    tr_str_fini(&s);
    assert_int_equal(tr_str_add(&s, "", 0), TRESS_OK);
    assert_string_equal(s.s, "");
    tr_str_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_zeroed_counted), cmocka_unit_test(peak), cmocka_unit_test(too_much_is_oom),
        cmocka_unit_test(realloc_keeps_and_zeroes), cmocka_unit_test(nth_fails), cmocka_unit_test(growing_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
