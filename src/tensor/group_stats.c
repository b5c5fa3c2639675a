#include "tensor/stream_int.h"

tress_status tr_group_stats(tr_stream *s, tr_tensor stats, tr_tensor x)
{
    TR_ASSERT(tr_is_image(s, x) && tr_is_group_stats(stats, x) && stats.shape[1] == x.shape[1]);
    tr_stream_count_op(s, 4 * (double)tr_count(x), tr_tensor_bytes(x) + tr_tensor_bytes(stats));
    return TR_RUN(s, group_stats, (s, stats, x));
}
