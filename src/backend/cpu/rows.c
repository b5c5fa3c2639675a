/* The row loops for any machine, and the choice between the tables. */
#define ROWS tr_rows_none
#include "backend/cpu/rows_kernels.h"
#include "backend/cpu/each.h"

const tr_rows *tr_cpu_rows(const tr_stream *s)
{
#ifdef __x86_64__
    const tr_simd simd = tr_cpu_simd(s);
    if (simd == TR_SIMD_AVX512) return &tr_rows_avx512;
    if (simd == TR_SIMD_AVX2) return &tr_rows_avx2;
#else
    (void)s;
#endif
    return &tr_rows_none;
}

const float *tr_cpu_floats(const tr_rows *k, tr_tensor w, float *room)
{
    if (w.dtype == TR_F32 && (uintptr_t)w.data % sizeof(float) == 0) return w.data;
    k->to_f32(room, w.data, w.dtype, tr_count(w));
    return room;
}
