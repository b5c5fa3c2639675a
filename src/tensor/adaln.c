#include "tensor/stream_int.h"

tress_status tr_adaln(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor scale, tr_tensor shift, float eps)
{
    TR_ASSERT(tr_is_activation(s, y, 2) && tr_is_activation(s, x, 2) && tr_same_dims(x, y));
    TR_ASSERT(tr_is_activation(s, scale, 2) && tr_is_activation(s, shift, 2) && tr_same_dims(scale, shift));
    TR_ASSERT(scale.shape[1] == x.shape[1] && scale.shape[0] > 0 && x.shape[0] % scale.shape[0] == 0);
    tr_stream_count_op(s, 8 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(scale) + tr_tensor_bytes(shift));
    return TR_RUN(s, adaln, (s, y, x, scale, shift, eps));
}
