/* y = LN(x) (1 + scale) + shift. Memory-bound: the row is read three times, twice from the first-level cache. */
#include "backend/cpu/each.h"

#include <math.h>

tress_status tr_cpu_adaln(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor scale, tr_tensor shift, float eps)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = x.shape[0], d = x.shape[1], per_group = n / scale.shape[0], together = tr_rows_together(d);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n > together)
    for (int64_t i0 = 0; i0 < n; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n; i++) {
            const float *xi = (const float *)x.data + i * x.stride[0];                             /* [d] */
            const double mean = k->sum(xi, d) / (double)d;       /* two passes: E[x^2] - E[x]^2 cancels when mean >> std */
            const double rstd = 1 / sqrt(k->squares(xi, d, mean) / (double)d + (double)eps);
            k->norm_ada((float *)y.data + i * y.stride[0], xi, (float)mean, (float)rstd,
                        (const float *)scale.data + i / per_group * scale.stride[0], (const float *)shift.data + i / per_group * shift.stride[0], d);
        }
    return TRESS_OK;
}
