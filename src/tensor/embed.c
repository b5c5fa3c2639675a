#include "tensor/stream_int.h"

tress_status tr_embed(tr_stream *s, tr_tensor y, tr_tensor table, tr_tensor ids)
{
    TR_ASSERT(tr_is_activation(s, y, 2) && table.rank == 2 && tr_is_weight(table, TR_DIMS(table.shape[0], y.shape[1])));
    TR_ASSERT(!tr_is_none(ids) && ids.dtype == TR_I32 && tr_has_dims(ids, TR_DIMS(y.shape[0])) && tr_is_contiguous(ids));
    if (!s->device->dry) {                      /* a dry run may have no words yet */
        const int32_t *id = ids.data;
        for (int64_t i = 0; i < ids.shape[0]; i++) TR_ASSERT(id[i] >= 0 && id[i] < table.shape[0]);
    }
    tr_stream_count_op(s, 0, tr_tensor_bytes(y) + (double)tr_count(y) * (double)tr_dtype_size(table.dtype) + tr_tensor_bytes(ids));
    return TR_RUN(s, embed, (s, y, table, ids));
}
