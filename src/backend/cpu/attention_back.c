/* Backward of attention: the scores are made again, block by block, with keys as rows and queries as columns, so that the sums for dk and dv
 * stay where they are while queries pass by. The scores' gradient is also laid out as panels, which the product for dq^T reads.
 *     Dao et al. 2022, arXiv:2205.14135, alg. 4
 * Limits: 10 n_q n_k d flops per head, and n_q n_k exponentials. */
#include "backend/cpu/gemm.h"

#include <math.h>
#include <string.h>

#define BLOCK TR_GEMM_DEPTH                     /* keys, and queries, at a time: inner dimension of the products */

typedef struct job {
    const tr_gemm *g;
    tr_stream *s;
    const tr_attention_back_args *a;
    int64_t n_q, n_k, n_h, d, d_pad;            /* d_pad: whole tiles */
    int64_t block;                              /* of keys and of queries */
} job;

/* What a thread needs for a head. */
typedef struct room {
    float *p, *ds;                              /* [rows of a tile, TR_GEMM_PITCH] */
    float *q, *d_o;                             /* [block / cols][d, cols]: columns are queries */
    float *q_rows, *do_rows;                    /* [d_pad / cols][block, cols]: rows are queries */
    float *k_turned;                            /* [d, TR_GEMM_PITCH] */
    float *ds_panel;                            /* [block / cols][block, cols] */
    float *dk, *dv;                             /* [block, d_pad] */
    float *dq;                                  /* [d, block] */
    float *lse, *delta;                         /* [block] */
} room;

static bool room_of(room *r, const job *j, int i_thread)
{
    float *at = tr_cpu_room(j->s, i_thread), *const begin = at;
    const int64_t side = j->block * j->d_pad, strip = TR_GEMM_ROWS_MAX * TR_GEMM_PITCH;
    const struct { float **p; int64_t n; } part[] = {
        { &r->p, strip }, { &r->ds, strip }, { &r->q, side }, { &r->d_o, side }, { &r->q_rows, side }, { &r->do_rows, side },
        { &r->k_turned, j->d_pad * TR_GEMM_PITCH }, { &r->ds_panel, j->block * j->block }, { &r->dk, side }, { &r->dv, side }, { &r->dq, side },
        { &r->lse, j->block }, { &r->delta, j->block },
    };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i].p = at;
        at += part[i].n;
    }
    return (size_t)(at - begin) * sizeof *at <= TR_CPU_ROOM;
}

static float *row_of(tr_tensor t, int64_t b, int64_t i, int64_t h) { return (float *)t.data + b * t.stride[0] + i * t.stride[1] + h * t.stride[2]; }

/* Rows i0 .. + n of t [b, n, h, d]: as columns into turned, as rows into rows (NULL: not wanted). */
static void pack(const job *j, float *turned, float *rows, tr_tensor t, int64_t b, int64_t h, int64_t i0, int64_t n)
{
    const int64_t cols = j->g->cols, pitch = t.stride[1] * (int64_t)sizeof(float);
    for (int64_t i = 0; i < n; i += cols) j->g->pack(turned + i * j->d, row_of(t, b, i0 + i, h), TR_F32, pitch, (int)tr_least(n - i, cols), j->d);
    for (int64_t c = 0; rows && c < j->d; c += cols)
        j->g->pack_rows(rows + c * n, row_of(t, b, i0, h) + c, TR_F32, pitch, (int)tr_least(j->d - c, cols), n);
}

/* delta_i = do_i . o_i, and the log of the softmax's denominator without the query's own weight. Columns that no query has, and queries
 * that see nothing, get an infinite denominator: their weights are 0. */
static void prepare_queries(const job *j, const room *r, int64_t b, int64_t h, int64_t i0, int64_t n)
{
    const tr_attention_back_args *a = j->a;
    for (int64_t i = 0; i < n; i++) {
        const float *o = row_of(a->o, b, i0 + i, h), *g = row_of(a->d_o, b, i0 + i, h);
        const float lse = ((const float *)a->lse.data)[(b * j->n_h + h) * j->n_q + i0 + i];
        const float logw = tr_is_none(a->query_logw) ? 0 : ((const float *)a->query_logw.data)[i0 + i];
        double sum = 0;
        for (int64_t c = 0; c < j->d; c++) sum += (double)o[c] * (double)g[c];
        r->delta[i] = (float)sum;
        r->lse[i] = lse == -INFINITY || logw == -INFINITY ? INFINITY : lse - logw;
    }
    for (int64_t i = n; i < tr_parts(n, j->g->cols) * j->g->cols; i++) {
        r->delta[i] = 0;
        r->lse[i] = INFINITY;
    }
}

/* Keys j0 + k .. + n_row against the packed queries: their share of dk, dv and the panels for dq. n_wide: queries in whole tiles. */
static void strip(const job *j, const room *r, int64_t b, int64_t h, int64_t j0, int64_t k, int n_row, int64_t n_key, int64_t n_query, int64_t n_wide)
{
    const tr_gemm *g = j->g;
    const tr_attention_back_args *a = j->a;
    const float *keys = row_of(a->k, b, j0 + k, h), *values = row_of(a->v, b, j0 + k, h);
    for (int64_t c = 0; c < j->d; c += TR_GEMM_DEPTH)
        for (int64_t q = 0; q < n_wide; q += g->cols) {
            const int64_t depth = tr_least(j->d - c, TR_GEMM_DEPTH);
            g->tile(r->p + q, TR_GEMM_PITCH, keys + c, a->k.stride[1], r->q + q * j->d + c * g->cols, depth, n_row, c > 0);
            g->tile(r->ds + q, TR_GEMM_PITCH, values + c, a->v.stride[1], r->d_o + q * j->d + c * g->cols, depth, n_row, c > 0);
        }
    for (int i = 0; i < n_row; i++) {
        const float logw = tr_is_none(a->key_logw) ? 0 : ((const float *)a->key_logw.data)[j0 + k + i];
        float *ds = r->ds + i * TR_GEMM_PITCH;
        g->softmax_back(r->p + i * TR_GEMM_PITCH, ds, n_wide, a->scale, logw, r->lse, r->delta);
        for (int64_t q = 0; !tr_is_none(a->dq) && q < n_wide; q += g->cols)
            memcpy(r->ds_panel + q * n_key + (k + i) * g->cols, ds + q, (size_t)g->cols * sizeof *ds);
    }
    for (int64_t c = 0; !tr_is_none(a->dk) && c < j->d; c += g->cols) {
        g->tile(r->dv + k * j->d_pad + c, j->d_pad, r->p, TR_GEMM_PITCH, r->do_rows + c * n_query, n_query, n_row, true);
        g->tile(r->dk + k * j->d_pad + c, j->d_pad, r->ds, TR_GEMM_PITCH, r->q_rows + c * n_query, n_query, n_row, true);
    }
}

/* dq of the queries i0 .. + n from the panels of a block of n_key keys. */
static void finish_queries(const job *j, const room *r, int64_t b, int64_t h, int64_t i0, int64_t n, int64_t n_key, int64_t n_wide, bool add)
{
    const tr_gemm *g = j->g;
    for (int64_t c = 0; c < j->d; c += g->rows)
        for (int64_t q = 0; q < n_wide; q += g->cols)
            g->tile(r->dq + c * j->block + q, j->block, r->k_turned + c * TR_GEMM_PITCH, TR_GEMM_PITCH, r->ds_panel + q * n_key, n_key,
                    (int)tr_least(j->d - c, g->rows), false);
    for (int64_t i = 0; i < n; i++) {
        float *to = row_of(j->a->dq, b, i0 + i, h);
        for (int64_t c = 0; c < j->d; c++) to[c] = (add ? to[c] : 0) + r->dq[c * j->block + i];
    }
}

static void finish_keys(const job *j, tr_tensor to, const float *sum, int64_t b, int64_t h, int64_t j0, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        float *row = row_of(to, b, j0 + k, h);
        for (int64_t c = 0; c < j->d; c++) row[c] = (j->a->add_kv ? row[c] : 0) + sum[k * j->d_pad + c];
    }
}

static tress_status head(void *self, int64_t item, int i_thread)
{
    const job *j = self;
    const tr_attention_back_args *a = j->a;
    const int64_t h = item % j->n_h, b = item / j->n_h, cols = j->g->cols;
    room r;
    TR_ASSERT(room_of(&r, j, i_thread));
    for (int64_t j0 = 0; j0 < j->n_k; j0 += j->block) {
        const int64_t n_key = tr_least(j->n_k - j0, j->block);
        memset(r.dk, 0, (size_t)(n_key * j->d_pad) * sizeof(float));
        memset(r.dv, 0, (size_t)(n_key * j->d_pad) * sizeof(float));
        for (int64_t k = 0; k < n_key; k++)
            for (int64_t c = 0; c < j->d; c++) r.k_turned[c * TR_GEMM_PITCH + k] = row_of(a->k, b, j0 + k, h)[c];
        for (int64_t i0 = 0; i0 < j->n_q; i0 += j->block) {
            const int64_t n = tr_least(j->n_q - i0, j->block), n_wide = tr_parts(n, cols) * cols;
            pack(j, r.q, r.q_rows, a->q, b, h, i0, n);
            pack(j, r.d_o, r.do_rows, a->d_o, b, h, i0, n);
            prepare_queries(j, &r, b, h, i0, n);
            for (int64_t k = 0; k < n_key; k += j->g->rows)
                strip(j, &r, b, h, j0, k, (int)tr_least(n_key - k, j->g->rows), n_key, n, n_wide);
            if (!tr_is_none(a->dq)) finish_queries(j, &r, b, h, i0, n, n_key, n_wide, a->add_q || j0 > 0);
        }
        if (!tr_is_none(a->dk)) {
            finish_keys(j, a->dk, r.dk, b, h, j0, n_key);
            finish_keys(j, a->dv, r.dv, b, h, j0, n_key);
        }
    }
    return TRESS_OK;
}

tress_status tr_cpu_attention_back(tr_stream *s, const tr_attention_back_args *a)
{
    const tr_gemm *g = tr_gemm_get(s);
    job j = { .g = g, .s = s, .a = a, .n_q = a->q.shape[1], .n_k = a->k.shape[1], .n_h = a->q.shape[2], .d = a->q.shape[3] };
    j.d_pad = tr_parts(j.d, g->cols) * g->cols;
    if (a->q.shape[0] * j.n_h * j.n_q * j.n_k * j.d == 0) return TRESS_OK;
    room r;
    for (j.block = BLOCK; j.block > g->cols && !room_of(&r, &j, 0); j.block = tr_parts(j.block / 2, g->cols) * g->cols) continue;
    if (!room_of(&r, &j, 0)) return tr_fail(TRESS_E_SHAPE, "attention: a head of %" PRId64 " channels is too wide for its backward", j.d);
    return tr_parallel(tr_cpu_threads(s), a->q.shape[0] * j.n_h, head, &j);
}
