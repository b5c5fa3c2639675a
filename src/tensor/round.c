#include "tensor/stream_int.h"

tress_status tr_round(tr_stream *s, tr_tensor x, tr_dtype t)
{
    TR_ASSERT(!tr_is_none(x) && x.dtype == TR_F32 && tr_is_contiguous(x) && (t == TR_F16 || t == TR_BF16));
    tr_stream_count_op(s, (double)tr_count(x), 2 * tr_tensor_bytes(x));
    return TR_RUN(s, round, (s, x, t));
}
