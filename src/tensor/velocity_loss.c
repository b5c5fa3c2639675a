#include "tensor/stream_int.h"

static bool is_latent(const tr_stream *s, tr_tensor t, tr_tensor like)
{
    return tr_is_activation(s, t, 4) && tr_is_contiguous(t) && tr_same_dims(t, like);
}

tress_status tr_velocity_loss(tr_stream *s, tr_tensor dv, tr_tensor sum, tr_tensor v, tr_tensor x0, tr_tensor noise,
                              tr_tensor mask, tr_tensor weight)
{
    const int64_t b = v.shape[0];
    TR_ASSERT(is_latent(s, v, v) && is_latent(s, x0, v) && is_latent(s, noise, v) && tr_is_list(sum, TR_F64, b));
    TR_ASSERT(!tr_is_none(mask) && mask.dtype == TR_F32 && tr_has_dims(mask, TR_DIMS(b, 1, v.shape[2], v.shape[3])) &&
              tr_is_contiguous(mask));
    TR_ASSERT(tr_is_none(dv) ? tr_is_none(weight) : is_latent(s, dv, v) && tr_is_list(weight, TR_F32, b));
    tr_stream_count_op(s, 6 * (double)tr_count(v),
                       tr_tensor_bytes(dv) + tr_tensor_bytes(v) + tr_tensor_bytes(x0) + tr_tensor_bytes(noise) +
                           tr_tensor_bytes(mask));
    return TR_RUN(s, velocity_loss, (s, dv, sum, v, x0, noise, mask, weight));
}
