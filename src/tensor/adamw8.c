#include "tensor/stream_int.h"

tress_status tr_adamw8(tr_stream *s, tr_tensor p, tr_tensor m, tr_tensor v, tr_tensor m_scale, tr_tensor v_scale, tr_tensor g,
                       const tr_adamw_args *a)
{
    const int64_t n = p.shape[0], n_block = (n + TR_ADAMW8_BLOCK - 1) / TR_ADAMW8_BLOCK;
    TR_ASSERT(tr_is_list(p, TR_F32, n) && tr_is_list(m, TR_U8, n) && tr_is_list(v, TR_U8, n) && tr_is_list(g, TR_F32, n));
    TR_ASSERT(tr_is_list(m_scale, TR_F32, n_block) && tr_is_list(v_scale, TR_F32, n_block));
    TR_ASSERT(a->step >= 1 && a->beta1 >= 0 && a->beta1 < 1 && a->beta2 >= 0 && a->beta2 < 1);
    tr_stream_count_op(s, 70 * (double)n, tr_tensor_bytes(g) + 2 * (tr_tensor_bytes(p) + tr_tensor_bytes(m) + tr_tensor_bytes(v) +
                                                                   tr_tensor_bytes(m_scale) + tr_tensor_bytes(v_scale)));
    return TR_RUN(s, adamw8, (s, p, m, v, m_scale, v_scale, g, a));
}
