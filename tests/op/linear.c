#include "check.h"

#include <math.h>

/* What a case adds to the plain layer. */
typedef struct kind {
    tr_act act;
    float  scale;
    bool   bias, low, mul, residual, more, in_place, strided;
    bool   across;                              /* backward: the weights are [k, m] */
    int    n_gate;                              /* 0: none; else that many if they divide n, else one */
} kind;

static double act_of(double h, tr_act act)
{
    switch (act) {
    case TR_ACT_SILU:       return h / (1 + exp(-h));
    case TR_ACT_GELU_TANH:  return h / (1 + exp(-2 * 0.79788456080286535588 * (h + 0.044715 * h * h * h)));
    case TR_ACT_GELU_ERF:   return 0.5 * h * erfc(-h * 0.70710678118654752440);
    case TR_ACT_GELU_QUICK: return h / (1 + exp(-1.702 * h));
    default:                return h;
    }
}

/* want += x w^T, or x w with w [k, m]; mag with |terms|. */
static void ref_product(double *want, double *mag, const double *x, const double *w, int64_t n, int64_t k, int64_t m, bool across)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            for (int64_t c = 0; c < k; c++) {
                const double v = x[i * k + c] * (across ? w[c * m + j] : w[j * k + c]);
                want[i * m + j] += v;
                mag[i * m + j] += fabs(v);
            }
}

/* [n, d], or the inside of something wider. */
static tr_tensor rows(tr_tensor wide, int64_t d) { return tr_slice(wide, 1, wide.shape[1] - d, d); }

static void one(check *c, check_fill f, tr_dtype t, int64_t n, int64_t k, int64_t m, kind o)
{
    const int64_t pad = o.strided ? 3 : 0, r = 5;
    tr_tensor x = rows(check_input(c, f, TR_DIMS(n, k + pad)), k), w = check_weight(c, FILL_NORMAL, t, o.across ? TR_DIMS(k, m) : TR_DIMS(m, k));
    tr_tensor b = o.bias ? check_weight(c, FILL_NORMAL, t, TR_DIMS(m)) : tr_none();
    tr_tensor low = o.low ? rows(check_input(c, f, TR_DIMS(n, r + pad)), r) : tr_none();
    tr_tensor up = o.low ? check_weight(c, FILL_NORMAL, TR_F32, o.across ? TR_DIMS(r, m) : TR_DIMS(m, r)) : tr_none();
    tr_epilogue e = { .act = o.act, .scale = o.scale };
    if (o.mul) e.mul = rows(check_input(c, FILL_NORMAL, TR_DIMS(n, m + pad)), m);
    const int64_t g = o.n_gate && n % o.n_gate == 0 ? o.n_gate : 1;
    if (o.n_gate) e.gate = rows(check_input(c, FILL_NORMAL, TR_DIMS(g, m + 2 * pad)), m);
    if (o.residual) e.residual = rows(check_input(c, f, TR_DIMS(n, m + pad)), m);
    if (o.more) e.more = rows(check_input(c, FILL_NORMAL, TR_DIMS(n, m + 3 * pad)), m), e.more_scale = -0.75f;
    tr_tensor y = o.residual && o.in_place ? e.residual : rows(check_output(c, TR_DIMS(n, m + pad)), m);

    double *want = check_room(c, n * m), *mag = check_room(c, n * m), *of_low = check_room(c, n * m);
    if (o.low) ref_product(of_low, mag, check_f64(c, low), check_f64(c, up), n, r, m, o.across);
    for (int64_t i = 0; i < n * m; i++) want[i] = of_low[i];
    ref_product(want, mag, check_f64(c, x), check_f64(c, w), n, k, m, o.across);
    const tr_dtype kept = tr_stream_dtype(check_stream(c));
    const double *vb = o.bias ? check_f64(c, b) : NULL, *vm = o.mul ? check_f64(c, e.mul) : NULL;
    const double *vg = o.n_gate ? check_f64(c, e.gate) : NULL, *vr = o.residual ? check_f64(c, e.residual) : NULL;
    const double *va = o.more ? check_f64(c, e.more) : NULL;
    const double scale = o.scale == 0 ? 1 : (double)o.scale;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) {
            double h = want[i * m + j], a = mag[i * m + j];
            if (vb) h += vb[j], a += fabs(vb[j]);
            const double most = fmax(fmax(fabs(of_low[i * m + j]), fabs(h)), fabs(scale * h));
            h = act_of(scale * h, o.act);
            a *= fabs(scale) * (o.act == TR_ACT_NONE ? 1 : 1.13);            /* the steepest slope of any of them */
            if (vm) h *= vm[i * m + j], a *= fabs(vm[i * m + j]);
            if (vg) h *= vg[i / (n / g) * m + j], a *= fabs(vg[i / (n / g) * m + j]);
            if (vr) h += vr[i * m + j], a += fabs(vr[i * m + j]);
            if (va) h += (double)e.more_scale * va[i * m + j], a += fabs((double)e.more_scale * va[i * m + j]);
            want[i * m + j] = h;
            mag[i * m + j] = kept == TR_F16 && most > 60000 ? (double)INFINITY : a;      /* what is kept of h may not be a number */
        }
    /* In a narrow stream what is of another type is converted; low up^T is kept in the stream's type, and h before most epilogues. */
    const bool finished = o.act != TR_ACT_NONE || o.mul || o.n_gate || o.residual || o.more;
    check_rounds(c, (x.dtype != kept) + (t != kept) + (o.low ? 1 + (low.dtype != kept) + (up.dtype != kept) : 0) + finished,
                 100 * fmax(check_largest(f), 1));
    if (o.residual && o.in_place) check_mutable(c, y);
    if (o.across) check_ok(c, tr_linear_back(check_stream(c), y, x, w, low, up, &e));
    else check_ok(c, tr_linear(check_stream(c), y, x, w, b, low, up, &e));
    /* sums of k terms in float: sqrt(k) u mag at worst, and rarely      Higham and Mary 2019, thm 2.4 */
    check_near(c, y, want, mag, 8 + (o.across ? 2 * sqrt((double)(k + r)) : sqrt((double)k)));      /* across: two deviations, one chain over both products */
    check_release(c);
}

/* The activations by themselves: h is exact, so they must be right to a few roundings of the value and of their exponent. */
static void activations(check *c, tr_act act)
{
    enum { N = 6001 };
    const bool narrow = tr_stream_dtype(check_stream(c)) != TR_F32;
    float h[N];
    for (int i = 0; i < N; i++) h[i] = (float)(i - N / 2) * (i % 2 ? 0.029f : 0.0029f);
    tr_tensor w = check_numbers(c, TR_DIMS(N, 1), h), x = check_values(c, TR_F32, TR_DIMS(1, 1), (float[]){ 1 });
    tr_tensor y = check_output(c, TR_DIMS(1, N));
    const double *exact = check_f64(c, w);
    double *want = check_room(c, N), *mag = check_room(c, N);
    for (int i = 0; i < N; i++) {
        const double v = exact[i], cube = fabs(v * v * v);
        want[i] = act_of(v, act);
        mag[i] = act == TR_ACT_SILU       ? fabs(want[i])
               : act == TR_ACT_GELU_QUICK ? fabs(want[i]) * (1 + 1.702 * fabs(v))
               : act == TR_ACT_GELU_TANH  ? fabs(want[i]) * (1 + 1.6 * fabs(v) + 3 * 0.072 * cube)
                                          : 0.5 * (fabs(v) + fabs(want[i]));
        mag[i] += 1e-30;                        /* where the exponential leaves the range of floats the result may be 0 */
        if (narrow && act == TR_ACT_GELU_TANH) mag[i] = fabs(v);
    }
    check_rounds(c, narrow && act == TR_ACT_GELU_TANH, 0);      /* 0.5 v (1 + tanh), the tanh good to 2^-11 */
    check_ok(c, tr_linear(check_stream(c), y, x, w, tr_none(), tr_none(), tr_none(), &(tr_epilogue){ .act = act }));
    check_near(c, y, want, mag, 4);
    check_release(c);
}

/* Every bit pattern of a weight type, or every step-th, comes through both paths as the number it stands for. */
static void every_value(check *c, tr_dtype t, int64_t n, int step)
{
    static uint16_t bits[65536];
    static uint8_t bytes[65536];
    const int64_t m = t == TR_F8_E4M3 ? 256 : 65536 / step;
    for (int64_t i = 0; i < m; i++) bits[i] = (uint16_t)(i * step), bytes[i] = (uint8_t)i;
    tr_tensor w = check_values(c, t, TR_DIMS(m, 1), t == TR_F8_E4M3 ? (void *)bytes : bits);
    float ones[32];
    for (int i = 0; i < 32; i++) ones[i] = 1;
    tr_tensor x = check_values(c, TR_F32, TR_DIMS(n, 1), ones);
    tr_tensor y = check_output_as(c, tr_stream_dtype(check_stream(c)), TR_DIMS(n, m));
    double *want = check_room(c, n * m);
    const double *v = check_f64(c, w);
    for (int64_t i = 0; i < n * m; i++) want[i] = check_narrow(c, v[i % m]) + 0;              /* the sum begins with +0 */
    check_ok(c, tr_linear(check_stream(c), y, x, w, tr_none(), tr_none(), tr_none(), NULL));
    const double *got = check_f64(c, y);
    for (int64_t i = 0; y.dtype != TR_F32 && i < n * m; i++)
        if (want[i] == 0 && got[i] == 0) want[i] = got[i];                   /* what is too small for the type is 0 of either sign */
    check_equal(c, y, want);
    check_release(c);
}

static const int64_t sizes[][3] = { { 1, 1, 1 }, { 2, 65, 33 }, { 5, 256, 130 }, { 20, 31, 8 }, { 21, 300, 31 }, { 77, 133, 67 }, { 130, 513, 40 },
                                    { 461, 20, 136 } };                      /* n, k, m */

CHECK_OP(linear)
{
    static const kind kinds[] = {
        { .bias = true },
        { .act = TR_ACT_SILU, .bias = true, .strided = true },
        { .act = TR_ACT_GELU_TANH, .bias = true, .low = true },
        { .act = TR_ACT_GELU_ERF, .scale = 0.25f },
        { .act = TR_ACT_GELU_QUICK, .bias = true, .mul = true },
        { .bias = true, .residual = true, .in_place = true, .n_gate = 7 },
        { .scale = -2, .low = true, .n_gate = 1, .strided = true },
        { .act = TR_ACT_SILU, .scale = 3, .bias = true, .low = true, .mul = true, .n_gate = 5, .residual = true, .strided = true },
    };
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++) {
            const check_fill f = (check_fill)((i + k) % FILL_N);
            one(c, i < 5 ? f : k % 2 ? FILL_NORMAL : f, types[(i + k / 2) % 4], sizes[i][0], sizes[i][1], sizes[i][2], kinds[k]);
        }
    for (int i = 0; i < 4; i++)
        for (check_fill f = 0; f < FILL_N; f++) one(c, f, types[i], 33, 100, 45, kinds[0]);
    if (!check_is_host(c)) {                    /* all of it inside of the product, where operands lie as the library likes */
        static const int64_t even[][3] = { { 28, 64, 64 }, { 70, 256, 128 }, { 560, 136, 192 } };
        static const kind fused[] = {
            { .bias = true, .residual = true, .n_gate = 7 },
            { .bias = true, .low = true, .residual = true, .in_place = true, .n_gate = 7, .scale = 0.5f },
            { .low = true, .n_gate = 1 },
            { .bias = true, .low = true, .residual = true, .scale = 3 },
            { .act = TR_ACT_GELU_TANH, .bias = true, .low = true, .scale = 0.5f },
            { .act = TR_ACT_GELU_TANH },
            { .act = TR_ACT_SILU, .bias = true, .mul = true, .n_gate = 70, .residual = true, .in_place = true },
        };
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 7; k++)
                for (int t = 0; t < 2; t++) one(c, FILL_NORMAL, t ? types[(i + k) % 4] : tr_stream_dtype(check_stream(c)), even[i][0], even[i][1], even[i][2], fused[k]);
    }
    for (tr_act act = TR_ACT_SILU; act <= TR_ACT_GELU_QUICK; act++) activations(c, act);
    for (int i = 1; i < 4; i++) {
        every_value(c, types[i], 2, 1);
        every_value(c, types[i], 22, 13);
    }
    static const kind with_more[] = {
        { .bias = true, .residual = true, .in_place = true, .more = true, .n_gate = 7 },
        { .low = true, .more = true },
        { .act = TR_ACT_SILU, .scale = 3, .bias = true, .mul = true, .n_gate = 5, .residual = true, .more = true, .strided = true },
    };
    static const int64_t wide[][3] = { { 3, 40, 19 }, { 35, 64, 64 }, { 70, 256, 128 } };
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) one(c, FILL_NORMAL, i == 1 ? tr_stream_dtype(check_stream(c)) : types[(i + k) % 4], wide[i][0], wide[i][1], wide[i][2], with_more[k]);
}

CHECK_OP(linear_back)
{
    static const kind kinds[] = {
        { .across = true },
        { .across = true, .strided = true, .residual = true },
        { .across = true, .low = true, .scale = 0.25f },
        { .across = true, .low = true, .residual = true, .in_place = true, .strided = true },
        { .across = true, .act = TR_ACT_SILU, .mul = true, .n_gate = 7 },
    };
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 5; k++)
            one(c, i < 5 ? (check_fill)((i + k) % FILL_N) : FILL_NORMAL, types[(i + k) % 4], sizes[i][0], sizes[i][1], sizes[i][2], kinds[k]);
    for (int i = 0; i < 4; i++)
        for (check_fill f = 0; f < FILL_N; f++) one(c, f, types[i], i % 2 ? 3 : 33, 100, 45, kinds[2]);
    for (int k = 0; k < 5 && !check_is_host(c); k++)
        for (int t = 0; t < 2; t++) one(c, FILL_NORMAL, t ? types[k % 4] : tr_stream_dtype(check_stream(c)), 70, 136, 64, kinds[k]);
}

/* dw += dy^T x, rows of both strided. */
CHECK_OP(linear_grad)
{
    static const int64_t shapes[][3] = { { 1, 1, 1 }, { 5, 3, 70 }, { 300, 16, 130 }, { 257, 130, 16 }, { 64, 67, 67 }, { 40, 1100, 1030 }, { 600, 1, 33 },
                                        { 70, 16, 136 }, { 16384, 16, 64 }, { 8192, 64, 16 } };   /* n, m, k; the last three on a GPU alone */
    for (int i = 0; i < (check_is_host(c) ? 7 : 10); i++)
        for (check_fill f = 0; f < FILL_N; f++) {
            const int64_t n = shapes[i][0], m = shapes[i][1], k = shapes[i][2], pad = i % 2 && i < 9 ? 3 : 0;
            if ((i == 5 || i >= 8) && f > 0) break;
            tr_tensor dy = rows(check_input(c, f, TR_DIMS(n, m + pad)), m), x = rows(check_input(c, f == FILL_TINY ? f : FILL_NORMAL, TR_DIMS(n, k + pad)), k);
            tr_tensor dw = check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(m, k));
            const tr_dtype kept = tr_stream_dtype(check_stream(c));
            const double *vy = check_f64(c, dy), *vx = check_f64(c, x), *old = check_f64(c, dw);
            double *want = check_room(c, m * k), *mag = check_room(c, m * k);
            for (int64_t j = 0; j < m * k; j++) {
                want[j] = old[j];
                mag[j] = fabs(old[j]);
            }
            for (int64_t l = 0; l < n; l++)
                for (int64_t j = 0; j < m * k; j++) {
                    const double v = vy[l * m + j / k] * vx[l * k + j % k];
                    want[j] += v;
                    mag[j] += fabs(v);
                }
            check_mutable(c, dw);
            check_rounds(c, (dy.dtype != kept) + (x.dtype != kept), (double)n * check_largest(f));      /* converted to the stream's type */
            check_ok(c, tr_linear_grad(check_stream(c), dw, dy, x));
            /* Tensor cores line up the products of a step and cut off what falls below, always towards 0: twice what rounding leaves. */
            check_near(c, dw, want, mag, 8 + (kept == TR_F32 ? 1 : 2) * sqrt((double)n));
            check_release(c);
        }
}

BENCH_OP(linear_grad)
{
    static const int64_t shapes[][3] = { { 256, 16, 256 }, { 1024, 256, 16 }, { 1024, 16, 2432 }, { 1024, 2432, 16 },
                                        { 8192, 16, 2432 }, { 8192, 2432, 16 }, { 16384, 16, 2432 }, { 16384, 2432, 16 } };
    for (int i = 0; i < (check_is_host(c) ? 4 : 8); i++) {
        const int64_t n = shapes[i][0], m = shapes[i][1], k = shapes[i][2];
        for (bench_begin(c, "%d rows, %d x %d", (int)n, (int)m, (int)k); bench_more(c);) {
            tr_tensor dy = bench_input(c, TR_DIMS(n, m)), x = bench_input(c, TR_DIMS(n, k)), dw = bench_tensor(c, TR_F32, TR_DIMS(m, k));
            BENCH_TIME(c, tr_linear_grad(check_stream(c), dw, dy, x));
        }
    }
}

/* The type of the weights in the first and second half of a bench: on a GPU the stream's own type, then F8. */
static tr_dtype stored(check *c, int t, tr_dtype second)
{
    return check_is_host(c) ? (t ? second : TR_F32) : t ? TR_F8_E4M3 : tr_stream_dtype(check_stream(c));
}

BENCH_OP(linear_back)
{
    static const int64_t shapes[][3] = { { 256, 256, 256 }, { 256, 1024, 256 }, { 1024, 256, 1024 }, { 1024, 1024, 256 }, { 1024, 2432, 2432 }, { 1, 256, 256 }, { 2, 9728, 2432 },
                                        { 4096, 2432, 2432 }, { 4096, 7296, 2432 }, { 4096, 9728, 2432 }, { 4096, 2432, 9728 }, { 16384, 2432, 2432 }, { 16384, 2432, 16 } };
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < (check_is_host(c) ? 7 : 13); i++) {
            const int64_t n = shapes[i][0], m = shapes[i][1], k = shapes[i][2];
            const tr_dtype type = stored(c, t, TR_F16);
            if (!check_is_host(c) && t && tr_stream_dtype(check_stream(c)) == TR_F32) break;
            for (bench_begin(c, "%s %d x %d -> %d", tr_dtype_name(type), (int)n, (int)m, (int)k); bench_more(c);) {
                tr_tensor dy = bench_input(c, TR_DIMS(n, m)), w = bench_tensor(c, type, TR_DIMS(m, k)), dx = bench_input(c, TR_DIMS(n, k));
                BENCH_TIME(c, tr_linear_back(check_stream(c), dx, dy, w, tr_none(), tr_none(), NULL));
            }
        }
}

/* What the blocks of the full-size model ask of a product besides the bias. */
static void bench_epilogues(check *c)
{
    static const char *const names[] = { "GELU", "gate, residual", "residual", "low rank 16", "low rank 16, GELU", "low rank 16, gate, residual" };
    static const int64_t shapes[][3] = { { 8192, 2432, 9728 }, { 8192, 9728, 2432 }, { 8192, 9728, 2432 }, { 8192, 2432, 7296 }, { 8192, 2432, 9728 }, { 8192, 2432, 2432 } };
    const tr_dtype type = tr_stream_dtype(check_stream(c));
    for (int i = 0; i < 6; i++) {
        const int64_t n = shapes[i][0], k = shapes[i][1], m = shapes[i][2];
        for (bench_begin(c, "%d x %d -> %d, %s", (int)n, (int)k, (int)m, names[i]); bench_more(c);) {
            tr_tensor x = bench_input(c, TR_DIMS(n, k)), w = bench_tensor(c, type, TR_DIMS(m, k)), b = bench_tensor(c, type, TR_DIMS(m)), y = bench_input(c, TR_DIMS(n, m));
            tr_tensor low = i < 3 ? tr_none() : bench_input(c, TR_DIMS(n, 16)), up = i < 3 ? tr_none() : bench_tensor(c, TR_F32, TR_DIMS(m, 16));
            tr_epilogue e = { .act = i == 0 || i == 4 ? TR_ACT_GELU_TANH : TR_ACT_NONE };
            if (i == 1 || i == 5) e.gate = bench_input(c, TR_DIMS(2, m));
            if (i == 1 || i == 2 || i == 5) e.residual = y;
            BENCH_TIME(c, tr_linear(check_stream(c), y, x, w, b, low, up, &e));
        }
    }
}

BENCH_OP(linear)
{
    static const int64_t shapes[][3] = { { 512, 256, 256 }, { 1178, 256, 256 }, { 1178, 256, 1024 }, { 1178, 1024, 256 }, { 1024, 2432, 2432 },
                                        { 1024, 2432, 9728 }, { 1024, 9728, 2432 }, { 2, 2432, 9728 },
                                        { 8192, 2432, 7296 }, { 8192, 2432, 2432 }, { 8192, 2432, 9728 }, { 8192, 9728, 2432 },
                                        { 666, 2432, 7296 }, { 666, 2432, 2432 }, { 666, 2432, 9728 }, { 666, 9728, 2432 }, { 8192, 2432, 16 } };
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < (check_is_host(c) ? 8 : 17); i++) {
            const int64_t n = shapes[i][0], k = shapes[i][1], m = shapes[i][2];
            const tr_dtype type = stored(c, t, TR_BF16);
            if (!check_is_host(c) && t && tr_stream_dtype(check_stream(c)) == TR_F32) break;
            for (bench_begin(c, "%s %d x %d -> %d", tr_dtype_name(type), (int)n, (int)k, (int)m); bench_more(c);) {
                tr_tensor x = bench_input(c, TR_DIMS(n, k)), w = bench_tensor(c, type, TR_DIMS(m, k));
                tr_tensor b = bench_tensor(c, type, TR_DIMS(m)), y = bench_input(c, TR_DIMS(n, m));
                BENCH_TIME(c, tr_linear(check_stream(c), y, x, w, b, tr_none(), tr_none(), NULL));
            }
        }
    if (!check_is_host(c)) bench_epilogues(c);
}
