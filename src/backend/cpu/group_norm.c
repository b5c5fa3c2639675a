/* y = act(x a + b) per channel, a and b from the row statistics. Memory-bound with vectors. */
#include "backend/cpu/each.h"

#include <math.h>

/* a[c] = weight / std, b[c] = bias - mean weight / std, of one image: the rows' means and squares combined (Chan, Golub and
 * LeVeque 1979), in float64 and in order. */
static void factors(float *a, float *b, const double *stats, int64_t row, int64_t n_row, int64_t n_group, int64_t w, int64_t c,
                    const float *weight, const float *bias, float eps)
{
    const int64_t per = c / n_group;
    for (int64_t g = 0; g < n_group; g++) {
        double mean = 0, squares = 0;
        for (int64_t r = 0; r < n_row; r++) mean += stats[r * row + 2 * g];
        mean /= (double)n_row;
        for (int64_t r = 0; r < n_row; r++) {
            const double d = stats[r * row + 2 * g] - mean;
            squares += stats[r * row + 2 * g + 1] + (double)(w * per) * d * d;
        }
        const double rstd = 1 / sqrt(squares / (double)(n_row * w * per) + (double)eps);
        for (int64_t i = g * per; i < (g + 1) * per; i++) {
            a[i] = (float)((double)weight[i] * rstd);
            b[i] = (float)((double)bias[i] - mean * rstd * (double)weight[i]);
        }
    }
}

tress_status tr_cpu_group_norm(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor stats, tr_tensor weight, tr_tensor bias, float eps, tr_act act)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t h = x.shape[1], w = x.shape[2], c = x.shape[3], step = c < TR_ITEM ? TR_ITEM / c : 1;     /* pixels at a time */
    const int64_t n_piece = (w + step - 1) / step;
    float *room = tr_cpu_room(s, 0);                                                               /* 4 x [c] */
    TR_ASSERT((size_t)c * 4 * sizeof *room <= TR_CPU_ROOM);
    const float *wt = tr_cpu_floats(k, weight, room), *bs = tr_cpu_floats(k, bias, room + c);
    float *a = room + 2 * c, *b = room + 3 * c;
    for (int64_t image = 0; image < x.shape[0]; image++) {
        factors(a, b, (const double *)stats.data + image * stats.stride[0], stats.stride[1], stats.shape[1], stats.shape[2], w, c, wt, bs, eps);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (h * w * c > TR_ITEM)
        for (int64_t item = 0; item < h * n_piece; item++) {
            const int64_t r = item / n_piece, at = item % n_piece * step, n = w - at < step ? w - at : step;
            k->channel_affine((float *)y.data + image * y.stride[0] + r * y.stride[1] + at * c,
                              (const float *)x.data + image * x.stride[0] + r * x.stride[1] + at * c, a, b, n, c, act);
        }
    }
    return TRESS_OK;
}
