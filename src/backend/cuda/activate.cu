/* Activations and their slopes. Bound by memory as elementwise.cu: about 12 instructions for an element forward and 25 backward,
 * where 4 and 6 bytes at 16 bits leave time for some 30 and 45 on an H100. */
#include "backend/cuda/each.h"

template <int ACT> struct act_f {
    __device__ void operator()(float (&y)[8], const float (&x)[1][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = tr_act_of(x[0][j], ACT);
    }
};

/* a and b of any rank, dense: one row. */
static tr_tensor flat(tr_tensor t, bool dense) { return dense ? tr_rank3(t, 1, 1, tr_count(t), 0, 0) : t; }

tress_status tr_cuda_activate(tr_stream *s, tr_tensor y, tr_tensor x, tr_act act)
{
    const bool dense = tr_is_contiguous(y) && tr_is_contiguous(x);
    const tr_each<2> e = tr_each_of<2>({ flat(y, dense), flat(x, dense) }, false);
    switch (act) {
    case TR_ACT_SILU:       return tr_each_run(s, e, act_f<TR_ACT_SILU>{}, "activate");
    case TR_ACT_GELU_TANH:  return tr_each_run(s, e, act_f<TR_ACT_GELU_TANH>{}, "activate");
    case TR_ACT_GELU_ERF:   return tr_each_run(s, e, act_f<TR_ACT_GELU_ERF>{}, "activate");
    case TR_ACT_GELU_QUICK: return tr_each_run(s, e, act_f<TR_ACT_GELU_QUICK>{}, "activate");
    default:                return tr_each_run(s, e, act_f<TR_ACT_NONE>{}, "activate");
    }
}

/* dy (s + s (1 - s) t) with s = sigmoid(k): the slope of x s(k(x)) for t = x k'(x). With q = 1 / (1 + e), e = exp(-|k|), it is
 * q (1 + q t e) above 0 and e q (1 + q t) below, where the last product ends gradually: e in two halves. */
__device__ static inline float sigmoid_slope(float dy, float k, float t)
{
    const float half = expf(-0.5f * fabsf(k)), e = half * half, q = __fdividef(1.0f, 1.0f + e);
    const bool below = k < 0;
    const float slope = q * (1.0f + q * t * (below ? 1.0f : e));
    return dy * (below ? half : 1.0f) * slope * (below ? half : 1.0f);
}

/* Beyond 200 every slope here has reached 0 or 1, and powers of x would overflow; a NaN stays. */
__device__ static inline float bounded(float x)
{
    const float v = x < -200.0f ? -200.0f : x;
    return v > 200.0f ? 200.0f : v;
}

#define GELU_K 1.5957691216057308f              /* 2 sqrt(2 / pi): 1 + tanh(u) = 2 sigmoid(2u) */

template <int ACT> __device__ static inline float slope_of(float dy, float x)
{
    const float v = bounded(x);
    if (ACT == TR_ACT_SILU) return sigmoid_slope(dy, v, v);
    if (ACT == TR_ACT_GELU_QUICK) return sigmoid_slope(dy, 1.702f * v, 1.702f * v);
    if (ACT == TR_ACT_GELU_TANH) {
        const float cube = 0.044715f * v * v * v;
        return sigmoid_slope(dy, GELU_K * (v + cube), GELU_K * (v + 3.0f * cube));
    }
    if (ACT == TR_ACT_GELU_ERF) {               /* Phi(x) + x phi(x) */
        const float half = expf(-0.25f * v * v);
        return dy * (0.5f * erfcf(-v * 0.70710678118654752440f) + 0.39894228040143267794f * v * half * half);
    }
    return dy;
}

template <int ACT> struct back_f {
    __device__ void operator()(float (&y)[8], const float (&x)[2][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = slope_of<ACT>(x[0][j], x[1][j]);
    }
};

tress_status tr_cuda_activate_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_act act)
{
    const tr_each<3> e = tr_each_of<3>({ dx, dy, x }, false);
    switch (act) {
    case TR_ACT_SILU:       return tr_each_run(s, e, back_f<TR_ACT_SILU>{}, "activate_back");
    case TR_ACT_GELU_TANH:  return tr_each_run(s, e, back_f<TR_ACT_GELU_TANH>{}, "activate_back");
    case TR_ACT_GELU_ERF:   return tr_each_run(s, e, back_f<TR_ACT_GELU_ERF>{}, "activate_back");
    case TR_ACT_GELU_QUICK: return tr_each_run(s, e, back_f<TR_ACT_GELU_QUICK>{}, "activate_back");
    default:                return tr_each_run(s, e, back_f<TR_ACT_NONE>{}, "activate_back");
    }
}
