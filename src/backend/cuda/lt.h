/* lt.h - matrix products by cuBLASLt, each kind of product set up once. Inside the CUDA back end.
 *
 * cuBLASLt counts from the first column on: a row-major [r, c] with rows ld apart is its c x r matrix with ld. All operands here begin
 * at multiples of 16 bytes and have a ld of such: who calls copies what does not (linear.cu). The algorithm is the first that
 * the library's own table offers for a shape; it is asked for once, and depends on nothing but the shape. Sums are F32, parts of a
 * sum too: schemes that add parts in the output's type are not asked for. */
#ifndef TRESS_BACKEND_CUDA_LT_H
#define TRESS_BACKEND_CUDA_LT_H

#include "backend/cuda/cuda.h"

#define TR_LT_ALIGN 16

enum { TR_LT_BIAS = 1, TR_LT_GELU = 2 };        /* may be both: gelu_tanh(.. + bias) */

/* d = epilogue(alpha op(a) op(b) + beta c), in cuBLASLt's order: op(a) m x k, op(b) k x n, c and d m x n. What it takes to choose an
 * algorithm; zeroed before it is filled, as it is compared by its bytes. */
struct tr_lt_shape {
    int32_t ab, cd;                             /* tr_dtype of a and b, of c and d (and of the bias [m]) */
    int32_t turn_a, turn_b;                     /* op is the transpose */
    int32_t epilogue;
    int32_t vector;                             /* alpha is one F32 for each of the m rows, in device memory */
    int32_t add;                                /* there is a c */
    int32_t n_batch;                            /* 1, or products with one a; of b, c, d and vectors `step` elements apart */
    int64_t m, n, k, lda, ldb, ldc, ldd, step_b, step_c, step_d;
};
struct tr_lt_product {
    tr_lt_shape  shape;
    const void  *a, *b, *c;
    void        *d;
    float        alpha;
    const float *alphas;                        /* shape.vector: [n_batch, m] */
    const void  *bias;                          /* TR_LT_BIAS: [m], with batches and alphas [n_batch, m] */
};
struct tr_lt_plan;

/* *out = how such products are made, borrowed from c; NULL where cuBLASLt has no way. Fails: GPU, OOM. */
tress_status tr_lt_find(const tr_lt_plan **out, tr_cuda *c, const tr_lt_shape *shape);
/* Queue it; p->shape is what the plan was found for. Allocates nothing. Fails: GPU. */
tress_status tr_lt_run(tr_cuda *c, const tr_lt_plan *plan, const tr_lt_product *p);

#endif
