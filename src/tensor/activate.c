#include "tensor/stream_int.h"

tress_status tr_activate(tr_stream *s, tr_tensor y, tr_tensor x, tr_act act)
{
    TR_ASSERT(!tr_is_none(y) && !tr_is_none(x) && y.dtype == tr_stream_dtype(s) && x.dtype == y.dtype && tr_same_dims(x, y));
    TR_ASSERT((tr_is_contiguous(y) && tr_is_contiguous(x)) || (tr_is_activation(s, y, 2) && tr_is_activation(s, x, 2)));
    TR_ASSERT(act >= TR_ACT_NONE && act <= TR_ACT_GELU_QUICK);
    tr_stream_count_op(s, 20 * (double)tr_count(y), tr_tensor_bytes(y) + tr_tensor_bytes(x));
    return TR_RUN(s, activate, (s, y, x, act));
}
