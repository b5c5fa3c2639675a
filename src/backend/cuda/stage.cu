/* From host memory to the card. Small pieces go by the driver's own way. Large ones, the weights of a mapped file, through four
 * pinned buffers in turn: several threads fill one, taking slices, while those before it travel. A page cache gives some 3 GB/s to
 * one thread; 8 of them fill what a PCIe 4.0 slot carries, 20 GB and more a second. */
#include "backend/cuda/cuda.h"

#include <new>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <thread>

#define SMALL        ((size_t)64 << 10)            /* the driver takes so much along with the call; for more it may wait for the stream */
#define BUFFER       ((size_t)16 << 20)
#define SLICE        ((size_t)512 << 10)
#define N_BUFFER     4
#define HELPER_MOST  7

/* A job is one buffer's copy. Whoever holds the mutex may take its next slice; the job is over when none is left or in work. */
struct tr_cuda_stage {
    char       *buffer[N_BUFFER];               /* pinned */
    cudaEvent_t sent[N_BUFFER];                 /* the last copy out of it has ended */
    int         next;                           /* the buffer whose turn it is */

    pthread_mutex_t mutex;
    pthread_cond_t  work, over;
    bool        has_mutex, has_work, has_over;
    pthread_t   helper[HELPER_MOST];
    int         n_helper;
    bool        stop;
    char       *to;
    const char *from;
    size_t      n, taken;
    int         n_busy;                         /* slices in work */
};

/* Copy slices until none is left. Called and left with the mutex held. */
static void copy_slices(tr_cuda_stage *g)
{
    while (g->taken < g->n) {
        const size_t at = g->taken, n = g->n - at < SLICE ? g->n - at : SLICE;
        char *to = g->to + at;
        const char *from = g->from + at;
        g->taken += n;
        g->n_busy++;
        (void)pthread_mutex_unlock(&g->mutex);
        memcpy(to, from, n);
        (void)pthread_mutex_lock(&g->mutex);
        g->n_busy--;
    }
    if (g->n_busy == 0) (void)pthread_cond_signal(&g->over);
}

static void *help(void *self)
{
    tr_cuda_stage *g = (tr_cuda_stage *)self;
    (void)pthread_mutex_lock(&g->mutex);
    while (!g->stop) {
        copy_slices(g);
        (void)pthread_cond_wait(&g->work, &g->mutex);
    }
    (void)pthread_mutex_unlock(&g->mutex);
    return nullptr;
}

static void copy_all(tr_cuda_stage *g, char *to, const char *from, size_t n)
{
    (void)pthread_mutex_lock(&g->mutex);
    g->to = to, g->from = from, g->n = n, g->taken = 0;
    if (n > SLICE) (void)pthread_cond_broadcast(&g->work);
    copy_slices(g);
    while (g->n_busy > 0) (void)pthread_cond_wait(&g->over, &g->mutex);
    g->n = g->taken = 0;
    (void)pthread_mutex_unlock(&g->mutex);
}

void tr_cuda_stage_free(tr_cuda_stage *g)
{
    if (!g) return;
    if (g->n_helper) {
        (void)pthread_mutex_lock(&g->mutex);
        g->stop = true;
        (void)pthread_cond_broadcast(&g->work);
        (void)pthread_mutex_unlock(&g->mutex);
    }
    for (int i = 0; i < g->n_helper; i++) (void)pthread_join(g->helper[i], nullptr);
    if (g->has_over) (void)pthread_cond_destroy(&g->over);
    if (g->has_work) (void)pthread_cond_destroy(&g->work);
    if (g->has_mutex) (void)pthread_mutex_destroy(&g->mutex);
    for (int i = 0; i < N_BUFFER; i++) {
        if (g->sent[i]) (void)cudaEventDestroy(g->sent[i]);
        if (g->buffer[i]) (void)cudaFreeHost(g->buffer[i]);
    }
    delete g;
}

/* pthread's answer as a status. */
static tress_status threads_check(int e, const char *what)
{
    return e ? tr_fail(TRESS_E_OOM, "CUDA, %s: %s", what, strerror(e)) : TRESS_OK;
}

static tress_status stage_new(tr_cuda_stage **out)
{
    tress_status st = TRESS_OK;
    sigset_t all, before;
    const int n_cpu = (int)std::thread::hardware_concurrency(), n_helper = n_cpu > HELPER_MOST ? HELPER_MOST : n_cpu - 1;
    tr_cuda_stage *g = new (std::nothrow) tr_cuda_stage();
    if (!g) return tr_fail(TRESS_E_OOM, "out of memory for the buffers of the CUDA back end");
    for (int i = 0; i < N_BUFFER; i++) {
        TR_TRY(tr_cuda_check(cudaHostAlloc((void **)&g->buffer[i], BUFFER, cudaHostAllocDefault), "pinning host memory"));
        TR_TRY(tr_cuda_check(cudaEventCreateWithFlags(&g->sent[i], cudaEventDisableTiming), "making an event"));
    }
    TR_TRY(threads_check(pthread_mutex_init(&g->mutex, nullptr), "making a mutex"));
    g->has_mutex = true;
    TR_TRY(threads_check(pthread_cond_init(&g->work, nullptr), "making a condition"));
    g->has_work = true;
    TR_TRY(threads_check(pthread_cond_init(&g->over, nullptr), "making a condition"));
    g->has_over = true;
    (void)sigfillset(&all);                     /* signals are for the program's own threads */
    TR_TRY(threads_check(pthread_sigmask(SIG_SETMASK, &all, &before), "holding signals back"));
    while (g->n_helper < n_helper && pthread_create(&g->helper[g->n_helper], nullptr, help, g) == 0) g->n_helper++;      /* fewer will do */
    TR_TRY(threads_check(pthread_sigmask(SIG_SETMASK, &before, nullptr), "letting signals through"));
    *out = g;
    g = nullptr;
done:
    tr_cuda_stage_free(g);
    return st;
}

/* Returns when `from` is no longer needed; what follows on the stream finds the bytes in place. */
tress_status tr_cuda_upload(void *self, void *to, const void *from, size_t n)
{
    tress_status st = TRESS_OK;
    tr_cuda *c = (tr_cuda *)self;
    if (n <= SMALL) return n ? tr_cuda_check(cudaMemcpyAsync(to, from, n, cudaMemcpyHostToDevice, c->stream), "copying to the card") : TRESS_OK;
    if (!c->stage) TR_TRY(stage_new(&c->stage));
    for (size_t at = 0; at < n; at += BUFFER) {
        tr_cuda_stage *g = c->stage;
        const size_t m = n - at < BUFFER ? n - at : BUFFER;
        const int i = g->next;
        TR_TRY(tr_cuda_check(cudaEventSynchronize(g->sent[i]), "waiting for a copy to the card"));
        copy_all(g, g->buffer[i], (const char *)from + at, m);
        TR_TRY(tr_cuda_check(cudaMemcpyAsync((char *)to + at, g->buffer[i], m, cudaMemcpyHostToDevice, c->stream), "copying to the card"));
        TR_TRY(tr_cuda_check(cudaEventRecord(g->sent[i], c->stream), "marking a copy to the card"));
        g->next = (i + 1) % N_BUFFER;
    }
done:
    return st;
}
