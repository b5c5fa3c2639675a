#include "tensor/stream_int.h"

tress_status tr_set(tr_stream *s, tr_tensor y, float value)
{
    TR_ASSERT(y.rank >= 1 && tr_is_activation(s, y, y.rank));
    tr_stream_count_op(s, 0, tr_tensor_bytes(y));
    return TR_RUN(s, set, (s, y, value));
}
