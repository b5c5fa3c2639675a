/* each.h - tensors as rows along their last dimension, for the light ops: a shape that several operands share, their steps, and
 * pieces of eight neighbours of a row. Outer dimensions that run on into each other in every operand are one. */
#ifndef TRESS_BACKEND_CUDA_EACH_H
#define TRESS_BACKEND_CUDA_EACH_H

#include "backend/cuda/cuda.h"

#define TR_OUTER (TR_RANK_MAX - 1)

/* [n[0], .., n[n_outer - 1], d]; operand k begins at v[k] and steps by step[k][.] between the outer ones, by 1 along d. */
template <int N> struct tr_each {
    tr_view_of v[N];
    int64_t    step[N][TR_OUTER], n[TR_OUTER], d;
    int        n_outer;
    int64_t    n_row, n_piece;                  /* n_row 0: no elements; pieces of a row: d / 8, rounded up */
    unsigned   by_8;                            /* bit k: whole pieces of operand k lie as tr_get8 needs */
};

/* The operands, all of t[0]'s shape, of rank 1 or more, dense along the last dimension; a step of 0 spreads what is told once.
 * whole: the last dimension stays as it is (norms), else rows that lie side by side are one. */
template <int N> static inline tr_each<N> tr_each_of(const tr_tensor (&t)[N], bool whole)
{
    tr_each<N> e = {};
    const int last = t[0].rank - 1;
    int64_t n[TR_OUTER], step[N][TR_OUTER];     /* from the inside out */
    int m = 0;
    e.d = t[0].shape[last];
    for (int a = last - 1; a >= 0; a--) {
        if (t[0].shape[a] == 1) continue;
        bool runs_on = m > 0 || !whole;
        for (int k = 0; k < N; k++) runs_on &= t[k].stride[a] == (m ? n[m - 1] * step[k][m - 1] : e.d);
        if (runs_on && m) {
            n[m - 1] *= t[0].shape[a];
        } else if (runs_on) {
            e.d *= t[0].shape[a];
        } else {
            n[m] = t[0].shape[a];
            for (int k = 0; k < N; k++) step[k][m] = t[k].stride[a];
            m++;
        }
    }
    e.n_outer = m;
    e.n_row = e.d > 0;
    for (int a = 0; a < m; a++) {
        e.n[a] = n[m - 1 - a];
        e.n_row *= e.n[a];
    }
    for (int k = 0; k < N; k++) {
        bool by_8 = (uintptr_t)t[k].data % 16 == 0;
        e.v[k] = tr_of(t[k]);
        for (int a = 0; a < m; a++) {
            e.step[k][a] = step[k][m - 1 - a];
            by_8 &= (size_t)e.step[k][a] * tr_dtype_size(t[k].dtype) % 16 == 0;
        }
        if (by_8) e.by_8 |= 1u << k;
    }
    e.n_piece = (e.d + 7) / 8;
    return e;
}

/* ---- [g, d] beside [n, d]: both as [g, n / g, d] ------------------------------------------------------------ */
static inline tr_tensor tr_rank3(tr_tensor t, int64_t a, int64_t b, int64_t d, int64_t step_a, int64_t step_b)
{
    t.rank = 3;
    t.shape[0] = a, t.shape[1] = b, t.shape[2] = d;
    t.stride[0] = step_a, t.stride[1] = step_b, t.stride[2] = 1;
    return t;
}
static inline tr_tensor tr_in_groups(tr_tensor t, int64_t g)
{
    const int64_t n = t.shape[0] / g;
    return tr_rank3(t, g, n, t.shape[1], t.stride[0] * n, t.stride[0]);
}
static inline tr_tensor tr_for_groups(tr_tensor t, int64_t n_row)
{
    return tr_rank3(t, t.shape[0], n_row / t.shape[0], t.shape[1], t.stride[0], 0);
}

/* ---- in kernels -------------------------------------------------------------------------------------------- */
/* a / b, a >= 0, b > 0: in 32 bits where they suffice. */
__device__ inline int64_t tr_div(int64_t a, int64_t b)
{
    return (a | b) >> 32 ? a / b : (int64_t)((uint32_t)a / (uint32_t)b);
}

/* at[k] = where row `row` of operand k begins. */
template <int N> __device__ inline void tr_each_row(int64_t (&at)[N], const tr_each<N> &e, int64_t row)
{
    for (int k = 0; k < N; k++) at[k] = 0;
    for (int a = e.n_outer - 1; a >= 0; a--) {
        const int64_t q = a ? tr_div(row, e.n[a]) : 0, i = row - q * e.n[a];
        for (int k = 0; k < N; k++) at[k] += i * e.step[k][a];
        row = q;
    }
}

/* tr_get at any address: weights lie in memory as they lie in their file. */
__device__ inline float tr_get_odd(tr_view_of v, int64_t i)
{
    if (v.dtype == TR_F32) {
        const uint8_t *p = (const uint8_t *)v.data + 4 * i;
        if ((uintptr_t)p % 4) return __uint_as_float((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
    } else if (v.dtype != TR_F8_E4M3) {
        const uint8_t *p = (const uint8_t *)v.data + 2 * i;
        const unsigned short u = (unsigned short)(p[0] | p[1] << 8);
        if ((uintptr_t)p % 2) return v.dtype == TR_F16 ? __half2float(__ushort_as_half(u)) : __bfloat162float(__ushort_as_bfloat16(u));
    }
    return tr_get(v, i);
}

/* Elements i to i + len - 1 of a row's piece that begins at i, zeros beyond; by_8: as of tr_each. */
__device__ inline void tr_get_piece(float (&x)[8], tr_view_of v, int64_t i, int len, bool by_8)
{
    if (by_8 && len == 8) {
        tr_get8(x, v, i);
    } else {
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] = j < len ? tr_get_odd(v, i + j) : 0.0f;
    }
}
__device__ inline void tr_put_piece(tr_view_of v, int64_t i, const float (&x)[8], int len, bool by_8)
{
    if (by_8 && len == 8) {
        tr_put8(v, i, x);
    } else {
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (j < len) tr_put(v, i + j, x[j]);
    }
}

/* ---- elementwise: operand 0 = f(the others) ------------------------------------------------------------------ */
/* A thread takes one piece of every operand, so that operand 0 may be any of the others. f(y, x, i): x[k] is operand k + 1, i
 * the place of the piece among all elements, row-major. Memory-bound: every operand moves once. */
template <int N, typename F> __global__ void __launch_bounds__(256) tr_each_kernel(const __grid_constant__ tr_each<N> e, const F f)
{
    const int64_t item = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (item >= e.n_row * e.n_piece) return;
    const int64_t row = e.n_outer ? tr_div(item, e.n_piece) : 0, j = (item - row * e.n_piece) * 8;
    const int len = e.d - j < 8 ? (int)(e.d - j) : 8;
    int64_t at[N];
    float y[8] = {}, x[N > 1 ? N - 1 : 1][8];
    tr_each_row(at, e, row);
#pragma unroll
    for (int k = 1; k < N; k++) tr_get_piece(x[k - 1], e.v[k], at[k] + j, len, e.by_8 >> k & 1);
    f(y, x, row * e.d + j);
    tr_put_piece(e.v[0], at[0] + j, y, len, e.by_8 & 1);
}

template <int N, typename F> static tress_status tr_each_run(const tr_stream *s, const tr_each<N> &e, const F &f, const char *op)
{
    const int64_t n_block = (e.n_row * e.n_piece + 255) / 256;
    if (n_block == 0) return TRESS_OK;
    if (n_block > INT32_MAX) return tr_fail(TRESS_E_SHAPE, "CUDA, %s: found %lld pieces of a tensor, expected at most %lld", op, (long long)(n_block * 256), (long long)INT32_MAX * 256);
    tr_each_kernel<N, F><<<(unsigned)n_block, 256, 0, tr_cuda_of(s)->stream>>>(e, f);
    return tr_cuda_launched(op);
}

#endif
