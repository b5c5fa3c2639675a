/* T5's relative position bias: y[head, i, j] = table[bucket(j - i), head]. Memory-bound. */
#include "backend/cpu/each.h"

#include <math.h>

/* Distances below n / 2 have a bucket each; above, n / 2 buckets grow as logarithms up to `most` and the last takes the rest.
 * The bucket of distance a is the number of whole steps in log(a / e) / log(most / e) e, e = n / 2, which lies on whole numbers
 * for some a (16, 32, 64 of 32 buckets and 128): those must not fall below by rounding. Exactly:
 * a^e >= e^(e - k) most^k is the bound of step k; with the sums of logs in float64 and a margin above their rounding. */
static int64_t bucket_of(int64_t a, int64_t n, int64_t most)
{
    const int64_t e = n / 2;
    if (a < e) return a;
    const double steps = log((double)a / (double)e) / log((double)most / (double)e) * (double)(n - e);
    const int64_t k = e + (int64_t)floor(steps + 1e-9);
    return k < n - 1 ? k : n - 1;
}

tress_status tr_cpu_relative_bias(tr_stream *s, tr_tensor y, tr_tensor table, int distance_max)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t heads = y.shape[0], n_q = y.shape[1], n_k = y.shape[2], n_bucket = table.shape[0], side = n_bucket / 2;
    const int64_t n_value = n_q + n_k - 1;                                     /* one for each j - i */
    float *room = tr_cpu_room(s, 0), *weight = room;                          /* [n_bucket, heads] */
    float *value = room + n_bucket * heads;                                   /* [heads, n_value] */
    if (n_q == 0 || n_k == 0) return TRESS_OK;
    TR_ASSERT((size_t)(n_bucket * heads + heads * n_value) * sizeof *room <= TR_CPU_ROOM);
    k->to_f32(weight, table.data, table.dtype, n_bucket * heads);
    for (int64_t d = 0; d < n_value; d++) {
        const int64_t rel = d - (n_q - 1), bucket = (rel > 0 ? side : 0) + bucket_of(rel < 0 ? -rel : rel, side, distance_max);
        for (int64_t h = 0; h < heads; h++) value[h * n_value + d] = weight[bucket * heads + h];
    }
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (heads * n_q * n_k > TR_ITEM)
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < n_q; i++)
            k->to_f32((float *)y.data + (h * n_q + i) * n_k, value + h * n_value + (n_q - 1 - i), TR_F32, n_k);
    return TRESS_OK;
}
