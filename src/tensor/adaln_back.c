#include "tensor/stream_int.h"

tress_status tr_adaln_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_tensor scale, tr_tensor residual, float eps)
{
    TR_ASSERT(tr_is_activation(s, dx, 2) && tr_is_activation(s, dy, 2) && tr_is_activation(s, x, 2) && tr_same_dims(x, dx) &&
              tr_same_dims(x, dy));
    TR_ASSERT(tr_is_activation(s, scale, 2) && scale.shape[1] == x.shape[1] && scale.shape[0] > 0 &&
              x.shape[0] % scale.shape[0] == 0);
    TR_ASSERT(tr_is_none(residual) || (tr_is_activation(s, residual, 2) && tr_same_dims(residual, x)));
    tr_stream_count_op(s, 16 * (double)tr_count(x),
                       tr_tensor_bytes(dx) + tr_tensor_bytes(dy) + tr_tensor_bytes(x) + tr_tensor_bytes(scale) +
                           tr_tensor_bytes(residual));
    return TR_RUN(s, adaln_back, (s, dx, dy, x, scale, residual, eps));
}
