/* Linear layers and their backward. n rows of k against m: a block of columns of the weights is widened and packed once, then strips
 * of rows pass over it; sums stay in a block that fits a second-level cache, and the epilogue runs while they are there.
 * Backward, the same weights are read across: rows of m against k.
 * Limits: 2 n m k flops; for few rows the bytes of w, each of which is then read once. */
#include "backend/cpu/gemm.h"

#include <string.h>

#define FEW        20                           /* rows up to which dot products beat packing, which costs as much as 16 rows */
#define BLOCK_COLS 64                           /* with 1008 rows: packing is paid once for the rows of most calls; sums: 252 KiB */
#define BLOCK_ROWS 1008
#define COPY_COLS  128                          /* where rows must be copied out: shared by more columns, and half the rows */
#define COPY_STRIDE 512                         /* rows so many floats apart, or a multiple, share two cache sets: they are copied out */
#define FEW_COLS   32                           /* weights per item of the few-rows path */

typedef struct job {
    const tr_gemm *g;
    tr_stream *s;
    tr_tensor  y, x, w, b, low, up;
    bool       across;                          /* y = x w + low up: w [k, m], up [r, m], rather than x w^T + low up^T */
    tr_epilogue e;
    int64_t n, m, rows, cols, n_block_m;        /* of a block */
} job;

/* What a thread needs for a block. */
typedef struct room {
    float strip[TR_GEMM_ROWS_MAX * TR_GEMM_PITCH];
    float panel[COPY_COLS * TR_GEMM_DEPTH];     /* [cols / g->cols][depth, g->cols] */
    float sum[BLOCK_ROWS * BLOCK_COLS];
    float bias[COPY_COLS];
} room;

static const float *row_of(tr_tensor t, int64_t i, int64_t j) { return (const float *)t.data + i * t.stride[0] + j; }

/* y[i0 .. + n_row, j0 .. + nj] from sums, row stride ld. */
static void finish_rows(const job *a, const float *sum, int64_t ld, const float *bias, int64_t i0, int64_t n_row, int64_t j0, int64_t nj)
{
    tr_finish f = { .bias = bias, .scale = a->e.scale == 0 ? 1 : a->e.scale, .act = a->e.act, .more_scale = a->e.more_scale };
    for (int64_t i = i0; i < i0 + n_row; i++) {
        if (!tr_is_none(a->e.mul)) f.mul = row_of(a->e.mul, i, j0);
        if (!tr_is_none(a->e.gate)) f.gate = row_of(a->e.gate, i / (a->n / a->e.gate.shape[0]), j0);
        if (!tr_is_none(a->e.residual)) f.residual = row_of(a->e.residual, i, j0);
        if (!tr_is_none(a->e.more)) f.more = row_of(a->e.more, i, j0);
        a->g->finish((float *)a->y.data + i * a->y.stride[0] + j0, sum + (i - i0) * ld, nj, &f);
    }
}

static const float *bias_of(const job *a, float *bias, int64_t j0, int64_t nj)
{
    if (tr_is_none(a->b)) return NULL;
    a->g->widen(bias, (const char *)a->b.data + (size_t)j0 * tr_dtype_size(a->b.dtype), a->b.dtype, nj);
    return bias;
}

/* ---- many rows -------------------------------------------------------------------------------------------- */
/* panel[nj / g->cols][nk, g->cols]: columns j0 .. + nj of the result, k0 .. + nk of the inner dimension. */
static void pack_block(const job *a, float *panel, tr_tensor w, int64_t j0, int64_t nj, int64_t k0, int64_t nk)
{
    const tr_gemm *g = a->g;
    const int64_t size = (int64_t)tr_dtype_size(w.dtype), pitch = w.shape[1] * size;
    for (int64_t j = 0; j < nj; j += g->cols) {
        const int n = (int)tr_least(nj - j, g->cols);
        if (a->across) g->pack_rows(panel + j * nk, (const char *)w.data + k0 * pitch + (j0 + j) * size, w.dtype, pitch, n, nk);
        else g->pack(panel + j * nk, (const char *)w.data + (j0 + j) * pitch + k0 * size, w.dtype, pitch, n, nk);
    }
}

/* Ask for lines that will be needed a strip later: rows apart are more streams than the machine foresees by itself. */
static void fetch(const float *p, int64_t ld, int64_t n_row, int64_t n, const bool to_write)
{
    for (int64_t i = 0; i < n_row; i++)
        for (int64_t j = 0; j < n; j += 16) {
            if (to_write) __builtin_prefetch(p + i * ld + j, 1, 2);
            else __builtin_prefetch(p + i * ld + j, 0, 2);
        }
}

/* sum (+)= x w^T (or x w) over all of k; the epilogue follows the last pass of the last product. */
static void product(const job *a, room *r, tr_tensor x, tr_tensor w, bool first, bool last, const float *bias,
                    int64_t i0, int64_t ni, int64_t j0, int64_t nj)
{
    const tr_gemm *g = a->g;
    const int64_t k = x.shape[1];
    const bool copy = x.stride[0] % COPY_STRIDE == 0;
    for (int64_t k0 = 0; k0 < k; k0 += TR_GEMM_DEPTH) {
        const int64_t nk = tr_least(k - k0, TR_GEMM_DEPTH);
        const bool add = !first || k0 > 0, done = last && k0 + nk == k;
        pack_block(a, r->panel, w, j0, nj, k0, nk);
        for (int64_t i = 0; i < ni; i += g->rows) {
            const int n_row = (int)tr_least(ni - i, g->rows);
            float *sum = !add && done ? r->sum : r->sum + i * a->cols;          /* one pass: the strip stays where it is */
            const float *strip = row_of(x, i0 + i, k0);
            fetch(strip + g->rows * x.stride[0], x.stride[0], tr_least(ni - i - n_row, g->rows), nk, false);
            if (done) fetch(row_of(a->y, i0 + i, j0), a->y.stride[0], n_row, nj, true);
            if (copy) {
                for (int l = 0; l < n_row; l++)
                    memcpy(r->strip + l * TR_GEMM_PITCH, strip + l * x.stride[0], (size_t)nk * sizeof(float));
                strip = r->strip;
            }
            for (int64_t j = 0; j < nj; j += g->cols)
                g->tile(sum + j, a->cols, strip, copy ? TR_GEMM_PITCH : x.stride[0], r->panel + j * nk, nk, n_row, add);
            if (done) finish_rows(a, sum, a->cols, bias, i0 + i, n_row, j0, nj);
        }
    }
}

static tress_status block(void *self, int64_t item, int i_thread)
{
    const job *a = self;
    room *r = tr_cpu_room(a->s, i_thread);
    const int64_t i0 = item / a->n_block_m * a->rows, j0 = item % a->n_block_m * a->cols;
    const int64_t ni = tr_least(a->n - i0, a->rows), nj = tr_least(a->m - j0, a->cols);
    const float *bias = bias_of(a, r->bias, j0, nj);
    const bool adapted = !tr_is_none(a->low);
    product(a, r, a->x, a->w, true, !adapted, bias, i0, ni, j0, nj);
    if (adapted) product(a, r, a->low, a->up, false, true, bias, i0, ni, j0, nj);
    return TRESS_OK;
}

/* ---- few rows --------------------------------------------------------------------------------------------- */
static void dots(const job *a, float *sum, tr_tensor x, tr_tensor w, bool add, int64_t j0, int64_t nj)
{
    const int64_t size = (int64_t)tr_dtype_size(w.dtype), pitch = w.shape[1] * size;
    float part[TR_DOT_ROWS][TR_DOT_ROWS];
    for (int64_t j = 0; j < nj; j += TR_DOT_ROWS)
        for (int64_t i = 0; i < a->n; i += TR_DOT_ROWS) {
            const int n_x = (int)tr_least(a->n - i, TR_DOT_ROWS), n_w = (int)tr_least(nj - j, TR_DOT_ROWS);
            a->g->dots(part, row_of(x, i, 0), x.stride[0], n_x, (const char *)w.data + (j0 + j) * pitch, w.dtype, pitch, n_w, x.shape[1]);
            for (int l = 0; l < n_x; l++)
                for (int h = 0; h < n_w; h++) {
                    float *to = sum + (i + l) * FEW_COLS + j + h;
                    *to = add ? *to + part[l][h] : part[l][h];
                }
        }
}

static tress_status columns(void *self, int64_t item, int i_thread)
{
    const job *a = self;
    const int64_t j0 = item * FEW_COLS, nj = tr_least(a->m - j0, FEW_COLS);
    float sum[FEW * FEW_COLS], bias[FEW_COLS];
    (void)i_thread;
    dots(a, sum, a->x, a->w, false, j0, nj);
    if (!tr_is_none(a->low)) dots(a, sum, a->low, a->up, true, j0, nj);
    finish_rows(a, sum, FEW_COLS, bias_of(a, bias, j0, nj), 0, a->n, j0, nj);
    return TRESS_OK;
}

static void across(const job *a, float *sum, tr_tensor x, tr_tensor w, bool add, int64_t j0, int64_t nj)
{
    const int64_t size = (int64_t)tr_dtype_size(w.dtype), pitch = w.shape[1] * size;
    for (int64_t i = 0; i < a->n; i += TR_DOT_ROWS)
        a->g->across((float (*)[TR_ACROSS_COLS])(sum + i * TR_ACROSS_COLS), row_of(x, i, 0), x.stride[0], (int)tr_least(a->n - i, TR_DOT_ROWS),
                     (const char *)w.data + j0 * size, w.dtype, pitch, nj, x.shape[1], add);
}

static tress_status columns_across(void *self, int64_t item, int i_thread)
{
    const job *a = self;
    const int64_t j0 = item * TR_ACROSS_COLS, nj = tr_least(a->m - j0, TR_ACROSS_COLS);
    float sum[FEW * TR_ACROSS_COLS];
    (void)i_thread;
    across(a, sum, a->x, a->w, false, j0, nj);
    if (!tr_is_none(a->low)) across(a, sum, a->low, a->up, true, j0, nj);
    finish_rows(a, sum, TR_ACROSS_COLS, NULL, 0, a->n, j0, nj);
    return TRESS_OK;
}

/* Equal parts of at most `most` in whole units. */
static int64_t even(int64_t n, int64_t most, int64_t unit)
{
    const int64_t n_part = tr_parts(n, most);
    return tr_parts(tr_parts(n, n_part), unit) * unit;
}

static tress_status run(job *a, const tr_epilogue *e)
{
    a->g = tr_gemm_get(a->s);
    a->n = a->y.shape[0];
    a->m = a->y.shape[1];
    if (e) a->e = *e;
    const int n_thread = tr_cpu_threads(a->s);
    if (a->n == 0 || a->m == 0) return TRESS_OK;
    if (a->n <= FEW && a->across) return tr_parallel(n_thread, tr_parts(a->m, TR_ACROSS_COLS), columns_across, a);
    if (a->n <= FEW) return tr_parallel(n_thread, tr_parts(a->m, FEW_COLS), columns, a);
    const int64_t most = a->x.stride[0] % COPY_STRIDE ? BLOCK_COLS : COPY_COLS, most_rows = BLOCK_ROWS * BLOCK_COLS / most;
    a->cols = even(a->m, most, a->g->cols);
    a->rows = even(a->n, most_rows / a->g->rows * a->g->rows, a->g->rows);
    a->n_block_m = tr_parts(a->m, a->cols);
    return tr_parallel(n_thread, tr_parts(a->n, a->rows) * a->n_block_m, block, a);
}

tress_status tr_cpu_linear(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, tr_tensor low, tr_tensor up, const tr_epilogue *e)
{
    return run(&(job){ .s = s, .y = y, .x = x, .w = w, .b = b, .low = low, .up = up }, e);
}

tress_status tr_cpu_linear_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor w, tr_tensor low, tr_tensor a, const tr_epilogue *e)
{
    return run(&(job){ .s = s, .y = dx, .x = dy, .w = w, .low = low, .up = a, .across = true }, e);
}
