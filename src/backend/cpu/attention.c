/* Softmax attention over several key segments in plain C: one pass over the keys in blocks, with a running maximum, so the
 * matrix of scores is never held.   Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135 */
#include "backend/cpu/cpu.h"
#include "backend/cpu/heavy.h"

#include <math.h>

#define KEYS 128                                /* per block */

typedef struct job {
    tr_stream *s;
    const tr_attention_args *a;
} job;

/* score[j] for keys j0 .. j0 + n - 1 of a segment; -infinity where the query does not see the key. Returns the largest. */
static float scores(float *score, const tr_attention_args *a, const tr_attention_segment *g, const float *q,
                    int64_t b, int64_t h, int64_t i, int64_t j0, int64_t n)
{
    const int64_t n_q = a->q.shape[1], n_k = g->k.shape[1], d = a->q.shape[3];
    const float *k = (const float *)g->k.data + b * g->k.stride[0] + h * g->k.stride[2];
    const float *bias = tr_is_none(g->bias) ? NULL : (const float *)g->bias.data + (h * n_q + i) * n_k;
    const float *logw = g->key_logw.data;
    const float query_logw = tr_is_none(g->query_logw) ? 0 : ((const float *)g->query_logw.data)[i];
    float max = -INFINITY;
    for (int64_t j = 0; j < n; j++) {
        float v = a->scale * tr_dot(q, k + (j0 + j) * g->k.stride[1], d);
        if (bias) v += bias[j0 + j];
        if (logw) v += logw[j0 + j];
        v += query_logw;
        if (g->causal && j0 + j > i) v = -INFINITY;
        score[j] = v;
        if (v > max) max = v;
    }
    return max;
}

/* One query of one head. */
static tress_status query(void *self, int64_t item, int i_thread)
{
    const job *me = self;
    const tr_attention_args *a = me->a;
    const int64_t n_q = a->q.shape[1], n_h = a->q.shape[2], d = a->q.shape[3];
    const int64_t i = item % n_q, h = item / n_q % n_h, b = item / n_q / n_h;
    float *sum = tr_cpu_room(me->s, i_thread), score[KEYS];
    const float *q = (const float *)a->q.data + b * a->q.stride[0] + i * a->q.stride[1] + h * a->q.stride[2];
    float max = -INFINITY, total = 0;
    for (int64_t c = 0; c < d; c++) sum[c] = 0;
    for (int i_segment = 0; i_segment < a->n_segment; i_segment++) {
        const tr_attention_segment *g = &a->segment[i_segment];
        const int64_t n_k = g->k.shape[1];
        const float *v = (const float *)g->v.data + b * g->v.stride[0] + h * g->v.stride[2];
        for (int64_t j0 = 0; j0 < n_k; j0 += KEYS) {
            const int64_t n = n_k - j0 < KEYS ? n_k - j0 : KEYS;
            const float here = scores(score, a, g, q, b, h, i, j0, n);
            if (here > max) {
                const float shrink = expf(max - here);          /* 0 the first time */
                for (int64_t c = 0; c < d; c++) sum[c] *= shrink;
                total *= shrink;
                max = here;
            }
            if (max == -INFINITY) continue;                     /* nothing seen yet */
            float part = 0;
            for (int64_t j = 0; j < n; j++) {
                const float p = expf(score[j] - max), *vj = v + (j0 + j) * g->v.stride[1];
                part += p;
                for (int64_t c = 0; c < d; c++) sum[c] += p * vj[c];
            }
            total += part;
        }
    }
    float *o = (float *)a->o.data + b * a->o.stride[0] + i * a->o.stride[1] + h * a->o.stride[2];
    const float rest = total > 0 ? 1 / total : 0;               /* a query that sees nothing gives zeros */
    for (int64_t c = 0; c < d; c++) o[c] = sum[c] * rest;
    if (!tr_is_none(a->lse)) ((float *)a->lse.data)[(b * n_h + h) * n_q + i] = max == -INFINITY ? -INFINITY : max + logf(total);
    return TRESS_OK;
}

tress_status tr_cpu_attention(tr_stream *s, const tr_attention_args *a)
{
    TR_ASSERT((size_t)a->q.shape[3] * sizeof(float) <= TR_CPU_ROOM);
    return tr_parallel(tr_cpu_threads(s), a->q.shape[0] * a->q.shape[1] * a->q.shape[2], query, &(job){ s, a });
}
