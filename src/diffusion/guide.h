/* guide.h - the guided velocity: ControlNet, transformer, classifier-free guidance (Ho and Salimans 2022,
 * arXiv:2207.12598), skip-layer guidance. Knows networks and tensors, not pictures. */
#ifndef TRESS_DIFFUSION_GUIDE_H
#define TRESS_DIFFUSION_GUIDE_H

#include "diffusion/refer.h"
#include "diffusion/sampler.h"
#include "model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_guide_args {
    tr_mmdit      *transformer;
    tr_controlnet *controlnet;                  /* NULL: none */
    /* The words: [1 or b, n, d_context] and [1 or b, d_pooled]; one row set serves the whole batch. */
    tr_tensor context, pooled;
    tr_tensor context_neg, pooled_neg;          /* of the same n; none: no guidance */
    int       context_repeat;                   /* each context row stands for so many equal ones; 0 and 1: for itself */
    tr_tensor condition;                        /* [1 or b, 16 (+ extra), h, w] latent of the control picture, or none */
    float     cfg_scale;                        /* v = v_neg + cfg_scale (v - v_neg) */
    float     control_strength, control_start, control_end;
    const float *control_row;                   /* [tokens that are drawn] host, or NULL: the strength at each, in place of the one above */
    bool      control_last;                     /* TRESS_LAST_VENDOR: the residual is added after the last block too */
    bool      control_pooled_zero;              /* zeros for the ControlNet's pooled vector */
    const int *skip;                            /* [n_skip] blocks left out of a third pass; borrowed */
    int       n_skip;
    float     skip_scale, skip_start, skip_end;
    tr_refer *refer[TR_SEE_MAX];                /* borrowed: seen in both branches */
    int       n_refer;
    const int32_t *row;                         /* [n_row] host, rising, borrowed: the tokens that are drawn, also by the ControlNet; the velocity */
    int64_t   n_row;                            /* elsewhere is 0. NULL: all */
    int       n_step;                           /* steps that run: the unit of the intervals */
    const float *sigma;                         /* [n_step] of every step, borrowed: what depends on time alone is then made for many steps at
                                                   once; NULL: at each step anew */
    bool      weights_travel;                   /* some come from host memory at each step: what a step queues is not recorded */
} tr_guide_args;

typedef struct tr_guide tr_guide;
/* Takes what depends on b, h, w from the device of s; a step then only uses scratch. Networks and words are borrowed.
 * Fails: SHAPE (sizes that do not fit), CONTRACT (ControlNet and transformer), ARG (a skipped block that is not there), OOM. */
TR_CHECKED tress_status tr_guide_new(tr_guide **out, tr_stream *s, const tr_guide_args *a, int b, int h, int w);
void tr_guide_free(tr_guide *g);
/* Fits tr_sampler_args.velocity with self = the guide. Both branches go through the networks in one pass. A step outside
 * the control interval (i / n < start or (i + 1) / n > end), or of strength 0, does not run the ControlNet at all. */
TR_CHECKED tress_status tr_guide_velocity(void *self, tr_stream *s, tr_tensor v, tr_tensor x, float sigma, int step);

#ifdef __cplusplus
}
#endif
#endif
