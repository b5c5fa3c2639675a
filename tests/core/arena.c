/* The arena: alignment, reuse without allocation after the first step, one chunk of the peak, failure without damage. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/core.h"

#include <string.h>

static void *take(tr_arena *a, size_t n)
{
    void *p = NULL;
    assert_int_equal(tr_arena_take(a, &p, n), TRESS_OK);
    assert_int_equal((uintptr_t)p % 256, 0);
    return p;
}

/* A step as a model makes them: nested scratch of odd sizes, some larger than a chunk. */
static void step(tr_arena *a)
{
    const tr_arena_mark m = tr_arena_push(a);
    char *x = take(a, 700001);
    memset(x, 1, 700001);
    for (int i = 0; i < 5; i++) {
        const tr_arena_mark k = tr_arena_push(a);
        char *y = take(a, 900000 + 1000 * (size_t)i), *z = take(a, 1), *w = take(a, 3000000);
        memset(y, 2, 900000);
        memset(w, 3, 3000000);
        *z = 4;
        assert_true(y[0] == 2 && y[899999] == 2 && w[0] == 3 && w[2999999] == 3);
        tr_arena_pop(a, k);
    }
    assert_true(x[0] == 1 && x[700000] == 1);
    tr_arena_pop(a, m);
}

static void reuse(void **state)
{
    (void)state;
    tr_arena *a = NULL;
    assert_int_equal(tr_arena_new(&a, NULL), TRESS_OK);
    step(a);
    const size_t peak = tr_arena_peak(a);
    assert_true(peak >= 700001 + 904000 + 1 + 3000000 && peak < 700001 + 904000 + 1 + 3000000 + 4 * 256);
    step(a);                                        /* one chunk of the peak size */
    const tr_mem_stats now = tr_mem_now();
    for (int i = 0; i < 100; i++) step(a);
    assert_int_equal(tr_mem_now().n_alloc, now.n_alloc);
    assert_int_equal(tr_mem_now().bytes, now.bytes);
    assert_int_equal(tr_arena_peak(a), peak);
    tr_arena_free(a);
    tr_arena_free(NULL);
}

typedef struct fake { int n_take, n_give, fail; size_t in_use; char *base; } fake;
static tress_status fake_take(void *self, void **out, size_t n)
{
    fake *f = self;
    if (f->fail) return tr_fail(TRESS_E_OOM, "no more");
    f->n_take++;
    f->in_use += n;
    *out = f->base += (size_t)1 << 32;              /* never touched: it could be device memory */
    return TRESS_OK;
}
static void fake_give(void *self, void *p, size_t n)
{
    fake *f = self;
    (void)p;
    f->n_give++;
    f->in_use -= n;
}

static void other_memory(void **state)
{
    (void)state;
    fake f = { .base = (char *)((uintptr_t)1 << 40) };
    tr_arena *a = NULL;
    assert_int_equal(tr_arena_new(&a, &(tr_arena_source){ &f, fake_take, fake_give }), TRESS_OK);
    const tr_arena_mark m = tr_arena_push(a);
    take(a, 10), take(a, 5 << 20), take(a, 7 << 20);
    assert_int_equal(f.n_take, 3);
    tr_arena_pop(a, m);
    assert_int_equal(f.in_use, 0);
    take(a, 1);
    assert_int_equal(f.n_take, 4);
    assert_int_equal(f.in_use, tr_arena_peak(a));
    tr_arena_free(a);
    assert_int_equal(f.n_take, f.n_give);
    assert_int_equal(f.in_use, 0);
}

/* A failed take changes nothing: what was taken stays, marks stay good, smaller takes go on. */
/* What is reserved comes from one piece of that size, and trimmed it is gone. */
static void one_piece(void **state)
{
    (void)state;
    tr_arena *a = NULL;
    const size_t n = (size_t)40 << 20;
    const int64_t before = tr_mem_now().bytes;
    assert_int_equal(tr_arena_new(&a, NULL), TRESS_OK);
    const tr_arena_mark m = tr_arena_push(a);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(tr_arena_reserve(a, n), TRESS_OK);
        char *p = take(a, n / 2), *q = take(a, n / 2);
        assert_true(q == p + n / 2);
        assert_true(tr_mem_now().bytes - before < (int64_t)n + (1 << 16));
        tr_arena_pop(a, m);
        assert_int_equal(tr_arena_reserve(a, n / 3), TRESS_OK);     /* enough is there */
        assert_true(take(a, n) == p);
        tr_arena_pop(a, m);
        tr_arena_trim(a);
        assert_true(tr_mem_now().bytes - before < 1 << 16 && tr_arena_peak(a) == 0);
    }
    tr_arena_free(a);
}

static void failure_is_harmless(void **state)
{
    (void)state;
    fake f = { .base = (char *)((uintptr_t)1 << 40) };
    tr_arena *a = NULL;
    void *p = NULL;
    assert_int_equal(tr_arena_new(&a, &(tr_arena_source){ &f, fake_take, fake_give }), TRESS_OK);
    take(a, 1 << 20);
    const tr_arena_mark m0 = tr_arena_push(a);
    take(a, 1000);
    tr_arena_pop(a, m0);
    take(a, 1000);
    const tr_arena_mark m1 = tr_arena_push(a);
    f.fail = 1;
    assert_int_equal(tr_arena_take(a, &p, 64 << 20), TRESS_E_OOM);
    assert_null(p);
    tr_arena_pop(a, m1);
    take(a, 1000);
    tr_arena_pop(a, m0);
    assert_int_equal(tr_arena_take(a, &p, SIZE_MAX), TRESS_E_OOM);
    f.fail = 0;
    take(a, 64 << 20);
    tr_arena_free(a);
    assert_int_equal(f.in_use, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reuse), cmocka_unit_test(other_memory), cmocka_unit_test(one_piece), cmocka_unit_test(failure_is_harmless) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
