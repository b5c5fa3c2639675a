/* Convolution, channels last: widen and pack the weights, then choose a way. The choice and the bytes of a result depend on
 * the channels, the width and the place in the picture, never on the number of threads or, in bands that begin and end at
 * multiples of 4 rows, on how many rows are asked for at once. */
#include "backend/cpu/conv_int.h"

#include <string.h>

static tress_status pack_panel(void *self, int64_t panel, int i_thread)
{
    const tr_conv *c = self;
    const int64_t cols = c->g->cols, k = c->n_c * c->taps, m0 = panel * cols, left = c->n_m - m0;
    const int64_t pitch = k * (int64_t)tr_dtype_size(c->w.dtype);
    (void)i_thread;
    c->g->pack(c->packed + m0 * k, (const char *)c->w.data + m0 * pitch, c->w.dtype, pitch, (int)(left < cols ? left : cols), k);
    return TRESS_OK;
}

/* 36 products for 16 results pay when there are channels enough to carry the transforms, which cost 24 and 20 operations a
 * pixel, and pixels enough to carry those of the weights. */
static bool winograd_pays(const tr_conv *c)
{
    return c->w.shape[2] == 3 && c->kw == 3 && c->a->stride == 1 && c->n_c >= 16 && c->n_m >= 16 && c->y.shape[2] >= 16;
}

/* 1x1: a linear layer on the pixels. Not for narrow pictures: a linear layer of few rows adds in another order, and a band of a
 * picture must come out as the whole does. */
#define LINEAR_WIDTH_MIN 32
static bool is_linear(tr_tensor y, tr_tensor x, tr_tensor w, const tr_conv_args *a)
{
    return w.shape[2] * w.shape[3] == 1 && y.shape[2] >= LINEAR_WIDTH_MIN && a->stride == 1 && a->upsample == 1 && a->pad_top + a->pad_left + a->pad_bottom + a->pad_right == 0 &&
           tr_is_contiguous(y) && tr_is_contiguous(x) && (tr_is_none(a->residual) || tr_is_contiguous(a->residual));
}

static tress_status linear(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    const int64_t n = y.shape[0] * y.shape[1] * y.shape[2];
    const tr_dims d = TR_DIMS(n, y.shape[3]);
    const tr_epilogue e = { .residual = tr_is_none(a->residual) ? tr_none() : tr_reshape(a->residual, d) };
    if (tr_device_is_dry(tr_stream_device(s))) return TRESS_OK;
    return tr_cpu_linear(s, tr_reshape(y, d), tr_reshape(x, TR_DIMS(n, x.shape[3])), tr_reshape(w, TR_DIMS(w.shape[0], w.shape[1])), b,
                         tr_none(), tr_none(), &e);
}

tress_status tr_cpu_conv2d(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    tress_status st = TRESS_OK;
    if (is_linear(y, x, w, a)) return linear(s, y, x, w, b, a);
    tr_device *d = tr_stream_device(s);
    tr_conv c = { .s = s, .y = y, .x = x, .w = w, .a = a, .dry = tr_device_is_dry(d), .n_thread = tr_device_threads(d),
                  .n_c = w.shape[1], .n_m = w.shape[0], .taps = w.shape[2] * w.shape[3], .kw = w.shape[3] };
    c.g = c.dry ? &tr_gemm_plain : tr_gemm_get(s);
    c.m_pad = (c.n_m + TR_GEMM_COLS_MAX - 1) / TR_GEMM_COLS_MAX * TR_GEMM_COLS_MAX;
    tr_tensor packed, bias;
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_TRY(tr_scratch(s, &packed, TR_F32, TR_DIMS(c.m_pad, c.n_c, c.taps)));
    TR_TRY(tr_scratch(s, &bias, TR_F32, TR_DIMS(c.m_pad)));
    c.packed = packed.data;
    c.bias = bias.data;
    if (!c.dry) {
        memset(c.bias, 0, (size_t)c.m_pad * sizeof(float));
        if (!tr_is_none(b)) c.g->widen(c.bias, b.data, b.dtype, c.n_m);
        TR_TRY(tr_parallel(c.n_thread, (c.n_m + c.g->cols - 1) / c.g->cols, pack_panel, &c));
    }
    TR_TRY(winograd_pays(&c) ? tr_conv_winograd(&c) : tr_conv_is_narrow(&c) ? tr_conv_narrow(&c) : tr_conv_direct(&c));
done:
    tr_scratch_pop(s, mark);
    return st;
}
