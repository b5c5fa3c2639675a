/* Copies of weights on a device, in a few large pieces of its memory, matrices and vectors apart, each in the order they are asked for:
 * the matrices of q, k and v, asked for one after the other, lie side by side, and so do their biases, so that a block may multiply by
 * the three as one. */
#include "model/weights_int.h"

#include <string.h>

#define ALIGN 256
#define PIECE ((int64_t)1 << 30)                /* where the sum is not known: shapes only */
#define PIECE_VECTORS ((int64_t)16 << 20)

static int64_t padded_bytes(tr_tensor t, tr_dtype type) { return (tr_count(t) * (int64_t)tr_dtype_size(type) + ALIGN - 1) / ALIGN * ALIGN; }

tress_status tr_weights_place(tr_weights *w, tr_device *d)
{
    TR_ASSERT(!w->stream && w->bytes == 0);     /* before anything was asked for */
    return tr_device_is_host(d) ? TRESS_OK : tr_stream_new(&w->stream, d);
}

/* *out = n bytes of the kind's last piece, a new one if they do not fit there; of its group's slot if it travels. */
static tress_status take(tr_weights *w, void **out, int64_t n, bool vector, int group)
{
    tress_status st = TRESS_OK;
    if (!vector) w->matrix_bytes += n;
    if (!vector && group >= 0) {
        w->group_bytes[group] += n;
        if (tr_weights_group_travels(w, group)) return tr_weights_slot(w, out, n, group);
    }
    tr_device *d = tr_stream_device(w->stream);
    const tr_dtype type = tr_device_dtype(d);
    int i = w->n_piece - 1;
    while (i >= 0 && w->piece[i].vectors != vector) i--;
    if (i < 0 || w->piece[i].size - w->piece[i].used < n) {
        int64_t all = !w->shapes_only ? 0 : vector ? PIECE_VECTORS : w->matrix_room > 0 ? w->matrix_room : PIECE;
        for (int k = 0; !w->shapes_only && k < w->n_item; k++)
            if (!w->item[k].used && (w->item[k].t.rank < 2) == vector &&
                (vector || !tr_weights_group_travels(w, tr_weights_group_of(w->item[k].name)))) all += padded_bytes(w->item[k].t, type);
        if (all < n) all = n;
        TR_TRY(tr_weights_grow(&w->piece, w->n_piece, &w->cap_piece, sizeof *w->piece));
        i = w->n_piece;
        w->piece[i] = (tr_weight_piece){ .size = all, .vectors = vector };
        TR_TRY(tr_device_take_weight(d, &w->piece[i].memory, TR_U8, TR_DIMS(all)));
        w->n_piece++;
    }
    *out = (void *)((uintptr_t)w->piece[i].memory.data + (uintptr_t)w->piece[i].used);
    w->piece[i].used += n;
done:
    return st;
}

tress_status tr_weights_copy(tr_weights *w, tr_tensor *out, tr_tensor t, int group)
{
    tress_status st = TRESS_OK;
    const tr_dtype type = tr_device_dtype(tr_stream_device(w->stream));
    const tr_arena_mark mark = tr_scratch_push(w->stream);
    tr_dims dims = { .rank = t.rank };
    tr_tensor copy, raw;
    void *p;
    for (int i = 0; i < t.rank; i++) dims.n[i] = t.shape[i];
    TR_TRY(take(w, &p, padded_bytes(t, type), t.rank < 2, group));
    copy = tr_view(p, type, dims);
    if (t.dtype == type) {
        TR_TRY(tr_upload(w->stream, copy, t.data));
    } else if (!tr_device_is_dry(tr_stream_device(w->stream))) {  /* it travels as it is stored and is converted there, in scratch that the work will not see */
        TR_TRY(tr_scratch(w->stream, &raw, t.dtype, dims));
        TR_TRY(tr_upload(w->stream, raw, t.data));
        TR_TRY(tr_copy(w->stream, copy, raw));
    }
    *out = copy;
done:
    tr_scratch_pop(w->stream, mark);
    return st;
}

/* ---- random ---------------------------------------------------------------------------------------------- */
#define PATTERN (((int64_t)4 << 20) + 19)       /* numbers; a prime, so that rows of a matrix differ */

tress_status tr_weights_random(tr_weights **out, tr_device *d)
{
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    float *value = NULL;
    void *p = NULL;
    const tr_dtype type = tr_device_dtype(d);
    TR_TRY(tr_weights_shapes_only(&w, type));
    w->random = true;
    TR_TRY(tr_stream_new(&w->stream, d));
    TR_TRY(tr_alloc_array(&p, PATTERN, sizeof *value));
    value = p;
    TR_TRY(tr_alloc_array(&w->pattern, PATTERN, tr_dtype_size(type)));
    tr_philox_normal(value, PATTERN, 1, 0);
    for (int64_t i = 0; i < PATTERN; i++) {
        const float v = 0.02f * value[i];
        if (type == TR_F32) ((float *)w->pattern)[i] = v;
        else ((uint16_t *)w->pattern)[i] = type == TR_F16 ? tr_f32_to_f16(v) : tr_f32_to_bf16(v);
    }
    *out = w;
    w = NULL;
done:
    tr_free(value);
    tr_weights_close(w);
    return st;
}

tress_status tr_weights_draw(tr_weights *w, tr_tensor *out, tr_dims d, int group)
{
    tress_status st = TRESS_OK;
    const tr_dtype type = w->shapes_dtype;
    void *p = NULL;
    for (int i = 0; i < d.rank; i++)
        if (d.n[i] < 0) d.n[i] = 1;
    tr_tensor t = tr_view(NULL, type, d);
    TR_TRY(take(w, &p, padded_bytes(t, type), t.rank < 2, group));
    t = tr_view(p, type, d);
    const int64_t n = tr_count(t);
    for (int64_t i = 0; i < n; i += PATTERN) {
        const int64_t k = n - i < PATTERN ? n - i : PATTERN;
        const tr_tensor part = tr_view((void *)((uintptr_t)p + (uintptr_t)(i * (int64_t)tr_dtype_size(type))), type, TR_DIMS(k));
        TR_TRY(tr_upload(w->stream, part, w->pattern));
    }
    w->bytes += n * (int64_t)tr_dtype_size(type);
    *out = t;
done:
    return st;
}

/* ---- the end --------------------------------------------------------------------------------------------- */
tress_status tr_weights_placed(tr_weights *w)
{
    tress_status st = TRESS_OK;
    if (!w->stream) return TRESS_OK;
    TR_TRY(tr_weights_settle(w));
    TR_TRY(tr_stream_sync(w->stream));
    tr_scratch_trim(w->stream);                 /* of conversions */
done:
    return st;
}

tress_status tr_weights_placed_check(tr_weights *w, bool *bad)
{
    tress_status st = TRESS_OK;
    *bad = false;
    for (int i = 0; i < w->n_item && !*bad; i++) {
        int64_t n = 0;
        if (!w->item[i].used) continue;
        if (w->item[i].group >= 0) TR_TRY(tr_weights_need(w, w->stream, w->item[i].group, 0));
        TR_TRY(tr_count_nonfinite(w->stream, w->item[i].placed, &n));
        *bad = n > 0;
    }
    TR_TRY(tr_weights_placed(w));
done:
    return st;
}

void tr_weights_unplace(tr_weights *w)
{
    if (!w->stream) return;
    tr_device *d = tr_stream_device(w->stream);
    const tress_status lost = tr_stream_sync(w->stream);        /* a card that is gone has no more to give */
    (void)lost;
    tr_weights_travel_free(w);
    for (int i = 0; i < w->n_piece; i++) tr_device_give_weight(d, w->piece[i].memory);
    tr_free(w->piece);
    w->piece = NULL;
    w->n_piece = w->cap_piece = 0;
    tr_free(w->pattern);
    w->pattern = NULL;
    tr_stream_free(w->stream);
    w->stream = NULL;
}

void tr_weights_leave(tr_weights *w)
{
    if (!w->stream) return;
    tr_weights_unplace(w);
    for (int i = 0; i < w->n_item; i++) {
        w->item[i].used = false;
        w->item[i].placed = tr_none();
    }
    memset(w->group_bytes, 0, sizeof w->group_bytes);
    w->matrix_bytes = 0;
    w->bytes = 0;
}
