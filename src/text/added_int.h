/* added_int.h - tokens that are found in the text before anything else: <|endoftext|>, <extra_id_7>, and "!" where it pads.
 * Which those are, and whether they are looked for in the text as written or in the normalised text, is put together from
 * tokenizer_config.json, special_tokens_map.json and tokenizer.json by the rules of transformers 5 (tokenization_utils_base
 * and tokenization_utils_tokenizers); docs/pitfalls.md has what surprises. */
#ifndef TRESS_TEXT_ADDED_INT_H
#define TRESS_TEXT_ADDED_INT_H

#include "text/scan_int.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_special { TR_BOS, TR_EOS, TR_UNK, TR_SEP, TR_PAD, TR_CLS, TR_MASK, TR_SPECIAL_N } tr_special;

typedef struct tr_added_token {
    char   *content;                            /* owned, ends in NUL */
    int     id;                                 /* -1 until resolved */
    bool    normalized;                         /* looked for in the normalised text */
    char   *pattern; size_t n_pattern;          /* owned: content, normalised where it is looked for so */
} tr_added_token;

typedef struct tr_added {
    tr_added_token *token; int n, n_room;
    char *name[TR_SPECIAL_N];                   /* owned: the text of each special token; NULL where there is none */
    bool  first[2][256];                        /* [normalized]: bytes that some pattern begins with */
} tr_added;

void tr_added_fini(tr_added *a);
/* Put one in, or change the one of that content. Fails: FORMAT (too long, too many), OOM. */
TR_CHECKED tress_status tr_added_put(tr_added *a, const char *content, size_t n, bool normalized, const char *where);
/* The array "added_tokens" of a tokenizer.json, at which p stands. Fails: FORMAT, OOM. */
TR_CHECKED tress_status tr_scan_added(tr_scan *p, tr_added *a);
/* Read DIR/tokenizer_config.json and DIR/special_tokens_map.json, either of which may be missing.
 *   fallback  what each special token is where no file says; NULL: none
 *   file      the added tokens of tokenizer.json, in its order; counted only where the configuration has no list of its own
 *   n_extra   with extra >= 0: <extra_id_0> and on that are added last, by `extra_ids` of the configuration, else n_extra */
TR_CHECKED tress_status tr_added_read(tr_added *a, const char *dir, const char *const fallback[TR_SPECIAL_N], const tr_added *file, int n_extra);
/* After ids and patterns are set: prepare the search. */
void tr_added_ready(tr_added *a);
/* The first match at or behind *begin, the longest of those that begin there: its token, or -1. *begin and *end are set. */
int tr_added_find(const tr_added *a, bool normalized, const char *s, size_t n, size_t *begin, size_t *end);

#ifdef __cplusplus
}
#endif
#endif
