/* gemm.h - the inner loops of linear, attention and conv2d, one set per instruction set. A product is cut into tiles:
 *     c[rows, cols] (+)= a[rows, k] b[k, cols]
 * a is read where it lies, by rows; b is a packed panel, contiguous [k, cols]. An element of c is one chain of fused
 * multiply-adds over k in order, whatever tile it falls into: how work is cut never changes a byte.
 *     Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication" */
#ifndef TRESS_BACKEND_CPU_GEMM_H
#define TRESS_BACKEND_CPU_GEMM_H

#include "backend/cpu/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Inner dimension per pass. A strip of 14 rows (14 KiB) and what streams past it stay in a 32 KiB cache. */
#define TR_GEMM_DEPTH 256
/* Row stride of strips copied for a tile: off a multiple of 256 floats, which would put all rows into a few cache sets. */
#define TR_GEMM_PITCH (TR_GEMM_DEPTH + 16)
#define TR_GEMM_COLS_MAX 32
#define TR_GEMM_ROWS_MAX 14
#define TR_DOT_ROWS 4                           /* rows of x and of w that a call of dots takes at most */
#define TR_ACROSS_COLS 64                       /* columns of w that a call of across takes at most */

static inline int64_t tr_least(int64_t a, int64_t b) { return a < b ? a : b; }
/* How many parts of `size` cover n. */
static inline int64_t tr_parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* What is done to a row of sums, in this order: + bias, * scale, act, * mul, * gate, + residual; NULL: left out. */
typedef struct tr_finish {
    const float *bias, *mul, *gate, *residual, *more;
    float  scale, more_scale;
    tr_act act;
} tr_finish;

/* A strip of attention scores and the state of its softmax. */
typedef struct tr_softmax {
    float *p;                                   /* [rows, n] in: q . k, out: exp(logit - max), row stride TR_GEMM_PITCH */
    int    rows;
    int64_t n;
    float  scale;
    const float *bias; int64_t bias_pitch;      /* [rows, n] or NULL */
    const float *key_logw;                      /* [n] or NULL */
    const float *query_logw;                    /* [rows] or NULL */
    bool   causal; int64_t first_seen;          /* row i sees the keys below first_seen + i */
    float *max, *sum, *shrink;                  /* [rows]: running maximum and sum; shrink: what earlier results must be multiplied by */
} tr_softmax;

typedef struct tr_gemm {
    int rows, cols;                             /* of a tile; cols <= TR_GEMM_COLS_MAX, rows <= TR_GEMM_ROWS_MAX */
    /* c = a b, or c += a b; the first n_row rows of the tile. Strides in floats. */
    void (*tile)(float *c, int64_t ldc, const float *a, int64_t lda, const float *b, int64_t k, int n_row, bool add);
    /* to[k, cols]: column j is row j of `from`, any weight type, rows `pitch` bytes apart; columns from n_row on are 0. */
    void (*pack)(float *to, const void *from, tr_dtype t, int64_t pitch, int n_row, int64_t k);
    /* to[k, cols]: row i is the first n_col elements of row i of `from`, any weight type, rows `pitch` bytes apart; the others are 0. */
    void (*pack_rows)(float *to, const void *from, tr_dtype t, int64_t pitch, int n_col, int64_t k);
    /* to[n] = from[n], any weight type, possibly unaligned. */
    void (*widen)(float *to, const void *from, tr_dtype t, int64_t n);
    /* sum[i, j] = x_i . w_j for n_x rows of x (stride ldx floats) and n_w of w (pitch bytes), both <= TR_DOT_ROWS. */
    void (*dots)(float sum[TR_DOT_ROWS][TR_DOT_ROWS], const float *x, int64_t ldx, int n_x, const void *w, tr_dtype t, int64_t pitch,
                 int n_w, int64_t k);
    /* sum[i, j] (+)= sum over c of x[i, c] w[c, j] for n_x rows of x (stride ldx floats), k rows of w and n of its columns, n_x and n at most
     * TR_DOT_ROWS and TR_ACROSS_COLS; an element is one chain over c. */
    void (*across)(float sum[TR_DOT_ROWS][TR_ACROSS_COLS], const float *x, int64_t ldx, int n_x, const void *w, tr_dtype t, int64_t pitch,
                   int64_t n, int64_t k, bool add);
    /* y[n] = finish(h[n]); the residual may be y. */
    void (*finish)(float *y, const float *h, int64_t n, const tr_finish *f);
    void (*softmax)(const tr_softmax *s);
    /* Backward of a row of softmax for one key and n queries: p in: q . k, out: the weight exp(scale p + logw - lse);
     * ds in: do . v, out: what reaches q . k, scale p (ds - delta). */
    void (*softmax_back)(float *p, float *ds, int64_t n, float scale, float logw, const float *lse, const float *delta);
    /* o[rows, d] *= f[rows]. */
    void (*scale_rows)(float *o, int64_t ldo, int rows, int64_t d, const float *f);
    /* The transforms of winograd_inl.h; element i of a 6 x 6 tile lies at i * step.
     * u[36][n_c, cols] from w[n_c, 9, cols]; v[36][n_c] from 36 pixels of n_c channels;
     * y[16][n_m] = transform of m[36][n_m, whole vectors] + bias + residual (or NULL), left out where y is NULL. */
    void (*wino_weights)(float *u, int64_t u_step, const float *w, int64_t n_c);
    void (*wino_input)(float *v, int64_t v_step, const float *const d[36], int64_t n_c);
    void (*wino_output)(float *const y[16], const float *const residual[16], const float *m, int64_t m_step, const float *bias, int64_t n_m);
} tr_gemm;

extern const tr_gemm tr_gemm_plain;
#ifdef __x86_64__
extern const tr_gemm tr_gemm_avx2, tr_gemm_avx512;
#endif
/* The set that the stream's device uses. */
const tr_gemm *tr_gemm_get(const tr_stream *s);

#ifdef __cplusplus
}
#endif
#endif
