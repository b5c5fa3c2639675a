/* Backward of adaln and rms_norm. */
#include "backend/cuda/norm.h"

#define P_MAX 10
#define D_MAX (P_MAX * 256)                   /* of held rows: x and dy of P_MAX pieces a lane fit the registers */

/* g = dy (1 + scale) of one piece. */
template <int TYPE> __device__ inline void ada_g(float (&g)[8], const tr_eight<TYPE> &dy, const tr_view_of &scale, int64_t at)
{
    float a[8];
    tr_eight_float<TYPE>(g, dy);
    tr_eight_float<TYPE>(a, tr_eight_fixed<TYPE>(scale.data, at));
#pragma unroll
    for (int j = 0; j < 8; j++) g[j] *= 1.0f + a[j];
}

/* dx = residual + r (g - mean(g) - xhat mean(g xhat)), xhat = (x - mean) r. Operands dx, dy, x, scale, residual; dx may be dy, x or
 * the residual. Bytes: dx, dy, x and residual once, scale twice from the cache. At 16 bits and 8192 x 2432 with a residual that is
 * 160 MB, 48 us of an H100's 3.35 TB/s. */
template <int TYPE, int P, int L> __global__ void __launch_bounds__(TR_NORM_THREADS, P > 8 && TYPE == TR_F32 ? 2 : 3)
adaln_back_held_kernel(const __grid_constant__ tr_each<5> e, double per, float eps, bool add)
{
    constexpr int ahead = TYPE == TR_F32 ? 1 : (P + 1) / 2;     /* pieces of the residual loaded at once: what registers are left for */
    int64_t at[5];
    const int len = (int)tr_norm_row<L>(at, e);
    tr_eight<TYPE> x[P], dy[P], rest[ahead];
#pragma unroll
    for (int p = 0; p < P; p++) {
        const int j0 = (threadIdx.x % L + p * L) * 8;
        x[p] = dy[p] = {};
        if (j0 >= len) continue;
        x[p] = tr_eight_get<TYPE>(e.v[2].data, at[2] + j0);
        dy[p] = tr_eight_get<TYPE>(e.v[1].data, at[1] + j0);
    }
    const tr_norm_mean mean = tr_norm_mean_held<TYPE, L>(x, per);
    tr_eight_again<TYPE>(x);
    double squares = 0, sum_g = 0, sum_gx = 0;
#pragma unroll
    for (int p = 0; p < P; p++) {
        const int j0 = (threadIdx.x % L + p * L) * 8;
        float v[8], g[8], part[3] = { 0, 0, 0 };
        if (j0 >= len) continue;
        tr_norm_center<TYPE>(v, x[p], mean);
        ada_g<TYPE>(g, dy[p], e.v[3], at[3] + j0);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            part[0] = fmaf(v[j], v[j], part[0]);
            part[1] += g[j];
            part[2] = fmaf(g[j], v[j], part[2]);
        }
        squares += (double)part[0];
        sum_g += (double)part[1];
        sum_gx += (double)part[2];
    }
    const double r = tr_norm_rsqrt(tr_norm_join<L>(squares) * per + (double)eps);
    const float rf = (float)r, mean_g = (float)(tr_norm_join<L>(sum_g) * per), slope = (float)(r * r * (tr_norm_join<L>(sum_gx) * per));
    tr_eight_again<TYPE>(x);
    tr_eight_again<TYPE>(dy);
#pragma unroll
    for (int p = 0; p < P; p++) {
        const int j0 = (threadIdx.x % L + p * L) * 8;
        float v[8], g[8], add_to[8];
        if (p % ahead == 0)
#pragma unroll
            for (int q = 0; q < ahead; q++) {
                rest[q] = {};
                if (add && p + q < P && j0 + q * L * 8 < len) rest[q] = tr_eight_get<TYPE>(e.v[4].data, at[4] + j0 + q * L * 8);
            }
        if (j0 >= len) continue;
        tr_eight_float<TYPE>(add_to, rest[p % ahead]);
        tr_norm_center<TYPE>(v, x[p], mean);
        ada_g<TYPE>(g, dy[p], e.v[3], at[3] + j0);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = add_to[j] + rf * (g[j] - mean_g - v[j] * slope);
        tr_eight_put<TYPE>(e.v[0].data, at[0] + j0, v);
    }
}

/* The same of any operands: x and dy move up to three times, twice from the cache. A thread reads and writes its own elements
 * alone. */
static __global__ void __launch_bounds__(TR_NORM_THREADS) adaln_back_any_kernel(const __grid_constant__ tr_each<5> e, double per, float eps, bool add)
{
    int64_t at[5];
    const int64_t len = tr_norm_row<32>(at, e);
    const int lane = threadIdx.x % 32;
    double mean = 0, squares = 0, sum_g = 0, sum_gx = 0;
    for (int64_t j = lane; j < len; j += 32) mean += (double)tr_get_odd(e.v[2], at[2] + j);
    mean = tr_norm_join<32>(mean) * per;
    for (int64_t j = lane; j < len; j += 32) {
        const double x = (double)tr_get_odd(e.v[2], at[2] + j) - mean;
        const double g = (double)tr_get_odd(e.v[1], at[1] + j) * (1 + (double)tr_get_odd(e.v[3], at[3] + j));
        squares += x * x;
        sum_g += g;
        sum_gx += g * x;
    }
    const double r = tr_norm_rsqrt(tr_norm_join<32>(squares) * per + (double)eps);
    const float rf = (float)r, mean_g = (float)(tr_norm_join<32>(sum_g) * per), slope = (float)(r * r * (tr_norm_join<32>(sum_gx) * per));
    for (int64_t j = lane; j < len; j += 32) {
        const float x = (float)((double)tr_get_odd(e.v[2], at[2] + j) - mean);
        const float g = tr_get_odd(e.v[1], at[1] + j) * (1.0f + tr_get_odd(e.v[3], at[3] + j));
        const float add_to = add ? tr_get_odd(e.v[4], at[4] + j) : 0.0f;
        tr_put(e.v[0], at[0] + j, add_to + rf * (g - mean_g - x * slope));
    }
}

tress_status tr_cuda_adaln_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_tensor scale, tr_tensor residual, float eps)
{
    tress_status st = TRESS_OK;
    const cudaStream_t stream = tr_cuda_of(s)->stream;
    const int64_t g = scale.shape[0];
    const bool add = !tr_is_none(residual);
    const tr_each<5> e = tr_each_of<5>({ tr_in_groups(dx, g), tr_in_groups(dy, g), tr_in_groups(x, g), tr_for_groups(scale, x.shape[0]),
                                         tr_in_groups(add ? residual : dx, g) }, true);
    const double per = 1 / (double)e.d;
    if (e.n_row == 0) return TRESS_OK;
    TR_TRY(tr_norm_fits(e.n_row, "adaln_back"));
    if (tr_norm_held(e, 5, D_MAX))
        tr_norm_pick<P_MAX>(e.v[0].dtype, e.n_piece, [&](auto type, auto p, auto l) {
            adaln_back_held_kernel<type(), p(), l()><<<tr_norm_blocks(e.n_row, l()), TR_NORM_THREADS, 0, stream>>>(e, per, eps, add);
        });
    else
        adaln_back_any_kernel<<<tr_norm_blocks(e.n_row, 32), TR_NORM_THREADS, 0, stream>>>(e, per, eps, add);
    TR_TRY(tr_cuda_launched("adaln_back"));
done:
    return st;
}

/* g = dy weight of one piece. */
template <int TYPE, int WEIGHT> __device__ inline void rms_g(float (&g)[8], const tr_eight<TYPE> &dy, const tr_view_of &weight, int64_t at)
{
    float w[8];
    tr_eight_float<TYPE>(g, dy);
    tr_eight_float<WEIGHT>(w, tr_eight_fixed<WEIGHT>(weight.data, at));
#pragma unroll
    for (int j = 0; j < 8; j++) g[j] *= w[j];
}

/* All of a held row that meets its weights. */
template <int TYPE, int WEIGHT, int P, int L>
__device__ inline void rms_finish(const tr_each<4> &e, const int64_t (&at)[4], int len, tr_eight<TYPE> (&x)[P], tr_eight<TYPE> (&dy)[P], double per, float eps)
{
    double squares = 0, sum_gx = 0;
#pragma unroll
    for (int p = 0; p < P; p++) {
        const int j0 = (threadIdx.x % L + p * L) * 8;
        float v[8], g[8], part[2] = { 0, 0 };
        if (j0 >= len) continue;
        tr_eight_float<TYPE>(v, x[p]);
        rms_g<TYPE, WEIGHT>(g, dy[p], e.v[3], at[3] + j0);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            part[0] = fmaf(v[j], v[j], part[0]);
            part[1] = fmaf(g[j], v[j], part[1]);
        }
        squares += (double)part[0];
        sum_gx += (double)part[1];
    }
    const double r = tr_norm_rsqrt(tr_norm_join<L>(squares) * per + (double)eps);
    const float rf = (float)r, slope = (float)(r * r * (tr_norm_join<L>(sum_gx) * per));
    tr_eight_again<TYPE>(x);
    tr_eight_again<TYPE>(dy);
#pragma unroll
    for (int p = 0; p < P; p++) {
        const int j0 = (threadIdx.x % L + p * L) * 8;
        float v[8], g[8];
        if (j0 >= len) continue;
        tr_eight_float<TYPE>(v, x[p]);
        rms_g<TYPE, WEIGHT>(g, dy[p], e.v[3], at[3] + j0);
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] = rf * (g[j] - v[j] * slope);
        tr_eight_put<TYPE>(e.v[0].data, at[0] + j0, v);
    }
}

/* dx = r (g - x r^2 mean(g x)), r = 1 / sqrt(mean(x^2) + eps). Operands dx, dy, x, weight; dx may be dy or x. Bytes: dx, dy and x
 * once, the weights from the cache. At 16 bits and 8192 x 38 heads of 64 that is 120 MB, 36 us of an H100's 3.35 TB/s. */
template <int TYPE, int P, int L> __global__ void __launch_bounds__(TR_NORM_THREADS)
rms_norm_back_held_kernel(const __grid_constant__ tr_each<4> e, double per, float eps)
{
    int64_t at[4];
    const int len = (int)tr_norm_row<L>(at, e);
    tr_eight<TYPE> x[P], dy[P];
#pragma unroll
    for (int p = 0; p < P; p++) {
        const int j0 = (threadIdx.x % L + p * L) * 8;
        x[p] = dy[p] = {};
        if (j0 >= len) continue;
        x[p] = tr_eight_get<TYPE>(e.v[2].data, at[2] + j0);
        dy[p] = tr_eight_get<TYPE>(e.v[1].data, at[1] + j0);
    }
    if (e.v[3].dtype == TYPE) rms_finish<TYPE, TYPE, P, L>(e, at, len, x, dy, per, eps);
    else if (TYPE != TR_F32 && e.v[3].dtype == TR_F32) rms_finish<TYPE, TR_F32, P, L>(e, at, len, x, dy, per, eps);
    else if (TYPE != TR_F16 && e.v[3].dtype == TR_F16) rms_finish<TYPE, TR_F16, P, L>(e, at, len, x, dy, per, eps);
    else if (TYPE != TR_BF16 && e.v[3].dtype == TR_BF16) rms_finish<TYPE, TR_BF16, P, L>(e, at, len, x, dy, per, eps);
    else rms_finish<TYPE, TR_F8_E4M3, P, L>(e, at, len, x, dy, per, eps);
}

/* The same of any operands: x and dy move up to twice, once from the cache. */
static __global__ void __launch_bounds__(TR_NORM_THREADS) rms_norm_back_any_kernel(const __grid_constant__ tr_each<4> e, double per, float eps)
{
    int64_t at[4];
    const int64_t len = tr_norm_row<32>(at, e);
    const int lane = threadIdx.x % 32;
    double squares = 0, sum_gx = 0;
    for (int64_t j = lane; j < len; j += 32) {
        const double x = (double)tr_get_odd(e.v[2], at[2] + j);
        squares += x * x;
        sum_gx += (double)tr_get_odd(e.v[1], at[1] + j) * (double)tr_get_odd(e.v[3], at[3] + j) * x;
    }
    const double r = tr_norm_rsqrt(tr_norm_join<32>(squares) * per + (double)eps);
    const float rf = (float)r, slope = (float)(r * r * (tr_norm_join<32>(sum_gx) * per));
    for (int64_t j = lane; j < len; j += 32) {
        const float x = tr_get_odd(e.v[2], at[2] + j), g = tr_get_odd(e.v[1], at[1] + j) * tr_get_odd(e.v[3], at[3] + j);
        tr_put(e.v[0], at[0] + j, rf * (g - x * slope));
    }
}

tress_status tr_cuda_rms_norm_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_tensor weight, float eps)
{
    tress_status st = TRESS_OK;
    const cudaStream_t stream = tr_cuda_of(s)->stream;
    const tr_each<4> e = tr_each_of<4>({ dx, dy, x, tr_under(weight, x) }, true);
    const double per = 1 / (double)e.d;
    if (e.n_row == 0) return TRESS_OK;
    TR_TRY(tr_norm_fits(e.n_row, "rms_norm_back"));
    if (tr_norm_held(e, 3, D_MAX))
        tr_norm_pick<P_MAX>(e.v[0].dtype, e.n_piece, [&](auto type, auto p, auto l) {
            rms_norm_back_held_kernel<type(), p(), l()><<<tr_norm_blocks(e.n_row, l()), TR_NORM_THREADS, 0, stream>>>(e, per, eps);
        });
    else
        rms_norm_back_any_kernel<<<tr_norm_blocks(e.n_row, 32), TR_NORM_THREADS, 0, stream>>>(e, per, eps);
    TR_TRY(tr_cuda_launched("rms_norm_back"));
done:
    return st;
}
