/* Words, patches, time and places: ops that gather. Bound by memory, and small: [2, 4096, 64] patches are 1 MB, a prompt of T5 4 MB
 * of a table, its bias 17 MB; a launch takes as long. */
#include "backend/cuda/each.h"

#include <math.h>
#include <string.h>

#define HOST_MOST 512                           /* numbers of host memory that travel as an argument of a launch */

static tress_status grid_for(unsigned *out, int64_t n, const char *op)
{
    const int64_t n_block = (n + 255) / 256;
    if (n_block > INT32_MAX) return tr_fail(TRESS_E_SHAPE, "CUDA, %s: found %lld elements, expected at most %lld", op, (long long)n, (long long)INT32_MAX * 256);
    *out = (unsigned)n_block;
    return TRESS_OK;
}

/* ---- embed ----------------------------------------------------------------------------------------------- */
struct ids_of { int32_t id[HOST_MOST]; };

static __global__ void __launch_bounds__(128) embed_kernel(tr_view_of y, int64_t y_step, bool y_by_8, tr_view_of table, bool table_by_8, int64_t d, const __grid_constant__ ids_of ids)
{
    const int64_t row = ids.id[blockIdx.y], j = ((int64_t)blockIdx.x * 128 + threadIdx.x) * 8;
    float x[8];
    if (j >= d) return;
    const int len = d - j < 8 ? (int)(d - j) : 8;
    tr_get_piece(x, table, row * d + j, len, table_by_8);
    tr_put_piece(y, blockIdx.y * y_step + j, x, len, y_by_8);
}

tress_status tr_cuda_embed(tr_stream *s, tr_tensor y, tr_tensor table, tr_tensor ids)
{
    tress_status st = TRESS_OK;
    const int64_t n = y.shape[0], d = y.shape[1];
    unsigned n_block = 0;
    if (n * d == 0) return TRESS_OK;
    TR_TRY(grid_for(&n_block, (d + 3) / 4, "embed"));         /* 128 threads of 8 */
    for (int64_t first = 0; first < n; first += HOST_MOST) {
        const int64_t some = n - first < HOST_MOST ? n - first : HOST_MOST;
        ids_of k;
        tr_tensor part = y;
        memset(&k, 0, sizeof k);
        memcpy(k.id, (const int32_t *)ids.data + first, (size_t)some * sizeof *k.id);
        part.data = (char *)y.data + (size_t)(first * y.stride[0]) * tr_dtype_size(y.dtype);
        embed_kernel<<<dim3(n_block, (unsigned)some), 128, 0, tr_cuda_of(s)->stream>>>(tr_of(part), y.stride[0], tr_by_8(part, 8, some > 1 ? y.stride[0] : 0),
                                                                                    tr_of(table), tr_by_8(table, 8, d), d, k);
        TR_TRY(tr_cuda_launched("embed"));
    }
done:
    return st;
}

/* ---- patches --------------------------------------------------------------------------------------------- */
/* An image [b, c, h, w] and its tokens [b, h' w', c p p]; strides of all but their last dimensions. A thread writes one element. */
struct patch_args {
    tr_view_of to, from;
    int64_t    image[3], token[2], c, h, w, p, n;
};

static __global__ void __launch_bounds__(256) patchify_kernel(const patch_args k)
{
    int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x, q;
    if (i >= k.n) return;
    q = tr_div(i, k.p);
    const int64_t px = i - q * k.p;
    i = q, q = tr_div(i, k.p);
    const int64_t py = i - q * k.p;
    i = q, q = tr_div(i, k.c);
    const int64_t ch = i - q * k.c, wide = tr_div(k.w, k.p), high = tr_div(k.h, k.p);
    i = q, q = tr_div(i, wide);
    const int64_t col = i - q * wide, b = tr_div(q, high), row = q - b * high;
    const int64_t at = b * k.token[0] + (row * wide + col) * k.token[1] + (ch * k.p + py) * k.p + px;
    tr_put(k.to, at, tr_get(k.from, b * k.image[0] + ch * k.image[1] + (row * k.p + py) * k.image[2] + col * k.p + px));
}

static __global__ void __launch_bounds__(256) unpatchify_kernel(const patch_args k)
{
    int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x, q;
    if (i >= k.n) return;
    q = tr_div(i, k.w);
    const int64_t x = i - q * k.w;
    i = q, q = tr_div(i, k.h);
    const int64_t y = i - q * k.h, b = tr_div(q, k.c), ch = q - b * k.c;
    const int64_t row = tr_div(y, k.p), col = tr_div(x, k.p), py = y - row * k.p, px = x - col * k.p;
    const int64_t from = b * k.token[0] + (row * tr_div(k.w, k.p) + col) * k.token[1] + (py * k.p + px) * k.c + ch;
    tr_put(k.to, b * k.image[0] + ch * k.image[1] + y * k.image[2] + x, tr_get(k.from, from));
}

static patch_args patches(tr_tensor to, tr_tensor from, tr_tensor image, tr_tensor token, int p)
{
    return { tr_of(to), tr_of(from), { image.stride[0], image.stride[1], image.stride[2] }, { token.stride[0], token.stride[1] },
             image.shape[1], image.shape[2], image.shape[3], p, tr_count(image) };
}

tress_status tr_cuda_patchify(tr_stream *s, tr_tensor y, tr_tensor x, int p)
{
    tress_status st = TRESS_OK;
    unsigned n_block = 0;
    TR_TRY(grid_for(&n_block, tr_count(x), "patchify"));
    if (n_block) patchify_kernel<<<n_block, 256, 0, tr_cuda_of(s)->stream>>>(patches(y, x, x, y, p));
    TR_TRY(tr_cuda_launched("patchify"));
done:
    return st;
}

tress_status tr_cuda_unpatchify(tr_stream *s, tr_tensor y, tr_tensor x, int p)
{
    tress_status st = TRESS_OK;
    unsigned n_block = 0;
    TR_TRY(grid_for(&n_block, tr_count(y), "unpatchify"));
    if (n_block) unpatchify_kernel<<<n_block, 256, 0, tr_cuda_of(s)->stream>>>(patches(y, x, y, x, p));
    TR_TRY(tr_cuda_launched("unpatchify"));
done:
    return st;
}

/* ---- timestep_embed --------------------------------------------------------------------------------------- */
struct times_of { float t[HOST_MOST]; };

/* Frequencies and angles are rounded to float exactly where the CPU rounds them: an angle near 1000 has only 3e-5 left. */
static __global__ void __launch_bounds__(128) timestep_kernel(tr_view_of y, int64_t y_step, int64_t half, const __grid_constant__ times_of times)
{
    const int64_t i = (int64_t)blockIdx.x * 128 + threadIdx.x, at = blockIdx.y * y_step + i;
    if (i >= half) return;
    const float exponent = __fdiv_rn(__fmul_rn(-9.210340371976184f, (float)i), (float)half);      /* -ln 10000 */
    const double angle = (double)__fmul_rn(times.t[blockIdx.y], (float)exp((double)exponent));
    tr_put(y, at, (float)cos(angle));
    tr_put(y, at + half, (float)sin(angle));
}

tress_status tr_cuda_timestep_embed(tr_stream *s, tr_tensor y, tr_tensor t)
{
    tress_status st = TRESS_OK;
    const int64_t n = y.shape[0], half = y.shape[1] / 2;
    unsigned n_block = 0;
    TR_TRY(grid_for(&n_block, half * 2, "timestep_embed"));
    for (int64_t first = 0; first < n && half > 0; first += HOST_MOST) {
        const int64_t some = n - first < HOST_MOST ? n - first : HOST_MOST;
        times_of k;
        tr_tensor part = y;
        memset(&k, 0, sizeof k);
        memcpy(k.t, (const float *)t.data + first, (size_t)some * sizeof *k.t);
        part.data = (char *)y.data + (size_t)(first * y.stride[0]) * tr_dtype_size(y.dtype);
        timestep_kernel<<<dim3(n_block, (unsigned)some), 128, 0, tr_cuda_of(s)->stream>>>(tr_of(part), y.stride[0], half, k);
        TR_TRY(tr_cuda_launched("timestep_embed"));
    }
done:
    return st;
}

/* ---- relative_bias ---------------------------------------------------------------------------------------- */
/* Distances below e = n / 2 have a bucket each; above, as many buckets grow as logarithms up to `most` and the last takes the rest.
 * A step that lies on a whole number (16, 32, 64 of 32 buckets and 128) must not fall below by rounding: a margin in float64. */
__device__ static inline int64_t bucket_of(int64_t a, int64_t n, int64_t most)
{
    const int64_t e = n / 2;
    if (a < e) return a;
    const double steps = log((double)a / (double)e) / log((double)most / (double)e) * (double)(n - e);
    const int64_t k = e + (int64_t)floor(steps + 1e-9);
    return k < n - 1 ? k : n - 1;
}

/* A thread takes one pair of places for all heads: one bucket, and neighbours write neighbours. */
static __global__ void __launch_bounds__(256) bias_kernel(float *y, tr_view_of table, int64_t heads, int64_t n_q, int64_t n_k, int64_t n_bucket, int64_t most)
{
    const int64_t at = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (at >= n_q * n_k) return;
    const int64_t i = tr_div(at, n_k), j = at - i * n_k, side = n_bucket / 2;
    const int64_t bucket = (j > i ? side : 0) + bucket_of(j > i ? j - i : i - j, side, most);
    for (int64_t h = 0; h < heads; h++) y[h * n_q * n_k + at] = tr_get_odd(table, bucket * heads + h);
}

tress_status tr_cuda_relative_bias(tr_stream *s, tr_tensor y, tr_tensor table, int distance_max)
{
    tress_status st = TRESS_OK;
    unsigned n_block = 0;
    TR_TRY(grid_for(&n_block, y.shape[1] * y.shape[2], "relative_bias"));
    if (n_block)
        bias_kernel<<<n_block, 256, 0, tr_cuda_of(s)->stream>>>((float *)y.data, tr_of(table), y.shape[0], y.shape[1], y.shape[2], table.shape[0], distance_max);
    TR_TRY(tr_cuda_launched("relative_bias"));
done:
    return st;
}
