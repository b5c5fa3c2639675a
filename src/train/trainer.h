/* trainer.h - the step of the masked training: latents, noise and a mask in, better adapters out. Knows networks and numbers, no files.
 *     x = (1 - sigma) x0 + sigma noise        e = v(x, 1000 sigma, control, zero text) - (noise - x0)
 *     loss = mean over samples of sum(m e^2) / (C sum(m))                       Esser et al. 2024, arXiv:2403.03206, eq. 13, masked
 * The ControlNet is frozen and its inputs do not depend on the adapters: no gradient flows through it.
 * The text is zero and its rows are therefore equal in every block: one row with the logarithm of their number on its attention logits
 * stands for all of them, exactly. */
#ifndef TRESS_TRAIN_TRAINER_H
#define TRESS_TRAIN_TRAINER_H

#include "model/model.h"
#include "train/scale.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_mask_normalize {
    TR_MASK_PER_SAMPLE,                         /* each sample's mean over its mask, then the mean of those that have a mask */
    TR_MASK_PER_BATCH,                          /* one quotient over the batch: large masks rule */
    TR_MASK_NONE                                /* mean over all elements: small masks count little */
} tr_mask_normalize;

typedef struct tr_trainer_spec {
    tr_adapter_spec adapter;
    float    dropout;                           /* of what enters A; 0 */
    int      zero_text_rows;                    /* 333 */
    bool     zero_text_long;                    /* that many rows instead of one: slower, the same; for tests */
    tr_keep  keep;
    tr_dtype precision;                         /* of activations: the device's, or, emulated on an F32 one, F16 or BF16. F16: with a dynamic loss scale */
    bool     control_last;                      /* TRESS_LAST_VENDOR: residuals are added after the last block too */
    tr_mask_normalize normalize;
    float    unmasked_weight;                   /* the mask is at least that everywhere; 0 */
    bool     adam8;                             /* moments of 8 bits */
    double   beta1, beta2, epsilon, weight_decay, max_grad_norm;        /* max_grad_norm 0: no clipping */
    double   ema;                               /* decay of the running average of the adapters; 0: none */
    uint64_t seed;                              /* of dropout */
    int      n_micro;                           /* at most so many batches of a step are heard later; 1 */
} tr_trainer_spec;
#define TR_TRAINER_SPEC_DEFAULT { .adapter = { .rank = 16, .alpha = 16, .targets = TR_TARGET_IMAGE }, .zero_text_rows = 333, .precision = TR_F32, \
    .control_last = true, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 1e-4, .max_grad_norm = 1, .n_micro = 1 }

typedef struct tr_trainer tr_trainer;
/* Adapters on the transformer, their moments beside them. Networks are borrowed; controlnet NULL: none. Fails: ARG, CONTRACT, OOM. */
TR_CHECKED tress_status tr_trainer_new(tr_trainer **out, tr_stream *s, tr_mmdit *m, tr_controlnet *controlnet, const tr_trainer_spec *spec);
void tr_trainer_free(tr_trainer *t);            /* takes the adapters off */
tr_adapters *tr_trainer_adapters(tr_trainer *t);
tr_scale    *tr_trainer_scale(tr_trainer *t);

/* Samples of one size, in host memory. */
typedef struct tr_train_batch {
    int64_t b, h, w;                            /* latent extents */
    const float *latents, *control, *noise;     /* [b, c, h, w] scaled as the transformer sees them; control NULL: no sketch at all */
    const float *mask;                          /* [b, 1, h, w] in 0..1 */
    const float *sigma;                         /* [b] in 0..1 */
    const bool  *no_sketch;                     /* [b] true: this sample's residuals are left out (sketch dropout); NULL: all have theirs */
    uint64_t     draw;                          /* which micro-step of the run: dropout follows from it */
} tr_train_batch;
#define TR_TRAIN_BATCH_MAX 256
typedef struct tr_train_loss {
    double loss;                                /* as normalised; may be NaN or infinite: then nothing was added to the gradients */
    double sample[TR_TRAIN_BATCH_MAX];          /* [b] sum(m e^2) / (C sum(m)); 0 without a mask */
    int    n_empty;                             /* samples without a mask, which count for nothing */
    int    i_bad;                               /* the first sample whose loss is not finite; -1: none */
} tr_train_loss;
/* Forward and backward; share times the gradient is added: 1 over the number of micro-steps. v: F32 [b, c, h, w] host, the velocity, or
 * NULL. out NULL: nobody waits for the device, the loss is heard later, and one that is not finite leaves gradients that are not. After the first call of a size nothing is allocated. Fails: SHAPE, ARG, OOM, CANCELLED; the last two may leave part of a
 * gradient added. */
TR_CHECKED tress_status tr_trainer_accumulate(tr_trainer *t, tr_stream *s, const tr_train_batch *batch, double share, tr_train_loss *out, float *v);
/* The loss of the i-th batch, in order since the last update, that was accumulated without; waits for the device. */
TR_CHECKED tress_status tr_trainer_hear(tr_trainer *t, tr_stream *s, int i, tr_train_loss *out);
/* Forward alone, with no loss still to be heard. */
TR_CHECKED tress_status tr_trainer_loss(tr_trainer *t, tr_stream *s, const tr_train_batch *batch, tr_train_loss *out);

/* The gradients so far divided by the loss scale, which is 1 from then on: for who wants to look at them. */
TR_CHECKED tress_status tr_trainer_unscale(tr_trainer *t, tr_stream *s);

typedef struct tr_train_update {
    double grad_norm;                           /* before clipping, of the unscaled gradient */
    bool   finite;                              /* false: the step was not taken */
    int    bad_block;                           /* the last block, from the end of the model, with a gradient that is not finite; -1 */
} tr_train_update;
/* The optimiser's step on what was accumulated, which is then zero again. step counts the steps taken from 1. good: every loss was
 * finite. The loss scale moves. Fails: NONFINITE (scale.h: too many bad steps in a row). */
TR_CHECKED tress_status tr_trainer_update(tr_trainer *t, tr_stream *s, double learning_rate, bool good, tr_train_update *out);
int64_t tr_trainer_taken(const tr_trainer *t);  /* optimiser steps taken, skipped ones left out */

/* Weights that pictures and validation are made with: the running average where there is one. on: the transformer computes with it, and
 * no gradient may be asked for until it is off again. */
TR_CHECKED tress_status tr_trainer_use_average(tr_trainer *t, tr_stream *s, bool on);
/* The adapters as a LoRA, of the running average where there is one. *out is new. */
TR_CHECKED tress_status tr_trainer_lora(tr_lora **out, tr_trainer *t, tr_stream *s);

/* All state but the loss scale and the number of steps taken, as named host tensors, copied: for checkpoints. Zero-initialise;
 * tr_trainer_state_fini. A state that has been got once is filled anew without an allocation. */
typedef struct tr_trainer_state { tr_named *list; int n; char **name; } tr_trainer_state;
TR_CHECKED tress_status tr_trainer_state_get(tr_trainer_state *out, const tr_trainer *t, tr_stream *s);
/* A state as it was got, or with its tensors overwritten from a file. taken: steps that it has seen. */
TR_CHECKED tress_status tr_trainer_state_set(tr_trainer *t, tr_stream *s, const tr_trainer_state *state, int64_t taken);
void tr_trainer_state_fini(tr_trainer_state *state);

#ifdef __cplusplus
}
#endif
#endif
