#include "tensor/stream_int.h"

tress_status tr_count_nonfinite(tr_stream *s, tr_tensor x, int64_t *bad)
{
    TR_ASSERT(!tr_is_none(x) && tr_is_weight_type(x.dtype) && tr_is_contiguous(x));
    tr_stream_count_op(s, (double)tr_count(x), tr_tensor_bytes(x));
    if (s->device->dry) *bad = 0;
    return TR_RUN(s, count_nonfinite, (s, x, bad));
}
