#include "model/layer.h"

#include <stdio.h>

static bool drops(const tr_drop *d) { return d && d->p > 0; }

/* *x_low = x as A sees it: itself, or dropped into scratch. */
static tress_status drop_input(tr_tensor *x_low, tr_stream *s, tr_tensor x, const tr_linear_layer *l, const tr_drop *d)
{
    tress_status st = TRESS_OK;
    *x_low = x;
    if (!drops(d)) goto done;
    TR_TRY(tr_scratch(s, x_low, tr_stream_dtype(s), TR_DIMS(x.shape[0], x.shape[1])));
    TR_TRY(tr_dropout(s, *x_low, x, d->p, d->key, d->draw * TR_LAYER_MAX + (uint64_t)l->index));
done:
    return st;
}

/* low [n, r] = low_scale x_low A^T, in scratch. */
static tress_status make_low(tr_tensor *low, tr_stream *s, tr_tensor x_low, const tr_linear_layer *l)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_scratch(s, low, tr_stream_dtype(s), TR_DIMS(x_low.shape[0], l->a.shape[0])));
    TR_TRY(tr_linear(s, *low, x_low, l->a, tr_none(), tr_none(), tr_none(), &(tr_epilogue){ .scale = l->low_scale }));
done:
    return st;
}

tress_status tr_linear_apply_dropped(tr_stream *s, tr_tensor y, tr_tensor x, const tr_linear_layer *l, const tr_epilogue *e, const tr_drop *d)
{
    if (tr_is_none(l->a)) return tr_linear(s, y, x, l->w, l->b, tr_none(), tr_none(), e);

    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_tensor x_low, low;
    TR_TRY(drop_input(&x_low, s, x, l, d));
    TR_TRY(make_low(&low, s, x_low, l));
    TR_TRY(tr_linear(s, y, x, l->w, l->b, low, l->up, e));
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_linear_apply(tr_stream *s, tr_tensor y, tr_tensor x, const tr_linear_layer *l, const tr_epilogue *e)
{
    return tr_linear_apply_dropped(s, y, x, l, e, NULL);
}

tress_status tr_linear_apply_back(tr_stream *s, tr_tensor dx, tr_tensor dy, tr_tensor x, const tr_linear_layer *l, tr_tensor residual,
                                  const tr_drop *d)
{
    const tr_epilogue e = { .residual = residual };
    if (tr_is_none(l->a)) return tr_is_none(dx) ? TRESS_OK : tr_linear_back(s, dx, dy, l->w, tr_none(), tr_none(), &e);

    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int64_t n = dy.shape[0], r = l->a.shape[0];
    tr_tensor d_low;                                                        /* [n, r] low_scale dy B */
    TR_TRY(tr_scratch(s, &d_low, tr_stream_dtype(s), TR_DIMS(n, r)));
    TR_TRY(tr_linear_back(s, d_low, dy, l->up, tr_none(), tr_none(), &(tr_epilogue){ .scale = l->low_scale }));
    if (!tr_is_none(l->da)) {
        tr_tensor x_low, low;
        TR_TRY(drop_input(&x_low, s, x, l, d));
        TR_TRY(make_low(&low, s, x_low, l));
        TR_TRY(tr_linear_grad(s, l->dup, dy, low));
        TR_TRY(tr_linear_grad(s, l->da, d_low, x_low));
    }
    if (tr_is_none(dx)) goto done;
    if (!drops(d)) {
        TR_TRY(tr_linear_back(s, dx, dy, l->w, d_low, l->a, &e));
        goto done;
    }
    tr_tensor through;                                                      /* [n, d_in] what A let through, where it was kept */
    TR_TRY(tr_scratch(s, &through, tr_stream_dtype(s), TR_DIMS(n, l->a.shape[1])));
    TR_TRY(tr_linear_back(s, through, d_low, l->a, tr_none(), tr_none(), NULL));
    TR_TRY(tr_dropout(s, through, through, d->p, d->key, d->draw * TR_LAYER_MAX + (uint64_t)l->index));
    if (!tr_is_none(residual)) TR_TRY(tr_axpby(s, through, 1, through, 1, residual));
    TR_TRY(tr_linear_back(s, dx, dy, l->w, tr_none(), tr_none(), &(tr_epilogue){ .residual = through }));
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_layer_list_init(tr_layer_list *l, int cap)
{
    void *at = NULL;
    TR_ASSERT(cap <= TR_LAYER_MAX);
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
    layer.index = l->n;
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

void tr_layer_list_turn(tr_layer_list *l)
{
    for (int i = 0; i < l->n; i++) {
        tr_linear_layer *x = &l->at[i];
        const struct tr_adapter_set own = { x->a, x->up, x->low_scale, x->da, x->dup }, other = x->reference;
        x->a = other.a, x->up = other.up, x->low_scale = other.low_scale, x->da = other.da, x->dup = other.dup;
        x->reference = own;
    }
}
