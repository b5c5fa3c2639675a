#include "tensor/stream_int.h"

tress_status tr_rms_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor weight, float eps)
{
    TR_ASSERT(y.rank >= 2 && y.rank <= 4 && tr_is_activation(s, y, y.rank) && tr_is_activation(s, x, y.rank) && tr_same_dims(x, y));
    TR_ASSERT(tr_is_weight(weight, TR_DIMS(x.shape[x.rank - 1])));
    tr_stream_count_op(s, 4 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(weight));
    return TR_RUN(s, rms_norm, (s, y, x, weight, eps));
}
