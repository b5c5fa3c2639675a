/* latent.h - between pictures and latents, and the noise a drawing starts from. */
#ifndef TRESS_GENERATE_LATENT_H
#define TRESS_GENERATE_LATENT_H

#include "generate/bundle.h"
#include "image/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* image [3, H, W] as the VAE reads it (2 p - 1, or the control range) -> z [b, c, H/8, W/8] on the device, new (tr_device_give): the
 * posterior's mean, scaled as the transformer sees it, repeated b times. shifted: with the VAE's shift; without for ControlNets
 * of the InstantX kind. Fails: NONFINITE, OOM, CANCELLED. */
TR_CHECKED tress_status tr_latent_encode(tr_tensor *out, tr_bundle *m, tr_stream *s, tr_planes image, bool shifted, int64_t b);
/* Row i of z [b, c, h, w] -> image [3, 8 h, 8 w] in 0..1, new (tr_planes_fini). band as tr_vae_decode; 0: chosen by
 * memory, which changes no byte. */
TR_CHECKED tress_status tr_latent_decode(tr_planes *out, tr_bundle *m, tr_stream *s, tr_tensor z, int64_t i, int band);

/* x0 [b, c, h, w]'s first picture, small: pooled to at most 32 cells a side and decoded, so that it costs little with any VAE. */
typedef struct tr_preview tr_preview;
TR_CHECKED tress_status tr_preview_new(tr_preview **out, tr_bundle *m, int c, int h, int w);
TR_CHECKED tress_status tr_preview_make(tr_preview *p, tr_stream *s, tr_tensor x0, const tr_image **view);
void tr_preview_free(tr_preview *p);

/* Unit-variance noise [b, c, h, w]: torch's CPU stream of the seed over the whole batch, or `latents` of the file `path`.
 * *out is on the device, new. Fails: IO, FORMAT, SHAPE. */
TR_CHECKED tress_status tr_noise_make(tr_tensor *out, tr_stream *s, tr_dims d, uint64_t seed, const char *path);
/* A device tensor as `name` in a file. */
TR_CHECKED tress_status tr_latent_save(tr_stream *s, tr_tensor z, const char *name, const char *path);

#ifdef __cplusplus
}
#endif
#endif
