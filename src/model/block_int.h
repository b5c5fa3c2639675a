/* block_int.h - the transformer block that every SD3 network is made of. One routine serves the joint block (image and text
 * tokens), the joint block with a second attention over the image alone (SD3.5-Medium), the last block, whose text tokens
 * give keys and values and end there, and the ControlNet's block over the image alone. Stays inside model.
 * spec: Esser et al. 2024, arXiv:2403.03206, fig. 2. LN below is without affine, eps 1e-6; (a; b) = LN * (1 + a) + b.
 *
 *     h, c   = (scale_msa; shift_msa) of image, text
 *     o      = attention of q(h), q(c) over [k(h), k(c)], softmax scale d_head^-1/2, q and k optionally RMS-normed per head
 *     image += gate_msa out(o_h)                       text += gate_msa out(o_c)
 *     image += gate_msa2 out2(attention2 over (scale_msa2; shift_msa2) of the block's own input)
 *     image += gate_mlp down(gelu(up((scale_mlp; shift_mlp))))      text likewise */
#ifndef TRESS_MODEL_BLOCK_INT_H
#define TRESS_MODEL_BLOCK_INT_H

#include "model/layer.h"

#define TR_LN_EPS 1e-6f
#define TR_RMS_EPS 1e-6f

/* Stages shown to tests; NULL fn: none. */
typedef struct tr_probe { void (*fn)(void *self, const char *stage, int block, tr_tensor t); void *self; } tr_probe;

typedef struct tr_attn_layers {
    tr_linear_layer *q, *k, *v, *out;           /* q NULL: there is no such attention. out NULL: its output is dropped */
    tr_tensor norm_q, norm_k;                   /* [d_head], or none */
} tr_attn_layers;

typedef struct tr_block_stream {
    tr_linear_layer *mod;                       /* adaLN [n_mod d, d]; NULL: the block has no such stream */
    int n_mod;                                  /* 6; 9 with a second attention; 2 (scale, shift) for text that ends here */
    tr_attn_layers attn;
    tr_linear_layer *up, *down;                 /* [4 d, d], [d, 4 d]; NULL for text that ends here */
} tr_block_stream;

typedef struct tr_block {
    int n_head, d_head;
    tr_block_stream image, text;
    tr_attn_layers second;                      /* attn2 */
} tr_block;

typedef struct tr_block_spec {
    int  n_head, d_head;
    bool text, text_ends, second, qk_norm;
} tr_block_spec;
#define TR_BLOCK_LAYER_MAX 18                   /* linear layers in the fullest block */
/* prefix: "transformer_blocks.3". Fails: FORMAT, SHAPE, OOM. */
TR_CHECKED tress_status tr_block_open(tr_block *out, tr_layer_list *l, tr_weights *w, const tr_block_spec *c, const char *prefix);

/* One linear layer on silu(temb) per stream. They depend on time and the pooled text alone, so that who runs many steps may
 * compute them once for all. */
typedef struct tr_block_mod {
    tr_tensor image;                            /* [b, n_mod d] */
    tr_tensor text;                             /* [b, n_mod d], or none */
} tr_block_mod;
/* mod takes scratch, which the caller pops. silu_temb [b, d]. */
TR_CHECKED tress_status tr_block_modulate(tr_block_mod *mod, tr_stream *s, const tr_block *k, tr_tensor silu_temb);

typedef struct tr_block_io {
    tr_tensor image;                            /* [b, t, d] F32, updated in place */
    tr_tensor text;                             /* [b, n, d] F32, updated in place unless it ends here; or none */
    tr_tensor text_logw;                        /* F32 [n], added to the logits of the text keys; or none */
    tr_block_mod mod;
    tr_probe  probe;
    int       i_block;                          /* for the probe */
} tr_block_io;
/* Fails: OOM, GPU. */
TR_CHECKED tress_status tr_block_forward(tr_stream *s, const tr_block *k, const tr_block_io *io);

/* [b, n, d] -> [b n, d] */
static inline tr_tensor tr_rows(tr_tensor t) { return tr_reshape(t, TR_DIMS(t.shape[0] * t.shape[1], t.shape[2])); }
static inline void tr_probe_show(tr_probe p, const char *stage, int block, tr_tensor t)
{
    if (p.fn) p.fn(p.self, stage, block, t);
}

#endif
