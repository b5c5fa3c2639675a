/* y = a x + b z. Memory-bound: 12 bytes for 3 operations. */
#include "backend/cpu/each.h"

tress_status tr_cpu_axpby(tr_stream *s, tr_tensor y, float a, tr_tensor x, float b, tr_tensor z)
{
    const tr_rows *k = tr_cpu_rows(s);
    const bool one = tr_is_none(z), dense = tr_is_contiguous(y) && tr_is_contiguous(x) && (one || tr_is_contiguous(z));
    y = tr_as_rows(y, dense);
    x = tr_as_rows(x, dense);
    if (!one) z = tr_as_rows(z, dense);
    const int64_t n = tr_row_length(y), n_piece = tr_pieces(n), together = tr_rows_together(n), n_row = tr_row_count(y);
    const int64_t n_item = (n_row + together - 1) / together * n_piece;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_item > 1)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t at = item % n_piece * TR_ITEM, m = n - at < TR_ITEM ? n - at : TR_ITEM, first = item / n_piece * together;
        for (int64_t i = first; i < first + together && i < n_row; i++)
            k->axpby((float *)y.data + tr_row_offset(y, i) + at, a, (const float *)x.data + tr_row_offset(x, i) + at, b,
                     one ? NULL : (const float *)z.data + tr_row_offset(z, i) + at, m);
    }
    return TRESS_OK;
}
