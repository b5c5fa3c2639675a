/* arena.h - scratch memory in chunks from any allocator, so that it serves host and device memory alike.
 * It never touches the bytes it hands out. Chunks are kept: after the first step nothing is allocated. When everything
 * is popped and there is more than one chunk, they are replaced by one chunk of the peak size. */
#ifndef TRESS_CORE_ARENA_H
#define TRESS_CORE_ARENA_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_arena tr_arena;
typedef struct tr_arena_source {
    void *self;
    tress_status (*take)(void *self, void **out, size_t n);     /* 256-byte aligned */
    void (*give)(void *self, void *p, size_t n);
} tr_arena_source;
typedef struct tr_arena_mark { int chunk; size_t used; } tr_arena_mark;

TR_CHECKED tress_status tr_arena_new(tr_arena **out, const tr_arena_source *source /* copied; NULL: host memory */);
void tr_arena_free(tr_arena *a);
/* n bytes, 256-byte aligned, not zeroed, until the pop. Fails: OOM. */
TR_CHECKED tress_status tr_arena_take(tr_arena *a, void **out, size_t n);
tr_arena_mark tr_arena_push(tr_arena *a);
void   tr_arena_pop(tr_arena *a, tr_arena_mark m);
size_t tr_arena_peak(const tr_arena *a);        /* the most bytes in use at once so far */
/* Nothing is in use: the next n bytes will come from one piece. Without it the first use takes up to twice what it needs. Fails: OOM. */
TR_CHECKED tress_status tr_arena_reserve(tr_arena *a, size_t n);
void   tr_arena_trim(tr_arena *a);              /* nothing is in use: all goes back, and the peak is forgotten */

#ifdef __cplusplus
}
#endif
#endif
