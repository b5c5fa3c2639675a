/* One AdamW step with moments of 8 bits: block by block decoded, stepped in F32, encoded. 16 bytes for about 70 operations. */
#include "backend/cpu/each.h"

#include <math.h>

/* The table of create_dynamic_map(is_signed, 7, 8): for l = 0..6 the middles of 2^l (signed) or 2^(l + 1) equal parts of
 * 0.1..1, times 10^(l - 6); with the other sign too if signed; 0; and 1. Here in float64, rounded once. */
static void fill(tr_table8 *t, bool is_signed)
{
    double before = 0;                           /* the entry before the run */
    int rank = 1;
    t->zero = t->least = is_signed ? 127 : 0;
    t->value[t->zero] = 0;
    for (int l = 0; l < TR_RUNS8; l++) {
        const bool one = l == TR_RUNS8 - 1;      /* the run that is 1 alone */
        const int n = one ? 1 : is_signed ? 1 << l : 2 << l;
        const double unit = one ? 1 : pow(10, l - 6), step = one ? 0 : unit * 0.9 / n, first = one ? 1 : unit * 0.1 + 0.5 * step;
        for (int j = 0; j < n; j++) {
            t->value[t->zero + rank + j] = (float)(first + j * step);
            if (is_signed && !one) t->value[t->zero - rank - j] = -(float)(first + j * step);
        }
        t->over[l] = l == 0 && !is_signed ? 0 : (float)((before + first) / 2);      /* a v above 0 never becomes 0 */
        t->first[l] = (float)first;
        t->per[l] = one ? 0 : (float)(1 / step);
        t->rank[l] = rank;
        t->last[l] = rank + n - 1;
        before = first + (n - 1) * step;
        rank += n;
    }
}

tress_status tr_cpu_adamw8(tr_stream *s, tr_tensor p, tr_tensor m, tr_tensor v, tr_tensor m_scale, tr_tensor v_scale, tr_tensor g,
                           const tr_adamw_args *a)
{
    const tr_rows *k = tr_cpu_rows(s);
    const tr_adamw_factors f = tr_cpu_adamw_factors(a);
    const int64_t n = tr_count(p), n_block = tr_count(m_scale), together = TR_ITEM / TR_ADAMW8_BLOCK;
    tr_table8 table_m, table_v;                  /* made anew: a few hundred operations */
    fill(&table_m, true);
    fill(&table_v, false);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (n_block > together)
    for (int64_t i0 = 0; i0 < n_block; i0 += together)
        for (int64_t i = i0; i < i0 + together && i < n_block; i++) {
            const int64_t at = i * TR_ADAMW8_BLOCK, len = n - at < TR_ADAMW8_BLOCK ? n - at : TR_ADAMW8_BLOCK;
            uint8_t *code_m = (uint8_t *)m.data + at, *code_v = (uint8_t *)v.data + at;
            float *most_m = (float *)m_scale.data + i, *most_v = (float *)v_scale.data + i, mi[TR_ADAMW8_BLOCK],
                  vi[TR_ADAMW8_BLOCK];
            k->decode8(mi, code_m, *most_m, len, &table_m);
            k->decode8(vi, code_v, *most_v, len, &table_v);
            k->adamw((float *)p.data + at, mi, vi, (const float *)g.data + at, len, &f);
            *most_m = k->encode8(code_m, mi, len, &table_m);
            *most_v = k->encode8(code_v, vi, len, &table_v);
        }
    return TRESS_OK;
}
