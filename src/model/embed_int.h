/* embed_int.h - what turns the inputs of an SD3 network into rows of width d: patches of the latent with their positions,
 * and time with the pooled text; and the check that inputs have the shapes they must. Stays inside model. */
#ifndef TRESS_MODEL_EMBED_INT_H
#define TRESS_MODEL_EMBED_INT_H

#include "model/layer.h"

/* t must have these dims, contiguous, of the activations' type. Fails: SHAPE, naming t by `what`. */
TR_CHECKED tress_status tr_expect(tr_stream *s, tr_tensor t, tr_dims d, const char *what);
/* [b] F32 in host memory, finite (on a dry device the values are not read). Fails: SHAPE, ARG. */
TR_CHECKED tress_status tr_expect_timestep(tr_stream *s, tr_tensor t, int64_t b);

/* ---- patches ---- */
typedef struct tr_patch_embed {
    tr_linear_layer *proj;                      /* [d, c p p]; NULL: the network has none */
    tr_tensor pos;                              /* [P, P, d] as stored, or none: no positions */
    int patch, channels;
} tr_patch_embed;
#define TR_PATCH_LAYER_MAX 1
/* NAME.proj and, for pos_max > 0, NAME.pos_embed [1, P P, d]. The buffer is read, never computed: the released files hold
 * another scale than the formula in diffusers' constructor gives. */
TR_CHECKED tress_status tr_patch_embed_open(tr_patch_embed *out, tr_layer_list *l, tr_weights *w, int channels, int patch, int pos_max,
                                            int64_t d, const char *name);
/* x [b, c, h, w]: its grid of tokens, h / patch by w / patch. Fails: SHAPE, naming x by `what` (channels, odd sides, or more
 * tokens on a side than there are positions). */
TR_CHECKED tress_status tr_patch_grid(int64_t *grid_h, int64_t *grid_w, const tr_patch_embed *e, tr_tensor x, const char *what);
/* tokens [b, t, d] = patches of x through proj + their positions, cropped from the middle of the buffer;
 * add: + what tokens held before, in place of positions. */
TR_CHECKED tress_status tr_patch_embed_forward(tr_stream *s, const tr_patch_embed *e, tr_tensor tokens, tr_tensor x, bool add,
                                               const char *what);

/* ---- time and pooled text ---- */
typedef struct tr_time_text { tr_linear_layer *time_1, *time_2, *text_1, *text_2; } tr_time_text;
#define TR_TIME_TEXT_LAYER_MAX 4
#define TR_TIME_CHANNELS 256
/* Layers time_text_embed.*; d_pooled: width of the pooled text. */
TR_CHECKED tress_status tr_time_text_open(tr_time_text *out, tr_layer_list *l, tr_weights *w, int d_pooled, int64_t d);
/* temb [b, d] = time_2(silu(time_1(sinusoid(t)))) + text_2(silu(text_1(pooled))).  timestep [b] F32 host, 0..1000, fractional;
 * pooled [b, d_pooled]; zeros still bring the layers' biases. */
TR_CHECKED tress_status tr_time_text_forward(tr_stream *s, const tr_time_text *e, tr_tensor temb, tr_tensor timestep,
                                             tr_tensor pooled);

#endif
