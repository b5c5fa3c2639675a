#include "tensor/stream_int.h"

tress_status tr_gate(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor gate)
{
    TR_ASSERT(tr_is_activation(s, y, 2) && tr_is_activation(s, x, 2) && tr_same_dims(x, y));
    TR_ASSERT(tr_is_activation(s, gate, 2) && gate.shape[1] == x.shape[1] && gate.shape[0] > 0 &&
              x.shape[0] % gate.shape[0] == 0);
    tr_stream_count_op(s, (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(gate));
    return TR_RUN(s, gate, (s, y, x, gate));
}
