/* mmdit_train.h - one pass of the transformer forward and back, for its adapters alone: nothing else learns, so no weight has a gradient
 * and nothing below the first block with an adapter is gone back through.
 * Between the two a block keeps what `keep` says, and makes the rest again from its input: gradient checkpointing
 * (Chen et al. 2016, arXiv:1604.06174). All levels run the same operations on the same numbers: the same bytes of gradients. */
#ifndef TRESS_MODEL_MMDIT_TRAIN_H
#define TRESS_MODEL_MMDIT_TRAIN_H

#include "model/mmdit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_keep {
    TR_KEEP_ALL,                                /* nothing is made twice but norms */
    TR_KEEP_ATTENTION,                          /* attention's output and log-sum-exp: attention is not run again, nor half of the linears */
    TR_KEEP_INPUT                               /* the block's inputs alone */
} tr_keep;

typedef struct tr_mmdit_train_args {
    tr_mmdit_args forward;                      /* nothing skipped, no probe; with control only the number of residuals */
    tr_keep  keep;
    tr_dtype round;                             /* F16 or BF16, on an F32 stream: what passes from block to block is rounded to it, both ways; F32: not */
    tr_drop  drop;
    /* Called before the first block: fill residual[n_residual], [b, t, d] each, given tokens [b, t, d] as embedded. They lie where inputs of later
     * blocks will, and take next to no memory of their own. NULL: there are none. */
    tress_status (*control)(void *self, tr_stream *s, tr_tensor tokens, tr_tensor *residual);
    /* Called between the two with out [b, c, h, w]: dv [b, c, h, w] = the gradient of what is to fall. */
    tress_status (*loss)(void *self, tr_stream *s, tr_tensor v, tr_tensor dv);
    void    *self;                              /* of both */
} tr_mmdit_train_args;
/* Gradients are added to the da and dup of every layer that has them (tr_adapters). After the first call of a size nothing is allocated.
 * Fails: as tr_mmdit_forward, and what loss fails with. */
TR_CHECKED tress_status tr_mmdit_train(tr_mmdit *m, tr_stream *s, const tr_mmdit_train_args *a);

#ifdef __cplusplus
}
#endif
#endif
