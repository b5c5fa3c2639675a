#include "model/reference.h"

#include "model/mmdit_int.h"

struct tr_reference {
    tr_device *device;
    int        begin, end;
    tr_tensor  k[TR_BLOCK_MAX], v[TR_BLOCK_MAX];
};

tress_status tr_reference_new(tr_reference **out, const tr_mmdit *m, int64_t b, int64_t n, int begin, int end)
{
    tress_status st = TRESS_OK;
    tr_reference *r = NULL;
    void *p = NULL;
    TR_ASSERT(begin >= 0 && begin < end && end <= m->config.n_block && b >= 1 && n >= 1);
    TR_TRY(tr_alloc(&p, sizeof *r));
    r = p;
    *r = (tr_reference){ .device = m->device, .begin = begin, .end = end };
    for (int i = begin; i < end; i++) {
        const tr_dims d = TR_DIMS(b, n, m->config.n_head, m->config.d_head);
        TR_TRY(tr_device_take(m->device, &r->k[i], tr_device_dtype(m->device), d));
        TR_TRY(tr_device_take(m->device, &r->v[i], tr_device_dtype(m->device), d));
    }
    *out = r;
    r = NULL;
done:
    tr_reference_free(r);
    return st;
}

void tr_reference_free(tr_reference *r)
{
    if (!r) return;
    for (int i = r->begin; i < r->end; i++) {
        if (!tr_is_none(r->k[i])) tr_device_give(r->device, r->k[i]);
        if (!tr_is_none(r->v[i])) tr_device_give(r->device, r->v[i]);
    }
    tr_free(r);
}

bool tr_reference_of(tr_tensor *k, tr_tensor *v, const tr_reference *r, int block)
{
    if (block < r->begin || block >= r->end) return false;
    *k = r->k[block];
    *v = r->v[block];
    return true;
}

static tress_status run_block(const tr_reference *r, tr_mmdit *m, tr_stream *s, tr_block_io *io, int i, tr_tensor silu_temb)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_TRY(tr_stream_poll(s));
    io->i_block = i;
    io->keep_k = r->k[i];                       /* none below the window */
    io->keep_v = r->v[i];
    TR_TRY(tr_block_modulate(&io->mod, s, m->weights, m->block, i, silu_temb));
    TR_TRY(tr_weights_need(m->weights, s, TR_GROUP_BLOCK(i), 1));
    if (i + 1 < r->end) TR_TRY(tr_block_forward(s, &m->block[i], io));
    else TR_TRY(tr_block_keys(s, &m->block[i], io));
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_reference_make(tr_reference *r, tr_mmdit *m, tr_stream *s, const tr_reference_args *a)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const tr_tensor k = r->k[r->begin];
    const int64_t b = k.shape[0], n = k.shape[1], d = (int64_t)m->config.n_head * m->config.d_head, n_text = a->context.rank == 3 ? a->context.shape[1] : 1;
    const tr_mmdit_args begin = { .tokens = a->rows, .context = a->context, .context_logw = a->context_logw, .pooled = a->pooled, .timestep = a->timestep };
    tr_block_io io = { 0 };
    tr_tensor temb;
    tr_layer_list_turn(&m->layers);
    TR_TRY(tr_expect(s, a->rows, TR_DIMS(b, n, d), "the reference's rows"));
    TR_TRY(tr_expect(s, a->context, TR_DIMS(b, n_text, m->config.d_context), "the reference's text"));
    TR_TRY(tr_expect(s, a->pooled, TR_DIMS(b, m->config.d_pooled), "the reference's pooled text"));
    TR_TRY(tr_expect_timestep(s, a->timestep, b));
    TR_TRY(tr_scratch(s, &io.image, tr_stream_dtype(s), TR_DIMS(b, n, d)));
    TR_TRY(tr_scratch(s, &io.text, tr_stream_dtype(s), TR_DIMS(b, n_text, d)));
    TR_TRY(tr_scratch(s, &temb, tr_stream_dtype(s), TR_DIMS(b, d)));
    TR_TRY(tr_mmdit_begin(m, s, &begin, &io, temb));
    for (int i = 0; i < r->end; i++) TR_TRY(run_block(r, m, s, &io, i, temb));
done:
    tr_layer_list_turn(&m->layers);
    tr_scratch_pop(s, mark);
    return st;
}
