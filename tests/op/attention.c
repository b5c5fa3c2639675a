#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape { int64_t b, n_q, h, d; } shape;
/* One key segment of a case. */
typedef struct part { int64_t n_k; bool bias, key_logw, query_logw, causal; } part;

/* In float64, the scores of all segments side by side. mag of a score adds up |terms|; the result's mag follows from
 * d o / d s = p (v - o): sum p |v| (1 + 2 max mag of the scores that count). */
static void ref_attention(check *c, const tr_attention_args *a, double *o, double *o_mag, double *lse, double *lse_mag)
{
    const int64_t n_q = a->q.shape[1], n_h = a->q.shape[2], d = a->q.shape[3];
    const double *q = check_f64(c, a->q), *k[TR_SEGMENT_MAX], *v[TR_SEGMENT_MAX], *bias[TR_SEGMENT_MAX], *kw[TR_SEGMENT_MAX], *qw[TR_SEGMENT_MAX];
    int64_t n_all = 0;
    for (int g = 0; g < a->n_segment; g++) {
        const tr_attention_segment *s = &a->segment[g];
        k[g] = check_f64(c, s->k);
        v[g] = check_f64(c, s->v);
        bias[g] = tr_is_none(s->bias) ? NULL : check_f64(c, s->bias);
        kw[g] = tr_is_none(s->key_logw) ? NULL : check_f64(c, s->key_logw);
        qw[g] = tr_is_none(s->query_logw) ? NULL : check_f64(c, s->query_logw);
        n_all += s->k.shape[1];
    }
    double *score = check_room(c, n_all), *mag = check_room(c, n_all);
    for (int64_t i_row = 0; i_row < a->q.shape[0] * n_h * n_q; i_row++) {
        const int64_t i = i_row % n_q, h = i_row / n_q % n_h, b = i_row / n_q / n_h;
        const double *qi = q + ((b * n_q + i) * n_h + h) * d;
        double max = -INFINITY, total = 0, worst = 0, *oi = o + ((b * n_q + i) * n_h + h) * d, *mi = o_mag + (oi - o);
        int64_t at = 0;
        for (int g = 0; g < a->n_segment; g++) {
            const int64_t n_k = a->segment[g].k.shape[1];
            for (int64_t j = 0; j < n_k; j++, at++) {
                double s = 0, m = 0;
                for (int64_t x = 0; x < d; x++) {
                    const double term = (double)a->scale * qi[x] * k[g][((b * n_k + j) * n_h + h) * d + x];
                    s += term;
                    m += fabs(term);
                }
                if (bias[g]) s += bias[g][(h * n_q + i) * n_k + j], m += fabs(bias[g][(h * n_q + i) * n_k + j]);
                if (kw[g]) s += kw[g][j], m += fabs(kw[g][j]);
                if (qw[g]) s += qw[g][i], m += fabs(qw[g][i]);
                score[at] = a->segment[g].causal && j > i ? -INFINITY : s;
                mag[at] = m;
                if (score[at] > max) max = score[at];
            }
        }
        for (at = 0; at < n_all; at++) {
            if (score[at] > max - 40 && mag[at] > worst) worst = mag[at];
            score[at] = max == -INFINITY ? 0 : exp(score[at] - max);
            total += score[at];
        }
        at = 0;
        for (int g = 0; g < a->n_segment; g++) {
            const int64_t n_k = a->segment[g].k.shape[1];
            for (int64_t j = 0; total > 0 && j < n_k; j++, at++)
                for (int64_t x = 0; x < d; x++) {
                    const double term = score[at] / total * v[g][((b * n_k + j) * n_h + h) * d + x];
                    oi[x] += term;
                    mi[x] += fabs(term) * (1 + 2 * worst);
                }
        }
        lse[i_row] = max + log(total);
        lse_mag[i_row] = fabs(max) + fabs(log(total)) + worst + 1;
    }
}

/* [b, n, h, d]; odd ones inside something wider, as q, k, v of one product lie. */
static tr_tensor heads(check *c, check_fill f, int64_t b, int64_t n, int64_t h, int64_t d, bool inside)
{
    if (!inside) return check_input(c, f, TR_DIMS(b, n, h, d));
    return tr_slice(tr_slice(check_input(c, f, TR_DIMS(b, n + 2, h, 3 * d)), 3, d, d), 1, 1, n);
}

static void one(check *c, check_fill f, shape s, int n_part, const part *p, bool inside)
{
    const check_fill fill_k = f == FILL_MEAN_1000 || f == FILL_TINY ? f : FILL_NORMAL;
    tr_attention_args a = { .q = heads(c, FILL_NORMAL, s.b, s.n_q, s.h, s.d, inside), .scale = 1 / sqrtf((float)s.d), .n_segment = n_part };
    tr_tensor o = inside ? check_output(c, TR_DIMS(s.b, s.n_q + 1, s.h, s.d)) : check_output(c, TR_DIMS(s.b, s.n_q, s.h, s.d));
    a.o = tr_slice(o, 1, inside, s.n_q);
    a.lse = check_output(c, TR_DIMS(s.b, s.h, s.n_q));
    if (fill_k == FILL_MEAN_1000) a.scale *= 0.01f;          /* scores of some tens, all of which is the common part */
    int64_t n_all = 0;
    for (int g = 0; g < n_part; g++) {
        tr_attention_segment *t = &a.segment[g];
        n_all += p[g].n_k;
        t->k = heads(c, fill_k, s.b, p[g].n_k, s.h, s.d, inside);
        t->v = heads(c, f, s.b, p[g].n_k, s.h, s.d, !inside);
        t->causal = p[g].causal;
        if (p[g].bias) t->bias = check_input(c, FILL_NORMAL, TR_DIMS(s.h, s.n_q, p[g].n_k));
        if (p[g].key_logw) t->key_logw = check_input(c, FILL_NORMAL, TR_DIMS(p[g].n_k));
        if (p[g].query_logw) {
            float *w = calloc((size_t)s.n_q, sizeof *w);
            if (!w) abort();
            for (int64_t i = 0; i < s.n_q; i++) w[i] = i % 3 == 1 ? -INFINITY : 0.5f * (float)(i % 5) - 1;
            t->query_logw = check_values(c, TR_F32, TR_DIMS(s.n_q), w);
            free(w);
        }
    }
    const int64_t n = s.b * s.n_q * s.h;
    double *want = check_room(c, n * s.d), *mag = check_room(c, n * s.d), *lse = check_room(c, n), *lse_mag = check_room(c, n);
    ref_attention(c, &a, want, mag, lse, lse_mag);
    check_ok(c, tr_attention(check_stream(c), &a));
    /* sums of d terms per score and of n_all per result, and one rounding per block of keys */
    const double bound = 8 + sqrt((double)s.d) + sqrt((double)n_all);
    check_near(c, a.o, want, mag, bound);
    check_near(c, a.lse, lse, lse_mag, bound);
    check_release(c);
}

/* A query that sees no key of any segment: zeros, and the logarithm of nothing. */
static void blind(check *c)
{
    const float none[] = { -INFINITY, 0, -INFINITY };
    tr_tensor q = check_input(c, FILL_NORMAL, TR_DIMS(1, 3, 2, 9)), k = check_input(c, FILL_NORMAL, TR_DIMS(1, 2, 2, 9));
    tr_attention_args a = { .q = q, .o = check_output(c, TR_DIMS(1, 3, 2, 9)), .lse = check_output(c, TR_DIMS(1, 2, 3)), .scale = 1, .n_segment = 1 };
    a.segment[0] = (tr_attention_segment){ .k = k, .v = k, .query_logw = check_values(c, TR_F32, TR_DIMS(3), none) };
    double *want = check_room(c, 54), *mag = check_room(c, 54), *lse = check_room(c, 6), *lse_mag = check_room(c, 6);
    ref_attention(c, &a, want, mag, lse, lse_mag);
    check_ok(c, tr_attention(check_stream(c), &a));
    check_near(c, a.o, want, mag, 16);                        /* mag 0 where nothing is seen: exactly 0 */
    check_near(c, tr_slice(a.lse, 2, 1, 1), (double[]){ lse[1], lse[4] }, (double[]){ lse_mag[1], lse_mag[4] }, 16);
    for (int i = 0; i < 3; i += 2) check_equal(c, tr_slice(a.lse, 2, i, 1), (double[]){ -INFINITY, -INFINITY });
    check_release(c);
}

CHECK_OP(attention)
{
    static const shape shapes[] = { { 1, 1, 1, 1 }, { 2, 5, 3, 8 }, { 1, 37, 2, 64 }, { 2, 30, 2, 33 }, { 1, 16, 1, 512 }, { 1, 19, 1, 300 }, { 1, 150, 1, 16 } };
    static const part single[] = { { .n_k = 1 }, { .n_k = 7 }, { .n_k = 300 }, { .n_k = 257 }, { .n_k = 40 }, { .n_k = 20 }, { .n_k = 530 } };
    for (int i = 0; i < 7; i++)
        for (check_fill f = 0; f < FILL_N; f++) one(c, f, shapes[i], 1, &single[i], (i + (int)f) % 2);
    static const part many[][TR_SEGMENT_MAX] = {
        { { .n_k = 37, .causal = true } },
        { { .n_k = 300, .causal = true, .bias = true }, { .n_k = 1, .key_logw = true } },
        { { .n_k = 50, .query_logw = true, .bias = true }, { .n_k = 3 } },
        { { .n_k = 260, .key_logw = true, .bias = true }, { .n_k = 65, .query_logw = true }, { .n_k = 2, .causal = true }, { .n_k = 31, .query_logw = true, .key_logw = true } },
    };
    static const int n_many[] = { 1, 2, 2, 4 };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) one(c, k == 1 ? FILL_SPIKES : FILL_NORMAL, shapes[k], n_many[i], many[i], k % 2);
    blind(c);
}

BENCH_OP(attention)
{
    static const int64_t sizes[][4] = { { 2, 589, 4, 64 }, { 1, 1024, 38, 64 }, { 1, 1357, 38, 64 }, { 1, 1024, 1, 128 }, { 1, 1024, 1, 512 } };   /* b, n, h, d */
    for (int i = 0; i < 5; i++) {
        const tr_dims d = TR_DIMS(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
        for (bench_begin(c, "%d x %d rows, %d heads of %d", (int)d.n[0], (int)d.n[1], (int)d.n[2], (int)d.n[3]); bench_more(c);) {
            tr_attention_args a = { .q = bench_tensor(c, TR_F32, d), .o = bench_tensor(c, TR_F32, d), .scale = 1 / sqrtf((float)d.n[3]), .n_segment = 1 };
            a.segment[0] = (tr_attention_segment){ .k = bench_tensor(c, TR_F32, d), .v = bench_tensor(c, TR_F32, d) };
            BENCH_TIME(c, tr_attention(check_stream(c), &a));
        }
    }
}
