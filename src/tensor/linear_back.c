/* The front doors of what linear layers need backward. */
#include "tensor/stream_int.h"

tress_status tr_linear_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor w, tr_tensor low, tr_tensor a, const tr_epilogue *e)
{
    TR_ASSERT(tr_is_activation(s, dx, 2) && tr_is_activation(s, dy, 2));
    const int64_t n = dy.shape[0], m = dy.shape[1], k = dx.shape[1];
    TR_ASSERT(m >= 1 && dx.shape[0] == n && tr_is_weight(w, TR_DIMS(m, k)));
    TR_ASSERT(tr_is_none(low) == tr_is_none(a));
    int64_t r = 0;
    if (!tr_is_none(low)) {
        TR_ASSERT(low.rank == 2 && low.shape[1] >= 1);
        r = low.shape[1];
        TR_ASSERT(tr_is_rows(s, low, n, r) && tr_is_weight(a, TR_DIMS(r, k)));
    }
    const double bytes = tr_tensor_bytes(dx) + tr_tensor_bytes(dy) + tr_tensor_bytes(w) + tr_tensor_bytes(low) + tr_tensor_bytes(a);
    tr_stream_count_op(s, 2.0 * (double)n * (double)k * (double)(m + r), bytes + tr_check_epilogue(s, e, n, k));
    return TR_RUN(s, linear_back, (s, dx, dy, w, low, a, e));
}

tress_status tr_linear_grad(tr_stream *s, tr_tensor dw, tr_tensor dy, tr_tensor x)
{
    TR_ASSERT(tr_is_activation(s, dy, 2) && tr_is_activation(s, x, 2) && dy.shape[0] == x.shape[0]);
    TR_ASSERT(!tr_is_none(dw) && dw.dtype == TR_F32 && tr_has_dims(dw, TR_DIMS(dy.shape[1], x.shape[1])) && tr_is_contiguous(dw));
    tr_stream_count_op(s, 2.0 * (double)tr_count(dw) * (double)x.shape[0], 2 * tr_tensor_bytes(dw) + tr_tensor_bytes(dy) + tr_tensor_bytes(x));
    return TR_RUN(s, linear_grad, (s, dw, dy, x));
}
