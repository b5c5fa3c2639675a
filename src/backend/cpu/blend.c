/* y = m x + (1 - m) z. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_blend(tr_stream *s, tr_tensor y, tr_tensor m, tr_tensor x, tr_tensor z)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t c = y.shape[1], h = y.shape[2], w = y.shape[3], n_row = y.shape[0] * c * h, together = tr_rows_together(w);
    if (m.shape[0] == 1) m.stride[0] = 0;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_row > together)
    for (int64_t i0 = 0; i0 < n_row; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n_row; i++)
            k->blend((float *)y.data + tr_row_offset(y, i), (const float *)m.data + i / h / c * m.stride[0] + i % h * m.stride[2],
                     (const float *)x.data + tr_row_offset(x, i), (const float *)z.data + tr_row_offset(z, i), w);
    return TRESS_OK;
}
