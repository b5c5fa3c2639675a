/* weights.h - the named tensors of one module, in diffusers' names, wherever they come from: a diffusers folder (one file
 * or shards, plain or variant), an original single file with its prefixes, fused qkv and swapped halves, or memory.
 * Tensors are views into mapped files; only what must be rearranged is copied. */
#ifndef TRESS_MODEL_WEIGHTS_H
#define TRESS_MODEL_WEIGHTS_H

#include "io/io.h"
#include "tensor/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_module { TR_MODULE_TRANSFORMER, TR_MODULE_CONTROLNET, TR_MODULE_VAE, TR_MODULE_CLIP_L, TR_MODULE_CLIP_G, TR_MODULE_T5 } tr_module;
const char *tr_module_name(tr_module m);        /* "transformer", "controlnet", "vae", "text_encoder", "text_encoder_2", "text_encoder_3" */

typedef struct tr_weights tr_weights;
/* path: a module folder, a model folder that has the module's sub-folder, or a file (diffusers or original names, told by
 * the keys; prefixes are stripped). variant may be NULL. Fails: IO (missing), FORMAT, OOM. */
TR_CHECKED tress_status tr_weights_open(tr_weights **out, const char *path, tr_module module, const char *variant);
/* Shapes without data: every look-up succeeds with the asked shape and dtype t. For plans and benches. */
TR_CHECKED tress_status tr_weights_shapes_only(tr_weights **out, tr_dtype t);
void tr_weights_close(tr_weights *w);
const json_t *tr_weights_config(const tr_weights *w);           /* view: config.json of the folder; NULL when there is none */
const char   *tr_weights_where(const tr_weights *w);            /* the path, for messages */
int           tr_weights_count(const tr_weights *w);
const char   *tr_weights_name(const tr_weights *w, int i);      /* diffusers name; sorted */
tr_tensor     tr_weights_at(const tr_weights *w, int i);
bool          tr_weights_find(const tr_weights *w, const char *name, tr_tensor *out);
/* The tensor of that printf-ed name with exactly these dims and a float type. -1 in d accepts any extent there.
 * Fails: FORMAT (missing), SHAPE; the message names file, tensor, found and expected. Marks the tensor used. */
TR_CHECKED tress_status tr_weights_get(tr_weights *w, tr_tensor *out, tr_dims d, const char *format, ...) TR_PRINTF(4, 5);
/* As get, but a missing tensor leaves tr_none() in *out. */
TR_CHECKED tress_status tr_weights_get_optional(tr_weights *w, tr_tensor *out, tr_dims d, const char *format, ...) TR_PRINTF(4, 5);
/* Every tensor was used and is finite, else FORMAT naming the first that is not. Values are scanned on n_thread threads. */
TR_CHECKED tress_status tr_weights_check(tr_weights *w, int n_thread);

#ifdef __cplusplus
}
#endif
#endif
