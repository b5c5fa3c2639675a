/* An ordered queue of ops: scratch, counts, and the poll that lets a person stop it. */
#include "tensor/stream_int.h"

tress_status tr_stream_new(tr_stream **out, tr_device *d)
{
    tress_status st = TRESS_OK;
    tr_stream *s = NULL;
    TR_TRY(tr_alloc((void **)&s, sizeof *s));
    s->device = d;
    TR_TRY(tr_arena_new(&s->arena, &(tr_arena_source){ d, tr_device_take_bytes, tr_device_give_bytes }));
    *out = s;
    s = NULL;
done:
    tr_stream_free(s);
    return st;
}

void tr_stream_free(tr_stream *s)
{
    if (!s) return;
    tr_arena_free(s->arena);
    tr_free(s);
}

tr_device *tr_stream_device(const tr_stream *s) { return s->device; }
tr_dtype tr_stream_dtype(const tr_stream *s) { return s->device->dtype; }

tress_status tr_stream_sync(tr_stream *s)
{
    TR_ASSERT(!s->recording);
    return s->device->dry ? TRESS_OK : s->device->backend->sync(s->device->self);
}

void tr_stream_set_cancel(tr_stream *s, bool (*cancelled)(void *self), void *self)
{
    s->cancelled = cancelled;
    s->cancelled_self = self;
}

tress_status tr_stream_poll(tr_stream *s)
{
    return s->cancelled && s->cancelled(s->cancelled_self) ? tr_fail(TRESS_E_CANCELLED, "cancelled") : TRESS_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------------- */
tr_arena_mark tr_scratch_push(tr_stream *s) { return tr_arena_push(s->arena); }
void tr_scratch_pop(tr_stream *s, tr_arena_mark m) { tr_arena_pop(s->arena, m); }

tress_status tr_scratch_reserve(tr_stream *s, size_t n) { return tr_arena_reserve(s->arena, n); }
void tr_scratch_trim(tr_stream *s) { tr_arena_trim(s->arena); }

tress_status tr_scratch(tr_stream *s, tr_tensor *out, tr_dtype t, tr_dims d)
{
    tress_status st = TRESS_OK;
    size_t n;
    void *p = NULL;
    TR_TRY(tr_bytes(&n, t, d));
    TR_TRY(tr_arena_take(s->arena, &p, n));
    *out = tr_view(p, t, d);
done:
    return st;
}

static size_t size_of(tr_tensor t) { return (size_t)tr_count(t) * tr_dtype_size(t.dtype); }

tress_status tr_upload(tr_stream *s, tr_tensor to, const void *from)
{
    TR_ASSERT(tr_is_contiguous(to) && !s->recording);
    return s->device->dry ? TRESS_OK : s->device->backend->upload(s->device->self, to.data, from, size_of(to));
}

tress_status tr_download(tr_stream *s, void *to, tr_tensor from)
{
    TR_ASSERT(tr_is_contiguous(from) && !s->recording);
    return s->device->dry ? TRESS_OK : s->device->backend->download(s->device->self, to, from.data, size_of(from));
}

tress_status tr_fetch(tr_stream *s, int lane, tr_tensor to, const void *from)
{
    TR_ASSERT(tr_is_contiguous(to) && lane >= 0 && lane < TR_FETCH_LANES);
    return s->device->dry ? TRESS_OK : s->device->backend->fetch(s->device->self, lane, to.data, from, size_of(to));
}

tress_status tr_fetch_wait(tr_stream *s, int lane)
{
    TR_ASSERT(lane >= 0 && lane < TR_FETCH_LANES);
    return s->device->dry ? TRESS_OK : s->device->backend->fetch_wait(s->device->self, lane);
}

/* ---- counts ---------------------------------------------------------------------------------------------- */
void tr_stream_count_op(tr_stream *s, double flops, double bytes)
{
    s->stats.flops += flops;
    s->stats.bytes += bytes;
    s->stats.n_op++;
}

double tr_tensor_bytes(tr_tensor t)
{
    return tr_is_none(t) ? 0 : (double)tr_count(t) * (double)tr_dtype_size(t.dtype);
}

tr_stream_stats tr_stream_count(const tr_stream *s)
{
    tr_stream_stats stats = s->stats;
    stats.scratch_peak = tr_arena_peak(s->arena);
    return stats;
}
