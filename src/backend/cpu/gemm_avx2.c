/* AVX2 with FMA: tiles of 6 x 16, 12 sums in registers. The machine allows 32 flops a cycle; a step of k needs 6 + 2 loads
 * for 12 multiply-adds. */
#ifdef __x86_64__
#define TR_VEC 256
#include "backend/cpu/gemm.h"
#include "backend/cpu/vec.h"

#define ROWS 6
#define COLS 16

static inline __attribute__((always_inline)) vf load_weights(const void *from, const tr_dtype t, int64_t n)
{
    char last[32] = { 0 };
    const void *p = from;
    if (n < 8) {                                /* no masked loads of 16 and 8 bits here */
        memcpy(last, from, (size_t)(n * (t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2)));
        p = last;
    }
    switch (t) {
    case TR_F32:  return _mm256_loadu_ps(p);
    case TR_F16:  return _mm256_cvtph_ps(_mm_loadu_si128(p));
    case TR_BF16: return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
    default: {
        /* e4m3 shifted into a half is the value / 256, denormals too; 0x7f must stay NaN */
        const __m128i v = _mm_cvtepu8_epi16(_mm_loadl_epi64(p)), magnitude = _mm_and_si128(v, _mm_set1_epi16(0x7f));
        const __m128i sign = _mm_slli_epi16(_mm_and_si128(v, _mm_set1_epi16(0x80)), 8);
        const __m128i nan = _mm_and_si128(_mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7f)), _mm_set1_epi16(0x7e00));
        const __m128i half = _mm_or_si128(_mm_or_si128(sign, nan), _mm_slli_epi16(magnitude, 7));
        return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0f));
    }
    }
}

#include "backend/cpu/gemm_inl.h"
#include "backend/cpu/winograd_inl.h"

INLINE void tile_n(float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, const bool add, const int rows)
{
    __m256 s0[ROWS], s1[ROWS];
    const float *p[2];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        s0[i] = add ? _mm256_loadu_ps(c + i * ldc) : _mm256_setzero_ps();
        s1[i] = add ? _mm256_loadu_ps(c + i * ldc + 8) : _mm256_setzero_ps();
    }
    p[0] = a;
    p[1] = a + 3 * lda;
    for (int64_t j = 0; j < k; j++, b += COLS) {
        const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const __m256 ai = _mm256_broadcast_ss(&p[i / 3][i % 3 * lda]);
            s0[i] = _mm256_fmadd_ps(ai, b0, s0[i]);
            s1[i] = _mm256_fmadd_ps(ai, b1, s1[i]);
        }
        p[0]++;
        if (rows > 3) p[1]++;
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        _mm256_storeu_ps(c + i * ldc, s0[i]);
        _mm256_storeu_ps(c + i * ldc + 8, s1[i]);
    }
}

#define CASE(n) case n: if (add) tile_n(c, ldc, a, lda, b, k, true, n); else tile_n(c, ldc, a, lda, b, k, false, n); return;
static void tile(float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, int n_row, bool add)
{
    switch (n_row) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) }
}
#undef CASE

/* r[8] rows of 8 to columns. */
INLINE void transpose(__m256 r[8])
{
    __m256 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x20);
        t[4 + i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r[i] = t[i];
}

INLINE void pack_type(float *to, const char *from, const tr_dtype t, int64_t pitch, int n_row, int64_t k)
{
    const int64_t size = t == TR_F32 ? 4 : t == TR_F8_E4M3 ? 1 : 2;
    for (int half = 0; half < COLS; half += 8)
        for (int64_t c = 0; c < k; c += 8) {
            const int64_t left = k - c < 8 ? k - c : 8;
            __m256 r[8];
            if (left == 8 && n_row >= half + 8) {
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++) r[i] = load_weights(from + (half + i) * pitch + c * size, t, 8);
            } else {
                for (int i = 0; i < 8; i++)
                    r[i] = half + i < n_row ? load_weights(from + (half + i) * pitch + c * size, t, left) : _mm256_setzero_ps();
            }
            transpose(r);
            for (int i = 0; i < left; i++) _mm256_storeu_ps(to + (c + i) * COLS + half, r[i]);
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

const tr_gemm tr_gemm_avx2 = {
    .rows = ROWS, .cols = COLS, .tile = tile, .pack = pack, .pack_rows = pack_rows, .widen = widen, .dots = dots, .across = across,
    .finish = finish, .softmax = softmax, .softmax_back = softmax_back,
    .scale_rows = scale_rows, .wino_weights = wino_weights, .wino_input = wino_input, .wino_output = wino_output,
};
#else
typedef int tr_gemm_avx2_is_for_x86_64;
#endif
