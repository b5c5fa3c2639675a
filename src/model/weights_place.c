/* Copies of weights on a device, in a few large pieces of its memory. Matrices fill a piece from its front and vectors from its back,
 * each in the order they are asked for: the matrices of q, k and v, asked for one after the other, lie side by side, and so do their
 * biases, so that a block may multiply by the three as one. */
#include "model/weights_int.h"

#define ALIGN 256
#define PIECE ((int64_t)1 << 30)                /* where the sum is not known: shapes only */

static int64_t padded_bytes(tr_tensor t, tr_dtype type) { return (tr_count(t) * (int64_t)tr_dtype_size(type) + ALIGN - 1) / ALIGN * ALIGN; }

tress_status tr_weights_place(tr_weights *w, tr_device *d)
{
    TR_ASSERT(!w->stream && w->bytes == 0);     /* before anything was asked for */
    return tr_device_is_host(d) ? TRESS_OK : tr_stream_new(&w->stream, d);
}

/* *out = n bytes of a piece that has them, a new one if none has. */
static tress_status take(tr_weights *w, void **out, int64_t n, bool from_back)
{
    tress_status st = TRESS_OK;
    tr_device *d = tr_stream_device(w->stream);
    const tr_dtype type = tr_device_dtype(d);
    tr_weight_piece *p = w->n_piece ? &w->piece[w->n_piece - 1] : NULL;
    if (!p || p->back - p->front < n) {
        int64_t all = w->shapes_only ? PIECE : 0;
        for (int i = 0; !w->shapes_only && i < w->n_item; i++)
            if (!w->item[i].used) all += padded_bytes(w->item[i].t, type);
        if (all < n) all = n;
        TR_TRY(tr_weights_grow(&w->piece, w->n_piece, &w->cap_piece, sizeof *w->piece));
        p = &w->piece[w->n_piece];
        TR_TRY(tr_device_take_weight(d, &p->memory, TR_U8, TR_DIMS(all)));
        p->front = 0;
        p->back = all;
        w->n_piece++;
    }
    if (from_back) p->back -= n;
    *out = (void *)((uintptr_t)p->memory.data + (uintptr_t)(from_back ? p->back : p->front));
    if (!from_back) p->front += n;
done:
    return st;
}

tress_status tr_weights_copy(tr_weights *w, tr_tensor *out, tr_tensor t)
{
    tress_status st = TRESS_OK;
    const tr_dtype type = tr_device_dtype(tr_stream_device(w->stream));
    const tr_arena_mark mark = tr_scratch_push(w->stream);
    tr_dims dims = { .rank = t.rank };
    tr_tensor copy, raw;
    void *p;
    for (int i = 0; i < t.rank; i++) dims.n[i] = t.shape[i];
    TR_TRY(take(w, &p, padded_bytes(t, type), t.rank < 2));
    copy = tr_view(p, type, dims);
    if (t.dtype == type) {
        TR_TRY(tr_upload(w->stream, copy, t.data));
    } else {                                    /* it travels as it is stored and is converted there */
        TR_TRY(tr_scratch(w->stream, &raw, t.dtype, dims));
        TR_TRY(tr_upload(w->stream, raw, t.data));
        TR_TRY(tr_copy(w->stream, copy, raw));
    }
    *out = copy;
done:
    tr_scratch_pop(w->stream, mark);
    return st;
}

tress_status tr_weights_placed_check(tr_weights *w, bool *bad)
{
    tress_status st = TRESS_OK;
    tr_device *d = tr_stream_device(w->stream);
    tr_stream *fresh = NULL;
    *bad = false;
    for (int i = 0; i < w->n_item && !*bad; i++) {
        int64_t n = 0;
        if (!w->item[i].used) continue;
        TR_TRY(tr_count_nonfinite(w->stream, w->item[i].placed, &n));
        *bad = n > 0;
    }
    TR_TRY(tr_stream_sync(w->stream));
    TR_TRY(tr_stream_new(&fresh, d));           /* the scratch of conversions goes back */
    tr_stream_free(w->stream);
    w->stream = fresh;
done:
    return st;
}

void tr_weights_unplace(tr_weights *w)
{
    if (!w->stream) return;
    tr_device *d = tr_stream_device(w->stream);
    const tress_status lost = tr_stream_sync(w->stream);        /* a card that is gone has no more to give */
    (void)lost;
    for (int i = 0; i < w->n_piece; i++) tr_device_give_weight(d, w->piece[i].memory);
    tr_free(w->piece);
    tr_stream_free(w->stream);
    w->stream = NULL;
}
