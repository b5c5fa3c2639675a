/* How many elements are NaN or infinite. Bound by memory: every element is read once. Whole numbers, so the order is free. */
#include "backend/cuda/each.h"

static __global__ void __launch_bounds__(256) count_kernel(unsigned long long *total, tr_view_of x, int64_t n, bool by_8)
{
    __shared__ unsigned long long room[33];
    unsigned long long bad = 0;
    for (int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * 8; i < n; i += (int64_t)gridDim.x * 256 * 8) {
        float v[8];
        tr_get_piece(v, x, i, n - i < 8 ? (int)(n - i) : 8, by_8);
        for (int j = 0; j < 8; j++) bad += (__float_as_uint(v[j]) & 0x7f800000u) == 0x7f800000u;
    }
    bad = tr_block_sum(bad, room);
    if (threadIdx.x == 0 && bad) atomicAdd(total, bad);
}

tress_status tr_cuda_count_nonfinite(tr_stream *s, tr_tensor x, int64_t *bad)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = tr_cuda_of(s);
    const int64_t n = tr_count(x), most = (int64_t)c->n_sm * 8, n_block = (n + 2047) / 2048;
    void *room = nullptr;
    unsigned long long total = 0;
    if (n > 0) {
        TR_TRY(tr_cuda_room(c, &room, sizeof total));
        TR_TRY(tr_cuda_check(cudaMemsetAsync(room, 0, sizeof total, c->stream), "clearing a count"));
        count_kernel<<<(unsigned)(n_block < most ? n_block : most), 256, 0, c->stream>>>((unsigned long long *)room, tr_of(x), n, (uintptr_t)x.data % 16 == 0);
        TR_TRY(tr_cuda_launched("count_nonfinite"));
        TR_TRY(tr_cuda_check(cudaMemcpyAsync(&total, room, sizeof total, cudaMemcpyDeviceToHost, c->stream), "copying a count from the card"));
    }
    TR_TRY(tr_cuda_check(cudaStreamSynchronize(c->stream), "waiting for the stream"));
    *bad = (int64_t)total;
done:
    return st;
}
