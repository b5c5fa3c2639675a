/* bpe_int.h - a byte-pair vocabulary as its two files fill it. */
#ifndef TRESS_TEXT_BPE_INT_H
#define TRESS_TEXT_BPE_INT_H

#include "text/added_int.h"
#include "text/map_int.h"
#include "text/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_bpe_rule { int32_t rank, id; } tr_bpe_rule;

struct tr_bpe {
    int32_t  byte_id[2][256];                   /* [does the word end here][byte] */
    tr_map64 pair;                              /* left id << 32 | right id -> index into rule */
    tr_bpe_rule *rule; int n_rule;
    tr_added added;
    int n_id, start, end, pad;
};

/* Text as the vocabulary is made for: NFC, every run of blanks one space, lower case. */
typedef struct tr_bpe_text {
    char  *s; size_t n;
    uint32_t (*mark)[2]; size_t n_mark;         /* where words begin: in s, in the input */
    size_t n_room, n_mark_room;
    int32_t *wide; size_t n_wide_room;          /* one word's characters */
} tr_bpe_text;
void tr_bpe_text_fini(tr_bpe_text *t);
/* Add n bytes of valid UTF-8, which begin at byte `at` of the input. Fails: OOM. */
TR_CHECKED tress_status tr_bpe_text_add(tr_bpe_text *t, const char *s, size_t n, size_t at);

#ifdef __cplusplus
}
#endif
#endif
