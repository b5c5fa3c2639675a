#include "model/mmdit_int.h"

/* What lives from forward to backward. Kept with the model: it is large, and a step allocates nothing. */
typedef struct pass {
    tr_mmdit  *m;
    tr_stream *s;
    const tr_mmdit_train_args *a;
    tr_mmdit_args  forward;                     /* a's, with the residuals made here */
    tr_tensor      residual[TR_BLOCK_MAX];
    tr_mmdit_sizes z;
    int            first;                       /* the first block that learns */
    tr_block_io    io;                          /* tokens of the blocks below it, in place */
    tr_tensor      head_mod, final;             /* [b, 2 d]; [b, t, d] what leaves the last block */
    tr_block_trace trace[TR_BLOCK_MAX];
    tr_block_train train[TR_BLOCK_MAX];
} pass;

static tress_status round_to(const pass *p, tr_tensor t)
{
    return p->a->round == TR_F32 || tr_is_none(t) ? TRESS_OK : tr_round(p->s, t, p->a->round);
}

/* A residual is of no use after the last block that it is added to; the input of the block but one after that is written later still: it lies there. */
static tress_status place_residuals(pass *p)
{
    tress_status st = TRESS_OK;
    const tr_mmdit_sizes z = p->z;
    const int n_block = p->m->config.n_block;
    for (int i = 0; i < n_block; i++) {
        int r;
        TR_TRY(tr_mmdit_residual(&r, p->m, &p->forward, i, false));
        if (r >= 0) p->residual[r] = i + 2 > p->first && i + 2 < n_block ? p->trace[i + 2].image.x : tr_none();
    }
    for (int r = 0; r < p->forward.n_residual; r++)
        if (tr_is_none(p->residual[r])) TR_TRY(tr_scratch(p->s, &p->residual[r], tr_stream_dtype(p->s), TR_DIMS(z.b, z.t, z.d)));
done:
    return st;
}

/* Tensors that live as long as the pass. */
static tress_status prepare(pass *p)
{
    tress_status st = TRESS_OK;
    tr_stream *s = p->s;
    const tr_mmdit_sizes z = p->z;
    const tr_dtype type = tr_stream_dtype(s);
    const int n_block = p->m->config.n_block;
    tr_tensor temb;
    while (p->first < n_block && !tr_block_learns(&p->m->block[p->first])) p->first++;
    TR_ASSERT(p->first < n_block);
    for (int i = p->first; i < n_block; i++) {
        TR_TRY(tr_block_trace_new(&p->trace[i], s, &p->m->block[i], p->a->keep, z.b, z.t, z.n));
        TR_TRY(tr_scratch(s, &p->trace[i].image.x, type, TR_DIMS(z.b, z.t, z.d)));
        TR_TRY(tr_scratch(s, &p->trace[i].text.x, type, TR_DIMS(z.b, z.n, z.d)));
    }
    TR_TRY(tr_scratch(s, &p->final, type, TR_DIMS(z.b, z.t, z.d)));
    TR_TRY(tr_scratch(s, &temb, type, TR_DIMS(z.b, z.d)));
    p->io.image = p->trace[p->first].image.x;               /* blocks below work in place, where the first that learns reads */
    p->io.text = p->trace[p->first].text.x;
    TR_TRY(tr_mmdit_begin(p->m, s, &p->forward, &p->io, temb));
    if (p->a->control) {
        TR_TRY(place_residuals(p));
        TR_TRY(p->a->control(p->a->self, s, p->io.image, p->residual));
    }
    TR_TRY(round_to(p, p->io.image));
    TR_TRY(round_to(p, p->io.text));
    for (int i = 0; i < n_block; i++) {                     /* of time alone: once for forward and backward */
        p->train[i] = (tr_block_train){ .text_logw = p->io.text_logw, .drop = &p->a->drop };
        TR_TRY(tr_block_modulate(&p->train[i].mod, s, p->m->weights, p->m->block, i, temb));
    }
    TR_TRY(tr_mmdit_head_modulate(&p->head_mod, p->m, s, temb));
done:
    return st;
}

static tress_status add_residual(const pass *p, int i, tr_tensor image)
{
    tress_status st = TRESS_OK;
    const tr_mmdit_args *f = &p->forward;
    int r;
    TR_TRY(tr_mmdit_residual(&r, p->m, f, i, false));
    if (r >= 0) TR_TRY(tr_axpby(p->s, tr_rows(image), 1, tr_rows(image), f->residual_scale, tr_rows(f->residual[r])));
done:
    return st;
}

static tress_status forward(pass *p)
{
    tress_status st = TRESS_OK;
    const int n_block = p->m->config.n_block;
    for (int i = 0; i < n_block; i++) {
        const bool last = i + 1 == n_block;
        tr_tensor image = p->io.image, text = p->io.text;
        TR_TRY(tr_stream_poll(p->s));
        TR_TRY(tr_weights_need(p->m->weights, p->s, TR_GROUP_BLOCK(i), 1));
        if (i < p->first) {
            p->io.mod = p->train[i].mod;
            p->io.i_block = i;
            TR_TRY(tr_block_forward(p->s, &p->m->block[i], &p->io));
        } else {
            image = last ? p->final : p->trace[i + 1].image.x;
            text = last ? tr_none() : p->trace[i + 1].text.x;
            TR_TRY(tr_block_train_forward(p->s, &p->m->block[i], &p->train[i], &p->trace[i], image, text));
        }
        TR_TRY(add_residual(p, i, image));
        TR_TRY(round_to(p, image));
        TR_TRY(round_to(p, text));
    }
    TR_TRY(tr_mmdit_head(p->m, p->s, p->a->forward.out, p->final, NULL, p->head_mod, (tr_probe){ 0 }));
done:
    return st;
}

/* d_image [b, t, d] = the gradient of what leaves the last block. */
static tress_status head_back(const pass *p, tr_tensor d_image, tr_tensor dv)
{
    static const int order[] = { 0, 2, 4, 3, 5, 1 };        /* [b, c, r, py, w, px] -> [b, r, w, py, px, c] */
    tress_status st = TRESS_OK;
    tr_stream *s = p->s;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int64_t patch = p->m->config.patch, c = dv.shape[1], rows = dv.shape[2] / patch, cols = dv.shape[3] / patch;
    const tr_mmdit_sizes z = p->z;
    tr_tensor patches, dh;
    TR_TRY(tr_scratch(s, &patches, tr_stream_dtype(s), TR_DIMS(z.b, z.t, patch * patch * c)));
    TR_TRY(tr_scratch(s, &dh, tr_stream_dtype(s), TR_DIMS(z.b * z.t, z.d)));
    TR_TRY(tr_copy(s, tr_reshape(patches, TR_DIMS(z.b, rows, cols, patch, patch, c)),
                   tr_permute(tr_reshape(dv, TR_DIMS(z.b, c, rows, patch, cols, patch)), order)));
    TR_TRY(tr_linear_apply_back(s, dh, tr_rows(patches), tr_none(), p->m->proj_out, tr_none(), NULL));
    TR_TRY(tr_adaln_back(s, tr_rows(d_image), dh, tr_rows(p->final), tr_block_chunk(p->head_mod, TR_ENDS_SCALE, z.d), tr_none(), TR_LN_EPS));
done:
    tr_scratch_pop(s, mark);
    return st;
}

static tress_status backward(pass *p)
{
    tress_status st = TRESS_OK;
    tr_stream *s = p->s;
    const tr_mmdit_sizes z = p->z;
    const tr_tensor out = p->a->forward.out;
    const tr_dtype type = tr_stream_dtype(s);
    tr_tensor dv, d_image, d_text;
    TR_TRY(tr_scratch(s, &dv, type, TR_DIMS(out.shape[0], out.shape[1], out.shape[2], out.shape[3])));
    TR_TRY(tr_scratch(s, &d_image, type, TR_DIMS(z.b, z.t, z.d)));
    TR_TRY(tr_scratch(s, &d_text, type, TR_DIMS(z.b, z.n, z.d)));
    TR_TRY(p->a->loss(p->a->self, s, out, dv));
    TR_TRY(head_back(p, d_image, dv));
    TR_TRY(round_to(p, d_image));
    for (int i = p->m->config.n_block - 1; i >= p->first; i--) {
        TR_TRY(tr_stream_poll(s));
        TR_TRY(tr_weights_need(p->m->weights, s, TR_GROUP_BLOCK(i), -1));
        TR_TRY(tr_block_train_back(s, &p->m->block[i], &p->train[i], &p->trace[i], d_image, d_text, i > p->first));
        TR_TRY(round_to(p, d_image));
        if (i > p->first) TR_TRY(round_to(p, d_text));
    }
done:
    return st;
}

tress_status tr_mmdit_train(tr_mmdit *m, tr_stream *s, const tr_mmdit_train_args *a)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_ASSERT(a->forward.n_skip == 0 && a->loss && (!a->control || (!a->forward.residual && a->forward.n_residual <= TR_BLOCK_MAX)));
    if (!m->pass) TR_TRY(tr_alloc(&m->pass, sizeof(pass)));
    pass *p = m->pass;
    *p = (pass){ .m = m, .s = s, .a = a, .forward = a->forward };
    TR_TRY(tr_mmdit_check(&p->z, m, s, &a->forward));
    if (a->control) p->forward.residual = p->residual;
    TR_TRY(prepare(p));
    TR_TRY(forward(p));
    TR_TRY(backward(p));
done:
    tr_scratch_pop(s, mark);
    return st;
}
