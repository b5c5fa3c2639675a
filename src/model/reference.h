/* reference.h - a picture that a drawing attends to: its tokens go through the transformer by themselves and leave, in each block of a
 * window, the keys and values of their rows. A drawing sees them as one more segment of keys in the same softmax (tr_mmdit_see).
 *     o_i = softmax over own, text and reference keys, log w_i on the reference's logits: w = 0 is the drawing without it
 * K = RMSNorm_k(W_k h), V = W_v h, h = (scale; shift) of the rows at their own noise level; SD3 turns no keys by position, so what is kept
 * is final. Rows are tokens with positions: any set of them, in any order, is legal, and a row that is left out leaves no trace. */
#ifndef TRESS_MODEL_REFERENCE_H
#define TRESS_MODEL_REFERENCE_H

#include "model/mmdit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_reference tr_reference;
/* *out is new: room for the keys and values of n rows of b samples, of blocks begin .. end - 1. Fails: OOM. */
TR_CHECKED tress_status tr_reference_new(tr_reference **out, const tr_mmdit *m, int64_t b, int64_t n, int begin, int end);
void tr_reference_free(tr_reference *r);
/* k, v [b, n, n_head, d_head] of a block, as views; false: it has none of this block. */
bool tr_reference_of(tr_tensor *k, tr_tensor *v, const tr_reference *r, int block);

typedef struct tr_reference_args {
    tr_tensor rows;                             /* [b, n, d] */
    tr_tensor context;                          /* [b, n_text, d_context] */
    float     context_logw;                     /* as in tr_mmdit_args */
    tr_tensor pooled;                           /* [b, d_pooled] */
    tr_tensor timestep;                         /* [b] F32 host */
} tr_reference_args;
/* Blocks 0 .. end - 1 on the rows, without the drawing's adapters; of the last no more than its keys. Fails: SHAPE, OOM, CANCELLED. */
TR_CHECKED tress_status tr_reference_make(tr_reference *r, tr_mmdit *m, tr_stream *s, const tr_reference_args *a);

#ifdef __cplusplus
}
#endif
#endif
