/* Backward of attention: what every query needs beside its row, then the kernel that takes the operands: cuDNN's, or our own.
 * delta = d_o . o and the logarithm of the softmax's denominator. Bytes: o and d_o once, 8 for each row: at the speed of memory. */
#include "backend/cuda/attention_int.h"
#include "backend/cuda/sdpa.h"

#define LANES 8                                 /* that share a row, eight numbers each: four rows a warp at d = 64 */
#define THREADS 256

struct operands {
    tr_heads     o, d_o;
    const float *lse, *query_logw;
    float       *delta, *log2;
    int64_t      n_q, n_pad, n_head, n_row;     /* n_row: with the padding */
    int          d;
    bool         by_8;
};

static __global__ void __launch_bounds__(THREADS) rows_kernel(const __grid_constant__ operands a)
{
    const int64_t row = (int64_t)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;      /* heads next to each other, as they lie in memory */
    const int lane = threadIdx.x % LANES;
    const int64_t h = row % a.n_head, i = row / a.n_head % a.n_pad, b = row / a.n_head / a.n_pad;
    const bool real = row < a.n_row && i < a.n_q;
    float sum = 0;
    if (real) {
        const int64_t at_o = b * a.o.b + i * a.o.n + h * a.o.h, at_g = b * a.d_o.b + i * a.d_o.n + h * a.d_o.h;
        if (a.by_8)
            for (int c = lane * 8; c < a.d; c += LANES * 8) {
                float x[8], y[8];
                tr_get8(x, { a.o.data, a.o.dtype }, at_o + c);
                tr_get8(y, { a.d_o.data, a.d_o.dtype }, at_g + c);
#pragma unroll
                for (int k = 0; k < 8; k++) sum = fmaf(x[k], y[k], sum);
            }
        else
            for (int c = lane; c < a.d; c += LANES) sum = fmaf(tr_get({ a.o.data, a.o.dtype }, at_o + c), tr_get({ a.d_o.data, a.d_o.dtype }, at_g + c), sum);
    }
    for (int k = LANES / 2; k; k >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, k);
    if (row >= a.n_row || lane) return;
    float log2 = INFINITY;
    if (real) {
        const float lse = a.lse[(b * a.n_head + h) * a.n_q + i], own = a.query_logw ? a.query_logw[i] : 0;
        if (lse != -INFINITY && own != -INFINITY) log2 = (lse - own) * TR_LOG2E;
    }
    const int64_t at = (b * a.n_head + h) * a.n_pad + i;
    a.delta[at] = sum;
    a.log2[at] = log2;
}

tress_status tr_cuda_attention_back(tr_stream *s, const tr_attention_back_args *a)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = tr_cuda_of(s);
    const int64_t n_b = a->q.shape[0], n_q = a->q.shape[1], n_head = a->q.shape[2], d = a->q.shape[3], n_k = a->k.shape[1];
    if (n_b * n_q * n_head * d * n_k == 0) return TRESS_OK;
    bool served = false;
    TR_TRY(tr_cuda_sdpa_back(c, a, &served));
    if (served) return TRESS_OK;
    {
        const bool mma = tr_cuda_attention_back_mma_takes(c, a), keys = !tr_is_none(a->dk), queries = !tr_is_none(a->dq);
        const int64_t n_pad = (n_q + TR_BACK_PAD - 1) / TR_BACK_PAD * TR_BACK_PAD, n_row = n_b * n_head * n_pad;
        const int splits = mma && keys ? tr_cuda_attention_back_splits(c, a) : 1;
        const size_t n_part = splits > 1 ? (size_t)splits * 2 * (size_t)(n_b * n_head * n_k * d) : 0;
        float *room = nullptr;
        TR_TRY(tr_cuda_room(c, (void **)&room, (2 * (size_t)n_row + n_part) * sizeof(float)));
        const tr_back_rows rows = { room, room + n_row, n_pad, room + 2 * n_row };
        const operands p = { .o = tr_heads_of(a->o), .d_o = tr_heads_of(a->d_o), .lse = (const float *)a->lse.data,
                             .query_logw = (const float *)a->query_logw.data, .delta = rows.delta, .log2 = rows.log2, .n_q = n_q, .n_pad = n_pad,
                             .n_head = n_head, .n_row = n_row, .d = (int)d,
                             .by_8 = tr_heads_by_16(a->o, a->o.dtype) && tr_heads_by_16(a->d_o, a->d_o.dtype) };
        rows_kernel<<<(unsigned)((n_row * LANES + THREADS - 1) / THREADS), THREADS, 0, c->stream>>>(p);
        TR_TRY(tr_cuda_launched("attention_back"));
        if (!mma) TR_TRY(tr_cuda_attention_back_plain(c, a, rows));
        else TR_TRY(tr_cuda_attention_back_mma(c, a, rows, queries, keys));
    }
done:
    return st;
}
