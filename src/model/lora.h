/* lora.h - low-rank adapters from files in any of the field's layouts, put on the layers of a model.
 * Readers: diffusers, PEFT, kohya, ComfyUI, OneTrainer; docs/lora.md has the table. */
#ifndef TRESS_MODEL_LORA_H
#define TRESS_MODEL_LORA_H

#include "model/mmdit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_lora_format { TR_LORA_DIFFUSERS, TR_LORA_PEFT, TR_LORA_KOHYA, TR_LORA_COMFY, TR_LORA_ONETRAINER, TR_LORA_FORMAT_N } tr_lora_format;
const char *tr_lora_format_name(tr_lora_format f);

/* One adapter pair, scale folded: delta W = up a. Names are diffusers layer paths of the transformer. */
typedef struct tr_lora_pair { char *layer; int rank; float alpha; tr_tensor a, up; /* [r, d_in], [d_out, r] F32, owned; up has alpha / r folded in */ } tr_lora_pair;

typedef struct tr_lora tr_lora;
/* PEFT folders (adapter_model.safetensors + adapter_config.json) and files. Fails: IO, FORMAT (NaN, half a pair, a key that
 * is no adapter), SHAPE. */
TR_CHECKED tress_status tr_lora_open(tr_lora **out, const char *path);
void tr_lora_close(tr_lora *l);
tr_lora_format tr_lora_get_format(const tr_lora *l);
int tr_lora_count(const tr_lora *l);
const tr_lora_pair *tr_lora_at(const tr_lora *l, int i);
const char *tr_lora_meta(const tr_lora *l, const char *key);
/* Written folded, in the wanted layout: every reader of that layout gets the same delta W. */
TR_CHECKED tress_status tr_lora_save(const tr_lora *l, const char *path, tr_lora_format f);

/* Adapters on a model: stacked by layer with their weights. The model borrows the result until tr_lora_stack_free, which must
 * come before the model is closed. One stack of each kind on a model at a time. The adapters may be closed at once. */
typedef struct tr_lora_stack tr_lora_stack;
/* Fails: CONTRACT naming a key that matches no layer, SHAPE, ARG (a weight that is not finite), OOM; then the model is as it was. */
TR_CHECKED tress_status tr_lora_stack_new(tr_lora_stack **out, tr_mmdit *m, const tr_lora *const *list, const float *weight, int n);
/* The same, added into copies of the weights: the model's layers then point at the copies (in the weights' own dtype, rounded
 * once). Fails also: NONFINITE when a sum is beyond that dtype. */
TR_CHECKED tress_status tr_lora_stack_merge(tr_lora_stack **out, tr_mmdit *m, const tr_lora *const *list, const float *weight, int n);
void tr_lora_stack_free(tr_lora_stack *k);      /* takes the adapters off again */

/* The contract: what a LoRA was trained under, kept in its metadata under "tress.*" keys. */
typedef struct tr_contract {
    bool present;
    char control_image[16], control_range[16], control_last[16], reference[16];
    float vae_shift;
    char base[65], control[65];                 /* fingerprints, "" when unknown */
    int  resolution, zero_text_rows;
} tr_contract;
TR_CHECKED tress_status tr_contract_read(tr_contract *out, const tr_lora *l);
/* SHA-256 over sorted tensor names, shapes and 64 fixed elements of each, rounded to bf16: the same for F32, F16 and BF16 copies
 * up to their own rounding to bf16. */
TR_CHECKED tress_status tr_fingerprint(char hex[65], const tr_weights *w);

#ifdef __cplusplus
}
#endif
#endif
