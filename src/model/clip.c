/* CLIP's text transformer: pre-norm, causal. Radford et al. 2021, arXiv:2103.00020; spec/text.md section 2. */
#include "model/encoder.h"

#include <math.h>

#define N_LINEAR 6
enum { Q, K, V, O, FC1, FC2 };

typedef struct clip_layer {
    tr_tensor w[N_LINEAR], b[N_LINEAR];         /* [d, d] four times, [d_ff, d], [d, d_ff] */
    tr_tensor norm_w[2], norm_b[2];             /* [d] */
} clip_layer;

struct tr_clip {
    tr_device     *device;
    tr_clip_config config;
    tr_tensor token, position;                  /* [n_vocab, d], [n_position, d] */
    tr_tensor norm_w, norm_b, projection;       /* [d], [d], [d_projection, d] or none */
    clip_layer *layer;                          /* [n_layer] */
    int32_t    *index;                          /* [n_position] 0, 1, .. */
};

static tress_status layer_open(clip_layer *l, tr_weights *w, const tr_clip_config *c, int i)
{
    tress_status st = TRESS_OK;
    static const char *const name[N_LINEAR] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2" };
    const char *const base = "text_model.encoder.layers";
    for (int k = 0; k < N_LINEAR; k++) {
        const int64_t d_out = k == FC1 ? c->d_ff : c->d, d_in = k == FC2 ? c->d_ff : c->d;
        TR_TRY(tr_weights_get(w, &l->w[k], TR_DIMS(d_out, d_in), "%s.%d.%s.weight", base, i, name[k]));
        TR_TRY(tr_weights_get(w, &l->b[k], TR_DIMS(d_out), "%s.%d.%s.bias", base, i, name[k]));
    }
    for (int k = 0; k < 2; k++) {
        TR_TRY(tr_weights_get(w, &l->norm_w[k], TR_DIMS(c->d), "%s.%d.layer_norm%d.weight", base, i, k + 1));
        TR_TRY(tr_weights_get(w, &l->norm_b[k], TR_DIMS(c->d), "%s.%d.layer_norm%d.bias", base, i, k + 1));
    }
done:
    return st;
}

tress_status tr_clip_open(tr_clip **out, tr_device *d, tr_weights *w, const tr_clip_config *c)
{
    tress_status st = TRESS_OK;
    tr_clip *m = NULL;
    TR_TRY(tr_alloc((void **)&m, sizeof *m));
    m->device = d;
    m->config = *c;
    TR_TRY(tr_weights_get(w, &m->token, TR_DIMS(c->n_vocab, c->d), "text_model.embeddings.token_embedding.weight"));
    TR_TRY(tr_weights_get(w, &m->position, TR_DIMS(c->n_position, c->d), "text_model.embeddings.position_embedding.weight"));
    TR_TRY(tr_alloc_array((void **)&m->layer, c->n_layer, sizeof *m->layer));
    for (int i = 0; i < c->n_layer; i++) TR_TRY(layer_open(&m->layer[i], w, c, i));
    TR_TRY(tr_weights_get(w, &m->norm_w, TR_DIMS(c->d), "text_model.final_layer_norm.weight"));
    TR_TRY(tr_weights_get(w, &m->norm_b, TR_DIMS(c->d), "text_model.final_layer_norm.bias"));
    if (c->d_projection == c->d) TR_TRY(tr_weights_get_optional(w, &m->projection, TR_DIMS(c->d, c->d), "text_projection.weight"));
    else TR_TRY(tr_weights_get(w, &m->projection, TR_DIMS(c->d_projection, c->d), "text_projection.weight"));
    TR_TRY(tr_alloc_array((void **)&m->index, c->n_position, sizeof *m->index));
    for (int i = 0; i < c->n_position; i++) m->index[i] = i;
    *out = m;
    m = NULL;
done:
    tr_clip_close(m);
    return st;
}

void tr_clip_close(tr_clip *m)
{
    if (!m) return;
    tr_free(m->layer);
    tr_free(m->index);
    tr_free(m);
}

const tr_clip_config *tr_clip_get_config(const tr_clip *m) { return &m->config; }

/* x [b n, d] += the layer's attention and feed-forward; h [b n, d], q, k, v [b n, d], f [b n, d_ff] are room. */
static tress_status layer_forward(tr_stream *s, const clip_layer *l, const tr_clip_config *c, int64_t b, int64_t n, tr_tensor x, tr_tensor h,
                                  const tr_tensor qkv[3], tr_tensor f)
{
    tress_status st = TRESS_OK;
    const tr_dims heads = TR_DIMS(b, n, c->n_head, c->d / c->n_head);
    const tr_epilogue add = { .residual = x }, act = { .act = c->act };
    TR_TRY(tr_layer_norm(s, h, x, l->norm_w[0], l->norm_b[0], c->eps));
    for (int i = 0; i < 3; i++) TR_TRY(tr_linear(s, qkv[i], h, l->w[Q + i], l->b[Q + i], tr_none(), tr_none(), NULL));
    const tr_attention_args a = {
        .q = tr_reshape(qkv[0], heads), .o = tr_reshape(h, heads), .scale = (float)(1 / sqrt((double)c->d / c->n_head)), .n_segment = 1,
        .segment = { { .k = tr_reshape(qkv[1], heads), .v = tr_reshape(qkv[2], heads), .causal = true } },
    };
    TR_TRY(tr_attention(s, &a));
    TR_TRY(tr_linear(s, x, h, l->w[O], l->b[O], tr_none(), tr_none(), &add));
    TR_TRY(tr_layer_norm(s, h, x, l->norm_w[1], l->norm_b[1], c->eps));
    TR_TRY(tr_linear(s, f, h, l->w[FC1], l->b[FC1], tr_none(), tr_none(), &act));
    TR_TRY(tr_linear(s, x, f, l->w[FC2], l->b[FC2], tr_none(), tr_none(), &add));
done:
    return st;
}

/* The row that stands for the whole text, by transformers' rule: the first end token. Configurations from before 2023 name
 * the id 2, which is no end token: then the largest id, which is; a text without it gives row 0. */
static int64_t pooled_row(const int32_t *id, int64_t n, int eos, int end_id)
{
    int64_t best = 0;
    if (eos == 2) {
        for (int64_t i = 1; i < n; i++)
            if (id[i] > id[best]) best = i;
        return best;
    }
    for (int64_t i = 0; i < n; i++)
        if (id[i] == (eos >= 0 ? eos : end_id)) return i;
    return 0;
}

static tress_status check_ids(const tr_clip *m, tr_stream *s, tr_tensor ids)
{
    char text[TR_DIMS_TEXT];
    tr_dims_text(text, ids.rank, ids.shape);
    if (ids.rank != 2 || ids.shape[0] < 1 || ids.shape[1] < 1 || ids.shape[1] > m->config.n_position)
        return tr_fail(TRESS_E_SHAPE, "the ids are %s, expected [batch, 1 to %d]", text, m->config.n_position);
    TR_ASSERT(ids.dtype == TR_I32 && tr_is_contiguous(ids));
    if (tr_device_is_dry(tr_stream_device(s))) return TRESS_OK;
    const int32_t *id = ids.data;
    for (int64_t i = 0; i < ids.shape[0] * ids.shape[1]; i++)
        if (id[i] < 0 || id[i] >= m->config.n_vocab)
            return tr_fail(TRESS_E_FORMAT, "token %" PRId64 " has the id %" PRId32 ", and the text encoder knows %d: tokenizer and encoder do not belong together",
                           i, id[i], m->config.n_vocab);
    return TRESS_OK;
}

tress_status tr_clip_encode(tr_clip *m, tr_stream *s, tr_tensor hidden, tr_tensor pooled, tr_tensor ids, int end_id)
{
    tress_status st = TRESS_OK;
    const tr_clip_config *c = &m->config;
    const tr_dtype t = tr_stream_dtype(s);
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_tensor x, h, qkv[3], f, last;
    TR_TRY(check_ids(m, s, ids));
    const int64_t b = ids.shape[0], n = ids.shape[1], d = c->d;
    TR_ASSERT(tr_is_none(hidden) || tr_has_dims(hidden, TR_DIMS(b, n, d)));
    TR_ASSERT(tr_is_none(pooled) || tr_has_dims(pooled, TR_DIMS(b, c->d_projection)));
    TR_TRY(tr_scratch(s, &x, t, TR_DIMS(b * n, d)));
    TR_TRY(tr_scratch(s, &h, t, TR_DIMS(b * n, d)));
    for (int i = 0; i < 3; i++) TR_TRY(tr_scratch(s, &qkv[i], t, TR_DIMS(b * n, d)));
    TR_TRY(tr_scratch(s, &f, t, TR_DIMS(b * n, c->d_ff)));
    TR_TRY(tr_scratch(s, &last, t, TR_DIMS(1, d)));
    const tr_tensor position = tr_slice(h, 0, 0, n);                           /* h is free until the first layer */
    TR_TRY(tr_embed(s, x, m->token, tr_reshape(ids, TR_DIMS(b * n))));
    TR_TRY(tr_embed(s, position, m->position, tr_view(m->index, TR_I32, TR_DIMS(n))));
    for (int64_t i = 0; i < b; i++) {
        const tr_tensor part = tr_slice(x, 0, i * n, n);
        TR_TRY(tr_axpby(s, part, 1, part, 1, position));
    }
    for (int i = 0; i < c->n_layer; i++) {
        TR_TRY(tr_stream_poll(s));
        if (i == c->n_layer - 1) {                                             /* what enters the last layer, without the final norm */
            if (!tr_is_none(hidden)) TR_TRY(tr_copy(s, hidden, tr_reshape(x, TR_DIMS(b, n, d))));
            if (tr_is_none(pooled)) goto done;
        }
        TR_TRY(layer_forward(s, &m->layer[i], c, b, n, x, h, qkv, f));
    }
    const bool dry = tr_device_is_dry(tr_stream_device(s));
    for (int64_t i = 0; i < b; i++) {                                          /* one by one: the same bytes in any company */
        const int64_t row = dry ? 0 : pooled_row((const int32_t *)ids.data + i * n, n, c->eos, end_id);
        const tr_tensor to = tr_slice(pooled, 0, i, 1);
        TR_TRY(tr_layer_norm(s, last, tr_slice(x, 0, i * n + row, 1), m->norm_w, m->norm_b, c->eps));
        if (tr_is_none(m->projection)) TR_TRY(tr_copy(s, to, last));
        else TR_TRY(tr_linear(s, to, last, m->projection, tr_none(), tr_none(), tr_none(), NULL));
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}
