/* layer.h - a linear layer with the adapters that sit on it. */
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
    tr_tensor a, up;                            /* [r, d_in], [d_out, r] F32 owned by tr_lora, or none */
    char     *name;                             /* "transformer_blocks.3.attn.to_q": where adapters find it; owned by the model */
} tr_linear_layer;
/* x [n, d_in] -> y [n, d_out]; e may be NULL. */
TR_CHECKED tress_status tr_linear_apply(tr_stream *s, tr_tensor y, tr_tensor x, const tr_linear_layer *l, const tr_epilogue *e);

#ifdef __cplusplus
}
#endif
#endif
