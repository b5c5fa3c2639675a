#include "tensor/stream_int.h"

tress_status tr_set(tr_stream *s, tr_tensor y, float value)
{
    TR_ASSERT(!tr_is_none(y) && y.dtype == TR_F32 && y.rank >= 1 && (y.shape[y.rank - 1] <= 1 || y.stride[y.rank - 1] == 1));
    tr_stream_count_op(s, 0, tr_tensor_bytes(y));
    return TR_RUN(s, set, (s, y, value));
}
