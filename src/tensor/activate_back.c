#include "tensor/stream_int.h"

tress_status tr_activate_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_act act)
{
    TR_ASSERT(tr_is_activation(s, dx, 2) && tr_is_activation(s, dy, 2) && tr_is_activation(s, x, 2) && tr_same_dims(x, dx) &&
              tr_same_dims(x, dy));
    TR_ASSERT(act >= TR_ACT_NONE && act <= TR_ACT_GELU_QUICK);
    tr_stream_count_op(s, 30 * (double)tr_count(x), tr_tensor_bytes(dx) + tr_tensor_bytes(dy) + tr_tensor_bytes(x));
    return TR_RUN(s, activate_back, (s, dx, dy, x, act));
}
