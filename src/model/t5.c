/* T5's encoder: RMS norms, no biases, attention without scale and with a bias by distance that all layers share.
 * Raffel et al. 2020, arXiv:1910.10683; v1.1: Shazeer 2020, arXiv:2002.05202; spec/text.md section 3.
 * On the CPU the weights (9.5 GB for XXL in 16 bit) are read where they are mapped, once each per call, and never copied. */
#include "model/encoder.h"

#include <math.h>

#define N_LINEAR 7
enum { Q, K, V, O, WI, WI_GATE, WO };           /* WI_GATE: the factor of a gated feed-forward */

typedef struct t5_layer { tr_tensor w[N_LINEAR], norm[2]; } t5_layer;

struct tr_t5 {
    tr_device   *device;
    tr_weights  *weights;                       /* borrowed: blocks that travel are called for */
    tr_t5_config config;
    tr_tensor shared, bias, norm;               /* [n_vocab, d], [n_bucket, n_head], [d] */
    t5_layer *layer;                            /* [n_layer] */
};

static tress_status layer_open(t5_layer *l, tr_weights *w, const tr_t5_config *c, int i)
{
    tress_status st = TRESS_OK;
    const char *const name[N_LINEAR] = { "0.SelfAttention.q", "0.SelfAttention.k", "0.SelfAttention.v", "0.SelfAttention.o",
                                         c->gated ? "1.DenseReluDense.wi_0" : "1.DenseReluDense.wi", "1.DenseReluDense.wi_1", "1.DenseReluDense.wo" };
    const int64_t inner = (int64_t)c->n_head * c->d_kv;
    for (int k = 0; k < N_LINEAR; k++) {
        if (k == WI_GATE && !c->gated) continue;
        const int64_t d_out = k < O ? inner : k == O || k == WO ? c->d : c->d_ff, d_in = k == O ? inner : k == WO ? c->d_ff : c->d;
        TR_TRY(tr_weights_get(w, &l->w[k], TR_DIMS(d_out, d_in), "encoder.block.%d.layer.%s.weight", i, name[k]));
    }
    for (int k = 0; k < 2; k++) TR_TRY(tr_weights_get(w, &l->norm[k], TR_DIMS(c->d), "encoder.block.%d.layer.%d.layer_norm.weight", i, k));
done:
    return st;
}

tress_status tr_t5_open(tr_t5 **out, tr_device *d, tr_weights *w, const tr_t5_config *c)
{
    tress_status st = TRESS_OK;
    tr_t5 *m = NULL;
    TR_TRY(tr_alloc((void **)&m, sizeof *m));
    m->device = d;
    m->weights = w;
    m->config = *c;
    TR_TRY(tr_weights_get(w, &m->shared, TR_DIMS(c->n_vocab, c->d), "shared.weight"));
    TR_TRY(tr_weights_get(w, &m->bias, TR_DIMS(c->n_bucket, c->n_head), "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"));
    TR_TRY(tr_alloc_array((void **)&m->layer, c->n_layer, sizeof *m->layer));
    for (int i = 0; i < c->n_layer; i++) TR_TRY(layer_open(&m->layer[i], w, c, i));
    TR_TRY(tr_weights_get(w, &m->norm, TR_DIMS(c->d), "encoder.final_layer_norm.weight"));
    *out = m;
    m = NULL;
done:
    tr_t5_close(m);
    return st;
}

void tr_t5_close(tr_t5 *m)
{
    if (!m) return;
    tr_free(m->layer);
    tr_free(m);
}

const tr_t5_config *tr_t5_get_config(const tr_t5 *m) { return &m->config; }

typedef struct t5_room { tr_tensor x, h, qkvo[4], f, g, bias; } t5_room;       /* [b n, d] twice, [b n, inner], [b n, d_ff] twice, [n_head, n, n] */

static tress_status layer_forward(tr_stream *s, const t5_layer *l, const tr_t5_config *c, int64_t b, int64_t n, const t5_room *r)
{
    tress_status st = TRESS_OK;
    const tr_dims heads = TR_DIMS(b, n, c->n_head, c->d_kv);
    const tr_epilogue add = { .residual = r->x };
    TR_TRY(tr_rms_norm(s, r->h, r->x, l->norm[0], c->eps));
    for (int i = 0; i < 3; i++) TR_TRY(tr_linear(s, r->qkvo[i], r->h, l->w[Q + i], tr_none(), tr_none(), tr_none(), NULL));
    const tr_attention_args a = {
        .q = tr_reshape(r->qkvo[0], heads), .o = tr_reshape(r->qkvo[3], heads), .scale = 1, .n_segment = 1,
        .segment = { { .k = tr_reshape(r->qkvo[1], heads), .v = tr_reshape(r->qkvo[2], heads), .bias = r->bias } },
    };
    TR_TRY(tr_attention(s, &a));
    TR_TRY(tr_linear(s, r->x, r->qkvo[3], l->w[O], tr_none(), tr_none(), tr_none(), &add));
    TR_TRY(tr_rms_norm(s, r->h, r->x, l->norm[1], c->eps));
    tr_epilogue act = { .act = c->act };
    if (c->gated) {
        TR_TRY(tr_linear(s, r->g, r->h, l->w[WI_GATE], tr_none(), tr_none(), tr_none(), NULL));
        act.mul = r->g;
    }
    TR_TRY(tr_linear(s, r->f, r->h, l->w[WI], tr_none(), tr_none(), tr_none(), &act));
    if (c->relu) TR_TRY(tr_clamp(s, r->f, r->f, 0, INFINITY));
    TR_TRY(tr_linear(s, r->x, r->f, l->w[WO], tr_none(), tr_none(), tr_none(), &add));
done:
    return st;
}

static tress_status check_ids(const tr_t5 *m, tr_stream *s, tr_tensor ids)
{
    char text[TR_DIMS_TEXT];
    if (ids.rank != 2 || ids.shape[0] < 1 || ids.shape[1] < 1)
        return tr_fail(TRESS_E_SHAPE, "the ids are %s, expected [batch, tokens]", tr_dims_text(text, ids.rank, ids.shape));
    TR_ASSERT(ids.dtype == TR_I32 && tr_is_contiguous(ids));
    if (tr_device_is_dry(tr_stream_device(s))) return TRESS_OK;
    const int32_t *id = ids.data;
    for (int64_t i = 0; i < ids.shape[0] * ids.shape[1]; i++)
        if (id[i] < 0 || id[i] >= m->config.n_vocab)
            return tr_fail(TRESS_E_FORMAT, "token %" PRId64 " has the id %" PRId32 ", and T5 knows %d: tokenizer and encoder do not belong together", i, id[i],
                           m->config.n_vocab);
    return TRESS_OK;
}

tress_status tr_t5_encode(tr_t5 *m, tr_stream *s, tr_tensor hidden, tr_tensor ids)
{
    tress_status st = TRESS_OK;
    const tr_t5_config *c = &m->config;
    const tr_dtype t = tr_stream_dtype(s);
    const tr_arena_mark mark = tr_scratch_push(s);
    t5_room r = { 0 };
    TR_TRY(check_ids(m, s, ids));
    const int64_t b = ids.shape[0], n = ids.shape[1], inner = (int64_t)c->n_head * c->d_kv;
    TR_ASSERT(tr_has_dims(hidden, TR_DIMS(b, n, c->d)));
    TR_TRY(tr_scratch(s, &r.x, TR_F32, TR_DIMS(b * n, c->d)));
    TR_TRY(tr_scratch(s, &r.h, t, TR_DIMS(b * n, c->d)));
    for (int i = 0; i < 4; i++) TR_TRY(tr_scratch(s, &r.qkvo[i], t, TR_DIMS(b * n, inner)));
    TR_TRY(tr_scratch(s, &r.f, t, TR_DIMS(b * n, c->d_ff)));
    if (c->gated) TR_TRY(tr_scratch(s, &r.g, t, TR_DIMS(b * n, c->d_ff)));
    TR_TRY(tr_scratch(s, &r.bias, TR_F32, TR_DIMS(c->n_head, n, n)));
    TR_TRY(tr_relative_bias(s, r.bias, m->bias, c->distance_max));
    TR_TRY(tr_embed(s, r.x, m->shared, tr_reshape(ids, TR_DIMS(b * n))));
    for (int i = 0; i < c->n_layer; i++) {
        TR_TRY(tr_stream_poll(s));
        TR_TRY(tr_weights_need(m->weights, s, TR_GROUP_BLOCK(i), 1));
        TR_TRY(layer_forward(s, &m->layer[i], c, b, n, &r));
    }
    for (int64_t i = 0; i < b; i++) TR_TRY(tr_rms_norm(s, tr_index(hidden, 0, i), tr_slice(r.x, 0, i * n, n), m->norm, c->eps));
done:
    tr_scratch_pop(s, mark);
    return st;
}
