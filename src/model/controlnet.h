/* controlnet.h - the sketch into residuals for the transformer's blocks. Zhang et al. 2023, arXiv:2302.05543.
 * Two kinds: the 8B of SD3.5-Large (image stream alone, embedded by the transformer) and the joint-block kind of SD3-Medium. */
#ifndef TRESS_MODEL_CONTROLNET_H
#define TRESS_MODEL_CONTROLNET_H

#include "model/mmdit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_controlnet_config {
    int  n_block, n_head, d_head, patch;
    int  channels_in, channels_extra;           /* 16, 0 (1 for an inpainting net) */
    int  d_pooled, d_context;                   /* d_context 0: no text stream */
    int  pos_max;                               /* 0: no patch embedding of its own */
    bool qk_norm, dual[TR_BLOCK_MAX];
    bool zero_pooled;                           /* force_zeros_for_pooled_projection: the caller gives zeros for pooled
                                                   and scales the condition latent without shift */
} tr_controlnet_config;

typedef struct tr_controlnet tr_controlnet;
/* From the file's config.json, or from shapes when there is none. Fails: FORMAT, SHAPE. */
TR_CHECKED tress_status tr_controlnet_config_read(tr_controlnet_config *out, tr_weights *w);
/* w is borrowed and must outlive the model. Fails: FORMAT, SHAPE, OOM. */
TR_CHECKED tress_status tr_controlnet_open(tr_controlnet **out, tr_device *d, tr_weights *w, const tr_controlnet_config *c);
void tr_controlnet_close(tr_controlnet *m);
const tr_controlnet_config *tr_controlnet_get_config(const tr_controlnet *m);
/* Fails: CONTRACT when it cannot stand beside this transformer (width, pooled and text width, patch, channels, more
 * blocks than it has). */
TR_CHECKED tress_status tr_controlnet_fits(const tr_controlnet *m, const tr_mmdit *t);

typedef struct tr_controlnet_args {
    tr_tensor x;                                /* [b, 16, h, w] noised latent, for a net with its own patch embedding */
    tr_tensor tokens;                           /* [b, t, d] from tr_mmdit_embed, for the 8B kind */
    tr_tensor condition;                        /* [b, 16 + extra, h, w] scaled latent of the control picture */
    tr_tensor context;                          /* [b, n, d_context], only if the net has a text stream */
    tr_tensor pooled;                           /* [b, d_pooled] */
    tr_tensor timestep;                         /* [b] F32 host */
    tr_tensor mods;                             /* [b, width] from the modulate function below, rows strided, or none: computed here */
    const int32_t *row;                         /* [n_row] host, or NULL: of all tokens these alone go through the blocks, and t below is n_row */
    int64_t   n_row;
    tr_tensor *residual;                        /* [n_block] of [b, t, d], given by the caller, filled here, not yet scaled */
    void (*probe)(void *self, const char *stage, int block, tr_tensor t); void *probe_self;  /* tests: every stage; may be NULL */
} tr_controlnet_args;
/* All inputs contiguous, of the stream's activation type. After the first call of a size nothing is allocated.
 * Fails: SHAPE, ARG (a missing input), OOM, CANCELLED. */
TR_CHECKED tress_status tr_controlnet_forward(tr_controlnet *m, tr_stream *s, const tr_controlnet_args *a);
/* As tr_mmdit_mod_width and tr_mmdit_modulate. */
int64_t tr_controlnet_mod_width(const tr_controlnet *m);
TR_CHECKED tress_status tr_controlnet_modulate(tr_controlnet *m, tr_stream *s, tr_tensor mods, tr_tensor timestep, tr_tensor pooled);

#ifdef __cplusplus
}
#endif
#endif
