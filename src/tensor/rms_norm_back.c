#include "tensor/stream_int.h"

tress_status tr_rms_norm_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, tr_tensor weight, float eps)
{
    TR_ASSERT(x.rank >= 2 && x.rank <= 4 && tr_is_activation(s, dx, x.rank) && tr_is_activation(s, dy, x.rank) &&
              tr_is_activation(s, x, x.rank));
    TR_ASSERT(tr_same_dims(x, dx) && tr_same_dims(x, dy) && tr_is_weight(weight, TR_DIMS(x.shape[x.rank - 1])));
    tr_stream_count_op(s, 9 * (double)tr_count(x),
                       tr_tensor_bytes(dx) + tr_tensor_bytes(dy) + tr_tensor_bytes(x) + tr_tensor_bytes(weight));
    return TR_RUN(s, rms_norm_back, (s, dx, dy, x, weight, eps));
}
