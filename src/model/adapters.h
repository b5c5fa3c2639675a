/* adapters.h - low-rank adapters that learn, on the attention projections of a transformer whose own weights stay as they are.
 *     y = W x + b + (alpha / r) B (A x)                      Hu et al. 2021, arXiv:2106.09685, sec. 4.1
 * B starts at zero, so that fresh adapters change nothing, bit for bit. All parameters lie in one F32 tensor, layer by layer in the model's
 * order, A before B; the gradients likewise. */
#ifndef TRESS_MODEL_ADAPTERS_H
#define TRESS_MODEL_ADAPTERS_H

#include "model/lora.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Projections of the image tokens, in the joint and the second attention, and of the text tokens. */
typedef enum tr_target {
    TR_TARGET_TO_Q = 1, TR_TARGET_TO_K = 2, TR_TARGET_TO_V = 4, TR_TARGET_TO_OUT = 8,
    TR_TARGET_ADD_Q = 16, TR_TARGET_ADD_K = 32, TR_TARGET_ADD_V = 64, TR_TARGET_TO_ADD_OUT = 128,
    TR_TARGET_IMAGE = 15
} tr_target;

typedef struct tr_adapter_spec {
    int         rank;                           /* 1 to TR_LORA_RANK_MAX */
    float       alpha;                          /* 1e-6 to 1e6 */
    int         targets;                        /* of tr_target */
    const int  *block;                          /* [n_block] the blocks that learn; n_block 0: all */
    int         n_block;
    uint64_t    seed;                           /* of A: uniform within 1 / sqrt(d_in) (kaiming-uniform with a = sqrt 5, as PEFT) */
} tr_adapter_spec;

typedef struct tr_adapters tr_adapters;
/* Put on the model, which borrows them until tr_adapters_free, which must come before the model is closed. No other adapters may sit on it.
 * Fails: ARG (rank, alpha, a block that is not there, no layer chosen), OOM; then the model is as it was. */
TR_CHECKED tress_status tr_adapters_new(tr_adapters **out, tr_mmdit *m, const tr_adapter_spec *spec);
void tr_adapters_free(tr_adapters *k);          /* NULL is welcome */
void tr_adapters_attach(tr_adapters *k, bool on);        /* off: the model is as without them, until on again */
/* The model computes with params [n], borrowed, in place of the adapters' own, which come back with tr_adapters_params. Where activations are
 * narrower than F32 it computes with a copy in their type, as autocast makes one: to be called again when params have changed. */
TR_CHECKED tress_status tr_adapters_show(tr_adapters *k, tr_stream *s, tr_tensor params);

tr_tensor tr_adapters_params(const tr_adapters *k);      /* view: F32 [n] on the device */
tr_tensor tr_adapters_grads(const tr_adapters *k);
int       tr_adapters_count(const tr_adapters *k);       /* of tensors: two for each layer */
/* Tensor i as a LoRA file of diffusers calls it: "transformer.transformer_blocks.3.attn.to_q.lora_A.weight"; view. */
const char *tr_adapters_name(const tr_adapters *k, int i);
tr_tensor tr_adapters_param(const tr_adapters *k, int i);        /* [r, d_in] or [d_out, r] */
tr_tensor tr_adapters_grad(const tr_adapters *k, int i);
int       tr_adapters_block(const tr_adapters *k, int i);        /* the transformer block it belongs to */

/* Begin where a LoRA file ended: every layer of it must learn here, with this rank; those that it lacks begin as they are.
 * Fails: CONTRACT, SHAPE, OOM; then nothing has changed. */
TR_CHECKED tress_status tr_adapters_load(tr_adapters *k, tr_stream *s, const tr_lora *from);
/* A LoRA in memory with alpha / r folded into B, from params [n] (the adapters' own, or an average of them). *out is new. */
TR_CHECKED tress_status tr_adapters_lora(tr_lora **out, const tr_adapters *k, tr_stream *s, tr_tensor params);

#ifdef __cplusplus
}
#endif
#endif
