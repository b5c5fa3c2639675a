#include "tensor/stream_int.h"

tress_status tr_patchify(tr_stream *s, tr_tensor y, tr_tensor x, int p)
{
    TR_ASSERT(p >= 1 && tr_is_activation(s, x, 4) && tr_is_activation(s, y, 3));
    TR_ASSERT(x.shape[2] % p == 0 && x.shape[3] % p == 0 && y.shape[0] == x.shape[0]);
    TR_ASSERT(y.shape[1] == x.shape[2] / p * (x.shape[3] / p) && y.shape[2] == x.shape[1] * p * p);
    tr_stream_count_op(s, 0, tr_tensor_bytes(y) + tr_tensor_bytes(x));
    return TR_RUN(s, patchify, (s, y, x, p));
}
