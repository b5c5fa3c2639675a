/* The image from tokens, whose channels come last: [p, p, c]. Memory-bound. */
#include "backend/cpu/each.h"

tress_status tr_cpu_unpatchify(tr_stream *s, tr_tensor y, tr_tensor x, int p)
{
    const int64_t c = y.shape[1], rows = y.shape[2] / p, cols = y.shape[3] / p, n_item = y.shape[0] * rows;
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (tr_count(y) > TR_ITEM)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t b = item / rows, r = item % rows;
        for (int64_t col = 0; col < cols; col++) {
            const float *token = (const float *)x.data + b * x.stride[0] + (r * cols + col) * x.stride[1];     /* [p, p, c] */
            for (int64_t ch = 0; ch < c; ch++)
                for (int64_t py = 0; py < p; py++) {
                    float *to = (float *)y.data + b * y.stride[0] + ch * y.stride[1] + (r * p + py) * y.stride[2] + col * p;
                    for (int64_t px = 0; px < p; px++) to[px] = token[(py * p + px) * c + ch];
                }
        }
    }
    return TRESS_OK;
}
