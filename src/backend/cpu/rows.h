/* rows.h - the inner loops of the light ops, over contiguous rows of floats. rows_kernels.h is compiled once for each
 * instruction set; which one runs is decided when the device is opened. Each result depends on its row alone. */
#ifndef TRESS_BACKEND_CPU_ROWS_H
#define TRESS_BACKEND_CPU_ROWS_H

#include "backend/cpu/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

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
} tr_rows;

extern const tr_rows tr_rows_none, tr_rows_avx2, tr_rows_avx512;
const tr_rows *tr_cpu_rows(const tr_stream *s);

#ifdef __cplusplus
}
#endif
#endif
