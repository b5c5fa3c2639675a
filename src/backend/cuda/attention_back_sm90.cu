/* Backward of attention on 16-bit operands for Hopper, heads of up to 64: what attention_back_mma.cu does, by warpgroups. A block owns 128
 * rows, 64 for each of two warpgroups; the other side passes by 128 rows at a time, fetched by a third. With keys as rows it makes dk and
 * dv, with queries dq. One group's exponentials run while the tensor cores work for the other.
 *
 * Limits: 8 n_q n_k d flops per head for dk and dv, 6 for dq, at the speed of the tensor cores; an exponential for each score, which takes a
 * half, and two thirds, of the products' time. */
#include "backend/cuda/attention_sm90.h"

#define GROUPS 2                                /* warpgroups that compute */
#define OWN (GROUPS * 64)
#define OTHER 128
#define STAGES 3
#define TILE (128 * TR_SM90_ROW)                /* bytes: OWN and OTHER rows */
#define SIDE (OTHER * 4)                        /* log2 or delta of a tile of queries */
#define SHARED (1024 + 2 * TILE + STAGES * (2 * TILE + 2 * SIDE))
static_assert(OWN == 128 && TR_BACK_PAD % OTHER == 0, "tiles as they are described");

struct maps { CUtensorMap own, own_2, other, other_2; };        /* q, d_o, k, v; or k, v, q, d_o */

struct operands {
    tr_heads     out, out_2;                    /* dq, none; or dk, dv */
    const float *delta, *log2, *key_logw;
    int64_t      n_q_pad;
    int          n_own, n_other, n_head, d;
    float        scale, scale2;                 /* scale log2 e */
    bool         add;
};

struct barriers { uint64_t own, full[STAGES], empty[STAGES]; };

#ifdef TR_SM90
/* Where things are in shared memory. */
struct places { uint32_t own, own_2, other, other_2, log2, delta; const char *base; };

template <bool KEYS> __device__ static inline void fetch(const operands &a, const maps &m, barriers &bar, const places &at)
{
    const int h = blockIdx.y, b = blockIdx.z, row0 = blockIdx.x * OWN;
    const int64_t at_q = ((int64_t)b * a.n_head + h) * a.n_q_pad;
    tr_bar_expect(&bar.own, 2 * TILE);
    tr_tma_load(at.own, &m.own, &bar.own, 0, row0, h, b);
    tr_tma_load(at.own_2, &m.own_2, &bar.own, 0, row0, h, b);
    uint32_t n = 0;
    for (int j = 0; j < a.n_other; j += OTHER, n++) {
        const uint32_t stage = n % STAGES;
        tr_bar_wait(&bar.empty[stage], (n / STAGES & 1) ^ 1);
        tr_bar_expect(&bar.full[stage], 2 * TILE + (KEYS ? 2 * SIDE : 0));
        tr_tma_load(at.other + stage * TILE, &m.other, &bar.full[stage], 0, j, h, b);
        tr_tma_load(at.other_2 + stage * TILE, &m.other_2, &bar.full[stage], 0, j, h, b);
        if constexpr (KEYS) {
            tr_bulk_load(at.log2 + stage * SIDE, a.log2 + at_q + j, SIDE, &bar.full[stage]);
            tr_bulk_load(at.delta + stage * SIDE, a.delta + at_q + j, SIDE, &bar.full[stage]);
        }
    }
}

template <typename T, bool KEYS> __device__ static inline void compute(const operands &a, barriers &bar, const places &at)
{
    const int group = (int)(threadIdx.x >> 7) - 1, lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3, two = (lane & 3) * 2;
    const int h = blockIdx.y, b = blockIdx.z, row = blockIdx.x * OWN + group * 64 + warp * 16 + (lane >> 2);     /* row: this lane's first */
    const uint32_t own = at.own + group * 64 * TR_SM90_ROW, own_2 = at.own_2 + group * 64 * TR_SM90_ROW;
    float sum[8][4], sum_2[8][4], side[2], delta[2];                     /* side: key_logw of keys, minus log2 of queries */
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) sum[n][e] = sum_2[n][e] = 0;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int i = row + r * 8;
        const int64_t at_q = ((int64_t)b * a.n_head + h) * a.n_q_pad + i;
        if constexpr (KEYS) side[r] = a.key_logw && i < a.n_own ? a.key_logw[i] * TR_LOG2E : 0;
        else side[r] = i < a.n_own ? -a.log2[at_q] : -INFINITY;
        delta[r] = !KEYS && i < a.n_own ? a.delta[at_q] : 0;
    }
    tr_bar_wait(&bar.own, 0);
    uint32_t n_tile = 0;
    for (int j = 0; j < a.n_other; j += OTHER, n_tile++) {
        const uint32_t stage = n_tile % STAGES, other = at.other + stage * TILE, other_2 = at.other_2 + stage * TILE;
        const float *const log2_at = (const float *)(at.base + (at.log2 - at.own) + stage * SIDE), *const delta_at = log2_at + STAGES * OTHER;
        float p[16][4], ds[16][4];
        uint32_t x[8][4];
        tr_bar_wait(&bar.full[stage], n_tile / STAGES & 1);
        tr_wgmma_scores<T>(p, own, other);
        tr_wgmma_scores<T>(ds, own_2, other_2);
        tr_wgmma_wait<1>();
        tr_wgmma_keep(p);
        const bool plain = KEYS || (!a.key_logw && j + OTHER <= a.n_other);
#pragma unroll
        for (int n = 0; n < 16; n++) {
            float2 l = make_float2(0, 0);
            if constexpr (KEYS) l = *(const float2 *)(log2_at + n * 8 + two);
            else if (!plain) {
                const int key = j + n * 8 + two;
                l.x = key >= a.n_other ? INFINITY : a.key_logw ? -a.key_logw[key] * TR_LOG2E : 0;
                l.y = key + 1 >= a.n_other ? INFINITY : a.key_logw ? -a.key_logw[key + 1] * TR_LOG2E : 0;
            }
#pragma unroll
            for (int e = 0; e < 4; e++) p[n][e] = tr_exp2(fmaf(p[n][e], a.scale2, side[e >> 1] - (e & 1 ? l.y : l.x)));
        }
        if constexpr (KEYS) {
            tr_wgmma_pack<T>(x, p);
            tr_wgmma_sums<T>(sum_2, x, other_2);
            tr_wgmma_wait<1>();
        } else
            tr_wgmma_wait<0>();
        tr_wgmma_keep(ds);
#pragma unroll
        for (int n = 0; n < 16; n++) {
            float2 l = make_float2(0, 0);
            if constexpr (KEYS) l = *(const float2 *)(delta_at + n * 8 + two);
#pragma unroll
            for (int e = 0; e < 4; e++) ds[n][e] = p[n][e] * (ds[n][e] - (KEYS ? (e & 1 ? l.y : l.x) : delta[e >> 1]));
        }
        if constexpr (KEYS) {
            tr_wgmma_wait<0>();
            tr_wgmma_keep(sum_2);
            tr_wgmma_keep(x);
        }
        tr_wgmma_pack<T>(x, ds);
        tr_wgmma_sums<T>(sum, x, other);
        tr_wgmma_wait<0>();
        tr_wgmma_keep(sum);
        tr_wgmma_keep(x);
        if ((threadIdx.x & 127) == 0) tr_bar_arrive(&bar.empty[stage]);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int i = row + r * 8;
        if (i >= a.n_own) continue;
        tr_put_row(a.out, b * a.out.b + i * a.out.n + h * a.out.h, a.d, sum, r, a.scale, a.add);
        if constexpr (KEYS) tr_put_row(a.out_2, b * a.out_2.b + i * a.out_2.n + h * a.out_2.h, a.d, sum_2, r, 1, a.add);
    }
}
#endif

template <typename T, bool KEYS> static __global__ void __launch_bounds__((GROUPS + 1) * 128, 1)
back_sm90_kernel(const __grid_constant__ operands a, const __grid_constant__ maps m)
{
#ifdef TR_SM90
    extern __shared__ __align__(1024) char room[];
    __shared__ barriers bar;
    places at;
    at.own = (tr_shared(room) + 1023) & ~1023u;
    at.base = room + (at.own - tr_shared(room));
    at.own_2 = at.own + TILE;
    at.other = at.own_2 + TILE;
    at.other_2 = at.other + STAGES * TILE;
    at.log2 = at.other_2 + STAGES * TILE;
    at.delta = at.log2 + STAGES * SIDE;
    if (threadIdx.x == 0) {
        tr_bar_init(&bar.own, 1);
        for (int i = 0; i < STAGES; i++) {
            tr_bar_init(&bar.full[i], 1);
            tr_bar_init(&bar.empty[i], GROUPS);
        }
        tr_bar_ready();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        tr_regs_less<32>();                     /* 128 x 32 + 256 x 240: all that there are */
        if (threadIdx.x == 0) fetch<KEYS>(a, m, bar, at);
    } else {
        tr_regs_more<240>();
        compute<T, KEYS>(a, bar, at);
    }
#endif
}

/* ---- host ------------------------------------------------------------------------------------------------ */
template <typename T, bool KEYS> static tress_status launch(tr_cuda *c, const operands &a, const maps &m, int64_t n_b)
{
    tress_status st = TRESS_OK;
    const dim3 grid((unsigned)((a.n_own + OWN - 1) / OWN), (unsigned)a.n_head, (unsigned)n_b);
    TR_TRY(tr_cuda_check(cudaFuncSetAttribute(back_sm90_kernel<T, KEYS>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED), "asking for shared memory"));
    back_sm90_kernel<T, KEYS><<<grid, (GROUPS + 1) * 128, SHARED, c->stream>>>(a, m);
    TR_TRY(tr_cuda_launched("attention_back"));
done:
    return st;
}

template <typename T> static tress_status launch_side(tr_cuda *c, const operands &a, const maps &m, int64_t n_b, bool keys)
{
    return keys ? launch<T, true>(c, a, m, n_b) : launch<T, false>(c, a, m, n_b);
}

/* The card is a Hopper, the kernel was compiled for it, and there is work for most of the card; else its smaller blocks and splits serve better. */
bool tr_cuda_attention_back_sm90_takes(const tr_cuda *c, const tr_attention_back_args *a, bool keys)
{
    const tr_tensor own = keys ? a->k : a->q, other = keys ? a->q : a->k;
    if (c->major != 9 || c->minor != 0 || own.shape[3] > 64 || !tr_cuda_attention_back_mma_takes(c, a)) return false;
    if (2 * ((own.shape[1] + OWN - 1) / OWN * own.shape[2] * own.shape[0]) < c->n_sm || other.shape[1] < OTHER / 2) return false;
    return a->q.dtype == TR_F16 ? tr_is_compiled(back_sm90_kernel<__half, true>) : tr_is_compiled(back_sm90_kernel<__nv_bfloat16, true>);
}

tress_status tr_cuda_attention_back_sm90(tr_cuda *c, const tr_attention_back_args *a, tr_back_rows r, bool keys)
{
    tress_status st = TRESS_OK;
    maps m;
    tr_tma_encode encode = nullptr;
    const tr_tensor own = keys ? a->k : a->q, own_2 = keys ? a->v : a->d_o, other = keys ? a->q : a->k, other_2 = keys ? a->d_o : a->v;
    const operands p = { .out = tr_heads_of(keys ? a->dk : a->dq), .out_2 = tr_heads_of(a->dv), .delta = r.delta, .log2 = r.log2,
                         .key_logw = (const float *)a->key_logw.data, .n_q_pad = r.n_pad, .n_own = (int)own.shape[1], .n_other = (int)other.shape[1],
                         .n_head = (int)own.shape[2], .d = (int)own.shape[3], .scale = a->scale, .scale2 = a->scale * TR_LOG2E,
                         .add = keys ? a->add_kv : a->add_q };
    TR_TRY(tr_tma_find(&encode));
    TR_TRY(tr_tma_map(&m.own, encode, own, OWN));
    TR_TRY(tr_tma_map(&m.own_2, encode, own_2, OWN));
    TR_TRY(tr_tma_map(&m.other, encode, other, OTHER));
    TR_TRY(tr_tma_map(&m.other_2, encode, other_2, OTHER));
    TR_TRY(a->q.dtype == TR_F16 ? launch_side<__half>(c, p, m, own.shape[0], keys) : launch_side<__nv_bfloat16>(c, p, m, own.shape[0], keys));
done:
    return st;
}
