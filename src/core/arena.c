#include "core/arena.h"

#include "core/mem.h"

#define ALIGN ((size_t)256)
#define CHUNK_MIN ((size_t)1 << 20)
#define CHUNK_N 64                                  /* beyond half of them each new chunk is as large as all before it */

typedef struct chunk { char *p; size_t size, used; } chunk;

struct tr_arena {
    tr_arena_source source;
    chunk  chunk[CHUNK_N];
    int    n_chunk, i_chunk;                        /* chunks beyond i_chunk are empty */
    size_t used, peak;                              /* over all chunks, rounded to ALIGN */
};

/* Host memory: tr_alloc aligns to 64, so the block starts at the next multiple of 256 and its base lies just before it. */
static tress_status host_take(void *self, void **out, size_t n)
{
    void *base = NULL;
    (void)self;
    if (n > SIZE_MAX - ALIGN) return tr_fail(TRESS_E_OOM, "an arena of %zu bytes is more than can be addressed", n);
    tress_status st = tr_alloc_raw(&base, n + ALIGN);
    if (st != TRESS_OK) return st;
    void **p = (void **)(void *)((char *)base + (ALIGN - (uintptr_t)base % ALIGN));
    p[-1] = base;
    *out = p;
    return TRESS_OK;
}

static void host_give(void *self, void *p, size_t n)
{
    (void)self, (void)n;
    tr_free(((void **)p)[-1]);
}

tress_status tr_arena_new(tr_arena **out, const tr_arena_source *source)
{
    void *p = NULL;
    tress_status st = tr_alloc(&p, sizeof(tr_arena));
    if (st != TRESS_OK) return st;
    tr_arena *a = p;
    a->source = source ? *source : (tr_arena_source){ NULL, host_take, host_give };
    *out = a;
    return TRESS_OK;
}

static void give_from(tr_arena *a, int i)
{
    for (int k = i; k < a->n_chunk; k++) a->source.give(a->source.self, a->chunk[k].p, a->chunk[k].size);
    if (a->n_chunk > i) a->n_chunk = i;
}

void tr_arena_free(tr_arena *a)
{
    if (!a) return;
    give_from(a, 0);
    tr_free(a);
}

/* Chunk i, empty or not there yet, becomes a new one of at least n bytes. On failure everything is as it was. */
static tress_status new_chunk(tr_arena *a, int i, size_t n)
{
    size_t total = 0;
    for (int k = 0; k < i; k++) total += a->chunk[k].size;
    size_t size = n > CHUNK_MIN ? n : CHUNK_MIN;
    if (a->used == 0 && size < a->peak) size = a->peak;      /* the one chunk that replaces the many */
    if (i > CHUNK_N / 2 && size < total) size = total;
    if (i == CHUNK_N) return tr_fail(TRESS_E_OOM, "an arena needs more than %d chunks for %zu bytes", CHUNK_N, n);
    void *p = NULL;
    tress_status st = a->source.take(a->source.self, &p, size);
    if (st != TRESS_OK) return st;
    TR_ASSERT((uintptr_t)p % ALIGN == 0);
    give_from(a, i);
    a->chunk[i] = (chunk){ p, size, 0 };
    a->n_chunk = i + 1;
    return TRESS_OK;
}

tress_status tr_arena_take(tr_arena *a, void **out, size_t n)
{
    if (n > SIZE_MAX - ALIGN) return tr_fail(TRESS_E_OOM, "%zu bytes of scratch are more than can be addressed", n);
    n = n ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    if (a->n_chunk == 0 || a->chunk[a->i_chunk].size - a->chunk[a->i_chunk].used < n) {
        const int next = a->n_chunk == 0 || a->chunk[a->i_chunk].used == 0 ? a->i_chunk : a->i_chunk + 1;
        if (next >= a->n_chunk || a->chunk[next].size < n) {
            tress_status st = new_chunk(a, next, n);
            if (st != TRESS_OK) return st;
        }
        a->i_chunk = next;
    }
    chunk *c = &a->chunk[a->i_chunk];
    *out = c->p + c->used;
    c->used += n;
    a->used += n;
    if (a->used > a->peak) a->peak = a->used;
    return TRESS_OK;
}

tr_arena_mark tr_arena_push(tr_arena *a)
{
    return (tr_arena_mark){ a->i_chunk, a->n_chunk ? a->chunk[a->i_chunk].used : 0 };
}

void tr_arena_pop(tr_arena *a, tr_arena_mark m)
{
    if (a->n_chunk == 0) return;
    TR_ASSERT(m.chunk >= 0 && m.chunk <= a->i_chunk && m.used <= a->chunk[m.chunk].used);
    for (int k = m.chunk; k <= a->i_chunk; k++) {
        const size_t keep = k == m.chunk ? m.used : 0;
        a->used -= a->chunk[k].used - keep;
        a->chunk[k].used = keep;
    }
    a->i_chunk = m.chunk;
    if (a->used == 0) {
        a->i_chunk = 0;
        if (a->n_chunk > 1) give_from(a, 0);        /* the next take makes one chunk of the peak size */
    }
}

size_t tr_arena_peak(const tr_arena *a) { return a->peak; }

tress_status tr_arena_reserve(tr_arena *a, size_t n)
{
    TR_ASSERT(a->used == 0);
    if (a->n_chunk > 0 && a->chunk[0].size >= n) return TRESS_OK;
    give_from(a, 0);
    a->i_chunk = 0;
    return new_chunk(a, 0, n);
}

void tr_arena_trim(tr_arena *a)
{
    TR_ASSERT(a->used == 0);
    give_from(a, 0);
    a->i_chunk = 0;
    a->peak = 0;
}
