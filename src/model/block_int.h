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

#include "model/mmdit_train.h"

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
int64_t tr_block_mod_width(const tr_block *k);  /* of both streams' rows, image first */
tr_block_mod tr_block_mod_of(const tr_block *k, tr_tensor rows);                                /* views of rows [b, width] */
/* rows [b, width], which may be strided, from silu_temb [b, d], of block i of a network with weights w. */
TR_CHECKED tress_status tr_block_modulate_rows(tr_stream *s, tr_weights *w, const tr_block *list, int i, tr_tensor rows, tr_tensor silu_temb);
/* The same of n blocks, one after the other in each row. */
int64_t tr_blocks_mod_width(const tr_block *k, int n);
TR_CHECKED tress_status tr_blocks_modulate_rows(tr_stream *s, tr_weights *w, const tr_block *list, int n, tr_tensor rows, tr_tensor silu_temb);
/* The same of block i into scratch, which the caller pops. */
TR_CHECKED tress_status tr_block_modulate(tr_block_mod *mod, tr_stream *s, tr_weights *w, const tr_block *list, int i, tr_tensor silu_temb);

typedef struct tr_block_io {
    tr_tensor image;                            /* [b, t, d], updated in place */
    tr_tensor text;                             /* [b, n, d], updated in place unless it ends here; or none */
    tr_tensor text_logw;                        /* F32 [n], added to the logits of the text keys; or none */
    tr_block_mod mod;
    const tr_attention_segment *more;           /* [n_more] further keys that the image's queries see, of b samples or a divisor of it: */
    int       n_more;                           /* fewer are seen by each so many in turn */
    tr_tensor keep_k, keep_v;                   /* [b, t, n_head, d_head]: the image's keys and values go here too; or none */
    tr_tensor control;                          /* [b, t, d], added times control_scale where the image ends; or none */
    float     control_scale;
    tr_probe  probe;
    int       i_block;                          /* for the probe */
} tr_block_io;
/* Fails: OOM, GPU. */
TR_CHECKED tress_status tr_block_forward(tr_stream *s, const tr_block *k, const tr_block_io *io);
/* No more of the block than io->keep_k and io->keep_v. */
TR_CHECKED tress_status tr_block_keys(tr_stream *s, const tr_block *k, const tr_block_io *io);

/* ---- shared by forward and backward ---- */
/* Chunks of the adaLN rows, in order. */
enum { TR_SHIFT_MSA, TR_SCALE_MSA, TR_GATE_MSA, TR_SHIFT_MLP, TR_SCALE_MLP, TR_GATE_MLP, TR_SHIFT_MSA2, TR_SCALE_MSA2, TR_GATE_MSA2 };
enum { TR_ENDS_SCALE, TR_ENDS_SHIFT };          /* text that ends here: AdaLayerNormContinuous has them the other way round */
/* Chunk i of the adaLN rows, [b, d]. */
static inline tr_tensor tr_block_chunk(tr_tensor mod, int i, int64_t d) { return tr_slice(mod, 1, i * d, d); }
/* *out = scratch like `like` [b, n, d], of the activations' type. */
TR_CHECKED tress_status tr_block_scratch(tr_stream *s, tr_tensor *out, tr_tensor like);
/* *y = scratch = LN(x) (1 + scale) + shift for x [b, n, d]. */
TR_CHECKED tress_status tr_block_modulated(tr_tensor *y, tr_stream *s, tr_tensor x, tr_tensor mod, int i_scale, int i_shift);
/* What enters the attention of a stream. ends: text that ends here. */
static inline tress_status tr_block_attention_input(tr_tensor *h, tr_stream *s, tr_tensor x, tr_tensor mod, bool ends)
{
    return ends ? tr_block_modulated(h, s, x, mod, TR_ENDS_SCALE, TR_ENDS_SHIFT) : tr_block_modulated(h, s, x, mod, TR_SCALE_MSA, TR_SHIFT_MSA);
}
/* [b, n, d] -> [b, n, n_head, d_head] */
static inline tr_tensor tr_block_by_head(const tr_block *k, tr_tensor t) { return tr_reshape(t, TR_DIMS(t.shape[0], t.shape[1], k->n_head, k->d_head)); }
/* Queries [b, n_q, n_head, d_head] of one stream over the keys of all segments; o [b, n_q, d]; lse [b, n_head, n_q] or none. A segment
 * has b samples or, the same for all that have not, a divisor of it. */
TR_CHECKED tress_status tr_block_attend(tr_stream *s, const tr_block *k, tr_tensor o, tr_tensor lse, tr_tensor q,
                                        const tr_attention_segment *segment, int n_segment);

/* ---- training: block_train.c ---- */
/* What a block computes on its way and its backward needs. Tensors that are there are kept from forward to backward, the others
 * are made anew in scratch. */
typedef struct tr_attn_trace {
    tr_tensor q0, k0, v;                        /* [b, n, d] as the layers gave them; the norms come after */
    tr_tensor o, lse;                           /* [b, n, d], [b, n_head, n] */
} tr_attn_trace;
typedef struct tr_stream_trace {
    tr_tensor x;                                /* [b, n, d] the block's input */
    tr_attn_trace attn;
    tr_tensor mid, u;                           /* [b, n, d] after attention; [b n, 4 d] before gelu */
} tr_stream_trace;
typedef struct tr_block_trace { tr_stream_trace image, text; tr_attn_trace second; } tr_block_trace;
/* Has it an adapter that learns? */
bool tr_block_learns(const tr_block *k);
/* The tensors that level keeps, in scratch that the caller pops; the inputs excepted. b samples of t image and n text tokens. */
TR_CHECKED tress_status tr_block_trace_new(tr_block_trace *out, tr_stream *s, const tr_block *k, tr_keep level, int64_t b, int64_t t, int64_t n);
typedef struct tr_block_train {
    tr_block_mod mod;
    tr_tensor text_logw;                        /* as in tr_block_io */
    const tr_drop *drop;
} tr_block_train;
/* image_out, text_out [b, ., d] = the block on trace->image.x, trace->text.x (text_out none where text ends); fills what the trace keeps. */
TR_CHECKED tress_status tr_block_train_forward(tr_stream *s, const tr_block *k, const tr_block_train *c, tr_block_trace *trace,
                                               tr_tensor image_out, tr_tensor text_out);
/* d_image, d_text [b, ., d] in place: from the gradient of the outputs to that of the inputs. d_text is only written where text ends.
 * Gradients of adapters are added. below: whether anything below needs the gradient of the inputs; else d_image and d_text are
 * spent. Uses the trace of the forward with the same block, mods and dropout. */
TR_CHECKED tress_status tr_block_train_back(tr_stream *s, const tr_block *k, const tr_block_train *c, const tr_block_trace *trace,
                                            tr_tensor d_image, tr_tensor d_text, bool below);

/* [b, n, d] -> [b n, d] */
static inline tr_tensor tr_rows(tr_tensor t) { return tr_reshape(t, TR_DIMS(t.shape[0] * t.shape[1], t.shape[2])); }
static inline void tr_probe_show(tr_probe p, const char *stage, int block, tr_tensor t)
{
    if (p.fn) p.fn(p.self, stage, block, t);
}

#endif
