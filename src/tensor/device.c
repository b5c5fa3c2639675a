/* A device: a back end's table, its memory, and the count of what is used of it. */
#include "tensor/stream_int.h"

#include <stdio.h>
#include <string.h>

#define DRY_BEGIN ((uintptr_t)1 << 20)
#define ALIGN 256
#define OWN_BYTES ((int64_t)1 << 30)            /* CUDA's context is 0.5 GiB on an H100; rooms of ops, cuBLAS's and cuDNN's workspaces */

static tress_status check_dtype(bool is_host, tr_dtype t)
{
    if (t == TR_F32 || (!is_host && (t == TR_F16 || t == TR_BF16))) return TRESS_OK;
    return tr_fail(TRESS_E_ARG, "dtype %s: found for the %s, expected F32, or on a GPU F16 or BF16", tr_dtype_name(t), is_host ? "CPU" : "GPU");
}

tress_status tr_device_open(tr_device **out, const tr_device_spec *spec)
{
    tress_status st = TRESS_OK;
    tr_device *d = NULL;
    const tr_backend *backend = &tr_backend_cpu;
    if (spec->kind == TRESS_BACKEND_CUDA && !spec->dry) TR_TRY(tr_backend_load(&backend, "libtress_cuda.so", "libcuda.so.1"));
    TR_TRY(check_dtype(spec->kind != TRESS_BACKEND_CUDA, spec->dtype));
    if (spec->n_thread < 0 || spec->n_thread > TR_THREAD_MAX)
        TR_TRY(tr_fail(TRESS_E_ARG, "threads: found %d, expected 0 to %d", spec->n_thread, TR_THREAD_MAX));
    if (spec->bytes_max < 0)
        TR_TRY(tr_fail(TRESS_E_ARG, "memory limit: found %" PRId64 " bytes, expected 0 (none) or more", spec->bytes_max));
    TR_TRY(tr_alloc((void **)&d, sizeof *d));
    d->backend = backend;
    d->kind = spec->kind == TRESS_BACKEND_CUDA ? TRESS_BACKEND_CUDA : TRESS_BACKEND_CPU;
    d->is_host = spec->kind != TRESS_BACKEND_CUDA && !spec->apart;
    d->dry = spec->dry;
    d->n_thread = spec->n_thread ? spec->n_thread : tr_thread_count();
    if (d->n_thread > TR_THREAD_MAX) d->n_thread = TR_THREAD_MAX;
    d->dtype = spec->dtype;
    d->bytes_max = spec->bytes_max;
    d->next = DRY_BEGIN;
    if (d->dry) {
        snprintf(d->name, sizeof d->name, "nothing is computed");
    } else {
        tr_device_spec exact = *spec;
        exact.n_thread = d->n_thread;
        TR_TRY(d->backend->open(&d->self, &exact, d->name, sizeof d->name));
    }
    *out = d;
    d = NULL;
done:
    tr_free(d);
    return st;
}

tr_device_spec tr_device_dry_spec(const tr_device *d)
{
    return (tr_device_spec){ .kind = d->kind, .n_thread = d->n_thread, .dry = true, .apart = d->kind == TRESS_BACKEND_CPU && !d->is_host, .dtype = d->dtype };
}

void tr_device_close(tr_device *d)
{
    if (!d) return;
    if (!d->dry) d->backend->close(d->self);
    tr_free(d);
}

bool tr_device_is_host(const tr_device *d) { return d->is_host; }
bool tr_device_is_dry(const tr_device *d) { return d->dry; }
tr_dtype tr_device_dtype(const tr_device *d) { return d->dtype; }

tress_status tr_device_set_dtype(tr_device *d, tr_dtype t)
{
    const tress_status st = check_dtype(d->kind != TRESS_BACKEND_CUDA, t);
    if (st == TRESS_OK) d->dtype = t;
    return st;
}

int  tr_device_threads(const tr_device *d) { return d->n_thread; }
const char *tr_device_name(const tr_device *d) { return d->name; }
int64_t tr_device_bytes(const tr_device *d) { return d->bytes; }
int64_t tr_device_peak(const tr_device *d) { return d->peak; }

int64_t tr_device_peak_reset(tr_device *d)
{
    const int64_t peak = d->peak;
    d->peak = d->bytes;
    return peak;
}

int64_t tr_device_peak_ever(const tr_device *d) { return d->peak_ever; }
void tr_device_limit(tr_device *d, int64_t bytes_max) { d->bytes_max = bytes_max; }

tress_status tr_device_free_bytes(const tr_device *d, int64_t *out)
{
    *out = 0;
    return d->dry || !d->backend->free_bytes ? TRESS_OK : d->backend->free_bytes(d->self, out);
}

int64_t tr_device_own_bytes(const tr_device *d) { return d->kind == TRESS_BACKEND_CUDA ? OWN_BYTES : 0; }

tress_status tr_device_pin(tr_device *d, void **out, int64_t n)
{
    if (d->dry) {
        *out = (void *)d->next;
        d->next += ((uintptr_t)n + ALIGN) / ALIGN * ALIGN;
    } else {
        const tress_status st = d->backend->pin(d->self, out, (size_t)n);
        if (st != TRESS_OK) return st;
    }
    d->bytes_pinned += n;
    if (d->bytes_pinned > d->peak_pinned) d->peak_pinned = d->bytes_pinned;
    return TRESS_OK;
}

void tr_device_unpin(tr_device *d, void *p, int64_t n)
{
    if (!p) return;
    if (!d->dry) d->backend->unpin(d->self, p);
    d->bytes_pinned -= n;
}

int64_t tr_device_pinned_bytes(const tr_device *d) { return d->bytes_pinned; }
int64_t tr_device_pinned_peak(const tr_device *d) { return d->peak_pinned; }

void *tr_device_backend(const tr_device *d) { return d->self; }

tress_status tr_device_take_bytes(void *self, void **out, size_t n)
{
    tr_device *d = self;
    if (n > (size_t)INT64_MAX / 2)
        return tr_fail(TRESS_E_OOM, "%zu bytes are more than any device has", n);
    if (d->bytes_max && (int64_t)n > d->bytes_max - d->bytes)
        return tr_fail(TRESS_E_OOM, "%" PRId64 " bytes more are needed beside the %" PRId64 " in use, and the limit is %" PRId64,
                       (int64_t)n, d->bytes, d->bytes_max);
    if (d->dry) {
        *out = (void *)d->next;
        d->next += (n + ALIGN) / ALIGN * ALIGN;          /* never two at one address */
    } else {
        const tress_status st = d->backend->take(d->self, out, n);
        if (st != TRESS_OK) return st;
    }
    d->bytes += (int64_t)n;
    if (d->bytes > d->peak) d->peak = d->bytes;
    if (d->bytes > d->peak_ever) d->peak_ever = d->bytes;
    return TRESS_OK;
}

void tr_device_give_bytes(void *self, void *p, size_t n)
{
    tr_device *d = self;
    if (!p) return;
    if (!d->dry) d->backend->give(d->self, p, n);
    d->bytes -= (int64_t)n;
}

tress_status tr_device_take(tr_device *d, tr_tensor *out, tr_dtype t, tr_dims dims)
{
    tress_status st = TRESS_OK;
    size_t n;
    void *p = NULL;
    TR_TRY(tr_bytes(&n, t, dims));
    TR_TRY(tr_device_take_bytes(d, &p, n));
    *out = tr_view(p, t, dims);
done:
    return st;
}

static int64_t bytes_of(tr_tensor t) { return tr_count(t) * (int64_t)tr_dtype_size(t.dtype); }

void tr_device_give(tr_device *d, tr_tensor t)
{
    if (!tr_is_none(t)) tr_device_give_bytes(d, t.data, (size_t)bytes_of(t));
}

tress_status tr_device_take_weight(tr_device *d, tr_tensor *out, tr_dtype t, tr_dims dims)
{
    const tress_status st = tr_device_take(d, out, t, dims);
    if (st == TRESS_OK) d->bytes_weight += bytes_of(*out);
    return st;
}

void tr_device_give_weight(tr_device *d, tr_tensor t)
{
    if (tr_is_none(t)) return;
    d->bytes_weight -= bytes_of(t);
    tr_device_give(d, t);
}

int64_t tr_device_weight_bytes(const tr_device *d) { return d->bytes_weight; }
