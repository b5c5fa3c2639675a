/* mmdit.h - the SD3 / SD3.5 transformer: image and text tokens in joint attention blocks, modulated by time and the pooled
 * text. Esser et al. 2024, arXiv:2403.03206. SD3-Medium, SD3.5-Medium (dual attention), SD3.5-Large, Large-Turbo. */
#ifndef TRESS_MODEL_MMDIT_H
#define TRESS_MODEL_MMDIT_H

#include "model/layer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_BLOCK_MAX 64
typedef struct tr_mmdit_config {
    int  n_block, n_head, d_head;               /* width d = n_head * d_head */
    int  channels_in, channels_out, patch;      /* 16, 16, 2 */
    int  d_context, d_pooled;                   /* 4096, 2048 */
    int  pos_max;                               /* P: the position buffer is [1, P * P, d] */
    int  sample_size;                           /* latent pixels of the model's own size: 128 */
    bool qk_norm;
    bool dual[TR_BLOCK_MAX];                    /* blocks with a second attention */
} tr_mmdit_config;

typedef struct tr_mmdit tr_mmdit;
/* From the file's config.json, or from shapes when there is none. Fails: FORMAT, SHAPE. */
TR_CHECKED tress_status tr_mmdit_config_read(tr_mmdit_config *out, tr_weights *w);
/* w is borrowed and must outlive the model. Fails: FORMAT, SHAPE, OOM. */
TR_CHECKED tress_status tr_mmdit_open(tr_mmdit **out, tr_device *d, tr_weights *w, const tr_mmdit_config *c);
void tr_mmdit_close(tr_mmdit *m);
const tr_mmdit_config *tr_mmdit_get_config(const tr_mmdit *m);
tr_device       *tr_mmdit_device(const tr_mmdit *m);
int              tr_mmdit_layer_count(const tr_mmdit *m);       /* every linear layer, for adapters */
tr_linear_layer *tr_mmdit_layer(tr_mmdit *m, int i);

/* x [b, c, h, w] -> tokens [b, h w / 4, d] with positions: what the ControlNet of the 8B kind starts from too. */
TR_CHECKED tress_status tr_mmdit_embed(tr_mmdit *m, tr_stream *s, tr_tensor tokens, tr_tensor x);

/* Some of the tokens [b, t, d], t in the order of row [n] (host): rows [b, n, d]. */
TR_CHECKED tress_status tr_mmdit_gather(tr_stream *s, tr_tensor rows, tr_tensor tokens, const int32_t *row);

/* What a drawing's image tokens attend to besides each other and the text. */
struct tr_reference;
typedef struct tr_mmdit_see {
    const struct tr_reference *reference;       /* of b samples or a divisor of it; blocks that it does not have are left as they are */
    tr_tensor logw;                             /* F32 [t] or [n_block, t]: added to all its logits at an image token; -infinity: not seen there */
} tr_mmdit_see;
#define TR_SEE_MAX 2

typedef struct tr_mmdit_args {
    tr_tensor x;                                /* [b, 16, h, w] noised latent */
    tr_tensor tokens;                           /* [b, t, d] from tr_mmdit_embed, or none: computed here */
    const int32_t *place;                       /* [h w / 4] host: only some tokens are there, given gathered, and this is which of them each */
    int64_t   n_row;                            /* place is; n_row, how many there are: none, and its velocity is 0. NULL: all are */
    tr_tensor context;                          /* [b, n, d_context] */
    float     context_logw;                     /* added to the logits of every context key: log N for one row in
                                                   place of N equal ones; 0 */
    tr_tensor pooled;                           /* [b, d_pooled] */
    tr_tensor timestep;                         /* [b] F32 host, 0..1000 */
    tr_tensor mods;                             /* [b, width] from the modulate function below, rows strided, or none: computed here */
    const tr_tensor *residual;                  /* [n_residual] of [b, t, d], or NULL */
    int       n_residual;
    float     residual_scale;
    bool      residual_last;                    /* TRESS_LAST_VENDOR: block i takes residual i / (n_block / n_residual) in
                                                   integers, the last block too, skipped blocks none. false: in floating
                                                   point, skipped blocks too, the last block none, as diffusers */
    const int *skip; int n_skip;                /* blocks left out (skip-layer guidance) */
    const tr_mmdit_see *see; int n_see;         /* at most TR_SEE_MAX */
    tr_tensor out;                              /* [b, 16, h, w] velocity */
    void (*probe)(void *self, const char *stage, int block, tr_tensor t); void *probe_self;  /* tests: every stage; may be NULL */
} tr_mmdit_args;
/* All inputs contiguous, of the stream's activation type. After the first call of a size nothing is allocated.
 * Fails: SHAPE (the message names what and both sizes), ARG, OOM, CANCELLED. */
TR_CHECKED tress_status tr_mmdit_forward(tr_mmdit *m, tr_stream *s, const tr_mmdit_args *a);

/* Scales, shifts and gates of all blocks and of the head. They depend on time and the pooled text alone, and their layers hold a third
 * of the model: who runs many steps computes them once for all, and reads those weights once. */
int64_t tr_mmdit_mod_width(const tr_mmdit *m);
/* mods [n, width] for n rows of timestep [n] F32 host and pooled [n, d_pooled]. Fails: SHAPE, OOM. */
TR_CHECKED tress_status tr_mmdit_modulate(tr_mmdit *m, tr_stream *s, tr_tensor mods, tr_tensor timestep, tr_tensor pooled);

#ifdef __cplusplus
}
#endif
#endif
