/* y[i] = table[ids[i]]: rows looked up and made float. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_embed(tr_stream *s, tr_tensor y, tr_tensor table, tr_tensor ids)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = y.shape[0], d = y.shape[1];
    const size_t row = (size_t)d * tr_dtype_size(table.dtype);
    const int32_t *id = ids.data;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n * d > TR_ITEM)
    for (int64_t i = 0; i < n; i++)
        k->to_f32((float *)y.data + i * y.stride[0], (const char *)table.data + (size_t)id[i] * row, table.dtype, d);
    return TRESS_OK;
}
