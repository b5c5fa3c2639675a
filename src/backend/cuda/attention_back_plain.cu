/* Backward of attention in F32 for operands of any float type, layout and head width. The scores are made again. A block owns 32 rows
 * and up to 128 columns of their result; the other side passes by 64 rows at a time. With queries as its rows a block makes dq, with
 * keys it makes dk and dv: no sum crosses blocks.     Dao et al. 2022, arXiv:2205.14135, alg. 4
 * Limits: 14 n_q n_k d flops per head in F32, three loads from shared memory for four of them. */
#include "backend/cuda/attention_plain.h"

struct operands {
    tr_heads     own, own_2, other, other_2;    /* q, d_o, k, v; or k, v, q, d_o */
    tr_heads     out, out_2;                    /* dq, none; or dk, dv */
    const float *delta, *log2, *key_logw;
    int64_t      n_own, n_other, n_q_pad, n_head, n_tile;
    int          d, n_out;                      /* n_out: blocks that share the columns of a head */
    float        scale;
    bool         add;
};

__device__ static inline void put(const tr_heads &t, int64_t b, int64_t row, int64_t h, int c, bool add, float x)
{
    const int64_t at = b * t.b + row * t.n + h * t.h + c;
    if (add) x += tr_get({ t.data, t.dtype }, at);
    tr_put({ t.data, t.dtype }, at, x);
}

template <bool KEYS> static __global__ void __launch_bounds__(TR_PLAIN_THREADS) plain_back_kernel(const __grid_constant__ operands a)
{
    __shared__ tr_plain_room room;
    __shared__ float weight[TR_PLAIN_ROWS][TR_PLAIN_COLS + 1];
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, c0 = (int)(blockIdx.x % a.n_out) * TR_PLAIN_OUT;
    int64_t item = blockIdx.x / a.n_out;
    const int64_t i0 = item % a.n_tile * TR_PLAIN_ROWS, h = (item /= a.n_tile) % a.n_head, b = item / a.n_head, at_q = (b * a.n_head + h) * a.n_q_pad;
    float sum[2][8], sum_2[2][8];
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) sum[i][j] = sum_2[i][j] = 0;
    for (int64_t j0 = 0; j0 < a.n_other; j0 += TR_PLAIN_COLS) {
        float p[2][4], ds[2][4];
        tr_plain_products(p, room, a.own, a.n_own, i0, a.other, a.n_other, j0, b, h, a.d);
        tr_plain_products(ds, room, a.own_2, a.n_own, i0, a.other_2, a.n_other, j0, b, h, a.d);
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int64_t own = i0 + y + 16 * i, other = j0 + x + 16 * j, query = KEYS ? other : own, key = KEYS ? own : other;
                if (own < a.n_own && other < a.n_other) {
                    const float more = a.key_logw ? a.key_logw[key] * TR_LOG2E : 0;
                    p[i][j] = exp2f(fmaf(p[i][j], a.scale * TR_LOG2E, more - a.log2[at_q + query]));
                    ds[i][j] = p[i][j] * (ds[i][j] - a.delta[at_q + query]);
                } else
                    p[i][j] = ds[i][j] = 0;
                weight[y + 16 * i][x + 16 * j] = ds[i][j];       /* tr_plain_sums waits for all before it reads */
            }
        tr_plain_sums(sum, room, weight, a.other, a.n_other, j0, b, h, c0, a.d);
        if constexpr (KEYS) {
            __syncthreads();
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) weight[y + 16 * i][x + 16 * j] = p[i][j];
            tr_plain_sums(sum_2, room, weight, a.other_2, a.n_other, j0, b, h, c0, a.d);
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int64_t own = i0 + y + 16 * i;
            const int c = c0 + x + 16 * j;
            if (own >= a.n_own || c >= a.d) continue;
            put(a.out, b, own, h, c, a.add, sum[i][j] * a.scale);
            if constexpr (KEYS) put(a.out_2, b, own, h, c, a.add, sum_2[i][j]);
        }
}

tress_status tr_cuda_attention_back_plain(tr_cuda *c, const tr_attention_back_args *a, tr_back_rows rows)
{
    tress_status st = TRESS_OK;
    const int64_t n_b = a->q.shape[0], n_head = a->q.shape[2];
    operands p = { .own = tr_heads_of(a->q), .own_2 = tr_heads_of(a->d_o), .other = tr_heads_of(a->k), .other_2 = tr_heads_of(a->v), .out = tr_heads_of(a->dq),
                   .delta = rows.delta, .log2 = rows.log2, .key_logw = (const float *)a->key_logw.data, .n_own = a->q.shape[1], .n_other = a->k.shape[1],
                   .n_q_pad = rows.n_pad, .n_head = n_head, .d = (int)a->q.shape[3],
                   .n_out = (int)((a->q.shape[3] + TR_PLAIN_OUT - 1) / TR_PLAIN_OUT), .scale = a->scale, .add = a->add_q };
    if (!tr_is_none(a->dq)) {
        p.n_tile = (p.n_own + TR_PLAIN_ROWS - 1) / TR_PLAIN_ROWS;
        plain_back_kernel<false><<<(unsigned)(n_b * n_head * p.n_tile * p.n_out), TR_PLAIN_THREADS, 0, c->stream>>>(p);
        TR_TRY(tr_cuda_launched("attention_back"));
    }
    if (!tr_is_none(a->dk)) {
        p.own = tr_heads_of(a->k), p.own_2 = tr_heads_of(a->v), p.other = tr_heads_of(a->q), p.other_2 = tr_heads_of(a->d_o);
        p.out = tr_heads_of(a->dk), p.out_2 = tr_heads_of(a->dv);
        p.n_own = a->k.shape[1], p.n_other = a->q.shape[1], p.add = a->add_kv;
        p.n_tile = (p.n_own + TR_PLAIN_ROWS - 1) / TR_PLAIN_ROWS;
        plain_back_kernel<true><<<(unsigned)(n_b * n_head * p.n_tile * p.n_out), TR_PLAIN_THREADS, 0, c->stream>>>(p);
        TR_TRY(tr_cuda_launched("attention_back"));
    }
done:
    return st;
}
