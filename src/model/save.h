/* save.h - weights out: a module's folder with shards and index, and diffusers' names regrouped into the original layout.
 * Everything is written while it is made, so that a few MiB of memory serve for any size. */
#ifndef TRESS_MODEL_SAVE_H
#define TRESS_MODEL_SAVE_H

#include "model/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The weight files of one module into folder dir, which is there: one file, or shards of at most shard_bytes (0: 5e9; a larger
 * tensor has a shard to itself) with their index. list as for tr_safetensors_write_filled. Fails: IO, ARG, OOM, what fill fails with. */
TR_CHECKED tress_status tr_weights_save(const char *dir, tr_module module, const tr_named *list, int n, int64_t shard_bytes, tr_safetensors_fill fill, void *self);

/* Tensors in the original layout as pieces of tensors in diffusers' names. */
typedef struct tr_piece { int i; size_t from, n; } tr_piece;              /* bytes from .. from + n of tensor i of the source list */
typedef struct tr_regrouped {
    tr_named *list;                             /* [n] names owned, data NULL */
    struct { tr_piece piece[3]; int n; } *from; /* [n] */
    int       n, n_left_out;                    /* n_left_out: tensors the layout has no place for (CLIP-L's projection) */
    tr_safetensors_fill   fill;                             /* of the source list */
    void     *self;
} tr_regrouped;
/* list in diffusers' names; prefix is put before each name ("model.diffusion_model.", or ""). *out is filled; tr_regrouped_fini.
 * Fails: FORMAT (a part of a fused tensor is missing), SHAPE, OOM. */
TR_CHECKED tress_status tr_regroup(tr_regrouped *out, tr_module module, const char *prefix, const tr_named *list, int n, tr_safetensors_fill fill, void *self);
void tr_regrouped_fini(tr_regrouped *r);
/* A tr_safetensors_fill over a tr_regrouped. */
TR_CHECKED tress_status tr_regrouped_fill(void *self, int i, size_t at, void *bytes, size_t n);
const char *tr_module_prefix(tr_module m);      /* in an original single file; "" for the ControlNet, which has a file of its own */

#ifdef __cplusplus
}
#endif
#endif
