/* map_int.h - numbers by number: an open-addressed table that only grows. Keys from hostile files may all land in one
 * place, so a search that goes too far fails instead of taking for ever. */
#ifndef TRESS_TEXT_MAP_INT_H
#define TRESS_TEXT_MAP_INT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_map64_slot { uint64_t key; uint32_t value, used; } tr_map64_slot;
typedef struct tr_map64 { tr_map64_slot *slot; uint32_t n_slot, n; } tr_map64;    /* n_slot: a power of 2, or 0 */

/* Zero-initialise; room for n without growing. Fails: OOM. */
TR_CHECKED tress_status tr_map64_reserve(tr_map64 *m, uint32_t n);
void tr_map64_fini(tr_map64 *m);
/* The value of key, which is `value` from now on where there was none. Fails: OOM, FORMAT (no place within the limit). */
TR_CHECKED tress_status tr_map64_put(tr_map64 *m, uint64_t key, uint32_t value, uint32_t **at);

#define TR_MAP64_PROBES 1024
static inline uint32_t tr_map64_start(const tr_map64 *m, uint64_t key)
{
    key ^= key >> 32;
    key *= UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(key >> 32) & (m->n_slot - 1);
}
/* NULL: not there. */
static inline const uint32_t *tr_map64_get(const tr_map64 *m, uint64_t key)
{
    if (m->n_slot == 0) return NULL;
    for (uint32_t i = tr_map64_start(m, key);; i = (i + 1) & (m->n_slot - 1)) {
        if (!m->slot[i].used) return NULL;
        if (m->slot[i].key == key) return &m->slot[i].value;
    }
}
/* FNV-1a, folded once more: names as keys. */
static inline uint64_t tr_map64_name(const char *s, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * UINT64_C(0x100000001b3);
    return h;
}

#ifdef __cplusplus
}
#endif
#endif
