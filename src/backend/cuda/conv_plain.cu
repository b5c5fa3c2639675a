/* Convolution in plain F32: any types, any strides, any channels. Every result is one sum in the order of taps, then channels,
 * wherever its pixel lies in a tile: bands of a picture give the bytes of the whole. */
#include "backend/cuda/conv_int.h"

#define PIXELS 128                              /* of a block's tile */
#define OUTS 64
#define DEPTH 16                                /* of taps x channels, at a time */
#define THREADS 256
#define PITCH (PIXELS + 4)                      /* rows of float4 */

/* 2 n_pixel n_m taps n_c operations on 4 (PIXELS + OUTS) DEPTH bytes of shared memory per 2 PIXELS OUTS DEPTH of them: bound by
 * multiply-adds, 67 TFLOP/s of F32 on an H100, of which 12 loads for 32 products leave about half. A thread makes 8 pixels x 4. */
__global__ void __launch_bounds__(THREADS) conv_plain(tr_conv_shape s, const float *__restrict__ packed)
{
    __shared__ __align__(16) float at[DEPTH][PITCH], wt[DEPTH][OUTS];
    __shared__ int64_t base[PIXELS];            /* of the pixel's image; -1 beyond the last pixel */
    __shared__ int row0[PIXELS], col0[PIXELS];
    const int64_t first = (int64_t)blockIdx.x * PIXELS;
    const int m0 = (int)blockIdx.y * OUTS, k_all = s.taps * s.n_c, tid = (int)threadIdx.x;
    if (tid < PIXELS) {
        const int64_t p = first + tid, q = p / s.ow;
        base[tid] = p < s.n_pixel ? q / s.oh * s.x_image : -1;
        row0[tid] = (int)(q % s.oh) * s.stride - s.top;
        col0[tid] = (int)(p % s.ow) * s.stride - s.left;
    }
    float acc[8][4];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 4; j++) acc[i][j] = 0;
    const int kl = tid % DEPTH, pl = tid / DEPTH;                /* what this thread loads of x: one k, every 16th pixel */
    const int ty = tid / 16, tx = tid % 16;
    int tap = kl / s.n_c, chan = kl % s.n_c;
    __syncthreads();
    for (int k0 = 0; k0 < k_all; k0 += DEPTH) {
        const bool in_k = k0 + kl < k_all;
        const int dr = in_k ? tap / s.kw : 0, dl = in_k ? tap % s.kw : 0;
        for (int i = 0; i < PIXELS / (THREADS / DEPTH); i++) {
            const int p = pl + i * (THREADS / DEPTH), r = row0[p] + dr, l = col0[p] + dl;
            const bool in = in_k && base[p] >= 0 && r >= 0 && l >= 0 && r < s.h && l < s.w;
            at[kl][p] = in ? tr_get(s.x, base[p] + (r >> s.up) * s.x_row + (l >> s.up) * s.x_col + chan) : 0.0f;
        }
        for (int i = tid; i < DEPTH * OUTS; i += THREADS) {
            const int k = k0 + i / OUTS, m = m0 + i % OUTS;
            wt[i / OUTS][i % OUTS] = k < k_all && m < s.n_m ? packed[(int64_t)k * s.n_m + m] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            const float4 a0 = *(const float4 *)&at[k][ty * 8], a1 = *(const float4 *)&at[k][ty * 8 + 4], b = *(const float4 *)&wt[k][tx * 4];
            const float a[8] = { a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w };
#pragma unroll
            for (int i = 0; i < 8; i++) {
                acc[i][0] = fmaf(a[i], b.x, acc[i][0]);
                acc[i][1] = fmaf(a[i], b.y, acc[i][1]);
                acc[i][2] = fmaf(a[i], b.z, acc[i][2]);
                acc[i][3] = fmaf(a[i], b.w, acc[i][3]);
            }
        }
        __syncthreads();
        chan += DEPTH;
        while (chan >= s.n_c) {
            chan -= s.n_c;
            tap++;
        }
    }
    for (int i = 0; i < 8; i++) {
        const int64_t p = first + ty * 8 + i;
        if (p >= s.n_pixel) break;
        const int64_t to = tr_conv_at(s, p, s.y_image, s.y_row, s.y_col);
        const int64_t from = s.residual.data ? tr_conv_at(s, p, s.r_image, s.r_row, s.r_col) : 0;
        for (int j = 0; j < 4; j++) {
            const int m = m0 + tx * 4 + j;
            if (m >= s.n_m) break;
            float v = acc[i][j];
            if (s.bias.data) v += tr_get(s.bias, m);
            if (s.residual.data) v += tr_get(s.residual, from + m);
            tr_put(s.y, to + m, v);
        }
    }
}

tress_status tr_conv_plain(tr_cuda *c, const tr_conv_shape *s, const float *packed)
{
    const dim3 grid((unsigned)((s->n_pixel + PIXELS - 1) / PIXELS), (unsigned)((s->n_m + OUTS - 1) / OUTS));
    conv_plain<<<grid, THREADS, 0, c->stream>>>(*s, packed);
    return tr_cuda_launched("conv2d");
}
