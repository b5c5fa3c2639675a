/* vae.h - AutoencoderKL with any config of DownEncoderBlock2D / UpDecoderBlock2D: pictures to latents and back. Factor 8 for
 * four levels. Kingma and Welling 2013; the graph of Rombach et al. 2022, arXiv:2112.10752. */
#ifndef TRESS_MODEL_VAE_H
#define TRESS_MODEL_VAE_H

#include "model/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_LEVEL_MAX 6
typedef struct tr_vae_config {
    int   channels_in, channels_out, latent_channels, n_level, channels[TR_LEVEL_MAX], layers_per_block, norm_groups;
    float scale, shift;                         /* 1.5305, 0.0609: model latent z = (encoded - shift) * scale */
    bool  quant_conv, post_quant_conv, mid_attention;
} tr_vae_config;

typedef struct tr_vae tr_vae;
TR_CHECKED tress_status tr_vae_config_read(tr_vae_config *out, tr_weights *w);
TR_CHECKED tress_status tr_vae_open(tr_vae **out, tr_device *d, tr_weights *w, const tr_vae_config *c);
void tr_vae_close(tr_vae *v);
const tr_vae_config *tr_vae_get_config(const tr_vae *v);
int tr_vae_factor(const tr_vae *v);             /* 8: pixels per latent pixel */
int tr_vae_config_factor(const tr_vae_config *c);
/* image [b, 3, H, W] (2 rgb - 1, or any range), H and W multiples of the factor -> mean, logvar [b, 16, H/8, W/8], raw;
 * logvar clamped to -30..20; logvar may be none. band: rows of the image kept in full-resolution activations at once
 * (0: all); any band gives the same bytes. */
TR_CHECKED tress_status tr_vae_encode(tr_vae *v, tr_stream *s, tr_tensor mean, tr_tensor logvar, tr_tensor image, int band);
/* latent [b, 16, h, w], raw -> image [b, 3, 8h, 8w], not clamped. band as above, in latent rows. */
TR_CHECKED tress_status tr_vae_decode(tr_vae *v, tr_stream *s, tr_tensor image, tr_tensor latent, int band);

#ifdef __cplusplus
}
#endif
#endif
