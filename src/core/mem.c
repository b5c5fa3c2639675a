#include "core/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Counters of the process, and the torturer's trip wire: with the thread's message the only writable state of core. */
static _Atomic int64_t n_alloc, n_bytes, n_peak;
static _Atomic int64_t fail_at = INT64_MAX;

#define ALIGN 64
typedef struct head { void *base; size_t n; } head;              /* lies right before the bytes handed out */

static void count(int64_t n)
{
    int64_t now = atomic_fetch_add_explicit(&n_bytes, n, memory_order_relaxed) + n;
    int64_t peak = atomic_load_explicit(&n_peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(&n_peak, &peak, now, memory_order_relaxed, memory_order_relaxed)) {}
}

static tress_status take(void **out, size_t n, bool zero)
{
    const int64_t i = atomic_fetch_add_explicit(&n_alloc, 1, memory_order_relaxed) + 1;
    const size_t room = n + ALIGN + sizeof(head);
    char *base = NULL;
    /* calloc rather than memset: fresh pages of large blocks stay untouched until they are used */
    if (i < atomic_load_explicit(&fail_at, memory_order_relaxed) && room > n && n <= (size_t)INT64_MAX)
        base = zero ? calloc(1, room) : malloc(room);
    if (!base) return tr_fail(TRESS_E_OOM, "out of memory: %zu bytes asked for, %" PRId64 " bytes in use", n, tr_mem_now().bytes);
    char *p = base + sizeof(head);
    p += (ALIGN - (uintptr_t)p % ALIGN) % ALIGN;
    ((head *)(void *)p)[-1] = (head){ base, n };
    count((int64_t)n);
    *out = p;
    return TRESS_OK;
}

tress_status tr_alloc(void **out, size_t n) { return take(out, n, true); }
tress_status tr_alloc_raw(void **out, size_t n) { return take(out, n, false); }

tress_status tr_alloc_array(void **out, int64_t n, size_t size)
{
    size_t bytes = 0;
    tress_status st = tr_mul_bytes(&bytes, n, size);
    return st == TRESS_OK ? tr_alloc(out, bytes) : st;
}

tress_status tr_realloc(void **p, size_t n_old, size_t n_new)
{
    void *q = NULL;
    const size_t n_keep = n_old < n_new ? n_old : n_new;
    tress_status st = tr_alloc_raw(&q, n_new);
    if (st != TRESS_OK) return st;
    if (*p && n_keep) memcpy(q, *p, n_keep);
    if (n_new > n_keep) memset((char *)q + n_keep, 0, n_new - n_keep);
    tr_free(*p);
    *p = q;
    return TRESS_OK;
}

tress_status tr_strdup(char **out, const char *s)
{
    void *p = NULL;
    const size_t n = strlen(s) + 1;
    tress_status st = tr_alloc_raw(&p, n);
    if (st != TRESS_OK) return st;
    memcpy(p, s, n);
    *out = p;
    return TRESS_OK;
}

void tr_free(void *p)
{
    if (!p) return;
    const head h = ((head *)p)[-1];
    atomic_fetch_sub_explicit(&n_bytes, (int64_t)h.n, memory_order_relaxed);
    free(h.base);
}

tr_mem_stats tr_mem_now(void)
{
    return (tr_mem_stats){
        .n_alloc = atomic_load_explicit(&n_alloc, memory_order_relaxed),
        .bytes = atomic_load_explicit(&n_bytes, memory_order_relaxed),
        .peak_bytes = atomic_load_explicit(&n_peak, memory_order_relaxed),
    };
}

void tr_mem_reset_peak(void)
{
    atomic_store_explicit(&n_peak, atomic_load_explicit(&n_bytes, memory_order_relaxed), memory_order_relaxed);
}

void tr_mem_fail_at(int64_t n)
{
    const int64_t now = atomic_load_explicit(&n_alloc, memory_order_relaxed);
    atomic_store_explicit(&fail_at, n > 0 ? now + n : INT64_MAX, memory_order_relaxed);
}

tress_status tr_mul_bytes(size_t *out, int64_t n, size_t size)
{
    size_t bytes = 0;
    if (n < 0 || __builtin_mul_overflow((size_t)n, size, &bytes) || bytes > (size_t)INT64_MAX)
        return tr_fail(TRESS_E_OOM, "%" PRId64 " items of %zu bytes are more than can be addressed", n, size);
    *out = bytes;
    return TRESS_OK;
}

#define STR_MAX ((size_t)64 << 20)

tress_status tr_str_add(tr_str *b, const char *bytes, size_t n)
{
    const size_t max = b->max ? b->max : STR_MAX;
    if (b->len > max || n > max - b->len) return tr_fail(TRESS_E_OOM, "a text would grow beyond %zu bytes", max);
    if (!b->s || b->len + n + 1 > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        if (cap < b->len + n + 1) cap = b->len + n + 1;
        void *p = b->s;
        tress_status st = tr_realloc(&p, b->len, cap);
        if (st != TRESS_OK) return st;
        b->s = p;
        b->cap = cap;
    }
    if (n) memcpy(b->s + b->len, bytes, n);
    b->len += n;
    b->s[b->len] = 0;
    return TRESS_OK;
}

tress_status tr_str_printf(tr_str *b, const char *format, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(small, sizeof small, format, ap);
    va_end(ap);
    if (n < 0) return tr_fail(TRESS_E_ARG, "a text cannot be formatted by \"%s\"", format);
    if ((size_t)n < sizeof small) return tr_str_add(b, small, (size_t)n);
    void *big = NULL;
    tress_status st = tr_alloc_raw(&big, (size_t)n + 1);
    if (st != TRESS_OK) return st;
    va_start(ap, format);
    vsnprintf(big, (size_t)n + 1, format, ap);
    va_end(ap);
    st = tr_str_add(b, big, (size_t)n);
    tr_free(big);
    return st;
}

void tr_str_fini(tr_str *b)
{
    tr_free(b->s);
    *b = (tr_str){ 0 };
}

int64_t tr_mem_machine(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    int64_t n;
    return pages > 0 && page > 0 && !__builtin_mul_overflow((int64_t)pages, (int64_t)page, &n) ? n : 0;
}
