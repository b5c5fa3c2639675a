/* unicode_int.h - what the tokenizers ask about characters, answered as the fast tokenizers of transformers do. utf8proc
 * has the tables; unicode_newer.h has what their younger and older tables say differently. */
#ifndef TRESS_TEXT_UNICODE_INT_H
#define TRESS_TEXT_UNICODE_INT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_char_class { TR_CHAR_SPACE, TR_CHAR_LETTER, TR_CHAR_NUMBER, TR_CHAR_OTHER } tr_char_class;

/* Bytes of the character at s, which is valid UTF-8 of n >= 1 bytes; the character into *c. */
int tr_utf8_next(const char *s, size_t n, uint32_t *c);
/* c as 1 to 4 bytes at out; how many. */
int tr_utf8_put(char out[4], uint32_t c);
/* The first bytes of s that are not UTF-8, or n: overlong forms, surrogates and values above 10FFFF are not. */
size_t tr_utf8_valid(const char *s, size_t n);
/* A copy with every ill-formed sequence (the longest that could still have become a character) as U+FFFD. *out is new
 * (tr_free), with a NUL behind its *n_out bytes. Fails: OOM. */
TR_CHECKED tress_status tr_utf8_repair(char **out, size_t *n_out, const char *s, size_t n);
/* Which byte of s stands at byte `at` of its repaired copy. */
size_t tr_utf8_unrepaired(const char *s, size_t n, size_t at);
/* A prompt as both encoders take it: at most TR_PROMPT_MAX bytes, UTF-8. Where it had to be repaired, *clean is new (tr_free) and
 * *text, *n become its own; else all stay as they are. Fails: ARG (too long), OOM. */
#define TR_PROMPT_MAX 65536
TR_CHECKED tress_status tr_prompt_clean(char **clean, const char **text, size_t *n);

tr_char_class tr_char_get_class(uint32_t c);
bool          tr_char_is_space(uint32_t c);     /* Unicode's White_Space */
/* Lower case of c into out[2]; how many characters. No context: every final sigma becomes U+03C3. */
int           tr_char_lower(uint32_t out[2], uint32_t c);

/* Canonical composition (NFC) of n bytes of valid UTF-8 into out[*n_out], with tables of Unicode 9: younger marks stay
 * where they are. room >= 2 n is enough for any text: no character of k bytes decomposes into more than 1.5 k.
 * Fails: OOM (inside utf8proc). */
TR_CHECKED tress_status tr_char_compose(int32_t *out, size_t *n_out, size_t room, const char *s, size_t n);

/* Does a grapheme cluster end between a and b? *state starts at 0 and goes along. */
bool tr_char_breaks(uint32_t a, uint32_t b, int32_t *state);

#ifdef __cplusplus
}
#endif
#endif
