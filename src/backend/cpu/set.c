/* y = value. Memory-bound: one write. */
#include "backend/cpu/each.h"

tress_status tr_cpu_set(tr_stream *s, tr_tensor y, float value)
{
    const tr_tensor t = tr_as_rows(y, tr_is_contiguous(y));
    const int64_t n = tr_row_length(t), n_piece = tr_pieces(n), n_item = tr_row_count(t) * n_piece;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (tr_count(t) > TR_ITEM)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t i = item / n_piece, at = item % n_piece * TR_ITEM, left = n - at < TR_ITEM ? n - at : TR_ITEM;
        float *to = (float *)t.data + tr_row_offset(t, i) + at;
        for (int64_t j = 0; j < left; j++) to[j] = value;
    }
    return TRESS_OK;
}
