/* Weights that do not stay on the card come out of pinned host memory, on a stream of their own beside the kernels: an event of the
 * kernels' stream lets a copy begin when the last reader of the memory it fills is done, another lets the kernels that read it begin. */
#include "backend/cuda/cuda.h"

tress_status tr_cuda_pin(void *, void **out, size_t n)
{
    const cudaError_t e = cudaHostAlloc(out, n ? n : 1, cudaHostAllocDefault);
    if (e != cudaErrorMemoryAllocation) return tr_cuda_check(e, "pinning host memory");
    (void)cudaGetLastError();
    return tr_fail(TRESS_E_OOM, "%.1f MiB of host memory could not be pinned for the card", (double)n / (1 << 20));
}

void tr_cuda_unpin(void *, void *p) { (void)cudaFreeHost(p); }

static tress_status begin(tr_cuda *c)
{
    tress_status st = TRESS_OK;
    for (int i = 0; i < TR_FETCH_LANES; i++) {
        if (!c->spent[i]) TR_TRY(tr_cuda_check(cudaEventCreateWithFlags(&c->spent[i], cudaEventDisableTiming), "making an event"));
        if (!c->fetched[i]) TR_TRY(tr_cuda_check(cudaEventCreateWithFlags(&c->fetched[i], cudaEventDisableTiming), "making an event"));
    }
    TR_TRY(tr_cuda_check(cudaStreamCreateWithFlags(&c->copies, cudaStreamNonBlocking), "making a stream"));
done:
    return st;
}

void tr_cuda_fetch_fini(tr_cuda *c)
{
    if (c->copies) {
        (void)cudaStreamSynchronize(c->copies);
        (void)cudaStreamDestroy(c->copies);
    }
    for (int i = 0; i < TR_FETCH_LANES; i++) {
        if (c->spent[i]) (void)cudaEventDestroy(c->spent[i]);
        if (c->fetched[i]) (void)cudaEventDestroy(c->fetched[i]);
    }
}

tress_status tr_cuda_fetch(void *self, int lane, void *to, const void *from, size_t n)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = (tr_cuda *)self;
    if (!c->copies) TR_TRY(begin(c));
    TR_TRY(tr_cuda_check(cudaEventRecord(c->spent[lane], c->stream), "marking the end of kernels"));
    TR_TRY(tr_cuda_check(cudaStreamWaitEvent(c->copies, c->spent[lane], 0), "letting a copy wait"));
    TR_TRY(tr_cuda_check(cudaMemcpyAsync(to, from, n, cudaMemcpyHostToDevice, c->copies), "fetching weights"));
    TR_TRY(tr_cuda_check(cudaEventRecord(c->fetched[lane], c->copies), "marking the end of a copy"));
done:
    return st;
}

tress_status tr_cuda_fetch_wait(void *self, int lane)
{
    tr_cuda *c = (tr_cuda *)self;
    return c->copies ? tr_cuda_check(cudaStreamWaitEvent(c->stream, c->fetched[lane], 0), "letting kernels wait") : TRESS_OK;
}
