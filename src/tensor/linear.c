/* The front door of linear: what its operands must be. */
#include "tensor/stream_int.h"

double tr_check_epilogue(const tr_stream *s, const tr_epilogue *e, int64_t n, int64_t m)
{
    if (!e) return 0;
    TR_ASSERT(tr_is_none(e->mul) || tr_is_rows(s, e->mul, n, m));
    TR_ASSERT(tr_is_none(e->residual) || tr_is_rows(s, e->residual, n, m));
    TR_ASSERT(tr_is_none(e->more) || tr_is_rows(s, e->more, n, m));
    TR_ASSERT(tr_is_none(e->gate) || (tr_is_activation(s, e->gate, 2) && e->gate.shape[1] == m && e->gate.shape[0] > 0 && n % e->gate.shape[0] == 0));
    return tr_tensor_bytes(e->mul) + tr_tensor_bytes(e->residual) + tr_tensor_bytes(e->more);
}

tress_status tr_linear(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, tr_tensor low, tr_tensor up, const tr_epilogue *e)
{
    TR_ASSERT(tr_is_activation(s, y, 2) && tr_is_activation(s, x, 2));
    const int64_t n = x.shape[0], k = x.shape[1], m = y.shape[1];
    TR_ASSERT(k >= 1 && y.shape[0] == n && tr_is_weight(w, TR_DIMS(m, k)));
    TR_ASSERT(tr_is_none(b) || tr_is_weight(b, TR_DIMS(m)));
    TR_ASSERT(tr_is_none(low) == tr_is_none(up));
    int64_t r = 0;
    if (!tr_is_none(low)) {
        TR_ASSERT(low.rank == 2 && low.shape[1] >= 1);
        r = low.shape[1];
        TR_ASSERT(tr_is_rows(s, low, n, r) && tr_is_weight(up, TR_DIMS(m, r)));
    }
    const double bytes = tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(w) + tr_tensor_bytes(low) + tr_tensor_bytes(up);
    tr_stream_count_op(s, 2.0 * (double)n * (double)m * (double)(k + r), bytes + tr_check_epilogue(s, e, n, m));
    return TR_RUN(s, linear, (s, y, x, w, b, low, up, e));
}
