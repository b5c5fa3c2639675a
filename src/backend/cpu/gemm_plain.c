/* Plain C: tiles of 4 x 8. */
#define TR_VEC 1
#include "backend/cpu/gemm.h"
#include "backend/cpu/vec.h"

#define ROWS 4
#define COLS 8

static inline float load_weights(const void *p, tr_dtype t, int64_t n)
{
    uint16_t h;
    float f;
    (void)n;
    switch (t) {
    case TR_F32:  return memcpy(&f, p, 4), f;
    case TR_F16:  return memcpy(&h, p, 2), tr_f16_to_f32(h);
    case TR_BF16: return memcpy(&h, p, 2), tr_bf16_to_f32(h);
    default:      return tr_f8e4m3_to_f32(*(const uint8_t *)p);
    }
}

#include "backend/cpu/gemm_inl.h"
#include "backend/cpu/winograd_inl.h"

typedef float four __attribute__((vector_size(16)));          /* the compiler's own vectors: any machine that has some uses them */

INLINE four load_four(const float *p)
{
    four v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void tile_n(float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, bool add, const int rows)
{
    four s[ROWS][2];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        s[i][0] = add ? load_four(c + i * ldc) : (four){ 0 };
        s[i][1] = add ? load_four(c + i * ldc + 4) : (four){ 0 };
    }
    for (int64_t j = 0; j < k; j++, b += COLS) {
        const four b0 = load_four(b), b1 = load_four(b + 4);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            s[i][0] += a[i * lda + j] * b0;
            s[i][1] += a[i * lda + j] * b1;
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        memcpy(c + i * ldc, &s[i][0], sizeof s[i][0]);
        memcpy(c + i * ldc + 4, &s[i][1], sizeof s[i][1]);
    }
}

static void tile(float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, int n_row, bool add)
{
    switch (n_row) {
    case 1: tile_n(c, ldc, a, lda, b, k, add, 1); return;
    case 2: tile_n(c, ldc, a, lda, b, k, add, 2); return;
    case 3: tile_n(c, ldc, a, lda, b, k, add, 3); return;
    default: tile_n(c, ldc, a, lda, b, k, add, 4); return;
    }
}

static void pack(float *to, const void *from, tr_dtype t, int64_t pitch, int n_row, int64_t k)
{
    const int64_t size = (int64_t)tr_dtype_size(t);
    for (int j = 0; j < COLS; j++)
        for (int64_t c = 0; c < k; c++) to[c * COLS + j] = j < n_row ? load_weights((const char *)from + j * pitch + c * size, t, 1) : 0;
}

const tr_gemm tr_gemm_plain = {
    .rows = ROWS, .cols = COLS, .tile = tile, .pack = pack, .pack_rows = pack_rows, .widen = widen, .dots = dots, .across = across,
    .finish = finish, .softmax = softmax, .softmax_back = softmax_back,
    .scale_rows = scale_rows, .wino_weights = wino_weights, .wino_input = wino_input, .wino_output = wino_output,
};
