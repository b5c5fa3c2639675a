/* The front door of conv2d: what its operands must be. */
#include "tensor/stream_int.h"

tress_status tr_conv2d(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    TR_ASSERT(tr_is_activation(s, y, 4) && tr_is_activation(s, x, 4) && w.rank == 4);
    const int64_t m = y.shape[3], c = x.shape[3], kh = w.shape[2], kw = w.shape[3];
    TR_ASSERT(tr_is_weight(w, TR_DIMS(m, c, kh, kw)) && (tr_is_none(b) || tr_is_weight(b, TR_DIMS(m))));
    TR_ASSERT((a->stride == 1 || a->stride == 2) && (a->upsample == 1 || a->upsample == 2));
    const int least = 1 - a->upsample;
    TR_ASSERT(a->pad_top >= least && a->pad_left >= least && a->pad_bottom >= least && a->pad_right >= least);
    const int64_t h = x.shape[1] * a->upsample + a->pad_top + a->pad_bottom, width = x.shape[2] * a->upsample + a->pad_left + a->pad_right;
    TR_ASSERT(kh >= 1 && kw >= 1 && h >= kh && width >= kw && y.data != x.data);
    TR_ASSERT(tr_has_dims(y, TR_DIMS(x.shape[0], (h - kh) / a->stride + 1, (width - kw) / a->stride + 1, m)));
    TR_ASSERT(tr_is_none(a->residual) || (tr_is_activation(s, a->residual, 4) && tr_same_dims(a->residual, y)));
    tr_stream_count_op(s, 2.0 * (double)tr_count(y) * (double)(c * kh * kw),
                       tr_tensor_bytes(y) + tr_tensor_bytes(x) + tr_tensor_bytes(w) + tr_tensor_bytes(a->residual));
    /* Also when dry: the back end takes its scratch, so that the plan knows of it, and then does nothing. */
    return s->device->backend->conv2d(s, y, x, w, b, a);
}
