#include "tensor/stream_int.h"

tress_status tr_layer_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor weight, tr_tensor bias, float eps)
{
    TR_ASSERT(tr_is_activation(s, y, 2) && tr_is_activation(s, x, 2) && tr_same_dims(x, y));
    TR_ASSERT(tr_is_weight(weight, TR_DIMS(x.shape[1])) && tr_is_weight(bias, TR_DIMS(x.shape[1])));
    tr_stream_count_op(s, 8 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(weight) + tr_tensor_bytes(bias));
    return TR_RUN(s, layer_norm, (s, y, x, weight, bias, eps));
}
