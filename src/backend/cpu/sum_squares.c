/* The sum of squares, in float64. Memory-bound. */
#include "backend/cpu/each.h"

#define PARTS 4096                              /* sums kept before one thread adds them up */

tress_status tr_cpu_sum_squares(tr_stream *s, tr_tensor x, double *sum)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = tr_count(x), n_item = (n + TR_ITEM - 1) / TR_ITEM;
    double *part = tr_cpu_room(s, 0), total = 0;
    for (int64_t first = 0; first < n_item; first += PARTS) {
        const int64_t end = n_item - first < PARTS ? n_item : first + PARTS;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (end - first > 1)
        for (int64_t item = first; item < end; item++) {
            const int64_t at = item * TR_ITEM;
            part[item - first] = k->squares((const float *)x.data + at, n - at < TR_ITEM ? n - at : TR_ITEM, 0);
        }
        for (int64_t item = first; item < end; item++) total += part[item - first];
    }
    *sum = total;
    return TRESS_OK;
}
