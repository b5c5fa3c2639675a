/* vae_latent.h - between pictures in host memory and latents scaled as the transformer sees them: coded in bands that fit memory,
 * checked to be finite. */
#ifndef TRESS_MODEL_VAE_LATENT_H
#define TRESS_MODEL_VAE_LATENT_H

#include "model/vae.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The highest band, in latent rows, in which latents of h x w may be coded, 0 for all rows at once: within what memory_max (0: no
 * limit) leaves beside the weights and what the device holds, and never more than 2 GiB; 8 rows where even they take more. Any band
 * gives the same bytes. weights are those v was opened with. Found by running the coder on a device that computes nothing. */
TR_CHECKED tress_status tr_vae_choose_band(int *out, const tr_vae *v, tr_weights *weights, bool decode, int h, int w, int64_t memory_max);
/* image [3, 8 h, 8 w] as the VAE reads it (2 p - 1, or the control range) -> the posterior's mean and, unless std is NULL, its
 * standard deviation, [c, h, w]: (mean - shift) scale and exp(logvar / 2) scale. shifted: with the VAE's shift; without for
 * ControlNets of the InstantX kind. band in latent rows. Fails: NONFINITE, OOM, CANCELLED. */
TR_CHECKED tress_status tr_vae_encode_scaled(tr_vae *v, tr_stream *s, float *mean, float *std, const float *image, int h, int w, bool shifted, int band);
/* z [c, h, w], scaled -> image [3, 8 h, 8 w] in 0..1. band as above. z is overwritten. */
TR_CHECKED tress_status tr_vae_decode_scaled(tr_vae *v, tr_stream *s, float *image, float *z, int h, int w, int band);

#ifdef __cplusplus
}
#endif
#endif
