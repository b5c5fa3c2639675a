/* words.h - prompts into what the transformer reads: tokenizers, CLIP-L, OpenCLIP bigG, T5, put together as SD3 does.
 *     context = [ L | G | zeros ]  77 rows,  then T5's rows            pooled = [ pooled L | pooled G ]
 * Esser et al. 2024, arXiv:2403.03206, sec. 4. Each encoder is opened, used for all texts and closed before the next. */
#ifndef TRESS_GENERATE_WORDS_H
#define TRESS_GENERATE_WORDS_H

#include "generate/bundle.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_CLIP_ROWS 77
#define TR_T5_ROWS_MAX 512

/* Ids of one text for the three encoders; n_t5 rows for T5. A model without T5 leaves t5 alone and sets has_t5 false.
 * What was cut is told as a note. Fails: IO naming --tokenizers, FORMAT. */
typedef struct tr_ids {
    int32_t clip_l[TR_CLIP_ROWS], clip_g[TR_CLIP_ROWS], t5[TR_T5_ROWS_MAX];
    int     end_l, end_g;                       /* <|endoftext|> of either */
    bool    has_t5;
} tr_ids;
TR_CHECKED tress_status tr_words_tokenize(tr_ids *out, const tr_bundle *m, const char *text, int n_t5);

/* What the guide is given. */
typedef struct tr_words {
    tr_tensor context, pooled;                  /* [1 or b, n, d_context], [1 or b, d_pooled] */
    tr_tensor context_neg, pooled_neg;          /* none without guidance */
    int       repeat;                           /* tr_guide_args.context_repeat */
    tr_device *owner;                           /* NULL: views of the bundle's memory, good until its next encoding */
} tr_words;
/* By a->embeds_in, a->zero_text, or the prompts; the last from the bundle's memory or text_cache where they are there. */
TR_CHECKED tress_status tr_words_get(tr_words *out, tr_bundle *m, const tress_generate_args *a);
void tr_words_fini(tr_words *w);
/* Encodings of n texts, in the bundle's memory afterwards: context[i] and pooled[i] are views. n <= TR_WORD_ENTRIES. */
TR_CHECKED tress_status tr_words_encode(tr_bundle *m, const char *const *text, int n, int n_t5, tr_tensor *context, tr_tensor *pooled);

/* An encoding on disk: DIR/KEY.safetensors, its digest within. A damaged one counts as missing, with a note. */
TR_CHECKED tress_status tr_word_cache_load(bool *found, const tr_host *h, const char *dir, const char *key, tr_tensor context, tr_tensor pooled);
TR_CHECKED tress_status tr_word_cache_save(const tr_host *h, const char *dir, const char *key, tr_tensor context, tr_tensor pooled);

#ifdef __cplusplus
}
#endif
#endif
