/* rows.h - the inner loops of the light ops, over contiguous rows of floats. rows_kernels.h is compiled once for each
 * instruction set; which one runs is decided when the device is opened. Each result depends on its row alone. */
#ifndef TRESS_BACKEND_CPU_ROWS_H
#define TRESS_BACKEND_CPU_ROWS_H

#include "backend/cpu/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The factors of an AdamW step, rounded once. */
typedef struct tr_adamw_factors { float grad, decay, rate1, beta1, beta2, rate2, step, root2, eps; } tr_adamw_factors;

/* A table of 8-bit fractions, sorted, value[zero] = 0. Going up from 0 it is 8 runs of evenly spaced entries, each with twice
 * as many as the one before and the last 1 alone: magnitudes above over[l] belong to run l, which begins at first[l] as the
 * rank[l]-th entry above 0; per[l] entries to the unit; no entry beyond last[l]. */
#define TR_RUNS8 8
typedef struct tr_table8 {
    float value[256];
    float over[TR_RUNS8], first[TR_RUNS8], per[TR_RUNS8];
    int   rank[TR_RUNS8], last[TR_RUNS8];
    int   zero, least;                          /* the code of 0; the most entries below it */
} tr_table8;

typedef struct tr_rows {
    /* y = a x + b z; z may be NULL; y may be x or z. */
    void (*axpby)(float *y, float a, const float *x, float b, const float *z, int64_t n);
    /* y = m x + (1 - m) z */
    void (*blend)(float *y, const float *m, const float *x, const float *z, int64_t n);
    /* y = act(x); y may be x. */
    void (*activate)(float *y, const float *x, int64_t n, tr_act act);
    void (*clamp)(float *y, const float *x, float least, float most, int64_t n);
    /* Sums in float64: of x; of (x - mean)^2. */
    double (*sum)(const float *x, int64_t n);
    double (*squares)(const float *x, int64_t n, double mean);
    /* y = (x - mean) rstd (1 + scale) + shift;  (x - mean) rstd w + b, b may be NULL. y may be x. */
    void (*norm_ada)(float *y, const float *x, float mean, float rstd, const float *scale, const float *shift, int64_t n);
    void (*norm_affine)(float *y, const float *x, float mean, float rstd, const float *w, const float *b, int64_t n);
    /* sum[c] += x[i, c] over n pixels of c channels;  sum[c] += (x[i, c] - mean[c])^2. */
    void (*channel_sum)(double *sum, const float *x, int64_t n, int64_t c);
    void (*channel_squares)(double *sum, const float *x, const double *mean, int64_t n, int64_t c);
    /* y[i, c] = act(x[i, c] a[c] + b[c]); y may be x. */
    void (*channel_affine)(float *y, const float *x, const float *a, const float *b, int64_t n, int64_t c, tr_act act);
    /* n elements of a weight type, at any address, to float, and rounded back. */
    void (*to_f32)(float *y, const void *x, tr_dtype t, int64_t n);
    void (*from_f32)(void *y, const float *x, tr_dtype t, int64_t n);
    /* How many are NaN or infinite. */
    int64_t (*nonfinite)(const float *x, int64_t n);
    /* Backward of norm_ada and of x rms w. With g = dy (1 + scale): sums = (sum g, sum g (x - mean)); then
     * dx = residual + rstd (g - mean_g - (x - mean) slope), residual may be NULL. With g = dy w: sums = (sum x^2, sum g x); then
     * dx = rms (g - x slope). dx may be dy or residual. */
    void (*norm_ada_sums)(double sums[2], const float *dy, const float *x, const float *scale, double mean, int64_t n);
    void (*norm_ada_back)(float *dx, const float *dy, const float *x, const float *scale, const float *residual, float mean, float rstd,
                          float mean_g, float slope, int64_t n);
    void (*norm_rms_sums)(double sums[2], const float *dy, const float *x, const float *w, int64_t n);
    void (*norm_rms_back)(float *dx, const float *dy, const float *x, const float *w, float rms, float slope, int64_t n);
    /* dx = dy act'(x); dx may be dy. */
    void (*activate_back)(float *dx, const float *dy, const float *x, int64_t n, tr_act act);
    /* y = x z; y may be x. */
    void (*product)(float *y, const float *x, const float *z, int64_t n);
    /* y[i] = x[i] scale where 32-bit number first + i of the Philox stream is least or more, else x[i] 0; y may be x. */
    void (*dropout)(float *y, const float *x, float scale, uint32_t least, uint64_t key, uint64_t stream, uint64_t first,
                    int64_t n);
    /* The sum of mask e^2, e = v - (noise - x0); dv = weight mask e, dv may be NULL. */
    double (*velocity)(float *dv, const float *v, const float *x0, const float *noise, const float *mask, double weight,
                       int64_t n);
    void (*adamw)(float *p, float *m, float *v, const float *g, int64_t n, const tr_adamw_factors *f);
    /* x = value[code] scale;  codes of x, the largest magnitude of x comes back. n <= TR_ADAMW8_BLOCK for encode8. */
    void (*decode8)(float *x, const uint8_t *code, float scale, int64_t n, const tr_table8 *t);
    float (*encode8)(uint8_t *code, const float *x, int64_t n, const tr_table8 *t);
    /* x rounded to F16 or BF16 and back, in place. */
    void (*round)(float *x, tr_dtype t, int64_t n);
} tr_rows;

extern const tr_rows tr_rows_none, tr_rows_avx2, tr_rows_avx512;
const tr_rows *tr_cpu_rows(const tr_stream *s);

#ifdef __cplusplus
}
#endif
#endif
