#include "tensor/stream_int.h"

tress_status tr_unpatchify(tr_stream *s, tr_tensor y, tr_tensor x, int p)
{
    TR_ASSERT(p >= 1 && tr_is_activation(s, y, 4) && tr_is_activation(s, x, 3));
    TR_ASSERT(y.shape[2] % p == 0 && y.shape[3] % p == 0 && x.shape[0] == y.shape[0]);
    TR_ASSERT(x.shape[1] == y.shape[2] / p * (y.shape[3] / p) && x.shape[2] == y.shape[1] * p * p);
    tr_stream_count_op(s, 0, tr_tensor_bytes(y) + tr_tensor_bytes(x));
    return TR_RUN(s, unpatchify, (s, y, x, p));
}
