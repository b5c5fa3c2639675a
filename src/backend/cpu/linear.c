/* Linear layers in plain C: blocks of rows times blocks of converted weights. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/heavy.h"

#define ROWS  64
#define COLS  32
#define DEPTH 512                               /* of the inner dimension at a time; 32 x 512 floats stay in the cache */

typedef struct job {
    tr_stream *s;
    tr_tensor  y, x, w, b, low, up;
    tr_epilogue e;
    int64_t n, m, n_block_m;
} job;

/* sum[i][j] += x[i0 + i] . w[j0 + j] over the whole inner dimension. */
static void add_product(float (*sum)[COLS], float *wide, tr_tensor x, tr_tensor w, int64_t i0, int64_t ni, int64_t j0, int64_t nj)
{
    const int64_t k = x.shape[1];
    for (int64_t k0 = 0; k0 < k; k0 += DEPTH) {
        const int64_t nk = k - k0 < DEPTH ? k - k0 : DEPTH;
        for (int64_t j = 0; j < nj; j++) tr_weight_row(wide + j * DEPTH, w, (j0 + j) * k + k0, nk);
        for (int64_t i = 0; i < ni; i++) {
            const float *xi = (const float *)x.data + (i0 + i) * x.stride[0] + k0;
            for (int64_t j = 0; j < nj; j++) sum[i][j] += tr_dot(xi, wide + j * DEPTH, nk);
        }
    }
}

static const float *row_of(tr_tensor t, int64_t i, int64_t j0) { return (const float *)t.data + i * t.stride[0] + j0; }

/* One row of the result from one row of sums: the order of tr_epilogue. */
static void finish_row(const job *a, float *h, const float *bias, int64_t i, int64_t j0, int64_t nj)
{
    const float scale = a->e.scale == 0 ? 1 : a->e.scale;
    for (int64_t j = 0; j < nj; j++) h[j] = scale * (h[j] + bias[j]);
    tr_act_row(h, nj, a->e.act);
    if (!tr_is_none(a->e.mul)) {
        const float *mul = row_of(a->e.mul, i, j0);
        for (int64_t j = 0; j < nj; j++) h[j] *= mul[j];
    }
    if (!tr_is_none(a->e.gate)) {
        const float *gate = row_of(a->e.gate, i / (a->n / a->e.gate.shape[0]), j0);
        for (int64_t j = 0; j < nj; j++) h[j] *= gate[j];
    }
    if (!tr_is_none(a->e.residual)) {
        const float *residual = row_of(a->e.residual, i, j0);
        for (int64_t j = 0; j < nj; j++) h[j] += residual[j];
    }
    float *y = (float *)a->y.data + i * a->y.stride[0] + j0;
    for (int64_t j = 0; j < nj; j++) y[j] = h[j];
}

static tress_status block(void *self, int64_t item, int i_thread)
{
    const job *a = self;
    float *wide = tr_cpu_room(a->s, i_thread);
    float (*sum)[COLS] = (float (*)[COLS])(wide + COLS * DEPTH);
    const int64_t i0 = item / a->n_block_m * ROWS, j0 = item % a->n_block_m * COLS;
    const int64_t ni = a->n - i0 < ROWS ? a->n - i0 : ROWS, nj = a->m - j0 < COLS ? a->m - j0 : COLS;
    float bias[COLS] = { 0 };
    if (!tr_is_none(a->b)) tr_weight_row(bias, a->b, j0, nj);
    for (int64_t i = 0; i < ni; i++)
        for (int64_t j = 0; j < nj; j++) sum[i][j] = 0;
    add_product(sum, wide, a->x, a->w, i0, ni, j0, nj);
    if (!tr_is_none(a->low)) add_product(sum, wide, a->low, a->up, i0, ni, j0, nj);
    for (int64_t i = 0; i < ni; i++) finish_row(a, sum[i], bias, i0 + i, j0, nj);
    return TRESS_OK;
}

tress_status tr_cpu_linear(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, tr_tensor low, tr_tensor up, const tr_epilogue *e)
{
    job a = { .s = s, .y = y, .x = x, .w = w, .b = b, .low = low, .up = up, .n = y.shape[0], .m = y.shape[1] };
    if (e) a.e = *e;
    a.n_block_m = (a.m + COLS - 1) / COLS;
    return tr_parallel(tr_cpu_threads(s), (a.n + ROWS - 1) / ROWS * a.n_block_m, block, &a);
}
