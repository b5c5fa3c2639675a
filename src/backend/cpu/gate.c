/* y = x gate. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_gate(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor gate)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = x.shape[0], d = x.shape[1], per_group = n / gate.shape[0], together = tr_rows_together(d);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n > together)
    for (int64_t i0 = 0; i0 < n; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n; i++)
            k->product((float *)y.data + i * y.stride[0], (const float *)x.data + i * x.stride[0],
                       (const float *)gate.data + i / per_group * gate.stride[0], d);
    return TRESS_OK;
}
