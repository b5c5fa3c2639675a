/* unigram_int.h - a unigram vocabulary as its file fills it. */
#ifndef TRESS_TEXT_UNIGRAM_INT_H
#define TRESS_TEXT_UNIGRAM_INT_H

#include "text/added_int.h"
#include "text/charsmap_int.h"
#include "text/map_int.h"
#include "text/text.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tr_unigram {
    /* The pieces as a tree of bytes: node 0 is the root. */
    tr_map64 child;                             /* node << 8 | byte -> node */
    struct tr_unigram_node { double score; int32_t id; } *node;        /* id -1: no piece ends here */
    int      n_node, n_node_room, n_piece;
    int32_t  root[256];                         /* the root's children; 0: none */
    double   score_min;
    int      n_id, unk, end, pad;
    tr_charsmap map;
    tr_added added;
    /* What happens between the map and the pieces. transformers' class splits at blanks and begins every word with the
     * mark; a tokenizer.json may ask for less. */
    bool strip_right, blanks_to_mark;           /* normaliser: cut blanks at the end; two and more spaces become a mark */
    bool split_blanks, mark_first_only;         /* pre-tokeniser: WhitespaceSplit; the mark before the first piece of the text alone */
};

/* Add the piece with the next id. Fails: FORMAT (bounds), OOM. */
TR_CHECKED tress_status tr_unigram_put(tr_unigram *t, const char *s, size_t n, double score, const char *where);
/* The text that pieces are looked for in. x is filled anew; at: where s stands in the input. */
TR_CHECKED tress_status tr_unigram_normalise(const tr_unigram *t, tr_normal *x, const char *s, size_t n, size_t at);
/* The id of a piece, or -1. */
int tr_unigram_find(const tr_unigram *t, const char *s, size_t n);
TR_CHECKED tress_status tr_unigram_read_json(tr_unigram *t, tr_added *file, int64_t *unk, const char *path, tr_unigram_rule rule);
TR_CHECKED tress_status tr_unigram_read_spiece(tr_unigram *t, int64_t *unk, const char *path);

#ifdef __cplusplus
}
#endif
#endif
