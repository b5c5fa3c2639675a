/* One AdamW step. Memory-bound: 28 bytes for 15 operations, one of them a square root and two divisions. */
#include "backend/cpu/each.h"

#include <math.h>

tr_adamw_factors tr_cpu_adamw_factors(const tr_adamw_args *a)
{
    const double t = (double)a->step;
    return (tr_adamw_factors){ .grad = a->grad_scale, .eps = (float)a->eps,
                               .decay = (float)(a->lr * a->weight_decay), .step = (float)(a->lr / (1 - pow(a->beta1, t))),
                               .beta1 = (float)a->beta1, .rate1 = (float)(1 - a->beta1),
                               .beta2 = (float)a->beta2, .rate2 = (float)(1 - a->beta2), .root2 = (float)sqrt(1 - pow(a->beta2, t)) };
}

tress_status tr_cpu_adamw(tr_stream *s, tr_tensor p, tr_tensor m, tr_tensor v, tr_tensor g, const tr_adamw_args *a)
{
    const tr_rows *k = tr_cpu_rows(s);
    const tr_adamw_factors f = tr_cpu_adamw_factors(a);
    const int64_t n = tr_count(p), n_item = (n + TR_ITEM - 1) / TR_ITEM;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_item > 1)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t at = item * TR_ITEM;
        k->adamw((float *)p.data + at, (float *)m.data + at, (float *)v.data + at, (const float *)g.data + at,
                 n - at < TR_ITEM ? n - at : TR_ITEM, &f);
    }
    return TRESS_OK;
}
