/* Timing with cold buffers, against what the machine allows: the larger of bytes over copy bandwidth and operations over
 * multiply-add rate, both measured here with the same number of threads; on a GPU with our own copy and our own product of three
 * large square matrices of the stream's type, which is what the best product here reaches. */
#include "check_int.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_BYTES ((size_t)256 << 20)          /* 8 times the last-level cache of the machine this was written on */
#define RING_BYTES_GPU ((size_t)2 << 30)        /* the largest image of a VAE in F32 twice; 40 times the cache of an H100 */
#define FILL_BYTES ((size_t)16 << 20)           /* what a ring repeats; 16 of these are RING_BYTES */
#define WARM 2
#define RUNS_MAX 60
#define SECONDS_MAX 2.0
#define SECONDS_MAX_GPU 0.3
#define BATCH_SECONDS 2e-3                      /* a wait for the stream costs some 1e-5 */
#define BATCH_MAX 200

static void must(check *c, tress_status st)
{
    if (st != TRESS_OK) check_fault(c, "%s: %s", tress_status_name(st), tr_message());
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- what the machine allows ----------------------------------------------------------------------------- */
static double copy_bandwidth(int n_thread)
{
    const int64_t n = (int64_t)1 << 24;          /* doubles: 128 MiB each */
    double *a = malloc((size_t)n * 8), *b = malloc((size_t)n * 8), best = 0;
    if (!a || !b) abort();
    for (int64_t i = 0; i < n; i++) a[i] = b[i] = (double)i;
    for (int k = 0; k < 5; k++) {
        const double t0 = tr_seconds();
#pragma omp parallel for num_threads(n_thread) schedule(static)
        for (int64_t i = 0; i < n; i += 4096) memcpy(b + i, a + i, 4096 * 8);
        const double t = tr_seconds() - t0;
        if (16.0 * (double)n / t > best) best = 16.0 * (double)n / t;
    }
    free(a);
    free(b);
    return best;
}

/* FILL_BYTES of N(0, 1), or of 0.02 N in narrow types, or zeros in others. */
static void fill_with(check *c, uint8_t *fill, tr_dtype t)
{
    const size_t size = tr_dtype_size(t);
    float z[4096];
    tr_philox_normal(z, 4096, c->seed, 1);
    for (size_t i = 0; i < FILL_BYTES / size; i++) {
        const float v = t == TR_F32 ? z[i % 4096] : 0.02f * z[i % 4096];
        const uint16_t h = t == TR_F16 ? tr_f32_to_f16(v) : tr_f32_to_bf16(v);
        if (t == TR_F32) memcpy(fill + i * 4, &v, 4);
        else if (t == TR_F8_E4M3) fill[i] = tr_f32_to_f8e4m3(v);
        else if (t == TR_F16 || t == TR_BF16) memcpy(fill + i * 2, &h, 2);
        else memset(fill + i * size, 0, size);
    }
}

static void fill_ring(check *c, tr_tensor ring, const uint8_t *fill)
{
    for (int64_t at = 0; at < ring.shape[0]; at += (int64_t)FILL_BYTES) must(c, tr_upload(c->stream, tr_slice(ring, 0, at, (int64_t)FILL_BYTES), fill));
}

#ifdef __x86_64__
#include <immintrin.h>
#define LOOP 4000000
__attribute__((target("avx512f"))) static double spin_avx512(void)
{
    __m512 a[12], m = _mm512_set1_ps(0.999f), p = _mm512_set1_ps(0.001f);
    for (int i = 0; i < 12; i++) a[i] = _mm512_set1_ps((float)i);
    for (int k = 0; k < LOOP; k++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) a[i] = _mm512_fmadd_ps(a[i], m, p);
    for (int i = 1; i < 12; i++) a[0] = _mm512_add_ps(a[0], a[i]);
    return _mm512_reduce_add_ps(a[0]);
}
__attribute__((target("avx2,fma"))) static double spin_avx2(void)
{
    __m256 a[12], m = _mm256_set1_ps(0.999f), p = _mm256_set1_ps(0.001f);
    for (int i = 0; i < 12; i++) a[i] = _mm256_set1_ps((float)i);
    for (int k = 0; k < LOOP; k++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) a[i] = _mm256_fmadd_ps(a[i], m, p);
    for (int i = 1; i < 12; i++) a[0] = _mm256_add_ps(a[0], a[i]);
    return (double)_mm_cvtss_f32(_mm256_castps256_ps128(a[0]));
}
#endif

static double flop_rate(int n_thread)
{
    double rate = 0;
#ifdef __x86_64__
    const bool wide = __builtin_cpu_supports("avx512f");
    if (!wide && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
    for (int k = 0; k < 3; k++) {
        double sink = 0;
        const double t0 = tr_seconds();
#pragma omp parallel for num_threads(n_thread) schedule(static) reduction(+ : sink)
        for (int i = 0; i < n_thread; i++) sink += wide ? spin_avx512() : spin_avx2();
        const double t = tr_seconds() - t0, r = (double)n_thread * LOOP * 12 * (wide ? 32 : 16) / t;
        if (r > rate && isfinite(sink)) rate = r;
    }
#endif
    return rate;
}

/* ---- what a GPU allows ----------------------------------------------------------------------------------- */
static tr_tensor take(check *c, tr_dtype t, tr_dims d)
{
    tr_tensor v;
    must(c, tr_device_take(c->device, &v, t, d));
    return v;
}

/* The least time of 5 of a call that is made n times; the first of the 6 warms up. */
#define LEAST_SECONDS(out, c, n, call)                                                                        \
    for (int k_ = 0; k_ < 6; k_++) {                                                                          \
        must(c, tr_stream_sync((c)->stream));                                                                 \
        const double t0_ = tr_seconds();                                                                      \
        for (int j_ = 0; j_ < (n); j_++) must(c, call);                                                       \
        must(c, tr_stream_sync((c)->stream));                                                                 \
        const double t_ = (tr_seconds() - t0_) / (n);                                                         \
        if (k_ > 0 && (k_ == 1 || t_ < (out))) (out) = t_;                                                    \
    }

static double gpu_bandwidth(check *c)
{
    const tr_dims d = TR_DIMS((int64_t)1 << 27);             /* 512 MiB each */
    tr_tensor x = take(c, TR_F32, d), y = take(c, TR_F32, d);
    double t = 0;
    must(c, tr_set(c->stream, x, 1));
    LEAST_SECONDS(t, c, 4, tr_copy(c->stream, y, x));
    tr_device_give(c->device, x);
    tr_device_give(c->device, y);
    return 2.0 * 4 * (double)d.n[0] / t;
}

static double gpu_flops(check *c)
{
    const tr_dtype type = tr_stream_dtype(c->stream);
    const int64_t n = type == TR_F32 ? 4096 : 8192;
    uint8_t *fill = malloc(FILL_BYTES);
    tr_tensor m[3];
    double t = 0;
    if (!fill) abort();
    fill_with(c, fill, type);
    for (int i = 0; i < 3; i++) m[i] = take(c, type, TR_DIMS(n, n));
    for (int i = 0; i < 2; i++) fill_ring(c, tr_view(m[i].data, TR_U8, TR_DIMS(n * n * (int64_t)tr_dtype_size(type))), fill);
    LEAST_SECONDS(t, c, 4, tr_linear(c->stream, m[2], m[0], m[1], tr_none(), tr_none(), tr_none(), NULL));
    for (int i = 0; i < 3; i++) tr_device_give(c->device, m[i]);
    free(fill);
    return 2.0 * (double)n * (double)n * (double)n / t;
}

/* ---- the loop -------------------------------------------------------------------------------------------- */
void bench_begin(check *c, const char *format, ...)
{
    bench *b = &c->bench;
    va_list ap;
    va_start(ap, format);
    vsnprintf(b->label, sizeof b->label, format, ap);
    va_end(ap);
    if (b->bandwidth == 0) {
        b->bandwidth = check_is_host(c) ? copy_bandwidth(c->n_thread) : gpu_bandwidth(c);
        b->flops = check_is_host(c) ? flop_rate(c->n_thread) : gpu_flops(c);
        b->n_ring = check_is_host(c) ? RING_BYTES : RING_BYTES_GPU;
        if (!b->json)
            printf("# %s; copy %.1f GB/s, multiply-add %.0f GFLOP/s\n", tr_device_name(c->device), b->bandwidth * 1e-9, b->flops * 1e-9);
    }
    b->i = 0;
    b->n = 0;
    b->batch = 1;
    b->in_batch = 0;
    b->spent = 0;
}

static void report(check *c)
{
    bench *b = &c->bench;
    qsort(b->sample, (size_t)b->n, sizeof *b->sample, by_value);
    const double median = b->sample[b->n / 2], spread = (b->sample[b->n * 3 / 4] - b->sample[b->n / 4]) / median;
    const double by_bytes = b->work.bytes / b->bandwidth, by_flops = b->flops > 0 ? b->work.flops / b->flops : 0;
    if (b->json)
        printf("{\"op\": \"%s\", \"case\": \"%s\", \"device\": \"%s\", \"median_ms\": %.4f, \"least_ms\": %.4f, \"spread\": %.4f, \"gflop_s\": %.2f, \"gbyte_s\": %.2f, "
               "\"share\": %.4f, \"limit\": \"%s\", \"peak_gflop_s\": %.1f, \"peak_gbyte_s\": %.1f}\n",
               c->op, b->label, tr_device_name(c->device), median * 1e3, b->sample[0] * 1e3, spread, b->work.flops / median * 1e-9, b->work.bytes / median * 1e-9,
               fmax(by_bytes, by_flops) / median, by_bytes > by_flops ? "memory" : "arithmetic", b->flops * 1e-9, b->bandwidth * 1e-9);
    else
        printf("%-14s %-34s %9.3f ms  spread %4.1f %%  %8.2f GB/s %8.1f GFLOP/s  %5.1f %% of the limit (%s)\n", c->op, b->label, median * 1e3, spread * 100,
           b->work.bytes / median * 1e-9, b->work.flops / median * 1e-9, 100 * fmax(by_bytes, by_flops) / median, by_bytes > by_flops ? "memory" : "arithmetic");
    fflush(stdout);
}

bool bench_more(check *c)
{
    bench *b = &c->bench;
    if (b->n < RUNS_MAX && (b->spent < (check_is_host(c) ? SECONDS_MAX : SECONDS_MAX_GPU) || b->n < 5)) return true;
    report(c);
    return false;
}

tr_tensor bench_tensor(check *c, tr_dtype t, tr_dims d)
{
    bench *b = &c->bench;
    size_t n = 0;
    must(c, tr_bytes(&n, t, d));
    if (n > b->n_ring / 2) check_fault(c, "a bench tensor of %zu bytes is more than the ring holds", n);
    if (tr_is_none(b->ring[t])) {
        uint8_t *fill = malloc(FILL_BYTES);
        if (!fill) abort();
        fill_with(c, fill, t);
        must(c, tr_device_take(c->device, &b->ring[t], TR_U8, TR_DIMS((int64_t)b->n_ring)));
        fill_ring(c, b->ring[t], fill);
        free(fill);
    }
    if (b->at[t] + n > b->n_ring) b->at[t] = 0;
    tr_tensor v = tr_view((char *)b->ring[t].data + b->at[t], t, d);
    b->at[t] += (n + 255) / 256 * 256;
    return v;
}

tr_tensor bench_input(check *c, tr_dims d) { return bench_tensor(c, tr_stream_dtype(c->stream), d); }

void bench_start(check *c)
{
    if (c->bench.in_batch++) return;
    c->bench.before = tr_stream_count(c->stream);
    c->bench.t0 = tr_seconds();
}

void bench_stop(check *c, tress_status st)
{
    bench *b = &c->bench;
    must(c, st);
    if (b->in_batch < b->batch) return;
    must(c, tr_stream_sync(c->stream));
    const double t = (tr_seconds() - b->t0) / b->batch;
    const tr_stream_stats now = tr_stream_count(c->stream);
    b->work.flops = (now.flops - b->before.flops) / b->batch;
    b->work.bytes = (now.bytes - b->before.bytes) / b->batch;
    b->spent += t * b->batch;
    b->in_batch = 0;
    if (b->i++ >= WARM && b->n < RUNS_MAX) b->sample[b->n++] = t;
    else if (b->i == WARM && !check_is_host(c)) b->batch = (int)fmin(fmax(BATCH_SECONDS / t, 1), BATCH_MAX);
}

void bench_fini(check *c)
{
    for (int t = 0; t < TR_DTYPE_N; t++)
        if (!tr_is_none(c->bench.ring[t])) tr_device_give(c->device, c->bench.ring[t]);
}
