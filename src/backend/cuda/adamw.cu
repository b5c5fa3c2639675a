/* AdamW, with moments in F32 and of 8 bits. Bound by memory: 28 bytes for an element, or 14, where some 25 or 70 instructions take
 * less; 40 M parameters are 1.1 GB, 0.34 ms of an H100's 3.35 TB/s, or 0.17 ms. */
#include "backend/cuda/cuda.h"

#include <math.h>

/* The factors of a step, formed in double and rounded once. */
struct factors { float grad, decay, rate1, beta1, beta2, rate2, step, root2, eps; };

static factors factors_of(const tr_adamw_args *a)
{
    const double t = (double)a->step;
    factors f;
    f.grad = a->grad_scale;
    f.eps = (float)a->eps;
    f.decay = (float)(a->lr * a->weight_decay);
    f.step = (float)(a->lr / (1 - pow(a->beta1, t)));
    f.beta1 = (float)a->beta1;
    f.rate1 = (float)(1 - a->beta1);
    f.beta2 = (float)a->beta2;
    f.rate2 = (float)(1 - a->beta2);
    f.root2 = (float)sqrt(1 - pow(a->beta2, t));
    return f;
}

__device__ static inline void step_of(float &p, float &m, float &v, float g, const factors &k)
{
    const float gi = k.grad * g, away = gi - m;
    m = k.rate1 < 0.5f ? m + k.rate1 * away : gi - k.beta1 * away;            /* torch.lerp starts from the nearer end */
    v = k.beta2 * v + k.rate2 * gi * gi;
    p -= k.step * m / (sqrtf(v) / k.root2 + k.eps) + k.decay * p;
}

static tress_status too_long(const char *op, int64_t n)
{
    return tr_fail(TRESS_E_SHAPE, "CUDA, %s: found %lld parameters, expected at most %lld", op, (long long)n, (long long)INT32_MAX * 256);
}

static __global__ void __launch_bounds__(256) adamw_kernel(float *p, float *m, float *v, const float *g, int64_t n, const factors k)
{
    const int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    float pi = p[i], mi = m[i], vi = v[i];
    step_of(pi, mi, vi, g[i], k);
    p[i] = pi, m[i] = mi, v[i] = vi;
}

tress_status tr_cuda_adamw(tr_stream *s, tr_tensor p, tr_tensor m, tr_tensor v, tr_tensor g, const tr_adamw_args *a)
{
    const int64_t n = tr_count(p), n_block = (n + 255) / 256;
    if (n == 0) return TRESS_OK;
    if (n_block > INT32_MAX) return too_long("adamw", n);
    adamw_kernel<<<(unsigned)n_block, 256, 0, tr_cuda_of(s)->stream>>>((float *)p.data, (float *)m.data, (float *)v.data, (const float *)g.data, n, factors_of(a));
    return tr_cuda_launched("adamw");
}

/* ---- moments of 8 bits ------------------------------------------------------------------------------------- */
/* A table of 8-bit fractions, sorted, value[zero] = 0. Going up from 0 it is 8 runs of evenly spaced entries, each with twice
 * as many as the one before and the last 1 alone: magnitudes above over[l] belong to run l, which begins at first[l] as the
 * rank[l]-th entry above 0; per[l] entries to the unit; no entry beyond last[l]. */
#define RUNS 8
struct table8 {
    float value[256];
    float over[RUNS], first[RUNS], per[RUNS];
    int   rank[RUNS], last[RUNS];
    int   zero, least;                          /* the code of 0; the most entries below it */
};

/* The table of create_dynamic_map(is_signed, 7, 8): for l = 0..6 the middles of 2^l (signed) or 2^(l + 1) equal parts of
 * 0.1..1, times 10^(l - 6); with the other sign too if signed; 0; and 1. Here in float64, rounded once. */
static void fill(table8 *t, bool is_signed)
{
    double before = 0;                           /* the entry before the run */
    int rank = 1;
    t->zero = t->least = is_signed ? 127 : 0;
    t->value[t->zero] = 0;
    for (int l = 0; l < RUNS; l++) {
        const bool one = l == RUNS - 1;          /* the run that is 1 alone */
        const int n = one ? 1 : is_signed ? 1 << l : 2 << l;
        const double unit = one ? 1 : pow(10, l - 6), step = one ? 0 : unit * 0.9 / n, first = one ? 1 : unit * 0.1 + 0.5 * step;
        for (int j = 0; j < n; j++) {
            t->value[t->zero + rank + j] = (float)(first + j * step);
            if (is_signed && !one) t->value[t->zero - rank - j] = -(float)(first + j * step);
        }
        t->over[l] = l == 0 && !is_signed ? 0 : (float)((before + first) / 2);      /* a v above 0 never becomes 0 */
        t->first[l] = (float)first;
        t->per[l] = one ? 0 : (float)(1 / step);
        t->rank[l] = rank;
        t->last[l] = rank + n - 1;
        before = first + (n - 1) * step;
        rank += n;
    }
}

__device__ static inline uint8_t code_of(float x, float most, const table8 &t)
{
    const float share = fabsf(x) / (most > 0 ? most : 1), a = share <= 1 ? share : 1;      /* a NaN has some code, too */
    float first = 0, per = 0;
    int rank = 0, last = 0;
#pragma unroll
    for (int l = 0; l < RUNS; l++) {
        const bool in = a > t.over[l];
        first = in ? t.first[l] : first;
        per = in ? t.per[l] : per;
        rank = in ? t.rank[l] : rank;
        last = in ? t.last[l] : last;
    }
    const int near = rank + (int)((a - first) * per + 0.5f), r = near < last ? near : last;
    return (uint8_t)(x < 0 ? t.zero - (r < t.least ? r : t.least) : t.zero + r);
}

struct adamw8_args {
    float   *p, *m_scale, *v_scale;
    uint8_t *m, *v;
    const float *g;
    int64_t  n, n_block;
    factors  k;
    table8   table_m, table_v;
};

/* A block of threads is a block of moments, and then every gridDim-th. */
static __global__ void __launch_bounds__(TR_ADAMW8_BLOCK) adamw8_kernel(const __grid_constant__ adamw8_args a)
{
    __shared__ float value_m[256], value_v[256];
    __shared__ unsigned most[2][2][TR_ADAMW8_BLOCK / 32];     /* this turn's and the last one's; of m and v; of each warp */
    const int t = threadIdx.x;
    int turn = 0;
    value_m[t] = a.table_m.value[t];
    value_v[t] = a.table_v.value[t];
    __syncthreads();
    for (int64_t block = blockIdx.x; block < a.n_block; block += gridDim.x, turn ^= 1) {
        const int64_t i = block * TR_ADAMW8_BLOCK + t;
        const bool there = i < a.n;
        float m = 0, v = 0;
        if (there) {
            float p = a.p[i];
            m = value_m[a.m[i]] * a.m_scale[block];
            v = value_v[a.v[i]] * a.v_scale[block];
            step_of(p, m, v, a.g[i], a.k);
            a.p[i] = p;
        }
        /* Magnitudes in the order of their bits, NaN above all: the scale has it then. */
        unsigned top_m = __reduce_max_sync(0xffffffffu, __float_as_uint(m) & 0x7fffffffu), top_v = __reduce_max_sync(0xffffffffu, __float_as_uint(v) & 0x7fffffffu);
        if (t % 32 == 0) most[turn][0][t / 32] = top_m, most[turn][1][t / 32] = top_v;
        __syncthreads();                        /* all have read the scales */
        for (int w = 0; w < TR_ADAMW8_BLOCK / 32; w++) {
            top_m = max(top_m, most[turn][0][w]);
            top_v = max(top_v, most[turn][1][w]);
        }
        const float most_m = __uint_as_float(top_m), most_v = __uint_as_float(top_v);
        if (there) {
            a.m[i] = code_of(m, most_m, a.table_m);
            a.v[i] = code_of(v, most_v, a.table_v);
        }
        if (t == 0) a.m_scale[block] = most_m, a.v_scale[block] = most_v;
    }
}

tress_status tr_cuda_adamw8(tr_stream *s, tr_tensor p, tr_tensor m, tr_tensor v, tr_tensor m_scale, tr_tensor v_scale, tr_tensor g, const tr_adamw_args *a)
{
    tr_cuda *c = tr_cuda_of(s);
    const int64_t n_block = tr_count(m_scale), at_most = (int64_t)c->n_sm * 8;
    adamw8_args k;
    if (n_block == 0) return TRESS_OK;
    k.p = (float *)p.data, k.m_scale = (float *)m_scale.data, k.v_scale = (float *)v_scale.data;
    k.m = (uint8_t *)m.data, k.v = (uint8_t *)v.data;
    k.g = (const float *)g.data;
    k.n = tr_count(p), k.n_block = n_block;
    k.k = factors_of(a);
    fill(&k.table_m, true);                     /* made anew: a few hundred operations */
    fill(&k.table_v, false);
    adamw8_kernel<<<(unsigned)(n_block < at_most ? n_block : at_most), TR_ADAMW8_BLOCK, 0, c->stream>>>(k);
    return tr_cuda_launched("adamw8");
}
