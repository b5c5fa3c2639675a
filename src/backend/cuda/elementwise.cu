/* Ops that look at one element of each operand: y = f(x, z, ..). All bound by memory, 8 elements a thread, each operand moved
 * once: at 16 bits and 8192 x 2432 elements a tensor is 40 MB, 12 us of an H100's 3.35 TB/s for each one read or written. */
#include "backend/cuda/each.h"

#include <math.h>

struct axpby_f {
    float a, b;
    __device__ void operator()(float (&y)[8], const float (&x)[2][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = a * x[0][j] + b * x[1][j];
    }
};
struct ax_f {
    float a;
    __device__ void operator()(float (&y)[8], const float (&x)[1][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = a * x[0][j];
    }
};

tress_status tr_cuda_axpby(tr_stream *s, tr_tensor y, float a, tr_tensor x, float b, tr_tensor z)
{
    if (tr_is_none(z)) return tr_each_run(s, tr_each_of<2>({ y, x }, false), ax_f{ a }, "axpby");
    return tr_each_run(s, tr_each_of<3>({ y, x, z }, false), axpby_f{ a, b }, "axpby");
}

struct blend_f {
    __device__ void operator()(float (&y)[8], const float (&x)[3][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = x[0][j] * x[1][j] + (1.0f - x[0][j]) * x[2][j];
    }
};

tress_status tr_cuda_blend(tr_stream *s, tr_tensor y, tr_tensor m, tr_tensor x, tr_tensor z)
{
    if (m.shape[0] == 1) m.stride[0] = 0;
    m.stride[1] = 0;                            /* one mask for all channels */
    return tr_each_run(s, tr_each_of<4>({ y, m, x, z }, false), blend_f{}, "blend");
}

struct clamp_f {
    float least, most;
    __device__ void operator()(float (&y)[8], const float (&x)[1][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) {
            const float v = x[0][j] < least ? least : x[0][j];         /* a NaN stays */
            y[j] = v > most ? most : v;
        }
    }
};

tress_status tr_cuda_clamp(tr_stream *s, tr_tensor y, tr_tensor x, float least, float most)
{
    return tr_each_run(s, tr_each_of<2>({ y, x }, false), clamp_f{ least, most }, "clamp");
}

struct set_f {
    float value;
    __device__ void operator()(float (&y)[8], const float (&)[1][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = value;
    }
};

tress_status tr_cuda_set(tr_stream *s, tr_tensor y, float value) { return tr_each_run(s, tr_each_of<1>({ y }, false), set_f{ value }, "set"); }

struct round_f {
    int dtype;
    __device__ void operator()(float (&y)[8], const float (&x)[1][8], int64_t) const
    {
        for (int j = 0; j < 8; j++)
            y[j] = dtype == TR_F16 ? __half2float(__float2half_rn(x[0][j])) : __bfloat162float(__float2bfloat16_rn(x[0][j]));
    }
};

tress_status tr_cuda_round(tr_stream *s, tr_tensor x, tr_dtype t)
{
    x = tr_rank3(x, 1, 1, tr_count(x), 0, 0);
    return tr_each_run(s, tr_each_of<2>({ x, x }, false), round_f{ (int)t }, "round");
}

struct gate_f {
    __device__ void operator()(float (&y)[8], const float (&x)[2][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = x[0][j] * x[1][j];
    }
};

tress_status tr_cuda_gate(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor gate)
{
    const int64_t g = gate.shape[0];
    return tr_each_run(s, tr_each_of<3>({ tr_in_groups(y, g), tr_in_groups(x, g), tr_for_groups(gate, x.shape[0]) }, false), gate_f{}, "gate");
}
