/* Ops recorded on a stream, to be queued again as a whole. */
#include "tensor/stream_int.h"

struct tr_record {
    tr_stream *stream;
    void      *self;                            /* the back end's */
    tr_stream_stats stats;                      /* what one run counts */
};

bool tr_stream_records(const tr_stream *s) { return !s->device->dry && s->device->backend->record_begin; }

tress_status tr_record_begin(tr_stream *s)
{
    TR_ASSERT(tr_stream_records(s) && !s->recording);
    const tress_status st = s->device->backend->record_begin(s->device->self);
    s->recording = st == TRESS_OK;
    s->stats_before = s->stats;
    return st;
}

tress_status tr_record_end(tr_stream *s, tr_record **out)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_record *r = NULL;
    TR_ASSERT(s->recording);
    s->recording = false;
    if (out) st = tr_alloc(&p, sizeof *r);
    r = p;
    const tress_status ended = s->device->backend->record_end(s->device->self, r ? &r->self : NULL);
    if (st == TRESS_OK) st = ended;
    if (r) {
        r->stream = s;
        r->stats = (tr_stream_stats){ .flops = s->stats.flops - s->stats_before.flops, .bytes = s->stats.bytes - s->stats_before.bytes,
                                      .n_op = s->stats.n_op - s->stats_before.n_op };
    }
    s->stats = s->stats_before;                                     /* nothing has run yet */
    if (st != TRESS_OK || !out) {
        tr_record_free(r);
        return st;
    }
    *out = r;
    return TRESS_OK;
}

tress_status tr_record_run(tr_record *r)
{
    tr_stream *s = r->stream;
    s->stats.flops += r->stats.flops;
    s->stats.bytes += r->stats.bytes;
    s->stats.n_op += r->stats.n_op;
    return s->device->backend->record_run(s->device->self, r->self);
}

void tr_record_free(tr_record *r)
{
    if (!r) return;
    if (r->self) r->stream->device->backend->record_free(r->stream->device->self, r->self);
    tr_free(r);
}
