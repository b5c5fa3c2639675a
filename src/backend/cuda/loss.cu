/* Sums in float64: the masked velocity loss with its gradient, and the sum of squares. Bound by memory; [4, 16, 128, 128] is a few
 * microseconds, the squares of 40 M gradients 160 MB, 48 us of an H100's 3.35 TB/s. Blocks add up fixed parts, then one adds the
 * parts in order: how many parts there are depends on the shape alone. */
#include "backend/cuda/each.h"

/* sum[i] = the sum of part[i, :], a warp each */
static __global__ void __launch_bounds__(32) parts_kernel(double *sum, const double *part, int n_part)
{
    double t = 0;
    for (int i = threadIdx.x; i < n_part; i += 32) t += part[(int64_t)blockIdx.x * n_part + i];
    t = tr_block_sum(t, (double *)nullptr);     /* of one warp: needs no room */
    if (threadIdx.x == 0) sum[blockIdx.x] = t;
}

/* ---- the masked velocity loss ----------------------------------------------------------------------------- */
struct loss_args {
    tr_view_of dv, v, x0, noise;                /* [b, c, plane]; dv.data may be NULL */
    const float *mask, *weight;                 /* [b, plane]; [b], or NULL */
    double  *part;                              /* [b, n_part] */
    int64_t  n, plane;                          /* values of a sample */
};

static __global__ void __launch_bounds__(256) velocity_kernel(const loss_args k)
{
    __shared__ double room[33];
    const int64_t sample = blockIdx.y;
    const double weight = k.weight ? 2 * (double)k.weight[sample] : 0;
    double t = 0;
    for (int64_t j = (int64_t)blockIdx.x * 256 + threadIdx.x; j < k.n; j += (int64_t)gridDim.x * 256) {
        const int64_t i = sample * k.n + j;
        const double e = (double)tr_get(k.v, i) - ((double)tr_get(k.noise, i) - (double)tr_get(k.x0, i));
        const double part = (double)k.mask[sample * k.plane + (j - tr_div(j, k.plane) * k.plane)] * e;
        t += part * e;
        if (k.dv.data) tr_put(k.dv, i, (float)(weight * part));
    }
    t = tr_block_sum(t, room);
    if (threadIdx.x == 0) k.part[sample * gridDim.x + blockIdx.x] = t;
}

tress_status tr_cuda_velocity_loss(tr_stream *s, tr_tensor dv, tr_tensor sum, tr_tensor v, tr_tensor x0, tr_tensor noise, tr_tensor mask, tr_tensor weight)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = tr_cuda_of(s);
    const int64_t b = v.shape[0], plane = v.shape[2] * v.shape[3], n = v.shape[1] * plane;
    const int64_t n_part = n > 256 * 2048 ? 256 : n > 2048 ? (n + 2047) / 2048 : 1;
    void *part = nullptr;
    if (b == 0) return TRESS_OK;
    if (b > 65535) return tr_fail(TRESS_E_SHAPE, "CUDA, velocity_loss: found %lld samples, expected at most 65535", (long long)b);
    TR_TRY(tr_cuda_room(c, &part, (size_t)(b * n_part) * sizeof(double)));
    {
        const loss_args k = { tr_of(dv), tr_of(v), tr_of(x0), tr_of(noise), (const float *)mask.data, (const float *)weight.data, (double *)part, n, plane };
        velocity_kernel<<<dim3((unsigned)n_part, (unsigned)b), 256, 0, c->stream>>>(k);
        TR_TRY(tr_cuda_launched("velocity_loss"));
        parts_kernel<<<(unsigned)b, 32, 0, c->stream>>>((double *)sum.data, (const double *)part, (int)n_part);
        TR_TRY(tr_cuda_launched("velocity_loss"));
    }
done:
    return st;
}

/* ---- the sum of squares ----------------------------------------------------------------------------------- */
static __global__ void __launch_bounds__(256) squares_kernel(double *part, tr_view_of x, int64_t n, bool by_8)
{
    __shared__ double room[33];
    double t = 0;
    for (int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * 8; i < n; i += (int64_t)gridDim.x * 256 * 8) {
        float v[8];
        tr_get_piece(v, x, i, n - i < 8 ? (int)(n - i) : 8, by_8);
        for (int j = 0; j < 8; j++) t = fma((double)v[j], (double)v[j], t);
    }
    t = tr_block_sum(t, room);
    if (threadIdx.x == 0) part[blockIdx.x] = t;
}

tress_status tr_cuda_sum_squares(tr_stream *s, tr_tensor x, double *sum)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = tr_cuda_of(s);
    const int64_t n = tr_count(x), n_part = n > 1024 * 8192 ? 1024 : (n + 8191) / 8192;
    void *room = nullptr;
    double total = 0;
    if (n > 0) {
        TR_TRY(tr_cuda_room(c, &room, (size_t)(n_part + 1) * sizeof(double)));
        double *part = (double *)room;
        squares_kernel<<<(unsigned)n_part, 256, 0, c->stream>>>(part + 1, tr_of(x), n, (uintptr_t)x.data % 16 == 0);
        TR_TRY(tr_cuda_launched("sum_squares"));
        parts_kernel<<<1, 32, 0, c->stream>>>(part, part + 1, (int)n_part);
        TR_TRY(tr_cuda_launched("sum_squares"));
        TR_TRY(tr_cuda_check(cudaMemcpyAsync(&total, part, sizeof total, cudaMemcpyDeviceToHost, c->stream), "copying a sum from the card"));
    }
    TR_TRY(tr_cuda_check(cudaStreamSynchronize(c->stream), "waiting for the stream"));
    *sum = total;
done:
    return st;
}
