/* Convolution as one product [pixels, taps c] [taps c, m] whose left side is never held: a strip of it is copied together from
 * the picture when its turn comes. Limit: 2 pixels taps c m flops. */
#include "backend/cpu/conv_int.h"

#include <string.h>

#define BLOCK_COLS 256                          /* results of a block: at most 224 KiB */
#define BLOCK_ROWS 224

typedef struct job {
    const tr_conv *c;
    int64_t n_pixel, rows, n_part;              /* pixels of y, per block; column parts */
    float  *w;                                  /* [m_pad / cols][taps, c, cols]; narrow: [m, taps, c] */
} job;

/* What a thread needs for a block. */
typedef struct room {
    float strip[TR_GEMM_ROWS_MAX * TR_GEMM_PITCH];
    float sum[BLOCK_ROWS * BLOCK_COLS];
} room;

/* A pixel of y. */
typedef struct spot { int64_t b, row, col; } spot;

static spot place(const tr_conv *c, int64_t pixel)
{
    const int64_t line = pixel / c->y.shape[2];
    return (spot){ line / c->y.shape[1], line % c->y.shape[1], pixel % c->y.shape[2] };
}

static void step(const tr_conv *c, spot *p)
{
    if (++p->col < c->y.shape[2]) return;
    p->col = 0;
    if (++p->row < c->y.shape[1]) return;
    p->row = 0;
    p->b++;
}

/* to[nk]: what a pixel of y sees, k0 .. + nk of [taps, c]. Taps side by side are one piece where the picture has them so. */
static void gather(const tr_conv *c, float *to, spot p, int64_t k0, int64_t nk)
{
    const int64_t row = p.row * c->a->stride - c->a->pad_top, col = p.col * c->a->stride - c->a->pad_left;
    const bool joined = c->a->upsample == 1 && c->x.stride[2] == c->n_c && col >= 0 && col + c->kw <= c->x.shape[2];
    const int64_t piece = joined ? c->kw * c->n_c : c->n_c;
    int64_t n, tap = k0 / piece, at = k0 - tap * piece;
    for (int64_t k = 0; k < nk; k += n, to += n, at = 0, tap++) {
        const float *from = joined ? tr_conv_pixel(c, p.b, row + tap, col) : tr_conv_pixel(c, p.b, row + tap / c->kw, col + tap % c->kw);
        n = tr_least(piece - at, nk - k);
        if (from) memcpy(to, from + at, (size_t)n * sizeof *to);
        else memset(to, 0, (size_t)n * sizeof *to);
    }
}

static void finish(const tr_conv *c, const float *sum, spot p, int64_t m0, int64_t n_m)
{
    tr_finish f = { .bias = c->bias + m0, .scale = 1 };
    if (!tr_is_none(c->a->residual))
        f.residual = (const float *)c->a->residual.data + p.b * c->a->residual.stride[0] + p.row * c->a->residual.stride[1] +
                     p.col * c->a->residual.stride[2] + m0;
    c->g->finish((float *)c->y.data + p.b * c->y.stride[0] + p.row * c->y.stride[1] + p.col * c->y.stride[2] + m0, sum, n_m, &f);
}

/* [n_c, taps, cols] to [taps, n_c, cols] for a panel. */
static tress_status order_panel(void *self, int64_t panel, int i_thread)
{
    const job *j = self;
    const tr_conv *c = j->c;
    const int64_t cols = c->g->cols, size = c->n_c * c->taps * cols;
    (void)i_thread;
    for (int64_t ch = 0; ch < c->n_c; ch++)
        for (int64_t t = 0; t < c->taps; t++)
            memcpy(j->w + panel * size + (t * c->n_c + ch) * cols, c->packed + panel * size + (ch * c->taps + t) * cols,
                   (size_t)cols * sizeof(float));
    return TRESS_OK;
}

static tress_status block(void *self, int64_t item, int i_thread)
{
    const job *j = self;
    const tr_conv *c = j->c;
    const tr_gemm *g = c->g;
    room *r = tr_cpu_room(c->s, i_thread);
    const int64_t p0 = item / j->n_part * j->rows, n = tr_least(j->n_pixel - p0, j->rows), k_all = c->n_c * c->taps;
    const int64_t m0 = item % j->n_part * BLOCK_COLS, n_m = tr_least(c->n_m - m0, BLOCK_COLS);
    for (int64_t k0 = 0; k0 < k_all; k0 += TR_GEMM_DEPTH) {
        const int64_t nk = tr_least(k_all - k0, TR_GEMM_DEPTH);
        spot in = place(c, p0), out = in;
        for (int64_t p = 0; p < n; p += g->rows) {
            const int n_row = (int)tr_least(n - p, g->rows);
            for (int l = 0; l < n_row; l++, step(c, &in)) gather(c, r->strip + l * TR_GEMM_PITCH, in, k0, nk);
            for (int64_t m = 0; m < n_m; m += g->cols)
                g->tile(r->sum + p * BLOCK_COLS + m, BLOCK_COLS, r->strip, TR_GEMM_PITCH, j->w + ((m0 + m) * k_all + k0 * g->cols), nk,
                        n_row, k0 > 0);
            if (k0 + nk == k_all)
                for (int l = 0; l < n_row; l++, step(c, &out)) finish(c, r->sum + (p + l) * BLOCK_COLS, out, m0, n_m);
        }
    }
    return TRESS_OK;
}

tress_status tr_conv_direct(const tr_conv *c)
{
    tress_status st = TRESS_OK;
    job j = { .c = c, .n_pixel = c->y.shape[0] * c->y.shape[1] * c->y.shape[2], .n_part = tr_parts(c->n_m, BLOCK_COLS) };
    tr_tensor w;
    TR_TRY(tr_scratch(c->s, &w, TR_F32, TR_DIMS(c->m_pad, c->taps, c->n_c)));
    if (c->dry) goto done;
    j.w = w.data;
    j.rows = BLOCK_ROWS / c->g->rows * c->g->rows;
    TR_TRY(tr_parallel(c->n_thread, tr_parts(c->n_m, c->g->cols), order_panel, &j));
    TR_TRY(tr_parallel(c->n_thread, tr_parts(j.n_pixel, j.rows) * j.n_part, block, &j));
done:
    return st;
}
