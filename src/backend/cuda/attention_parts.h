/* attention_parts.h - what attention's kernels for 16-bit operands share: the segments of keys, their tiles one after the other, and the
 * softmax of scores that lie as the tensor cores leave them. Each kernel's file has its own copy of these types. */
#ifndef TRESS_BACKEND_CUDA_ATTENTION_PARTS_H
#define TRESS_BACKEND_CUDA_ATTENTION_PARTS_H

#include "backend/cuda/attention_int.h"

struct part {
    const char  *k, *v;
    int64_t      k_b, k_n, k_h, v_b, v_n, v_h;  /* bytes */
    const float *bias, *key_logw, *query_logw;
    int          n;
    bool         causal;
};

struct operands {
    const char *q;
    int64_t     q_b, q_n, q_h;                  /* bytes */
    tr_heads    o, o2;                          /* o2: of the second queries, of which the Hopper kernel alone knows */
    float      *lse;
    int         n_q, n_q2, n_head, d, n_part;
    float       scale2;                         /* scale log2 e: exponentials are powers of two */
    part        p[TR_SEGMENT_MAX];
};

/* A tile of keys: where it begins in which segment. */
struct cursor { int i, at; };

/* Keys of a segment that queries below `last` see. */
__device__ static inline int keys_of(const part &p, int last) { return p.causal && last < p.n ? last : p.n; }

/* The cursor itself if keys are left there, else the next segment that has some; i == n_part: there is none. */
__device__ static inline cursor settle(const operands &a, cursor c, int last)
{
    while (c.i < a.n_part && c.at >= keys_of(a.p[c.i], last)) c = { c.i + 1, 0 };
    return c;
}

/* Whether scale times score is all there is to the logarithm of a weight, for n keys from `at` on and queries from row0 on. */
__device__ static inline bool is_plain(const part &p, int at, int n, int row0)
{
    return !p.bias && !p.key_logw && !p.query_logw && at + n <= p.n && !(p.causal && at + n > row0);
}

/* Adds more[8 n + e], e below 2, to the scores of one row, of which n exist. A few at a time: registers are full. */
template <int NT> __device__ static inline void add_scores(float (&s)[NT][4], int r, const float *more, int n_more)
{
#pragma unroll
    for (int n = 0; n < NT; n++) {
#pragma unroll
        for (int e = 0; e < 2; e++)
            if (n * 8 + e < n_more) s[n][r * 2 + e] = fmaf(more[n * 8 + e], TR_LOG2E, s[n][r * 2 + e]);
        asm volatile("" ::: "memory");
    }
}

/* s becomes the logarithm (base 2) of what a weight is: scale, bias and weights added, unseen keys at minus infinity.
 * row, key: those of s[0][0][0]. */
template <int MT, int NT>
__device__ static inline void finish_scores(float (&s)[MT][NT][4], const operands &a, const part &p, int h, int row, int key)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int i = row + m * 16 + r * 8;
            const float own = p.query_logw && i < a.n_q ? p.query_logw[i] * TR_LOG2E : 0;
            const int seen = own == -INFINITY ? 0 : p.causal && i < p.n ? i + 1 : p.n;          /* keys below it count */
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float &x = s[m][n][r * 2 + e];
                    x = key + n * 8 + e < seen ? fmaf(x, a.scale2, own) : -INFINITY;
                }
            if (p.bias && i < a.n_q) add_scores(s[m], r, p.bias + ((int64_t)h * a.n_q + i) * p.n + key, seen - key);
            if (p.key_logw) add_scores(s[m], r, p.key_logw + key, seen - key);
        }
}

/* Scores of a tile become weights against the largest so far of their query: s = 2^(mul s - top). shrink: what sums from before are worth
 * now; sum is kept by it, each lane's share by itself. A query's scores lie in four lanes. */
template <int MT, int NT>
__device__ static inline void weigh(float (&s)[MT][NT][4], float (&top)[MT][2], float (&sum)[MT][2], float (&shrink)[MT][2], float mul)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float most = s[m][0][r * 2];
#pragma unroll
            for (int n = 0; n < NT; n++) most = fmaxf(most, fmaxf(s[m][n][r * 2], s[m][n][r * 2 + 1]));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
            most = fmaxf(top[m][r], most * mul);
            const float base = most == -INFINITY ? 0 : most;
            shrink[m][r] = tr_exp2(top[m][r] - base);
            top[m][r] = most;
            sum[m][r] *= shrink[m][r];
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float &x = s[m][n][r * 2 + e];
                    x = tr_exp2(fmaf(x, mul, -base));
                    sum[m][r] += x;
                }
        }
}

/* Query i of n of a head is done: its columns c0 + 8 n + 2 (lane % 4) + 0, 1 of the result, and the softmax's denominator. All lanes call. */
template <int NT>
__device__ static inline void put_query(const operands &a, const tr_heads &to, float *lse, int n, const float (&o)[NT][4], int r, float top, float sum, int i, int h, int b, int c0)
{
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    if (i >= n) return;
    const float rest = sum == 0 ? 0 : 1 / sum;                           /* a query that sees nothing gives zeros */
    const int64_t at = b * to.b + i * to.n + h * to.h;
    const int lane = threadIdx.x & 3;
#pragma unroll
    for (int k = 0; k < NT; k++) tr_put_pair({ to.data, to.dtype }, at, c0 + k * 8 + lane * 2, a.d, o[k][r * 2] * rest, o[k][r * 2 + 1] * rest);
    if (lse && c0 == 0 && lane == 0) lse[((int64_t)b * a.n_head + h) * n + i] = sum == 0 ? -INFINITY : fmaf(top, TR_LN2, logf(sum));
}

static inline operands operands_of(const tr_attention_args *a)
{
    operands p = { .q = (const char *)a->q.data, .q_b = a->q.stride[0] * 2, .q_n = a->q.stride[1] * 2, .q_h = a->q.stride[2] * 2,
                   .o = tr_heads_of(a->o), .lse = (float *)a->lse.data, .n_q = (int)a->q.shape[1], .n_head = (int)a->q.shape[2],
                   .d = (int)a->q.shape[3], .n_part = a->n_segment, .scale2 = a->scale * TR_LOG2E };
    if (!tr_is_none(a->q2)) {
        p.o2 = tr_heads_of(a->o2);
        p.n_q2 = (int)a->q2.shape[1];
    }
    for (int i = 0; i < a->n_segment; i++) {
        const tr_attention_segment *g = &a->segment[i];
        p.p[i] = { (const char *)g->k.data, (const char *)g->v.data, g->k.stride[0] * 2, g->k.stride[1] * 2, g->k.stride[2] * 2,
                   g->v.stride[0] * 2, g->v.stride[1] * 2, g->v.stride[2] * 2, (const float *)g->bias.data, (const float *)g->key_logw.data,
                   (const float *)g->query_logw.data, (int)g->k.shape[1], g->causal };
    }
    return p;
}

#endif
