#include "tensor/stream_int.h"

tress_status tr_activate(tr_stream *s, tr_tensor y, tr_tensor x, tr_act act)
{
    TR_ASSERT(y.rank >= 1 && tr_is_activation(s, y, y.rank) && tr_is_activation(s, x, y.rank) && tr_same_dims(x, y));
    TR_ASSERT((tr_is_contiguous(y) && tr_is_contiguous(x)) || y.rank == 2);
    TR_ASSERT(act >= TR_ACT_NONE && act <= TR_ACT_GELU_QUICK);
    tr_stream_count_op(s, 20 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x));
    return TR_RUN(s, activate, (s, y, x, act));
}
