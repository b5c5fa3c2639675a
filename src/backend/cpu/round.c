/* x rounded to half precision, in place. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_round(tr_stream *s, tr_tensor x, tr_dtype t)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = tr_count(x), n_item = (n + TR_ITEM - 1) / TR_ITEM;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_item > 1)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t at = item * TR_ITEM;
        k->round((float *)x.data + at, t, n - at < TR_ITEM ? n - at : TR_ITEM);
    }
    return TRESS_OK;
}
