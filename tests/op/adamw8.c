#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK TR_ADAMW8_BLOCK

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* create_dynamic_map(is_signed, 7, 8) of bitsandbytes, line by line, in float64: append the parts, sort. */
static void ref_map(double map[256], bool is_signed)
{
    int n = 0;
    for (int i = 0; i < 7; i++) {
        const int items = is_signed ? (1 << i) + 1 : (1 << (i + 1)) + 1;
        for (int j = 0; j + 1 < items; j++) {
            const double a = 0.1 + 0.9 * j / (items - 1), b = 0.1 + 0.9 * (j + 1) / (items - 1),
                         mean = pow(10, i - 6) * (a + b) / 2;
            map[n++] = mean;
            if (is_signed) map[n++] = -mean;
        }
    }
    map[n++] = 0;
    map[n++] = 1;
    qsort(map, (size_t)n, sizeof *map, by_value);
}

/* The code that x / most should have, by search. Where two entries are as near as the rounding of x can tell, `got` if it is one
 * of them: u is what x is known to. */
static int ref_code(const double map[256], double x, double most, double u, int got, bool is_signed)
{
    const double a = most > 0 ? x / most : 0;
    int best = 0, least = 0;
    for (int k = 1; k < 256; k++)
        if (fabs(map[k] - a) < fabs(map[best] - a)) best = k;
    if (!is_signed && best == 0 && a > 0) best = 1;           /* a v above 0 keeps a value */
    least = got >= 0 && got < 256 && fabs(map[got] - a) - fabs(map[best] - a) <= u * fabs(a) && (is_signed || a == 0 || got > 0);
    return least ? got : best;
}

/* Model of the op: float64 but for what it keeps. */
typedef struct model { double map_m[256], map_v[256]; } model;

static void step_of(double *p, double *m, double *v, double g, const tr_adamw_args *a)
{
    const double gi = (double)a->grad_scale * g;
    *m = a->beta1 * *m + (1 - a->beta1) * gi;
    *v = a->beta2 * *v + (1 - a->beta2) * gi * gi;
    *p = *p * (1 - a->lr * a->weight_decay) -
         a->lr / (1 - pow(a->beta1, (double)a->step)) * *m / (sqrt(*v / (1 - pow(a->beta2, (double)a->step))) + a->eps);
}

static void one_step(check *c, const model *k, int64_t n, check_fill f, int state)
{
    const int64_t n_block = (n + BLOCK - 1) / BLOCK;
    const tr_adamw_args a = {
        .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .grad_scale = 0.5f, .step = state ? 9 : 1
    };
    uint8_t *m_code = (uint8_t *)check_room(c, n), *v_code = (uint8_t *)check_room(c, n);
    float *m_most = (float *)check_room(c, n_block), *v_most = (float *)check_room(c, n_block);
    for (int64_t i = 0; i < n && state; i++) {                /* every code occurs; some blocks have no past */
        m_code[i] = (uint8_t)(i * 37 + 11);
        v_code[i] = (uint8_t)(i * 101 + 5);
        m_most[i / BLOCK] = i / BLOCK % 3 == 2 ? 0 : 0.03f * (float)(1 + i / BLOCK % 5);
        v_most[i / BLOCK] = i / BLOCK % 3 == 2 ? 0 : 0.01f * (float)(1 + i / BLOCK % 7);
    }
    tr_tensor p = check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(n)), g = check_input_as(c, f, TR_F32, TR_DIMS(n));
    tr_tensor m = check_values(c, TR_U8, TR_DIMS(n), m_code), v = check_values(c, TR_U8, TR_DIMS(n), v_code);
    tr_tensor m_scale = check_values(c, TR_F32, TR_DIMS(n_block), m_most),
              v_scale = check_values(c, TR_F32, TR_DIMS(n_block), v_most);
    double *p64 = check_f64(c, p), *g64 = check_f64(c, g), *p_mag = check_room(c, n), *m64 = check_room(c, n),
           *v64 = check_room(c, n);
    double *most_m = check_room(c, n_block), *most_v = check_room(c, n_block), *terms_m = check_room(c, n_block);
    double *m_mag = check_room(c, n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t b = i / BLOCK;
        const double m_old = k->map_m[m_code[i]] * (double)m_most[b], v_old = k->map_v[v_code[i]] * (double)v_most[b],
                     gi = (double)a.grad_scale * g64[i];
        double none = 0, m_terms = fabs(m_old), v_terms = v_old;
        m_mag[i] = fabs(m_old) + 0.1 * (fabs(gi) + fabs(m_old));
        m64[i] = m_old;
        v64[i] = v_old;
        p_mag[i] = fabs(p64[i]);
        step_of(&p64[i], &m64[i], &v64[i], g64[i], &a);
        step_of(&none, &m_terms, &v_terms, fabs(g64[i]), &a);  /* the step with |terms| */
        p_mag[i] += 1.2 * fabs(none);
        most_m[b] = fmax(most_m[b], fabs(m64[i]));
        most_v[b] = fmax(most_v[b], v64[i]);
        terms_m[b] = fmax(terms_m[b], m_mag[i]);
    }
    check_mutable(c, p);
    check_mutable(c, m);
    check_mutable(c, v);
    check_mutable(c, m_scale);
    check_mutable(c, v_scale);
    check_ok(c, tr_adamw8(check_stream(c), p, m, v, m_scale, v_scale, g, &a));
    /* adamw's bounds, and two roundings more for what was decoded: the entry and its product. */
    check_near(c, p, p64, p_mag, 20);
    check_near(c, m_scale, most_m, terms_m, 7);
    check_near(c, v_scale, most_v, most_v, 10);
    uint8_t *got_m = (uint8_t *)check_room(c, n), *got_v = (uint8_t *)check_room(c, n), *want_m = (uint8_t *)check_room(c, n),
            *want_v = (uint8_t *)check_room(c, n);
    float *scale_m = (float *)check_room(c, n_block), *scale_v = (float *)check_room(c, n_block);
    check_ok(c, tr_download(check_stream(c), got_m, m));
    check_ok(c, tr_download(check_stream(c), got_v, v));
    check_ok(c, tr_download(check_stream(c), scale_m, m_scale));
    check_ok(c, tr_download(check_stream(c), scale_v, v_scale));
    for (int64_t i = 0; i < n; i++) {
        /* What the moment is known to, and a few u for the quotient and the entries. Near 2^-149 a v is known to half a step. */
        const double known_m = m64[i] != 0 ? 0x1p-24 * (7 * m_mag[i] / fabs(m64[i]) + 8) : 0,
                     known_v = v64[i] > 0 ? 0x1p-24 * 24 + 0x1p-146 / v64[i] : 0;
        want_m[i] = (uint8_t)ref_code(k->map_m, m64[i], (double)scale_m[i / BLOCK], known_m, got_m[i], true);
        want_v[i] = (uint8_t)ref_code(k->map_v, v64[i], (double)scale_v[i / BLOCK], known_v, got_v[i], false);
        if (v64[i] < 0x1p-147 && got_v[i] == 0) want_v[i] = 0;      /* F32 knows no such number */
    }
    check_bytes(c, m, want_m);
    check_bytes(c, v, want_v);
    check_release(c);
}

/* What 8 bits cost on a problem: f(x) = sum of curve_i (x_i - goal_i)^2 / 2, curvatures over `decades` within each block, x from 0,
 * |goal| about 1, 200 steps at 0.02 falling to 0. An m near its largest is coded to within 0.45 / 64 of it, two decades below
 * to within 0.45 / 16, and a v, which covers twice the decades, to within 0.45 / 8 four decades below; a step is m / sqrt(v), so
 * the ways differ by some hundredths: their ends, root mean square over that of the goal, by at most 0.05. Over four decades
 * the least v are below the table's least entry and are held at it: those x go too slowly, but none runs away: at most 0.25. With
 * the nearest entry, 0, they go 260 times the goal away and the distance is 10. */
static void quadratic(check *c, double decades, double most)
{
    enum { N = 3 * BLOCK + 40, STEPS = 200 };
    const float zero[N] = { 0 };
    float *goal = (float *)check_room(c, N), *curve = (float *)check_room(c, N), *grad = (float *)check_room(c, N),
          *x = (float *)check_room(c, N);
    float *end[2] = { (float *)check_room(c, N), (float *)check_room(c, N) };
    tr_philox_normal(goal, N, 11, 0);
    for (int i = 0; i < N; i++) curve[i] = (float)pow(10, -decades * (double)(i * 89 % 256) / 255);
    for (int bits = 0; bits < 2; bits++) {
        tr_tensor p = check_values(c, TR_F32, TR_DIMS(N), zero), g = check_values(c, TR_F32, TR_DIMS(N), zero);
        tr_tensor m = check_values(c, bits ? TR_U8 : TR_F32, TR_DIMS(N), zero),
                  v = check_values(c, bits ? TR_U8 : TR_F32, TR_DIMS(N), zero);
        tr_tensor ms = check_values(c, TR_F32, TR_DIMS(4), zero), vs = check_values(c, TR_F32, TR_DIMS(4), zero);
        const tr_tensor all[] = { p, m, v, g, ms, vs };
        for (int j = 0; j < (bits ? 6 : 4); j++) check_mutable(c, all[j]);
        memset(x, 0, N * sizeof *x);
        for (int t = 1; t <= STEPS; t++) {
            const tr_adamw_args a = {
                .lr = 0.02 * (STEPS - t + 1) / STEPS, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .grad_scale = 1, .step = t
            };
            for (int i = 0; i < N; i++) grad[i] = curve[i] * (x[i] - goal[i]);
            check_ok(c, tr_upload(check_stream(c), g, grad));
            check_ok(c, bits ? tr_adamw8(check_stream(c), p, m, v, ms, vs, g, &a) : tr_adamw(check_stream(c), p, m, v, g, &a));
            check_ok(c, tr_download(check_stream(c), x, p));
        }
        memcpy(end[bits], x, N * sizeof *x);
        for (int j = 0; j < (bits ? 6 : 4); j++) {            /* looked at: the ends are compared below */
            uint8_t *now = (uint8_t *)check_room(c, N);
            check_ok(c, tr_download(check_stream(c), now, all[j]));
            check_bytes(c, all[j], now);
        }
    }
    double apart = 0, way = 0;
    for (int i = 0; i < N; i++) {
        apart += pow((double)end[1][i] - (double)end[0][i], 2);
        way += pow((double)goal[i], 2);
    }
    check_int(c, "whether 8 bits end where 32 do", sqrt(apart / way) <= most, 1);
    check_release(c);
}

/* A NaN stays in its block, in p and in the scales, where a later check finds it. */
static void nan_tells(check *c)
{
    enum { N = 2 * BLOCK };
    const tr_adamw_args a = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .grad_scale = 1, .step = 1 };
    const uint8_t codes[N] = { 0 };
    const float none[2] = { 0 };
    float one[N];
    for (int i = 0; i < N; i++) one[i] = i == BLOCK + 5 ? NAN : 1;
    tr_tensor p = check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(N)), g = check_values(c, TR_F32, TR_DIMS(N), one);
    tr_tensor m = check_values(c, TR_U8, TR_DIMS(N), codes), v = check_values(c, TR_U8, TR_DIMS(N), codes);
    tr_tensor ms = check_values(c, TR_F32, TR_DIMS(2), none), vs = check_values(c, TR_F32, TR_DIMS(2), none);
    const tr_tensor all[] = { p, m, v, ms, vs };
    double *want = check_f64(c, p), *mag = check_room(c, N);
    uint8_t *now = (uint8_t *)check_room(c, N);
    for (int j = 0; j < 5; j++) check_mutable(c, all[j]);
    check_ok(c, tr_adamw8(check_stream(c), p, m, v, ms, vs, g, &a));
    for (int i = 0; i < N; i++) {
        mag[i] = fabs(want[i]) + 1e-3;
        want[i] -= 1e-3;
    }
    check_near(c, tr_slice(p, 0, 0, BLOCK + 5), want, mag, 4);
    check_near(c, tr_slice(p, 0, BLOCK + 6, BLOCK - 6), want + BLOCK + 6, mag + BLOCK + 6, 4);
    check_near(c, tr_slice(ms, 0, 0, 1), (const double[]){ 0.1 }, (const double[]){ 0.1 }, 2);
    check_near(c, tr_slice(vs, 0, 0, 1), (const double[]){ 0.001 }, (const double[]){ 0.001 }, 2);
    check_equal(c, tr_slice(p, 0, BLOCK + 5, 1), (const double[]){ (double)NAN });
    check_equal(c, tr_slice(ms, 0, 1, 1), (const double[]){ (double)NAN });
    check_equal(c, tr_slice(vs, 0, 1, 1), (const double[]){ (double)NAN });
    for (int j = 1; j < 3; j++) {                             /* codes beside a NaN are any */
        check_ok(c, tr_download(check_stream(c), now, all[j]));
        check_bytes(c, all[j], now);
    }
    check_release(c);
}

CHECK_OP(adamw8)
{
    static const int64_t size[] = { 1, 7, 256, 257, 1000, 40007 };
    model k;
    ref_map(k.map_m, true);
    ref_map(k.map_v, false);
    check_int(c, "the code of 0 in m", k.map_m[127] == 0, 1);
    for (int j = 0; j < 6; j++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int state = 0; state < 2; state++) one_step(c, &k, size[j], f, state);
    nan_tells(c);
    quadratic(c, 2, 0.05);
    quadratic(c, 4, 0.25);
}

BENCH_OP(adamw8)
{
    const tr_adamw_args a = {
        .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-4, .grad_scale = 1, .step = 1
    };
    for (bench_begin(c, "8 M"); bench_more(c);) {
        const tr_dims d = TR_DIMS(8 << 20), blocks = TR_DIMS((8 << 20) / BLOCK);
        tr_tensor p = bench_tensor(c, TR_F32, d), m = bench_tensor(c, TR_U8, d), v = bench_tensor(c, TR_U8, d),
                  g = bench_tensor(c, TR_F32, d);
        tr_tensor ms = bench_tensor(c, TR_F32, blocks), vs = bench_tensor(c, TR_F32, blocks);
        BENCH_TIME(c, tr_adamw8(check_stream(c), p, m, v, ms, vs, g, &a));
    }
}
