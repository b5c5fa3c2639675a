/* conv_int.h - the ways of a convolution on a GPU, and what they share. Stays inside the CUDA back end. */
#ifndef TRESS_BACKEND_CUDA_CONV_INT_H
#define TRESS_BACKEND_CUDA_CONV_INT_H

#include "backend/cuda/cuda.h"

struct tr_dnn_plan;                             /* dnn.h */

/* A convolution as kernels see it. Pixels of y are counted through all images; rows and columns of x are those of the enlarged
 * picture, whose pixel (r, l) lies at (r >> up, l >> up). */
struct tr_conv_shape {
    int64_t n_pixel;                            /* b oh ow */
    int     oh, ow;                             /* of y */
    int     h, w;                               /* of x, enlarged */
    int     up;                                 /* 1: enlarged by 2 */
    int     stride, top, left;
    int     taps, kw;
    int     n_c, n_m;                           /* channels of x, as its memory has them, and of y */
    int64_t x_image, x_row, x_col;              /* steps in elements */
    int64_t y_image, y_row, y_col, r_image, r_row, r_col;
    tr_view_of x, y, bias, residual;            /* bias, residual: data NULL if none */
};

/* Where the pixel lies in y (or the residual). */
__device__ inline int64_t tr_conv_at(const tr_conv_shape &s, int64_t pixel, int64_t image, int64_t row, int64_t col)
{
    const int64_t l = pixel % s.ow, r = pixel / s.ow;
    return r / s.oh * image + r % s.oh * row + l * col;
}

/* Any types, any strides, in F32: y = conv + bias + residual. packed: F32 [taps, n_c, n_m]. */
tress_status tr_conv_plain(tr_cuda *c, const tr_conv_shape *s, const float *packed);

/* Tensor cores: x of F16 or BF16, n_c a multiple of 8, its pixels 16-byte aligned; packed: [n_m, taps, n_c] of x's type. y, bias and
 * residual as they like. by_8: y and the residual may be moved eight channels at a time. */
tress_status tr_conv_mma(tr_cuda *c, const tr_conv_shape *s, const void *packed, bool by_8);

/* ---- cuDNN: conv_dnn.cu ---------------------------------------------------------------------------------- */
/* x, y, w and the residual dense, 16-byte aligned, c and m multiples of 8; w [m, kh, kw, c]; bias [m], of
 * the type of x. */
struct tr_conv_problem {
    int     type, y_type, residual_type;        /* of x and w: F16 or BF16; of y; of the residual, -1 if none */
    bool    bias;
    int64_t b, h, w, c, oh, ow, m, kh, kw;
    int     stride, top, left, bottom, right;   /* pads >= 0 */
};

/* *out: borrowed, the plan for the problem; NULL where cuDNN is not installed or does not serve it. *fused: bias and residual are
 * part of it, else y = conv alone, of the type of x. workspace: bytes that it needs. Fails: OOM. */
tress_status tr_conv_dnn_plan(const tr_dnn_plan **out, bool *fused, size_t *workspace, tr_cuda *c, const tr_conv_problem *p);
tress_status tr_conv_dnn_run(tr_cuda *c, const tr_dnn_plan *plan, bool fused, const tr_conv_problem *p, void *y, const void *x, const void *w,
                             const void *bias, const void *residual, void *workspace);

#endif
