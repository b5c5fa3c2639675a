/* dw += dy^T x. The narrower of the two widths (a LoRA's rank) gives the rows of the tiles, the wider one their columns; rows of dy and x
 * are the inner dimension. An item owns a block of dw, so that sums run over the rows in order whatever the threads.
 * Limits: 2 n m k flops; the wider operand is read once for every ROWS_MAX of the narrower. */
#include "backend/cpu/gemm.h"

#include <string.h>

#define COLS     64
#define ROWS_MAX 1008

typedef struct job {
    const tr_gemm *g;
    tr_stream *s;
    tr_tensor  dw, narrow, wide;                /* [n, p], [n, q], p <= q */
    bool       turned;                          /* dw is [q, p] */
    int64_t    n_block;                         /* of columns */
} job;

typedef struct room {
    float sum[ROWS_MAX * COLS];
    float panel[COLS * TR_GEMM_DEPTH];
    float strip[TR_GEMM_ROWS_MAX * TR_GEMM_PITCH];
} room;

static const float *row_of(tr_tensor t, int64_t i, int64_t j) { return (const float *)t.data + i * t.stride[0] + j; }

static tress_status block(void *self, int64_t item, int i_thread)
{
    const job *a = self;
    const tr_gemm *g = a->g;
    room *r = tr_cpu_room(a->s, i_thread);
    const int64_t n = a->wide.shape[0], p0 = item / a->n_block * ROWS_MAX, q0 = item % a->n_block * COLS;
    const int64_t np = tr_least(a->narrow.shape[1] - p0, ROWS_MAX), nq = tr_least(a->wide.shape[1] - q0, COLS);
    for (int64_t i0 = 0; i0 < n; i0 += TR_GEMM_DEPTH) {
        const int64_t ni = tr_least(n - i0, TR_GEMM_DEPTH);
        for (int64_t q = 0; q < nq; q += g->cols)
            g->pack_rows(r->panel + q * ni, row_of(a->wide, i0, q0 + q), TR_F32, a->wide.stride[0] * (int64_t)sizeof(float),
                         (int)tr_least(nq - q, g->cols), ni);
        for (int64_t p = 0; p < np; p += g->rows) {
            const int n_row = (int)tr_least(np - p, g->rows);
            for (int64_t i = 0; i < ni; i++) {
                const float *from = row_of(a->narrow, i0 + i, p0 + p);
                for (int k = 0; k < n_row; k++) r->strip[k * TR_GEMM_PITCH + i] = from[k];
            }
            for (int64_t q = 0; q < nq; q += g->cols) g->tile(r->sum + p * COLS + q, COLS, r->strip, TR_GEMM_PITCH, r->panel + q * ni, ni, n_row, i0 > 0);
        }
    }
    float *to = a->dw.data;
    for (int64_t p = 0; p < np; p++)
        for (int64_t q = 0; q < nq; q++)
            to[a->turned ? (q0 + q) * a->dw.shape[1] + p0 + p : (p0 + p) * a->dw.shape[1] + q0 + q] += r->sum[p * COLS + q];
    return TRESS_OK;
}

tress_status tr_cpu_linear_grad(tr_stream *s, tr_tensor dw, tr_tensor dy, tr_tensor x)
{
    const bool turned = dy.shape[1] > x.shape[1];
    job a = { .g = tr_gemm_get(s), .s = s, .dw = dw, .narrow = turned ? x : dy, .wide = turned ? dy : x, .turned = turned };
    if (tr_count(dw) == 0 || x.shape[0] == 0) return TRESS_OK;
    a.n_block = tr_parts(a.wide.shape[1], COLS);
    return tr_parallel(tr_cpu_threads(s), tr_parts(a.narrow.shape[1], ROWS_MAX) * a.n_block, block, &a);
}
