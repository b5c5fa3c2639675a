/* Convolution to few channels, as at the end of a decoder: where taps times results fill a tile or two, every pixel of x is
 * multiplied once by all taps' weights, [pixels, c] [c, taps m], and a result is the sum of taps of its neighbours' products.
 * Pixels are read where they lie. Limit: 2 pixels c (taps m in whole tiles) flops. */
#include "backend/cpu/conv_int.h"

#include <string.h>

#define ROOM_FLOATS ((int64_t)(TR_CPU_ROOM / sizeof(float)))
#define ROWS_MAX 16                             /* of y per item: two rows more of products than of results */

typedef struct job {
    const tr_conv *c;
    int64_t wide, rows, n_part;                 /* taps m in whole tiles; rows of y per item; items per picture */
    float  *w;                                  /* [wide / cols][c, cols]: column tap * m + result */
} job;

/* to[w, wide]: the products of one row of x. */
static void products(const job *j, float *to, const float *x)
{
    const tr_conv *c = j->c;
    const int64_t n = c->x.shape[2], pitch = c->x.stride[2];
    for (int64_t k = 0; k < c->n_c; k += TR_GEMM_DEPTH)
        for (int64_t p = 0; p < n; p += c->g->rows)
            for (int64_t m = 0; m < j->wide; m += c->g->cols)
                c->g->tile(to + p * j->wide + m, j->wide, x + p * pitch + k, pitch, j->w + m * c->n_c + k * c->g->cols,
                           tr_least(c->n_c - k, TR_GEMM_DEPTH), (int)tr_least(n - p, c->g->rows), k > 0);
}

/* One row of y; line[i] are the products of the row under tap row i, NULL outside. sum [w', TR_DOT_ROWS]: all of its columns are
 * summed, the ones behind the last result are other taps' and are not stored. */
static void gather(const job *j, float *y, const float *residual, const float *const *line, float *sum)
{
    const tr_conv *c = j->c;
    const int64_t kh = c->taps / c->kw, m = c->n_m, n = c->y.shape[2];
    for (int64_t col = 0; col < n; col++) memcpy(sum + col * TR_DOT_ROWS, c->bias, TR_DOT_ROWS * sizeof *sum);
    for (int64_t t = 0; t < kh; t++)
        for (int64_t l = 0; line[t] && l < c->kw; l++) {
            const int64_t shift = l - c->a->pad_left, first = shift < 0 ? -shift : 0, last = tr_least(n, c->x.shape[2] - shift);
            const float *from = line[t] + (t * c->kw + l) * m + shift * j->wide;
            for (int64_t col = first; col < last; col++)
                for (int o = 0; o < TR_DOT_ROWS; o++) sum[col * TR_DOT_ROWS + o] += from[col * j->wide + o];
        }
    for (int64_t col = 0; col < n; col++)
        for (int64_t o = 0; o < m; o++)
            y[col * c->y.stride[2] + o] = sum[col * TR_DOT_ROWS + o] + (residual ? residual[col * c->a->residual.stride[2] + o] : 0);
}

static tress_status rows_of(void *self, int64_t item, int i_thread)
{
    const job *j = self;
    const tr_conv *c = j->c;
    const tr_tensor *res = &c->a->residual;
    const int64_t b = item / j->n_part, r0 = item % j->n_part * j->rows, n = tr_least(c->y.shape[1] - r0, j->rows);
    const int64_t kh = c->taps / c->kw, size = c->x.shape[2] * j->wide;
    float *room = tr_cpu_room(c->s, i_thread);
    for (int64_t r = 0; r < n + kh - 1; r++) {
        const float *x = tr_conv_pixel(c, b, r0 + r - c->a->pad_top, 0);
        if (x) products(j, room + r * size, x);
    }
    for (int64_t r = 0; r < n; r++) {
        const float *line[TR_NARROW_TAPS];
        for (int64_t t = 0; t < kh; t++) line[t] = tr_conv_pixel(c, b, r0 + r + t - c->a->pad_top, 0) ? room + (r + t) * size : NULL;
        gather(j, (float *)c->y.data + b * c->y.stride[0] + (r0 + r) * c->y.stride[1],
               tr_is_none(*res) ? NULL : (const float *)res->data + b * res->stride[0] + (r0 + r) * res->stride[1], line,
               room + (n + kh - 1) * size);
    }
    return TRESS_OK;
}

/* The columns of all taps, and room to read TR_DOT_ROWS at the last one. */
static int64_t wide_of(const tr_conv *c)
{
    return tr_parts((c->taps - 1) * c->n_m + TR_DOT_ROWS, TR_GEMM_COLS_MAX) * TR_GEMM_COLS_MAX;
}

static int64_t rows_per_item(const tr_conv *c, int64_t wide)
{
    return tr_least(ROWS_MAX, (ROOM_FLOATS - c->y.shape[2] * TR_DOT_ROWS) / (c->x.shape[2] * wide) - (c->taps / c->kw - 1));
}

bool tr_conv_is_narrow(const tr_conv *c)
{
    const int64_t wide = wide_of(c);
    return c->n_m <= TR_DOT_ROWS && c->taps <= TR_NARROW_TAPS && c->a->stride == 1 && c->a->upsample == 1 && rows_per_item(c, wide) >= 1;
}

tress_status tr_conv_narrow(const tr_conv *c)
{
    tress_status st = TRESS_OK;
    job j = { .c = c, .wide = wide_of(c) };
    tr_tensor w;
    TR_TRY(tr_scratch(c->s, &w, TR_F32, TR_DIMS(j.wide, c->n_c)));
    if (c->dry) goto done;
    j.w = w.data;
    j.rows = rows_per_item(c, j.wide);
    j.n_part = tr_parts(c->y.shape[1], j.rows);
    memset(j.w, 0, (size_t)(j.wide * c->n_c) * sizeof(float));
    for (int64_t t = 0; t < c->taps; t++)
        for (int64_t m = 0; m < c->n_m; m++) {
            const int64_t column = t * c->n_m + m, panel = column / c->g->cols, cols = c->g->cols;
            for (int64_t ch = 0; ch < c->n_c; ch++)
                j.w[(panel * c->n_c + ch) * cols + column % cols] = c->packed[(ch * c->taps + t) * cols + m];
        }
    TR_TRY(tr_parallel(c->n_thread, c->y.shape[0] * j.n_part, rows_of, &j));
done:
    return st;
}
