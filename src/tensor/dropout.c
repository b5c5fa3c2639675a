#include "tensor/stream_int.h"

tress_status tr_dropout(tr_stream *s, tr_tensor y, tr_tensor x, float p, uint64_t key, uint64_t stream)
{
    TR_ASSERT(tr_is_activation(s, y, 2) && tr_is_activation(s, x, 2) && tr_same_dims(x, y) && p >= 0 && p < 1);
    tr_stream_count_op(s, 30 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x));
    return TR_RUN(s, dropout, (s, y, x, p, key, stream));
}
