/* dx = rms (g - x rms^2 mean(g x)), g = dy weight, rms = 1 / sqrt(mean(x^2) + eps). Memory-bound; sums in float64. */
#include "backend/cpu/each.h"

#include <math.h>

tress_status tr_cpu_rms_norm_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_tensor weight, float eps)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t d = tr_row_length(x), n = tr_row_count(x), together = tr_rows_together(d);
    float *room = tr_cpu_room(s, 0);
    TR_ASSERT((size_t)d * sizeof *room <= TR_CPU_ROOM);
    const float *w = tr_cpu_floats(k, weight, room);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n > together)
    for (int64_t i0 = 0; i0 < n; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n; i++) {
            const float *xi = (const float *)x.data + tr_row_offset(x, i),
                        *dyi = (const float *)dy.data + tr_row_offset(dy, i); /* [d] */
            double sums[2];
            k->norm_rms_sums(sums, dyi, xi, w, d);
            const double rms = 1 / sqrt(sums[0] / (double)d + (double)eps);
            k->norm_rms_back((float *)dx.data + tr_row_offset(dx, i), dyi, xi, w, (float)rms,
                             (float)(rms * rms * sums[1] / (double)d), d);
        }
    return TRESS_OK;
}
