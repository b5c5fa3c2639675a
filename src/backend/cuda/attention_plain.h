/* attention_plain.h - what the plain kernels of attention and its backward share: scores of 32 rows against 64 others in F32, from
 * operands of any float type and layout.
 * 256 threads; thread (y, x) of 16 x 16 has rows y, y + 16 and columns x + 16 j. Threads of one y are half a warp. */
#ifndef TRESS_BACKEND_CUDA_ATTENTION_PLAIN_H
#define TRESS_BACKEND_CUDA_ATTENTION_PLAIN_H

#include "backend/cuda/attention_int.h"

#define TR_PLAIN_ROWS 32
#define TR_PLAIN_COLS 64
#define TR_PLAIN_THREADS 256
#define TR_PLAIN_OUT 128                        /* columns of a result that a block makes: eight a thread */
#define TR_PLAIN_DEPTH 32

/* Tiles of both operands, or one of 64 rows of 64: never at the same time. */
union tr_plain_room {
    struct { float a[TR_PLAIN_ROWS][TR_PLAIN_DEPTH + 1], b[TR_PLAIN_COLS][TR_PLAIN_DEPTH + 1]; } in;
    float rows[TR_PLAIN_COLS][64];
};

/* s[i][j] = a's row i0 + y + 16 i times b's row j0 + x + 16 j of head (batch, h); rows that do not exist count as zeros. */
__device__ inline void tr_plain_products(float (&s)[2][4], tr_plain_room &room, const tr_heads &a, int64_t n_a, int64_t i0, const tr_heads &b, int64_t n_b,
                                         int64_t j0, int64_t batch, int64_t h, int d)
{
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++) s[i][j] = 0;
    for (int c0 = 0; c0 < d; c0 += TR_PLAIN_DEPTH) {
        __syncthreads();
        for (int k = threadIdx.x; k < (TR_PLAIN_ROWS + TR_PLAIN_COLS) * TR_PLAIN_DEPTH; k += TR_PLAIN_THREADS) {
            const int row = k / TR_PLAIN_DEPTH, c = k % TR_PLAIN_DEPTH, other = row - TR_PLAIN_ROWS;
            const bool in_d = c0 + c < d;
            if (row < TR_PLAIN_ROWS)
                room.in.a[row][c] = in_d && i0 + row < n_a ? tr_get({ a.data, a.dtype }, batch * a.b + (i0 + row) * a.n + h * a.h + c0 + c) : 0;
            else
                room.in.b[other][c] = in_d && j0 + other < n_b ? tr_get({ b.data, b.dtype }, batch * b.b + (j0 + other) * b.n + h * b.h + c0 + c) : 0;
        }
        __syncthreads();
        for (int c = 0; c < TR_PLAIN_DEPTH; c++) {
            const float a0 = room.in.a[y][c], a1 = room.in.a[y + 16][c];
            for (int j = 0; j < 4; j++) {
                const float v = room.in.b[x + 16 * j][c];
                s[0][j] = fmaf(a0, v, s[0][j]);
                s[1][j] = fmaf(a1, v, s[1][j]);
            }
        }
    }
}

/* o[i][j] += sum over k of weight[y + 16 i][k] times column c0 + x + 16 j of b's row j0 + k. weight was written before the call. */
__device__ inline void tr_plain_sums(float (&o)[2][8], tr_plain_room &room, const float (&weight)[TR_PLAIN_ROWS][TR_PLAIN_COLS + 1], const tr_heads &b, int64_t n_b,
                                     int64_t j0, int64_t batch, int64_t h, int c0, int d)
{
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
    for (int half = 0; half < 2 && c0 + half * 64 < d; half++) {
        __syncthreads();
        for (int k = threadIdx.x; k < TR_PLAIN_COLS * 64; k += TR_PLAIN_THREADS) {
            const int row = k / 64, c = c0 + half * 64 + k % 64;
            room.rows[row][k % 64] = c < d && j0 + row < n_b ? tr_get({ b.data, b.dtype }, batch * b.b + (j0 + row) * b.n + h * b.h + c) : 0;
        }
        __syncthreads();
        for (int k = 0; k < TR_PLAIN_COLS; k++) {
            const float w0 = weight[y][k], w1 = weight[y + 16][k];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float v = room.rows[k][x + 16 * j];
                if (half == 0) {
                    o[0][j] = fmaf(w0, v, o[0][j]);
                    o[1][j] = fmaf(w1, v, o[1][j]);
                } else {
                    o[0][j + 4] = fmaf(w0, v, o[0][j + 4]);
                    o[1][j + 4] = fmaf(w1, v, o[1][j + 4]);
                }
            }
        }
    }
}

#endif
