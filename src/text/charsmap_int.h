/* charsmap_int.h - the normaliser inside T5's vocabulary: a double array from byte strings to their replacements, used as
 * the fast tokenizers use it (spec/text.md section 5). */
#ifndef TRESS_TEXT_CHARSMAP_INT_H
#define TRESS_TEXT_CHARSMAP_INT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_charsmap {
    uint32_t *unit; size_t n_unit;              /* owned; n_unit 0: nothing is replaced */
    char     *text; size_t n_text;              /* owned: replacements, each ending in NUL */
    int32_t   ascii[128];                       /* where the replacement of one ASCII character begins in text; -1: none */
} tr_charsmap;

/* blob: uint32 bytes of the array, the array, the replacements; little-endian. n 0: an empty map. Fails: FORMAT, OOM. */
TR_CHECKED tress_status tr_charsmap_init(tr_charsmap *m, const uint8_t *blob, size_t n, const char *where);
void tr_charsmap_fini(tr_charsmap *m);

/* Text and, for each of its bytes, where in the input it comes from. */
typedef struct tr_normal { char *s; uint32_t *from; size_t n, n_room; } tr_normal;
void tr_normal_fini(tr_normal *t);
TR_CHECKED tress_status tr_normal_add(tr_normal *t, const char *s, size_t n, uint32_t from);

/* Add n bytes of valid UTF-8, which begin at byte `at` of the input: every grapheme cluster of fewer than 6 bytes with a
 * prefix in the map becomes what the shortest such prefix maps to; otherwise each of its characters does so by itself. */
TR_CHECKED tress_status tr_charsmap_apply(const tr_charsmap *m, tr_normal *to, const char *s, size_t n, size_t at);

#ifdef __cplusplus
}
#endif
#endif
