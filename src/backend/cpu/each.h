/* each.h - a tensor of rank 1 to TR_RANK_MAX as a list of rows along its last dimension. */
#ifndef TRESS_BACKEND_CPU_EACH_H
#define TRESS_BACKEND_CPU_EACH_H

#include "backend/cpu/rows.h"

/* Dense tensors become one long row, so that items are of equal size whatever the shape. */
static inline tr_tensor tr_as_rows(tr_tensor t, bool dense)
{
    return dense ? tr_view(t.data, t.dtype, TR_DIMS(1, tr_count(t))) : t;
}
static inline int64_t tr_row_length(tr_tensor t) { return t.shape[t.rank - 1]; }
static inline int64_t tr_row_count(tr_tensor t) { return tr_row_length(t) ? tr_count(t) / tr_row_length(t) : 0; }
/* Where row i begins, in elements. */
static inline int64_t tr_row_offset(tr_tensor t, int64_t i)
{
    int64_t at = 0;
    for (int a = t.rank - 2; a >= 0; a--) {
        at += i % t.shape[a] * t.stride[a];
        i /= t.shape[a];
    }
    return at;
}

#define TR_ITEM 16384                           /* elements of work for one thread at a time */
/* Pieces that rows of n elements are cut into, and rows taken together. */
static inline int64_t tr_pieces(int64_t n) { return n > TR_ITEM ? (n + TR_ITEM - 1) / TR_ITEM : 1; }
static inline int64_t tr_rows_together(int64_t n) { return n > 0 && n < TR_ITEM ? TR_ITEM / n : 1; }

/* The floats of a stored weight [n]: itself where it is F32 and aligned, else converted into room[n]. */
const float *tr_cpu_floats(const tr_rows *k, tr_tensor w, float *room);

/* Formed in double, rounded once, as torch does with Python's numbers. */
tr_adamw_factors tr_cpu_adamw_factors(const tr_adamw_args *a);

#endif
