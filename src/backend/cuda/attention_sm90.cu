/* Softmax attention on 16-bit operands for Hopper, heads of up to 64 (Shah et al. 2024, FlashAttention-3, arXiv:2407.08608). One warpgroup
 * asks for tiles, three make the results of 64 queries each. While one of the three runs its exponentials the tensor cores work for
 * another: they take turns, by barriers. Within a group the scores of the next tile are made beside the sums of this one. A block stays on its
 * multiprocessor and takes one item after the other, so that the next item's tiles come while this one is finished.
 *
 * Limits: 4 n_q n_k d flops per head at the speed of the tensor cores (4096 a cycle on a multiprocessor), and n_q n_k exponentials, 16
 * a cycle: at d = 64 both take the same time, so that only what overlaps can be fast. Keys and values pass once per 192 queries. */
#include "backend/cuda/attention_parts.h"
#include "backend/cuda/attention_sm90.h"

#define GROUPS 3                                /* warpgroups that compute */
#define BQ (GROUPS * 64)
#define BK 128
#define STAGES 4
#define TILE (BK * TR_SM90_ROW)
#define SHARED (1024 + BQ * TR_SM90_ROW + 2 * STAGES * TILE)
#define TURN 1                                  /* named barriers TURN .. + GROUPS: whose turn at the tensor cores it is */

struct maps { CUtensorMap q, q2, k[TR_SEGMENT_MAX], v[TR_SEGMENT_MAX]; };

struct barriers {
    uint64_t q_full, q_empty, k_full[STAGES], k_empty[STAGES], v_full[STAGES], v_empty[STAGES];
};

/* What a block does: items blockIdx.x, + gridDim.x, ..; one is 192 queries of a head, of the first stream or the second. */
struct item { int row0, h, b; bool second; };
static __host__ __device__ inline int tiles_of(int n_q) { return (n_q + BQ - 1) / BQ; }
__device__ static inline item item_of(const operands &a, int i)
{
    const int n_tile = tiles_of(a.n_q), n_all = n_tile + tiles_of(a.n_q2), tile = i % n_all, head = i / n_all;
    return { (tile < n_tile ? tile : tile - n_tile) * BQ, head % a.n_head, head / a.n_head, tile >= n_tile };
}

#ifdef TR_SM90
/* One thread: all tiles of all items, as fast as room becomes free. */
__device__ static inline void fetch(const operands &a, const maps &m, barriers &bar, uint32_t q_at, uint32_t k_at, uint32_t v_at, int n_item)
{
    uint32_t n = 0, turn = 0;                   /* tiles of keys, and items, so far */
    for (int i = blockIdx.x; i < n_item; i += gridDim.x, turn++) {
        const item it = item_of(a, i);
        tr_bar_wait(&bar.q_empty, (turn & 1) ^ 1);
        tr_bar_expect(&bar.q_full, BQ * TR_SM90_ROW);
        for (int g = 0; g < GROUPS; g++) tr_tma_load(q_at + g * 64 * TR_SM90_ROW, it.second ? &m.q2 : &m.q, &bar.q_full, 0, it.row0 + g * 64, it.h, it.b);
        for (cursor c = settle(a, { 0, 0 }, it.row0 + BQ); c.i < a.n_part; c = settle(a, { c.i, c.at + BK }, it.row0 + BQ), n++) {
            const uint32_t stage = n % STAGES, parity = (n / STAGES & 1) ^ 1;
            tr_bar_wait(&bar.k_empty[stage], parity);
            tr_bar_expect(&bar.k_full[stage], TILE);
            tr_tma_load(k_at + stage * TILE, &m.k[c.i], &bar.k_full[stage], 0, c.at, it.h, it.b);
            tr_bar_wait(&bar.v_empty[stage], parity);
            tr_bar_expect(&bar.v_full[stage], TILE);
            tr_tma_load(v_at + stage * TILE, &m.v[c.i], &bar.v_full[stage], 0, c.at, it.h, it.b);
        }
    }
}

template <typename T> __device__ static inline void compute(const operands &a, barriers &bar, uint32_t q_at, uint32_t k_at, uint32_t v_at, int n_item)
{
    const int group = (int)(threadIdx.x >> 7) - 1, lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3, key = (lane & 3) * 2;
    const bool speaker = (threadIdx.x & 127) == 0;                       /* who arrives for its group */
    const uint32_t q = q_at + group * 64 * TR_SM90_ROW;
    uint32_t n = 0, turn = 0;                   /* tiles of keys, and items, so far */
    if (group == 0) tr_pass(TURN, 2 * 128);     /* the first one has the first turn */
    for (int i = blockIdx.x; i < n_item; i += gridDim.x, turn++) {
        const item it = item_of(a, i);
        const int last = it.row0 + BQ, row = it.row0 + group * 64 + warp * 16 + (lane >> 2);
        float o[8][4], top[1][2] = { { -INFINITY, -INFINITY } }, sum[1][2] = { { 0, 0 } };
#pragma unroll
        for (int k = 0; k < 8; k++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[k][e] = 0;
        tr_bar_wait(&bar.q_full, turn & 1);
        cursor now = settle(a, { 0, 0 }, last);
        if (now.i < a.n_part) {
            float s[1][BK / 8][4], shrink[1][2];
            uint32_t x[BK / 16][4];             /* weights of a tile */
            tr_bar_wait(&bar.k_full[n % STAGES], n / STAGES & 1);
            tr_wgmma_scores<T>(s[0], q, k_at + n % STAGES * TILE);
            tr_wgmma_wait<0>();
            tr_wgmma_keep(s[0]);
            if (speaker) tr_bar_arrive(&bar.k_empty[n % STAGES]);
            float mul = a.scale2;
            if (!is_plain(a.p[now.i], now.at, BK, it.row0)) {
                finish_scores(s, a, a.p[now.i], it.h, row, now.at + key);
                mul = 1;
            }
            weigh(s, top, sum, shrink, mul);
            tr_wgmma_pack<T>(x, s[0]);
            while ((now = settle(a, { now.i, now.at + BK }, last)).i < a.n_part) {
                const uint32_t old = n % STAGES, old_parity = n / STAGES & 1, stage = ++n % STAGES;
                tr_bar_wait(&bar.k_full[stage], n / STAGES & 1);
                tr_meet(TURN + group, 2 * 128);
                tr_wgmma_scores<T>(s[0], q, k_at + stage * TILE);
                tr_bar_wait(&bar.v_full[old], old_parity);
                tr_wgmma_sums<T>(o, x, v_at + old * TILE);
                tr_pass(TURN + (group + 1) % GROUPS, 2 * 128);
                const part &p = a.p[now.i];
                if (is_plain(p, now.at, BK, it.row0)) {
                    tr_wgmma_wait<1>();
                    tr_wgmma_keep(s[0]);
                    if (speaker) tr_bar_arrive(&bar.k_empty[stage]);
                    weigh(s, top, sum, shrink, a.scale2);
                    tr_wgmma_wait<0>();
                    tr_wgmma_keep(o);
                    tr_wgmma_keep(x);
                } else {                        /* the weights before go first: there are not registers enough for all */
                    tr_wgmma_wait<0>();
                    tr_wgmma_keep(s[0]);
                    tr_wgmma_keep(o);
                    tr_wgmma_keep(x);
                    if (speaker) tr_bar_arrive(&bar.k_empty[stage]);
                    finish_scores(s, a, p, it.h, row, now.at + key);
                    weigh(s, top, sum, shrink, 1);
                }
                if (speaker) tr_bar_arrive(&bar.v_empty[old]);
#pragma unroll
                for (int k = 0; k < 8; k++)
#pragma unroll
                    for (int e = 0; e < 4; e++) o[k][e] *= shrink[0][e >> 1];
                tr_wgmma_pack<T>(x, s[0]);
            }
            tr_bar_wait(&bar.v_full[n % STAGES], n / STAGES & 1);
            tr_wgmma_sums<T>(o, x, v_at + n % STAGES * TILE);
            tr_wgmma_wait<0>();
            tr_wgmma_keep(o);
            if (speaker) tr_bar_arrive(&bar.v_empty[n % STAGES]);
            n++;
        }
        if (speaker) tr_bar_arrive(&bar.q_empty);
#pragma unroll
        for (int r = 0; r < 2; r++)
            put_query(a, it.second ? a.o2 : a.o, it.second ? nullptr : a.lse, it.second ? a.n_q2 : a.n_q, o, r, top[0][r], sum[0][r], row + r * 8, it.h, it.b, 0);
    }
}
#endif

template <typename T> static __global__ void __launch_bounds__((GROUPS + 1) * 128, 1)
attention_sm90_kernel(const __grid_constant__ operands a, const __grid_constant__ maps m, int n_item)
{
#ifdef TR_SM90
    extern __shared__ __align__(1024) char room[];
    __shared__ barriers bar;
    const uint32_t q_at = (tr_shared(room) + 1023) & ~1023u, k_at = q_at + BQ * TR_SM90_ROW, v_at = k_at + STAGES * TILE;
    if (threadIdx.x == 0) {
        tr_bar_init(&bar.q_full, 1);
        tr_bar_init(&bar.q_empty, GROUPS);
        for (int i = 0; i < STAGES; i++) {
            tr_bar_init(&bar.k_full[i], 1);
            tr_bar_init(&bar.v_full[i], 1);
            tr_bar_init(&bar.k_empty[i], GROUPS);
            tr_bar_init(&bar.v_empty[i], GROUPS);
        }
        tr_bar_ready();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        tr_regs_less<32>();                     /* 128 x 32 + 384 x 160: all that there are */
        if (threadIdx.x == 0) fetch(a, m, bar, q_at, k_at, v_at, n_item);
    } else {
        tr_regs_more<160>();
        compute<T>(a, bar, q_at, k_at, v_at, n_item);
    }
#endif
}

/* ---- host ------------------------------------------------------------------------------------------------ */
template <typename T> static tress_status launch(tr_cuda *c, const operands &a, const maps &m, int n_item)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_cuda_check(cudaFuncSetAttribute(attention_sm90_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED), "asking for shared memory"));
    attention_sm90_kernel<T><<<n_item < c->n_sm ? n_item : c->n_sm, (GROUPS + 1) * 128, SHARED, c->stream>>>(a, m, n_item);
    TR_TRY(tr_cuda_launched("attention"));
done:
    return st;
}

static int64_t items_of(const tr_attention_args *a)
{
    const int64_t second = tr_is_none(a->q2) ? 0 : a->q2.shape[1];
    return ((a->q.shape[1] + BQ - 1) / BQ + (second + BQ - 1) / BQ) * a->q.shape[2] * a->q.shape[0];
}

/* The card is a Hopper, the kernel was compiled for it, and there is work for most of the card. */
bool tr_cuda_attention_sm90_takes(const tr_cuda *c, const tr_attention_args *a)
{
    if (c->major != 9 || c->minor != 0 || a->q.shape[3] > 64 || !tr_cuda_attention_mma_takes(c, a)) return false;
    if (!tr_is_none(a->q2) && !tr_heads_by_16(a->q2, a->q.dtype)) return false;
    if (items_of(a) > INT32_MAX || 2 * items_of(a) < c->n_sm) return false;
    return a->q.dtype == TR_F16 ? tr_is_compiled(attention_sm90_kernel<__half>) : tr_is_compiled(attention_sm90_kernel<__nv_bfloat16>);
}

tress_status tr_cuda_attention_sm90(tr_cuda *c, const tr_attention_args *a)
{
    tress_status st = TRESS_OK;
    operands p = operands_of(a);
    maps m;
    tr_tma_encode encode = nullptr;
    const int n_item = (int)items_of(a);
    TR_TRY(tr_tma_find(&encode));
    TR_TRY(tr_tma_map(&m.q, encode, a->q, 64));
    if (p.n_q2) TR_TRY(tr_tma_map(&m.q2, encode, a->q2, 64));
    for (int i = 0; i < a->n_segment; i++) {
        if (p.p[i].n == 0) continue;            /* nothing to describe, and no tile asks for it */
        TR_TRY(tr_tma_map(&m.k[i], encode, a->segment[i].k, BK));
        TR_TRY(tr_tma_map(&m.v[i], encode, a->segment[i].v, BK));
    }
    TR_TRY(a->q.dtype == TR_F16 ? launch<__half>(c, p, m, n_item) : launch<__nv_bfloat16>(c, p, m, n_item));
done:
    return st;
}
