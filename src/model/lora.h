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

#define TR_LORA_RANK_MAX 4096
typedef struct tr_lora tr_lora;
/* PEFT folders (adapter_model.safetensors + adapter_config.json) and files. Fused q, k, v are split. Fails: IO, FORMAT (NaN, half a
 * pair, a key that is no adapter, another kind of adapter), SHAPE, CONTRACT (adapters of text encoders or of layers that are not
 * the transformer's). */
TR_CHECKED tress_status tr_lora_open(tr_lora **out, const char *path);
/* The same, leaving adapters of text encoders out; *n_dropped tells how many tensors those were. */
TR_CHECKED tress_status tr_lora_open_transformer(tr_lora **out, const char *path, int *n_dropped);
void tr_lora_close(tr_lora *l);
tr_lora_format tr_lora_get_format(const tr_lora *l);
const char *tr_lora_path(const tr_lora *l);     /* "" for one made in memory */
int tr_lora_count(const tr_lora *l);
const tr_lora_pair *tr_lora_at(const tr_lora *l, int i);        /* sorted by layer */
const char *tr_lora_meta(const tr_lora *l, const char *key);
int  tr_lora_meta_count(const tr_lora *l);
void tr_lora_meta_at(const tr_lora *l, int i, const char **key, const char **value);
/* One made in memory: pairs of zeros to be filled, metadata that is saved with them. */
TR_CHECKED tress_status tr_lora_new(tr_lora **out);
TR_CHECKED tress_status tr_lora_add(tr_lora *l, const tr_lora_pair **out, const char *layer, int rank, int64_t d_out, int64_t d_in);
TR_CHECKED tress_status tr_lora_set_meta(tr_lora *l, const char *key, const char *value);
/* Written folded, in the wanted layout: every reader of that layout gets the same delta W. F32, atomically. path is a file; for PEFT a
 * folder, made if need be. Metadata under "tress." keys goes along. Fails: CONTRACT (a layer has no name in that layout), IO, OOM. */
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
/* Absent keys are left "" or 0. Fails: FORMAT (a value of the wrong kind). */
TR_CHECKED tress_status tr_contract_read(tr_contract *out, const tr_lora *l);
TR_CHECKED tress_status tr_contract_write(tr_lora *l, const tr_contract *c);
/* What a LoRA was trained under against what it is used under: CONTRACT naming file, key, both values and --ignore-contract when they
 * differ in what matters; *told gains a line for each lesser difference. Values unknown on either side agree. */
TR_CHECKED tress_status tr_contract_compare(const tr_contract *trained, const tr_contract *used, const char *file, tr_str *told);

/* SHA-256 over names, shapes and 64 evenly spread elements of every float tensor, sorted by name. Elements are rounded to bf16 and
 * those below 2^-14 (F16's smallest normal number) count as 0, so that an F32 or F16 copy of BF16 weights and an F32 or BF16 copy
 * of F16 weights have the fingerprint of their original. */
TR_CHECKED tress_status tr_fingerprint(char hex[65], const tr_weights *w);

#ifdef __cplusplus
}
#endif
#endif
