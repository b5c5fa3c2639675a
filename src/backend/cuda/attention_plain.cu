/* Softmax attention in F32 for operands of any float type, layout and head width: what the tensor cores do not take, and all of F32.
 * A block owns 32 queries and up to 128 columns of their result; keys pass by 64 at a time, with a running maximum. Wider heads make
 * their scores once for each 128 columns.
 * Limits: 4 n_q n_k d flops per head in F32, three loads from shared memory for four of them. */
#include "backend/cuda/attention_plain.h"

struct part {
    tr_heads     k, v;
    const float *bias, *key_logw, *query_logw;
    int64_t      n;
    bool         causal;
};

struct operands {
    tr_heads q, o;
    float   *lse;
    int64_t  n_q, n_head, n_tile;
    int      d, n_part, n_out;                  /* n_out: blocks that share the columns of a head */
    float    scale;
    part     p[TR_SEGMENT_MAX];
};

__device__ static inline float half_warp_max(float v)
{
    for (int i = 8; i; i >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, i));
    return v;
}

__device__ static inline float half_warp_sum(float v)
{
    for (int i = 8; i; i >>= 1) v += __shfl_xor_sync(0xffffffffu, v, i);
    return v;
}

static __global__ void __launch_bounds__(TR_PLAIN_THREADS) plain_kernel(const __grid_constant__ operands a)
{
    __shared__ tr_plain_room room;
    __shared__ float weight[TR_PLAIN_ROWS][TR_PLAIN_COLS + 1];
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, c0 = (int)(blockIdx.x % a.n_out) * TR_PLAIN_OUT;
    int64_t item = blockIdx.x / a.n_out;
    const int64_t i0 = item % a.n_tile * TR_PLAIN_ROWS, h = (item /= a.n_tile) % a.n_head, b = item / a.n_head;
    float o[2][8], top[2] = { -INFINITY, -INFINITY }, sum[2] = { 0, 0 };
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) o[i][j] = 0;
    for (int g = 0; g < a.n_part; g++) {
        const part &p = a.p[g];
        const int64_t last = p.causal && i0 + TR_PLAIN_ROWS < p.n ? i0 + TR_PLAIN_ROWS : p.n;
        for (int64_t j0 = 0; j0 < last; j0 += TR_PLAIN_COLS) {
            float s[2][4];
            tr_plain_products(s, room, a.q, a.n_q, i0, p.k, p.n, j0, b, h, a.d);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int64_t row = i0 + y + 16 * i;
                const float own = p.query_logw && row < a.n_q ? p.query_logw[row] : 0;
                float most = -INFINITY;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const int64_t key = j0 + x + 16 * j;
                    s[i][j] *= a.scale;
                    if (row >= a.n_q || key >= p.n || (p.causal && key > row) || own == -INFINITY) s[i][j] = -INFINITY;
                    else {
                        if (p.bias) s[i][j] += p.bias[(h * a.n_q + row) * p.n + key];
                        if (p.key_logw) s[i][j] += p.key_logw[key];
                        s[i][j] += own;
                    }
                    most = fmaxf(most, s[i][j]);
                }
                most = fmaxf(half_warp_max(most), top[i]);
                const float base = most == -INFINITY ? 0 : most, shrink = expf(top[i] - base);
                top[i] = most;
                float more = 0;
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float w = expf(s[i][j] - base);
                    weight[y + 16 * i][x + 16 * j] = w;          /* tr_plain_sums waits for all before it reads */
                    more += w;
                }
                sum[i] = sum[i] * shrink + half_warp_sum(more);
#pragma unroll
                for (int j = 0; j < 8; j++) o[i][j] *= shrink;
            }
            tr_plain_sums(o, room, weight, p.v, p.n, j0, b, h, c0, a.d);
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int64_t row = i0 + y + 16 * i;
        if (row >= a.n_q) continue;
        const float rest = sum[i] == 0 ? 0 : 1 / sum[i];                 /* a query that sees nothing gives zeros */
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (c0 + x + 16 * j < a.d) tr_put({ a.o.data, a.o.dtype }, b * a.o.b + row * a.o.n + h * a.o.h + c0 + x + 16 * j, o[i][j] * rest);
        if (a.lse && c0 == 0 && x == 0) a.lse[(b * a.n_head + h) * a.n_q + row] = sum[i] == 0 ? -INFINITY : top[i] + logf(sum[i]);
    }
}

tress_status tr_cuda_attention_plain(tr_cuda *c, const tr_attention_args *a)
{
    const int64_t n_q = a->q.shape[1], n_head = a->q.shape[2], n_tile = (n_q + TR_PLAIN_ROWS - 1) / TR_PLAIN_ROWS;
    operands p = { .q = tr_heads_of(a->q), .o = tr_heads_of(a->o), .lse = (float *)a->lse.data, .n_q = n_q, .n_head = n_head, .n_tile = n_tile,
                   .d = (int)a->q.shape[3], .n_part = a->n_segment, .n_out = (int)((a->q.shape[3] + TR_PLAIN_OUT - 1) / TR_PLAIN_OUT), .scale = a->scale };
    for (int i = 0; i < a->n_segment; i++) {
        const tr_attention_segment *g = &a->segment[i];
        p.p[i] = { tr_heads_of(g->k), tr_heads_of(g->v), (const float *)g->bias.data, (const float *)g->key_logw.data, (const float *)g->query_logw.data,
                   g->k.shape[1], g->causal };
    }
    plain_kernel<<<(unsigned)(a->q.shape[0] * n_head * n_tile * p.n_out), TR_PLAIN_THREADS, 0, c->stream>>>(p);
    return tr_cuda_launched("attention");
}
