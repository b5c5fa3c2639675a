#include "tensor/stream_int.h"

tress_status tr_timestep_embed(tr_stream *s, tr_tensor y, tr_tensor t)
{
    TR_ASSERT(tr_is_activation(s, y, 2) && y.shape[1] % 2 == 0);
    TR_ASSERT(!tr_is_none(t) && t.dtype == TR_F32 && tr_has_dims(t, TR_DIMS(y.shape[0])) && tr_is_contiguous(t));
    tr_stream_count_op(s, 40 * (double)tr_count(y), tr_tensor_bytes(y));
    return TR_RUN(s, timestep_embed, (s, y, t));
}
