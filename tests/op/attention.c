#include "check_int.h"

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

/* Roundings of what is F32 in a narrow stream: q and k are one, as mag counts scores twice; v. */
static int extra(check *c, const tr_attention_args *a)
{
    bool qk = a->q.dtype != tr_stream_dtype(check_stream(c)), v = false;
    for (int g = 0; g < a->n_segment; g++) {
        qk |= a->segment[g].k.dtype != tr_stream_dtype(check_stream(c));
        v |= a->segment[g].v.dtype != tr_stream_dtype(check_stream(c));
    }
    return qk + v;
}

static void one(check *c, check_fill f, shape s, int n_part, const part *p, bool inside)
{
    const check_fill fill_k = f == FILL_MEAN_1000 || f == FILL_TINY ? f : FILL_NORMAL;
    tr_attention_args a = { .q = heads(c, FILL_NORMAL, s.b, s.n_q, s.h, s.d, inside), .scale = 1 / sqrtf((float)s.d), .n_segment = n_part };
    tr_tensor o = inside ? check_output(c, TR_DIMS(s.b, s.n_q + 1, s.h, s.d)) : check_output(c, TR_DIMS(s.b, s.n_q, s.h, s.d));
    a.o = tr_slice(o, 1, inside, s.n_q);
    a.lse = check_output_as(c, TR_F32, TR_DIMS(s.b, s.h, s.n_q));
    if (fill_k == FILL_MEAN_1000) a.scale *= 0.01f;          /* scores of some tens, all of which is the common part */
    bool second = inside;                       /* queries of another stream besides */
    int64_t n_all = 0;
    for (int g = 0; g < n_part; g++) {
        tr_attention_segment *t = &a.segment[g];
        n_all += p[g].n_k;
        second &= !p[g].bias && !p[g].query_logw && !p[g].causal;
        t->k = heads(c, fill_k, s.b, p[g].n_k, s.h, s.d, inside);
        t->v = heads(c, f, s.b, p[g].n_k, s.h, s.d, !inside);
        t->causal = p[g].causal;
        if (p[g].bias) t->bias = check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(s.h, s.n_q, p[g].n_k));
        if (p[g].key_logw) t->key_logw = check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(p[g].n_k));
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
    const int64_t n_q2 = s.n_q / 3 + 1, n2 = s.b * n_q2 * s.h;
    double *want2 = check_room(c, n2 * s.d), *mag2 = check_room(c, n2 * s.d), *lse2 = check_room(c, n2), *lse_mag2 = check_room(c, n2);
    if (second) {
        tr_attention_args alone = a;
        alone.q = a.q2 = heads(c, FILL_NORMAL, s.b, n_q2, s.h, s.d, !inside);
        a.o2 = check_output(c, TR_DIMS(s.b, n_q2, s.h, s.d));
        ref_attention(c, &alone, want2, mag2, lse2, lse_mag2);
    }
    check_ok(c, tr_attention(check_stream(c), &a));
    /* sums of d terms per score and of n_all per result, and one rounding per block of keys */
    const double bound = 8 + sqrt((double)s.d) + sqrt((double)n_all);
    /* p is rounded, and the result of some of the keys; a p of next to nothing to within half the least number */
    const double spikes = f == FILL_SPIKES ? (double)(n_all / 97 + 1) : (double)n_all;
    check_rounds(c, 2 + extra(c, &a), spikes * check_largest(f));
    check_near(c, a.o, want, mag, bound);
    if (second) {
        check_rounds(c, 3 + extra(c, &a), spikes * check_largest(f));
        check_near(c, a.o2, want2, mag2, bound);
    }
    check_rounds(c, extra(c, &a), 0);
    check_near(c, a.lse, lse, lse_mag, bound);
    check_release(c);
}

/* A query that sees no key of any segment: zeros, and the logarithm of nothing. */
static void blind(check *c)
{
    const float none[] = { -INFINITY, 0, -INFINITY };
    tr_tensor q = check_input(c, FILL_NORMAL, TR_DIMS(1, 3, 2, 9)), k = check_input(c, FILL_NORMAL, TR_DIMS(1, 2, 2, 9));
    tr_attention_args a = { .q = q, .o = check_output(c, TR_DIMS(1, 3, 2, 9)), .lse = check_output_as(c, TR_F32, TR_DIMS(1, 2, 3)), .scale = 1, .n_segment = 1 };
    a.segment[0] = (tr_attention_segment){ .k = k, .v = k, .query_logw = check_values(c, TR_F32, TR_DIMS(3), none) };
    double *want = check_room(c, 54), *mag = check_room(c, 54), *lse = check_room(c, 6), *lse_mag = check_room(c, 6);
    ref_attention(c, &a, want, mag, lse, lse_mag);
    check_ok(c, tr_attention(check_stream(c), &a));
    check_rounds(c, 2 + extra(c, &a), 0);
    check_near(c, a.o, want, mag, 16);                        /* mag 0 where nothing is seen: exactly 0 */
    check_rounds(c, extra(c, &a), 0);
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
    if (tr_stream_dtype(check_stream(c)) != TR_F32) {                      /* enough blocks for a whole card, in tiles of whole and of odd numbers of keys */
        static const part wide[][TR_SEGMENT_MAX] = { { { .n_k = 384 } }, { { .n_k = 300 }, { .n_k = 77 } }, { { .n_k = 257 }, { .n_k = 1, .key_logw = true } } };
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 2; k++) one(c, FILL_NORMAL, (shape){ 2, k ? 200 : 384, 20, 64 }, i ? 2 : 1, wide[i], k);
    }
    blind(c);
}

/* ---- backward ---- */
typedef struct back { int64_t n_q, n_k, h, d; double *dq, *dk, *dv, *mq, *mk, *mv; } back;      /* sums and their |terms| */

/* One head in float64: q, o, g [n_q, d]; k, v [n_k, d]; strides of a head in `step`. */
static void ref_back(back *r, double scale, const double *q, const double *o, const double *g, const double *lse, const double *k, const double *v,
                     const double *kw, const double *qw, int64_t step)
{
    for (int64_t i = 0; i < r->n_q; i++) {
        double delta = 0, delta_mag = 0;
        for (int64_t c = 0; c < r->d; c++) {
            delta += g[i * step + c] * o[i * step + c];
            delta_mag += fabs(g[i * step + c] * o[i * step + c]);
        }
        for (int64_t j = 0; j < r->n_k; j++) {
            double s = (kw ? kw[j] : 0) + (qw ? qw[i] : 0), mag = fabs(s), dp = 0, dp_mag = 0;
            for (int64_t c = 0; c < r->d; c++) {
                s += scale * q[i * step + c] * k[j * step + c];
                mag += fabs(scale * q[i * step + c] * k[j * step + c]);
                dp += g[i * step + c] * v[j * step + c];
                dp_mag += fabs(g[i * step + c] * v[j * step + c]);
            }
            const double p = isinf(lse[i]) || isinf(s) ? 0 : exp(s - lse[i]), grow = 1 + 2 * mag + fabs(lse[i]);
            const double ds = p * (dp - delta) * scale, ds_mag = p == 0 ? 0 : p * (dp_mag + delta_mag) * scale * grow;
            for (int64_t c = 0; c < r->d; c++) {
                r->dq[i * step + c] += ds * k[j * step + c];
                r->mq[i * step + c] += ds_mag * fabs(k[j * step + c]);
                r->dk[j * step + c] += ds * q[i * step + c];
                r->mk[j * step + c] += ds_mag * fabs(q[i * step + c]);
                r->dv[j * step + c] += p * g[i * step + c];
                r->mv[j * step + c] += p == 0 ? 0 : p * grow * fabs(g[i * step + c]);
            }
        }
    }
}

static void one_back(check *c, shape s, int64_t n_k, bool inside, bool logw, int want)
{
    tr_attention_back_args a = { .scale = 1 / sqrtf((float)s.d), .add_q = want & 4, .add_kv = want & 8 };
    a.q = heads(c, FILL_NORMAL, s.b, s.n_q, s.h, s.d, inside);
    a.k = heads(c, FILL_NORMAL, s.b, n_k, s.h, s.d, inside);
    a.v = heads(c, FILL_NORMAL, s.b, n_k, s.h, s.d, !inside);
    a.d_o = heads(c, FILL_NORMAL, s.b, s.n_q, s.h, s.d, inside);
    if (logw) a.key_logw = check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(n_k));
    if (logw) {
        float *w = calloc((size_t)s.n_q, sizeof *w);
        if (!w) abort();
        for (int64_t i = 0; i < s.n_q; i++) w[i] = i % 3 == 1 ? -INFINITY : 0.5f;
        a.query_logw = check_values(c, TR_F32, TR_DIMS(s.n_q), w);
        free(w);
    }
    /* The softmax is over this segment and one more, as in a union: o and lse are those of both. */
    const int64_t n = s.b * s.n_q * s.h, n_key = s.b * n_k * s.h;
    tr_attention_args f = { .q = a.q, .scale = a.scale, .n_segment = 2 };
    f.segment[0] = (tr_attention_segment){ .k = a.k, .v = a.v, .key_logw = a.key_logw, .query_logw = a.query_logw };
    f.segment[1] = (tr_attention_segment){ .k = heads(c, FILL_NORMAL, s.b, 3, s.h, s.d, false), .v = heads(c, FILL_NORMAL, s.b, 3, s.h, s.d, false) };
    double *o = check_room(c, n * s.d), *lse = check_room(c, n), *unused = check_room(c, n * s.d), *unused_lse = check_room(c, n);
    ref_attention(c, &f, o, unused, lse, unused_lse);
    float *narrow = calloc((size_t)(n * s.d), sizeof *narrow);
    if (!narrow) abort();
    for (int64_t i = 0; i < n * s.d; i++) narrow[i] = (float)o[i];
    a.o = check_numbers(c, TR_DIMS(s.b, s.n_q, s.h, s.d), narrow);
    for (int64_t i = 0; i < n; i++) narrow[i] = (float)lse[i];
    a.lse = check_values(c, TR_F32, TR_DIMS(s.b, s.h, s.n_q), narrow);
    free(narrow);

    back r = { .n_q = s.n_q, .n_k = n_k, .h = s.h, .d = s.d };
    double **const sum[] = { &r.dq, &r.mq, &r.dk, &r.mk, &r.dv, &r.mv };
    for (int i = 0; i < 6; i++) *sum[i] = check_room(c, (i < 2 ? n : n_key) * s.d);
    if (want & 1) a.dq = a.add_q ? check_input(c, FILL_NORMAL, TR_DIMS(s.b, s.n_q, s.h, s.d)) : check_output(c, TR_DIMS(s.b, s.n_q, s.h, s.d));
    if (want & 2) {
        a.dk = a.add_kv ? check_input(c, FILL_NORMAL, TR_DIMS(s.b, n_k, s.h, s.d)) : check_output(c, TR_DIMS(s.b, n_k, s.h, s.d));
        a.dv = a.add_kv ? check_input(c, FILL_NORMAL, TR_DIMS(s.b, n_k, s.h, s.d)) : check_output(c, TR_DIMS(s.b, n_k, s.h, s.d));
    }
    const double *q = check_f64(c, a.q), *k = check_f64(c, a.k), *v = check_f64(c, a.v), *g = check_f64(c, a.d_o), *vo = check_f64(c, a.o), *vl = check_f64(c, a.lse);
    const double *kw = logw ? check_f64(c, a.key_logw) : NULL, *qw = logw ? check_f64(c, a.query_logw) : NULL;
    const double *old[3] = { (want & 1) && a.add_q ? check_f64(c, a.dq) : NULL, (want & 2) && a.add_kv ? check_f64(c, a.dk) : NULL, (want & 2) && a.add_kv ? check_f64(c, a.dv) : NULL };
    const int64_t step = s.h * s.d;
    for (int64_t b = 0; b < s.b; b++)
        for (int64_t h = 0; h < s.h; h++) {
            const int64_t at_q = b * s.n_q * step + h * s.d, at_k = b * n_k * step + h * s.d;
            back part_of = r;
            part_of.dq += at_q, part_of.mq += at_q, part_of.dk += at_k, part_of.mk += at_k, part_of.dv += at_k, part_of.mv += at_k;
            ref_back(&part_of, (double)a.scale, q + at_q, vo + at_q, g + at_q, vl + (b * s.h + h) * s.n_q, k + at_k, v + at_k, kw, qw, step);
        }
    double *const sums[3] = { r.dq, r.dk, r.dv }, *const mags[3] = { r.mq, r.mk, r.mv };
    for (int i = 0; i < 3; i++)
        for (int64_t x = 0; old[i] && x < (i ? n_key : n) * s.d; x++) {
            sums[i][x] += old[i][x];
            mags[i][x] += fabs(old[i][x]);
        }
    if ((want & 1) && a.add_q) check_mutable(c, a.dq);
    if ((want & 2) && a.add_kv) {
        check_mutable(c, a.dk);
        check_mutable(c, a.dv);
    }
    check_ok(c, tr_attention_back(check_stream(c), &a));
    const double bound = 8 + sqrt((double)s.d) + sqrt((double)(s.n_q > n_k ? s.n_q : n_k));
    /* p and ds are rounded, and a sum over some of the keys or queries; mixed: q, k, v and d_o may be F32, and mag counts scores twice */
    const tr_dtype t = tr_stream_dtype(check_stream(c));
    const int extra_back = (a.q.dtype != t || a.k.dtype != t) + (a.v.dtype != t) + (a.d_o.dtype != t);
    check_rounds(c, 3 + extra_back, check_largest(FILL_NORMAL) * (double)(s.n_q > n_k ? s.n_q : n_k));
    if (want & 1) check_near(c, a.dq, r.dq, r.mq, bound);
    if (want & 2) {
        check_near(c, a.dk, r.dk, r.mk, bound);
        check_near(c, a.dv, r.dv, r.mv, bound);
    }
    check_release(c);
}

/* The reference itself against central differences of the softmax over both segments: L = sum g o. */
static void back_is_gradient(check *c)
{
    enum { NQ = 3, NK = 4, D = 5 };
    double x[3][NK * D], g[NQ * D], other[2][2 * D], o[NQ * D], lse[NQ], kw[NK];
    double *const q = x[0], *const k = x[1], *const v = x[2];
    uint64_t seed = 1;
    double *const all[] = { q, k, v, g, other[0], other[1], kw };
    const int count[] = { NQ * D, NK * D, NK * D, NQ * D, 2 * D, 2 * D, NK };
    for (int a = 0; a < 7; a++)
        for (int i = 0; i < count[a]; i++) all[a][i] = 2 * (double)tr_philox_uniform(7, 0, seed++) - 1;
    const double scale = 0.6, eps = 1e-5;
    double numeric[3][NK * D];
    for (int a = 0; a < 3; a++)
        for (int e = -1; e < 2 * count[a]; e++) {           /* -1: at the point itself, for o and lse */
            const double keep = e < 0 ? 0 : x[a][e / 2];
            if (e >= 0) x[a][e / 2] += e % 2 ? -eps : eps;
            double loss = 0;
            for (int i = 0; i < NQ; i++) {
                double p[NK + 2], total = 0;
                for (int j = 0; j < NK + 2; j++) {
                    double s = j < NK ? kw[j] : 0;
                    for (int z = 0; z < D; z++) s += scale * q[i * D + z] * (j < NK ? k[j * D + z] : other[0][(j - NK) * D + z]);
                    total += p[j] = exp(s);
                }
                lse[i] = e < 0 ? log(total) : lse[i];
                for (int z = 0; z < D; z++) {
                    double sum = 0;
                    for (int j = 0; j < NK + 2; j++) sum += p[j] / total * (j < NK ? v[j * D + z] : other[1][(j - NK) * D + z]);
                    if (e < 0) o[i * D + z] = sum;
                    loss += g[i * D + z] * sum;
                }
            }
            if (e < 0) continue;
            numeric[a][e / 2] = e % 2 ? (numeric[a][e / 2] - loss) / (2 * eps) : loss;
            x[a][e / 2] = keep;
        }
    double d[3][NK * D] = { { 0 } }, m[3][NK * D] = { { 0 } };
    back r = { .n_q = NQ, .n_k = NK, .h = 1, .d = D, .dq = d[0], .dk = d[1], .dv = d[2], .mq = m[0], .mk = m[1], .mv = m[2] };
    ref_back(&r, scale, q, o, g, lse, k, v, kw, NULL, D);
    double unused[4][2 * D] = { { 0 } };
    back rest = { .n_q = NQ, .n_k = 2, .h = 1, .d = D, .dq = d[0], .dk = unused[0], .dv = unused[1], .mq = m[0], .mk = unused[2], .mv = unused[3] };
    ref_back(&rest, scale, q, o, g, lse, other[0], other[1], NULL, NULL, D);       /* dq is the sum over the segments */
    for (int a = 0; a < 3; a++)
        for (int i = 0; i < count[a]; i++)
            if (!(fabs(d[a][i] - numeric[a][i]) <= 1e-8))
                check_fault(c, "gradient %d of %d: %.12g, by differences %.12g", i, a, d[a][i], numeric[a][i]);
}

CHECK_OP(attention_back)
{
    static const shape shapes[] = { { 1, 1, 1, 1 }, { 2, 5, 3, 8 }, { 1, 37, 2, 64 }, { 2, 30, 2, 33 }, { 1, 300, 1, 64 }, { 1, 19, 1, 300 }, { 1, 1, 2, 64 }, { 1, 17, 1, 512 } };
    static const int64_t keys[] = { 1, 7, 300, 257, 40, 20, 70, 33 };
    back_is_gradient(c);
    for (int i = 0; i < 8; i++)
        for (int w = 0; w < 4; w++) one_back(c, shapes[i], keys[i], (i + w) % 2, w & 1, (int[]){ 3, 1, 2, 15 }[w]);
    if (tr_stream_dtype(check_stream(c)) != TR_F32)                        /* blocks for half a card, of rows and of keys; parts of many queries */
        for (int w = 0; w < 4; w++) {
            one_back(c, (shape){ 2, 70, 36, 16 }, 65, w % 2, w & 1, (int[]){ 3, 1, 2, 15 }[w]);
            if (w % 3 == 0) one_back(c, (shape){ 1, 130, 34, 64 }, 129, w % 2, w & 1, w ? 15 : 3);
            one_back(c, (shape){ 1, 700, 2, 64 }, 3, w % 2, w & 1, (int[]){ 3, 1, 2, 15 }[w]);
        }
}

BENCH_OP(attention_back)
{
    static const int64_t bench_sizes[][5] = { { 1, 256, 256, 4, 64 }, { 4, 256, 256, 4, 64 }, { 4, 256, 1, 4, 64 }, { 1, 1024, 1024, 38, 64 },
                                              { 2, 4096, 4096, 38, 64 }, { 2, 4097, 4097, 38, 64 }, { 2, 4429, 4429, 38, 64 } };   /* b, n_q, n_k, h, d */
    for (int i = 0; i < (check_is_host(c) ? 4 : 7); i++) {
        const int64_t *z = bench_sizes[i];
        const tr_dims d = TR_DIMS(z[0], z[1], z[3], z[4]), dk = TR_DIMS(z[0], z[2], z[3], z[4]);
        for (bench_begin(c, "%d x %d rows, %d keys, %d heads of %d", (int)z[0], (int)z[1], (int)z[2], (int)z[3], (int)z[4]); bench_more(c);) {
            tr_attention_back_args a = { .q = bench_input(c, d), .o = bench_input(c, d), .d_o = bench_input(c, d),
                .lse = bench_tensor(c, TR_F32, TR_DIMS(z[0], z[3], z[1])), .k = bench_input(c, dk), .v = bench_input(c, dk),
                .dq = bench_input(c, d), .dk = bench_input(c, dk), .dv = bench_input(c, dk), .scale = 1 / sqrtf((float)z[4]) };
            BENCH_TIME(c, tr_attention_back(check_stream(c), &a));
        }
    }
}

BENCH_OP(attention)
{
    static const int64_t sizes[][4] = { { 2, 589, 4, 64 }, { 1, 1024, 38, 64 }, { 1, 1357, 38, 64 }, { 1, 1024, 1, 128 }, { 1, 1024, 1, 512 },
                                        { 2, 4096, 38, 64 }, { 2, 4097, 38, 64 }, { 2, 4429, 38, 64 }, { 2, 1357, 38, 64 }, { 1, 16384, 1, 512 } };   /* b, n, h, d */
    for (int i = 0; i < (check_is_host(c) ? 5 : 10); i++) {
        const tr_dims d = TR_DIMS(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
        for (bench_begin(c, "%d x %d rows, %d heads of %d", (int)d.n[0], (int)d.n[1], (int)d.n[2], (int)d.n[3]); bench_more(c);) {
            tr_attention_args a = { .q = bench_input(c, d), .o = bench_input(c, d), .scale = 1 / sqrtf((float)d.n[3]), .n_segment = 1 };
            a.segment[0] = (tr_attention_segment){ .k = bench_input(c, d), .v = bench_input(c, d) };
            BENCH_TIME(c, tr_attention(check_stream(c), &a));
        }
    }
}
