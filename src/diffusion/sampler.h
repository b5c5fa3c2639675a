/* sampler.h - from noise to latent, step by step, for whatever predicts the velocity. */
#ifndef TRESS_DIFFUSION_SAMPLER_H
#define TRESS_DIFFUSION_SAMPLER_H

#include "diffusion/schedule.h"
#include "tensor/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_sampler_args {
    tress_sampler kind;
    const tr_schedule *schedule;
    /* v [b, 16, h, w] = the guided velocity at x, sigma */
    tress_status (*velocity)(void *self, tr_stream *s, tr_tensor v, tr_tensor x, float sigma, int step);
    /* after each step, x may be replaced (latent inpainting, previews); sigma_next is what x now has. NULL: nothing */
    tress_status (*after)(void *self, tr_stream *s, tr_tensor x, tr_tensor x0_guess, float sigma_next, int step);
    void *self;
} tr_sampler_args;
/* x [b, 16, h, w] F32 in place, noise (or noised photo) at sigma[0] -> latent. */
TR_CHECKED tress_status tr_sample(tr_stream *s, tr_tensor x, const tr_sampler_args *a);

#ifdef __cplusplus
}
#endif
#endif
