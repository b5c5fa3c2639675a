#include "tensor/stream_int.h"

tress_status tr_blend(tr_stream *s, tr_tensor y, tr_tensor m, tr_tensor x, tr_tensor z)
{
    TR_ASSERT(tr_is_activation(s, y, 4) && tr_is_activation(s, x, 4) && tr_is_activation(s, z, 4) && tr_is_activation(s, m, 4));
    TR_ASSERT(tr_same_dims(x, y) && tr_same_dims(z, y) && (m.shape[0] == 1 || m.shape[0] == y.shape[0]));
    TR_ASSERT(m.shape[1] == 1 && m.shape[2] == y.shape[2] && m.shape[3] == y.shape[3]);
    tr_stream_count_op(s, 4 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(z) + tr_tensor_bytes(m));
    return TR_RUN(s, blend, (s, y, m, x, z));
}
