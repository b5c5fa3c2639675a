/* AVX-512: tiles of 14 x 32, 28 sums in registers. The machine allows 32 flops a cycle where a 512-bit multiply-add takes
 * one cycle, 64 where it takes half a one; a step of k needs 14 + 2 loads for 28 multiply-adds. */
#ifdef __x86_64__
#define TR_VEC 512
#include "backend/cpu/gemm.h"
#include "backend/cpu/vec.h"

#define ROWS 14
#define COLS 32
#define AHEAD 256                               /* bytes: 16 rows at once are more streams than the machine foresees by itself */

static inline __attribute__((always_inline)) vf from_f8(__m128i bytes)
{
    /* e4m3 shifted into a half is the value / 256, denormals too; 0x7f must stay NaN */
    const __m256i v = _mm256_cvtepu8_epi16(bytes), magnitude = _mm256_and_si256(v, _mm256_set1_epi16(0x7f));
    const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(v, _mm256_set1_epi16(0x80)), 8);
    const __m256i nan = _mm256_and_si256(_mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f)), _mm256_set1_epi16(0x7e00));
    const __m256i half = _mm256_or_si256(_mm256_or_si256(sign, nan), _mm256_slli_epi16(magnitude, 7));
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f));
}

static inline __attribute__((always_inline)) vf load_weights(const void *p, const tr_dtype t, int64_t n)
{
    const bool whole = n >= 16;
    const __mmask16 m = v_mask(n);
    switch (t) {
    case TR_F32:  return whole ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(m, p);
    case TR_F16:  return _mm512_cvtph_ps(whole ? _mm256_loadu_si256(p) : _mm256_maskz_loadu_epi16(m, p));
    case TR_BF16: return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(
                             whole ? _mm256_loadu_si256(p) : _mm256_maskz_loadu_epi16(m, p)), 16));
    default:      return from_f8(whole ? _mm_loadu_si128(p) : _mm_maskz_loadu_epi8(m, p));
    }
}

#include "backend/cpu/gemm_inl.h"
#include "backend/cpu/winograd_inl.h"

INLINE void tile_n(float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, const bool add, const int rows)
{
    __m512 s0[ROWS], s1[ROWS];
    const float *p[(ROWS + 2) / 3];             /* row i at p[i / 3] + i % 3 * lda: one address register for three rows */
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        s0[i] = add ? _mm512_loadu_ps(c + i * ldc) : _mm512_setzero_ps();
        s1[i] = add ? _mm512_loadu_ps(c + i * ldc + 16) : _mm512_setzero_ps();
    }
#pragma GCC unroll 5
    for (int i = 0; 3 * i < rows; i++) p[i] = a + 3 * i * lda;
    for (int64_t j = 0; j < k; j++, b += COLS) {
        const __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            const __m512 ai = _mm512_set1_ps(p[i / 3][i % 3 * lda]);
            s0[i] = _mm512_fmadd_ps(ai, b0, s0[i]);
            s1[i] = _mm512_fmadd_ps(ai, b1, s1[i]);
        }
#pragma GCC unroll 5
        for (int i = 0; 3 * i < rows; i++) p[i]++;
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        _mm512_storeu_ps(c + i * ldc, s0[i]);
        _mm512_storeu_ps(c + i * ldc + 16, s1[i]);
    }
}

#define CASE(n) case n: if (add) tile_n(c, ldc, a, lda, b, k, true, n); else tile_n(c, ldc, a, lda, b, k, false, n); return;
static void tile(float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, int n_row, bool add)
{
    switch (n_row) {
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
}
#undef CASE

/* r[16] rows of 16 to columns. */
INLINE void transpose(__m512 r[16])
{
    __m512 t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {               /* r[4 g + i] holds columns i, 4 + i, 8 + i, 12 + i of rows 4 g .. 4 g + 3 */
        t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
        r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
        r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
        r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
    }
}

INLINE void pack_type(float *to, const char *from, const tr_dtype t, int64_t pitch, int n_row, int64_t k)
{
    const int64_t size = t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2;
    for (int half = 0; half < COLS; half += 16)
        for (int64_t c = 0; c < k; c += 16) {
            const int64_t left = k - c;
            __m512 r[16];
            if (left >= 16 && n_row >= half + 16) {
#pragma GCC unroll 16
                for (int i = 0; i < 16; i++) {
                    r[i] = load_weights(from + (half + i) * pitch + c * size, t, 16);
                    _mm_prefetch(from + (half + i) * pitch + c * size + AHEAD, _MM_HINT_T0);
                }
            } else {
                for (int i = 0; i < 16; i++)
                    r[i] = half + i < n_row ? load_weights(from + (half + i) * pitch + c * size, t, left) : _mm512_setzero_ps();
            }
            transpose(r);
            float *out = to + c * COLS + half;
            if (left >= 16) {
#pragma GCC unroll 16
                for (int i = 0; i < 16; i++) _mm512_storeu_ps(out + i * COLS, r[i]);
            } else {
                for (int i = 0; i < left; i++) _mm512_storeu_ps(out + i * COLS, r[i]);
            }
        }
}

static void pack(float *to, const void *from, tr_dtype t, int64_t pitch, int n_row, int64_t k)
{
    switch (t) {
    case TR_F32:  pack_type(to, from, TR_F32, pitch, n_row, k); return;
    case TR_F16:  pack_type(to, from, TR_F16, pitch, n_row, k); return;
    case TR_BF16: pack_type(to, from, TR_BF16, pitch, n_row, k); return;
    default:      pack_type(to, from, TR_F8_E4M3, pitch, n_row, k); return;
    }
}

const tr_gemm tr_gemm_avx512 = {
    .rows = ROWS, .cols = COLS, .tile = tile, .pack = pack, .pack_rows = pack_rows, .widen = widen, .dots = dots, .across = across,
    .finish = finish, .softmax = softmax, .softmax_back = softmax_back,
    .scale_rows = scale_rows, .wino_weights = wino_weights, .wino_input = wino_input, .wino_output = wino_output,
};
#else
typedef int tr_gemm_avx512_is_for_x86_64;
#endif
