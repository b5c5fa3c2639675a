#include "model/embed_int.h"

#include <math.h>

tress_status tr_expect(tr_stream *s, tr_tensor t, tr_dims d, const char *what)
{
    char found[TR_DIMS_TEXT], expected[TR_DIMS_TEXT];
    if (tr_is_none(t)) return tr_fail(TRESS_E_ARG, "%s is missing, expected %s", what, tr_dims_text(expected, d.rank, d.n));
    if (!tr_has_dims(t, d))
        return tr_fail(TRESS_E_SHAPE, "%s is %s, expected %s", what, tr_dims_text(found, t.rank, t.shape),
                       tr_dims_text(expected, d.rank, d.n));
    TR_ASSERT((t.dtype == tr_stream_dtype(s) || t.dtype == TR_F32) && tr_is_contiguous(t));
    return TRESS_OK;
}

tress_status tr_expect_timestep(tr_stream *s, tr_tensor t, int64_t b)
{
    char found[TR_DIMS_TEXT];
    if (!tr_has_dims(t, TR_DIMS(b)))
        return tr_fail(TRESS_E_SHAPE, "timestep is %s, expected [%" PRId64 "], one for each sample",
                       tr_dims_text(found, t.rank, t.shape), b);
    TR_ASSERT(t.dtype == TR_F32);
    if (tr_device_is_dry(tr_stream_device(s))) return TRESS_OK;
    for (int64_t i = 0; i < b; i++) {
        const float v = ((const float *)t.data)[i * t.stride[0]];
        if (!isfinite(v)) return tr_fail(TRESS_E_ARG, "timestep %" PRId64 " is %g, expected 0 to 1000", i, (double)v);
    }
    return TRESS_OK;
}

/* ---- patches --------------------------------------------------------------------------------------------- */
tress_status tr_patch_embed_open(tr_patch_embed *out, tr_layer_list *l, tr_weights *w, int channels, int patch, int pos_max,
                                 int64_t d, const char *name)
{
    tress_status st = TRESS_OK;
    tr_patch_embed e = { .patch = patch, .channels = channels };
    TR_TRY(tr_layer_list_add(l, &e.proj, w, TR_DIMS(d, channels, patch, patch), true, "%s.proj", name));
    if (pos_max > 0) {
        TR_TRY(tr_weights_get(w, &e.pos, TR_DIMS(1, (int64_t)pos_max * pos_max, d), "%s.pos_embed", name));
        e.pos = tr_reshape(e.pos, TR_DIMS(pos_max, pos_max, d));
    }
    *out = e;
done:
    return st;
}

tress_status tr_patch_grid(int64_t *grid_h, int64_t *grid_w, const tr_patch_embed *e, tr_tensor x, const char *what)
{
    char text[TR_DIMS_TEXT];
    tr_dims_text(text, x.rank, x.shape);
    if (x.rank != 4 || x.shape[0] < 1 || x.shape[1] != e->channels || x.shape[2] < e->patch || x.shape[3] < e->patch)
        return tr_fail(TRESS_E_SHAPE, "%s is %s, expected [batch, %d, height, width]", what, text, e->channels);
    if (x.shape[2] % e->patch || x.shape[3] % e->patch)
        return tr_fail(TRESS_E_SHAPE, "%s is %s: height and width must be multiples of %d", what, text, e->patch);
    const int64_t h = x.shape[2] / e->patch, w = x.shape[3] / e->patch;
    if (!tr_is_none(e->pos) && (h > e->pos.shape[0] || w > e->pos.shape[1]))
        return tr_fail(TRESS_E_SHAPE, "%s is %s, %" PRId64 " x %" PRId64 " tokens: the model has positions for %" PRId64 " x %" PRId64,
                       what, text, h, w, e->pos.shape[0], e->pos.shape[1]);
    *grid_h = h;
    *grid_w = w;
    return TRESS_OK;
}

tress_status tr_patch_embed_forward(tr_stream *s, const tr_patch_embed *e, tr_tensor tokens, tr_tensor x, bool add, const char *what)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    int64_t h, w;
    TR_TRY(tr_patch_grid(&h, &w, e, x, what));
    const int64_t b = x.shape[0], d = e->proj->w.shape[0], p = e->patch;
    TR_ASSERT(tr_has_dims(tokens, TR_DIMS(b, h * w, d)));

    const bool positions = !add && !tr_is_none(e->pos);
    if (positions) {
        const tr_tensor crop = tr_slice(tr_slice(e->pos, 0, (e->pos.shape[0] - h) / 2, h), 1, (e->pos.shape[1] - w) / 2, w);
        for (int64_t i = 0; i < b; i++)
            TR_TRY(tr_copy(s, tr_reshape(tr_index(tokens, 0, i), TR_DIMS(h, w, d)), crop));
    }
    tr_tensor patches;                                                      /* [b, t, c p p] */
    TR_TRY(tr_scratch(s, &patches, tr_stream_dtype(s), TR_DIMS(b, h * w, x.shape[1] * p * p)));
    TR_TRY(tr_patchify(s, patches, x, e->patch));
    const tr_tensor y = tr_reshape(tokens, TR_DIMS(b * h * w, d));
    TR_TRY(tr_linear_apply(s, y, tr_reshape(patches, TR_DIMS(b * h * w, x.shape[1] * p * p)), e->proj,
                           &(tr_epilogue){ .residual = positions || add ? y : tr_none() }));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* ---- time and pooled text -------------------------------------------------------------------------------- */
tress_status tr_time_text_open(tr_time_text *out, tr_layer_list *l, tr_weights *w, int d_pooled, int64_t d)
{
    tress_status st = TRESS_OK;
    tr_time_text e = { 0 };
    TR_TRY(tr_layer_list_add(l, &e.time_1, w, TR_DIMS(d, TR_TIME_CHANNELS), true, "time_text_embed.timestep_embedder.linear_1"));
    TR_TRY(tr_layer_list_add(l, &e.time_2, w, TR_DIMS(d, d), true, "time_text_embed.timestep_embedder.linear_2"));
    TR_TRY(tr_layer_list_add(l, &e.text_1, w, TR_DIMS(d, d_pooled), true, "time_text_embed.text_embedder.linear_1"));
    TR_TRY(tr_layer_list_add(l, &e.text_2, w, TR_DIMS(d, d), true, "time_text_embed.text_embedder.linear_2"));
    *out = e;
done:
    return st;
}

tress_status tr_time_text_forward(tr_stream *s, const tr_time_text *e, tr_tensor temb, tr_tensor timestep, tr_tensor pooled)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int64_t b = temb.shape[0], d = temb.shape[1];
    const tr_dtype t = tr_stream_dtype(s);
    const tr_epilogue silu = { .act = TR_ACT_SILU };
    tr_tensor wave, hidden;
    TR_TRY(tr_scratch(s, &wave, t, TR_DIMS(b, TR_TIME_CHANNELS)));
    TR_TRY(tr_scratch(s, &hidden, t, TR_DIMS(b, d)));

    TR_TRY(tr_timestep_embed(s, wave, timestep));
    TR_TRY(tr_linear_apply(s, hidden, wave, e->time_1, &silu));
    TR_TRY(tr_linear_apply(s, temb, hidden, e->time_2, NULL));
    TR_TRY(tr_linear_apply(s, hidden, pooled, e->text_1, &silu));
    TR_TRY(tr_linear_apply(s, temb, hidden, e->text_2, &(tr_epilogue){ .residual = temb }));
done:
    tr_scratch_pop(s, mark);
    return st;
}
