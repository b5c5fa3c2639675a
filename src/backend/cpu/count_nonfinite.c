/* How many elements are NaN or infinite. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_count_nonfinite(tr_stream *s, tr_tensor x, int64_t *bad)
{
    const tr_rows *k = tr_cpu_rows(s);
    const size_t size = tr_dtype_size(x.dtype);
    const int64_t n = tr_count(x), n_item = (n + TR_ITEM - 1) / TR_ITEM;
    int64_t total = 0;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) reduction(+ : total) if (n_item > 1)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t at = item * TR_ITEM, end = n - at < TR_ITEM ? n : at + TR_ITEM;
        float v[512];
        for (int64_t i = at; i < end; i += 512) {
            const int64_t m = end - i < 512 ? end - i : 512;
            k->to_f32(v, (const char *)x.data + (size_t)i * size, x.dtype, m);
            total += k->nonfinite(v, m);
        }
    }
    *bad = total;
    return TRESS_OK;
}
