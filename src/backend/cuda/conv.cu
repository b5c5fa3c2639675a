/* Convolution, channels last: what is made ready for it, and which way it goes.
 *
 * On an F32 stream: conv_plain, every number F32. On a narrow stream x and the weights are taken in the stream's type, sums are
 * F32: cuDNN where it serves, else conv_mma; what these cannot read as it is (odd channels, odd addresses, F32, for cuDNN also the
 * enlargement by 2, by bands where it is large) is first copied into an image that they can. The weights, [m, c, kh, kw], are
 * turned on every call: 4.7 MB for 512 -> 512, read and written in 3 us on an H100 beside a convolution of 130 us and more. */
#include "backend/cuda/conv_int.h"

#define THREADS 256
#define TILE 32
#define CHUNK (8 * THREADS)                     /* pieces of an image row that a block of gather copies */
#define ALIGN 256
#define ENLARGED_MAX ((int64_t)32 << 20)        /* bytes of an enlarged image: it stays in the cache of an H100, and is not 537 MB */

/* ---- weights --------------------------------------------------------------------------------------------- */
/* [taps, c, m] F32 of w [m, c, taps]: read and written once, by tiles through shared memory. */
__global__ void turn_plain(float *__restrict__ to, tr_view_of w, int n_m, int n_c, int taps)
{
    __shared__ float tile[TILE][TILE + 1];
    const int j0 = (int)blockIdx.x * TILE, m0 = (int)blockIdx.y * TILE, n_j = n_c * taps;
    for (int i = (int)threadIdx.y; i < TILE; i += (int)blockDim.y) {
        const int j = j0 + (int)threadIdx.x, m = m0 + i;
        if (j < n_j && m < n_m) tile[i][threadIdx.x] = tr_get(w, (int64_t)m * n_j + j);
    }
    __syncthreads();
    for (int i = (int)threadIdx.y; i < TILE; i += (int)blockDim.y) {
        const int j = j0 + i, m = m0 + (int)threadIdx.x;
        if (j < n_j && m < n_m) to[(int64_t)(j % taps * n_c + j / taps) * n_m + m] = tile[threadIdx.x][i];
    }
}

/* [m, taps, c_pad] of w [m, c, taps], channels beyond c zero, and the bias; each where asked for. A block does one m. */
__global__ void turn_rows(tr_view_of to, tr_view_of to_bias, tr_view_of w, tr_view_of bias, int n_c, int c_pad, int taps)
{
    const int64_t m = blockIdx.x;
    if (to_bias.data && threadIdx.x == 0) tr_put(to_bias, m, tr_get(bias, m));
    if (!to.data) return;
    for (int i = (int)threadIdx.x; i < taps * c_pad; i += (int)blockDim.x) {
        const int tap = i / c_pad, chan = i % c_pad;
        tr_put(to, m * taps * c_pad + i, chan < n_c ? tr_get(w, (m * n_c + chan) * taps + tap) : 0.0f);
    }
}

/* ---- the image ------------------------------------------------------------------------------------------- */
/* A dense image [b, h, w, c] of x, enlarged by 2 where up is 1, without its first `top` rows and `left` columns, channels beyond
 * n_c zero. */
struct image_of { tr_view_of to, x; int h, w, c, n_c, up, top, left; int64_t x_image, x_row, x_col; bool by_8; };

/* Reads x once (four times from the caches where it is enlarged) and writes the image once: 3.35 TB/s on an H100. */
__global__ void gather(image_of g)
{
    const int64_t row = blockIdx.x, from_row = row / g.h * g.x_image + (((int)(row % g.h) + g.top) >> g.up) * g.x_row;
    const int n_piece = g.c / 8, all = g.w * n_piece, begin = (int)blockIdx.y * CHUNK, end = min(begin + CHUNK, all);
    for (int i = begin + (int)threadIdx.x; i < end; i += THREADS) {
        const int l = i / n_piece, c = i % n_piece * 8;
        const int64_t from = from_row + ((l + g.left) >> g.up) * g.x_col + c;
        float v[8];
        if (g.by_8) tr_get8(v, g.x, from);
        else
            for (int e = 0; e < 8; e++) v[e] = c + e < g.n_c ? tr_get(g.x, from + e) : 0.0f;
        tr_put8(g.to, (row * all + i) * 8, v);
    }
}

/* y = z + bias + residual, all dense, eight at a time; y may be z or the residual. Each operand moves once. */
__global__ void finish(tr_view_of y, tr_view_of z, tr_view_of bias, tr_view_of residual, int64_t n_piece, int pieces_m)
{
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < n_piece; i += (int64_t)gridDim.x * THREADS) {
        float v[8], r[8];
        tr_get8(v, z, i * 8);
        if (bias.data) {
            tr_get8(r, bias, i % pieces_m * 8);
            for (int e = 0; e < 8; e++) v[e] += r[e];
        }
        if (residual.data) {
            tr_get8(r, residual, i * 8);
            for (int e = 0; e < 8; e++) v[e] += r[e];
        }
        tr_put8(y, i * 8, v);
    }
}

/* ---- the ways -------------------------------------------------------------------------------------------- */
static bool is_aligned(tr_tensor t) { return (uintptr_t)t.data % 16 == 0; }

/* [b, h, w, c] without gaps; a step over an extent of 1 means nothing. */
static bool is_dense(tr_tensor t)
{
    int64_t step = 1;
    for (int i = 3; i >= 0; i--) {
        if (t.shape[i] != 1 && t.stride[i] != step) return false;
        step *= t.shape[i];
    }
    return true;
}

/* May the pixels of t be moved eight channels at a time? */
static bool pixels_by_8(tr_tensor t)
{
    for (int i = 0; i < 3; i++)
        if (t.shape[i] != 1 && !tr_by_8(t, t.shape[3], t.stride[i])) return false;
    return tr_by_8(t, t.shape[3], 0);
}

static tr_conv_shape shape_of(tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    tr_conv_shape s = {};
    s.n_pixel = y.shape[0] * y.shape[1] * y.shape[2];
    s.oh = (int)y.shape[1], s.ow = (int)y.shape[2];
    s.up = a->upsample == 2;
    s.h = (int)x.shape[1] << s.up, s.w = (int)x.shape[2] << s.up;
    s.stride = a->stride, s.top = a->pad_top, s.left = a->pad_left;
    s.taps = (int)(w.shape[2] * w.shape[3]), s.kw = (int)w.shape[3];
    s.n_c = (int)x.shape[3], s.n_m = (int)y.shape[3];
    s.x_image = x.stride[0], s.x_row = x.stride[1], s.x_col = x.stride[2];
    s.y_image = y.stride[0], s.y_row = y.stride[1], s.y_col = y.stride[2];
    s.x = tr_of(x), s.y = tr_of(y), s.bias = tr_of(b), s.residual = tr_of(a->residual);
    if (!tr_is_none(a->residual)) s.r_image = a->residual.stride[0], s.r_row = a->residual.stride[1], s.r_col = a->residual.stride[2];
    return s;
}

static tress_status plain(tr_cuda *c, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    tress_status st = TRESS_OK;
    void *packed;
    const tr_conv_shape s = shape_of(y, x, w, b, a);
    const int n_j = s.n_c * s.taps;
    const dim3 grid((unsigned)((n_j + TILE - 1) / TILE), (unsigned)((s.n_m + TILE - 1) / TILE));
    TR_TRY(tr_cuda_room(c, &packed, (size_t)tr_count(w) * sizeof(float)));
    turn_plain<<<grid, dim3(TILE, 8), 0, c->stream>>>((float *)packed, tr_of(w), s.n_m, s.n_c, s.taps);
    TR_TRY(tr_cuda_launched("conv2d, weights"));
    TR_TRY(tr_conv_plain(c, &s, (const float *)packed));
done:
    return st;
}

/* Pieces of the room, laid out before it is asked for. */
static size_t reserve(size_t *room, size_t n)
{
    const size_t at = *room;
    *room += (n + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

static tress_status make_image(tr_cuda *c, const image_of *g, int64_t n_row)
{
    const dim3 grid((unsigned)n_row, (unsigned)((g->w * (g->c / 8) + CHUNK - 1) / CHUNK));
    gather<<<grid, THREADS, 0, c->stream>>>(*g);
    return tr_cuda_launched("conv2d, image");
}

static tress_status narrow(tr_cuda *c, tr_dtype type, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    tress_status st = TRESS_OK;
    const tr_tensor res = a->residual;
    const bool has_bias = !tr_is_none(b), has_res = !tr_is_none(res), up = a->upsample == 2;
    const int64_t n_c = x.shape[3], n_m = y.shape[3], c_pad = (n_c + 7) / 8 * 8, taps = w.shape[2] * w.shape[3];
    const bool x_serves = x.dtype == type && pixels_by_8(x);                     /* as it is, for conv_mma */
    const bool w_serves = w.dtype == type && taps == 1 && c_pad == n_c && is_aligned(w);
    const int top = a->pad_top > 0 ? a->pad_top : 0, left = a->pad_left > 0 ? a->pad_left : 0;
    const int bottom = a->pad_bottom > 0 ? a->pad_bottom : 0, right = a->pad_right > 0 ? a->pad_right : 0;
    /* A pad of -1 leaves the first or last row or column out of the enlarged picture. */
    const int64_t h = x.shape[1] * a->upsample + (a->pad_top - top) + (a->pad_bottom - bottom);
    const int64_t width = x.shape[2] * a->upsample + (a->pad_left - left) + (a->pad_right - right);
    const tr_conv_problem p = { .type = (int)type, .y_type = (int)y.dtype, .residual_type = has_res ? (int)res.dtype : -1, .bias = has_bias,
                                .b = x.shape[0], .h = h, .w = width, .c = c_pad, .oh = y.shape[1], .ow = y.shape[2], .m = n_m, .kh = w.shape[2],
                                .kw = w.shape[3], .stride = a->stride, .top = top, .left = left, .bottom = bottom, .right = right };
    const tr_dnn_plan *plan = nullptr;
    bool fused = false;
    size_t n_workspace = 0, n_room = 0;
    if (n_m % 8 == 0 && is_dense(y) && is_aligned(y) && (!has_res || (is_dense(res) && is_aligned(res))))
        TR_TRY(tr_conv_dnn_plan(&plan, &fused, &n_workspace, c, &p));
    {
        const bool turn = !w_serves, image = !x_serves || (plan && (up || !is_dense(x)));
        const bool apart = plan && !fused && has_res && res.data == y.data;      /* y is still needed when the convolution is done */
        const int64_t image_h = plan ? h : x.shape[1], image_w = plan ? width : x.shape[2];
        const size_t size = tr_dtype_size(type);
        const size_t at_w = reserve(&n_room, turn ? (size_t)(n_m * taps * c_pad) * size : 0);
        const size_t at_bias = reserve(&n_room, plan && has_bias ? (size_t)n_m * size : 0);
        const size_t at_x = reserve(&n_room, image ? (size_t)(x.shape[0] * image_h * image_w * c_pad) * size : 0);
        const size_t at_z = reserve(&n_room, apart ? (size_t)tr_count(y) * size : 0);
        const size_t at_workspace = reserve(&n_room, n_workspace);
        void *room;
        TR_TRY(tr_cuda_room(c, &room, n_room));
        char *at = (char *)room;
        const void *packed = turn ? at + at_w : w.data;
        const tr_view_of bias = { plan && has_bias ? at + at_bias : nullptr, (int)type };
        if (turn || bias.data) {
            turn_rows<<<(unsigned)n_m, THREADS, 0, c->stream>>>({ turn ? at + at_w : nullptr, (int)type }, bias, tr_of(w), tr_of(b), (int)n_c, (int)c_pad,
                                                                (int)taps);
            TR_TRY(tr_cuda_launched("conv2d, weights"));
        }
        if (image) {
            const image_of g = { .to = { at + at_x, (int)type }, .x = tr_of(x), .h = (int)image_h, .w = (int)image_w, .c = (int)c_pad, .n_c = (int)n_c,
                                 .up = plan && up, .top = plan ? top - a->pad_top : 0, .left = plan ? left - a->pad_left : 0, .x_image = x.stride[0],
                                 .x_row = x.stride[1], .x_col = x.stride[2], .by_8 = pixels_by_8(x) };
            TR_TRY(make_image(c, &g, x.shape[0] * image_h));
        }
        if (plan) {
            void *z = apart ? at + at_z : y.data;
            TR_TRY(tr_conv_dnn_run(c, plan, fused, &p, z, image ? at + at_x : x.data, packed, bias.data, res.data, at + at_workspace));
            if (!fused && (has_bias || has_res)) {
                const int64_t n_piece = tr_count(y) / 8, n_block = (n_piece + THREADS - 1) / THREADS, most = (int64_t)c->n_sm * 32;
                finish<<<(unsigned)(n_block < most ? n_block : most), THREADS, 0, c->stream>>>(tr_of(y), { z, (int)type }, bias, tr_of(res), n_piece,
                                                                                               (int)(n_m / 8));
                TR_TRY(tr_cuda_launched("conv2d, bias and residual"));
            }
        } else {
            tr_conv_shape s = shape_of(y, x, w, b, a);
            s.n_c = (int)c_pad;
            if (image) {
                s.x = { at + at_x, (int)type };
                s.x_col = c_pad, s.x_row = image_w * c_pad, s.x_image = image_h * image_w * c_pad;
            }
            TR_TRY(tr_conv_mma(c, &s, packed, pixels_by_8(y) && (!has_res || pixels_by_8(res))));
        }
    }
done:
    return st;
}

/* An enlargement that would be large, by bands of rows of y, each of the rows of x that it reads. */
static tress_status by_bands(tr_cuda *c, tr_dtype type, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a, int64_t step)
{
    tress_status st = TRESS_OK;
    const int64_t oh = y.shape[1], kh = w.shape[2], h = x.shape[1];
    for (int64_t i = 0; i < y.shape[0]; i++)
        for (int64_t r = 0; r < oh; r += step) {
            const int64_t n = oh - r < step ? oh - r : step;
            const int64_t lo = r * a->stride - a->pad_top, hi = (r + n - 1) * a->stride - a->pad_top + kh;      /* rows of the enlarged picture */
            const int64_t begin = lo > 0 ? lo / 2 : 0, end = (hi + 1) / 2 < h ? (hi + 1) / 2 : h;
            tr_conv_args part = *a;
            part.pad_top = (int)(begin * 2 - lo);
            part.pad_bottom = (int)(hi - end * 2);
            if (!tr_is_none(a->residual)) part.residual = tr_slice(tr_slice(a->residual, 0, i, 1), 1, r, n);
            TR_TRY(narrow(c, type, tr_slice(tr_slice(y, 0, i, 1), 1, r, n), tr_slice(tr_slice(x, 0, i, 1), 1, begin, end - begin), w, b, &part));
        }
done:
    return st;
}

tress_status tr_cuda_conv2d(tr_stream *s, tr_tensor y, tr_tensor x, tr_tensor w, tr_tensor b, const tr_conv_args *a)
{
    tr_cuda *c = tr_cuda_of(s);
    const tr_dtype type = tr_stream_dtype(s);
    if (tr_count(y) == 0) return TRESS_OK;
    if (type == TR_F32) return plain(c, y, x, w, b, a);
    const int64_t row = x.shape[2] * 2 * x.shape[3] * (int64_t)tr_dtype_size(type), kh = w.shape[2];
    const int64_t step = ENLARGED_MAX / (row * a->stride) / TR_CONV_ROWS * TR_CONV_ROWS;
    if (a->upsample == 2 && x.shape[1] * 2 * row > ENLARGED_MAX && step > 0 && a->pad_top < kh && a->pad_bottom < kh)
        return by_bands(c, type, y, x, w, b, a, step);
    return narrow(c, type, y, x, w, b, a);
}
