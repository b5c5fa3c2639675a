/* y = x, any strides and types. Bound by memory: each element read and written once. Both operands are brought to their simplest
 * common shape first, y's innermost dimension last; then
 *   all in one piece          the card's own copy
 *   rows                      as many bytes at a time as addresses and steps allow
 *   a turn                    channels first to last and back: tiles through shared memory, both sides in whole sectors
 *   anything else             an element a thread, neighbours in y side by side
 * [1, 3, 1024, 1024] is 12 MB in F32, 8 us of an H100's 3.35 TB/s for both sides. */
#include "backend/cuda/each.h"

/* How an element moves: as `size` bytes, or, with size 0, from one float type to another. */
struct mover {
    tr_view_of y, x;
    int        size;
    bool       odd;                             /* some address is no multiple of size */

    __device__ void operator()(int64_t i, int64_t j) const
    {
        if (size == 0) {
            tr_put(y, i, tr_get_odd(x, j));
        } else if (odd || size > 8) {
            for (int b = 0; b < size; b++) ((uint8_t *)y.data)[i * size + b] = ((const uint8_t *)x.data)[j * size + b];
        } else if (size == 8) {
            ((uint64_t *)y.data)[i] = ((const uint64_t *)x.data)[j];
        } else if (size == 4) {
            ((uint32_t *)y.data)[i] = ((const uint32_t *)x.data)[j];
        } else if (size == 2) {
            ((uint16_t *)y.data)[i] = ((const uint16_t *)x.data)[j];
        } else {
            ((uint8_t *)y.data)[i] = ((const uint8_t *)x.data)[j];
        }
    }
};

/* n[rank], outermost first; steps of y and x between elements. rank >= 1, all n > 1 but for a lone element. */
struct shape { int rank; int64_t n[TR_RANK_MAX], y[TR_RANK_MAX], x[TR_RANK_MAX]; };

static shape simplest(const tr_tensor &y, const tr_tensor &x)
{
    shape a = {}, b = {};
    for (int i = 0; i < y.rank; i++) {          /* by falling steps of y */
        int at = a.rank;
        if (y.shape[i] == 1) continue;
        while (at > 0 && (a.y[at - 1] < y.stride[i] || (a.y[at - 1] == y.stride[i] && a.x[at - 1] < x.stride[i]))) {
            a.n[at] = a.n[at - 1], a.y[at] = a.y[at - 1], a.x[at] = a.x[at - 1];
            at--;
        }
        a.n[at] = y.shape[i], a.y[at] = y.stride[i], a.x[at] = x.stride[i];
        a.rank++;
    }
    for (int i = 0; i < a.rank; i++) {          /* what runs on is one */
        const int k = b.rank - 1;
        if (k >= 0 && b.y[k] == a.n[i] * a.y[i] && b.x[k] == a.n[i] * a.x[i]) {
            b.n[k] *= a.n[i], b.y[k] = a.y[i], b.x[k] = a.x[i];
        } else {
            b.n[b.rank] = a.n[i], b.y[b.rank] = a.y[i], b.x[b.rank] = a.x[i];
            b.rank++;
        }
    }
    if (b.rank == 0) b.rank = 1, b.n[0] = b.y[0] = b.x[0] = 1;
    return b;
}

/* Where element i, row-major, lies in y and x. */
__device__ static inline void place(int64_t &y, int64_t &x, const shape &a, int64_t i)
{
    y = x = 0;
    for (int k = a.rank - 1; k >= 0; k--) {
        const int64_t q = k ? tr_div(i, a.n[k]) : 0, r = i - q * a.n[k];
        y += r * a.y[k];
        x += r * a.x[k];
        i = q;
    }
}

static __global__ void __launch_bounds__(256) each_kernel(const __grid_constant__ shape a, const mover move, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    int64_t y, x;
    if (i >= n) return;
    place(y, x, a, i);
    move(y, x);
}

/* The same where what moves is 16 bytes. */
static __global__ void __launch_bounds__(256) each16_kernel(const __grid_constant__ shape a, uint4 *to, const uint4 *from, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    int64_t y, x;
    if (i >= n) return;
    place(y, x, a, i);
    to[y] = from[x];
}

/* ---- a turn ---------------------------------------------------------------------------------------------- */
#define TILE 32

/* [n_a, n_b]: y steps by 1 along a, x by 1 along b; `outer` the other dimensions. Elements of up to 4 bytes. */
struct turn { int64_t n_a, n_b, x_a, y_b, tiles_a, tiles_b; shape outer; };

static __global__ void __launch_bounds__(TILE * 8) turn_kernel(const __grid_constant__ turn k, const mover move)
{
    __shared__ uint32_t tile[TILE][TILE + 1];
    const int tx = threadIdx.x % TILE, ty = threadIdx.x / TILE;
    int64_t q = tr_div(blockIdx.x, k.tiles_a), y, x;
    const int64_t a0 = ((int64_t)blockIdx.x - q * k.tiles_a) * TILE, outer = tr_div(q, k.tiles_b), b0 = (q - outer * k.tiles_b) * TILE;
    place(y, x, k.outer, outer);
    for (int r = ty; r < TILE; r += 8) {
        if (a0 + r >= k.n_a || b0 + tx >= k.n_b) continue;
        const int64_t j = x + (a0 + r) * k.x_a + b0 + tx;
        tile[r][tx] = move.size == 0   ? __float_as_uint(tr_get_odd(move.x, j))
                      : move.size == 4 ? ((const uint32_t *)move.x.data)[j]
                      : move.size == 2 ? ((const uint16_t *)move.x.data)[j]
                                       : ((const uint8_t *)move.x.data)[j];
    }
    __syncthreads();
    for (int r = ty; r < TILE; r += 8) {
        if (a0 + tx >= k.n_a || b0 + r >= k.n_b) continue;
        const int64_t i = y + (b0 + r) * k.y_b + a0 + tx;
        const uint32_t v = tile[tx][r];
        if (move.size == 0) tr_put(move.y, i, __uint_as_float(v));
        else if (move.size == 4) ((uint32_t *)move.y.data)[i] = v;
        else if (move.size == 2) ((uint16_t *)move.y.data)[i] = (uint16_t)v;
        else ((uint8_t *)move.y.data)[i] = (uint8_t)v;
    }
}

/* ---- which way ------------------------------------------------------------------------------------------- */
struct same_f {
    __device__ void operator()(float (&y)[8], const float (&x)[1][8], int64_t) const
    {
        for (int j = 0; j < 8; j++) y[j] = x[0][j];
    }
};

static tress_status blocks_of(unsigned *out, int64_t n)
{
    if (n > INT32_MAX) return tr_fail(TRESS_E_SHAPE, "CUDA, copy: found work for %lld blocks, expected at most %d", (long long)n, INT32_MAX);
    *out = (unsigned)n;
    return TRESS_OK;
}

/* The most bytes, up to 16, that everything is a multiple of. */
static size_t unit_of(const shape &a, const void *y, const void *x, size_t size)
{
    uintptr_t bits = (uintptr_t)y | (uintptr_t)x | (uintptr_t)((size_t)a.n[a.rank - 1] * size) | 16;
    for (int i = 0; i < a.rank - 1; i++) bits |= (uintptr_t)((size_t)a.y[i] * size) | (uintptr_t)((size_t)a.x[i] * size);
    return (size_t)(bits & (~bits + 1));
}

static tress_status copy_rows(tr_cuda *c, shape a, tr_tensor y, tr_tensor x, size_t size)
{
    tress_status st = TRESS_OK;
    const size_t unit = unit_of(a, y.data, x.data, size);
    const int last = a.rank - 1;
    int64_t n = 1;
    unsigned n_block = 0;
    for (int i = 0; i < last; i++) {            /* in units; whole by the choice of unit */
        a.y[i] = (int64_t)((size_t)a.y[i] * size / unit);
        a.x[i] = (int64_t)((size_t)a.x[i] * size / unit);
        n *= a.n[i];
    }
    a.n[last] = (int64_t)((size_t)a.n[last] * size / unit);
    n *= a.n[last];
    TR_TRY(blocks_of(&n_block, (n + 255) / 256));
    if (unit == 16) each16_kernel<<<n_block, 256, 0, c->stream>>>(a, (uint4 *)y.data, (const uint4 *)x.data, n);
    else each_kernel<<<n_block, 256, 0, c->stream>>>(a, mover{ tr_of(y), tr_of(x), (int)unit, false }, n);
    TR_TRY(tr_cuda_launched("copy"));
done:
    return st;
}

static tress_status convert_rows(tr_stream *s, const shape &a, tr_tensor y, tr_tensor x)
{
    y.rank = x.rank = a.rank;
    for (int i = 0; i < a.rank; i++) {
        y.shape[i] = x.shape[i] = a.n[i];
        y.stride[i] = a.y[i], x.stride[i] = a.x[i];
    }
    return tr_each_run(s, tr_each_of<2>({ y, x }, false), same_f{}, "copy");
}

static tress_status copy_turn(tr_cuda *c, const shape &a, int at, const mover &move)
{
    tress_status st = TRESS_OK;
    const int last = a.rank - 1;
    int64_t n = 1;
    unsigned n_block = 0;
    turn k = {};
    k.n_a = a.n[last], k.x_a = a.x[last];
    k.n_b = a.n[at], k.y_b = a.y[at];
    k.tiles_a = (k.n_a + TILE - 1) / TILE;
    k.tiles_b = (k.n_b + TILE - 1) / TILE;
    for (int i = 0; i < last; i++) {
        if (i == at) continue;
        k.outer.n[k.outer.rank] = a.n[i], k.outer.y[k.outer.rank] = a.y[i], k.outer.x[k.outer.rank] = a.x[i];
        k.outer.rank++;
        n *= a.n[i];
    }
    TR_TRY(blocks_of(&n_block, n * k.tiles_a * k.tiles_b));
    turn_kernel<<<n_block, TILE * 8, 0, c->stream>>>(k, move);
    TR_TRY(tr_cuda_launched("copy"));
done:
    return st;
}

tress_status tr_cuda_copy(tr_stream *s, tr_tensor y, tr_tensor x)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = tr_cuda_of(s);
    const int64_t n = tr_count(y);
    const size_t size = tr_dtype_size(y.dtype);
    const bool same = y.dtype == x.dtype;
    unsigned n_block = 0;
    if (n == 0) return TRESS_OK;
    const shape a = simplest(y, x);
    const int last = a.rank - 1;
    if (a.y[last] == 1 && a.x[last] == 1) {
        if (!same) return convert_rows(s, a, y, x);
        if (a.rank > 1) return copy_rows(c, a, y, x, size);
        return tr_cuda_check(cudaMemcpyAsync(y.data, x.data, (size_t)n * size, cudaMemcpyDeviceToDevice, c->stream), "copying on the card");
    }
    const mover move = { tr_of(y), tr_of(x), same ? (int)size : 0, ((uintptr_t)y.data | (uintptr_t)x.data) % size != 0 };
    if (a.y[last] == 1 && a.n[last] >= TILE / 2 && move.size <= 4 && !(same && move.odd))
        for (int i = 0; i < last; i++)
            if (a.x[i] == 1 && a.n[i] >= TILE / 2) return copy_turn(c, a, i, move);
    TR_TRY(blocks_of(&n_block, (n + 255) / 256));
    each_kernel<<<n_block, 256, 0, c->stream>>>(a, move, n);
    TR_TRY(tr_cuda_launched("copy"));
done:
    return st;
}
