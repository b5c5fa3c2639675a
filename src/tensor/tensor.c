/* Views: arithmetic on shapes and strides. */
#include "tensor/tensor.h"

#include <stdio.h>

tr_tensor tr_view(void *data, tr_dtype t, tr_dims d)
{
    TR_ASSERT(d.rank >= 0 && d.rank <= TR_RANK_MAX);
    tr_tensor v = { .data = data, .dtype = t, .rank = d.rank };
    int64_t step = 1;
    for (int i = d.rank - 1; i >= 0; i--) {
        TR_ASSERT(d.n[i] >= 0);
        v.shape[i] = d.n[i];
        v.stride[i] = step;
        step *= d.n[i];
    }
    return v;
}

int64_t tr_count(tr_tensor t)
{
    int64_t n = 1;
    for (int i = 0; i < t.rank; i++) n *= t.shape[i];
    return n;
}

tress_status tr_bytes(size_t *out, tr_dtype t, tr_dims d)
{
    char text[TR_DIMS_TEXT];
    int64_t n = (int64_t)tr_dtype_size(t);
    bool over = d.rank < 0 || d.rank > TR_RANK_MAX, empty = false;
    for (int i = 0; !over && i < d.rank; i++) {
        over = d.n[i] < 0;
        empty |= d.n[i] == 0;
    }
    for (int i = 0; !over && !empty && i < d.rank; i++) over = __builtin_mul_overflow(n, d.n[i], &n);
    if (over)
        return tr_fail(TRESS_E_SHAPE, "a tensor %s of %s is too large to address, expected at most %" PRId64 " bytes",
                       tr_dims_text(text, d.rank, d.n), tr_dtype_name(t), INT64_MAX);
    *out = empty ? 0 : (size_t)n;
    return TRESS_OK;
}

bool tr_is_contiguous(tr_tensor t)
{
    int64_t step = 1;
    for (int i = t.rank - 1; i >= 0; i--) {
        if (t.shape[i] != 1 && t.stride[i] != step) return false;
        step *= t.shape[i];
    }
    return true;
}

bool tr_has_dims(tr_tensor t, tr_dims d)
{
    if (t.rank != d.rank) return false;
    for (int i = 0; i < d.rank; i++)
        if (t.shape[i] != d.n[i]) return false;
    return true;
}

char *tr_dims_text(char buf[TR_DIMS_TEXT], int rank, const int64_t *shape)
{
    int at = snprintf(buf, TR_DIMS_TEXT, "[");
    for (int i = 0; i < rank && i < TR_RANK_MAX; i++)
        at += snprintf(buf + at, (size_t)(TR_DIMS_TEXT - at), "%s%" PRId64, i ? ", " : "", shape[i]);
    snprintf(buf + at, (size_t)(TR_DIMS_TEXT - at), "]");
    return buf;
}

/* ---- views ----------------------------------------------------------------------------------------------- */
/* In bytes and through uintptr_t: a dry device hands out addresses that stand for nothing. */
static void *step_by(tr_tensor t, int64_t elements)
{
    return (void *)((uintptr_t)t.data + (uintptr_t)(elements * (int64_t)tr_dtype_size(t.dtype)));
}

tr_tensor tr_slice(tr_tensor t, int axis, int64_t begin, int64_t n)
{
    TR_ASSERT(axis >= 0 && axis < t.rank && begin >= 0 && n >= 0 && begin <= t.shape[axis] - n);
    t.data = step_by(t, begin * t.stride[axis]);
    t.shape[axis] = n;
    return t;
}

tr_tensor tr_index(tr_tensor t, int axis, int64_t i)
{
    tr_tensor v = tr_slice(t, axis, i, 1);
    for (int k = axis; k + 1 < t.rank; k++) {
        v.shape[k] = v.shape[k + 1];
        v.stride[k] = v.stride[k + 1];
    }
    v.rank--;
    v.shape[v.rank] = v.stride[v.rank] = 0;
    return v;
}

tr_tensor tr_reshape(tr_tensor t, tr_dims d)
{
    tr_tensor v = tr_view(t.data, t.dtype, d);
    const int64_t n = tr_count(t);
    TR_ASSERT(tr_count(v) == n);
    if (n == 0 || tr_is_contiguous(t)) return v;
    /* From the inside out: gather old dims that run on into each other, and let new dims share them out. */
    int to = d.rank - 1;
    int64_t step = t.rank ? t.stride[t.rank - 1] : 1, run = 1;
    for (int from = t.rank - 1; from >= 0; from--) {
        if (run == 1) step = t.stride[from];
        run *= t.shape[from];
        bool runs_on = from > 0 && (t.shape[from - 1] == 1 || run == 1 || t.stride[from - 1] == run * step);
        if (runs_on) continue;
        int64_t got = 1;
        while (to >= 0 && (got < run || d.n[to] == 1)) {
            v.stride[to] = got * step;
            got *= d.n[to--];
        }
        TR_ASSERT(got == run);                  /* else the new shape needs a copy */
        run = 1;
    }
    TR_ASSERT(to < 0);
    return v;
}

tr_tensor tr_permute(tr_tensor t, const int *order)
{
    tr_tensor v = t;
    unsigned seen = 0;
    for (int i = 0; i < t.rank; i++) {
        TR_ASSERT(order[i] >= 0 && order[i] < t.rank && !(seen & 1u << order[i]));
        seen |= 1u << order[i];
        v.shape[i] = t.shape[order[i]];
        v.stride[i] = t.stride[order[i]];
    }
    return v;
}
