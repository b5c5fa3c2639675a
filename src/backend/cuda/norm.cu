/* adaln, layer_norm, rms_norm: y = (x - mean) / sqrt(var + eps) a + b, a = 1 + scale or weight; rms_norm without mean and b. */
#include "backend/cuda/norm.h"

enum norm_kind { NORM_ADA, NORM_AFFINE, NORM_RMS };

/* y of one piece: v holds x - mean. */
template <norm_kind KIND> __device__ inline void norm_piece(float (&v)[8], float r, const float (&a)[8], const float (&b)[8])
{
#pragma unroll
    for (int j = 0; j < 8; j++) {
        if (KIND == NORM_RMS) v[j] = v[j] * r * a[j];
        else v[j] = v[j] * r * (KIND == NORM_ADA ? 1.0f + a[j] : a[j]) + b[j];
    }
}

/* The second half of a held row: y from x - mean and weights of type WEIGHT. */
template <norm_kind KIND, int TYPE, int WEIGHT, int P, int L, int N>
__device__ inline void norm_finish(const tr_each<N> &e, const int64_t (&at)[N], int len, float (&v)[P][8], float r)
{
#pragma unroll
    for (int p = 0; p < P; p++) {
        const int j0 = (threadIdx.x % L + p * L) * 8;
        float a[8], b[8] = {};
        if (j0 >= len) continue;
        tr_eight_float<WEIGHT>(a, tr_eight_fixed<WEIGHT>(e.v[2].data, at[2] + j0));
        if (KIND != NORM_RMS) tr_eight_float<WEIGHT>(b, tr_eight_fixed<WEIGHT>(e.v[N - 1].data, at[N - 1] + j0));
        norm_piece<KIND>(v[p], r, a, b);
        tr_eight_put<TYPE>(e.v[0].data, at[0] + j0, v[p]);
    }
}

/* y, x, scale, shift - or weight, bias - or weight. Bytes: x and y once, the others from the cache. At 16 bits and 8192 x 2432
 * that is 80 MB, 24 us of an H100's 3.35 TB/s; 8192 x 38 heads of 64 the same. Sums of lanes are double, but for the short rows of
 * 16-bit heads, where the adding would take as long as the row. */
template <norm_kind KIND, int TYPE, int P, int L, int N>
__global__ void __launch_bounds__(TR_NORM_THREADS, P > 10 ? 2 : P > 4 ? (KIND == NORM_AFFINE ? 3 : 4) : 8) norm_held_kernel(const __grid_constant__ tr_each<N> e, double per, float eps)
{
    using sum_of = std::conditional_t<TYPE != TR_F32 && KIND == NORM_RMS && L <= 16, float, double>;
    int64_t at[N];
    const int len = (int)tr_norm_row<L>(at, e);
    float v[P][8];
    {
        tr_eight<TYPE> x[P];
#pragma unroll
        for (int p = 0; p < P; p++) {
            const int j0 = (threadIdx.x % L + p * L) * 8;
            x[p] = {};
            if (j0 < len) x[p] = tr_eight_get<TYPE>(e.v[1].data, at[1] + j0);
        }
        tr_norm_mean mean = {};
        if (KIND != NORM_RMS) mean = tr_norm_mean_held<TYPE, L>(x, per);
#pragma unroll
        for (int p = 0; p < P; p++) {
            if (KIND == NORM_RMS) tr_eight_float<TYPE>(v[p], x[p]);
            else tr_norm_center<TYPE>(v[p], x[p], mean);
        }
    }
    sum_of sum = 0;
#pragma unroll
    for (int p = 0; p < P; p++) {
        float squares = 0;
#pragma unroll
        for (int j = 0; j < 8; j++) squares = fmaf(v[p][j], v[p][j], squares);
        if ((int)(threadIdx.x % L + p * L) * 8 < len) sum += (sum_of)squares;
    }
    const float r = (float)tr_norm_rsqrt((double)tr_norm_join<L>(sum) * per + (double)eps);
    if (KIND == NORM_ADA || e.v[2].dtype == TYPE) norm_finish<KIND, TYPE, TYPE, P, L>(e, at, len, v, r);
    else if (e.v[2].dtype == TR_F32) norm_finish<KIND, TYPE, TR_F32, P, L>(e, at, len, v, r);
    else if (e.v[2].dtype == TR_F16) norm_finish<KIND, TYPE, TR_F16, P, L>(e, at, len, v, r);
    else if (e.v[2].dtype == TR_BF16) norm_finish<KIND, TYPE, TR_BF16, P, L>(e, at, len, v, r);
    else norm_finish<KIND, TYPE, TR_F8_E4M3, P, L>(e, at, len, v, r);
}

/* The same of any operands: x moves up to three times, twice from the cache. A thread reads and writes its own elements alone,
 * so that y may be x. */
template <norm_kind KIND, int N> __global__ void __launch_bounds__(TR_NORM_THREADS) norm_any_kernel(const __grid_constant__ tr_each<N> e, double per, float eps)
{
    int64_t at[N];
    const int64_t len = tr_norm_row<32>(at, e);
    const int lane = threadIdx.x % 32;
    double mean = 0, sum = 0;
    if (KIND != NORM_RMS) {
        for (int64_t j = lane; j < len; j += 32) mean += (double)tr_get_odd(e.v[1], at[1] + j);
        mean = tr_norm_join<32>(mean) * per;
    }
    for (int64_t j = lane; j < len; j += 32) {
        const double x = (double)tr_get_odd(e.v[1], at[1] + j) - mean;
        sum += x * x;
    }
    const float r = (float)tr_norm_rsqrt(tr_norm_join<32>(sum) * per + (double)eps);
    for (int64_t j = lane; j < len; j += 32) {
        const float x = (float)((double)tr_get_odd(e.v[1], at[1] + j) - mean), a = tr_get_odd(e.v[2], at[2] + j);
        if (KIND == NORM_RMS) tr_put(e.v[0], at[0] + j, x * r * a);
        else tr_put(e.v[0], at[0] + j, x * r * (KIND == NORM_ADA ? 1.0f + a : a) + tr_get_odd(e.v[N - 1], at[N - 1] + j));
    }
}

template <norm_kind KIND, int N> static tress_status run(tr_stream *s, const tr_each<N> &e, float eps, const char *op)
{
    tress_status st = TRESS_OK;
    const cudaStream_t stream = tr_cuda_of(s)->stream;
    const double per = 1 / (double)e.d;
    constexpr int p_max = KIND == NORM_AFFINE ? 10 : 16;    /* longer rows with weight and bias of any type would spill */
    if (e.n_row == 0) return TRESS_OK;
    TR_TRY(tr_norm_fits(e.n_row, op));
    if (tr_norm_held(e, KIND == NORM_ADA ? N : 2, p_max * 256))
        tr_norm_pick<p_max>(e.v[0].dtype, e.n_piece, [&](auto type, auto p, auto l) {
            norm_held_kernel<KIND, type(), p(), l(), N><<<tr_norm_blocks(e.n_row, l()), TR_NORM_THREADS, 0, stream>>>(e, per, eps);
        });
    else
        norm_any_kernel<KIND, N><<<tr_norm_blocks(e.n_row, 32), TR_NORM_THREADS, 0, stream>>>(e, per, eps);
    TR_TRY(tr_cuda_launched(op));
done:
    return st;
}

tress_status tr_cuda_adaln(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor scale, tr_tensor shift, float eps)
{
    const int64_t g = scale.shape[0], n = x.shape[0];
    return run<NORM_ADA>(s, tr_each_of<4>({ tr_in_groups(y, g), tr_in_groups(x, g), tr_for_groups(scale, n), tr_for_groups(shift, n) }, true), eps, "adaln");
}

tress_status tr_cuda_layer_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor weight, tr_tensor bias, float eps)
{
    return run<NORM_AFFINE>(s, tr_each_of<4>({ y, x, tr_under(weight, x), tr_under(bias, x) }, true), eps, "layer_norm");
}

tress_status tr_cuda_rms_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor weight, float eps)
{
    return run<NORM_RMS>(s, tr_each_of<3>({ y, x, tr_under(weight, x) }, true), eps, "rms_norm");
}
