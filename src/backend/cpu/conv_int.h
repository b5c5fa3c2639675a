/* conv_int.h - a convolution as its ways of computing it see it. Stays inside the CPU back end. */
#ifndef TRESS_BACKEND_CPU_CONV_INT_H
#define TRESS_BACKEND_CPU_CONV_INT_H

#include "backend/cpu/gemm.h"

typedef struct tr_conv {
    const tr_gemm *g;
    tr_stream *s;
    tr_tensor  y, x, w;
    const tr_conv_args *a;
    bool    dry;
    int     n_thread;
    int64_t n_c, n_m, m_pad, taps, kw;          /* channels in and out, the latter in whole tiles; kh kw; kw */
    float  *packed;                             /* [m_pad / cols][n_c, taps, cols] */
    float  *bias;                               /* [m_pad], zeros where there is none */
} tr_conv;

/* The pixel of x under row and column of the padded, enlarged picture; NULL outside. */
static inline const float *tr_conv_pixel(const tr_conv *c, int64_t b, int64_t row, int64_t col)
{
    if (row < 0 || col < 0 || row >= c->x.shape[1] * c->a->upsample || col >= c->x.shape[2] * c->a->upsample) return NULL;
    if (c->a->upsample == 2) row >>= 1, col >>= 1;
    return (const float *)c->x.data + b * c->x.stride[0] + row * c->x.stride[1] + col * c->x.stride[2];
}

/* Each after c->packed and c->bias are there; when dry they only take their scratch. */
TR_CHECKED tress_status tr_conv_direct(const tr_conv *c);
#define TR_NARROW_TAPS 49
bool tr_conv_is_narrow(const tr_conv *c);
TR_CHECKED tress_status tr_conv_narrow(const tr_conv *c);
TR_CHECKED tress_status tr_conv_winograd(const tr_conv *c);

#endif
