/* weights.h - the named tensors of one module, in diffusers' names, wherever they come from: a diffusers folder (one file
 * or shards, plain or variant), an original single file with its prefixes, fused qkv and swapped halves, or memory.
 * Tensors are views into mapped files; only what must be rearranged, or is not aligned to its element size, is copied. */
#ifndef TRESS_MODEL_WEIGHTS_H
#define TRESS_MODEL_WEIGHTS_H

#include "io/io.h"
#include "model/keymap.h"
#include "tensor/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_module { TR_MODULE_TRANSFORMER, TR_MODULE_CONTROLNET, TR_MODULE_VAE, TR_MODULE_CLIP_L, TR_MODULE_CLIP_G, TR_MODULE_T5 } tr_module;
#define TR_MODULE_N 6
const char *tr_module_name(tr_module m);        /* "transformer", "controlnet", "vae", "text_encoder", "text_encoder_2", "text_encoder_3" */

typedef struct tr_weights tr_weights;
/* path: a module folder, a model folder that has the module's sub-folder, or a file (diffusers or original names, told by
 * the keys; prefixes are stripped). Beside an original single file that lacks a text encoder, clip_l.safetensors,
 * clip_g.safetensors and t5xxl*.safetensors are looked for, also in text_encoders/. variant may be NULL: plain names, then
 * fp16; a folder that lacks the named variant gives its plain file and a note. Fails: IO (missing), FORMAT, SHAPE, OOM. */
TR_CHECKED tress_status tr_weights_open(tr_weights **out, const char *path, tr_module module, const char *variant);
/* As open, but *out = NULL when a single file, and what lies beside it, has no such module. */
TR_CHECKED tress_status tr_weights_open_optional(tr_weights **out, const char *path, tr_module module, const char *variant);
/* Does path hold this module, itself or (text encoders) in a file beside it? A folder: by its sub-folders, or the class in its own
 * config.json. Fails: IO, FORMAT, OOM. */
TR_CHECKED tress_status tr_weights_holds(bool *out, const char *path, tr_module module);
/* Shapes without data: every look-up succeeds with the asked shape and dtype t (-1 becomes 1); the values are zeros that take no
 * memory. For plans and benches. */
TR_CHECKED tress_status tr_weights_shapes_only(tr_weights **out, tr_dtype t);
/* As shapes_only, but the tensors are memory of d with random numbers, N(0, 0.02), in the type its activations have. For benches: a
 * chip is faster on zeros. Fails: OOM. */
TR_CHECKED tress_status tr_weights_random(tr_weights **out, tr_device *d);
/* From now on tensors asked for are copies on d, in the type its activations have, rather than views into files; made when
 * they are first asked for, given back by close, which must come before d's. On a host device nothing changes. Fails: OOM. */
TR_CHECKED tress_status tr_weights_place(tr_weights *w, tr_device *d);
/* Everything was asked for: what copying took on its way is given back. Fails: GPU, OOM. */
TR_CHECKED tress_status tr_weights_placed(tr_weights *w);
void tr_weights_close(tr_weights *w);
/* The copies leave the device, and may be placed anew; whoever uses them is closed before. Without copies: nothing happens. */
void tr_weights_leave(tr_weights *w);

/* ---- weights that travel ----
 * Where a device is too small for a network, the matrices of some groups stay in pinned host memory and come to the device when they are
 * needed, into one of two slots that they all share; a tensor's address is the same whenever it is there, so that layers need not know.
 * A group is what one block needs at one time: its adaLN matrices, or all the others. Vectors are small and always stay. */
#define TR_GROUP_MAX (2 * 64)
#define TR_GROUP_ADALN(block) (2 * (block))
#define TR_GROUP_BLOCK(block) (2 * (block) + 1)
typedef struct tr_groups {
    int64_t bytes[TR_GROUP_MAX];                /* of its matrices on the device; 0: there is none */
    bool    travels[TR_GROUP_MAX];
    int64_t bytes_all;                          /* of all matrices, those of no group too */
} tr_groups;
/* What was asked for since place, by group; nothing travels. */
void tr_weights_groups(const tr_weights *w, tr_groups *out);
/* After place, before anything is asked for: these groups travel. g: bytes as tr_weights_groups told them of an equal network. Fails: OOM. */
TR_CHECKED tress_status tr_weights_travel(tr_weights *w, const tr_groups *g);
/* The group is in place for the ops that follow on s, until another is needed; the next one of its kind that travels, upwards (step 1)
 * or downwards (-1), is on its way meanwhile (0: none). Before every use of a group, and nothing where it does not travel.
 * Forward and backward of a block need their groups alike: going down, step is -1. Fails: GPU. */
TR_CHECKED tress_status tr_weights_need(tr_weights *w, tr_stream *s, int group, int step);
bool tr_weights_travels(const tr_weights *w);   /* does any? */

const json_t *tr_weights_config(const tr_weights *w);           /* view: config.json of the folder; NULL when there is none */
const char   *tr_weights_where(const tr_weights *w);            /* the path, for messages */
tr_module     tr_weights_module(const tr_weights *w);
tr_layout     tr_weights_layout(const tr_weights *w);           /* the names the file itself uses */
int           tr_weights_count(const tr_weights *w);
const char   *tr_weights_name(const tr_weights *w, int i);      /* diffusers name; sorted */
tr_tensor     tr_weights_at(const tr_weights *w, int i);
bool          tr_weights_find(const tr_weights *w, const char *name, tr_tensor *out);
/* The tensor of that printf-ed name with exactly these dims and a float type. -1 in d accepts any extent there.
 * Fails: FORMAT (missing), SHAPE; the message names file, tensor, found and expected. Marks the tensor used. */
TR_CHECKED tress_status tr_weights_get(tr_weights *w, tr_tensor *out, tr_dims d, const char *format, ...) TR_PRINTF(4, 5);
/* As get, but a missing tensor leaves tr_none() in *out. */
TR_CHECKED tress_status tr_weights_get_optional(tr_weights *w, tr_tensor *out, tr_dims d, const char *format, ...) TR_PRINTF(4, 5);
/* Every tensor was used and is finite, else FORMAT naming the first that is not. Values are scanned on n_thread threads.
 * Tensors known to do nothing here may stay unused: docs/formats.md has the list. */
TR_CHECKED tress_status tr_weights_check(tr_weights *w, int n_thread);
int64_t tr_weights_bytes(const tr_weights *w);                  /* of the tensors asked for so far, as stored */
/* What a person may want to know and what need not stop the work: stored values that are not what is known of the released models,
 * a variant that was not there. Complete after tr_weights_check. */
int         tr_weights_note_count(const tr_weights *w);
const char *tr_weights_note(const tr_weights *w, int i);        /* view */

#ifdef __cplusplus
}
#endif
#endif
