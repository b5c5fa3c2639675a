/* text.h - words into ids: CLIP's byte-pair encoding and T5's unigram. The door of text. Floor 3.
 * Both equal the fast tokenizers of transformers, which diffusers runs. */
#ifndef TRESS_TEXT_TEXT_H
#define TRESS_TEXT_TEXT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many tokens were cut off, so that the caller can say so, and which text they stood for. */
typedef struct tr_cut { int n_token; size_t byte; } tr_cut;                  /* n_token 0: nothing was cut; byte: where the cut text begins in the input, as near as it can be told */

typedef struct tr_bpe tr_bpe;
/* dir holds vocab.json, merges.txt and, optionally, tokenizer_config.json / special_tokens_map.json (pad token) or
 * tokenizer.json. Fails: IO, FORMAT, OOM. */
TR_CHECKED tress_status tr_bpe_open(tr_bpe **out, const char *dir);
void tr_bpe_close(tr_bpe *t);
/* ids[n]: start, at most n - 2 ids, end, pad. text: n_text bytes of any content; bytes that are not UTF-8 become U+FFFD.
 * Fails: ARG (a text above 64 KiB), OOM. */
TR_CHECKED tress_status tr_bpe_encode(const tr_bpe *t, const char *text, size_t n_text, int32_t *ids, int n, tr_cut *cut);
int tr_bpe_size(const tr_bpe *t);               /* ids are below this */
int tr_bpe_end_id(const tr_bpe *t);             /* <|endoftext|> */

typedef struct tr_unigram tr_unigram;
/* dir holds tokenizer.json, or spiece.model when that is all there is. The pieces and their character map come from the
 * file; what is done between the two is that of transformers' T5 class, whatever the file says: so does transformers 5. */
TR_CHECKED tress_status tr_unigram_open(tr_unigram **out, const char *dir);
/* TR_UNIGRAM_FILE: normaliser and pre-tokeniser as tokenizer.json has them, like transformers 4. They differ where a token
 * is written out inside the text, and round unusual blanks. */
typedef enum tr_unigram_rule { TR_UNIGRAM_CLASS, TR_UNIGRAM_FILE } tr_unigram_rule;
TR_CHECKED tress_status tr_unigram_open_as(tr_unigram **out, const char *dir, tr_unigram_rule rule);
void tr_unigram_close(tr_unigram *t);
/* ids[n]: at most n - 1 ids, </s>, pad. Fails: ARG (a text above 64 KiB), OOM. */
TR_CHECKED tress_status tr_unigram_encode(const tr_unigram *t, const char *text, size_t n_text, int32_t *ids, int n, tr_cut *cut);
int tr_unigram_size(const tr_unigram *t);

const char *tr_text_library(void);              /* the version of utf8proc: "2.8.0" */

#ifdef __cplusplus
}
#endif
#endif
