#include "tensor/stream_int.h"

tress_status tr_copy(tr_stream *s, tr_tensor y, tr_tensor x)
{
    TR_ASSERT(!tr_is_none(y) && !tr_is_none(x) && tr_same_dims(x, y));
    TR_ASSERT(y.dtype == x.dtype || (tr_is_weight_type(y.dtype) && tr_is_weight_type(x.dtype)));
    tr_stream_count_op(s, 0, tr_tensor_bytes(y) + tr_tensor_bytes(x));
    return TR_RUN(s, copy, (s, y, x));
}
