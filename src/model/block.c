#include "model/block_int.h"

#include <math.h>
#include <stdio.h>

/* ---- opening --------------------------------------------------------------------------------------------- */
static tress_status open_attention(tr_attn_layers *a, tr_layer_list *l, tr_weights *w, const tr_block_spec *c, const char *at,
                                   const char *q, const char *k, const char *v, const char *out,
                                   const char *norm_q, const char *norm_k)
{
    tress_status st = TRESS_OK;
    const int64_t d = (int64_t)c->n_head * c->d_head;
    TR_TRY(tr_layer_list_add(l, &a->q, w, TR_DIMS(d, d), true, "%s.%s", at, q));
    TR_TRY(tr_layer_list_add(l, &a->k, w, TR_DIMS(d, d), true, "%s.%s", at, k));
    TR_TRY(tr_layer_list_add(l, &a->v, w, TR_DIMS(d, d), true, "%s.%s", at, v));
    if (out) TR_TRY(tr_layer_list_add(l, &a->out, w, TR_DIMS(d, d), true, "%s.%s", at, out));
    if (c->qk_norm) {
        TR_TRY(tr_weights_get(w, &a->norm_q, TR_DIMS(c->d_head), "%s.%s.weight", at, norm_q));
        TR_TRY(tr_weights_get(w, &a->norm_k, TR_DIMS(c->d_head), "%s.%s.weight", at, norm_k));
    }
done:
    return st;
}

static tress_status open_stream(tr_block_stream *m, tr_layer_list *l, tr_weights *w, int64_t d, int n_mod, bool ends,
                                const char *prefix, const char *norm, const char *ff)
{
    tress_status st = TRESS_OK;
    m->n_mod = n_mod;
    TR_TRY(tr_layer_list_add(l, &m->mod, w, TR_DIMS(n_mod * d, d), true, "%s.%s.linear", prefix, norm));
    if (ends) goto done;
    TR_TRY(tr_layer_list_add(l, &m->up, w, TR_DIMS(4 * d, d), true, "%s.%s.net.0.proj", prefix, ff));
    TR_TRY(tr_layer_list_add(l, &m->down, w, TR_DIMS(d, 4 * d), true, "%s.%s.net.2", prefix, ff));
done:
    return st;
}

tress_status tr_block_open(tr_block *out, tr_layer_list *l, tr_weights *w, const tr_block_spec *c, const char *prefix)
{
    tress_status st = TRESS_OK;
    const int64_t d = (int64_t)c->n_head * c->d_head;
    tr_block k = { .n_head = c->n_head, .d_head = c->d_head };
    char at[96];
    snprintf(at, sizeof at, "%s.attn", prefix);
    TR_TRY(open_stream(&k.image, l, w, d, c->second ? 9 : 6, false, prefix, "norm1", "ff"));
    TR_TRY(open_attention(&k.image.attn, l, w, c, at, "to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k"));
    if (c->text) {
        TR_TRY(open_stream(&k.text, l, w, d, c->text_ends ? 2 : 6, c->text_ends, prefix, "norm1_context", "ff_context"));
        TR_TRY(open_attention(&k.text.attn, l, w, c, at, "add_q_proj", "add_k_proj", "add_v_proj",
                              c->text_ends ? NULL : "to_add_out", "norm_added_q", "norm_added_k"));
    }
    if (c->second) {
        snprintf(at, sizeof at, "%s.attn2", prefix);
        TR_TRY(open_attention(&k.second, l, w, c, at, "to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k"));
    }
    *out = k;
done:
    return st;
}

/* ---- forward --------------------------------------------------------------------------------------------- */
static int64_t width_of(const tr_block *k) { return (int64_t)k->n_head * k->d_head; }

int64_t tr_block_mod_width(const tr_block *k) { return (k->image.n_mod + (k->text.mod ? k->text.n_mod : 0)) * width_of(k); }

tr_block_mod tr_block_mod_of(const tr_block *k, tr_tensor rows)
{
    const int64_t n = k->image.n_mod * width_of(k);
    return (tr_block_mod){ tr_slice(rows, 1, 0, n), k->text.mod ? tr_slice(rows, 1, n, k->text.n_mod * width_of(k)) : tr_none() };
}

tress_status tr_block_modulate_rows(tr_stream *s, tr_weights *w, const tr_block *list, int i, tr_tensor rows, tr_tensor silu_temb)
{
    tress_status st = TRESS_OK;
    const tr_block *k = &list[i];
    const tr_block_mod mod = tr_block_mod_of(k, rows);
    TR_TRY(tr_weights_need(w, s, TR_GROUP_ADALN(i), 1));
    TR_TRY(tr_linear_apply(s, mod.image, silu_temb, k->image.mod, NULL));
    if (k->text.mod) TR_TRY(tr_linear_apply(s, mod.text, silu_temb, k->text.mod, NULL));
done:
    return st;
}

int64_t tr_blocks_mod_width(const tr_block *k, int n)
{
    int64_t width = 0;
    for (int i = 0; i < n; i++) width += tr_block_mod_width(&k[i]);
    return width;
}

tress_status tr_blocks_modulate_rows(tr_stream *s, tr_weights *w, const tr_block *list, int n, tr_tensor rows, tr_tensor silu_temb)
{
    tress_status st = TRESS_OK;
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const int64_t width = tr_block_mod_width(&list[i]);
        TR_TRY(tr_stream_poll(s));
        TR_TRY(tr_block_modulate_rows(s, w, list, i, tr_slice(rows, 1, at, width), silu_temb));
        at += width;
    }
done:
    return st;
}

tress_status tr_block_modulate(tr_block_mod *mod, tr_stream *s, tr_weights *w, const tr_block *list, int i, tr_tensor silu_temb)
{
    tress_status st = TRESS_OK;
    tr_tensor rows;
    TR_TRY(tr_scratch(s, &rows, tr_stream_dtype(s), TR_DIMS(silu_temb.shape[0], tr_block_mod_width(&list[i]))));
    TR_TRY(tr_block_modulate_rows(s, w, list, i, rows, silu_temb));
    *mod = tr_block_mod_of(&list[i], rows);
done:
    return st;
}

tress_status tr_block_scratch(tr_stream *s, tr_tensor *out, tr_tensor like)
{
    return tr_scratch(s, out, tr_stream_dtype(s), TR_DIMS(like.shape[0], like.shape[1], like.shape[2]));
}

tress_status tr_block_modulated(tr_tensor *y, tr_stream *s, tr_tensor x, tr_tensor mod, int i_scale, int i_shift)
{
    const tress_status st = tr_block_scratch(s, y, x);
    if (st != TRESS_OK) return st;
    const int64_t d = x.shape[2];
    return tr_adaln(s, tr_rows(*y), tr_rows(x), tr_block_chunk(mod, i_scale, d), tr_block_chunk(mod, i_shift, d), TR_LN_EPS);
}

typedef struct qkv { tr_tensor q, k, v; } qkv;              /* [b, n, n_head, d_head] */

/* One of q, k, v from h [b, n, d], normed over each head. */
static tress_status project(tr_tensor *out, tr_stream *s, const tr_block *k, const tr_linear_layer *l, tr_tensor norm, tr_tensor h)
{
    tress_status st = TRESS_OK;
    const int64_t b = h.shape[0], n = h.shape[1];
    tr_tensor y;
    TR_TRY(tr_block_scratch(s, &y, h));
    TR_TRY(tr_linear_apply(s, tr_rows(y), tr_rows(h), l, NULL));
    if (!tr_is_none(norm)) {
        const tr_tensor heads = tr_reshape(y, TR_DIMS(b * n * k->n_head, k->d_head));
        TR_TRY(tr_rms_norm(s, heads, heads, norm, TR_RMS_EPS));
    }
    *out = tr_reshape(y, TR_DIMS(b, n, k->n_head, k->d_head));
done:
    return st;
}

static bool follows(tr_tensor b, tr_tensor a)
{
    const uintptr_t end = (uintptr_t)a.data + (uintptr_t)(tr_count(a) * (int64_t)tr_dtype_size(a.dtype));
    return b.dtype == a.dtype && (uintptr_t)b.data == end;
}

/* Do the weights of q, k and v lie side by side, as they do on a GPU? Then they are one matrix. */
static bool is_one(const tr_attn_layers *a)
{
    return follows(a->k->w, a->q->w) && follows(a->v->w, a->k->w) && follows(a->k->b, a->q->b) && follows(a->v->b, a->k->b) &&
           tr_is_none(a->q->a) && tr_is_none(a->k->a) && tr_is_none(a->v->a);
}

/* All three by one product. */
static tress_status project_as_one(qkv *out, tr_stream *s, const tr_block *k, const tr_attn_layers *a, tr_tensor h)
{
    tress_status st = TRESS_OK;
    const int64_t b = h.shape[0], n = h.shape[1], d = h.shape[2];
    const tr_dims heads = TR_DIMS(b, n, k->n_head, k->d_head);
    tr_tensor y;
    TR_TRY(tr_scratch(s, &y, tr_stream_dtype(s), TR_DIMS(b, n, 3 * d)));
    TR_TRY(tr_linear(s, tr_rows(y), tr_rows(h), tr_view(a->q->w.data, a->q->w.dtype, TR_DIMS(3 * d, d)),
                     tr_view(a->q->b.data, a->q->b.dtype, TR_DIMS(3 * d)), tr_none(), tr_none(), NULL));
    *out = (qkv){ tr_reshape(tr_slice(y, 2, 0, d), heads), tr_reshape(tr_slice(y, 2, d, d), heads), tr_reshape(tr_slice(y, 2, 2 * d, d), heads) };
    if (!tr_is_none(a->norm_q)) {
        TR_TRY(tr_rms_norm(s, out->q, out->q, a->norm_q, TR_RMS_EPS));
        TR_TRY(tr_rms_norm(s, out->k, out->k, a->norm_k, TR_RMS_EPS));
    }
done:
    return st;
}

/* want_q: text that ends here asks nothing. */
static tress_status make_qkv(qkv *out, tr_stream *s, const tr_block *k, const tr_attn_layers *a, tr_tensor h, bool want_q)
{
    tress_status st = TRESS_OK;
    *out = (qkv){ 0 };
    if (want_q && is_one(a)) return project_as_one(out, s, k, a, h);
    if (want_q) TR_TRY(project(&out->q, s, k, a->q, a->norm_q, h));
    TR_TRY(project(&out->k, s, k, a->k, a->norm_k, h));
    TR_TRY(project(&out->v, s, k, a->v, tr_none(), h));
done:
    return st;
}

/* Queries of one stream, or of two over the same keys; o2 none: of one. */
static tress_status attend(tr_stream *s, const tr_block *k, tr_tensor o, tr_tensor lse, tr_tensor q, tr_tensor o2, tr_tensor q2, const tr_attention_segment *segment, int n_segment)
{
    tress_status st = TRESS_OK;
    const int64_t b = q.shape[0];
    int64_t part = b;                                       /* samples that one call serves */
    o = tr_block_by_head(k, o);
    if (!tr_is_none(o2)) o2 = tr_block_by_head(k, o2);
    for (int i = 0; i < n_segment; i++)
        if (segment[i].k.shape[0] < part) part = segment[i].k.shape[0];
    for (int64_t at = 0; at < b; at += part) {
        tr_attention_args a = { .q = tr_slice(q, 0, at, part), .o = tr_slice(o, 0, at, part), .lse = tr_is_none(lse) ? lse : tr_slice(lse, 0, at, part),
                                .scale = 1.0f / sqrtf((float)k->d_head), .n_segment = n_segment };
        if (!tr_is_none(o2)) {
            a.q2 = tr_slice(q2, 0, at, part);
            a.o2 = tr_slice(o2, 0, at, part);
        }
        for (int i = 0; i < n_segment; i++) {
            a.segment[i] = segment[i];
            if (segment[i].k.shape[0] == part) continue;
            a.segment[i].k = tr_slice(segment[i].k, 0, at, part);
            a.segment[i].v = tr_slice(segment[i].v, 0, at, part);
        }
        TR_TRY(tr_attention(s, &a));
    }
done:
    return st;
}

tress_status tr_block_attend(tr_stream *s, const tr_block *k, tr_tensor o, tr_tensor lse, tr_tensor q,
                             const tr_attention_segment *segment, int n_segment)
{
    return attend(s, k, o, lse, q, tr_none(), tr_none(), segment, n_segment);
}

/* The attention of both streams of a block; o2 none: of one. The last n_more segments are seen by the first stream alone. */
static tress_status attend_both(tr_stream *s, const tr_block *k, tr_tensor o, tr_tensor q, tr_tensor o2, tr_tensor q2, const tr_attention_segment *segment, int n_segment,
                                int n_more)
{
    if (n_more == 0) return attend(s, k, o, tr_none(), q, o2, q2, segment, n_segment);
    const tress_status st = tr_block_attend(s, k, o, tr_none(), q, segment, n_segment + n_more);
    return st != TRESS_OK || tr_is_none(o2) ? st : tr_block_attend(s, k, o2, tr_none(), q2, segment, n_segment);
}

typedef struct addend { tr_tensor t; float scale; } addend;        /* t [b, n, d], or none: nothing is added */
#define NOTHING ((addend){ 0 })

/* x += gate * layer(o) + more.  x [b, n, d]; o [b n, d_in]. */
static tress_status add_gated(tr_stream *s, tr_tensor x, tr_tensor o, const tr_linear_layer *l, tr_tensor mod, int i_gate, addend more)
{
    tr_epilogue e = { .gate = tr_block_chunk(mod, i_gate, x.shape[2]), .residual = tr_rows(x), .more_scale = more.scale };
    if (!tr_is_none(more.t)) e.more = tr_rows(more.t);
    return tr_linear_apply(s, tr_rows(x), o, l, &e);
}

static tress_status feed_forward(tr_stream *s, tr_tensor x, const tr_block_stream *m, tr_tensor mod, addend more)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_tensor h, wide;
    TR_TRY(tr_block_modulated(&h, s, x, mod, TR_SCALE_MLP, TR_SHIFT_MLP));
    /* Rows that lie a multiple of 2 KiB apart share few cache sets and would be copied by the second product: 16 more spread them. */
    TR_TRY(tr_scratch(s, &wide, tr_stream_dtype(s), TR_DIMS(x.shape[0] * x.shape[1], 4 * x.shape[2] + 16)));
    wide = tr_slice(wide, 1, 0, 4 * x.shape[2]);
    TR_TRY(tr_linear_apply(s, wide, tr_rows(h), m->up, &(tr_epilogue){ .act = TR_ACT_GELU_TANH }));
    TR_TRY(add_gated(s, x, wide, m->down, mod, TR_GATE_MLP, more));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* o = attention of the image over itself with its own projections; takes [b, t, d] of scratch for o. */
static tress_status second_attention(tr_tensor *o, tr_stream *s, const tr_block *k, const tr_block_io *io)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_block_modulated(o, s, io->image, io->mod.image, TR_SCALE_MSA2, TR_SHIFT_MSA2));
    const tr_arena_mark mark = tr_scratch_push(s);
    qkv x;
    st = make_qkv(&x, s, k, &k->second, *o, true);
    if (st == TRESS_OK) st = tr_block_attend(s, k, *o, tr_none(), x.q, &(tr_attention_segment){ .k = x.k, .v = x.v }, 1);
    tr_scratch_pop(s, mark);
    if (st == TRESS_OK) tr_probe_show(io->probe, "attention2", io->i_block, *o);
done:
    return st;
}

static tress_status keep(tr_stream *s, const tr_block_io *io, const qkv *x)
{
    tress_status st = TRESS_OK;
    if (tr_is_none(io->keep_k)) return TRESS_OK;
    TR_TRY(tr_copy(s, io->keep_k, x->k));
    TR_TRY(tr_copy(s, io->keep_v, x->v));
done:
    return st;
}

tress_status tr_block_keys(tr_stream *s, const tr_block *k, const tr_block_io *io)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_tensor h;
    qkv x;
    TR_TRY(tr_block_attention_input(&h, s, io->image, io->mod.image, false));
    TR_TRY(make_qkv(&x, s, k, &k->image.attn, h, false));
    TR_TRY(keep(s, io, &x));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* The joint attention of both streams, each output where its normed input was; added with out and gate. */
static tress_status joint_attention(tr_stream *s, const tr_block *k, const tr_block_io *io)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const bool text = k->text.mod != NULL, text_ends = text && !k->text.attn.out;
    tr_tensor h, c = tr_none(), o2 = tr_none();             /* [b, t, d], [b, n, d], [b, t, d] */
    qkv x, y = { 0 };
    tr_attention_segment segment[TR_SEGMENT_MAX];
    int n_segment = 0;

    TR_TRY(tr_block_attention_input(&h, s, io->image, io->mod.image, false));
    tr_probe_show(io->probe, "norm", io->i_block, h);
    TR_TRY(make_qkv(&x, s, k, &k->image.attn, h, true));
    TR_TRY(keep(s, io, &x));
    segment[n_segment++] = (tr_attention_segment){ .k = x.k, .v = x.v };
    if (text) {
        TR_TRY(tr_block_attention_input(&c, s, io->text, io->mod.text, text_ends));
        tr_probe_show(io->probe, "norm_context", io->i_block, c);
        TR_TRY(make_qkv(&y, s, k, &k->text.attn, c, !text_ends));
        segment[n_segment++] = (tr_attention_segment){ .k = y.k, .v = y.v, .key_logw = io->text_logw };
    }
    TR_ASSERT(n_segment + io->n_more <= TR_SEGMENT_MAX);
    for (int i = 0; i < io->n_more; i++) segment[n_segment + i] = io->more[i];

    /* The normed inputs are spent: the outputs take their place. */
    TR_TRY(attend_both(s, k, h, x.q, text_ends ? tr_none() : c, y.q, segment, n_segment, io->n_more));
    tr_probe_show(io->probe, "attention", io->i_block, h);
    if (k->second.q) TR_TRY(second_attention(&o2, s, k, io));               /* reads the image as it came in */
    TR_TRY(add_gated(s, io->image, tr_rows(h), k->image.attn.out, io->mod.image, TR_GATE_MSA, NOTHING));
    if (k->second.q) TR_TRY(add_gated(s, io->image, tr_rows(o2), k->second.out, io->mod.image, TR_GATE_MSA2, NOTHING));
    if (text && !text_ends) {
        tr_probe_show(io->probe, "attention_context", io->i_block, c);
        TR_TRY(add_gated(s, io->text, tr_rows(c), k->text.attn.out, io->mod.text, TR_GATE_MSA, NOTHING));
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_block_forward(tr_stream *s, const tr_block *k, const tr_block_io *io)
{
    tress_status st = TRESS_OK;
    TR_TRY(joint_attention(s, k, io));
    TR_TRY(feed_forward(s, io->image, &k->image, io->mod.image, (addend){ io->control, io->control_scale }));
    tr_probe_show(io->probe, "image", io->i_block, io->image);
    if (k->text.up) {
        TR_TRY(feed_forward(s, io->text, &k->text, io->mod.text, NOTHING));
        tr_probe_show(io->probe, "text", io->i_block, io->text);
    }
done:
    return st;
}
