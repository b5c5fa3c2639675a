#include "tensor/stream_int.h"

tress_status tr_relative_bias(tr_stream *s, tr_tensor y, tr_tensor table, int distance_max)
{
    TR_ASSERT(!tr_is_none(y) && y.dtype == TR_F32 && y.rank == 3 && tr_is_contiguous(y));
    TR_ASSERT(table.rank == 2 && tr_is_weight(table, TR_DIMS(table.shape[0], y.shape[0])));
    /* Half of the buckets look back, half ahead; half of those stand for one distance each, the rest grow as logarithms. */
    TR_ASSERT(table.shape[0] >= 4 && table.shape[0] % 4 == 0 && distance_max > table.shape[0] / 4);
    tr_stream_count_op(s, 0, tr_tensor_bytes(y) + tr_tensor_bytes(table));
    return TR_RUN(s, relative_bias, (s, y, table, distance_max));
}
