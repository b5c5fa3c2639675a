/* layer.h - a linear layer with the adapters that sit on it, and the list that owns the linear layers of one model. */
#ifndef TRESS_MODEL_LAYER_H
#define TRESS_MODEL_LAYER_H

#include "model/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = W x + b + sum_i weight_i (alpha_i / r_i) B_i (A_i x).   Hu et al. 2021, arXiv:2106.09685, sec. 4.1
 * Several adapters are one: A stacked on rows, B on columns with the factors folded in. */
typedef struct tr_linear_layer {
    tr_tensor w;                                /* [d_out, d_in] borrowed from the weights */
    tr_tensor b;                                /* [d_out], or none */
    tr_tensor a, up;                            /* [r, d_in], [d_out, r] F32 owned by tr_lora_stack or tr_adapters, or none */
    float     low_scale;                        /* of the low-rank part, where it is not folded into up; 0 stands for 1 */
    tr_tensor da, dup;                          /* adapters that learn: their gradients are added here; or none */
    struct tr_adapter_set {                     /* the adapters that rows of a reference go through, in place of the five above */
        tr_tensor a, up;
        float     low_scale;
        tr_tensor da, dup;
    } reference;
    char     *name;                             /* "transformer_blocks.3.attn.to_q": where adapters find it; owned by the model */
    int       index;                            /* in its list */
} tr_linear_layer;
/* x [n, d_in] -> y [n, d_out]; e may be NULL. Takes [n, r] of scratch while it runs if there are adapters. */
TR_CHECKED tress_status tr_linear_apply(tr_stream *s, tr_tensor y, tr_tensor x, const tr_linear_layer *l, const tr_epilogue *e);

/* Dropout before A (as PEFT): element j of row i of layer l's input is kept by the Philox number i d_in + j of `key` and stream
 * `draw` TR_LAYER_MAX + l. p = 0: none. */
typedef struct tr_drop { float p; uint64_t key, draw; } tr_drop;
#define TR_LAYER_MAX 4096
/* As tr_linear_apply, with dropout (NULL: none). */
TR_CHECKED tress_status tr_linear_apply_dropped(tr_stream *s, tr_tensor y, tr_tensor x, const tr_linear_layer *l, const tr_epilogue *e,
                                                const tr_drop *drop);
/* Backward of the same. dy [n, d_out]; x [n, d_in] what went in. dx [n, d_in] = residual + gradient, or none; residual or none, may be
 * dx. The adapter's gradients are added to l->da and l->dup where it learns; w and b never do. */
TR_CHECKED tress_status tr_linear_apply_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, const tr_linear_layer *l, tr_tensor residual,
                                             const tr_drop *drop);

/* The linear layers of one model in one array, which never moves: models keep pointers into it, adapters walk over it.
 * Zero-initialise; tr_layer_list_fini. */
typedef struct tr_layer_list { tr_linear_layer *at; int n, cap; } tr_layer_list;
TR_CHECKED tress_status tr_layer_list_init(tr_layer_list *l, int cap);
/* The layer NAME from NAME.weight and, if `bias`, NAME.bias. stored: the dims of the weight in the file, [d_out, d_in], or
 * those of a convolution that is a linear layer over patches, [d_out, c, p, p], seen as [d_out, c p p].
 * *out is a view into l. Fails: FORMAT (missing), SHAPE, OOM. */
TR_CHECKED tress_status tr_layer_list_add(tr_layer_list *l, tr_linear_layer **out, tr_weights *w, tr_dims stored, bool bias,
                                          const char *format, ...) TR_PRINTF(6, 7);
void tr_layer_list_fini(tr_layer_list *l);
/* Adapters and those of references change places in every layer; a second call puts them back. */
void tr_layer_list_turn(tr_layer_list *l);

#ifdef __cplusplus
}
#endif
#endif
