/* safetensors.h - named tensors in a file, mapped and never copied. The reader is strict: header at most 16 MiB and 8
 * levels deep, at most 65,536 tensors, names of at most 256 bytes of printable UTF-8, rank at most 6, known dtypes,
 * offsets contiguous from 0 to the end of the file, sizes equal to shape times dtype without overflow, no duplicate keys. */
#ifndef TRESS_IO_SAFETENSORS_H
#define TRESS_IO_SAFETENSORS_H

#include "tensor/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_safetensors tr_safetensors;
/* Fails: IO, FORMAT (the message names the file, the tensor and the rule), OOM. */
TR_CHECKED tress_status tr_safetensors_open(tr_safetensors **out, const char *path);
void        tr_safetensors_close(tr_safetensors *f);
const char *tr_safetensors_path(const tr_safetensors *f);
int         tr_safetensors_count(const tr_safetensors *f);
const char *tr_safetensors_name(const tr_safetensors *f, int i);             /* sorted by name */
tr_tensor   tr_safetensors_at(const tr_safetensors *f, int i);               /* a read-only view into the mapping, may be unaligned */
bool        tr_safetensors_find(const tr_safetensors *f, const char *name, tr_tensor *out);
const char *tr_safetensors_meta(const tr_safetensors *f, const char *key);   /* NULL: absent */
int         tr_safetensors_meta_count(const tr_safetensors *f);
void        tr_safetensors_meta_at(const tr_safetensors *f, int i, const char **key, const char **value);
/* A tensor of exactly these dims as F32 into out (any float type converted). Fails: FORMAT (missing, or NaN or infinite
 * values), SHAPE. */
TR_CHECKED tress_status tr_safetensors_read_f32(const tr_safetensors *f, const char *name, float *out, tr_dims d);

/* Written in one go, atomically, the room for it reserved first, in the reference library's order (dtype size descending, then name), data 8-aligned. */
typedef struct tr_named { const char *name; tr_tensor t; } tr_named;         /* t contiguous, host memory */
TR_CHECKED tress_status tr_safetensors_write(const char *path, const tr_named *list, int n,
                                             const char *const *meta /* pairs, ending in NULL; or NULL */);
/* The same; check (core/file.h, tr_out_commit_checked) reads the file back before it gets its name. */
TR_CHECKED tress_status tr_safetensors_write_checked(const char *path, const tr_named *list, int n, const char *const *meta, tr_out_check check, void *self);
/* The same for tensors that are made while they are written: t.data is not read; fill gives bytes at .. at + n of tensor i, a whole
 * number of elements each time, at most TR_FILL_BYTES at once. */
#define TR_FILL_BYTES ((size_t)32 << 20)
typedef tress_status (*tr_safetensors_fill)(void *self, int i, size_t at, void *bytes, size_t n);
TR_CHECKED tress_status tr_safetensors_write_filled(const char *path, const tr_named *list, int n, const char *const *meta, tr_safetensors_fill fill, void *self);

#ifdef __cplusplus
}
#endif
#endif
