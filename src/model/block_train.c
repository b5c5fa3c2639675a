/* The block with its backward. The forward is that of block.c in the same operations and order; what it makes on its way stays in a trace,
 * whole or in part, and the backward makes the missing parts again. Formulas as at the top of block_int.h; backward, with g = dL/d(output),
 *     d(mid) = g + LN-back((g gate_mlp) down gelu' up)             d(o) = (d(mid) gate_msa) out
 *     d(x)   = d(mid) + LN-back(d(q) Wq + d(k) Wk + d(v) Wv)       and each adapter's share, layer.c */
#include "model/block_int.h"

#include <math.h>

/* ---- what is kept ---------------------------------------------------------------------------------------- */
static tress_status new_attention(tr_attn_trace *a, tr_stream *s, const tr_block *k, tr_keep level, int64_t b, int64_t n, bool has_q)
{
    tress_status st = TRESS_OK;
    const int64_t d = (int64_t)k->n_head * k->d_head;
    const tr_dtype t = tr_stream_dtype(s);
    if (has_q && level <= TR_KEEP_ATTENTION) {
        TR_TRY(tr_scratch(s, &a->o, t, TR_DIMS(b, n, d)));
        TR_TRY(tr_scratch(s, &a->lse, TR_F32, TR_DIMS(b, k->n_head, n)));
    }
    if (level > TR_KEEP_ALL) goto done;
    if (has_q) TR_TRY(tr_scratch(s, &a->q0, t, TR_DIMS(b, n, d)));
    TR_TRY(tr_scratch(s, &a->k0, t, TR_DIMS(b, n, d)));
    TR_TRY(tr_scratch(s, &a->v, t, TR_DIMS(b, n, d)));
done:
    return st;
}

static tress_status new_stream(tr_stream_trace *m, tr_stream *s, const tr_block *k, tr_keep level, int64_t b, int64_t n, bool ends)
{
    tress_status st = TRESS_OK;
    const int64_t d = (int64_t)k->n_head * k->d_head;
    TR_TRY(new_attention(&m->attn, s, k, level, b, n, !ends));
    if (level > TR_KEEP_ALL || ends) goto done;
    TR_TRY(tr_scratch(s, &m->mid, tr_stream_dtype(s), TR_DIMS(b, n, d)));
    TR_TRY(tr_scratch(s, &m->u, tr_stream_dtype(s), TR_DIMS(b * n, 4 * d)));
done:
    return st;
}

static bool has_text(const tr_block *k) { return k->text.mod != NULL; }
static bool text_ends(const tr_block *k) { return has_text(k) && !k->text.attn.out; }

static bool learns(const tr_linear_layer *l) { return l && !tr_is_none(l->da); }

bool tr_block_learns(const tr_block *k)
{
    const tr_attn_layers *const all[] = { &k->image.attn, &k->text.attn, &k->second };
    for (int i = 0; i < 3; i++)
        if (learns(all[i]->q) || learns(all[i]->k) || learns(all[i]->v) || learns(all[i]->out)) return true;
    return false;
}

tress_status tr_block_trace_new(tr_block_trace *out, tr_stream *s, const tr_block *k, tr_keep level, int64_t b, int64_t t, int64_t n)
{
    tress_status st = TRESS_OK;
    *out = (tr_block_trace){ 0 };
    TR_TRY(new_stream(&out->image, s, k, level, b, t, false));
    if (has_text(k)) TR_TRY(new_stream(&out->text, s, k, level, b, n, text_ends(k)));
    if (k->second.q) TR_TRY(new_attention(&out->second, s, k, level, b, t, true));
done:
    return st;
}

/* ---- the way there ---------------------------------------------------------------------------------------- */
/* A walk through a block: forward it fills the tensors that the trace keeps, backward it takes them as they are. */
typedef struct walk {
    tr_stream *s;
    const tr_block *k;
    const tr_block_train *c;
    bool back;
} walk;

/* *out is there already, or made now: true in *make. */
static tress_status place(tr_tensor *out, bool *make, const walk *w, tr_tensor kept, tr_dtype t, tr_dims d)
{
    *make = !w->back || tr_is_none(kept);
    *out = kept;
    return tr_is_none(kept) ? tr_scratch(w->s, out, t, d) : TRESS_OK;
}

/* The normed input, projections and heads of one attention. q and k are q0 and k0 where there is no norm. */
typedef struct heads { tr_tensor h, q0, k0, v, q, k; } heads;          /* h, q0, k0, v [b, n, d]; q, k [b, n, n_head, d_head] */

static tress_status project(tr_tensor *raw, tr_tensor *normed, const walk *w, const tr_linear_layer *l, tr_tensor norm, tr_tensor h, tr_tensor kept)
{
    tress_status st = TRESS_OK;
    const int64_t b = h.shape[0], n = h.shape[1], d = h.shape[2];
    const tr_dims head = TR_DIMS(b, n, w->k->n_head, w->k->d_head);
    bool make;
    TR_TRY(place(raw, &make, w, kept, tr_stream_dtype(w->s), TR_DIMS(b, n, d)));
    if (make) TR_TRY(tr_linear_apply_dropped(w->s, tr_rows(*raw), tr_rows(h), l, NULL, w->c->drop));
    if (!normed) goto done;
    *normed = tr_reshape(*raw, head);
    if (tr_is_none(norm)) goto done;
    TR_TRY(tr_scratch(w->s, normed, tr_stream_dtype(w->s), head));
    TR_TRY(tr_rms_norm(w->s, *normed, tr_reshape(*raw, head), norm, TR_RMS_EPS));
done:
    return st;
}

static tress_status make_heads(heads *x, const walk *w, const tr_attn_layers *a, const tr_attn_trace *kept, tr_tensor h, bool want_q)
{
    tress_status st = TRESS_OK;
    *x = (heads){ .h = h };
    if (want_q) TR_TRY(project(&x->q0, &x->q, w, a->q, a->norm_q, h, kept->q0));
    TR_TRY(project(&x->k0, &x->k, w, a->k, a->norm_k, h, kept->k0));
    TR_TRY(project(&x->v, NULL, w, a->v, tr_none(), h, kept->v));
done:
    return st;
}

/* [b, n, d] seen by heads. */

typedef struct answer { tr_tensor o, lse; } answer;         /* [b, n, d], [b, n_head, n] */
static tress_status attend(answer *x, const walk *w, const tr_attn_trace *kept, tr_tensor q, const tr_attention_segment *segment, int n_segment)
{
    tress_status st = TRESS_OK;
    const int64_t b = q.shape[0], n = q.shape[1], n_head = w->k->n_head;
    bool make;
    TR_TRY(place(&x->o, &make, w, kept->o, tr_stream_dtype(w->s), TR_DIMS(b, n, n_head * w->k->d_head)));
    TR_TRY(place(&x->lse, &make, w, kept->lse, TR_F32, TR_DIMS(b, n_head, n)));
    if (make) TR_TRY(tr_block_attend(w->s, w->k, x->o, x->lse, q, segment, n_segment));
done:
    return st;
}

/* All that a block's attention makes. */
typedef struct attention {
    heads  image, text, second;
    answer image_o, text_o, second_o;
    tr_attention_segment segment[2];            /* image, text */
    int    n_segment;
} attention;

static tress_status make_attention(attention *x, const walk *w, const tr_block_trace *kept)
{
    tress_status st = TRESS_OK;
    const tr_block *k = w->k;
    tr_tensor h;
    *x = (attention){ 0 };
    TR_TRY(tr_block_attention_input(&h, w->s, kept->image.x, w->c->mod.image, false));
    TR_TRY(make_heads(&x->image, w, &k->image.attn, &kept->image.attn, h, true));
    x->segment[x->n_segment++] = (tr_attention_segment){ .k = x->image.k, .v = tr_block_by_head(w->k, x->image.v) };
    if (has_text(k)) {
        TR_TRY(tr_block_attention_input(&h, w->s, kept->text.x, w->c->mod.text, text_ends(k)));
        TR_TRY(make_heads(&x->text, w, &k->text.attn, &kept->text.attn, h, !text_ends(k)));
        x->segment[x->n_segment++] = (tr_attention_segment){ .k = x->text.k, .v = tr_block_by_head(w->k, x->text.v), .key_logw = w->c->text_logw };
    }
    TR_TRY(attend(&x->image_o, w, &kept->image.attn, x->image.q, x->segment, x->n_segment));
    if (has_text(k) && !text_ends(k)) TR_TRY(attend(&x->text_o, w, &kept->text.attn, x->text.q, x->segment, x->n_segment));
    if (!k->second.q) goto done;
    TR_TRY(tr_block_modulated(&h, w->s, kept->image.x, w->c->mod.image, TR_SCALE_MSA2, TR_SHIFT_MSA2));
    TR_TRY(make_heads(&x->second, w, &k->second, &kept->second, h, true));
    TR_TRY(attend(&x->second_o, w, &kept->second, x->second.q, &(tr_attention_segment){ .k = x->second.k, .v = tr_block_by_head(w->k, x->second.v) }, 1));
done:
    return st;
}

/* to = from + gate * layer(o).  to, from [b, n, d]; o [b n, d_in]. */
static tress_status add_gated(const walk *w, tr_tensor to, tr_tensor from, tr_tensor o, const tr_linear_layer *l, tr_tensor mod, int i_gate)
{
    return tr_linear_apply_dropped(w->s, tr_rows(to), o, l, &(tr_epilogue){ .gate = tr_block_chunk(mod, i_gate, to.shape[2]), .residual = tr_rows(from) },
                                   w->c->drop);
}

/* The stream after attention. */
static tress_status make_mid(tr_tensor *mid, const walk *w, const tr_stream_trace *kept, const tr_block_stream *m, tr_tensor mod, tr_tensor o,
                             tr_tensor second_o)
{
    tress_status st = TRESS_OK;
    const tr_tensor x = kept->x;
    bool make;
    TR_TRY(place(mid, &make, w, kept->mid, tr_stream_dtype(w->s), TR_DIMS(x.shape[0], x.shape[1], x.shape[2])));
    if (!make) goto done;
    TR_TRY(add_gated(w, *mid, x, tr_rows(o), m->attn.out, mod, TR_GATE_MSA));
    if (!tr_is_none(second_o)) TR_TRY(add_gated(w, *mid, *mid, tr_rows(second_o), w->k->second.out, mod, TR_GATE_MSA2));
done:
    return st;
}

/* The feed-forward before gelu. */
static tress_status make_u(tr_tensor *u, const walk *w, tr_tensor kept, const tr_block_stream *m, tr_tensor mod, tr_tensor mid)
{
    tress_status st = TRESS_OK;
    tr_tensor h;
    bool make;
    TR_TRY(place(u, &make, w, kept, tr_stream_dtype(w->s), TR_DIMS(mid.shape[0] * mid.shape[1], 4 * mid.shape[2])));
    if (!make) goto done;
    TR_TRY(tr_block_modulated(&h, w->s, mid, mod, TR_SCALE_MLP, TR_SHIFT_MLP));
    TR_TRY(tr_linear_apply_dropped(w->s, *u, tr_rows(h), m->up, NULL, w->c->drop));
done:
    return st;
}

static tress_status finish_stream(const walk *w, tr_tensor out, const tr_stream_trace *kept, const tr_block_stream *m, tr_tensor mod, tr_tensor o,
                                  tr_tensor second_o)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(w->s);
    tr_tensor mid, u, wide;
    TR_TRY(make_mid(&mid, w, kept, m, mod, o, second_o));
    TR_TRY(make_u(&u, w, kept->u, m, mod, mid));
    TR_TRY(tr_scratch(w->s, &wide, tr_stream_dtype(w->s), TR_DIMS(u.shape[0], u.shape[1] + 16)));      /* 16: see feed_forward in block.c */
    wide = tr_slice(wide, 1, 0, u.shape[1]);
    TR_TRY(tr_activate(w->s, wide, u, TR_ACT_GELU_TANH));
    TR_TRY(add_gated(w, out, mid, wide, m->down, mod, TR_GATE_MLP));
done:
    tr_scratch_pop(w->s, mark);
    return st;
}

tress_status tr_block_train_forward(tr_stream *s, const tr_block *k, const tr_block_train *c, tr_block_trace *trace, tr_tensor image_out,
                                    tr_tensor text_out)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const walk w = { .s = s, .k = k, .c = c };
    attention a;
    TR_TRY(make_attention(&a, &w, trace));
    TR_TRY(finish_stream(&w, image_out, &trace->image, &k->image, c->mod.image, a.image_o.o, a.second_o.o));
    if (k->text.up) TR_TRY(finish_stream(&w, text_out, &trace->text, &k->text, c->mod.text, a.text_o.o, tr_none()));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* ---- the way back ----------------------------------------------------------------------------------------- */
/* dx [b, n, d], the gradient of a stream's output, becomes that of mid. Its layers have no adapters. */
static tress_status feed_forward_back(const walk *w, tr_tensor dx, tr_tensor mid, tr_tensor u, const tr_block_stream *m, tr_tensor mod)
{
    tress_status st = TRESS_OK;
    tr_stream *s = w->s;
    const tr_arena_mark mark = tr_scratch_push(s);
    const int64_t d = dx.shape[2];
    tr_tensor g, wide;
    TR_TRY(tr_block_scratch(s, &g, dx));
    TR_TRY(tr_scratch(s, &wide, tr_stream_dtype(s), TR_DIMS(u.shape[0], u.shape[1] + 16)));
    wide = tr_slice(wide, 1, 0, u.shape[1]);
    TR_TRY(tr_gate(s, tr_rows(g), tr_rows(dx), tr_block_chunk(mod, TR_GATE_MLP, d)));
    TR_TRY(tr_linear_apply_back(s, wide, tr_rows(g), tr_none(), m->down, tr_none(), NULL));
    TR_TRY(tr_activate_back(s, wide, wide, u, TR_ACT_GELU_TANH));
    TR_TRY(tr_linear_apply_back(s, tr_rows(g), wide, tr_none(), m->up, tr_none(), NULL));
    TR_TRY(tr_adaln_back(s, tr_rows(dx), tr_rows(g), tr_rows(mid), tr_block_chunk(mod, TR_SCALE_MLP, d), tr_rows(dx), TR_LN_EPS));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* dx, the gradient of a stream's output, becomes that of the stream after attention. */
static tress_status stream_back(const walk *w, tr_tensor dx, const tr_stream_trace *kept, const tr_block_stream *m, tr_tensor mod, tr_tensor o,
                                tr_tensor second_o)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(w->s);
    tr_tensor mid, u;
    TR_TRY(make_mid(&mid, w, kept, m, mod, o, second_o));
    TR_TRY(make_u(&u, w, kept->u, m, mod, mid));
    TR_TRY(feed_forward_back(w, dx, mid, u, m, mod));
done:
    tr_scratch_pop(w->s, mark);
    return st;
}

/* d_o [b, n, d] = the gradient of attention's output o from d_mid; the out layer's adapter learns. */
static tress_status out_back(const walk *w, tr_tensor d_o, tr_tensor d_mid, tr_tensor o, const tr_linear_layer *l, tr_tensor mod, int i_gate)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(w->s);
    tr_tensor g;
    TR_TRY(tr_block_scratch(w->s, &g, d_mid));
    TR_TRY(tr_gate(w->s, tr_rows(g), tr_rows(d_mid), tr_block_chunk(mod, i_gate, d_mid.shape[2])));
    TR_TRY(tr_linear_apply_back(w->s, tr_rows(d_o), tr_rows(g), tr_rows(o), l, tr_none(), w->c->drop));
done:
    tr_scratch_pop(w->s, mark);
    return st;
}

/* Gradients of the heads of one attention, [b, n, n_head, d_head]; none: not asked for. */
typedef struct heads_back { tr_tensor q, k, v; } heads_back;

static tress_status new_heads_back(heads_back *g, const walk *w, const heads *x, bool want_q)
{
    tress_status st = TRESS_OK;
    *g = (heads_back){ 0 };
    tr_tensor *const part[] = { &g->q, &g->k, &g->v };
    for (int i = 0; i < 3; i++) {
        if (i == 0 && !want_q) continue;
        TR_TRY(tr_block_scratch(w->s, part[i], x->h));
        *part[i] = tr_block_by_head(w->k, *part[i]);
    }
done:
    return st;
}

/* One query set against one key segment; the first to reach a gradient sets it, later ones add. */
static tress_status attention_back(const walk *w, const heads *x, const answer *a, tr_tensor d_o, const tr_attention_segment *keys,
                                   tr_tensor dq, bool add_q, const heads_back *d_keys, bool add_kv)
{
    return tr_attention_back(w->s, &(tr_attention_back_args){
        .q = x->q, .o = tr_block_by_head(w->k, a->o), .d_o = tr_block_by_head(w->k, d_o), .lse = a->lse, .k = keys->k, .v = keys->v, .key_logw = keys->key_logw,
        .scale = 1.0f / sqrtf((float)w->k->d_head), .dq = dq, .dk = d_keys->k, .dv = d_keys->v, .add_q = add_q, .add_kv = add_kv });
}

/* From the gradients of the heads through norms and projections: the adapters learn and, where `below`, dx [b, n, d] gains (add) or becomes the
 * gradient of the stream that the attention's input h was normed from. */
static tress_status heads_back_through(const walk *w, heads_back *g, const heads *x, const tr_attn_layers *a, tr_tensor dx, tr_tensor stream,
                                       tr_tensor scale, bool below, bool add)
{
    tress_status st = TRESS_OK;
    tr_stream *s = w->s;
    const tr_arena_mark mark = tr_scratch_push(s);
    const struct { tr_tensor d, raw, norm; const tr_linear_layer *l; } part[] = {
        { g->q, x->q0, a->norm_q, a->q }, { g->k, x->k0, a->norm_k, a->k }, { g->v, x->v, tr_none(), a->v },
    };
    const int64_t n = x->h.shape[0] * x->h.shape[1], d = x->h.shape[2];
    tr_tensor dh = tr_none(), so_far = tr_none();
    if (below) {
        TR_TRY(tr_block_scratch(s, &dh, x->h));
        dh = tr_rows(dh);
    }
    for (int i = 0; i < 3; i++) {
        if (tr_is_none(part[i].d)) continue;
        if (!tr_is_none(part[i].norm)) TR_TRY(tr_rms_norm_back(s, part[i].d, part[i].d, tr_block_by_head(w->k, part[i].raw), part[i].norm, TR_RMS_EPS));
        TR_TRY(tr_linear_apply_back(s, dh, tr_reshape(part[i].d, TR_DIMS(n, d)), tr_rows(x->h), part[i].l, so_far, w->c->drop));
        so_far = dh;
    }
    if (below) TR_TRY(tr_adaln_back(s, tr_rows(dx), dh, tr_rows(stream), scale, add ? tr_rows(dx) : tr_none(), TR_LN_EPS));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* dx gains what the image's second attention brings. The scratch of x's heads is the caller's. */
static tress_status second_back(const walk *w, const tr_block_trace *trace, const attention *x, tr_tensor d_o, tr_tensor dx, bool below)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(w->s);
    heads_back g;
    TR_TRY(new_heads_back(&g, w, &x->second, true));
    TR_TRY(attention_back(w, &x->second, &x->second_o, d_o, &(tr_attention_segment){ .k = x->second.k, .v = tr_block_by_head(w->k, x->second.v) }, g.q, false, &g, false));
    TR_TRY(heads_back_through(w, &g, &x->second, &w->k->second, dx, trace->image.x, tr_block_chunk(w->c->mod.image, TR_SCALE_MSA2, dx.shape[2]), below, true));
done:
    tr_scratch_pop(w->s, mark);
    return st;
}

static tress_status joint_back(const walk *w, const tr_block_trace *trace, const attention *x, tr_tensor d_o, tr_tensor d_text_o, tr_tensor d_image,
                               tr_tensor d_text, bool below)
{
    tress_status st = TRESS_OK;
    const tr_block *k = w->k;
    const tr_arena_mark mark = tr_scratch_push(w->s);
    const bool text = has_text(k), asks = text && !text_ends(k);
    const bool into_text = text && (below || learns(k->text.attn.q) || learns(k->text.attn.k) || learns(k->text.attn.v));
    const int64_t d = d_image.shape[2];
    heads_back image, words = { 0 };
    TR_TRY(new_heads_back(&image, w, &x->image, true));
    if (into_text) TR_TRY(new_heads_back(&words, w, &x->text, asks));
    TR_TRY(attention_back(w, &x->image, &x->image_o, d_o, &x->segment[0], image.q, false, &image, false));
    if (text) TR_TRY(attention_back(w, &x->image, &x->image_o, d_o, &x->segment[1], image.q, true, &words, false));
    if (asks) {
        TR_TRY(attention_back(w, &x->text, &x->text_o, d_text_o, &x->segment[0], words.q, false, &image, true));
        if (into_text) TR_TRY(attention_back(w, &x->text, &x->text_o, d_text_o, &x->segment[1], words.q, true, &words, true));
    }
    TR_TRY(heads_back_through(w, &image, &x->image, &k->image.attn, d_image, trace->image.x, tr_block_chunk(w->c->mod.image, TR_SCALE_MSA, d), below, true));
    if (into_text)
        TR_TRY(heads_back_through(w, &words, &x->text, &k->text.attn, d_text, trace->text.x,
                                  tr_block_chunk(w->c->mod.text, asks ? TR_SCALE_MSA : TR_ENDS_SCALE, d), below, asks));
done:
    tr_scratch_pop(w->s, mark);
    return st;
}

tress_status tr_block_train_back(tr_stream *s, const tr_block *k, const tr_block_train *c, const tr_block_trace *trace, tr_tensor d_image,
                                 tr_tensor d_text, bool below)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const walk w = { .s = s, .k = k, .c = c, .back = true };
    attention x;
    tr_tensor d_o, d_text_o = tr_none(), d_second_o = tr_none();
    TR_TRY(make_attention(&x, &w, trace));
    TR_TRY(stream_back(&w, d_image, &trace->image, &k->image, c->mod.image, x.image_o.o, x.second_o.o));
    TR_TRY(tr_block_scratch(s, &d_o, d_image));
    TR_TRY(out_back(&w, d_o, d_image, x.image_o.o, k->image.attn.out, c->mod.image, TR_GATE_MSA));
    if (k->text.up) {
        TR_TRY(stream_back(&w, d_text, &trace->text, &k->text, c->mod.text, x.text_o.o, tr_none()));
        TR_TRY(tr_block_scratch(s, &d_text_o, d_text));
        TR_TRY(out_back(&w, d_text_o, d_text, x.text_o.o, k->text.attn.out, c->mod.text, TR_GATE_MSA));
    }
    if (k->second.q) {                                      /* before d_image becomes the gradient of the input: it asks for that of mid */
        TR_TRY(tr_block_scratch(s, &d_second_o, d_image));
        TR_TRY(out_back(&w, d_second_o, d_image, x.second_o.o, k->second.out, c->mod.image, TR_GATE_MSA2));
        TR_TRY(second_back(&w, trace, &x, d_second_o, d_image, below));
    }
    TR_TRY(joint_back(&w, trace, &x, d_o, d_text_o, d_image, d_text, below));
done:
    tr_scratch_pop(s, mark);
    return st;
}
