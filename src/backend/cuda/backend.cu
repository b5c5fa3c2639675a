/* The CUDA back end: the card, its memory, its one stream, and the table of ops. */
#include "backend/cuda/cuda.h"

#include <new>
#include <stdio.h>

#define ROOM_FIRST ((size_t)96 << 20)           /* enough for every op of a model at the sizes people draw */

tress_status tr_cuda_check(cudaError_t e, const char *what)
{
    if (e == cudaSuccess) return TRESS_OK;
    (void)cudaGetLastError();                   /* an error that is not sticky ends here */
    return tr_fail(TRESS_E_GPU, "CUDA, %s: %s (%s)", what, cudaGetErrorString(e), cudaGetErrorName(e));
}

tress_status tr_cuda_room(tr_cuda *c, void **out, size_t n)
{
    tress_status st = TRESS_OK;
    if (n > c->n_room) {
        void *p = nullptr;
        TR_TRY(tr_cuda_check(cudaStreamSynchronize(c->stream), "waiting for the stream"));
        TR_TRY(tr_cuda_check(cudaMalloc(&p, n), "taking memory for an op"));
        (void)cudaFree(c->room);
        c->room = p;
        c->n_room = n;
    }
    *out = c->room;
done:
    return st;
}

static void cuda_close(void *self)
{
    tr_cuda *c = (tr_cuda *)self;
    if (!c) return;
    if (c->stream) (void)cudaStreamSynchronize(c->stream);
    tr_cuda_lt_free(c->lt);
    tr_cuda_dnn_free(c->dnn);
    tr_cuda_stage_free(c->stage);
    tr_cuda_fetch_fini(c);
    (void)cudaFree(c->room);
    if (c->stream) (void)cudaStreamDestroy(c->stream);
    delete c;
}

/* Stands for all kernels: they are built for the same cards. */
__global__ void any_kernel(int *) {}

static tress_status cuda_open(void **out, const tr_device_spec *spec, char *text, size_t n_text)
{
    tress_status st = TRESS_OK;
    int n = 0;
    cudaDeviceProp p;
    cudaFuncAttributes attributes;
    size_t free_bytes = 0, all_bytes = 0;
    tr_cuda *c = new (std::nothrow) tr_cuda();
    if (!c) return tr_fail(TRESS_E_OOM, "out of memory for the state of the CUDA back end");
    TR_TRY(tr_cuda_check(cudaGetDeviceCount(&n), "looking for a card"));
    if (n == 0) TR_TRY(tr_fail(TRESS_E_GPU, "CUDA: found no card"));
    TR_TRY(tr_cuda_check(cudaSetDevice(0), "choosing the first card"));
    TR_TRY(tr_cuda_check(cudaGetDeviceProperties(&p, 0), "asking what the card is"));
    c->major = p.major;
    c->minor = p.minor;
    c->n_sm = p.multiProcessorCount;
    c->shared_max = p.sharedMemPerBlockOptin;
    if (p.major < 8) TR_TRY(tr_fail(TRESS_E_GPU, "CUDA: %s has compute capability %d.%d, expected 8.0 or later", p.name, p.major, p.minor));
    if (cudaFuncGetAttributes(&attributes, (const void *)any_kernel) != cudaSuccess) {
        (void)cudaGetLastError();
        TR_TRY(tr_fail(TRESS_E_GPU, "CUDA: libtress_cuda.so has no kernels for %s, compute capability %d.%d: build it with -DTRESS_CUDA_ARCH=%d%d or all", p.name, p.major,
                       p.minor, p.major, p.minor));
    }
    TR_TRY(tr_cuda_check(cudaMemGetInfo(&free_bytes, &all_bytes), "asking for the card's memory"));
    TR_TRY(tr_cuda_check(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "making a stream"));
    TR_TRY(tr_cuda_check(cudaMalloc(&c->room, ROOM_FIRST), "taking memory for ops"));
    c->n_room = ROOM_FIRST;
    snprintf(text, n_text, "%s, %.0f of %.0f GiB free, %s", p.name, (double)free_bytes / (1 << 30), (double)all_bytes / (1 << 30),
             spec->dtype == TR_F16 ? "fp16" : spec->dtype == TR_BF16 ? "bf16" : "fp32");
    *out = c;
    c = nullptr;
done:
    cuda_close(c);
    return st;
}

static tress_status cuda_take(void *, void **out, size_t n)
{
    size_t free_bytes = 0, all_bytes = 0;
    const cudaError_t e = cudaMalloc(out, n ? n : 1);
    if (e != cudaErrorMemoryAllocation) return tr_cuda_check(e, "taking memory");
    (void)cudaGetLastError();
    TR_ASSERT(cudaMemGetInfo(&free_bytes, &all_bytes) == cudaSuccess || all_bytes == 0);
    return tr_fail(TRESS_E_GPU, "the GPU is out of memory: %.1f MiB more are needed, %.1f of its %.1f MiB are free", (double)n / (1 << 20),
                   (double)free_bytes / (1 << 20), (double)all_bytes / (1 << 20));
}
static void cuda_give(void *, void *p, size_t) { (void)cudaFree(p); }

static tress_status cuda_sync(void *self)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = (tr_cuda *)self;
    TR_TRY(tr_cuda_check(cudaStreamSynchronize(c->stream), "waiting for the stream"));
    if (c->copies) TR_TRY(tr_cuda_check(cudaStreamSynchronize(c->copies), "waiting for copies"));
done:
    return st;
}

static tress_status cuda_download(void *self, void *to, const void *from, size_t n)
{
    tr_cuda *c = (tr_cuda *)self;
    tress_status st = TRESS_OK;
    TR_TRY(tr_cuda_check(cudaMemcpyAsync(to, from, n, cudaMemcpyDeviceToHost, c->stream), "copying from the card"));
    TR_TRY(cuda_sync(self));
done:
    return st;
}

/* ---- recording: CUDA graphs -------------------------------------------------------------------------------- */
static tress_status cuda_record_begin(void *self)
{
    return tr_cuda_check(cudaStreamBeginCapture(((tr_cuda *)self)->stream, cudaStreamCaptureModeThreadLocal), "beginning a graph");
}

static tress_status cuda_record_end(void *self, void **record)
{
    tress_status st = TRESS_OK;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(((tr_cuda *)self)->stream, &graph);
    if (!record) (void)cudaGetLastError();                          /* after a failure that was told already */
    else TR_TRY(tr_cuda_check(ended, "ending a graph"));
    if (!record) goto done;
    TR_TRY(tr_cuda_check(cudaGraphInstantiate(&exec, graph, 0), "making a graph ready"));
    *record = exec;
done:
    if (graph) (void)cudaGraphDestroy(graph);
    return st;
}

static tress_status cuda_record_run(void *self, void *record)
{
    return tr_cuda_check(cudaGraphLaunch((cudaGraphExec_t)record, ((tr_cuda *)self)->stream), "queueing a graph");
}

static void cuda_record_free(void *self, void *record)
{
    (void)cudaStreamSynchronize(((tr_cuda *)self)->stream);         /* it may still run */
    (void)cudaGraphExecDestroy((cudaGraphExec_t)record);
}

static tress_status cuda_free_bytes(void *, int64_t *out)
{
    size_t free_bytes = 0, all_bytes = 0;
    const tress_status st = tr_cuda_check(cudaMemGetInfo(&free_bytes, &all_bytes), "asking for the card's memory");
    if (st == TRESS_OK) *out = (int64_t)free_bytes;
    return st;
}

tress_status tr_cuda_upload(void *self, void *to, const void *from, size_t n);      /* stage.cu */
tress_status tr_cuda_pin(void *self, void **out, size_t n);                         /* fetch.cu */
void tr_cuda_unpin(void *self, void *p);
tress_status tr_cuda_fetch(void *self, int lane, void *to, const void *from, size_t n);
tress_status tr_cuda_fetch_wait(void *self, int lane);

extern const tr_backend tr_backend_cuda = {
    .name = "cuda", .is_host = false, .open = cuda_open, .close = cuda_close, .take = cuda_take, .give = cuda_give,
    .upload = tr_cuda_upload, .download = cuda_download, .sync = cuda_sync,
    .record_begin = cuda_record_begin, .record_end = cuda_record_end, .record_run = cuda_record_run, .record_free = cuda_record_free,
    .free_bytes = cuda_free_bytes, .pin = tr_cuda_pin, .unpin = tr_cuda_unpin, .fetch = tr_cuda_fetch, .fetch_wait = tr_cuda_fetch_wait,
#define OP(name, params, args) .name = tr_cuda_##name,
#include "tensor/ops.def"
#undef OP
};
