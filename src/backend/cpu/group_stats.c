/* Row statistics of group norm, in float64. Memory-bound: an image row is read twice, the second time from cache. */
#include "backend/cpu/each.h"

#include <omp.h>
#include <string.h>

tress_status tr_cpu_group_stats(tr_stream *s, tr_tensor stats, tr_tensor x)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t b = x.shape[0], h = x.shape[1], w = x.shape[2], c = x.shape[3], n_group = stats.shape[2], per = c / n_group;
    TR_ASSERT((size_t)c * 2 * sizeof(double) <= TR_CPU_ROOM);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (b * h * w * c > TR_ITEM)
    for (int64_t item = 0; item < b * h; item++) {
        double *sum = tr_cpu_room(s, omp_get_thread_num()), *mean = sum + c;                       /* [c] each */
        const float *row = (const float *)x.data + item / h * x.stride[0] + item % h * x.stride[1];
        double *out = (double *)stats.data + item / h * stats.stride[0] + item % h * stats.stride[1];
        memset(sum, 0, (size_t)c * sizeof *sum);
        k->channel_sum(sum, row, w, c);
        for (int64_t g = 0; g < n_group; g++) {
            double t = 0;
            for (int64_t i = 0; i < per; i++) t += sum[g * per + i];
            out[2 * g] = t / (double)(w * per);
            for (int64_t i = 0; i < per; i++) mean[g * per + i] = out[2 * g];
        }
        memset(sum, 0, (size_t)c * sizeof *sum);
        k->channel_squares(sum, row, mean, w, c);
        for (int64_t g = 0; g < n_group; g++) {
            double t = 0;
            for (int64_t i = 0; i < per; i++) t += sum[g * per + i];
            out[2 * g + 1] = t;
        }
    }
    return TRESS_OK;
}
