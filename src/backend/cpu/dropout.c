/* y = x / (1 - p) where a uniform number is p or more, else 0 x. About 30 integer operations for 8 bytes. */
#include "backend/cpu/each.h"

#include <math.h>

tress_status tr_cpu_dropout(tr_stream *s, tr_tensor y, tr_tensor x, float p, uint64_t key, uint64_t stream)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = x.shape[0], d = x.shape[1], together = tr_rows_together(d);
    /* (w >> 8) 2^-24 >= p for a number w of 32 bits; the product is exact. */
    const uint32_t least = (uint32_t)ceil((double)p * 0x1p24) << 8;
    const float scale = (float)(1 / (1 - (double)p));
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n > together)
    for (int64_t i0 = 0; i0 < n; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n; i++)
            k->dropout((float *)y.data + i * y.stride[0], (const float *)x.data + i * x.stride[0], scale, least, key, stream,
                       (uint64_t)i * (uint64_t)d, d);
    return TRESS_OK;
}
