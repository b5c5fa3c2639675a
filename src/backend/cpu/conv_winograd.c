/* 3x3 convolution with stride 1 by F(4x4, 3x3): tiles of 4 x 4 results. Each thread transforms a batch of tiles, multiplies the
 * 36 matrices [tiles, c] [c, m] and transforms back, so what lies between stays in its caches.
 * Limits: 2 36 c m flops per tile of 16 results, against 2 144 c m directly. */
#include "backend/cpu/conv_int.h"

#include <string.h>

#define BATCH_FLOATS (1 << 18)                  /* of transformed pixels and results: 1 MiB */
#define BATCH_MIN 28
#define BATCH_MAX 112
#define LARGE_WEIGHTS ((int64_t)1 << 22)        /* floats of transformed weights beyond which they stream from memory: then long batches */

typedef struct job {
    const tr_conv *c;
    int64_t v_pitch, batch, tiles_x, tiles_y, n_tile;
    float  *u;                                  /* [36][m_pad / cols][c, cols] */
    float  *room;                               /* per thread: [36][batch, v_pitch], [36][batch, m_pad] */
    float  *zeros;                              /* [c]: pixels outside */
} job;

static tress_status weights(void *self, int64_t panel, int i_thread)
{
    const job *j = self;
    const tr_conv *c = j->c;
    (void)i_thread;
    c->g->wino_weights(j->u + panel * c->g->cols * c->n_c, c->m_pad * c->n_c, c->packed + panel * c->g->cols * c->n_c * 9, c->n_c);
    return TRESS_OK;
}

/* Where tile t of the picture lies. */
static void place(const job *j, int64_t t, int64_t *b, int64_t *row, int64_t *col)
{
    *col = t % j->tiles_x * 4;
    *row = t / j->tiles_x % j->tiles_y * 4;
    *b = t / j->tiles_x / j->tiles_y;
}

static void tile_in(const job *j, float *v, int64_t t)
{
    const tr_conv *c = j->c;
    const float *d[36];
    int64_t b, row, col;
    place(j, t, &b, &row, &col);
    for (int i = 0; i < 36; i++) {
        d[i] = tr_conv_pixel(c, b, row + i / 6 - c->a->pad_top, col + i % 6 - c->a->pad_left);
        if (!d[i]) d[i] = j->zeros;
    }
    c->g->wino_input(v, j->batch * j->v_pitch, d, c->n_c);
}

static void tile_out(const job *j, const float *m, int64_t t)
{
    const tr_conv *c = j->c;
    float *y[16];
    const float *residual[16] = { NULL };
    int64_t b, row, col;
    place(j, t, &b, &row, &col);
    for (int i = 0; i < 16; i++) {
        const int64_t r = row + i / 4, w = col + i % 4;
        const bool inside = r < c->y.shape[1] && w < c->y.shape[2];
        y[i] = inside ? (float *)c->y.data + b * c->y.stride[0] + r * c->y.stride[1] + w * c->y.stride[2] : NULL;
        if (inside && !tr_is_none(c->a->residual))
            residual[i] = (const float *)c->a->residual.data + b * c->a->residual.stride[0] + r * c->a->residual.stride[1] +
                          w * c->a->residual.stride[2];
    }
    c->g->wino_output(y, tr_is_none(c->a->residual) ? NULL : residual, m, j->batch * c->m_pad, c->bias, c->n_m);
}

static tress_status batch(void *self, int64_t item, int i_thread)
{
    const job *j = self;
    const tr_conv *c = j->c;
    const tr_gemm *g = c->g;
    float *v = j->room + i_thread * 36 * j->batch * (j->v_pitch + c->m_pad), *m = v + 36 * j->batch * j->v_pitch;
    const int64_t t0 = item * j->batch, n = tr_least(j->n_tile - t0, j->batch);
    for (int64_t t = 0; t < n; t++) tile_in(j, v + t * j->v_pitch, t0 + t);
    for (int64_t i = 0; i < 36; i++) {
        const float *vi = v + i * j->batch * j->v_pitch;
        float *mi = m + i * j->batch * c->m_pad;
        for (int64_t p = 0; p < c->n_m; p += g->cols) {
            const float *u = j->u + (i * c->m_pad + p) * c->n_c;
            for (int64_t k = 0; k < c->n_c; k += TR_GEMM_DEPTH)
                for (int64_t t = 0; t < n; t += g->rows)
                    g->tile(mi + t * c->m_pad + p, c->m_pad, vi + t * j->v_pitch + k, j->v_pitch, u + k * g->cols,
                            tr_least(c->n_c - k, TR_GEMM_DEPTH), (int)tr_least(n - t, g->rows), k > 0);
        }
    }
    for (int64_t t = 0; t < n; t++) tile_out(j, m + t * c->m_pad, t0 + t);
    return TRESS_OK;
}

tress_status tr_conv_winograd(const tr_conv *c)
{
    tress_status st = TRESS_OK;
    job j = { .c = c, .v_pitch = c->n_c % 256 == 0 ? c->n_c + 16 : c->n_c,
              .tiles_x = tr_parts(c->y.shape[2], 4), .tiles_y = tr_parts(c->y.shape[1], 4) };
    j.n_tile = c->y.shape[0] * j.tiles_y * j.tiles_x;
    const int64_t n_u = 36 * c->m_pad * c->n_c, fits = BATCH_FLOATS / (36 * (j.v_pitch + c->m_pad)) / 14 * 14;
    const int64_t most = n_u > LARGE_WEIGHTS || fits > BATCH_MAX ? BATCH_MAX : fits < BATCH_MIN ? BATCH_MIN : fits;
    j.batch = tr_parts(j.n_tile, tr_parts(j.n_tile, most));
    tr_tensor u, room, zeros;
    TR_TRY(tr_scratch(c->s, &u, TR_F32, TR_DIMS(n_u)));
    TR_TRY(tr_scratch(c->s, &room, TR_F32, TR_DIMS(c->n_thread, 36, j.batch, j.v_pitch + c->m_pad)));
    TR_TRY(tr_scratch(c->s, &zeros, TR_F32, TR_DIMS(c->n_c)));
    if (c->dry) goto done;
    j.u = u.data;
    j.room = room.data;
    j.zeros = zeros.data;
    memset(j.zeros, 0, (size_t)c->n_c * sizeof(float));
    TR_TRY(tr_parallel(c->n_thread, tr_parts(c->n_m, c->g->cols), weights, &j));
    TR_TRY(tr_parallel(c->n_thread, tr_parts(j.n_tile, j.batch), batch, &j));
done:
    return st;
}
