/* Convolution, channels last, in plain C: for each output row, the weights of each tap times the pixel under it. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/heavy.h"

#include <string.h>

typedef struct job {
    tr_stream *s;
    tr_tensor  y, x, w, b;
    const tr_conv_args *a;
    float *wide;                                /* [kh, kw, c, m] */
    float *bias;                                /* [m] */
} job;

/* wide[.., c, m] from w[m, c, ..] for one output channel. */
static tress_status widen(void *self, int64_t o, int i_thread)
{
    const job *j = self;
    const int64_t m = j->w.shape[0], n = j->w.shape[1], taps = j->w.shape[2] * j->w.shape[3];
    float *row = tr_cpu_room(j->s, i_thread);
    const int64_t step = (int64_t)(TR_CPU_ROOM / sizeof(float)) / taps;              /* channels at a time */
    for (int64_t c0 = 0; c0 < n; c0 += step) {
        const int64_t nc = n - c0 < step ? n - c0 : step;
        tr_weight_row(row, j->w, (o * n + c0) * taps, nc * taps);
        for (int64_t c = 0; c < nc; c++)
            for (int64_t t = 0; t < taps; t++) j->wide[(t * n + c0 + c) * m + o] = row[c * taps + t];
    }
    return TRESS_OK;
}

static tress_status output_row(void *self, int64_t item, int i_thread)
{
    const job *j = self;
    const tr_conv_args *a = j->a;
    const int64_t h = j->x.shape[1], w = j->x.shape[2], n = j->x.shape[3], kh = j->w.shape[2], kw = j->w.shape[3];
    const int64_t n_row = j->y.shape[1], n_col = j->y.shape[2], m = j->y.shape[3], b = item / n_row, r = item % n_row;
    for (int64_t col = 0; col < n_col; col++) {
        float *y = (float *)j->y.data + b * j->y.stride[0] + r * j->y.stride[1] + col * j->y.stride[2];
        const float *residual = tr_is_none(a->residual) ? NULL
            : (const float *)a->residual.data + b * a->residual.stride[0] + r * a->residual.stride[1] + col * a->residual.stride[2];
        float *sum = tr_cpu_room(j->s, i_thread);
        memcpy(sum, j->bias, (size_t)m * sizeof *sum);
        for (int64_t t = 0; t < kh * kw; t++) {
            const int64_t sy = r * a->stride + t / kw - a->pad_top, sx = col * a->stride + t % kw - a->pad_left;
            if (sy < 0 || sx < 0 || sy >= h * a->upsample || sx >= w * a->upsample) continue;
            const float *x = (const float *)j->x.data + b * j->x.stride[0] + sy / a->upsample * j->x.stride[1] +
                             sx / a->upsample * j->x.stride[2];
            for (int64_t c = 0; c < n; c++) {
                const float *wide = j->wide + (t * n + c) * m, xc = x[c];
                for (int64_t o = 0; o < m; o++) sum[o] += xc * wide[o];
            }
        }
        for (int64_t o = 0; o < m; o++) y[o] = sum[o] + (residual ? residual[o] : 0);
    }
    return TRESS_OK;
}

tress_status tr_cpu_conv2d(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    tress_status st = TRESS_OK;
    job j = { .s = s, .y = y, .x = x, .w = w, .b = b, .a = a };
    tr_tensor wide, bias;
    const int64_t m = w.shape[0];
    tr_arena_mark mark = tr_scratch_push(s);
    TR_TRY(tr_scratch(s, &wide, TR_F32, TR_DIMS(w.shape[2], w.shape[3], w.shape[1], m)));
    TR_TRY(tr_scratch(s, &bias, TR_F32, TR_DIMS(m)));
    if (tr_device_is_dry(tr_stream_device(s))) goto done;
    TR_ASSERT((size_t)m * sizeof(float) <= TR_CPU_ROOM && (size_t)(w.shape[2] * w.shape[3]) * sizeof(float) <= TR_CPU_ROOM);
    j.wide = wide.data;
    j.bias = bias.data;
    if (tr_is_none(b)) memset(j.bias, 0, (size_t)m * sizeof(float));
    else tr_weight_row(j.bias, b, 0, m);
    TR_TRY(tr_parallel(tr_cpu_threads(s), m, widen, &j));
    TR_TRY(tr_parallel(tr_cpu_threads(s), y.shape[0] * y.shape[1], output_row, &j));
done:
    tr_scratch_pop(s, mark);
    return st;
}
