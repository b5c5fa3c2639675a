/* attention_int.h - inside of the CUDA back end's attention: operands as its kernels see them, which kernel takes what, and tiles of
 * heads in shared memory. */
#ifndef TRESS_BACKEND_CUDA_ATTENTION_INT_H
#define TRESS_BACKEND_CUDA_ATTENTION_INT_H

#include "backend/cuda/cuda.h"
#include "backend/cuda/tile.h"

#define TR_LOG2E 1.4426950408889634f
#define TR_LN2 0.6931471805599453f

/* [b, n, h, d] of any float type; strides in elements. */
struct tr_heads {
    void   *data;
    int     dtype;
    int64_t b, n, h;
};
static inline tr_heads tr_heads_of(tr_tensor t) { return { t.data, (int)t.dtype, t.stride[0], t.stride[1], t.stride[2] }; }

/* May rows of t be copied 16 bytes at a time as numbers of 16 bits? Strides of extents of 1 do not count. */
static inline bool tr_heads_by_16(tr_tensor t, tr_dtype dtype)
{
    bool ok = t.dtype == dtype && t.shape[3] % 8 == 0 && (uintptr_t)t.data % 16 == 0;
    for (int i = 0; i < 3; i++) ok = ok && (t.shape[i] == 1 || t.stride[i] % 8 == 0);
    return ok;
}

/* Whether the kernels of 16-bit products take it; the plain ones take everything. */
bool tr_cuda_attention_mma_takes(const tr_cuda *c, const tr_attention_args *a);
bool tr_cuda_attention_sm90_takes(const tr_cuda *c, const tr_attention_args *a);
bool tr_cuda_attention_back_mma_takes(const tr_cuda *c, const tr_attention_back_args *a);
tress_status tr_cuda_attention_mma(tr_cuda *c, const tr_attention_args *a);
tress_status tr_cuda_attention_sm90(tr_cuda *c, const tr_attention_args *a);
tress_status tr_cuda_attention_plain(tr_cuda *c, const tr_attention_args *a);
/* Backward: delta [b, h, n_pad] and log2 [b, h, n_pad] as tr_cuda_attention_back makes them. */
struct tr_back_rows {
    float  *delta;                              /* d_o . o; 0 past the last query */
    float  *log2;                               /* log2 of the softmax's denominator without the query's own weight; infinite where the */
    int64_t n_pad;                              /* query sees nothing and past the last one. n_pad: n_q in whole TR_BACK_PAD */
    float  *part;                               /* what follows them in the room: sums for dk and dv by parts of the queries */
};
#define TR_BACK_PAD 128
int tr_cuda_attention_back_splits(const tr_cuda *c, const tr_attention_back_args *a);    /* parts of the queries, 1: no sums by parts */
tress_status tr_cuda_attention_back_mma(tr_cuda *c, const tr_attention_back_args *a, tr_back_rows rows, bool queries, bool keys);   /* which of them */
tress_status tr_cuda_attention_back_plain(tr_cuda *c, const tr_attention_back_args *a, tr_back_rows rows);

/* ---- tiles ----------------------------------------------------------------------------------------------- */
/* A tile is [rows, D] of 16 bits, D a multiple of 64, at a multiple of 1024 bytes. The eight 16-byte pieces of each 128 bytes change
 * places with the row, so that eight rows at one column lie in different banks: piece c of row r is at c ^ r % 8. */
template <int D> __device__ inline uint32_t tr_place(int row, int piece)
{
    return (uint32_t)(row * D * 2 + (piece >> 3) * 128 + (((piece ^ row) & 7) << 4));
}

/* Where a lane's row begins for tr_load4: of a fragment a, or (turned) of b for two tiles of 8 columns, from a tile whose rows are the
 * inner dimension. */
template <int D> __device__ inline uint32_t tr_lane_a(int lane) { return tr_place<D>(lane & 15, lane >> 4); }
/* The same for b of two tiles of 8 columns from a tile whose rows are the columns. */
template <int D> __device__ inline uint32_t tr_lane_b(int lane) { return tr_place<D>((lane >> 4) * 8 + (lane & 7), lane >> 3 & 1); }
/* 16 columns further, k times; row: so many rows down, a multiple of 8. */
template <int D> __device__ inline uint32_t tr_step(uint32_t at, int row, int k) { return (at ^ (uint32_t)((k & 3) << 5)) + (uint32_t)((k >> 2) * 128 + row * D * 2); }

/* Rows of a head into a tile: ROWS from `from` on, step bytes apart, of which n exist, d numbers each; zeros elsewhere. */
template <int ROWS, int D, int THREADS> __device__ inline void tr_copy_rows(uint32_t to, const char *from, int64_t step, int n, int d)
{
    static_assert(ROWS * (D / 8) % THREADS == 0, "every thread copies as much");
#pragma unroll
    for (int i = 0; i < ROWS * (D / 8) / THREADS; i++) {
        const int at = i * THREADS + (int)threadIdx.x, row = at / (D / 8), piece = at % (D / 8);
        const bool real = row < n && piece * 8 < d;
        tr_copy16(to + tr_place<D>(row, piece), real ? from + row * step + piece * 16 : from, real);
    }
}

/* Neighbours c, c + 1 of a row of d at element `at`; even c. */
__device__ inline void tr_put_pair(tr_view_of v, int64_t at, int c, int d, float x, float y)
{
    if (c + 1 < d && v.dtype == TR_F16 && ((uintptr_t)v.data + 2 * (uintptr_t)(at + c)) % 4 == 0)
        *(__half2 *)((__half *)v.data + at + c) = __floats2half2_rn(x, y);
    else if (c + 1 < d && v.dtype == TR_BF16 && ((uintptr_t)v.data + 2 * (uintptr_t)(at + c)) % 4 == 0)
        *(__nv_bfloat162 *)((__nv_bfloat16 *)v.data + at + c) = __floats2bfloat162_rn(x, y);
    else {
        if (c < d) tr_put(v, at + c, x);
        if (c + 1 < d) tr_put(v, at + c + 1, y);
    }
}

/* Columns 8 n + 2 (lane % 4) + 0, 1 of a row of d at element `at`, from a fragment c: rows g of it with r = 0, rows g + 8 with r = 1. */
template <int NT> __device__ inline void tr_put_row(const tr_heads &t, int64_t at, int d, const float (&x)[NT][4], int r, float scale, bool add)
{
    const tr_view_of v = { t.data, t.dtype };
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const int c = n * 8 + (int)(threadIdx.x & 3) * 2;
        float x0 = x[n][r * 2] * scale, x1 = x[n][r * 2 + 1] * scale;
        if (add && c < d) {
            x0 += tr_get(v, at + c);
            x1 += c + 1 < d ? tr_get(v, at + c + 1) : 0;
        }
        tr_put_pair(v, at, c, d, x0, x1);
    }
}

#endif
