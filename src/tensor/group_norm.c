#include "tensor/stream_int.h"

tress_status tr_group_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor stats, tr_tensor weight, tr_tensor bias, float eps, tr_act act)
{
    TR_ASSERT(tr_is_image(s, x) && tr_is_image(s, y) && tr_same_dims(x, y) && tr_is_group_stats(stats, x));
    TR_ASSERT(tr_is_weight(weight, TR_DIMS(x.shape[3])) && tr_is_weight(bias, TR_DIMS(x.shape[3])));
    TR_ASSERT(act >= TR_ACT_NONE && act <= TR_ACT_GELU_QUICK);
    tr_stream_count_op(s, (act == TR_ACT_NONE ? 2 : 22) * (double)tr_count(x), tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(stats));
    return TR_RUN(s, group_norm, (s, y, x, stats, weight, bias, eps, act));
}
