/* Softmax attention on 16-bit operands by the tensor cores of any card since 8.0, one pass over the keys with a running maximum
 * (Dao 2023, arXiv:2307.08691). A block owns some queries; keys and values of all segments pass by in tiles, the next one copied while
 * this one is used; scores and their softmax stay in registers, where they already lie as the second product wants them.
 *
 * Limits: 4 n_q n_k d flops per head against one exponential for each score, 16 of them a cycle on a multiprocessor: at d = 64 the products
 * of a tile take twice as long as its exponentials on 8.0, and about as long on 9.0. Fragments of keys and values are read from shared
 * memory once per warp: 32 queries a warp need half of what it delivers. Bytes: q, k, v, o once; k and v again for every block, from the
 * second-level cache. */
#include "backend/cuda/attention_parts.h"

/* RW warps of MT x 16 queries each, times CW that share the columns of the result among them and make the scores each for itself;
 * tiles of BK keys. Q_REGS: the queries' fragments stay in registers. */
template <typename T, int D, int CW, int MT, int RW, int BK, bool Q_REGS>
static __global__ void __launch_bounds__(RW * CW * 32, RW * CW <= 4 && D <= 128 ? 2 : 1) attention_kernel(const __grid_constant__ operands a)
{
    constexpr int BQ = RW * MT * 16, THREADS = RW * CW * 32, DV = D / CW, STAGE = BK * D * 2;
    extern __shared__ __align__(1024) char room[];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, rw = warp % RW, cw = warp / RW;
    const int row0 = blockIdx.x * BQ, h = blockIdx.y, b = blockIdx.z, last = row0 + BQ;
    const uint32_t q_at = tr_shared(room), k_at = q_at + BQ * D * 2, v_at = k_at + 2 * STAGE;          /* [BQ, D], 2 x [BK, D], 2 x [BK, D] */
    const uint32_t q_lane = q_at + rw * MT * 16 * D * 2 + tr_lane_a<D>(lane), k_lane = k_at + tr_lane_b<D>(lane),
                   v_lane = v_at + tr_lane_a<D>(lane) + cw * (DV / 64) * 128;
    static_assert(DV % 64 == 0, "columns of a warp are whole 128-byte lines");
    const int row = row0 + rw * MT * 16 + (lane >> 2), key = (lane & 3) * 2;             /* of this lane's first score */

    const auto copy_keys = [&](cursor c, int stage) {
        const part &p = a.p[c.i];
        const int n = p.n - c.at;
        tr_copy_rows<BK, D, THREADS>(k_at + stage * STAGE, p.k + b * p.k_b + h * p.k_h + c.at * p.k_n, p.k_n, n, a.d);
        tr_copy_rows<BK, D, THREADS>(v_at + stage * STAGE, p.v + b * p.v_b + h * p.v_h + c.at * p.v_n, p.v_n, n, a.d);
    };

    float o[MT][DV / 8][4], top[MT][2], sum[MT][2];
#pragma unroll
    for (int m = 0; m < MT; m++) {
        top[m][0] = top[m][1] = -INFINITY;
        sum[m][0] = sum[m][1] = 0;
#pragma unroll
        for (int n = 0; n < DV / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[m][n][e] = 0;
    }

    cursor now = settle(a, { 0, 0 }, last);
    tr_copy_rows<BQ, D, THREADS>(q_at, a.q + b * a.q_b + h * a.q_h + row0 * a.q_n, a.q_n, a.n_q - row0, a.d);
    if (now.i < a.n_part) copy_keys(now, 0);
    tr_copy_commit();
    uint32_t q[Q_REGS ? MT : 1][Q_REGS ? D / 16 : 1][4];
    if constexpr (Q_REGS) {
        tr_copy_wait<0>();
        __syncthreads();
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int k = 0; k < D / 16; k++) tr_load4(q[m][k], tr_step<D>(q_lane, m * 16, k));
    }

    for (int stage = 0; now.i < a.n_part; stage ^= 1) {
        tr_copy_wait<0>();
        __syncthreads();                        /* this tile is here, and all are done with the one before */
        const cursor next = settle(a, { now.i, now.at + BK }, last);
        if (next.i < a.n_part) copy_keys(next, stage ^ 1);
        tr_copy_commit();

        float s[MT][BK / 8][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < BK / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) s[m][n][e] = 0;
#pragma unroll
        for (int k = 0; k < D / 16; k++) {
            uint32_t x[MT][4];
            if constexpr (!Q_REGS) {
#pragma unroll
                for (int m = 0; m < MT; m++) tr_load4(x[m], tr_step<D>(q_lane, m * 16, k));
            }
#pragma unroll
            for (int n = 0; n < BK / 16; n++) {
                uint32_t y[4];
                tr_load4(y, tr_step<D>(k_lane + stage * STAGE, n * 16, k));
#pragma unroll
                for (int m = 0; m < MT; m++) {
                    const uint32_t(&f)[4] = Q_REGS ? q[Q_REGS ? m : 0][Q_REGS ? k : 0] : x[m];
                    tr_mma<T>(s[m][2 * n], f, y[0], y[1]);
                    tr_mma<T>(s[m][2 * n + 1], f, y[2], y[3]);
                }
            }
        }

        const part &p = a.p[now.i];
        float mul = a.scale2;                   /* s mul is the logarithm of a weight */
        if (!is_plain(p, now.at, BK, row0)) {
            finish_scores(s, a, p, h, row, now.at + key);
            mul = 1;
        }
        float shrink[MT][2];
        weigh(s, top, sum, shrink, mul);
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < DV / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) o[m][n][e] *= shrink[m][e >> 1];

#pragma unroll
        for (int k = 0; k < BK / 16; k++) {
            uint32_t x[MT][4];
#pragma unroll
            for (int m = 0; m < MT; m++) {
                x[m][0] = tr_pack<T>(s[m][2 * k][0], s[m][2 * k][1]);
                x[m][1] = tr_pack<T>(s[m][2 * k][2], s[m][2 * k][3]);
                x[m][2] = tr_pack<T>(s[m][2 * k + 1][0], s[m][2 * k + 1][1]);
                x[m][3] = tr_pack<T>(s[m][2 * k + 1][2], s[m][2 * k + 1][3]);
            }
#pragma unroll
            for (int n = 0; n < DV / 16; n++) {
                uint32_t y[4];
                tr_load4_turned(y, tr_step<D>(v_lane + stage * STAGE, k * 16, n));
#pragma unroll
                for (int m = 0; m < MT; m++) {
                    tr_mma<T>(o[m][2 * n], x[m], y[0], y[1]);
                    tr_mma<T>(o[m][2 * n + 1], x[m], y[2], y[3]);
                }
            }
        }
        now = next;
    }

#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) put_query(a, a.o, a.lse, a.n_q, o[m], r, top[m][r], sum[m][r], row + m * 16 + r * 8, h, b, cw * DV);
}

/* ---- host ------------------------------------------------------------------------------------------------ */
template <typename T, int D, int CW, int MT, int RW, int BK>
static tress_status launch(tr_cuda *c, const operands &a, int64_t n_b)
{
    tress_status st = TRESS_OK;
    constexpr int BQ = RW * MT * 16;
    constexpr size_t bytes = (size_t)(BQ + 4 * BK) * D * 2;
    constexpr bool q_regs = MT * D <= 128;
    const dim3 grid((unsigned)((a.n_q + BQ - 1) / BQ), (unsigned)a.n_head, (unsigned)n_b);
    TR_TRY(tr_cuda_check(cudaFuncSetAttribute(attention_kernel<T, D, CW, MT, RW, BK, q_regs>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                         "asking for shared memory"));
    attention_kernel<T, D, CW, MT, RW, BK, q_regs><<<grid, RW * CW * 32, bytes, c->stream>>>(a);
    TR_TRY(tr_cuda_launched("attention"));
done:
    return st;
}

template <typename T> static tress_status launch_width(tr_cuda *c, const operands &a, int64_t n_b)
{
    const int64_t blocks = (int64_t)n_b * a.n_head * ((a.n_q + 127) / 128);
    if (a.d <= 64) return blocks >= c->n_sm ? launch<T, 64, 1, 2, 4, 64>(c, a, n_b) : launch<T, 64, 1, 1, 4, 64>(c, a, n_b);
    if (a.d <= 128) return launch<T, 128, 1, 1, 4, 64>(c, a, n_b);
    if (a.d <= 256) return launch<T, 256, 1, 1, 4, 32>(c, a, n_b);
    if (c->shared_max >= 192 << 10) return launch<T, 512, 2, 1, 4, 32>(c, a, n_b);
    if (c->shared_max >= 128 << 10) return launch<T, 512, 2, 1, 4, 16>(c, a, n_b);
    return launch<T, 512, 2, 1, 2, 16>(c, a, n_b);
}

bool tr_cuda_attention_mma_takes(const tr_cuda *, const tr_attention_args *a)
{
    const tr_dtype t = a->q.dtype;
    const int64_t most = INT32_MAX / 2;
    bool ok = (t == TR_F16 || t == TR_BF16) && a->scale > 0 && a->q.shape[3] <= 512 && a->q.shape[1] < most && a->q.shape[2] <= 65535 && a->q.shape[0] <= 65535;
    ok = ok && tr_heads_by_16(a->q, t);
    for (int i = 0; i < a->n_segment; i++) {
        const tr_attention_segment *g = &a->segment[i];
        ok = ok && tr_heads_by_16(g->k, t) && tr_heads_by_16(g->v, t) && g->k.shape[1] < most;
    }
    return ok;
}

tress_status tr_cuda_attention_mma(tr_cuda *c, const tr_attention_args *a)
{
    const operands p = operands_of(a);
    return a->q.dtype == TR_F16 ? launch_width<__half>(c, p, a->q.shape[0]) : launch_width<__nv_bfloat16>(c, p, a->q.shape[0]);
}
