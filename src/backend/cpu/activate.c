/* y = act(x). About 20 operations for 8 bytes: memory-bound with vectors, arithmetic-bound without. */
#include "backend/cpu/each.h"

tress_status tr_cpu_activate(tr_stream *s, tr_tensor y, tr_tensor x, tr_act act)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t n = tr_count(y), n_item = (n + TR_ITEM - 1) / TR_ITEM;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_item > 1)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t at = item * TR_ITEM;
        k->activate((float *)y.data + at, (const float *)x.data + at, n - at < TR_ITEM ? n - at : TR_ITEM, act);
    }
    return TRESS_OK;
}
