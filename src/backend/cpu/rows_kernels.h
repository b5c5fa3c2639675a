/* rows_kernels.h - the loops of rows.h in plain C. Included once by each of rows.c, rows_avx2.c and rows_avx512.c, which set
 * ROWS to the name of their table; the compiler makes vectors of the loops: no branches inside, sums by `omp simd`. */
#include "backend/cpu/rows.h"

#include <math.h>
#include <string.h>

#ifdef __F16C__
#include <immintrin.h>
#endif

static inline uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* ---- exponentials ---------------------------------------------------------------------------------------- */
/* a b + c, in one rounding where the machine has it. */
static inline float mad(float a, float b, float c)
{
#ifdef __FMA__
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

typedef struct small { float p, s1, s2; } small;      /* p s1 s2, p in 0.7..1.5; s1 and s2 powers of two */

/* exp(-t), t >= 0. Range reduction by ln 2 in two parts (Cody and Waite 1980), Taylor to r^7: |r| <= 0.35, rest 5e-9.
 * In two factors so that the caller can multiply before it falls below the normal numbers. */
static inline small exp_minus(float t)
{
    t = t < 170.0f ? t : 170.0f;
    const float n = mad(t, 1.44269504f, 12582912.0f) - 12582912.0f;         /* to the nearest integer */
    const float r = mad(n, 0x1.7f7d1cp-20f, n * 0x1.62e4p-1f - t);         /* n 0x1.62e4p-1 is exact: 14 bits and 8 */
    float p = 1.0f / 5040;
    p = mad(p, r, 1.0f / 720);
    p = mad(p, r, 1.0f / 120);
    p = mad(p, r, 1.0f / 24);
    p = mad(p, r, 1.0f / 6);
    p = mad(p, r, 0.5f);
    p = mad(p, r, 1.0f);
    p = mad(p, r, 1.0f);
    const int32_t k = (int32_t)n, half = k >> 1;
    return (small){ p, float_of((uint32_t)(127 - half) << 23), float_of((uint32_t)(127 - (k - half)) << 23) };
}

/* x / (1 + exp(-k)), without overflow and with a gradual end on both sides. */
static inline float times_sigmoid(float x, float k)
{
    const small e = exp_minus(fabsf(k));
    const float full = e.p * e.s1 * e.s2, quotient = 1.0f / (1.0f + full);
    const float low = x * quotient * e.p * e.s1 * e.s2, high = x * quotient;
    return k < 0 ? low : high;
}

/* erf: z P(z^2) below 1; 1 - exp(-Q(z)) above, Q = -log(erfc). Chebyshev fits, errors 3.2 u relative and 0.8 u absolute. */
static inline float error_function(float x)
{
    const float z = fabsf(x), q = z * z, big = z < 4.0f ? z : 4.0f;
    float p = -0x1.449782p-17f;
    p = mad(p, q, 0x1.d89ff4p-14f);
    p = mad(p, q, -0x1.bcd3a4p-11f);
    p = mad(p, q, 0x1.562abep-8f);
    p = mad(p, q, -0x1.b829dp-6f);
    p = mad(p, q, 0x1.ce2f0ap-4f);
    p = mad(p, q, -0x1.812746p-2f);
    p = mad(p, q, 0x1.20dd76p+0f);
    float g = -0x1.b14578p-20f;
    g = mad(g, big, 0x1.7e711ep-15f);
    g = mad(g, big, -0x1.36c82ep-11f);
    g = mad(g, big, 0x1.36a7bcp-8f);
    g = mad(g, big, -0x1.aff5a4p-6f);
    g = mad(g, big, 0x1.c2788cp-4f);
    g = mad(g, big, 0x1.438d42p-1f);
    g = mad(g, big, 0x1.21529ap+0f);
    g = mad(g, big, -0x1.3df11cp-12f);
    const small e = exp_minus(g);
    const float v = z < 1.0f ? z * p : 1.0f - e.p * e.s1 * e.s2;
    return x < 0 ? -v : v;
}

#define GELU_K 0x1.988454p+0f                   /* 2 sqrt(2 / pi): 1 + tanh(u) = 2 sigmoid(2u) */

static inline float silu(float x) { return times_sigmoid(x, x); }
static inline float gelu_tanh(float x) { return times_sigmoid(x, GELU_K * (x + 0.044715f * x * x * x)); }
static inline float gelu_quick(float x) { return times_sigmoid(x, 1.702f * x); }
static inline float gelu_erf(float x) { return 0.5f * x * (1.0f + error_function(x * 0x1.6a09e6p-1f)); }

/* `y = f(in)` for each i, f chosen outside of the loop. */
#define FOR_ACT(act, n, y, in)                                                                                \
    switch (act) {                                                                                            \
    case TR_ACT_NONE:       for (int64_t i = 0; i < (n); i++) y = in; break;                                  \
    case TR_ACT_SILU:       for (int64_t i = 0; i < (n); i++) y = silu(in); break;                            \
    case TR_ACT_GELU_TANH:  for (int64_t i = 0; i < (n); i++) y = gelu_tanh(in); break;                       \
    case TR_ACT_GELU_ERF:   for (int64_t i = 0; i < (n); i++) y = gelu_erf(in); break;                        \
    case TR_ACT_GELU_QUICK: for (int64_t i = 0; i < (n); i++) y = gelu_quick(in); break;                      \
    }

static void activate(float *y, const float *x, int64_t n, tr_act act)
{
    FOR_ACT(act, n, y[i], x[i])
}

/* ---- elementwise ----------------------------------------------------------------------------------------- */
static void axpby(float *y, float a, const float *x, float b, const float *z, int64_t n)
{
    if (!z)
        for (int64_t i = 0; i < n; i++) y[i] = a * x[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = a * x[i] + b * z[i];
}

static void blend(float *y, const float *m, const float *x, const float *z, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = m[i] * x[i] + (1.0f - m[i]) * z[i];
}

static void clamp(float *y, const float *x, float least, float most, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i] < least ? least : x[i];         /* a NaN stays */
        y[i] = v > most ? most : v;
    }
}

static int64_t nonfinite(const float *x, int64_t n)
{
    int64_t bad = 0;
    for (int64_t i0 = 0; i0 < n; i0 += 65536) {
        const int64_t end = n - i0 < 65536 ? n : i0 + 65536;
        int32_t some = 0;
        for (int64_t i = i0; i < end; i++) some += (bits_of(x[i]) & 0x7f800000u) == 0x7f800000u;
        bad += some;
    }
    return bad;
}

/* ---- statistics ------------------------------------------------------------------------------------------ */
static double sum(const float *x, int64_t n)
{
    double t = 0;
#pragma omp simd reduction(+ : t)
    for (int64_t i = 0; i < n; i++) t += (double)x[i];
    return t;
}

static double squares(const float *x, int64_t n, double mean)
{
    double t = 0;
#pragma omp simd reduction(+ : t)
    for (int64_t i = 0; i < n; i++) t += ((double)x[i] - mean) * ((double)x[i] - mean);
    return t;
}

static void norm_ada(float *y, const float *x, float mean, float rstd, const float *scale, const float *shift, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * (1.0f + scale[i]) + shift[i];
}

static void norm_affine(float *y, const float *x, float mean, float rstd, const float *w, const float *b, int64_t n)
{
    if (b)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i];
}

#define LANES 64                                /* channels whose sums stay in registers */

static void channel_sum(double *total, const float *x, int64_t n, int64_t c)
{
    int64_t k = 0;
    for (; k + LANES <= c; k += LANES) {
        double t[LANES] = { 0 };
        for (int64_t i = 0; i < n; i++)
            for (int l = 0; l < LANES; l++) t[l] += (double)x[i * c + k + l];
        for (int l = 0; l < LANES; l++) total[k + l] += t[l];
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t l = k; l < c; l++) total[l] += (double)x[i * c + l];
}

static void channel_squares(double *total, const float *x, const double *mean, int64_t n, int64_t c)
{
    int64_t k = 0;
    for (; k + LANES <= c; k += LANES) {
        double t[LANES] = { 0 };
        for (int64_t i = 0; i < n; i++)
            for (int l = 0; l < LANES; l++) {
                const double d = (double)x[i * c + k + l] - mean[k + l];
                t[l] += d * d;
            }
        for (int l = 0; l < LANES; l++) total[k + l] += t[l];
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t l = k; l < c; l++) {
            const double d = (double)x[i * c + l] - mean[l];
            total[l] += d * d;
        }
}

static void channel_affine(float *y, const float *x, const float *a, const float *b, int64_t n, int64_t c, tr_act act)
{
    for (int64_t k = 0; k < n; k++, x += c, y += c) FOR_ACT(act, c, y[i], mad(x[i], a[i], b[i]))
}

/* ---- backward of the norms ------------------------------------------------------------------------------- */
/* omp simd: an output may be an input, element by element, and is nothing in between. */
static void norm_ada_sums(double sums[2], const float *dy, const float *x, const float *scale, double mean, int64_t n)
{
    double a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (int64_t i = 0; i < n; i++) {
        const double g = (double)(dy[i] * (1.0f + scale[i]));
        a += g;
        b += g * ((double)x[i] - mean);
    }
    sums[0] = a;
    sums[1] = b;
}

static void norm_ada_back(float *dx, const float *dy, const float *x, const float *scale, const float *residual, float mean, float rstd,
                          float mean_g, float slope, int64_t n)
{
    if (residual) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = residual[i] + rstd * (dy[i] * (1.0f + scale[i]) - mean_g - (x[i] - mean) * slope);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = rstd * (dy[i] * (1.0f + scale[i]) - mean_g - (x[i] - mean) * slope);
    }
}

static void norm_rms_sums(double sums[2], const float *dy, const float *x, const float *w, int64_t n)
{
    double a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (int64_t i = 0; i < n; i++) {
        const double xi = (double)x[i];
        a += xi * xi;
        b += (double)(dy[i] * w[i]) * xi;
    }
    sums[0] = a;
    sums[1] = b;
}

static void norm_rms_back(float *dx, const float *dy, const float *x, const float *w, float rms, float slope, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dx[i] = rms * (dy[i] * w[i] - x[i] * slope);
}

/* ---- slopes of activations ------------------------------------------------------------------------------- */
/* dy (s + s (1 - s) t) with s = sigmoid(k): the slope of x s(k(x)) for t = x k'(x). With q = 1 / (1 + e), e = exp(-|k|), it is
 * q (1 + q t e) above 0 and e q (1 + q t) below, where the last product ends gradually. */
static inline float sigmoid_slope(float dy, float k, float t)
{
    const small e = exp_minus(fabsf(k));
    const float rest = e.p * e.s2, full = rest * e.s1, q = 1.0f / (1.0f + full);
    const float slope = q * (1.0f + q * t * (k < 0 ? 1.0f : full));
    return dy * (k < 0 ? e.s1 : 1.0f) * slope * (k < 0 ? rest : 1.0f);
}

/* Beyond 200 every slope here has reached 0 or 1, and powers of x would overflow; a NaN stays. */
static inline float bounded(float x)
{
    const float v = x < -200.0f ? -200.0f : x;
    return v > 200.0f ? 200.0f : v;
}

static inline float silu_back(float dy, float x) { return sigmoid_slope(dy, bounded(x), bounded(x)); }
static inline float gelu_quick_back(float dy, float x) { return sigmoid_slope(dy, 1.702f * bounded(x), 1.702f * bounded(x)); }
static inline float gelu_tanh_back(float dy, float x)
{
    const float v = bounded(x), cube = 0.044715f * v * v * v;
    return sigmoid_slope(dy, GELU_K * (v + cube), GELU_K * (v + 3.0f * cube));
}
/* Phi(x) + x phi(x) */
static inline float gelu_erf_back(float dy, float x)
{
    const float v = bounded(x);
    const small e = exp_minus(0.5f * v * v);
    return dy * (0.5f * (1.0f + error_function(v * 0x1.6a09e6p-1f)) + 0x1.988454p-2f * v * e.p * e.s1 * e.s2);
}

static void activate_back(float *dx, const float *dy, const float *x, int64_t n, tr_act act)
{
    switch (act) {
    case TR_ACT_NONE:
        memmove(dx, dy, (size_t)n * sizeof *dx);
        break;
    case TR_ACT_SILU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = silu_back(dy[i], x[i]);
        break;
    case TR_ACT_GELU_TANH:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = gelu_tanh_back(dy[i], x[i]);
        break;
    case TR_ACT_GELU_ERF:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = gelu_erf_back(dy[i], x[i]);
        break;
    case TR_ACT_GELU_QUICK:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) dx[i] = gelu_quick_back(dy[i], x[i]);
        break;
    }
}

/* ---- products -------------------------------------------------------------------------------------------- */
static void product(float *y, const float *x, const float *z, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * z[i];
}

/* tr_philox of core/rng.c for a run of counters: keep[i] = scale where number 4 block + i is least or more, else 0. */
#define PHILOX_N 16
static inline void philox_keep(float keep[4 * PHILOX_N], float scale, uint32_t least, uint64_t key, uint64_t stream,
                               uint64_t block)
{
#ifdef __AVX2__
    /* Each number in the low half of 64 bits; the product reads no other, so the high half may hold anything. */
    const __m256i m0 = _mm256_set1_epi64x(0xD2511F53), m1 = _mm256_set1_epi64x(0xCD9E8D57), low = _mm256_set1_epi64x(0xffffffff);
    const __m256i from = _mm256_set1_epi32((int)least), one = _mm256_castps_si256(_mm256_set1_ps(scale));
    for (int l = 0; l < PHILOX_N; l += 4) {
        __m256i c0 = _mm256_add_epi64(_mm256_set1_epi64x((long long)(block + (uint64_t)l)), _mm256_setr_epi64x(0, 1, 2, 3));
        __m256i c1 = _mm256_srli_epi64(c0, 32), c2 = _mm256_set1_epi64x((long long)stream), c3 = _mm256_srli_epi64(c2, 32);
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        for (int round = 0; round < 10; round++) {
            const __m256i p0 = _mm256_mul_epu32(c0, m0), p1 = _mm256_mul_epu32(c2, m1);
            c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1), _mm256_set1_epi64x(k0));
            c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3), _mm256_set1_epi64x(k1));
            c1 = p1;
            c3 = p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        const __m256i a = _mm256_or_si256(_mm256_and_si256(c0, low), _mm256_slli_epi64(c1, 32));      /* numbers 0 1 of each */
        const __m256i b = _mm256_or_si256(_mm256_and_si256(c2, low), _mm256_slli_epi64(c3, 32));      /* 2 3 */
        const __m256i even = _mm256_unpacklo_epi64(a, b), odd = _mm256_unpackhi_epi64(a, b);          /* blocks 0 2, 1 3 */
        const __m256i w0 = _mm256_permute2x128_si256(even, odd, 0x20), w1 = _mm256_permute2x128_si256(even, odd, 0x31);
        const __m256i keep0 = _mm256_and_si256(one, _mm256_cmpeq_epi32(_mm256_max_epu32(w0, from), w0));
        const __m256i keep1 = _mm256_and_si256(one, _mm256_cmpeq_epi32(_mm256_max_epu32(w1, from), w1));
        _mm256_storeu_ps(keep + 4 * l, _mm256_castsi256_ps(keep0));
        _mm256_storeu_ps(keep + 4 * l + 8, _mm256_castsi256_ps(keep1));
    }
#else
    for (int l = 0; l < PHILOX_N; l++) {
        uint32_t w[4];
        tr_philox(w, key, block + (uint64_t)l, stream);
        for (int j = 0; j < 4; j++) keep[4 * l + j] = w[j] >= least ? scale : 0.0f;
    }
#endif
}

static void dropout(float *y, const float *x, float scale, uint32_t least, uint64_t key, uint64_t stream, uint64_t first,
                    int64_t n)
{
    int64_t done = 0, skip = (int64_t)(first % 4);
    for (uint64_t block = first / 4; done < n; block += PHILOX_N) {
        float keep[4 * PHILOX_N];
        const int64_t m = n - done < 4 * PHILOX_N - skip ? n - done : 4 * PHILOX_N - skip;
        philox_keep(keep, scale, least, key, stream, block);
        product(y + done, x + done, keep + skip, m);
        done += m;
        skip = 0;
    }
}

static double velocity(float *dv, const float *v, const float *x0, const float *noise, const float *mask, double weight,
                       int64_t n)
{
    double t = 0;
    if (dv) {
#pragma omp simd reduction(+ : t)
        for (int64_t i = 0; i < n; i++) {
            const double e = (double)v[i] - ((double)noise[i] - (double)x0[i]), part = (double)mask[i] * e;
            t += part * e;
            dv[i] = (float)(weight * part);
        }
    } else {
#pragma omp simd reduction(+ : t)
        for (int64_t i = 0; i < n; i++) {
            const double e = (double)v[i] - ((double)noise[i] - (double)x0[i]);
            t += (double)mask[i] * e * e;
        }
    }
    return t;
}

/* ---- AdamW ----------------------------------------------------------------------------------------------- */
static void adamw(float *p, float *m, float *v, const float *g, int64_t n, const tr_adamw_factors *f)
{
    const tr_adamw_factors k = *f;
    const bool low = k.rate1 < 0.5f;             /* torch.lerp starts from the nearer end */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float gi = k.grad * g[i], away = gi - m[i];
        const float mi = low ? m[i] + k.rate1 * away : gi - k.beta1 * away;
        const float vi = k.beta2 * v[i] + k.rate2 * gi * gi;
        m[i] = mi;
        v[i] = vi;
        p[i] -= k.step * mi / (sqrtf(vi) / k.root2 + k.eps) + k.decay * p[i];
    }
}

static void decode8(float *x, const uint8_t *code, float scale, int64_t n, const tr_table8 *t)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] = t->value[code[i]] * scale;
}

static float encode8(uint8_t *code, const float *x, int64_t n, const tr_table8 *t)
{
    int32_t place[TR_ADAMW8_BLOCK];
    int32_t bits = 0;                            /* magnitudes in the order of their bits, NaN above all: the scale has it then */
    for (int64_t i = 0; i < n; i++) {
        const int32_t b = (int32_t)(bits_of(x[i]) & 0x7fffffffu);
        bits = b > bits ? b : bits;
    }
    const float most = float_of((uint32_t)bits), whole = most > 0 ? most : 1;
    const int32_t zero = t->zero, least = t->least;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float share = fabsf(x[i]) / whole, a = share <= 1 ? share : 1;            /* a NaN has some code, too */
        float first = 0, per = 0;
        int32_t rank = 0, last = 0;
#pragma GCC unroll 8
        for (int l = 0; l < TR_RUNS8; l++) {
            const float first_l = t->first[l], per_l = t->per[l];      /* loaded in any case: else it is no vector */
            const int32_t rank_l = t->rank[l], last_l = t->last[l];
            const bool in = a > t->over[l];
            first = in ? first_l : first;
            per = in ? per_l : per;
            rank = in ? rank_l : rank;
            last = in ? last_l : last;
        }
        const int32_t near = rank + (int32_t)((a - first) * per + 0.5f), r = near < last ? near : last;
        place[i] = x[i] < 0 ? zero - (r < least ? r : least) : zero + r;
    }
    for (int64_t i = 0; i < n; i++) code[i] = (uint8_t)place[i];
    return most;
}

/* ---- number types ---------------------------------------------------------------------------------------- */
/* Eight at a time through memory, so that any address will do. */
#define AT_ONCE 64

static void to_f32(float *y, const void *x, tr_dtype t, int64_t n)
{
    const uint8_t *p = x;
    if (t == TR_F32) {
        memmove(y, x, (size_t)n * sizeof *y);
        return;
    }
    for (int64_t i0 = 0; i0 < n; i0 += AT_ONCE) {
        const int m = n - i0 < AT_ONCE ? (int)(n - i0) : AT_ONCE;
        float *yi = y + i0;
        if (t == TR_F8_E4M3) {
            uint8_t h[AT_ONCE] = { 0 };
            memcpy(h, p + i0, (size_t)m);
            float v[AT_ONCE];
            for (int i = 0; i < AT_ONCE; i++) {              /* exponent bias 7 to 127 by a product, exact for subnormals too */
                const uint32_t a = h[i] & 0x7fu, sign = (uint32_t)(h[i] & 0x80u) << 24;
                const float f = float_of(a << 20) * 0x1p120f;
                v[i] = float_of(sign | (a == 0x7fu ? 0x7fc00000u : bits_of(f)));
            }
            memcpy(yi, v, (size_t)m * sizeof *v);
            continue;
        }
        uint16_t h[AT_ONCE] = { 0 };
        memcpy(h, p + 2 * i0, (size_t)m * 2);
        float v[AT_ONCE];
        if (t == TR_BF16) {
            for (int i = 0; i < AT_ONCE; i++) v[i] = float_of((uint32_t)h[i] << 16);
        } else {
#ifdef __F16C__
            for (int i = 0; i < AT_ONCE; i += 8) _mm256_storeu_ps(v + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(h + i))));
#else
            for (int i = 0; i < AT_ONCE; i++) {              /* exponent bias 15 to 127 likewise */
                const uint32_t a = h[i] & 0x7fffu, sign = (uint32_t)(h[i] & 0x8000u) << 16;
                const float f = float_of(a << 13) * 0x1p112f;
                const uint32_t special = 0x7f800000u | a << 13 | (a > 0x7c00u ? 0x400000u : 0);
                v[i] = float_of(sign | (a >= 0x7c00u ? special : bits_of(f)));
            }
#endif
        }
        memcpy(yi, v, (size_t)m * sizeof *v);
    }
}

static void from_f32(void *y, const float *x, tr_dtype t, int64_t n)
{
    uint8_t *p = y;
    if (t == TR_F32) {
        memmove(y, x, (size_t)n * sizeof *x);
        return;
    }
    for (int64_t i0 = 0; i0 < n; i0 += AT_ONCE) {
        const int m = n - i0 < AT_ONCE ? (int)(n - i0) : AT_ONCE;
        float v[AT_ONCE] = { 0 };
        memcpy(v, x + i0, (size_t)m * sizeof *v);
        if (t == TR_F8_E4M3) {
            for (int i = 0; i < m; i++) p[i0 + i] = tr_f32_to_f8e4m3(v[i]);
            continue;
        }
        uint16_t h[AT_ONCE];
        if (t == TR_BF16) {
            for (int i = 0; i < AT_ONCE; i++) {
                const uint32_t u = bits_of(v[i]), a = u & 0x7fffffffu;
                const uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16, nan = u >> 16 | 0x40u;
                h[i] = (uint16_t)(a > 0x7f800000u ? nan : rounded);
            }
        } else {
#ifdef __F16C__
            for (int i = 0; i < AT_ONCE; i += 8) _mm_storeu_si128((__m128i *)(void *)(h + i), _mm256_cvtps_ph(_mm256_loadu_ps(v + i), _MM_FROUND_TO_NEAREST_INT));
#else
            for (int i = 0; i < AT_ONCE; i++) h[i] = tr_f32_to_f16(v[i]);
#endif
        }
        memcpy(p + 2 * i0, h, (size_t)m * 2);
    }
}

static void round_to(float *x, tr_dtype t, int64_t n)
{
    uint16_t h[512];
    for (int64_t i = 0; i < n; i += 512) {
        const int64_t m = n - i < 512 ? n - i : 512;
        from_f32(h, x + i, t, m);
        to_f32(x + i, h, t, m);
    }
}

const tr_rows ROWS = {
    .axpby = axpby, .blend = blend, .activate = activate, .clamp = clamp, .sum = sum, .squares = squares, .norm_ada = norm_ada,
    .norm_affine = norm_affine, .channel_sum = channel_sum, .channel_squares = channel_squares, .channel_affine = channel_affine,
    .to_f32 = to_f32, .from_f32 = from_f32, .nonfinite = nonfinite, .norm_ada_sums = norm_ada_sums, .norm_ada_back = norm_ada_back,
    .norm_rms_sums = norm_rms_sums, .norm_rms_back = norm_rms_back, .activate_back = activate_back, .product = product,
    .dropout = dropout, .velocity = velocity, .adamw = adamw, .decode8 = decode8, .encode8 = encode8, .round = round_to,
};
