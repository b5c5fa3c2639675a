/* norm.h - what the norms and their backward share: a row held in registers by a warp or a part of one, and its statistics.
 *
 * Two kernels for each. The held one takes operands of one type in whole pieces of 8 at addresses for 16-byte loads: L lanes hold
 * a row, P pieces each, all loaded before the first is used, with no shared memory and nobody to wait for. The other takes
 * anything: a warp to a row, element by element, read again from the cache for every pass. Which, depends on types, shapes and
 * addresses alone. */
#ifndef TRESS_BACKEND_CUDA_NORM_H
#define TRESS_BACKEND_CUDA_NORM_H

#include "backend/cuda/each.h"

#include <type_traits>

#define TR_NORM_THREADS 128

/* ---- a held row ------------------------------------------------------------------------------------------- */
/* Keeps the compiler from holding the floats of an earlier pass: to convert again costs less than 4 registers. */
template <int TYPE, int P> __device__ inline void tr_eight_again(tr_eight<TYPE> (&x)[P])
{
    if constexpr (TYPE != TR_F32)
#pragma unroll
        for (int p = 0; p < P; p++) asm volatile("" : "+r"(x[p].u[0].x), "+r"(x[p].u[0].y), "+r"(x[p].u[0].z), "+r"(x[p].u[0].w));
}

/* ---- a row and its sums -------------------------------------------------------------------------------------- */
/* at[k] = where this thread's row begins in operand k; returns the row's elements, 0 beyond the last row: such threads take part
 * in every sum and store nothing. */
template <int L, int N> __device__ inline int64_t tr_norm_row(int64_t (&at)[N], const tr_each<N> &e)
{
    const int64_t row = (int64_t)blockIdx.x * (TR_NORM_THREADS / L) + threadIdx.x / L;
    const bool there = row < e.n_row;
    tr_each_row(at, e, there ? row : 0);
    return there ? e.d : 0;
}

/* v of all L lanes of a row added up, the same in each. */
template <int L, typename T> __device__ inline T tr_norm_join(T v)
{
#pragma unroll
    for (int i = L / 2; i; i >>= 1) v += __shfl_xor_sync(0xffffffffu, v, i);
    return v;
}

/* 1 / sqrt(v): a step of Newton in double, so that one rounding is left when it becomes a float. */
__device__ inline double tr_norm_rsqrt(double v)
{
    const double r = (double)rsqrtf((float)v);
    return r > 0 && r < (double)INFINITY ? r + r * (0.5 - 0.5 * v * r * r) : r;
}

/* A mean in two floats: small values of a row whose mean is near 0 keep their digits, and so does a small spread far from 0. */
struct tr_norm_mean { float hi, lo; };
__device__ inline tr_norm_mean tr_norm_mean_of(double sum, double per)
{
    const double mean = sum * per;
    return { (float)mean, (float)(mean - (double)(float)mean) };
}

/* The mean of a held row, zeros beyond its end; per = 1 / d. A piece's sum is a double where its numbers have all bits of a
 * float. */
template <int TYPE, int L, int P> __device__ inline tr_norm_mean tr_norm_mean_held(const tr_eight<TYPE> (&x)[P], double per)
{
    using sum_of = std::conditional_t<TYPE == TR_F32, double, float>;
    double sum = 0;
#pragma unroll
    for (int p = 0; p < P; p++) {
        float v[8];
        tr_eight_float<TYPE>(v, x[p]);
        sum += (double)((((sum_of)v[0] + v[1]) + ((sum_of)v[2] + v[3])) + (((sum_of)v[4] + v[5]) + ((sum_of)v[6] + v[7])));
    }
    return tr_norm_mean_of(tr_norm_join<L>(sum), per);
}

/* Piece p of this thread less the mean. */
template <int TYPE> __device__ inline void tr_norm_center(float (&v)[8], const tr_eight<TYPE> &x, tr_norm_mean mean)
{
    tr_eight_float<TYPE>(v, x);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = (v[j] - mean.hi) - mean.lo;
}

/* ---- which kernel -------------------------------------------------------------------------------------------- */
/* Can a row of up to d_max be held? The first n_same operands must be of one type; beyond them are weights, of one type too. */
template <int N> static inline bool tr_norm_held(const tr_each<N> &e, int n_same, int64_t d_max)
{
    bool held = e.d % 8 == 0 && e.d <= d_max && e.by_8 == (1u << N) - 1 && e.v[0].dtype != TR_F8_E4M3;
    for (int k = 1; k < N; k++) held &= k == n_same || e.v[k].dtype == e.v[k - 1].dtype;
    return held;
}

/* f(type, p, l), each a constant, for a held row of n_piece pieces: of P_MAX 32 pieces at the most. */
template <int TYPE, int P_MAX, typename F> static inline void tr_norm_pick_length(int n_piece, const F &f)
{
    const auto call = [&]<int P, int L>() { f(std::integral_constant<int, TYPE>(), std::integral_constant<int, P>(), std::integral_constant<int, L>()); };
    const int p = (n_piece + 31) / 32;
    if (n_piece <= 1) call.template operator()<1, 1>();
    else if (n_piece <= 2) call.template operator()<1, 2>();
    else if (n_piece <= 4) call.template operator()<1, 4>();
    else if (n_piece <= 8) call.template operator()<1, 8>();
    else if (n_piece <= 16) call.template operator()<1, 16>();
    else if (p <= 1) call.template operator()<1, 32>();
    else if (p <= 2) call.template operator()<2, 32>();
    else if (p <= 4) call.template operator()<4, 32>();
    else if (p <= 6) call.template operator()<6, 32>();
    else if (p <= 8) call.template operator()<8, 32>();
    else if (p <= 10) call.template operator()<10, 32>();
    else if constexpr (P_MAX > 10) call.template operator()<16, 32>();
}
template <int P_MAX, typename F> static inline void tr_norm_pick(int dtype, int64_t n_piece, const F &f)
{
    if (dtype == TR_F32) tr_norm_pick_length<TR_F32, P_MAX>((int)n_piece, f);
    else if (dtype == TR_F16) tr_norm_pick_length<TR_F16, P_MAX>((int)n_piece, f);
    else tr_norm_pick_length<TR_BF16, P_MAX>((int)n_piece, f);
}

/* Blocks for all rows at `lanes` a row; rows that pass what a launch can hold are refused before (tr_norm_fits). */
static inline unsigned tr_norm_blocks(int64_t n_row, int lanes)
{
    const int64_t rows = TR_NORM_THREADS / lanes;
    return (unsigned)((n_row + rows - 1) / rows);
}
static inline tress_status tr_norm_fits(int64_t n_row, const char *op)
{
    const int64_t most = (int64_t)INT32_MAX * (TR_NORM_THREADS / 32);
    return n_row <= most ? TRESS_OK : tr_fail(TRESS_E_SHAPE, "CUDA, %s: found %lld rows, expected at most %lld", op, (long long)n_row, (long long)most);
}

/* [d] under every row of a tensor like x. */
static inline tr_tensor tr_under(tr_tensor w, const tr_tensor &x)
{
    tr_tensor t = x;
    t.data = w.data;
    t.dtype = w.dtype;
    for (int a = 0; a < x.rank - 1; a++) t.stride[a] = 0;
    return t;
}

#endif
