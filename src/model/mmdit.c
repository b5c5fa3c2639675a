#include "model/mmdit_int.h"
#include "model/reference.h"

#include <stdio.h>

tress_status tr_mmdit_open(tr_mmdit **out, tr_device *d, tr_weights *w, const tr_mmdit_config *c)
{
    tress_status st = TRESS_OK;
    tr_mmdit *m = NULL;
    void *p = NULL;
    const int64_t width = (int64_t)c->n_head * c->d_head;
    TR_TRY(tr_alloc(&p, sizeof *m));
    m = p;
    m->device = d;
    m->weights = w;
    m->config = *c;
    TR_TRY(tr_layer_list_init(&m->layers, c->n_block * TR_BLOCK_LAYER_MAX + TR_PATCH_LAYER_MAX + TR_TIME_TEXT_LAYER_MAX + 3));
    TR_TRY(tr_patch_embed_open(&m->patch, &m->layers, w, c->channels_in, c->patch, c->pos_max, width, "pos_embed"));
    TR_TRY(tr_time_text_open(&m->time_text, &m->layers, w, c->d_pooled, width));
    TR_TRY(tr_layer_list_add(&m->layers, &m->context_embedder, w, TR_DIMS(width, c->d_context), true, "context_embedder"));
    TR_TRY(tr_alloc_array(&p, c->n_block, sizeof *m->block));
    m->block = p;
    for (int i = 0; i < c->n_block; i++) {
        const tr_block_spec spec = { .n_head = c->n_head, .d_head = c->d_head, .text = true, .text_ends = i == c->n_block - 1,
                                     .second = c->dual[i], .qk_norm = c->qk_norm };
        char prefix[64];
        snprintf(prefix, sizeof prefix, "transformer_blocks.%d", i);
        TR_TRY(tr_block_open(&m->block[i], &m->layers, w, &spec, prefix));
    }
    TR_TRY(tr_layer_list_add(&m->layers, &m->norm_out, w, TR_DIMS(2 * width, width), true, "norm_out.linear"));
    const int64_t d_out = (int64_t)c->patch * c->patch * c->channels_out;
    TR_TRY(tr_layer_list_add(&m->layers, &m->proj_out, w, TR_DIMS(d_out, width), true, "proj_out"));
    *out = m;
    m = NULL;
done:
    tr_mmdit_close(m);
    return st;
}

void tr_mmdit_close(tr_mmdit *m)
{
    if (!m) return;
    tr_layer_list_fini(&m->layers);
    tr_free(m->block);
    tr_free(m->pass);
    tr_free(m);
}

const tr_mmdit_config *tr_mmdit_get_config(const tr_mmdit *m) { return &m->config; }
tr_device       *tr_mmdit_device(const tr_mmdit *m) { return m->device; }
int              tr_mmdit_layer_count(const tr_mmdit *m) { return m->layers.n; }
tr_linear_layer *tr_mmdit_layer(tr_mmdit *m, int i)
{
    TR_ASSERT(i >= 0 && i < m->layers.n);
    return &m->layers.at[i];
}

tress_status tr_mmdit_embed(tr_mmdit *m, tr_stream *s, tr_tensor tokens, tr_tensor x)
{
    tress_status st = TRESS_OK;
    int64_t h, w;
    TR_TRY(tr_patch_grid(&h, &w, &m->patch, x, "the latent"));
    TR_TRY(tr_expect(s, tokens, TR_DIMS(x.shape[0], h * w, (int64_t)m->config.n_head * m->config.d_head), "tokens"));
    TR_TRY(tr_patch_embed_forward(s, &m->patch, tokens, x, false, "the latent"));
done:
    return st;
}

/* ---- forward --------------------------------------------------------------------------------------------- */
tress_status tr_mmdit_check(tr_mmdit_sizes *z, const tr_mmdit *m, tr_stream *s, const tr_mmdit_args *a)
{
    tress_status st = TRESS_OK;
    const tr_mmdit_config *c = &m->config;
    int64_t h, w;
    TR_TRY(tr_patch_grid(&h, &w, &m->patch, a->x, "the latent"));
    *z = (tr_mmdit_sizes){ .b = a->x.shape[0], .t = h * w, .n = a->context.rank == 3 ? a->context.shape[1] : 1,
                  .d = (int64_t)c->n_head * c->d_head };
    if (z->n < 1) TR_TRY(tr_fail(TRESS_E_SHAPE, "the text has no rows"));
    if (a->place) {
        TR_ASSERT(a->n_row > 0 && a->n_row <= z->t && !tr_is_none(a->tokens));
        z->t = a->n_row;
    }
    TR_TRY(tr_expect(s, a->x, TR_DIMS(z->b, c->channels_in, h * c->patch, w * c->patch), "the latent"));
    TR_TRY(tr_expect(s, a->out, TR_DIMS(z->b, c->channels_out, h * c->patch, w * c->patch), "the output"));
    TR_TRY(tr_expect(s, a->context, TR_DIMS(z->b, z->n, c->d_context), "the text"));
    TR_TRY(tr_expect(s, a->pooled, TR_DIMS(z->b, c->d_pooled), "the pooled text"));
    TR_TRY(tr_expect_timestep(s, a->timestep, z->b));
    if (!tr_is_none(a->mods)) TR_ASSERT(a->mods.rank == 2 && a->mods.shape[0] == z->b && a->mods.shape[1] == tr_mmdit_mod_width(m));
    if (!tr_is_none(a->tokens)) TR_TRY(tr_expect(s, a->tokens, TR_DIMS(z->b, z->t, z->d), "tokens"));
    for (int i = 0; a->residual && i < a->n_residual; i++) {
        char what[48];
        snprintf(what, sizeof what, "ControlNet residual %d", i);
        TR_TRY(tr_expect(s, a->residual[i], TR_DIMS(z->b, z->t, z->d), what));
    }
    for (int i = 0; i < a->n_skip; i++)
        if (a->skip[i] < 0 || a->skip[i] >= c->n_block)
            TR_TRY(tr_fail(TRESS_E_ARG, "block %d to skip: the transformer has blocks 0 to %d", a->skip[i], c->n_block - 1));
done:
    return st;
}

tress_status tr_mmdit_residual(int *out, const tr_mmdit *m, const tr_mmdit_args *a, int i, bool skipped)
{
    const int n_block = m->config.n_block, n = a->n_residual;
    *out = -1;
    if (!a->residual || n == 0) return TRESS_OK;
    if (!a->residual_last) {
        if (i < n_block - 1) *out = (int)(i / ((double)n_block / n));
        return TRESS_OK;
    }
    if (skipped) return TRESS_OK;
    if (n > n_block || i / (n_block / n) >= n)
        return tr_fail(TRESS_E_ARG, "%d ControlNet residuals cannot be spread over %d blocks by the vendor's rule: "
                                    "use control-last-block diffusers", n, n_block);
    *out = i / (n_block / n);
    return TRESS_OK;
}

static bool is_skipped(const tr_mmdit_args *a, int i)
{
    for (int j = 0; j < a->n_skip; j++)
        if (a->skip[j] == i) return true;
    return false;
}

/* The references that block i sees. */
static void look(tr_block_io *io, tr_attention_segment segment[TR_SEE_MAX], const tr_mmdit_args *a, int i)
{
    io->more = segment;
    io->n_more = 0;
    for (int j = 0; j < a->n_see; j++) {
        tr_attention_segment g = { .query_logw = a->see[j].logw };
        if (!tr_reference_of(&g.k, &g.v, a->see[j].reference, i)) continue;
        if (g.query_logw.rank == 2) g.query_logw = tr_index(g.query_logw, 0, i);
        segment[io->n_more++] = g;
    }
}

/* at: where the block's rows begin in a->mods; it moves on. */
static tress_status run_block(tr_mmdit *m, tr_stream *s, const tr_mmdit_args *a, int i, tr_block_io *io, tr_tensor silu_temb, int64_t *at)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const bool skipped = is_skipped(a, i);
    const int64_t width = tr_block_mod_width(&m->block[i]);
    tr_attention_segment more[TR_SEE_MAX];
    int r;
    TR_TRY(tr_stream_poll(s));
    TR_TRY(tr_mmdit_residual(&r, m, a, i, skipped));
    const bool with_block = r >= 0 && !skipped && !io->probe.fn;             /* a probe wants to see the image without it */
    io->control = with_block ? a->residual[r] : tr_none();
    io->control_scale = a->residual_scale;
    if (!skipped) {
        io->i_block = i;
        look(io, more, a, i);
        if (tr_is_none(a->mods)) TR_TRY(tr_block_modulate(&io->mod, s, m->weights, m->block, i, silu_temb));
        else io->mod = tr_block_mod_of(&m->block[i], tr_slice(a->mods, 1, *at, width));
        TR_TRY(tr_weights_need(m->weights, s, TR_GROUP_BLOCK(i), 1));
        TR_TRY(tr_block_forward(s, &m->block[i], io));
    }
    *at += width;
    if (r >= 0 && !with_block) {
        const tr_tensor x = tr_rows(io->image);
        TR_TRY(tr_axpby(s, x, 1, x, a->residual_scale, tr_rows(a->residual[r])));
        tr_probe_show(io->probe, "controlled", i, io->image);
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_mmdit_head_modulate(tr_tensor *mod, tr_mmdit *m, tr_stream *s, tr_tensor silu_temb)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_scratch(s, mod, tr_stream_dtype(s), TR_DIMS(silu_temb.shape[0], 2 * silu_temb.shape[1])));
    TR_TRY(tr_linear_apply(s, *mod, silu_temb, m->norm_out, NULL));
done:
    return st;
}

tress_status tr_mmdit_gather(tr_stream *s, tr_tensor rows, tr_tensor tokens, const int32_t *row)
{
    tress_status st = TRESS_OK;
    const tr_tensor id = tr_view((void *)(uintptr_t)row, TR_I32, TR_DIMS(rows.shape[1]));
    for (int64_t i = 0; i < rows.shape[0]; i++) TR_TRY(tr_embed(s, tr_index(rows, 0, i), tr_index(tokens, 0, i), id));
done:
    return st;
}

/* Rows [b, n, c] -> scratch [b, t, c], each where place says, zeros for n. */
static tress_status scatter(tr_tensor *rows, tr_stream *s, const int32_t *place, int64_t t)
{
    tress_status st = TRESS_OK;
    const int64_t b = rows->shape[0], n = rows->shape[1], c = rows->shape[2];
    tr_tensor and_none, all;
    TR_TRY(tr_scratch(s, &and_none, rows->dtype, TR_DIMS(b, n + 1, c)));
    TR_TRY(tr_scratch(s, &all, rows->dtype, TR_DIMS(b, t, c)));
    TR_TRY(tr_copy(s, tr_slice(and_none, 1, 0, n), *rows));
    TR_TRY(tr_set(s, tr_slice(and_none, 1, n, 1), 0));
    TR_TRY(tr_mmdit_gather(s, all, and_none, place));
    *rows = all;
done:
    return st;
}

tress_status tr_mmdit_head(tr_mmdit *m, tr_stream *s, tr_tensor out, tr_tensor image, const int32_t *place, tr_tensor mod, tr_probe probe)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int64_t b = image.shape[0], t = image.shape[1], d = image.shape[2], d_out = m->proj_out->w.shape[0];
    const tr_dtype type = tr_stream_dtype(s);
    tr_tensor h, patches;
    TR_TRY(tr_scratch(s, &h, type, TR_DIMS(b, t, d)));
    TR_TRY(tr_scratch(s, &patches, type, TR_DIMS(b, t, d_out)));
    TR_TRY(tr_adaln(s, tr_rows(h), tr_rows(image), tr_block_chunk(mod, TR_ENDS_SCALE, d), tr_block_chunk(mod, TR_ENDS_SHIFT, d), TR_LN_EPS));
    tr_probe_show(probe, "norm_out", -1, h);
    TR_TRY(tr_linear_apply(s, tr_rows(patches), tr_rows(h), m->proj_out, NULL));
    if (place) TR_TRY(scatter(&patches, s, place, out.shape[2] * out.shape[3] / m->config.patch / m->config.patch));
    TR_TRY(tr_unpatchify(s, out, patches, m->config.patch));
    tr_probe_show(probe, "sample", -1, out);
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_mmdit_begin(tr_mmdit *m, tr_stream *s, const tr_mmdit_args *a, tr_block_io *io, tr_tensor silu_temb)
{
    tress_status st = TRESS_OK;
    if (a->context_logw != 0) {
        TR_TRY(tr_scratch(s, &io->text_logw, TR_F32, TR_DIMS(a->context.shape[1])));
        TR_TRY(tr_set(s, io->text_logw, a->context_logw));
    }
    if (tr_is_none(a->tokens)) TR_TRY(tr_patch_embed_forward(s, &m->patch, io->image, a->x, false, "the latent"));
    else TR_TRY(tr_copy(s, io->image, a->tokens));
    tr_probe_show(io->probe, "tokens", -1, io->image);
    TR_TRY(tr_linear_apply(s, tr_rows(io->text), tr_rows(a->context), m->context_embedder, NULL));
    tr_probe_show(io->probe, "context", -1, io->text);
    if (!tr_is_none(a->mods)) goto done;
    TR_TRY(tr_time_text_forward(s, &m->time_text, silu_temb, a->timestep, a->pooled));
    tr_probe_show(io->probe, "temb", -1, silu_temb);
    TR_TRY(tr_activate(s, silu_temb, silu_temb, TR_ACT_SILU));
done:
    return st;
}

tress_status tr_mmdit_forward(tr_mmdit *m, tr_stream *s, const tr_mmdit_args *a)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_block_io io = { .probe = { a->probe, a->probe_self } };
    tr_tensor temb, mod;
    int64_t at = 0;
    tr_mmdit_sizes z;
    TR_TRY(tr_mmdit_check(&z, m, s, a));
    TR_TRY(tr_scratch(s, &io.image, tr_stream_dtype(s), TR_DIMS(z.b, z.t, z.d)));
    TR_TRY(tr_scratch(s, &io.text, tr_stream_dtype(s), TR_DIMS(z.b, z.n, z.d)));
    TR_TRY(tr_scratch(s, &temb, tr_stream_dtype(s), TR_DIMS(z.b, z.d)));
    TR_TRY(tr_mmdit_begin(m, s, a, &io, temb));
    for (int i = 0; i < m->config.n_block; i++) TR_TRY(run_block(m, s, a, i, &io, temb, &at));
    if (tr_is_none(a->mods)) TR_TRY(tr_mmdit_head_modulate(&mod, m, s, temb));
    else mod = tr_slice(a->mods, 1, at, 2 * z.d);
    TR_TRY(tr_mmdit_head(m, s, a->out, io.image, a->place, mod, io.probe));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* ---- modulation of many steps ---------------------------------------------------------------------------- */
int64_t tr_mmdit_mod_width(const tr_mmdit *m)
{
    return tr_blocks_mod_width(m->block, m->config.n_block) + 2 * (int64_t)m->config.n_head * m->config.d_head;
}

tress_status tr_mmdit_modulate(tr_mmdit *m, tr_stream *s, tr_tensor mods, tr_tensor timestep, tr_tensor pooled)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int64_t n = mods.shape[0], d = (int64_t)m->config.n_head * m->config.d_head;
    const int64_t blocks = tr_blocks_mod_width(m->block, m->config.n_block);
    tr_tensor temb;
    TR_ASSERT(mods.rank == 2 && mods.shape[1] == tr_mmdit_mod_width(m));
    TR_TRY(tr_expect(s, pooled, TR_DIMS(n, m->config.d_pooled), "the pooled text"));
    TR_TRY(tr_expect_timestep(s, timestep, n));
    TR_TRY(tr_scratch(s, &temb, tr_stream_dtype(s), TR_DIMS(n, d)));
    TR_TRY(tr_time_text_forward(s, &m->time_text, temb, timestep, pooled));
    TR_TRY(tr_activate(s, temb, temb, TR_ACT_SILU));
    TR_TRY(tr_blocks_modulate_rows(s, m->weights, m->block, m->config.n_block, tr_slice(mods, 1, 0, blocks), temb));
    TR_TRY(tr_linear_apply(s, tr_slice(mods, 1, blocks, 2 * d), temb, m->norm_out, NULL));
done:
    tr_scratch_pop(s, mark);
    return st;
}
