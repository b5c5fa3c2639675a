/* cuda.h - inside of the CUDA back end: its state, how kernels are launched, and how they read and write numbers.
 *
 * Every op works on operands of any float type, told at run time: a kernel loads numbers as float, computes in float, and rounds
 * once when it stores. The branch on the type is the same for all threads and costs nothing beside memory. What is bound by
 * arithmetic (products, attention, convolutions) has the type as a template parameter instead.
 *
 * Ops are asynchronous on the back end's one stream; none allocates after its first call with a shape; sums are made in an order
 * that depends on the shapes alone, so that two runs give the same bytes: no floating-point atomics. */
#ifndef TRESS_BACKEND_CUDA_CUDA_H
#define TRESS_BACKEND_CUDA_CUDA_H

#include "tensor/ops.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

/* ---- state ----------------------------------------------------------------------------------------------- */
struct tr_cuda_lt;                              /* linear.cu: cuBLASLt and the algorithms chosen so far */
struct tr_cuda_dnn;                             /* dnn.cu: cuDNN, where it is installed, and the plans made so far */
struct tr_cuda_stage;                           /* stage.cu: pinned buffers that weights pass through */

struct tr_cuda {
    int          device;
    int          n_sm, major, minor;            /* multiprocessors; compute capability */
    size_t       shared_max;                    /* bytes of shared memory a block may ask for */
    cudaStream_t stream;
    void        *room;                          /* what ops need while they run; grows outside of captured graphs */
    size_t       n_room;
    tr_cuda_lt  *lt;
    tr_cuda_dnn *dnn;
    tr_cuda_stage *stage;
    cudaStream_t copies;                        /* fetch.cu: weights that travel while kernels run; 0: none has yet */
    cudaEvent_t  spent[TR_FETCH_LANES], fetched[TR_FETCH_LANES];        /* readers of a lane's memory are done; its bytes are there */
};
tr_cuda *tr_cuda_of(const tr_stream *s);

/* *out = n bytes that this op may use until it returns; one piece at a time, 256-byte aligned. Ops that follow each other on the
 * stream share it. Fails: GPU (out of memory). */
tress_status tr_cuda_room(tr_cuda *c, void **out, size_t n);

/* cudaSuccess, or TRESS_E_GPU with what was done and CUDA's own words. */
tress_status tr_cuda_check(cudaError_t e, const char *what);
/* After a launch: its own error if it could not start. */
static inline tress_status tr_cuda_launched(const char *op) { return tr_cuda_check(cudaGetLastError(), op); }

/* Made on first use by the files that own them, ended by the back end's close; NULL is welcome. */
void tr_cuda_lt_free(tr_cuda_lt *lt);
void tr_cuda_dnn_free(tr_cuda_dnn *dnn);
void tr_cuda_stage_free(tr_cuda_stage *stage);
void tr_cuda_fetch_fini(tr_cuda *c);

/* ---- numbers --------------------------------------------------------------------------------------------- */
/* A tensor as kernels see it: extents and strides in elements. Passed by value. */
struct tr_view_of { void *data; int dtype; };
static inline tr_view_of tr_of(tr_tensor t) { return { t.data, (int)t.dtype }; }

__device__ inline float tr_get(tr_view_of v, int64_t i)
{
    switch (v.dtype) {
    case TR_F32:  return ((const float *)v.data)[i];
    case TR_F16:  return __half2float(((const __half *)v.data)[i]);
    case TR_BF16: return __bfloat162float(((const __nv_bfloat16 *)v.data)[i]);
    default: {                                  /* F8_E4M3 */
        __nv_fp8_e4m3 f;
        f.__x = ((const __nv_fp8_storage_t *)v.data)[i];
        return (float)f;
    }
    }
}

__device__ inline void tr_put(tr_view_of v, int64_t i, float x)
{
    switch (v.dtype) {
    case TR_F32:  ((float *)v.data)[i] = x; break;
    case TR_F16:  ((__half *)v.data)[i] = __float2half_rn(x); break;
    case TR_BF16: ((__nv_bfloat16 *)v.data)[i] = __float2bfloat16_rn(x); break;
    default:      ((__nv_fp8_storage_t *)v.data)[i] = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3); break;
    }
}

/* Eight neighbours at once, i a multiple of 8 and the address of element i 16-byte aligned (32 for F32 is not needed). */
__device__ inline void tr_get8(float (&x)[8], tr_view_of v, int64_t i)
{
    if (v.dtype == TR_F32) {
        const float4 a = ((const float4 *)((const float *)v.data + i))[0], b = ((const float4 *)((const float *)v.data + i))[1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else if (v.dtype == TR_F16) {
        const uint4 u = *(const uint4 *)((const __half *)v.data + i);
        const __half2 *h = (const __half2 *)&u;
        for (int k = 0; k < 4; k++) {
            const float2 f = __half22float2(h[k]);
            x[2 * k] = f.x, x[2 * k + 1] = f.y;
        }
    } else if (v.dtype == TR_BF16) {
        const uint4 u = *(const uint4 *)((const __nv_bfloat16 *)v.data + i);
        const __nv_bfloat162 *h = (const __nv_bfloat162 *)&u;
        for (int k = 0; k < 4; k++) {
            const float2 f = __bfloat1622float2(h[k]);
            x[2 * k] = f.x, x[2 * k + 1] = f.y;
        }
    } else {
        for (int k = 0; k < 8; k++) x[k] = tr_get(v, i + k);
    }
}

__device__ inline void tr_put8(tr_view_of v, int64_t i, const float (&x)[8])
{
    if (v.dtype == TR_F32) {
        float4 *p = (float4 *)((float *)v.data + i);
        p[0] = make_float4(x[0], x[1], x[2], x[3]);
        p[1] = make_float4(x[4], x[5], x[6], x[7]);
    } else if (v.dtype == TR_F16) {
        uint4 u;
        __half2 *h = (__half2 *)&u;
        for (int k = 0; k < 4; k++) h[k] = __floats2half2_rn(x[2 * k], x[2 * k + 1]);
        *(uint4 *)((__half *)v.data + i) = u;
    } else if (v.dtype == TR_BF16) {
        uint4 u;
        __nv_bfloat162 *h = (__nv_bfloat162 *)&u;
        for (int k = 0; k < 4; k++) h[k] = __floats2bfloat162_rn(x[2 * k], x[2 * k + 1]);
        *(uint4 *)((__nv_bfloat16 *)v.data + i) = u;
    } else {
        for (int k = 0; k < 8; k++) tr_put(v, i + k, x[k]);
    }
}

/* Eight numbers of a type known to the compiler, as they lie in memory: many can be asked for before the first is looked at. */
template <int TYPE> struct tr_eight { uint4 u[TYPE == TR_F32 ? 2 : 1]; };
template <> struct tr_eight<TR_F8_E4M3> { uint2 u[1]; };

template <int TYPE> __device__ inline tr_eight<TYPE> tr_eight_get(const void *data, int64_t i)
{
    tr_eight<TYPE> x;
    const auto *p = (const tr_eight<TYPE> *)data + i / 8;       /* i counts elements, a multiple of 8 from an aligned row */
#pragma unroll
    for (int k = 0; k < (int)(sizeof x / sizeof x.u[0]); k++) x.u[k] = p->u[k];
    return x;
}
/* The same of what no thread writes in this launch: such loads may move before stores. */
template <int TYPE> __device__ inline tr_eight<TYPE> tr_eight_fixed(const void *data, int64_t i)
{
    tr_eight<TYPE> x;
    const auto *p = (const tr_eight<TYPE> *)data + i / 8;
#pragma unroll
    for (int k = 0; k < (int)(sizeof x / sizeof x.u[0]); k++) x.u[k] = __ldg(&p->u[k]);
    return x;
}
template <int TYPE> __device__ inline void tr_eight_float(float (&v)[8], tr_eight<TYPE> x) { tr_get8(v, { &x, TYPE }, 0); }
template <int TYPE> __device__ inline void tr_eight_put(void *data, int64_t i, const float (&v)[8]) { tr_put8({ data, TYPE }, i, v); }

/* May kernels move [.., d] of t, its rows step elements apart, eight at a time? */
static inline bool tr_by_8(tr_tensor t, int64_t d, int64_t step)
{
    const size_t size = tr_dtype_size(t.dtype);
    return d % 8 == 0 && (uintptr_t)t.data % 16 == 0 && (size_t)step * size % 16 == 0;
}

/* ---- activations ----------------------------------------------------------------------------------------- */
/* x / (1 + exp(-k)): an exponential, a sum and a quotient, each rounded once. Far below 0, where exp(-k) leaves the range of floats and
 * 1 no longer counts beside it, it is x exp(k) by halves, so that it ends gradually. */
__device__ inline float tr_times_sigmoid(float x, float k)
{
    if (!(k < -80.0f)) return x / (1.0f + expf(-k));
    const float half = expf(0.5f * k);
    return x * half * half;
}

__device__ inline float tr_act_of(float h, int act)
{
    switch (act) {
    case TR_ACT_SILU:       return tr_times_sigmoid(h, h);
    case TR_ACT_GELU_TANH:  return tr_times_sigmoid(h, 2 * 0.79788456080286535588f * (h + 0.044715f * h * h * h));
    case TR_ACT_GELU_ERF:   return 0.5f * h * erfcf(-h * 0.70710678118654752440f);
    case TR_ACT_GELU_QUICK: return tr_times_sigmoid(h, 1.702f * h);
    default:                return h;
    }
}

/* ---- sums over a block ----------------------------------------------------------------------------------- */
/* The sum over all threads of the block, the same in each; blockDim.x a multiple of 32, all threads call. room: 33 values of
 * shared memory that nobody else uses until the next __syncthreads. The order is fixed. */
template <typename T> __device__ inline T tr_block_sum(T v, T *room)
{
    for (int i = 16; i; i >>= 1) v += __shfl_xor_sync(0xffffffffu, v, i);
    if (blockDim.x == 32) return v;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n = blockDim.x >> 5;
    if (lane == 0) room[warp] = v;
    __syncthreads();
    if (warp == 0) {
        T t = lane < n ? room[lane] : T(0);
        for (int i = 16; i; i >>= 1) t += __shfl_xor_sync(0xffffffffu, t, i);
        if (lane == 0) room[32] = t;
    }
    __syncthreads();
    v = room[32];
    __syncthreads();                            /* the room may be used again at once */
    return v;
}

#endif
