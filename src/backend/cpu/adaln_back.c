/* dx = residual + rstd (g - mean(g) - xhat mean(g xhat)), g = dy (1 + scale), xhat = (x - mean) rstd. Memory-bound: the rows of
 * dy and x are read again from the first-level cache. */
#include "backend/cpu/each.h"

#include <math.h>

tress_status tr_cpu_adaln_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_tensor scale, tr_tensor residual,
                               float eps)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = x.shape[0], d = x.shape[1], per_group = n / scale.shape[0], together = tr_rows_together(d);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n > together)
    for (int64_t i0 = 0; i0 < n; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n; i++) {
            const float *xi = (const float *)x.data + i * x.stride[0], *dyi = (const float *)dy.data + i * dy.stride[0]; /* [d] */
            const float *a = (const float *)scale.data + i / per_group * scale.stride[0];
            const float *r = tr_is_none(residual) ? NULL : (const float *)residual.data + i * residual.stride[0];
            const double mean = k->sum(xi, d) / (double)d, rstd = 1 / sqrt(k->squares(xi, d, mean) / (double)d + (double)eps);
            double sums[2];
            k->norm_ada_sums(sums, dyi, xi, a, mean, d);
            k->norm_ada_back((float *)dx.data + i * dx.stride[0], dyi, xi, a, r, (float)mean, (float)rstd,
                             (float)(sums[0] / (double)d), (float)(rstd * rstd * sums[1] / (double)d), d);
        }
    return TRESS_OK;
}
