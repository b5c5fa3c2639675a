/* Softmax attention over several key segments, one pass over the keys in blocks with a running maximum, so that the matrix of
 * scores is never held. A block of keys and values is packed once for all queries of an item; a strip of queries then makes
 * its scores, their softmax and its share of the result while they are in the first-level cache.
 *     Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135
 * Limits: 4 n_q n_k d flops per head, and n_q n_k exponentials at about one cycle each: 8 d / 64 cycles of products each. */
#include "backend/cpu/gemm.h"

#include <math.h>
#include <string.h>

#define KEYS TR_GEMM_DEPTH                      /* per block: the inner dimension of the second product */
#define ROOM_PART ((int64_t)(TR_CPU_ROOM / sizeof(float) / 3))       /* floats for keys and values; for queries and results */
#define NEAR 512                                /* floats */
#define ITEMS 8                                 /* at least so many, where there are queries enough */

typedef struct job {
    const tr_gemm *g;
    tr_stream *s;
    const tr_attention_args *a;
    int64_t n_q, n_h, d, d_pad, pitch;          /* d_pad: whole tiles; pitch of copied queries, 0: they are read where they lie */
    int64_t keys, rows, n_part;                 /* keys per block, queries per item, items per head */
} job;

/* What a thread needs for an item. */
typedef struct room {
    float *p;                                   /* a strip of scores */
    float *k, *v;                               /* [keys / cols][d, cols], [d_pad / cols][keys, cols] */
    float *o, *max, *sum;                       /* [rows, d_pad], [rows], [rows] */
    float *copy;                                /* [rows, pitch] */
    const float *q;                             /* of the item: copy or in place */
    int64_t q_pitch;
} room;

static room room_of(const job *j, int i_thread)
{
    room r = { 0 };
    r.p = tr_cpu_room(j->s, i_thread);
    r.k = r.p + TR_GEMM_ROWS_MAX * TR_GEMM_PITCH;
    r.v = r.k + j->keys * j->d_pad;
    r.copy = r.v + j->keys * j->d_pad;
    r.o = r.copy + j->rows * j->pitch;
    r.max = r.o + j->rows * j->d_pad;
    r.sum = r.max + j->rows;
    TR_ASSERT((char *)(r.sum + j->rows) <= (char *)r.p + TR_CPU_ROOM);
    return r;
}

static const float *row_of(tr_tensor t, int64_t b, int64_t i, int64_t h)
{
    return (const float *)t.data + b * t.stride[0] + i * t.stride[1] + h * t.stride[2];
}

/* Keys j0 .. + n of a segment into r->k and r->v. */
static void pack_keys(const job *j, const room *r, const tr_attention_segment *s, int64_t b, int64_t h, int64_t j0, int64_t n)
{
    const int64_t cols = j->g->cols, d = j->d;
    for (int64_t i = 0; i < n; i += cols)
        j->g->pack(r->k + i * d, row_of(s->k, b, j0 + i, h), TR_F32, s->k.stride[1] * (int64_t)sizeof(float), (int)tr_least(n - i, cols), d);
    for (int64_t i = 0; i < n; i++) {
        const float *from = row_of(s->v, b, j0 + i, h);
        for (int64_t c = 0; c < d; c += cols) {
            float *to = r->v + c * n + i * cols;
            const int64_t n_c = tr_least(d - c, cols);
            memcpy(to, from + c, (size_t)n_c * sizeof *to);
            if (n_c < cols) memset(to + n_c, 0, (size_t)(cols - n_c) * sizeof *to);
        }
    }
}

/* Queries i0 + i .. + n_row of an item that begins at i0, against the packed keys j0 .. + n. */
static void strip(const job *j, const room *r, const tr_attention_segment *s, int64_t h, int64_t i0, int64_t i, int n_row,
                  int64_t j0, int64_t n)
{
    const tr_gemm *g = j->g;
    const int64_t q0 = i0 + i, n_k = s->k.shape[1];
    float shrink[TR_GEMM_ROWS_MAX];
    for (int64_t c = 0; c < j->d; c += TR_GEMM_DEPTH)
        for (int64_t k = 0; k < n; k += g->cols)
            g->tile(r->p + k, TR_GEMM_PITCH, r->q + i * r->q_pitch + c, r->q_pitch, r->k + k * j->d + c * g->cols,
                    tr_least(j->d - c, TR_GEMM_DEPTH), n_row, c > 0);
    const tr_softmax soft = {
        .p = r->p, .rows = n_row, .n = n, .scale = j->a->scale,
        .bias = tr_is_none(s->bias) ? NULL : (const float *)s->bias.data + (h * j->n_q + q0) * n_k + j0, .bias_pitch = n_k,
        .key_logw = tr_is_none(s->key_logw) ? NULL : (const float *)s->key_logw.data + j0,
        .query_logw = tr_is_none(s->query_logw) ? NULL : (const float *)s->query_logw.data + q0,
        .causal = s->causal, .first_seen = q0 - j0 + 1, .max = r->max + i, .sum = r->sum + i, .shrink = shrink,
    };
    g->softmax(&soft);
    float *o = r->o + i * j->d_pad;
    g->scale_rows(o, j->d_pad, n_row, j->d_pad, shrink);
    for (int64_t c = 0; c < j->d; c += g->cols) g->tile(o + c, j->d_pad, r->p, TR_GEMM_PITCH, r->v + c * n, n, n_row, true);
}

static tress_status item(void *self, int64_t i_item, int i_thread)
{
    const job *j = self;
    const tr_attention_args *a = j->a;
    room r = room_of(j, i_thread);
    const int64_t i0 = i_item % j->n_part * j->rows, h = i_item / j->n_part % j->n_h, b = i_item / j->n_part / j->n_h;
    const int64_t n_i = tr_least(j->n_q - i0, j->rows);
    r.q = j->pitch ? r.copy : row_of(a->q, b, i0, h);
    r.q_pitch = j->pitch ? j->pitch : a->q.stride[1];
    memset(r.o, 0, (size_t)(n_i * j->d_pad) * sizeof(float));
    for (int64_t i = 0; i < n_i; i++) {
        if (j->pitch) memcpy(r.copy + i * j->pitch, row_of(a->q, b, i0 + i, h), (size_t)j->d * sizeof(float));
        r.max[i] = -INFINITY;
        r.sum[i] = 0;
    }
    for (int i_segment = 0; i_segment < a->n_segment; i_segment++) {
        const tr_attention_segment *s = &a->segment[i_segment];
        const int64_t n_k = s->causal ? tr_least(s->k.shape[1], i0 + n_i) : s->k.shape[1];
        for (int64_t j0 = 0; j0 < n_k; j0 += j->keys) {
            const int64_t n = tr_least(n_k - j0, j->keys);
            pack_keys(j, &r, s, b, h, j0, n);
            for (int64_t i = 0; i < n_i; i += j->g->rows)
                strip(j, &r, s, h, i0, i, (int)tr_least(n_i - i, j->g->rows), j0, n);
        }
    }
    for (int64_t i = 0; i < n_i; i++) {
        const float rest = r.sum[i] == 0 ? 0 : 1 / r.sum[i];            /* a query that sees nothing gives zeros */
        float *o = (float *)a->o.data + b * a->o.stride[0] + (i0 + i) * a->o.stride[1] + h * a->o.stride[2];
        j->g->finish(o, r.o + i * j->d_pad, j->d, &(tr_finish){ .scale = rest });
        if (!tr_is_none(a->lse))
            ((float *)a->lse.data)[(b * j->n_h + h) * j->n_q + i0 + i] = r.sum[i] == 0 ? -INFINITY : r.max[i] + logf(r.sum[i]);
    }
    return TRESS_OK;
}

static tress_status attend(tr_stream *s, const tr_attention_args *a)
{
    const tr_gemm *g = tr_gemm_get(s);
    const int64_t b = a->q.shape[0], d = a->q.shape[3], cols = g->cols;
    job j = { .g = g, .s = s, .a = a, .n_q = a->q.shape[1], .n_h = a->q.shape[2], .d = d, .d_pad = tr_parts(d, cols) * cols };
    /* Queries far apart cost a page each, every time: they are copied. So are those whose rows share two cache sets. */
    if (a->q.stride[1] >= NEAR) j.pitch = j.d_pad % 256 == 0 ? j.d_pad + 16 : j.d_pad;
    if (b * j.n_h * j.n_q * d == 0) return TRESS_OK;
    j.keys = tr_least(KEYS, ROOM_PART / (2 * j.d_pad) / cols * cols);
    const int64_t n_part = tr_parts(ITEMS, b * j.n_h);                     /* wanted; a strip is the least */
    j.rows = tr_parts(tr_parts(j.n_q, n_part), g->rows) * g->rows;
    j.rows = tr_least(j.rows, ROOM_PART / (j.d_pad + j.pitch + 2) / g->rows * g->rows);
    if (j.keys < cols || j.rows < g->rows)
        return tr_fail(TRESS_E_SHAPE, "attention: found a head of %" PRId64 " channels, expected at most %d", d, (int)(ROOM_PART / (2 * TR_GEMM_COLS_MAX)));
    j.n_part = tr_parts(j.n_q, j.rows);
    return tr_parallel(tr_cpu_threads(s), b * j.n_h * j.n_part, item, &j);
}

tress_status tr_cpu_attention(tr_stream *s, const tr_attention_args *a)
{
    const tress_status st = attend(s, a);
    if (st != TRESS_OK || tr_is_none(a->q2)) return st;
    tr_attention_args second = *a;
    second.q = a->q2;
    second.o = a->o2;
    second.lse = tr_none();
    return attend(s, &second);
}
