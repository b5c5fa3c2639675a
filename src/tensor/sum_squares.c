#include "tensor/stream_int.h"

tress_status tr_sum_squares(tr_stream *s, tr_tensor x, double *sum)
{
    TR_ASSERT(!tr_is_none(x) && x.dtype == TR_F32 && tr_is_contiguous(x));
    tr_stream_count_op(s, 2 * (double)tr_count(x), tr_tensor_bytes(x));
    if (s->device->dry) *sum = 0;
    return TR_RUN(s, sum_squares, (s, x, sum));
}
