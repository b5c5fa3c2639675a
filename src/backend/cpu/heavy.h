/* heavy.h - what linear, attention and conv2d share: rows of weights to float, the activations, dot products. */
#ifndef TRESS_BACKEND_CPU_HEAVY_H
#define TRESS_BACKEND_CPU_HEAVY_H

#include "tensor/ops.h"

/* to[n] = element i .. i + n - 1 of w, which is contiguous, of any weight type, and possibly unaligned: a mapped file. */
void tr_weight_row(float *to, tr_tensor w, int64_t i, int64_t n);
/* v[n] = act(v[n]). */
void tr_act_row(float *v, int64_t n, tr_act act);
/* sum a[i] b[i] in 16 partial sums. */
float tr_dot(const float *a, const float *b, int64_t n);

#endif
