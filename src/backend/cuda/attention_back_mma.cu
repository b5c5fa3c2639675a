/* Backward of attention on 16-bit operands by the tensor cores of any card since 8.0. The scores are made again, twice: blocks that own
 * keys make dk and dv while queries pass by, blocks that own queries make dq while keys pass by, so that no sum crosses blocks and two
 * runs give the same bytes. Weights and their gradients stay in registers: with keys as rows they already lie as the products for
 * dv += p^T d_o and dk += ds^T q want them.     Dao 2023, arXiv:2307.08691, alg. 2
 *
 * Limits: 14 n_q n_k d flops per head (10 of them needed) and two exponentials for each score. 32 rows a warp: fragments from shared memory take
 * three quarters of the products' time for dk and dv, two thirds for dq. */
#include "backend/cuda/attention_int.h"

struct rows { const char *p; int64_t b, n, h; };        /* strides in bytes */

struct operands {
    rows         q, d_o, k, v;
    tr_heads     dq, dk, dv;
    const float *delta, *log2, *key_logw;
    float       *part;                          /* [split, 2, b, h, n_k, d] */
    int64_t      n_q_pad, part_step;            /* part_step: numbers of one of dk, dv */
    int          n_q, n_k, n_head, d, n_split;
    float        scale, scale2;                 /* scale log2 e */
    bool         add_q, add_kv;
};

__device__ static inline const char *head_of(const rows &t, int64_t b, int64_t h) { return t.p + b * t.b + h * t.h; }

template <int MT, int NT> __device__ static inline void clear(float (&x)[MT][NT][4])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) x[m][n][e] = 0;
}

/* s[m][n] = rows of the tile at a times rows of the tile at b, over D. a: this lane's place in MT x 16 rows; b: in 32 rows. */
template <typename T, int D, int MT> __device__ static inline void products(float (&s)[MT][4][4], uint32_t a, uint32_t b)
{
    clear(s);
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t x[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++) tr_load4(x[m], tr_step<D>(a, m * 16, k));
#pragma unroll
        for (int n = 0; n < 2; n++) {
            uint32_t y[4];
            tr_load4(y, tr_step<D>(b, n * 16, k));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                tr_mma<T>(s[m][2 * n], x[m], y[0], y[1]);
                tr_mma<T>(s[m][2 * n + 1], x[m], y[2], y[3]);
            }
        }
    }
}

/* Scores as fragments a of the next product: 16 bits, [MT] x 2 of 16 columns. */
template <typename T, int MT> __device__ static inline void pack(uint32_t (&x)[MT][2][4], const float (&s)[MT][4][4])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int k = 0; k < 2; k++) {
            x[m][k][0] = tr_pack<T>(s[m][2 * k][0], s[m][2 * k][1]);
            x[m][k][1] = tr_pack<T>(s[m][2 * k][2], s[m][2 * k][3]);
            x[m][k][2] = tr_pack<T>(s[m][2 * k + 1][0], s[m][2 * k + 1][1]);
            x[m][k][3] = tr_pack<T>(s[m][2 * k + 1][2], s[m][2 * k + 1][3]);
        }
}

/* sum += x times 32 rows of the tile at b, turned. */
template <typename T, int D, int MT> __device__ static inline void gather(float (&sum)[MT][D / 8][4], const uint32_t (&x)[MT][2][4], uint32_t b)
{
#pragma unroll
    for (int k = 0; k < 2; k++)
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            uint32_t y[4];
            tr_load4_turned(y, tr_step<D>(b, k * 16, n));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                tr_mma<T>(sum[m][2 * n], x[m][k], y[0], y[1]);
                tr_mma<T>(sum[m][2 * n + 1], x[m][k], y[2], y[3]);
            }
        }
}

/* ---- dk, dv: blocks own 4 warps x MT x 16 keys, queries pass by 64 at a time ------------------------------- */
template <typename T, int D, int MT> static __global__ void __launch_bounds__(128, 2) keys_kernel(const __grid_constant__ operands a)
{
    constexpr int BK = 64 * MT, BQ = 64, SIDE = BQ * D * 2, STAGE = 2 * SIDE + 2 * BQ * 4;      /* a stage: q, d_o, log2, delta */
    static_assert(STAGE % 128 == 0, "swizzled lines");
    extern __shared__ __align__(1024) char room[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, split = blockIdx.x % a.n_split, h = blockIdx.y, b = blockIdx.z;
    const int j0 = (int)(blockIdx.x / a.n_split) * BK, j = j0 + warp * MT * 16 + (lane >> 2);         /* j: this lane's first key */
    const uint32_t k_at = tr_shared(room), v_at = k_at + BK * D * 2, q_at = v_at + BK * D * 2;
    const char *const rows_at = room + 2 * BK * D * 2 + 2 * SIDE;         /* log2 and delta of stage 0 */
    const uint32_t own = warp * MT * 16 * D * 2 + tr_lane_a<D>(lane), other = tr_lane_b<D>(lane), turned = tr_lane_a<D>(lane);
    const int n_tile = (a.n_q + BQ - 1) / BQ, n_each = (n_tile + a.n_split - 1) / a.n_split, first = split * n_each,
              end = first + n_each < n_tile ? first + n_each : n_tile;

    const auto copy_queries = [&](int tile, int stage) {
        const uint32_t to = q_at + stage * STAGE;
        const int64_t i0 = (int64_t)tile * BQ;
        tr_copy_rows<BQ, D, 128>(to, head_of(a.q, b, h) + i0 * a.q.n, a.q.n, (int)(a.n_q - i0), a.d);
        tr_copy_rows<BQ, D, 128>(to + SIDE, head_of(a.d_o, b, h) + i0 * a.d_o.n, a.d_o.n, (int)(a.n_q - i0), a.d);
        if (threadIdx.x < BQ / 2) {             /* 16 pieces of 16 bytes each */
            const int piece = threadIdx.x & (BQ / 4 - 1);
            const float *from = (threadIdx.x < BQ / 4 ? a.log2 : a.delta) + ((int64_t)b * a.n_head + h) * a.n_q_pad + i0 + piece * 4;
            tr_copy16(to + 2 * SIDE + threadIdx.x * 16, from, true);
        }
    };

    float dk[MT][D / 8][4], dv[MT][D / 8][4], more[MT][2];
    clear(dk);
    clear(dv);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) more[m][r] = a.key_logw && j + m * 16 + r * 8 < a.n_k ? a.key_logw[j + m * 16 + r * 8] * TR_LOG2E : 0;
    tr_copy_rows<BK, D, 128>(k_at, head_of(a.k, b, h) + j0 * a.k.n, a.k.n, a.n_k - j0, a.d);
    tr_copy_rows<BK, D, 128>(v_at, head_of(a.v, b, h) + j0 * a.v.n, a.v.n, a.n_k - j0, a.d);
    if (first < end) copy_queries(first, 0);
    tr_copy_commit();

    for (int tile = first, stage = 0; tile < end; tile++, stage ^= 1) {
        tr_copy_wait<0>();
        __syncthreads();                        /* this tile is here, and all are done with the one before */
        if (tile + 1 < end) copy_queries(tile + 1, stage ^ 1);
        tr_copy_commit();
        const uint32_t q_tile = q_at + stage * STAGE, g_tile = q_tile + SIDE;
        const float *log2 = (const float *)(rows_at + stage * STAGE), *delta = log2 + BQ;
#pragma unroll 1
        for (int i = 0; i < BQ; i += 32) {      /* 32 queries at a time: what registers hold */
            float p[MT][4][4], ds[MT][4][4];
            uint32_t x[MT][2][4];
            products<T, D, MT>(p, k_at + own, q_tile + i * D * 2 + other);
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float2 l = *(const float2 *)(log2 + i + n * 8 + (lane & 3) * 2);
#pragma unroll
                for (int m = 0; m < MT; m++)
#pragma unroll
                    for (int e = 0; e < 4; e++) p[m][n][e] = tr_exp2(fmaf(p[m][n][e], a.scale2, more[m][e >> 1] - (e & 1 ? l.y : l.x)));
            }
            pack<T, MT>(x, p);
            gather<T, D, MT>(dv, x, g_tile + i * D * 2 + turned);
            products<T, D, MT>(ds, v_at + own, g_tile + i * D * 2 + other);
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float2 l = *(const float2 *)(delta + i + n * 8 + (lane & 3) * 2);
#pragma unroll
                for (int m = 0; m < MT; m++)
#pragma unroll
                    for (int e = 0; e < 4; e++) ds[m][n][e] = p[m][n][e] * (ds[m][n][e] - (e & 1 ? l.y : l.x));
            }
            pack<T, MT>(x, ds);
            gather<T, D, MT>(dk, x, q_tile + i * D * 2 + turned);
        }
    }
    tr_copy_wait<0>();

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int key = j + m * 16 + r * 8;
            if (key >= a.n_k) continue;
            if (a.n_split == 1) {
                tr_put_row(a.dk, b * a.dk.b + key * a.dk.n + h * a.dk.h, a.d, dk[m], r, a.scale, a.add_kv);
                tr_put_row(a.dv, b * a.dv.b + key * a.dv.n + h * a.dv.h, a.d, dv[m], r, 1, a.add_kv);
            } else {
                const int64_t at = (((int64_t)b * a.n_head + h) * a.n_k + key) * a.d;
                const tr_heads part = { a.part + split * 2 * a.part_step, TR_F32, 0, 0, 0 }, part_2 = { a.part + (split * 2 + 1) * a.part_step, TR_F32, 0, 0, 0 };
                tr_put_row(part, at, a.d, dk[m], r, a.scale, false);
                tr_put_row(part_2, at, a.d, dv[m], r, 1, false);
            }
        }
}

/* dk and dv from their parts, in the order of the parts. Few keys: small beside the kernel above. */
static __global__ void __launch_bounds__(256) parts_kernel(const __grid_constant__ operands a)
{
    const int64_t at = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (at >= a.part_step) return;
    const int64_t c = at % a.d, key = at / a.d % a.n_k, h = at / a.d / a.n_k % a.n_head, b = at / a.d / a.n_k / a.n_head;
    float sum = 0, sum_2 = 0;
    for (int i = 0; i < a.n_split; i++) {
        sum += a.part[i * 2 * a.part_step + at];
        sum_2 += a.part[(i * 2 + 1) * a.part_step + at];
    }
    const int64_t to = b * a.dk.b + key * a.dk.n + h * a.dk.h + c, to_2 = b * a.dv.b + key * a.dv.n + h * a.dv.h + c;
    if (a.add_kv) {
        sum += tr_get({ a.dk.data, a.dk.dtype }, to);
        sum_2 += tr_get({ a.dv.data, a.dv.dtype }, to_2);
    }
    tr_put({ a.dk.data, a.dk.dtype }, to, sum);
    tr_put({ a.dv.data, a.dv.dtype }, to_2, sum_2);
}

/* ---- dq: blocks own 4 warps x MT x 16 queries, keys pass by 64 at a time ----------------------------------- */
template <typename T, int D, int MT> static __global__ void __launch_bounds__(128, 2) queries_kernel(const __grid_constant__ operands a)
{
    constexpr int BQ = 64 * MT, BK = 64, SIDE = BK * D * 2, STAGE = 2 * SIDE;
    extern __shared__ __align__(1024) char room[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.y, b = blockIdx.z;
    const int i0 = blockIdx.x * BQ, i = i0 + warp * MT * 16 + (lane >> 2);               /* i: this lane's first query */
    const uint32_t q_at = tr_shared(room), g_at = q_at + BQ * D * 2, k_at = g_at + BQ * D * 2;
    const uint32_t own = warp * MT * 16 * D * 2 + tr_lane_a<D>(lane), other = tr_lane_b<D>(lane), turned = tr_lane_a<D>(lane);

    const auto copy_keys = [&](int j0, int stage) {
        const uint32_t to = k_at + stage * STAGE;
        tr_copy_rows<BK, D, 128>(to, head_of(a.k, b, h) + j0 * a.k.n, a.k.n, a.n_k - j0, a.d);
        tr_copy_rows<BK, D, 128>(to + SIDE, head_of(a.v, b, h) + j0 * a.v.n, a.v.n, a.n_k - j0, a.d);
    };

    float dq[MT][D / 8][4], log2[MT][2], delta[MT][2];
    clear(dq);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = i + m * 16 + r * 8;
            const int64_t at = ((int64_t)b * a.n_head + h) * a.n_q_pad + row;
            log2[m][r] = row < a.n_q ? a.log2[at] : INFINITY;
            delta[m][r] = row < a.n_q ? a.delta[at] : 0;
        }
    tr_copy_rows<BQ, D, 128>(q_at, head_of(a.q, b, h) + i0 * a.q.n, a.q.n, a.n_q - i0, a.d);
    tr_copy_rows<BQ, D, 128>(g_at, head_of(a.d_o, b, h) + i0 * a.d_o.n, a.d_o.n, a.n_q - i0, a.d);
    copy_keys(0, 0);
    tr_copy_commit();

    for (int j0 = 0, stage = 0; j0 < a.n_k; j0 += BK, stage ^= 1) {
        tr_copy_wait<0>();
        __syncthreads();                        /* this tile is here, and all are done with the one before */
        if (j0 + BK < a.n_k) copy_keys(j0 + BK, stage ^ 1);
        tr_copy_commit();
        const uint32_t k_tile = k_at + stage * STAGE, v_tile = k_tile + SIDE;
#pragma unroll 1
        for (int j = 0; j < BK; j += 32) {
            float p[MT][4][4], ds[MT][4][4];
            uint32_t x[MT][2][4];
            products<T, D, MT>(p, q_at + own, k_tile + j * D * 2 + other);
            products<T, D, MT>(ds, g_at + own, v_tile + j * D * 2 + other);
            const bool plain = !a.key_logw && j0 + j + 32 <= a.n_k;
#pragma unroll
            for (int n = 0; n < 4; n++) {
                float more[2] = { 0, 0 };
                if (!plain)
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        const int key = j0 + j + n * 8 + (lane & 3) * 2 + e;
                        more[e] = key >= a.n_k ? -INFINITY : a.key_logw ? a.key_logw[key] * TR_LOG2E : 0;
                    }
#pragma unroll
                for (int m = 0; m < MT; m++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const float w = tr_exp2(fmaf(p[m][n][e], a.scale2, more[e & 1] - log2[m][e >> 1]));
                        ds[m][n][e] = w * (ds[m][n][e] - delta[m][e >> 1]);
                    }
            }
            pack<T, MT>(x, ds);
            gather<T, D, MT>(dq, x, k_tile + j * D * 2 + turned);
        }
    }

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = i + m * 16 + r * 8;
            if (row < a.n_q) tr_put_row(a.dq, b * a.dq.b + row * a.dq.n + h * a.dq.h, a.d, dq[m], r, a.scale, a.add_q);
        }
}

/* ---- host ------------------------------------------------------------------------------------------------ */
static int keys_of_block(int64_t d) { return d <= 64 ? 128 : 64; }

int tr_cuda_attention_back_splits(const tr_cuda *c, const tr_attention_back_args *a)
{
    const int64_t each = keys_of_block(a->q.shape[3]), blocks = (a->k.shape[1] + each - 1) / each * a->q.shape[0] * a->q.shape[2];
    const int64_t wanted = (2 * c->n_sm + blocks - 1) / blocks, most = (a->q.shape[1] + 63) / 64;
    return (int)(wanted < most ? wanted : most);
}

bool tr_cuda_attention_back_mma_takes(const tr_cuda *, const tr_attention_back_args *a)
{
    const tr_dtype t = a->q.dtype;
    const int64_t most = INT32_MAX / 2;
    return (t == TR_F16 || t == TR_BF16) && a->q.shape[3] <= 128 && a->q.shape[1] < most && a->k.shape[1] < most && a->q.shape[2] <= 65535 &&
           a->q.shape[0] <= 65535 && tr_heads_by_16(a->q, t) && tr_heads_by_16(a->d_o, t) && tr_heads_by_16(a->k, t) && tr_heads_by_16(a->v, t);
}

template <typename T, int D, int MT> static tress_status launch(tr_cuda *c, const operands &a, int64_t n_b, bool queries, bool keys)
{
    tress_status st = TRESS_OK;
    constexpr size_t keys_bytes = (size_t)2 * 64 * MT * D * 2 + 2 * (2 * 64 * D * 2 + 2 * 64 * 4);
    constexpr size_t queries_bytes = (size_t)2 * 64 * MT * D * 2 + 2 * (2 * 64 * D * 2);
    const unsigned n_head = (unsigned)a.n_head;
    if (keys) {
        TR_TRY(tr_cuda_check(cudaFuncSetAttribute(keys_kernel<T, D, MT>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)keys_bytes), "asking for shared memory"));
        const dim3 grid((unsigned)((a.n_k + 64 * MT - 1) / (64 * MT) * a.n_split), n_head, (unsigned)n_b);
        keys_kernel<T, D, MT><<<grid, 128, keys_bytes, c->stream>>>(a);
        TR_TRY(tr_cuda_launched("attention_back"));
        if (a.n_split > 1) {
            parts_kernel<<<(unsigned)((a.part_step + 255) / 256), 256, 0, c->stream>>>(a);
            TR_TRY(tr_cuda_launched("attention_back"));
        }
    }
    if (queries) {
        TR_TRY(tr_cuda_check(cudaFuncSetAttribute(queries_kernel<T, D, MT>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)queries_bytes), "asking for shared memory"));
        const dim3 grid((unsigned)((a.n_q + 64 * MT - 1) / (64 * MT)), n_head, (unsigned)n_b);
        queries_kernel<T, D, MT><<<grid, 128, queries_bytes, c->stream>>>(a);
        TR_TRY(tr_cuda_launched("attention_back"));
    }
done:
    return st;
}

static rows rows_of(tr_tensor t) { return { (const char *)t.data, t.stride[0] * 2, t.stride[1] * 2, t.stride[2] * 2 }; }

tress_status tr_cuda_attention_back_mma(tr_cuda *c, const tr_attention_back_args *a, tr_back_rows r, bool queries, bool keys)
{
    const int64_t n_b = a->q.shape[0];
    const operands p = { .q = rows_of(a->q), .d_o = rows_of(a->d_o), .k = rows_of(a->k), .v = rows_of(a->v), .dq = tr_heads_of(a->dq), .dk = tr_heads_of(a->dk),
                         .dv = tr_heads_of(a->dv), .delta = r.delta, .log2 = r.log2, .key_logw = (const float *)a->key_logw.data, .part = r.part,
                         .n_q_pad = r.n_pad, .part_step = n_b * a->k.shape[2] * a->k.shape[1] * a->k.shape[3], .n_q = (int)a->q.shape[1],
                         .n_k = (int)a->k.shape[1], .n_head = (int)a->q.shape[2], .d = (int)a->q.shape[3],
                         .n_split = tr_cuda_attention_back_splits(c, a), .scale = a->scale, .scale2 = a->scale * TR_LOG2E, .add_q = a->add_q, .add_kv = a->add_kv };
    if (p.d <= 64)
        return a->q.dtype == TR_F16 ? launch<__half, 64, 2>(c, p, n_b, queries, keys) : launch<__nv_bfloat16, 64, 2>(c, p, n_b, queries, keys);
    return a->q.dtype == TR_F16 ? launch<__half, 128, 1>(c, p, n_b, queries, keys) : launch<__nv_bfloat16, 128, 1>(c, p, n_b, queries, keys);
}
