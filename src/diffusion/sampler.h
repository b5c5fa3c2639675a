/* sampler.h - from noise to latent, step by step, for whatever predicts the velocity v = noise - x0. */
#ifndef TRESS_DIFFUSION_SAMPLER_H
#define TRESS_DIFFUSION_SAMPLER_H

#include "diffusion/schedule.h"
#include "tensor/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_sampler_args {
    tress_sampler kind;
    const tr_schedule *schedule;                /* borrowed */
    /* v [b, c, h, w] = the guided velocity at x, sigma; step counts from 0 */
    tress_status (*velocity)(void *self, tr_stream *s, tr_tensor v, tr_tensor x, float sigma, int step);
    void *velocity_self;
    /* After each step; x may be replaced (latent inpainting). sigma_next is the noise x has now, x0_guess what the step
     * took for the clean latent. NULL: nothing. */
    tress_status (*after)(void *self, tr_stream *s, tr_tensor x, tr_tensor x0_guess, float sigma_next, int step);
    void *after_self;
} tr_sampler_args;

/* x [b, c, h, w] F32 in place: noise (or noised photo) at sigma[0] -> latent.
 *   Euler       x += (sigma_next - sigma) v
 *   DPM++ 2M    Lu et al. 2022, arXiv:2211.01095, in the form the vendor's code runs on flow sigmas
 * Fails: NONFINITE naming the step, CANCELLED, and what velocity and after fail with. */
TR_CHECKED tress_status tr_sample(tr_stream *s, tr_tensor x, const tr_sampler_args *a);

#ifdef __cplusplus
}
#endif
#endif
