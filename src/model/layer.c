#include "model/layer.h"

#include <stdio.h>

tress_status tr_linear_apply(tr_stream *s, tr_tensor y, tr_tensor x, const tr_linear_layer *l, const tr_epilogue *e)
{
    if (tr_is_none(l->a)) return tr_linear(s, y, x, l->w, l->b, tr_none(), tr_none(), e);

    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_tensor low;                                                          /* [n, r] */
    TR_TRY(tr_scratch(s, &low, tr_stream_dtype(s), TR_DIMS(x.shape[0], l->a.shape[0])));
    TR_TRY(tr_linear(s, low, x, l->a, tr_none(), tr_none(), tr_none(), NULL));
    TR_TRY(tr_linear(s, y, x, l->w, l->b, low, l->up, e));
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_layer_list_init(tr_layer_list *l, int cap)
{
    void *at = NULL;
    const tress_status st = tr_alloc_array(&at, cap, sizeof *l->at);
    if (st != TRESS_OK) return st;
    *l = (tr_layer_list){ .at = at, .cap = cap };
    return TRESS_OK;
}

tress_status tr_layer_list_add(tr_layer_list *l, tr_linear_layer **out, tr_weights *w, tr_dims stored, bool bias,
                               const char *format, ...)
{
    tress_status st = TRESS_OK;
    tr_linear_layer layer = { 0 };
    char name[256];
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(name, sizeof name, format, args);
    va_end(args);
    TR_ASSERT(len > 0 && (size_t)len < sizeof name);
    TR_ASSERT(l->n < l->cap && stored.rank >= 2);

    int64_t d_in = 1;
    for (int i = 1; i < stored.rank; i++) d_in *= stored.n[i];
    TR_TRY(tr_weights_get(w, &layer.w, stored, "%s.weight", name));
    layer.w = tr_reshape(layer.w, TR_DIMS(stored.n[0], d_in));
    if (bias) TR_TRY(tr_weights_get(w, &layer.b, TR_DIMS(stored.n[0]), "%s.bias", name));
    TR_TRY(tr_strdup(&layer.name, name));
    l->at[l->n] = layer;
    *out = &l->at[l->n++];
done:
    return st;
}

void tr_layer_list_fini(tr_layer_list *l)
{
    for (int i = 0; i < l->n; i++) tr_free(l->at[i].name);
    tr_free(l->at);
    *l = (tr_layer_list){ 0 };
}
