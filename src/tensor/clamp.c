#include "tensor/stream_int.h"

tress_status tr_clamp(tr_stream *s, tr_tensor y, tr_tensor x, float least, float most)
{
    TR_ASSERT(y.rank >= 1 && tr_is_activation(s, y, y.rank) && tr_is_activation(s, x, y.rank) && tr_same_dims(x, y));
    TR_ASSERT(least <= most);
    tr_stream_count_op(s, 2 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x));
    return TR_RUN(s, clamp, (s, y, x, least, most));
}
