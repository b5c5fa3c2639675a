/* checkpoint.h - the state of a run in one safetensors file, with a digest of all that is in it: whole and intact, or refused.
 * A run's folder holds them as checkpoints/step-000000250.safetensors. A save that fails or is killed leaves the earlier ones. */
#ifndef TRESS_TRAIN_CHECKPOINT_H
#define TRESS_TRAIN_CHECKPOINT_H

#include "io/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One line for a person about what went on without failing. NULL: nobody listens. */
typedef void (*tr_say)(void *self, const char *text);

#define TR_CHECKPOINT_DIGEST "tress.digest"     /* metadata: SHA-256, 64 lower-case digits */
#define TR_RUN_STEP_MAX INT64_C(999999999)

/* Write tensors and metadata (pairs ending in NULL, or NULL; not TR_CHECKPOINT_DIGEST): room reserved, flushed, read back and compared
 * with what should be there, renamed, folder flushed.
 * Fails: NONFINITE (a tensor holds NaN or infinity: named), ARG (a name twice, no name), IO (tr_disk_full tells a full disk), OOM;
 * FORMAT (what came back is not what was written). Then no file of that name has changed and no temporary is left. */
TR_CHECKED tress_status tr_checkpoint_save(const char *path, const tr_named *list, int n, const char *const *meta);

typedef struct tr_checkpoint tr_checkpoint;
/* *out is new. Fails: IO, OOM, FORMAT (not safetensors, or the digest is missing or another). */
TR_CHECKED tress_status tr_checkpoint_open(tr_checkpoint **out, const char *path);
void        tr_checkpoint_close(tr_checkpoint *c);               /* NULL is welcome */
const char *tr_checkpoint_file(const tr_checkpoint *c);          /* its path, view */
const char *tr_checkpoint_meta(const tr_checkpoint *c, const char *key);       /* view; NULL: absent */
bool        tr_checkpoint_has(const tr_checkpoint *c, const char *name);
int         tr_checkpoint_count(const tr_checkpoint *c);         /* tensors */
/* Copy a tensor of exactly out's dtype and shape into out, which is contiguous.
 * Fails: FORMAT (missing, another dtype, or NaN or infinity in it), SHAPE. */
TR_CHECKED tress_status tr_checkpoint_read(const tr_checkpoint *c, const char *name, tr_tensor out);
/* A whole number in the metadata within min .. max. Fails: FORMAT (missing, no number, outside). */
TR_CHECKED tress_status tr_checkpoint_int(const tr_checkpoint *c, const char *key, int64_t min, int64_t max, int64_t *out);

/* DIR/step-%09d.safetensors, new. 0 <= step <= TR_RUN_STEP_MAX. */
TR_CHECKED tress_status tr_checkpoint_path(char **out, const char *dir, int64_t step);
/* The step in a file name of exactly that form; -1: another name. */
int64_t tr_checkpoint_step(const char *path);
/* The newest checkpoint of a folder that opens intact, *out new. What damaged newer ones are is said. *out = NULL: there is none at all.
 * Fails: FORMAT (there are some, and none is intact), IO (the folder), OOM. */
TR_CHECKED tress_status tr_checkpoint_latest(tr_checkpoint **out, const char *dir, tr_say say, void *self);
/* Remove all but the newest `keep` >= 1; where none of these is intact, the newest intact older one stays too. Only names of the form
 * above are touched. What cannot be removed is said. Fails: IO (the folder), OOM. */
TR_CHECKED tress_status tr_checkpoint_prune(const char *dir, int keep, tr_say say, void *self);
/* Remove the temporaries that killed saves left, and say so. The folder must be ours (lock.h). Fails: IO, OOM. */
TR_CHECKED tress_status tr_checkpoint_clean(const char *dir, tr_say say, void *self);

#ifdef __cplusplus
}
#endif
#endif
