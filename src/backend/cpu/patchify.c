/* Tokens from an image: each token gathers c squares of p x p. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_patchify(tr_stream *s, tr_tensor y, tr_tensor x, int p)
{
    const int64_t c = x.shape[1], rows = x.shape[2] / p, cols = x.shape[3] / p, n_item = x.shape[0] * rows;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (tr_count(y) > TR_ITEM)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t b = item / rows, r = item % rows;
        for (int64_t col = 0; col < cols; col++) {
            float *token = (float *)y.data + b * y.stride[0] + (r * cols + col) * y.stride[1];     /* [c, p, p] */
            for (int64_t ch = 0; ch < c; ch++)
                for (int64_t py = 0; py < p; py++) {
                    const float *from = (const float *)x.data + b * x.stride[0] + ch * x.stride[1] + (r * p + py) * x.stride[2] + col * p;
                    for (int64_t px = 0; px < p; px++) token[(ch * p + py) * p + px] = from[px];
                }
        }
    }
    return TRESS_OK;
}
