/* The front door of attention: what its operands must be. */
#include "tensor/stream_int.h"

static bool is_f32_or_none(tr_tensor t, tr_dims d)
{
    return tr_is_none(t) || (t.dtype == TR_F32 && tr_has_dims(t, d) && tr_is_contiguous(t));
}

tress_status tr_attention(tr_stream *s, const tr_attention_args *a)
{
    TR_ASSERT(tr_is_activation(s, a->q, 4) && tr_is_activation(s, a->o, 4) && tr_same_dims(a->q, a->o));
    const int64_t b = a->q.shape[0], n_q = a->q.shape[1], h = a->q.shape[2], d = a->q.shape[3];
    TR_ASSERT(is_f32_or_none(a->lse, TR_DIMS(b, h, n_q)));
    TR_ASSERT(a->n_segment >= 1 && a->n_segment <= TR_SEGMENT_MAX);
    double n_key = 0, bytes = tr_tensor_bytes(a->q) + tr_tensor_bytes(a->o);
    for (int i = 0; i < a->n_segment; i++) {
        const tr_attention_segment *g = &a->segment[i];
        TR_ASSERT(tr_is_activation(s, g->k, 4) && tr_is_activation(s, g->v, 4) && tr_same_dims(g->k, g->v));
        const int64_t n_k = g->k.shape[1];
        TR_ASSERT(tr_has_dims(g->k, TR_DIMS(b, n_k, h, d)));
        TR_ASSERT(is_f32_or_none(g->bias, TR_DIMS(h, n_q, n_k)) && is_f32_or_none(g->key_logw, TR_DIMS(n_k)) &&
                  is_f32_or_none(g->query_logw, TR_DIMS(n_q)));
        n_key += (double)n_k;
        bytes += tr_tensor_bytes(g->k) + tr_tensor_bytes(g->v) + tr_tensor_bytes(g->bias);
    }
    tr_stream_count_op(s, 4.0 * (double)(b * h) * (double)n_q * n_key * (double)d, bytes);
    return TR_RUN(s, attention, (s, a));
}
