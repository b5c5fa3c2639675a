/* Group norm of images, channels last: statistics of each image row and group, then y = act(x a + b) per channel. Bound by memory:
 * at 16 bits [1, 1024, 1024, 128] is 268 MB, 80 us of an H100's 3.35 TB/s for the statistics and 160 us for the rest. */
#include "backend/cuda/each.h"

#include <math.h>

/* ---- statistics ------------------------------------------------------------------------------------------ */
/* stats are float64 and good to nearly all of it: float64 sums about a first value, which every thread takes from its own. That is
 * a conversion and three operations for an element, 65 us of an H100 beside the 80 us. */
#define THREADS 512
#define AHEAD 4                                 /* loads under way for a thread */

struct stats_args {
    tr_view_of x;
    double  *stats;
    int64_t  x_step[2], stats_step[2];          /* between images and image rows */
    int64_t  h;
    int      w, c, per, n_group, groups;        /* channels of a group; groups for a block */
    bool     by_v;
};

template <int V> __device__ static inline void get_v(float (&v)[V], tr_view_of x, int64_t i, bool by_v)
{
    if (V == 4 && by_v && x.dtype == TR_F32) {
        const float4 f = *(const float4 *)((const float *)x.data + i);
        v[0] = f.x, v[1 % V] = f.y, v[2 % V] = f.z, v[3 % V] = f.w;
    } else if (V == 4 && by_v) {
        const uint2 u = *(const uint2 *)((const __half *)x.data + i);
        const uint32_t part[2] = { u.x, u.y };
        for (int k = 0; k < 2; k++) {
            float2 f;
            if (x.dtype == TR_F16) f = __half22float2(*(const __half2 *)&part[k]);
            else f = __bfloat1622float2(*(const __nv_bfloat162 *)&part[k]);
            v[2 * k % V] = f.x, v[(2 * k + 1) % V] = f.y;
        }
    } else {
        for (int k = 0; k < V; k++) v[k] = tr_get(x, i + k);
    }
}

/* A block takes one image row and some groups. Its threads go through pixels times columns, a column being V channels of a group;
 * where the columns fit, each thread stays in one. Then the threads of a group are combined, in order, by the group's own thread
 * (Chan, Golub and LeVeque 1979). */
template <int V> __global__ void __launch_bounds__(THREADS) stats_kernel(const stats_args k)
{
    __shared__ double mean_of[THREADS], squares_of[THREADS];
    __shared__ int n_of[THREADS];
    const int t = threadIdx.x, first = blockIdx.y * k.groups, n = min(k.groups, k.n_group - first);
    const int of_group = k.per / V, n_col = n * of_group;                      /* columns of a group and of the block */
    const int step = n_col <= THREADS ? THREADS / n_col * n_col : THREADS, step_p = step / n_col, step_col = step % n_col;
    const int64_t image = blockIdx.x / k.h, row = blockIdx.x - image * k.h;
    const int64_t base = image * k.x_step[0] + row * k.x_step[1] + (int64_t)first * k.per;
    int p = t / n_col, col = t % n_col, count = 0;
    double shift = 0, sum = 0, squares = 0;
    if (t >= step) p = k.w;
    while (p < k.w) {
        float v[AHEAD][V];
        bool there[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            there[a] = p < k.w;
            if (there[a]) get_v<V>(v[a], k.x, base + (int64_t)p * k.c + col * V, k.by_v);
            p += step_p;
            col += step_col;
            if (col >= n_col) col -= n_col, p++;
        }
        if (count == 0) shift = (double)v[0][0];
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            if (!there[a]) continue;
#pragma unroll
            for (int j = 0; j < V; j++) {
                const double d = (double)v[a][j] - shift;
                sum += d;
                squares = fma(d, d, squares);
            }
            count += V;
        }
    }
    n_of[t] = count;
    mean_of[t] = count ? shift + sum / count : 0;
    squares_of[t] = count ? squares - sum * (sum / count) : 0;
    __syncthreads();
    if (t >= n) return;
    const int width = n_col <= THREADS ? of_group : THREADS, high = n_col <= THREADS ? step / n_col : 1;
    double all = 0, mean = 0, total = 0;
    for (int q = 0; q < high; q++)
        for (int i = 0; i < width; i++) {
            const int at = q * n_col + t * of_group + i;
            all += n_of[at];
            mean += n_of[at] * mean_of[at];
        }
    mean /= all;
    for (int q = 0; q < high; q++)
        for (int i = 0; i < width; i++) {
            const int at = q * n_col + t * of_group + i;
            const double d = mean_of[at] - mean;
            total += squares_of[at] + n_of[at] * d * d;
        }
    double *out = k.stats + image * k.stats_step[0] + row * k.stats_step[1] + 2 * (first + t);
    out[0] = mean;
    out[1] = total;
}

tress_status tr_cuda_group_stats(tr_stream *s, tr_tensor stats, tr_tensor x)
{
    const int64_t n_row = x.shape[0] * x.shape[1], w = x.shape[2], c = x.shape[3], n_group = stats.shape[2], per = n_group ? c / n_group : 0;
    const int v = per % 4 == 0 ? 4 : 1;
    if (n_row * w * c == 0) return TRESS_OK;
    if (n_row > INT32_MAX || w > INT32_MAX / 8 || c > INT32_MAX / 8)
        return tr_fail(TRESS_E_SHAPE, "CUDA, group_stats: found %lld image rows of %lld pixels and %lld channels, expected less than 2^31, 2^28 and 2^28", (long long)n_row,
                       (long long)w, (long long)c);
    const size_t step = (size_t)v * tr_dtype_size(x.dtype);
    stats_args k = { tr_of(x), (double *)stats.data, { x.stride[0], x.stride[1] }, { stats.stride[0], stats.stride[1] },
                     x.shape[1], (int)w, (int)c, (int)per, (int)n_group, 0, false };
    k.groups = per / v > THREADS ? 1 : (int)(THREADS / (per / v));
    if (k.groups > n_group) k.groups = (int)n_group;
    k.by_v = (uintptr_t)x.data % step == 0 && (x.shape[0] == 1 || x.stride[0] % v == 0) && (x.shape[1] == 1 || x.stride[1] % v == 0);
    const dim3 grid((unsigned)n_row, (unsigned)((n_group + k.groups - 1) / k.groups));
    if (grid.y > 65535) return tr_fail(TRESS_E_SHAPE, "CUDA, group_stats: found %lld groups, too many", (long long)n_group);
    if (v == 4) stats_kernel<4><<<grid, THREADS, 0, tr_cuda_of(s)->stream>>>(k);
    else stats_kernel<1><<<grid, THREADS, 0, tr_cuda_of(s)->stream>>>(k);
    return tr_cuda_launched("group_stats");
}

/* ---- the norm -------------------------------------------------------------------------------------------- */
struct factor_args {
    const double *stats;
    int64_t    step[2], n_row;                  /* between images and rows of stats */
    double     n_row_value;                     /* values of a group in an image row */
    double     eps;
    tr_view_of weight, bias;
    float     *a, *b;                           /* [images, c] each */
    int        c, per;
};

/* a = weight / std, b = bias - mean weight / std for the channels of a group of an image; a block each. All rows of an image count
 * the same number of values. */
static __global__ void __launch_bounds__(256) factors_kernel(const factor_args k)
{
    __shared__ double room[33];
    const int64_t g = blockIdx.x, image = blockIdx.y;
    const double *stats = k.stats + image * k.step[0] + 2 * g;
    double mean = 0, squares = 0;
    for (int64_t r = threadIdx.x; r < k.n_row; r += 256) mean += stats[r * k.step[1]];
    mean = tr_block_sum(mean, room) / (double)k.n_row;
    for (int64_t r = threadIdx.x; r < k.n_row; r += 256) {
        const double d = stats[r * k.step[1]] - mean;
        squares += stats[r * k.step[1] + 1] + k.n_row_value * d * d;
    }
    squares = tr_block_sum(squares, room);
    const double rstd = 1 / sqrt(squares / ((double)k.n_row * k.n_row_value) + k.eps);
    for (int i = threadIdx.x; i < k.per; i += 256) {
        const int64_t ch = g * k.per + i;
        const double w = (double)tr_get_odd(k.weight, ch);
        k.a[image * k.c + ch] = (float)(w * rstd);
        k.b[image * k.c + ch] = (float)((double)tr_get_odd(k.bias, ch) - mean * rstd * w);
    }
}

template <int ACT> struct affine_f {
    const float *a, *b;                         /* [images, c] */
    int64_t c, image;                           /* values of an image */
    bool    whole;                              /* c is a multiple of 8 */

    __device__ void operator()(float (&y)[8], const float (&x)[1][8], int64_t i) const
    {
        const int64_t at = tr_div(i, image) * c;
        int64_t ch = i - tr_div(i, c) * c;
        float m[8], n[8];
        if (whole) {
            tr_get8(m, { (void *)a, TR_F32 }, at + ch);
            tr_get8(n, { (void *)b, TR_F32 }, at + ch);
        } else {
            for (int j = 0; j < 8; j++) {
                m[j] = a[at + ch], n[j] = b[at + ch];
                if (++ch == c) ch = 0;
            }
        }
        for (int j = 0; j < 8; j++) y[j] = tr_act_of(fmaf(x[0][j], m[j], n[j]), ACT);
    }
};

tress_status tr_cuda_group_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor stats, tr_tensor weight, tr_tensor bias, float eps, tr_act act)
{
    tress_status st = TRESS_OK;
    tr_cuda *cuda = tr_cuda_of(s);
    const int64_t images = x.shape[0], h = x.shape[1], w = x.shape[2], c = x.shape[3], n_group = stats.shape[2], image = h * w * c;
    void *room = nullptr;
    if (images * image == 0) return TRESS_OK;
    if (images > 65535 || c > INT32_MAX)
        return tr_fail(TRESS_E_SHAPE, "CUDA, group_norm: found %lld images of %lld channels, expected at most 65535 and 2^31 - 1", (long long)images, (long long)c);
    TR_TRY(tr_cuda_room(cuda, &room, (size_t)(2 * images * c) * sizeof(float)));
    {
        float *a = (float *)room, *b = a + images * c;
        const bool whole = c % 8 == 0;
        const factor_args k = { (const double *)stats.data, { stats.stride[0], stats.stride[1] }, stats.shape[1], (double)(w * (c / n_group)),
                                (double)eps, tr_of(weight), tr_of(bias), a, b, (int)c, (int)(c / n_group) };
        const tr_each<2> e = tr_each_of<2>({ tr_rank3(y, images, h, w * c, y.stride[0], y.stride[1]), tr_rank3(x, images, h, w * c, x.stride[0], x.stride[1]) }, false);
        factors_kernel<<<dim3((unsigned)n_group, (unsigned)images), 256, 0, cuda->stream>>>(k);
        TR_TRY(tr_cuda_launched("group_norm"));
        switch (act) {
        case TR_ACT_SILU:       TR_TRY(tr_each_run(s, e, affine_f<TR_ACT_SILU>{ a, b, c, image, whole }, "group_norm")); break;
        case TR_ACT_GELU_TANH:  TR_TRY(tr_each_run(s, e, affine_f<TR_ACT_GELU_TANH>{ a, b, c, image, whole }, "group_norm")); break;
        case TR_ACT_GELU_ERF:   TR_TRY(tr_each_run(s, e, affine_f<TR_ACT_GELU_ERF>{ a, b, c, image, whole }, "group_norm")); break;
        case TR_ACT_GELU_QUICK: TR_TRY(tr_each_run(s, e, affine_f<TR_ACT_GELU_QUICK>{ a, b, c, image, whole }, "group_norm")); break;
        default:                TR_TRY(tr_each_run(s, e, affine_f<TR_ACT_NONE>{ a, b, c, image, whole }, "group_norm")); break;
        }
    }
done:
    return st;
}
