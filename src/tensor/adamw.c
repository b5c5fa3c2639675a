#include "tensor/stream_int.h"

tress_status tr_adamw(tr_stream *s, tr_tensor p, tr_tensor m, tr_tensor v, tr_tensor g, const tr_adamw_args *a)
{
    const int64_t n = p.shape[0];
    TR_ASSERT(tr_is_list(p, TR_F32, n) && tr_is_list(m, TR_F32, n) && tr_is_list(v, TR_F32, n) && tr_is_list(g, TR_F32, n));
    TR_ASSERT(a->step >= 1 && a->beta1 >= 0 && a->beta1 < 1 && a->beta2 >= 0 && a->beta2 < 1);
    tr_stream_count_op(s, 15 * (double)n,
                       2 * (tr_tensor_bytes(p) + tr_tensor_bytes(m) + tr_tensor_bytes(v)) + tr_tensor_bytes(g));
    return TR_RUN(s, adamw, (s, p, m, v, g, a));
}
