/* tensor.h - a view of typed numbers: where they are, their shape, the steps between them. Owns nothing.
 * Passed by value. Shapes are outermost first; strides count elements. The door of tensor. Floor 1. */
#ifndef TRESS_TENSOR_TENSOR_H
#define TRESS_TENSOR_TENSOR_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_dtype {
    TR_F32, TR_F16, TR_BF16, TR_F8_E4M3,        /* what weights come in */
    TR_F64, TR_I8, TR_U8, TR_I16, TR_U16, TR_I32, TR_U32, TR_I64, TR_U64, TR_BOOL, TR_F8_E5M2,
    TR_DTYPE_N
} tr_dtype;
size_t      tr_dtype_size(tr_dtype t);          /* bytes of one element */
const char *tr_dtype_name(tr_dtype t);          /* as safetensors writes it: "F32", "F8_E4M3" */
bool        tr_dtype_parse(tr_dtype *out, const char *name);
bool        tr_dtype_is_float(tr_dtype t);

/* One element to and from float, round to nearest even; F8_E4M3 is the "fn" kind: no infinity, 0x7f is NaN, values
 * beyond 448 saturate. */
float    tr_f16_to_f32(uint16_t h);
uint16_t tr_f32_to_f16(float f);
float    tr_bf16_to_f32(uint16_t h);
uint16_t tr_f32_to_bf16(float f);
float    tr_f8e4m3_to_f32(uint8_t h);
uint8_t  tr_f32_to_f8e4m3(float f);

#define TR_RANK_MAX 6
typedef struct tr_dims { int rank; int64_t n[TR_RANK_MAX]; } tr_dims;
/* TR_DIMS(2, 77, 768) */
#define TR_DIMS(...) ((tr_dims){ (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), { __VA_ARGS__ } })

typedef struct tr_tensor {
    void    *data;                              /* host or device memory, by whose stream it is used with */
    tr_dtype dtype;
    int      rank;                              /* 0: a scalar */
    int64_t  shape[TR_RANK_MAX], stride[TR_RANK_MAX];
} tr_tensor;

/* data == NULL && rank == 0 stands for "no tensor" where an op or layer takes an optional one. */
static inline tr_tensor tr_none(void) { tr_tensor t = { 0 }; return t; }
static inline bool tr_is_none(tr_tensor t) { return t.data == NULL; }

tr_tensor tr_view(void *data, tr_dtype t, tr_dims d);                        /* contiguous */
int64_t   tr_count(tr_tensor t);                                             /* elements */
TR_CHECKED tress_status tr_bytes(size_t *out, tr_dtype t, tr_dims d);        /* overflow-checked. Fails: SHAPE */
bool      tr_is_contiguous(tr_tensor t);
bool      tr_has_dims(tr_tensor t, tr_dims d);
/* "[2, 77, 768]" into buf, which it returns. */
#define TR_DIMS_TEXT 160
char *tr_dims_text(char buf[TR_DIMS_TEXT], int rank, const int64_t *shape);

/* Views. Each asserts what it needs: our own bug otherwise. */
tr_tensor tr_slice(tr_tensor t, int axis, int64_t begin, int64_t n);         /* t[.., begin : begin + n, ..] */
tr_tensor tr_index(tr_tensor t, int axis, int64_t i);                        /* t[.., i, ..], rank - 1 */
tr_tensor tr_reshape(tr_tensor t, tr_dims d);                                /* the dims must be contiguous among themselves, or refine/merge only such */
tr_tensor tr_permute(tr_tensor t, const int *order);                         /* result dim i is dim order[i] of t */

#ifdef __cplusplus
}
#endif
#endif
