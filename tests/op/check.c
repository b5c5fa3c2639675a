/* The tensors that tests are made of, and the comparisons. */
#include "check_int.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define U 0x1p-24
#define GUARD_BYTE 0xa5
#define UNTOUCHED 0xff                          /* a NaN in every float type */

const char *check_simd_name(tr_simd simd)
{
    return simd == TR_SIMD_AVX512 ? "avx512" : simd == TR_SIMD_AVX2 ? "avx2" : "none";
}

const char *check_type_name(tr_dtype t) { return t == TR_F16 ? "f16" : t == TR_BF16 ? "bf16" : "f32"; }

/* The options that lead to the same run. */
static const char *how(const check *c)
{
    static char text[96];
    if (c->kind == TRESS_BACKEND_CUDA) snprintf(text, sizeof text, "--backend cuda --dtype %s%s", check_type_name(c->dtype), c->mixed ? " --mixed" : "");
    else snprintf(text, sizeof text, "--backend cpu --simd %s --threads %d", check_simd_name(c->simd), c->n_thread);
    return text;
}

void check_fault(check *c, const char *format, ...)
{
    if (!c->quiet) {
        va_list ap;
        va_start(ap, format);
        fprintf(stderr, "%s: ", c->op);
        vfprintf(stderr, format, ap);
        fprintf(stderr, "\nrepeat with: %s %s %s --seed %" PRIu64 " --case %" PRId64 "\n", c->program, c->op, how(c), c->seed, c->i_case);
        va_end(ap);
        exit(1);
    }
    longjmp(*(jmp_buf *)c->escape, 1);
}

tr_stream *check_stream(check *c) { return c->stream; }
bool check_is_host(const check *c) { return tr_device_is_host(c->device); }

static void must(check *c, tress_status st)
{
    if (st != TRESS_OK) check_fault(c, "%s: %s", tress_status_name(st), tr_message());
}

/* ---- memory ---------------------------------------------------------------------------------------------- */
static block *block_new(check *c, block_kind kind, size_t n, size_t odd)
{
    block *b = calloc(1, sizeof *b);
    if (!b) abort();
    b->kind = kind;
    b->n = n;
    b->next = c->blocks;
    c->blocks = b;
    if (kind == BLOCK_ROOM) {
        b->room = calloc(n ? n : 1, 1);
        if (!b->room) abort();
        return b;
    }
    b->skip = GUARD + odd;
    b->host = malloc(b->skip + n + GUARD);
    b->seen = calloc(n ? n : 1, 1);
    if (!b->host || !b->seen) abort();
    memset(b->host, GUARD_BYTE, b->skip + n + GUARD);
    memset(b->host + b->skip, UNTOUCHED, n);
    must(c, tr_device_take(c->device, &b->device, TR_U8, TR_DIMS((int64_t)(b->skip + n + GUARD))));
    return b;
}

static tr_tensor block_tensor(check *c, block *b, tr_dtype t, tr_dims d)
{
    must(c, tr_upload(c->stream, b->device, b->host));
    return tr_view((char *)b->device.data + b->skip, t, d);
}

static size_t bytes_of(check *c, tr_dtype t, tr_dims d)
{
    size_t n = 0;
    must(c, tr_bytes(&n, t, d));
    return n;
}

static block *block_find(check *c, tr_tensor t)
{
    const uintptr_t p = (uintptr_t)t.data;
    for (block *b = c->blocks; b; b = b->next) {
        const uintptr_t base = (uintptr_t)b->device.data + b->skip;
        if (b->kind != BLOCK_ROOM && p >= base && p < base + (b->n ? b->n : 1)) return b;
    }
    check_fault(c, "a tensor that check.h did not hand out was given to a check");
}

static void put(uint8_t *to, tr_dtype t, float v)
{
    const uint16_t h = t == TR_F16 ? tr_f32_to_f16(v) : tr_f32_to_bf16(v);
    if (t == TR_F32) memcpy(to, &v, 4);
    else if (t == TR_F16 || t == TR_BF16) memcpy(to, &h, 2);
    else if (t == TR_F8_E4M3) *to = tr_f32_to_f8e4m3(v);
    else if (t == TR_F64) memcpy(to, &(double){ (double)v }, 8);
    else memset(to, v == 1, tr_dtype_size(t));
}

static double get(const uint8_t *from, tr_dtype t)
{
    float f;
    double d;
    uint16_t h;
    if (t == TR_F32) return memcpy(&f, from, 4), f;
    if (t == TR_F64) return memcpy(&d, from, 8), d;
    if (t == TR_F8_E4M3) return tr_f8e4m3_to_f32(*from);
    if (t != TR_F16 && t != TR_BF16) return (double)NAN;      /* not a float: only its bytes count */
    memcpy(&h, from, 2);
    return t == TR_F16 ? tr_f16_to_f32(h) : tr_bf16_to_f32(h);
}

double check_largest(check_fill f) { return f == FILL_MEAN_1000 ? 1005 : f == FILL_TINY ? 5e-20 : f == FILL_SPIKES ? 5e4 : 5; }

static tr_tensor input(check *c, check_fill f, tr_dtype t, tr_dims d, size_t odd)
{
    block *b = block_new(c, BLOCK_INPUT, bytes_of(c, t, d), odd);
    const size_t size = tr_dtype_size(t);
    const int64_t n = (int64_t)(b->n / size);
    if (c->normal[0] == 0) tr_philox_normal(c->normal, FILL_TABLE, c->seed, 0);
    const int64_t turn = (int64_t)(++c->n_made * 2654435761u % FILL_TABLE);
    for (int64_t i = 0, j = turn; i < n; i++, j = j + 1 < FILL_TABLE ? j + 1 : 0) {
        float v = c->normal[j];
        if (f == FILL_MEAN_1000) v += 1000;
        if (f == FILL_TINY) v *= 1e-20f;
        if (f == FILL_SPIKES && i % 97 == 5) v *= 1e4f;
        put(b->host + b->skip + (size_t)i * size, t, v);
    }
    return block_tensor(c, b, t, d);
}

/* Of an activation. */
static tr_dtype type_of(const check *c) { return c->mixed && c->n_made % 3 == 1 ? TR_F32 : tr_stream_dtype(c->stream); }

tr_tensor check_input(check *c, check_fill f, tr_dims d) { return input(c, f, type_of(c), d, 0); }
tr_tensor check_input_as(check *c, check_fill f, tr_dtype t, tr_dims d) { return input(c, f, t, d, 0); }
tr_tensor check_weight(check *c, check_fill f, tr_dtype t, tr_dims d) { return input(c, f, t, d, check_is_host(c) ? c->n_made % 2 : 0); }

tr_tensor check_values(check *c, tr_dtype t, tr_dims d, const void *values)
{
    block *b = block_new(c, BLOCK_INPUT, bytes_of(c, t, d), 0);
    memcpy(b->host + b->skip, values, b->n);
    return block_tensor(c, b, t, d);
}

tr_tensor check_numbers(check *c, tr_dims d, const float *values)
{
    const tr_dtype t = tr_stream_dtype(c->stream);
    block *b = block_new(c, BLOCK_INPUT, bytes_of(c, t, d), 0);
    const size_t size = tr_dtype_size(t);
    for (size_t i = 0; i < b->n / size; i++) put(b->host + b->skip + i * size, t, values[i]);
    return block_tensor(c, b, t, d);
}

tr_tensor check_output_as(check *c, tr_dtype t, tr_dims d)
{
    return block_tensor(c, block_new(c, BLOCK_OUTPUT, bytes_of(c, t, d), 0), t, d);
}

tr_tensor check_output(check *c, tr_dims d) { return check_output_as(c, type_of(c), d); }

void check_mutable(check *c, tr_tensor x) { block_find(c, x)->kind = BLOCK_OUTPUT; }

double *check_room(check *c, int64_t n) { return block_new(c, BLOCK_ROOM, (size_t)n * sizeof(double), 0)->room; }

static void block_check(check *c, block *b)
{
    if (b->kind == BLOCK_ROOM) return;
    const size_t all = b->skip + b->n + GUARD;
    uint8_t *now = block_new(c, BLOCK_ROOM, all, 0)->room;
    must(c, tr_download(c->stream, now, b->device));
    for (size_t i = 0; i < all; i++) {
        if (now[i] == b->host[i]) continue;
        const bool data = i >= b->skip && i < b->skip + b->n;
        if (data && b->kind == BLOCK_OUTPUT && b->seen[i - b->skip]) continue;
        check_fault(c, "byte %" PRId64 " of %zu of an %s was overwritten%s", (int64_t)i - (int64_t)b->skip, b->n,
                    b->kind == BLOCK_OUTPUT ? "output" : "input", !data ? " (outside of it)" : b->kind == BLOCK_OUTPUT ? " and no check looked at it" : "");
    }
}

static void block_free(check *c, block *b)
{
    if (b->kind != BLOCK_ROOM) tr_device_give(c->device, b->device);
    free(b->host);
    free(b->seen);
    free(b->room);
    free(b);
}

void check_release(check *c)
{
    for (block *b = c->blocks; b; b = b->next) block_check(c, b);
    while (c->blocks) {
        block *b = c->blocks;
        c->blocks = b->next;
        block_free(c, b);
    }
    check_rounds(c, 0, 0);
}

/* ---- elements in row-major order ------------------------------------------------------------------------- */
/* Where element k in row-major order is, in elements. */
static int64_t offset_of(tr_tensor t, int64_t k)
{
    int64_t at = 0;
    if (t.rank == 1) return k * t.stride[0];
    for (int a = t.rank - 1; a >= 0; a--) {
        at += k % t.shape[a] * t.stride[a];
        k /= t.shape[a];
    }
    return at;
}

static uint8_t *fetch(check *c, block *b)
{
    uint8_t *all = block_new(c, BLOCK_ROOM, b->skip + b->n + GUARD, 0)->room;
    must(c, tr_stream_sync(c->stream));
    must(c, tr_download(c->stream, all, b->device));
    return all;
}

/* Whole if contiguous: then row-major order is a run, and no division is needed. */
static tr_tensor flat(tr_tensor t) { return tr_is_contiguous(t) ? tr_view(t.data, t.dtype, TR_DIMS(tr_count(t))) : t; }

double *check_f64(check *c, tr_tensor x)
{
    x = flat(x);
    const int64_t n = tr_count(x);
    double *v = check_room(c, n);
    block *b = block_find(c, x);
    uint8_t *all = fetch(c, b);
    const size_t size = tr_dtype_size(x.dtype);
    const uint8_t *base = all + ((uintptr_t)x.data - (uintptr_t)b->device.data);
    for (int64_t k = 0; k < n; k++) v[k] = get(base + offset_of(x, k) * (int64_t)size, x.dtype);
    return v;
}

/* ---- comparisons ----------------------------------------------------------------------------------------- */
void check_begin(check *c)
{
    c->i_case++;
    c->n_alloc = tr_mem_now().n_alloc;
}

void check_end(check *c, tress_status st)
{
    const int64_t n = tr_mem_now().n_alloc - c->n_alloc;
    if (st == TRESS_OK) st = tr_stream_sync(c->stream);      /* a fault of the device belongs to this case */
    if (st != TRESS_OK) check_fault(c, "%s: %s", tress_status_name(st), tr_message());
    if (c->warm && n) check_fault(c, "case %" PRId64 ": %" PRId64 " allocations in a stream that has done this before", c->i_case, n);
}

static void digest_add(check *c, const void *bytes, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, bytes, n);
    c->digest = (c->digest ^ word) * 0x100000001b3u;
    c->digest ^= c->digest >> 29;
}

/* One element moves by a quarter of the tensor's size: what a kernel with a bug would do, at the least. */
static void spoil(check *c, uint8_t *base, tr_tensor y)
{
    const int64_t n = tr_count(y);
    const size_t size = tr_dtype_size(y.dtype);
    double sq = 0;
    if (n == 0) return;
    for (int64_t k = 0; k < n; k++) {
        const double v = get(base + offset_of(y, k) * (int64_t)size, y.dtype);
        sq += isfinite(v) ? v * v : 0;
    }
    uint8_t *p = base + offset_of(y, (int64_t)(c->seed * 2654435761u % (uint64_t)n)) * (int64_t)size;
    const double rms = sqrt(sq / (double)n), v = get(p, y.dtype);
    if (!isfinite(v)) put(p, y.dtype, 1);
    else put(p, y.dtype, (float)(v + (rms > 0 ? 0.25 * rms + 0.25 * fabs(v) : 1)));
    if (get(p, y.dtype) == v) put(p, y.dtype, 0);            /* it was the largest there is */
}

/* y's bytes as they came out, spoiled where that is asked for; every element is marked as looked at. */
static const uint8_t *look(check *c, tr_tensor y)
{
    y = flat(y);
    block *b = block_find(c, y);
    const size_t size = tr_dtype_size(y.dtype), at = (uintptr_t)y.data - (uintptr_t)b->device.data;
    if (b->kind != BLOCK_OUTPUT) check_fault(c, "a check of an input: check_mutable is missing");
    uint8_t *all = fetch(c, b);
    if (c->i_check++ == c->spoil_check) spoil(c, all + at, y);
    for (int64_t k = 0, n = tr_count(y); k < n; k++) {
        const int64_t o = offset_of(y, k) * (int64_t)size;
        for (size_t i = 0; i < size; i++) b->seen[at - b->skip + (size_t)o + i] = 1;
        digest_add(c, all + at + o, size);
    }
    return all + at;
}

static double unit_of(tr_dtype t)
{
    return t == TR_F16 ? 0x1p-11 : t == TR_BF16 ? 0x1p-8 : t == TR_F8_E4M3 ? 0x1p-4 : 0;
}

static double least_of(tr_dtype t)               /* half the least subnormal */
{
    return t == TR_F16 ? 0x1p-25 : t == TR_BF16 ? 0x1p-134 : t == TR_F8_E4M3 ? 0x1p-10 : 0;
}

static double most_of(tr_dtype t)                /* the largest number, where an activation may be of this type */
{
    return t == TR_F16 ? 65504 : t == TR_BF16 ? 0x1.fep127 : (double)INFINITY;
}

static double narrowed(double v, tr_dtype t)
{
    uint8_t bytes[8];
    if (unit_of(t) == 0) return v;
    put(bytes, t, (float)v);
    return get(bytes, t);
}

double check_narrow(const check *c, double v) { return narrowed(v, tr_stream_dtype(c->stream)); }

void check_rounds(check *c, int n, double factor)
{
    c->n_round = n;
    c->round_factor = factor;
}

static bool reports(const check *c) { return c->only_case < 0 || c->only_case == c->i_case; }

void check_near(check *c, tr_tensor y, const double *want, const double *mag, double bound)
{
    char text[TR_DIMS_TEXT];
    const uint8_t *base = look(c, y);
    const size_t size = tr_dtype_size(y.dtype);
    const tr_tensor v = flat(y);
    const tr_dtype kept = tr_stream_dtype(c->stream);
    const double unit = c->n_round * unit_of(kept), least = c->n_round * c->round_factor * least_of(kept);
    int64_t worst_k = -1;
    double worst = 0, worst_got = 0;
    for (int64_t k = 0, n = tr_count(y); k < n; k++) {
        const double got = get(base + offset_of(v, k) * (int64_t)size, y.dtype);
        const double room = bound * U * mag[k] + unit_of(y.dtype) * fabs(want[k]) + least_of(y.dtype) + bound * 0x1p-149 + unit * mag[k] + least;
        if (isinf(mag[k]) || (isinf(got) && got * want[k] > 0 && fabs(want[k]) + room > most_of(y.dtype))) continue;
        const double share = fabs(got - want[k]) / room;
        if (share <= worst && worst_k >= 0) continue;
        worst = isnan(share) ? (double)INFINITY : share;
        worst_k = k;
        worst_got = got;
        if (!(share <= 1)) break;
    }
    if (worst > c->worst && reports(c)) c->worst = worst;
    if (!(worst <= 1) && reports(c))
        check_fault(c, "case %" PRId64 ", element %" PRId64 " of %s: got %.9g, want %.9g, off by %.3g of what %g u mag allows (mag %.3g)", c->i_case, worst_k,
                    tr_dims_text(text, y.rank, y.shape), worst_got, want[worst_k], worst, bound, mag[worst_k]);
}

void check_equal(check *c, tr_tensor y, const double *want)
{
    char text[TR_DIMS_TEXT];
    const uint8_t *base = look(c, y);
    const tr_tensor v = flat(y);
    for (int64_t k = 0, n = tr_count(y); k < n; k++) {
        const double got = get(base + offset_of(v, k) * (int64_t)tr_dtype_size(y.dtype), y.dtype);
        const double exact = narrowed(want[k], y.dtype);
        if ((got == exact && signbit(got) == signbit(exact)) || (isnan(got) && isnan(exact)) || !reports(c)) continue;
        check_fault(c, "case %" PRId64 ", element %" PRId64 " of %s: got %.9g, want %.9g exactly", c->i_case, k, tr_dims_text(text, y.rank, y.shape), got, exact);
    }
}

void check_bytes(check *c, tr_tensor y, const void *want)
{
    const uint8_t *base = look(c, y);
    const int64_t size = (int64_t)tr_dtype_size(y.dtype);
    for (int64_t k = 0, n = tr_count(y); k < n; k++)
        if (memcmp(base + offset_of(y, k) * size, (const char *)want + k * size, (size_t)size) && reports(c))
            check_fault(c, "case %" PRId64 ", element %" PRId64 " of type %s holds other bytes", c->i_case, k, tr_dtype_name(y.dtype));
}

void check_int(check *c, const char *what, int64_t got, int64_t want)
{
    if (c->i_check++ == c->spoil_check) got++;
    digest_add(c, &got, sizeof got);
    if (got != want && reports(c)) check_fault(c, "case %" PRId64 ": %s is %" PRId64 ", want %" PRId64, c->i_case, what, got, want);
}
