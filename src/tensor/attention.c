/* The front door of attention: what its operands must be. */
#include "tensor/stream_int.h"

tress_status tr_attention(tr_stream *s, const tr_attention_args *a)
{
    TR_ASSERT(tr_is_activation(s, a->q, 4) && tr_is_activation(s, a->o, 4) && tr_same_dims(a->q, a->o));
    const int64_t b = a->q.shape[0], n_q = a->q.shape[1], h = a->q.shape[2], d = a->q.shape[3];
    TR_ASSERT(tr_is_f32_or_none(a->lse, TR_DIMS(b, h, n_q)));
    TR_ASSERT(a->n_segment >= 1 && a->n_segment <= TR_SEGMENT_MAX);
    const bool second = !tr_is_none(a->q2);
    const int64_t n_q2 = second ? a->q2.shape[1] : 0;
    TR_ASSERT(!second || (tr_is_activation(s, a->q2, 4) && tr_is_activation(s, a->o2, 4) && tr_has_dims(a->q2, TR_DIMS(b, n_q2, h, d)) && tr_same_dims(a->q2, a->o2)));
    double n_key = 0, bytes = tr_tensor_bytes(a->q) + tr_tensor_bytes(a->o) + tr_tensor_bytes(a->q2) + tr_tensor_bytes(a->o2);
    for (int i = 0; i < a->n_segment; i++) {
        const tr_attention_segment *g = &a->segment[i];
        TR_ASSERT(tr_is_activation(s, g->k, 4) && tr_is_activation(s, g->v, 4) && tr_same_dims(g->k, g->v));
        const int64_t n_k = g->k.shape[1];
        TR_ASSERT(tr_has_dims(g->k, TR_DIMS(b, n_k, h, d)));
        TR_ASSERT(tr_is_f32_or_none(g->bias, TR_DIMS(h, n_q, n_k)) && tr_is_f32_or_none(g->key_logw, TR_DIMS(n_k)) &&
                  tr_is_f32_or_none(g->query_logw, TR_DIMS(n_q)));
        TR_ASSERT(!second || (tr_is_none(g->bias) && tr_is_none(g->query_logw) && !g->causal));
        n_key += (double)n_k;
        bytes += tr_tensor_bytes(g->k) + tr_tensor_bytes(g->v) + tr_tensor_bytes(g->bias);
    }
    tr_stream_count_op(s, 4.0 * (double)(b * h) * (double)(n_q + n_q2) * n_key * (double)d, bytes);
    return TR_RUN(s, attention, (s, a));
}

tress_status tr_attention_back(tr_stream *s, const tr_attention_back_args *a)
{
    TR_ASSERT(tr_is_activation(s, a->q, 4) && tr_is_activation(s, a->o, 4) && tr_is_activation(s, a->d_o, 4));
    TR_ASSERT(tr_same_dims(a->q, a->o) && tr_same_dims(a->q, a->d_o));
    const int64_t b = a->q.shape[0], n_q = a->q.shape[1], h = a->q.shape[2], d = a->q.shape[3];
    TR_ASSERT(tr_is_activation(s, a->k, 4) && tr_is_activation(s, a->v, 4) && tr_same_dims(a->k, a->v));
    const int64_t n_k = a->k.shape[1];
    TR_ASSERT(tr_has_dims(a->k, TR_DIMS(b, n_k, h, d)));
    TR_ASSERT(!tr_is_none(a->lse) && tr_is_f32_or_none(a->lse, TR_DIMS(b, h, n_q)));
    TR_ASSERT(tr_is_f32_or_none(a->key_logw, TR_DIMS(n_k)) && tr_is_f32_or_none(a->query_logw, TR_DIMS(n_q)));
    TR_ASSERT(tr_is_none(a->dq) || (tr_is_activation(s, a->dq, 4) && tr_same_dims(a->dq, a->q)));
    TR_ASSERT(tr_is_none(a->dk) == tr_is_none(a->dv));
    TR_ASSERT(tr_is_none(a->dk) || (tr_is_activation(s, a->dk, 4) && tr_is_activation(s, a->dv, 4) && tr_same_dims(a->dk, a->k) && tr_same_dims(a->dv, a->k)));
    const double products = 2 + !tr_is_none(a->dq) + 2 * !tr_is_none(a->dk);
    tr_stream_count_op(s, 2.0 * products * (double)(b * h) * (double)n_q * (double)n_k * (double)d,
                       3 * tr_tensor_bytes(a->q) + 2 * tr_tensor_bytes(a->k) + tr_tensor_bytes(a->dq) + tr_tensor_bytes(a->dk) + tr_tensor_bytes(a->dv));
    return TR_RUN(s, attention_back, (s, a));
}
