/* guide.h - the guided velocity: transformer, ControlNet, classifier-free guidance (Ho and Salimans 2022,
 * arXiv:2207.12598), skip-layer guidance. Knows networks and tensors, not pictures. */
#ifndef TRESS_DIFFUSION_GUIDE_H
#define TRESS_DIFFUSION_GUIDE_H

#include "diffusion/sampler.h"
#include "model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_guide_args {
    tr_mmdit      *transformer;
    tr_controlnet *controlnet;                  /* NULL: none */
    tr_tensor context, pooled;                  /* [1, n, d_context], [1, d_pooled]: the words, for the whole batch */
    tr_tensor context_neg, pooled_neg;          /* none: no guidance */
    float     context_logw;                     /* for one zero row that stands for many; 0 */
    tr_tensor condition;                        /* [1 or b, 16 (+1), h, w] scaled latent of the control picture, or none */
    float     cfg_scale;
    float     control_strength, control_start, control_end;
    bool      control_last;                     /* residual after the last block too */
    bool      control_pooled_zero;
    const int *skip; int n_skip; float skip_scale, skip_start, skip_end;
    int       n_step;                           /* of the whole schedule: the interval's unit */
} tr_guide_args;
typedef struct tr_guide tr_guide;
/* Allocates what depends on b, h, w. Everything in args is borrowed. */
TR_CHECKED tress_status tr_guide_new(tr_guide **out, tr_stream *s, const tr_guide_args *a, int b, int h, int w);
void tr_guide_free(tr_guide *g);
/* Fits tr_sampler_args.velocity with self = the guide. */
TR_CHECKED tress_status tr_guide_velocity(void *self, tr_stream *s, tr_tensor v, tr_tensor x, float sigma, int step);

#ifdef __cplusplus
}
#endif
#endif
