/* The CPU back end: host memory, the choice of instructions, and the table of ops. */
#include "backend/cpu/cpu.h"

#include <stdio.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
/* Asked by cpuid: clang's __builtin_cpu_supports does not know f16c. */
static bool has_f16c(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

#define ALIGN 256


struct tr_cpu {
    tr_simd simd;
    int     n_thread;
    char   *room;                               /* [n_thread][TR_CPU_ROOM] */
};

tr_simd tr_cpu_simd_detect(tr_simd most)
{
    tr_simd have = TR_SIMD_NONE;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) {
        have = TR_SIMD_AVX2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512dq"))
            have = TR_SIMD_AVX512;
    }
#endif
    return most != TR_SIMD_AUTO && most < have ? most : have;
}

static tress_status cpu_open(void **out, const tr_device_spec *spec, char *text, size_t n_text)
{
    static const char *const names[] = { [TR_SIMD_NONE] = "no SIMD", [TR_SIMD_AVX2] = "AVX2", [TR_SIMD_AVX512] = "AVX-512" };
    tress_status st = TRESS_OK;
    tr_cpu *c = NULL;
    TR_TRY(tr_alloc((void **)&c, sizeof *c));
    c->simd = tr_cpu_simd_detect(spec->simd);
    c->n_thread = spec->n_thread;
    size_t n;
    TR_TRY(tr_mul_bytes(&n, c->n_thread, TR_CPU_ROOM));
    TR_TRY(tr_alloc_raw((void **)&c->room, n));          /* pages come into being when they are touched */
    snprintf(text, n_text, "CPU, %d thread%s, %s", c->n_thread, c->n_thread == 1 ? "" : "s", names[c->simd]);
    *out = c;
    c = NULL;
done:
    tr_free(c);
    return st;
}

static void cpu_close(void *self)
{
    tr_cpu *c = self;
    if (c) tr_free(c->room);
    tr_free(c);
}

/* tr_alloc_raw aligns to 64 bytes; the address it gave is kept right below ours. */
static tress_status cpu_take(void *self, void **out, size_t n)
{
    tress_status st = TRESS_OK;
    char *base = NULL;
    (void)self;
    TR_TRY(tr_alloc_raw((void **)&base, n + ALIGN));
    char *p = base + (ALIGN - (uintptr_t)base % ALIGN);
    memcpy(p - sizeof base, &base, sizeof base);
    *out = p;
done:
    return st;
}

static void cpu_give(void *self, void *p, size_t n)
{
    char *base;
    (void)self, (void)n;
    memcpy(&base, (char *)p - sizeof base, sizeof base);
    tr_free(base);
}

static tress_status cpu_move(void *self, void *to, const void *from, size_t n)
{
    (void)self;
    if (n) memcpy(to, from, n);
    return TRESS_OK;
}

static tress_status cpu_sync(void *self) { return (void)self, TRESS_OK; }

/* Ops are done when their calls return, so nothing is beside anything. */
static tress_status cpu_pin(void *self, void **out, size_t n) { return (void)self, tr_alloc_raw(out, n); }
static void cpu_unpin(void *self, void *p) { (void)self, tr_free(p); }
static tress_status cpu_fetch(void *self, int lane, void *to, const void *from, size_t n) { return (void)lane, cpu_move(self, to, from, n); }
static tress_status cpu_fetch_wait(void *self, int lane) { return (void)self, (void)lane, TRESS_OK; }

tr_simd tr_cpu_simd(const tr_stream *s)
{
    return ((const tr_cpu *)tr_device_backend(tr_stream_device(s)))->simd;
}

int tr_cpu_threads(const tr_stream *s)
{
    return ((const tr_cpu *)tr_device_backend(tr_stream_device(s)))->n_thread;
}

void *tr_cpu_room(const tr_stream *s, int i_thread)
{
    const tr_cpu *c = tr_device_backend(tr_stream_device(s));
    TR_ASSERT(i_thread >= 0 && i_thread < c->n_thread);
    return c->room + (size_t)i_thread * TR_CPU_ROOM;
}

const tr_backend tr_backend_cpu = {
    .name = "cpu", .is_host = true, .open = cpu_open, .close = cpu_close, .take = cpu_take, .give = cpu_give,
    .upload = cpu_move, .download = cpu_move, .sync = cpu_sync,
    .pin = cpu_pin, .unpin = cpu_unpin, .fetch = cpu_fetch, .fetch_wait = cpu_fetch_wait,
#define OP(name, params, args) .name = tr_cpu_##name,
#include "tensor/ops.def"
#undef OP
};
