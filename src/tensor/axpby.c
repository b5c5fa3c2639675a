#include "tensor/stream_int.h"

tress_status tr_axpby(tr_stream *s, tr_tensor y, float a, tr_tensor x, float b, tr_tensor z)
{
    TR_ASSERT(y.rank >= 1 && tr_is_activation(s, y, y.rank) && tr_is_activation(s, x, y.rank) && tr_same_dims(x, y));
    TR_ASSERT(tr_is_none(z) || (tr_is_activation(s, z, y.rank) && tr_same_dims(z, y)));
    const double n = (double)tr_count(y);
    tr_stream_count_op(s, tr_is_none(z) ? n : 3 * n, tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(z));
    return TR_RUN(s, axpby, (s, y, a, x, b, z));
}
