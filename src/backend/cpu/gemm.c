/* Which set of inner loops a stream uses. */
#include "backend/cpu/gemm.h"

const tr_gemm *tr_gemm_get(const tr_stream *s)
{
    switch (tr_cpu_simd(s)) {
#ifdef __x86_64__
    case TR_SIMD_AVX512: return &tr_gemm_avx512;
    case TR_SIMD_AVX2:   return &tr_gemm_avx2;
#endif
    default:             return &tr_gemm_plain;
    }
}
