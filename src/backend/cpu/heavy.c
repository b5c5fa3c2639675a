/* Rows of weights to float, activations and dot products in plain C. */
#include "backend/cpu/heavy.h"

#include <math.h>
#include <string.h>

void tr_weight_row(float *to, tr_tensor w, int64_t i, int64_t n)
{
    const char *p = (const char *)w.data + (size_t)i * tr_dtype_size(w.dtype);
    uint16_t h;
    switch (w.dtype) {
    case TR_F32:
        memcpy(to, p, (size_t)n * sizeof *to);
        return;
    case TR_F16:
        for (int64_t j = 0; j < n; j++) memcpy(&h, p + 2 * j, 2), to[j] = tr_f16_to_f32(h);
        return;
    case TR_BF16:
        for (int64_t j = 0; j < n; j++) memcpy(&h, p + 2 * j, 2), to[j] = tr_bf16_to_f32(h);
        return;
    default:
        TR_ASSERT(w.dtype == TR_F8_E4M3);
        for (int64_t j = 0; j < n; j++) to[j] = tr_f8e4m3_to_f32(((const uint8_t *)p)[j]);
    }
}

void tr_act_row(float *v, int64_t n, tr_act act)
{
    switch (act) {
    case TR_ACT_NONE:
        return;
    case TR_ACT_SILU:
        for (int64_t j = 0; j < n; j++) v[j] = v[j] / (1 + expf(-v[j]));
        return;
    case TR_ACT_GELU_TANH:                      /* 0.7978845608 = sqrt(2 / pi) */
        for (int64_t j = 0; j < n; j++)
            v[j] = 0.5f * v[j] * (1 + tanhf(0.7978845608028654f * (v[j] + 0.044715f * v[j] * v[j] * v[j])));
        return;
    case TR_ACT_GELU_ERF:                       /* erfc(-t) keeps the tail that 1 + erf(t) loses; sqrt(1/2) */
        for (int64_t j = 0; j < n; j++) v[j] = 0.5f * v[j] * erfcf(-0.7071067811865476f * v[j]);
        return;
    case TR_ACT_GELU_QUICK:
        for (int64_t j = 0; j < n; j++) v[j] = v[j] / (1 + expf(-1.702f * v[j]));
        return;
    }
}

float tr_dot(const float *a, const float *b, int64_t n)
{
    float sum[16] = { 0 };
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) sum[j] += a[i + j] * b[i + j];
    for (int j = 0; i < n; i++, j++) sum[j] += a[i] * b[i];
    for (int step = 8; step; step /= 2)
        for (int j = 0; j < step; j++) sum[j] += sum[j + step];
    return sum[0];
}
