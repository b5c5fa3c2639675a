#include "model/block_int.h"
#include "model/controlnet.h"
#include "model/embed_int.h"

#include <stdio.h>

struct tr_controlnet {
    tr_weights      *weights;                   /* borrowed: blocks that travel are called for */
    tr_controlnet_config config;
    tr_layer_list    layers;
    tr_patch_embed   patch;                     /* of the noised latent; proj NULL for the 8B kind */
    tr_patch_embed   input;                     /* of the condition, without positions */
    tr_time_text     time_text;
    tr_linear_layer *context_embedder;          /* [d, d_context], or NULL */
    tr_block        *block;                     /* [n_block] */
    tr_linear_layer **output;                   /* [n_block] of [d, d] */
};

tress_status tr_controlnet_open(tr_controlnet **out, tr_device *d, tr_weights *w, const tr_controlnet_config *c)
{
    tress_status st = TRESS_OK;
    tr_controlnet *m = NULL;
    void *p = NULL;
    const int64_t width = (int64_t)c->n_head * c->d_head;
    TR_ASSERT(d);
    TR_TRY(tr_alloc(&p, sizeof *m));
    m = p;
    m->weights = w;
    m->config = *c;
    TR_TRY(tr_layer_list_init(&m->layers, c->n_block * (TR_BLOCK_LAYER_MAX + 1) + 2 * TR_PATCH_LAYER_MAX +
                                              TR_TIME_TEXT_LAYER_MAX + 1));
    if (c->pos_max > 0)
        TR_TRY(tr_patch_embed_open(&m->patch, &m->layers, w, c->channels_in, c->patch, c->pos_max, width, "pos_embed"));
    TR_TRY(tr_patch_embed_open(&m->input, &m->layers, w, c->channels_in + c->channels_extra, c->patch, 0, width, "pos_embed_input"));
    TR_TRY(tr_time_text_open(&m->time_text, &m->layers, w, c->d_pooled, width));
    if (c->d_context > 0)
        TR_TRY(tr_layer_list_add(&m->layers, &m->context_embedder, w, TR_DIMS(width, c->d_context), true, "context_embedder"));
    TR_TRY(tr_alloc_array(&p, c->n_block, sizeof *m->block));
    m->block = p;
    TR_TRY(tr_alloc_array(&p, c->n_block, sizeof *m->output));
    m->output = p;
    for (int i = 0; i < c->n_block; i++) {
        const tr_block_spec spec = { .n_head = c->n_head, .d_head = c->d_head, .text = c->d_context > 0,
                                     .second = c->dual[i], .qk_norm = c->qk_norm };
        char prefix[64];
        snprintf(prefix, sizeof prefix, "transformer_blocks.%d", i);
        TR_TRY(tr_block_open(&m->block[i], &m->layers, w, &spec, prefix));
        TR_TRY(tr_layer_list_add(&m->layers, &m->output[i], w, TR_DIMS(width, width), true, "controlnet_blocks.%d", i));
    }
    *out = m;
    m = NULL;
done:
    tr_controlnet_close(m);
    return st;
}

void tr_controlnet_close(tr_controlnet *m)
{
    if (!m) return;
    tr_layer_list_fini(&m->layers);
    tr_free(m->output);
    tr_free(m->block);
    tr_free(m);
}

const tr_controlnet_config *tr_controlnet_get_config(const tr_controlnet *m) { return &m->config; }

tress_status tr_controlnet_fits(const tr_controlnet *m, const tr_mmdit *t)
{
    const tr_controlnet_config *c = &m->config;
    const tr_mmdit_config *x = tr_mmdit_get_config(t);
    const struct { const char *what; int net, transformer; } pair[] = {
        { "width", c->n_head * c->d_head, x->n_head * x->d_head },
        { "pooled text width", c->d_pooled, x->d_pooled },
        { "patch size", c->patch, x->patch },
        { "latent channels", c->channels_in, x->channels_in },
        { "text width", c->d_context > 0 ? c->d_context : x->d_context, x->d_context },
    };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        if (pair[i].net != pair[i].transformer)
            return tr_fail(TRESS_E_CONTRACT, "the ControlNet has %s %d, the transformer %d: they do not belong together",
                           pair[i].what, pair[i].net, pair[i].transformer);
    if (c->n_block > x->n_block)
        return tr_fail(TRESS_E_CONTRACT, "the ControlNet has %d blocks, the transformer %d: they do not belong together",
                       c->n_block, x->n_block);
    return TRESS_OK;
}

/* ---- forward --------------------------------------------------------------------------------------------- */
typedef struct sizes { int64_t b, t, n, d, rows; } sizes;          /* rows: tokens that go through the blocks */

static tress_status check_args(sizes *z, const tr_controlnet *m, tr_stream *s, const tr_controlnet_args *a)
{
    tress_status st = TRESS_OK;
    const tr_controlnet_config *c = &m->config;
    int64_t h, w;
    TR_TRY(tr_patch_grid(&h, &w, &m->input, a->condition, "the condition"));
    *z = (sizes){ .b = a->condition.shape[0], .t = h * w, .n = a->context.rank == 3 ? a->context.shape[1] : 1,
                  .d = (int64_t)c->n_head * c->d_head, .rows = a->row ? a->n_row : h * w };
    TR_TRY(tr_expect(s, a->condition, TR_DIMS(z->b, c->channels_in + c->channels_extra, h * c->patch, w * c->patch), "the condition"));
    if (m->patch.proj) {
        TR_TRY(tr_expect(s, a->x, TR_DIMS(z->b, c->channels_in, h * c->patch, w * c->patch), "the latent"));
        TR_TRY(tr_patch_grid(&h, &w, &m->patch, a->x, "the latent"));
    } else {
        TR_TRY(tr_expect(s, a->tokens, TR_DIMS(z->b, z->t, z->d), "tokens"));
    }
    if (z->n < 1) TR_TRY(tr_fail(TRESS_E_SHAPE, "the text has no rows"));
    if (m->context_embedder) TR_TRY(tr_expect(s, a->context, TR_DIMS(z->b, z->n, c->d_context), "the text"));
    TR_TRY(tr_expect(s, a->pooled, TR_DIMS(z->b, c->d_pooled), "the pooled text"));
    TR_TRY(tr_expect_timestep(s, a->timestep, z->b));
    if (!tr_is_none(a->mods)) TR_ASSERT(a->mods.rank == 2 && a->mods.shape[0] == z->b && a->mods.shape[1] == tr_controlnet_mod_width(m));
    for (int i = 0; i < c->n_block; i++) {
        char what[48];
        snprintf(what, sizeof what, "ControlNet residual %d", i);
        TR_TRY(tr_expect(s, a->residual[i], TR_DIMS(z->b, z->rows, z->d), what));
    }
done:
    return st;
}

static tress_status run_block(tr_controlnet *m, tr_stream *s, tr_block_io *io, int i, tr_tensor mods, tr_tensor silu_temb, tr_tensor residual)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_TRY(tr_stream_poll(s));
    io->i_block = i;
    if (tr_is_none(mods)) TR_TRY(tr_block_modulate(&io->mod, s, m->weights, m->block, i, silu_temb));
    else io->mod = tr_block_mod_of(&m->block[i], mods);
    TR_TRY(tr_weights_need(m->weights, s, TR_GROUP_BLOCK(i), 1));
    TR_TRY(tr_block_forward(s, &m->block[i], io));
    TR_TRY(tr_linear_apply(s, tr_rows(residual), tr_rows(io->image), m->output[i], NULL));
    tr_probe_show(io->probe, "residual", i, residual);
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_controlnet_forward(tr_controlnet *m, tr_stream *s, const tr_controlnet_args *a)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_block_io io = { .probe = { a->probe, a->probe_self } };
    tr_tensor temb;
    int64_t at = 0;
    sizes z;
    TR_TRY(check_args(&z, m, s, a));
    TR_TRY(tr_scratch(s, &io.image, tr_stream_dtype(s), TR_DIMS(z.b, z.t, z.d)));
    TR_TRY(tr_scratch(s, &temb, tr_stream_dtype(s), TR_DIMS(z.b, z.d)));
    if (m->patch.proj) TR_TRY(tr_patch_embed_forward(s, &m->patch, io.image, a->x, false, "the latent"));
    else TR_TRY(tr_copy(s, io.image, a->tokens));
    TR_TRY(tr_patch_embed_forward(s, &m->input, io.image, a->condition, true, "the condition"));
    if (a->row) {
        tr_tensor rows;
        TR_TRY(tr_scratch(s, &rows, tr_stream_dtype(s), TR_DIMS(z.b, z.rows, z.d)));
        TR_TRY(tr_mmdit_gather(s, rows, io.image, a->row));
        io.image = rows;
    }
    tr_probe_show(io.probe, "tokens", -1, io.image);
    if (m->context_embedder) {
        TR_TRY(tr_scratch(s, &io.text, tr_stream_dtype(s), TR_DIMS(z.b, z.n, z.d)));
        TR_TRY(tr_linear_apply(s, tr_rows(io.text), tr_rows(a->context), m->context_embedder, NULL));
        tr_probe_show(io.probe, "context", -1, io.text);
    }
    if (tr_is_none(a->mods)) {
        TR_TRY(tr_time_text_forward(s, &m->time_text, temb, a->timestep, a->pooled));
        tr_probe_show(io.probe, "temb", -1, temb);
        TR_TRY(tr_activate(s, temb, temb, TR_ACT_SILU));
    }
    for (int i = 0; i < m->config.n_block; i++) {
        const int64_t width = tr_block_mod_width(&m->block[i]);
        TR_TRY(run_block(m, s, &io, i, tr_is_none(a->mods) ? a->mods : tr_slice(a->mods, 1, at, width), temb, a->residual[i]));
        at += width;
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}

int64_t tr_controlnet_mod_width(const tr_controlnet *m)
{
    return tr_blocks_mod_width(m->block, m->config.n_block);
}

tress_status tr_controlnet_modulate(tr_controlnet *m, tr_stream *s, tr_tensor mods, tr_tensor timestep, tr_tensor pooled)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int64_t n = mods.shape[0];
    tr_tensor temb;
    TR_ASSERT(mods.rank == 2 && mods.shape[1] == tr_controlnet_mod_width(m));
    TR_TRY(tr_expect(s, pooled, TR_DIMS(n, m->config.d_pooled), "the pooled text"));
    TR_TRY(tr_expect_timestep(s, timestep, n));
    TR_TRY(tr_scratch(s, &temb, tr_stream_dtype(s), TR_DIMS(n, (int64_t)m->config.n_head * m->config.d_head)));
    TR_TRY(tr_time_text_forward(s, &m->time_text, temb, timestep, pooled));
    TR_TRY(tr_activate(s, temb, temb, TR_ACT_SILU));
    TR_TRY(tr_blocks_modulate_rows(s, m->weights, m->block, m->config.n_block, mods, temb));
done:
    tr_scratch_pop(s, mark);
    return st;
}
