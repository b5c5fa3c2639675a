/* norm.h - what the norms and their backward share: a row held in registers by a group of threads, and sums over the group.
 *
 * Short rows (heads of 64 channels) take a part of a warp each, many rows to a block; longer ones a block each. A thread holds P
 * pieces of 8. Which, depends on the length of a row alone. */
#ifndef TRESS_BACKEND_CUDA_NORM_H
#define TRESS_BACKEND_CUDA_NORM_H

#include "backend/cuda/each.h"

#define TR_NORM_THREADS 512                     /* at the most, and P at most 4: rows of up to 16384 */
#define TR_NORM_MAX (TR_NORM_THREADS * 4 * 8)

/* How rows are shared out. lanes: threads of a row, a power of two up to 32 or all threads of the block. mean is 1 / d in two
 * parts, so that a sum becomes a mean in one rounding. */
struct tr_norm_plan { int p, threads, lanes; int64_t n_block; float mean_hi, mean_lo; };

static inline tress_status tr_norm_plan_of(tr_norm_plan *out, int64_t n_row, int64_t d, const char *op)
{
    const int n_piece = (int)((d + 7) / 8);
    tr_norm_plan k = {};
    if (d > TR_NORM_MAX) return tr_fail(TRESS_E_SHAPE, "CUDA, %s: found rows of %lld channels, expected at most %d", op, (long long)d, TR_NORM_MAX);
    k.p = n_piece <= 256 ? 1 : n_piece <= 512 ? 2 : 4;
    if (n_piece <= 32) {
        for (k.lanes = 1; k.lanes < n_piece; k.lanes *= 2) {}
        k.threads = 256;
    } else {
        k.lanes = k.threads = ((n_piece + k.p - 1) / k.p + 31) / 32 * 32;
    }
    const int64_t rows = k.threads / k.lanes;
    k.n_block = (n_row + rows - 1) / rows;
    if (k.n_block > INT32_MAX) return tr_fail(TRESS_E_SHAPE, "CUDA, %s: found %lld rows, expected at most %lld", op, (long long)n_row, (long long)INT32_MAX * rows);
    k.mean_hi = (float)(1 / (double)d);
    k.mean_lo = (float)(1 / (double)d - (double)k.mean_hi);
    *out = k;
    return TRESS_OK;
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

/* v of all threads of a row joined by add(v, another's), the same in each; all threads of the block call. room: 16 N values that
 * nothing else of this launch uses. The order is fixed, and add must not care for which of the two comes first. */
template <int N, typename F> __device__ inline void tr_norm_join(float (&v)[N], int lanes, float *room, const F &add)
{
    float other[N];
    for (int i = (lanes < 32 ? lanes : 32) >> 1; i; i >>= 1) {
#pragma unroll
        for (int k = 0; k < N; k++) other[k] = __shfl_xor_sync(0xffffffffu, v[k], i);
        add(v, other);
    }
    if (lanes <= 32) return;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n = lanes >> 5;
    if (lane == 0)
#pragma unroll
        for (int k = 0; k < N; k++) room[k * 16 + warp] = v[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < N; k++) v[k] = lane < n ? room[k * 16 + lane] : 0.0f;
    for (int i = 8; i; i >>= 1) {               /* at most 16 warps: lanes 0 to 15 hold all there is */
#pragma unroll
        for (int k = 0; k < N; k++) other[k] = __shfl_xor_sync(0xffffffffu, v[k], i);
        add(v, other);
    }
#pragma unroll
    for (int k = 0; k < N; k++) v[k] = __shfl_sync(0xffffffffu, v[k], 0);
}

template <int N> struct tr_norm_plus {
    __device__ void operator()(float (&v)[N], const float (&other)[N]) const
    {
        for (int k = 0; k < N; k++) v[k] += other[k];
    }
};
template <int N> __device__ inline void tr_norm_sum(float (&sum)[N], int lanes, float *room) { tr_norm_join(sum, lanes, room, tr_norm_plus<N>{}); }

/* (sum, what its roundings left out): Knuth's sum of two, whose error is a float. */
struct tr_norm_plus_exact {
    __device__ void operator()(float (&v)[2], const float (&other)[2]) const
    {
        const float sum = v[0] + other[0], part = sum - v[0], error = (v[0] - (sum - part)) + (other[0] - part);
        v[0] = sum;
        v[1] = (v[1] + other[1]) + error;
    }
};

/* The mean of a row is mean + rest, and x becomes x - mean, 0 beyond the row's end. As good as by float64 sums: small values of
 * a row whose mean is near 0 keep their digits, and so does a small spread far from 0. room: 32 values. */
template <int P, typename LEN> __device__ inline void tr_norm_center(float (&x)[P][8], float &rest, const tr_norm_plan &k, float d, const LEN &len, float *room)
{
    float sum[2] = { 0, 0 };
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int j = 0; j < 8; j++) tr_norm_plus_exact{}(sum, { x[p][j], 0 });
    tr_norm_join(sum, k.lanes, room, tr_norm_plus_exact{});
    const float mean = sum[0] * k.mean_hi;
    rest = (fmaf(-mean, d, sum[0]) + sum[1]) * k.mean_hi;
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int j = 0; j < 8; j++) x[p][j] = j < len(p) ? x[p][j] - mean : 0.0f;
}

/* 1 / sqrt(v), within one unit: a step of Newton with the products' rounding errors. */
__device__ inline float tr_norm_rsqrt(float v)
{
    const float r = rsqrtf(v), h = v * r, low = fmaf(v, r, -h), rest = fmaf(-h, r, 1.0f) - low * r;
    return v > 0 && v < INFINITY ? fmaf(0.5f * r, rest, r) : r;
}

/* The thread's place: its row, and of it piece `lane`, then every lanes-th. Threads past the last row hold nothing. */
struct tr_norm_place {
    int64_t row;
    int     lane, d;
    bool    there;
    /* Elements of piece p of this thread. */
    __device__ int len(int p, int lanes) const
    {
        const int n = there ? d - (lane + p * lanes) * 8 : 0;
        return n < 0 ? 0 : n < 8 ? n : 8;
    }
};
__device__ inline tr_norm_place tr_norm_here(int lanes, int64_t n_row, int64_t d)
{
    const int rows = (int)blockDim.x / lanes;
    tr_norm_place t;
    t.row = (int64_t)blockIdx.x * rows + threadIdx.x / lanes;
    t.lane = threadIdx.x % lanes;
    t.d = (int)d;
    t.there = t.row < n_row;
    if (!t.there) t.row = 0;
    return t;
}

#endif
