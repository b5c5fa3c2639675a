/* y = LN(x) weight + bias. Memory-bound, as adaln. */
#include "backend/cpu/each.h"

#include <math.h>

tress_status tr_cpu_layer_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor weight, tr_tensor bias, float eps)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = x.shape[0], d = x.shape[1], together = tr_rows_together(d);
    float *room = tr_cpu_room(s, 0);
    TR_ASSERT((size_t)d * 2 * sizeof *room <= TR_CPU_ROOM);
    const float *w = tr_cpu_floats(k, weight, room), *b = tr_cpu_floats(k, bias, room + d);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n > together)
    for (int64_t i0 = 0; i0 < n; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n; i++) {
            const float *xi = (const float *)x.data + i * x.stride[0];                             /* [d] */
            const double mean = k->sum(xi, d) / (double)d;
            const double rstd = 1 / sqrt(k->squares(xi, d, mean) / (double)d + (double)eps);
            k->norm_affine((float *)y.data + i * y.stride[0], xi, (float)mean, (float)rstd, w, b, d);
        }
    return TRESS_OK;
}
