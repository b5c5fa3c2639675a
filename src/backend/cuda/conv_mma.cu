/* Convolution on tensor cores, mma.sync of compute capability 8.0: a product of [pixels, taps x channels], gathered on the fly,
 * with [outs, taps x channels]. Every result is summed in the order of taps, then channels, in steps of 16, wherever its pixel
 * lies: bands of a picture give the bytes of the whole. */
#include "backend/cuda/conv_int.h"

#define THREADS 256                             /* 8 warps */
#define DEPTH 32                                /* of taps x channels in a tile: rows of 64 bytes, four pieces of 16 */
#define STAGES 4
#define STRIP (32 + 4)                          /* floats in a row of a warp's outs on their way to memory */
#define OUTSIDE (-(1 << 30))                    /* the row of a pixel that is not there */

__device__ inline unsigned shared_of(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* 16 bytes to shared memory, zeros where there is nothing to read. */
__device__ inline void copy16(unsigned to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from), "r"(there ? 16 : 0));
}

__device__ inline void load4(unsigned (&r)[4], unsigned at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}

__device__ inline void multiply(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __half)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline void multiply(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __nv_bfloat16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Byte offset of piece q of a row: pieces trade places so that the eight rows that ldmatrix reads at once lie in all banks. */
__device__ inline int piece_at(int row, int q) { return row * (DEPTH * 2) + ((q ^ ((row >> 1) & 3)) << 4); }

/* A tile is PIXELS x OUTS, a warp's part of it 16 STRIPS x 32. 2 n_pixel n_m taps n_c operations; x is read once per OUTS of outs,
 * all but the first time from the caches, so products are the limit: on an H100 mma.sync reaches some 60 % of 990 TFLOP/s. */
template <typename T, int PIXELS, int OUTS, int WARPS_DOWN, int STRIPS>
__global__ void __launch_bounds__(THREADS, PIXELS == 128 ? 2 : 1) conv_mma(tr_conv_shape s, const T *__restrict__ packed, int n_out_tile, bool by_8)
{
    static_assert(WARPS_DOWN * STRIPS * 16 == PIXELS && 8 / WARPS_DOWN * 32 == OUTS, "eight warps make a tile");
    constexpr int ROWS = PIXELS / 64, STAGE = (PIXELS + OUTS) * DEPTH * 2;
    extern __shared__ __align__(128) unsigned char shared[];
    const int tid = (int)threadIdx.x, warp = tid >> 5, lane = tid & 31;
    const int64_t first = (int64_t)(blockIdx.x / n_out_tile) * PIXELS;
    const int m0 = (int)(blockIdx.x % n_out_tile) * OUTS, k_all = s.taps * s.n_c, n_step = (k_all + DEPTH - 1) / DEPTH;
    const T *x = (const T *)s.x.data;

    /* What this thread copies: piece q of rows tid / 4 + 64 i of both tiles. */
    const int q = tid & 3, row = tid >> 2;
    int64_t base[ROWS];
    int row0[ROWS], col0[ROWS];
    for (int i = 0; i < ROWS; i++) {
        const int64_t p = first + row + 64 * i, r = p / s.ow;
        base[i] = r / s.oh * s.x_image;
        row0[i] = p < s.n_pixel ? (int)(r % s.oh) * s.stride - s.top : OUTSIDE;
        col0[i] = (int)(p % s.ow) * s.stride - s.left;
    }
    int k = q * 8, tap = k / s.n_c, chan = k % s.n_c;
    auto copy_step = [&](int stage) {
        unsigned char *at = shared + stage * STAGE;
        const int dr = tap / s.kw, dl = tap % s.kw;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int r = row0[i] + dr, l = col0[i] + dl;
            const bool in = k < k_all && r >= 0 && l >= 0 && r < s.h && l < s.w;
            const int64_t from = in ? base[i] + (r >> s.up) * s.x_row + (l >> s.up) * s.x_col + chan : 0;
            copy16(shared_of(at + piece_at(row + 64 * i, q)), x + from, in);
        }
#pragma unroll
        for (int i = 0; i < (OUTS + 63) / 64; i++) {
            const int n = row + 64 * i;
            const bool in = k < k_all && m0 + n < s.n_m;
            if (n < OUTS) copy16(shared_of(at + PIXELS * DEPTH * 2 + piece_at(n, q)), packed + (in ? (int64_t)(m0 + n) * k_all + k : 0), in);
        }
        k += DEPTH;
        chan += DEPTH;
        while (chan >= s.n_c) {
            chan -= s.n_c;
            tap++;
        }
    };

    const int wr = warp % WARPS_DOWN * STRIPS * 16, wc = warp / WARPS_DOWN * 32;
    float acc[STRIPS][4][4];
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0;

    for (int i = 0; i < STAGES - 1; i++) {
        if (i < n_step) copy_step(i);
        asm volatile("cp.async.commit_group;\n" ::);
    }
    for (int step = 0; step < n_step; step++) {
        asm volatile("cp.async.wait_group %0;\n" ::"n"(STAGES - 2));
        __syncthreads();                        /* the step is there for all, and all are done with the one before */
        if (step + STAGES - 1 < n_step) copy_step((step + STAGES - 1) % STAGES);
        asm volatile("cp.async.commit_group;\n" ::);
        const unsigned char *at = shared + step % STAGES * STAGE, *bt = at + PIXELS * DEPTH * 2;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned b[2][4];
#pragma unroll
            for (int j = 0; j < 2; j++)
                load4(b[j], shared_of(bt + piece_at(wc + j * 16 + (lane & 7) + ((lane >> 4) << 3), half * 2 + ((lane >> 3) & 1))));
#pragma unroll
            for (int i = 0; i < STRIPS; i++) {
                unsigned a[4];
                load4(a, shared_of(at + piece_at(wr + i * 16 + (lane & 15), half * 2 + (lane >> 4))));
#pragma unroll
                for (int j = 0; j < 4; j++) multiply(acc[i][j], a, b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1], T());
            }
        }
    }
    asm volatile("cp.async.wait_group 0;\n" ::);
    __syncthreads();                            /* the tiles are done with: their memory serves the outs */

    int64_t *y_at = (int64_t *)(shared + 8 * 16 * STRIP * 4), *r_at = y_at + PIXELS;
    if (tid < PIXELS) {
        const int64_t p = first + tid;
        y_at[tid] = p < s.n_pixel ? tr_conv_at(s, p, s.y_image, s.y_row, s.y_col) : -1;
        r_at[tid] = p < s.n_pixel && s.residual.data ? tr_conv_at(s, p, s.r_image, s.r_row, s.r_col) : 0;
    }
    __syncthreads();
    float *strip = (float *)shared + warp * 16 * STRIP;
    const int m = m0 + wc + (lane & 3) * 8;     /* the first of this lane's eight outs */
    float bias[8];
#pragma unroll
    for (int e = 0; e < 8; e++) bias[e] = s.bias.data && m + e < s.n_m ? tr_get(s.bias, m + e) : 0.0f;
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float *to = strip + (lane >> 2) * STRIP + j * 8 + (lane & 3) * 2;
            *(float2 *)to = make_float2(acc[i][j][0], acc[i][j][1]);
            *(float2 *)(to + 8 * STRIP) = make_float2(acc[i][j][2], acc[i][j][3]);
        }
        __syncwarp();
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int r = (lane >> 2) + 8 * h, p = wr + i * 16 + r;
            const int64_t to = y_at[p], from = r_at[p];
            const float *v = strip + r * STRIP + (lane & 3) * 8;
            if (to < 0) continue;
            if (by_8 && m < s.n_m) {            /* n_m is a multiple of 8 */
                float o[8], res[8];
#pragma unroll
                for (int e = 0; e < 8; e++) o[e] = v[e] + bias[e];
                if (s.residual.data) {
                    tr_get8(res, s.residual, from + m);
#pragma unroll
                    for (int e = 0; e < 8; e++) o[e] += res[e];
                }
                tr_put8(s.y, to + m, o);
            } else {
                for (int e = 0; e < 8 && m + e < s.n_m; e++)
                    tr_put(s.y, to + m + e, v[e] + bias[e] + (s.residual.data ? tr_get(s.residual, from + m + e) : 0.0f));
            }
        }
        __syncwarp();
    }
}

template <typename T, int PIXELS, int OUTS, int WARPS_DOWN, int STRIPS>
static tress_status launch(tr_cuda *c, const tr_conv_shape *s, const void *packed, bool by_8)
{
    tress_status st = TRESS_OK;
    const int bytes = STAGES * (PIXELS + OUTS) * DEPTH * 2, n_out_tile = (s->n_m + OUTS - 1) / OUTS;
    const int64_t n_tile = (s->n_pixel + PIXELS - 1) / PIXELS * n_out_tile;
    TR_TRY(tr_cuda_check(cudaFuncSetAttribute(conv_mma<T, PIXELS, OUTS, WARPS_DOWN, STRIPS>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                         "conv2d, shared memory"));
    conv_mma<T, PIXELS, OUTS, WARPS_DOWN, STRIPS><<<(unsigned)n_tile, THREADS, bytes, c->stream>>>(*s, (const T *)packed, n_out_tile, by_8);
    TR_TRY(tr_cuda_launched("conv2d"));
done:
    return st;
}

template <typename T> static tress_status launch_any(tr_cuda *c, const tr_conv_shape *s, const void *packed, bool by_8)
{
    return s->n_m <= 32 ? launch<T, 256, 32, 8, 2>(c, s, packed, by_8) : launch<T, 128, 128, 2, 4>(c, s, packed, by_8);
}

tress_status tr_conv_mma(tr_cuda *c, const tr_conv_shape *s, const void *packed, bool by_8)
{
    return s->x.dtype == TR_F16 ? launch_any<__half>(c, s, packed, by_8) : launch_any<__nv_bfloat16>(c, s, packed, by_8);
}
