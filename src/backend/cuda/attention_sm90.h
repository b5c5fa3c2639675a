/* attention_sm90.h - what attention's kernels for Hopper share: descriptions of operands for TMA, and weights on their way from one
 * product to the next. */
#ifndef TRESS_BACKEND_CUDA_ATTENTION_SM90_H
#define TRESS_BACKEND_CUDA_ATTENTION_SM90_H

#include "backend/cuda/attention_int.h"
#include "backend/cuda/tile_sm90.h"

#include <cudaTypedefs.h>

#define TR_SM90_ROW 128                         /* bytes of a row in shared memory: heads of up to 64 */

/* Scores of 64 rows against 128 as fragments a of the next product: 16 bits, 8 x 16 columns. */
template <typename T> __device__ inline void tr_wgmma_pack(uint32_t (&x)[8][4], const float (&s)[16][4])
{
#pragma unroll
    for (int k = 0; k < 8; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) x[k][e] = tr_pack<T>(s[2 * k + (e >> 1)][(e & 1) * 2], s[2 * k + (e >> 1)][(e & 1) * 2 + 1]);
}

/* ---- host ------------------------------------------------------------------------------------------------ */
typedef PFN_cuTensorMapEncodeTiled_v12000 tr_tma_encode;
static inline tress_status tr_tma_find(tr_tma_encode *out)
{
    tress_status st = TRESS_OK;
    void *p = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    TR_TRY(tr_cuda_check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &p, 12000, cudaEnableDefault, &found), "looking for cuTensorMapEncodeTiled"));
    if (found != cudaDriverEntryPointSuccess) TR_TRY(tr_fail(TRESS_E_GPU, "CUDA: the driver has no cuTensorMapEncodeTiled, expected 12.0 or later"));
    *out = (tr_tma_encode)p;
done:
    return st;
}

/* t [b, n, h, d] in boxes of `rows` rows of one head, 64 columns wide; what lies outside of it reads as zeros. */
static inline tress_status tr_tma_map(CUtensorMap *out, tr_tma_encode encode, tr_tensor t, cuuint32_t rows)
{
    const cuuint64_t dim[4] = { (cuuint64_t)t.shape[3], (cuuint64_t)t.shape[1], (cuuint64_t)t.shape[2], (cuuint64_t)t.shape[0] };
    const int64_t step[3] = { t.stride[1], t.stride[2], t.stride[0] };
    cuuint64_t stride[3];                       /* bytes; of an extent of 1: any that is allowed */
    for (int i = 0; i < 3; i++) stride[i] = dim[i + 1] == 1 ? 128 : (cuuint64_t)step[i] * 2;
    const cuuint32_t box[4] = { 64, rows, 1, 1 }, one[4] = { 1, 1, 1, 1 };
    const CUresult r = encode(out, t.dtype == TR_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, t.data, dim, stride, box, one,
                              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return r == CUDA_SUCCESS ? TRESS_OK : tr_fail(TRESS_E_GPU, "CUDA, describing an operand of attention: error %d of the driver", (int)r);
}

/* Whether this kernel has a body: compiled for 9.0a it has barriers in shared memory, else nothing. */
template <typename F> static inline bool tr_is_compiled(F *kernel)
{
    cudaFuncAttributes f = {};
    if (cudaFuncGetAttributes(&f, kernel) == cudaSuccess) return f.sharedSizeBytes > 0;
    (void)cudaGetLastError();
    return false;
}

#endif
