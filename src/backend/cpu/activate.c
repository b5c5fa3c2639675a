/* y = act(x). About 20 operations for 8 bytes: memory-bound with vectors, arithmetic-bound without. */
#include "backend/cpu/each.h"

tress_status tr_cpu_activate(tr_stream *s, tr_tensor y, tr_tensor x, tr_act act)
{
    const tr_rows *k = tr_cpu_rows(s);
    const bool dense = tr_is_contiguous(y) && tr_is_contiguous(x);
    const tr_tensor a = tr_as_rows(y, dense), b = tr_as_rows(x, dense);
    const int64_t n = tr_row_length(a), n_piece = tr_pieces(n), n_item = tr_row_count(a) * n_piece;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (tr_count(a) > TR_ITEM)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t i = item / n_piece, at = item % n_piece * TR_ITEM;
        k->activate((float *)a.data + tr_row_offset(a, i) + at, (const float *)b.data + tr_row_offset(b, i) + at, n - at < TR_ITEM ? n - at : TR_ITEM, act);
    }
    return TRESS_OK;
}
