/* vec.h - a vector of floats under one set of names, for code that is compiled once per instruction set. The including .c
 * defines TR_VEC as 512, 256 or 1 first; 1 is plain C, one float at a time.
 * v_add, v_mul ... as they say; v_fma(a, b, c) = a b + c, fused where the machine has it; v_nfma(a, b, c) = c - a b. */
#ifndef TRESS_BACKEND_CPU_VEC_H
#define TRESS_BACKEND_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if TR_VEC == 512
#include <immintrin.h>
#define V_N 16
typedef __m512 vf;
static inline vf v_set(float a) { return _mm512_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline __mmask16 v_mask(int64_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1u); }
static inline vf v_load_part(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_mask(n), p); }      /* the rest is 0 */
static inline void v_store_part(float *p, vf a, int64_t n) { _mm512_mask_storeu_ps(p, v_mask(n), a); }
static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }       /* b if either is NaN */
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf v_nfma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
static inline vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf v_abs(vf a) { return _mm512_abs_ps(a); }
/* a < b ? x : y */
static inline vf v_pick_less(vf a, vf b, vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x); }
/* a 2^n for a whole n within -300..300; rightly rounded to denormals, 0 or infinity */
static inline vf v_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); }
static inline float v_sum(vf a) { return _mm512_reduce_add_ps(a); }
static inline float v_most(vf a) { return _mm512_reduce_max_ps(a); }

#elif TR_VEC == 256
#include <immintrin.h>
#define V_N 8
typedef __m256 vf;
static inline vf v_set(float a) { return _mm256_set1_ps(a); }
static inline vf v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline __m256i v_mask(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n > 8 ? 8 : n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf v_load_part(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_mask(n)); }
static inline void v_store_part(float *p, vf a, int64_t n) { _mm256_maskstore_ps(p, v_mask(n), a); }
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf v_nfma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf v_pick_less(vf a, vf b, vf x, vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
static inline vf v_two_to(__m256i n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)); }
static inline vf v_scale2(vf a, vf n)           /* in three steps, so that each factor is a normal number */
{
    const __m256i whole = _mm256_cvtps_epi32(n), third = _mm256_srai_epi32(_mm256_mullo_epi32(whole, _mm256_set1_epi32(21846)), 16);
    const vf step = v_two_to(third);
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_mul_ps(a, v_two_to(_mm256_sub_epi32(whole, _mm256_add_epi32(third, third)))), step), step);
}
static inline float v_sum(vf a)
{
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)), c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
static inline float v_most(vf a)
{
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)), c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

#else
#define V_N 1
typedef float vf;
static inline vf v_set(float a) { return a; }
static inline vf v_load(const float *p) { return *p; }
static inline void v_store(float *p, vf a) { *p = a; }
static inline vf v_load_part(const float *p, int64_t n) { return n > 0 ? *p : 0; }
static inline void v_store_part(float *p, vf a, int64_t n) { if (n > 0) *p = a; }
static inline vf v_add(vf a, vf b) { return a + b; }
static inline vf v_sub(vf a, vf b) { return a - b; }
static inline vf v_mul(vf a, vf b) { return a * b; }
static inline vf v_div(vf a, vf b) { return a / b; }
static inline vf v_max(vf a, vf b) { return a > b ? a : b; }
static inline vf v_min(vf a, vf b) { return a < b ? a : b; }
static inline vf v_fma(vf a, vf b, vf c) { return a * b + c; }
static inline vf v_nfma(vf a, vf b, vf c) { return c - a * b; }
static inline vf v_abs(vf a) { return fabsf(a); }
static inline vf v_pick_less(vf a, vf b, vf x, vf y) { return a < b ? x : y; }
static inline float v_sum(vf a) { return a; }
static inline float v_most(vf a) { return a; }
#endif

#if TR_VEC == 1
static inline vf v_exp(vf x) { return expf(x); }
static inline vf v_phi(vf x) { return 0.5f * erfcf(-0.70710678f * x); }
#else
/* exp: x = n ln 2 + r with |r| <= ln 2 / 2; exp r = 1 + r (1 + r p(r)), p of degree 4 through Chebyshev's points: 1.1 u in all.
 * ln 2 in two parts, the first of 11 bits so that n times it is exact. Beyond -104 and 89 the result is 0 and infinity;
 * NaN stays NaN, because max and min give their second argument then. */
static inline vf v_exp(vf x)
{
    x = v_min(v_set(89.0f), v_max(v_set(-105.0f), x));
    const vf n = v_round(v_mul(x, v_set(1.44269504f)));
    vf r = v_nfma(n, v_set(0.693359375f), x);
    r = v_nfma(n, v_set(-2.12194440e-4f), r);
    vf p = v_fma(v_set(0.00139276846f), r, v_set(0.00836438034f));
    p = v_fma(p, r, v_set(0.041666545f));
    p = v_fma(p, r, v_set(0.166665703f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1.0f));
    return v_scale2(v_fma(p, r, v_set(1.0f)), n);
}
/* The normal distribution function: for t = |x| its lower tail is exp(p(t) - t^2 / 2), p of degree 11 fitted to the tail on
 * 0..6 and kept at 6 beyond, where the tail is below 1e-9: within 1.3 u of the larger of 1 and the value. */
static inline vf v_phi(vf x)
{
    const vf t = v_abs(x), c = v_min(v_set(6.0f), t);
    vf p = v_set(2.05174011e-09f);
    p = v_fma(p, c, v_set(-7.46289004e-08f));
    p = v_fma(p, c, v_set(1.20521872e-06f));
    p = v_fma(p, c, v_set(-1.13054393e-05f));
    p = v_fma(p, c, v_set(6.62795064e-05f));
    p = v_fma(p, c, v_set(-0.00022243998f));
    p = v_fma(p, c, v_set(3.58020625e-05f));
    p = v_fma(p, c, v_set(0.00479148142f));
    p = v_fma(p, c, v_set(-0.0363432318f));
    p = v_fma(p, c, v_set(0.181692719f));
    p = v_fma(p, c, v_set(-0.797884881f));
    p = v_fma(p, c, v_set(-0.693147182f));
    const vf tail = v_exp(v_nfma(v_mul(v_set(0.5f), t), t, p));
    return v_pick_less(x, v_set(0.0f), tail, v_sub(v_set(1.0f), tail));
}
#endif

#endif
