/* y = x between least and most. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_clamp(tr_stream *s, tr_tensor y, tr_tensor x, float least, float most)
{
    const tr_rows *k = tr_cpu_rows(s);
    const bool dense = tr_is_contiguous(y) && tr_is_contiguous(x);
    y = tr_as_rows(y, dense);
    x = tr_as_rows(x, dense);
    const int64_t n = tr_row_length(y), n_piece = tr_pieces(n), n_item = tr_row_count(y) * n_piece;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_item > 1)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t i = item / n_piece, at = item % n_piece * TR_ITEM, m = n - at < TR_ITEM ? n - at : TR_ITEM;
        k->clamp((float *)y.data + tr_row_offset(y, i) + at, (const float *)x.data + tr_row_offset(x, i) + at, least, most, m);
    }
    return TRESS_OK;
}
