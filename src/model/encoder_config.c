/* What a text encoder is: from its config.json, with transformers' own defaults for keys that are not there, or from the
 * shapes of its tensors where there is no config.json. */
#include "model/encoder.h"

#include <stdio.h>
#include <string.h>

#define EXTENT_MAX (1 << 20)
#define LAYER_MAX 256

typedef struct reader { const json_t *o; char where[512]; } reader;

static reader reader_of(tr_weights *w)
{
    reader r = { .o = tr_weights_config(w) };
    snprintf(r.where, sizeof r.where, "config.json of %s", tr_weights_where(w));
    return r;
}

/* null counts as absent. */
static tress_status read_int(int *out, const reader *r, const char *key, int min, int max, int absent)
{
    tress_status st = TRESS_OK;
    int64_t v = absent;
    if (!json_is_null(json_object_get(r->o, key))) TR_TRY(tr_json_int(&v, r->o, key, min, max, absent, r->where));
    *out = (int)v;
done:
    return st;
}

static tress_status read_eps(float *out, const reader *r, const char *key, double absent)
{
    double v;
    const tress_status st = tr_json_double(&v, r->o, key, 0, 1, absent, r->where);
    if (st == TRESS_OK) *out = (float)v;
    return st;
}

static tress_status read_type(const reader *r, const char *a, const char *b)
{
    const char *type;
    const tress_status st = tr_json_string(&type, r->o, "model_type", a, r->where);
    if (st != TRESS_OK) return st;
    if (strcmp(type, a) != 0 && strcmp(type, b) != 0) return tr_fail(TRESS_E_FORMAT, "%s: \"model_type\" is \"%s\", expected \"%s\"", r->where, type, a);
    return TRESS_OK;
}

static tress_status act_of(tr_act *act, bool *relu, const char *name, const char *key, const char *where)
{
    static const struct { const char *name; tr_act act; } list[] = {
        { "quick_gelu", TR_ACT_GELU_QUICK }, { "gelu", TR_ACT_GELU_ERF }, { "gelu_new", TR_ACT_GELU_TANH },
        { "gelu_pytorch_tanh", TR_ACT_GELU_TANH }, { "silu", TR_ACT_SILU }, { "swish", TR_ACT_SILU },
    };
    *relu = strcmp(name, "relu") == 0;
    *act = TR_ACT_NONE;
    if (*relu) return TRESS_OK;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(name, list[i].name) == 0) return *act = list[i].act, TRESS_OK;
    return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is \"%s\", an activation that is not supported", where, key, name);
}

/* The extents of a tensor whose name is known, -1 where it is not there. */
static void shape_of(tr_weights *w, const char *name, int64_t out[2])
{
    tr_tensor t;
    out[0] = out[1] = -1;
    if (!tr_weights_find(w, name, &t)) return;
    if (t.rank > 0) out[0] = t.shape[0];
    if (t.rank > 1) out[1] = t.shape[1];
}

/* How many layers there are of a name with one %d. */
static int count_layers(tr_weights *w, const char *format)
{
    char name[128];
    tr_tensor t;
    int n = 0;
    for (; n < LAYER_MAX; n++) {
        snprintf(name, sizeof name, format, n);
        if (!tr_weights_find(w, name, &t)) break;
    }
    return n;
}

static tress_status check_sizes(const reader *r, tr_weights *w, const int64_t *sizes, int n)
{
    for (int i = 0; i < n; i++)
        if (sizes[i] < 1 || sizes[i] > EXTENT_MAX)
            return tr_fail(TRESS_E_FORMAT, "%s: no text encoder can be told from %s", tr_weights_where(w), r->o ? "its config.json" : "its tensors");
    return TRESS_OK;
}

/* ---- CLIP ------------------------------------------------------------------------------------------------ */
static tress_status clip_from_shapes(tr_clip_config *c, tr_weights *w)
{
    int64_t token[2], position[2], fc1[2], projection[2];
    const reader r = reader_of(w);
    shape_of(w, "text_model.embeddings.token_embedding.weight", token);
    shape_of(w, "text_model.embeddings.position_embedding.weight", position);
    shape_of(w, "text_model.encoder.layers.0.mlp.fc1.weight", fc1);
    shape_of(w, "text_projection.weight", projection);
    const int n_layer = count_layers(w, "text_model.encoder.layers.%d.mlp.fc1.weight");
    const tress_status st = check_sizes(&r, w, (int64_t[]){ token[0], token[1], position[0], fc1[0], n_layer }, 5);
    if (st != TRESS_OK) return st;
    if (token[1] % 64 != 0) return tr_fail(TRESS_E_FORMAT, "%s: width %" PRId64 " and no config.json that tells the heads", tr_weights_where(w), token[1]);
    /* The two that SD3 has: heads of 64; L with the quick gelu, bigG with the exact one. */
    *c = (tr_clip_config){ .d = (int)token[1], .n_layer = n_layer, .n_head = (int)(token[1] / 64), .d_ff = (int)fc1[0], .n_position = (int)position[0],
                           .n_vocab = (int)token[0], .d_projection = (int)token[1], .eps = 1e-5f, .eos = -1,
                           .act = tr_weights_module(w) == TR_MODULE_CLIP_G ? TR_ACT_GELU_ERF : TR_ACT_GELU_QUICK };
    if (projection[0] >= 1 && projection[0] <= EXTENT_MAX) c->d_projection = (int)projection[0];
    return TRESS_OK;
}

tress_status tr_clip_config_read(tr_clip_config *out, tr_weights *w)
{
    tress_status st = TRESS_OK;
    reader r = reader_of(w);
    tr_clip_config c = { 0 };
    const char *act;
    bool relu;
    int64_t projection[2];
    if (!r.o) return clip_from_shapes(out, w);
    const json_t *inner = json_object_get(r.o, "text_config");         /* the config of a whole CLIP */
    if (json_is_object(inner)) r.o = inner;
    TR_TRY(read_type(&r, "clip_text_model", "clip"));
    TR_TRY(read_int(&c.d, &r, "hidden_size", 1, EXTENT_MAX, 512));
    TR_TRY(read_int(&c.d_ff, &r, "intermediate_size", 1, EXTENT_MAX, 2048));
    TR_TRY(read_int(&c.n_layer, &r, "num_hidden_layers", 1, LAYER_MAX, 12));
    TR_TRY(read_int(&c.n_head, &r, "num_attention_heads", 1, 1024, 8));
    TR_TRY(read_int(&c.n_position, &r, "max_position_embeddings", 1, EXTENT_MAX, 77));
    TR_TRY(read_int(&c.n_vocab, &r, "vocab_size", 1, EXTENT_MAX, 49408));
    TR_TRY(read_int(&c.d_projection, &r, "projection_dim", 1, EXTENT_MAX, 512));
    TR_TRY(read_int(&c.eos, &r, "eos_token_id", 0, EXTENT_MAX, 49407));
    TR_TRY(read_eps(&c.eps, &r, "layer_norm_eps", 1e-5));
    TR_TRY(tr_json_string(&act, r.o, "hidden_act", "quick_gelu", r.where));
    TR_TRY(act_of(&c.act, &relu, act, "hidden_act", r.where));
    if (relu) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: \"hidden_act\" is \"relu\", an activation that is not supported", r.where));
    if (c.d % c.n_head != 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: width %d is no multiple of %d heads", r.where, c.d, c.n_head));
    /* Without a projection, or with the identity that stands for it, the pooled row stays as wide as it is: CLIPTextModel,
     * whose configuration says something else all the same. */
    shape_of(w, "text_projection.weight", projection);
    if (tr_weights_count(w) > 0 && (projection[0] < 0 || (projection[0] == c.d && projection[1] == c.d))) c.d_projection = c.d;
    *out = c;
done:
    return st;
}

/* ---- T5 -------------------------------------------------------------------------------------------------- */
static tress_status t5_from_shapes(tr_t5_config *c, tr_weights *w)
{
    int64_t shared[2], q[2], bias[2], gated[2], plain[2];
    const reader r = reader_of(w);
    shape_of(w, "shared.weight", shared);
    shape_of(w, "encoder.block.0.layer.0.SelfAttention.q.weight", q);
    shape_of(w, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", bias);
    shape_of(w, "encoder.block.0.layer.1.DenseReluDense.wi_0.weight", gated);
    shape_of(w, "encoder.block.0.layer.1.DenseReluDense.wi.weight", plain);
    const int n_layer = count_layers(w, "encoder.block.%d.layer.0.SelfAttention.q.weight");
    const int64_t d_ff = gated[0] > 0 ? gated[0] : plain[0];
    const tress_status st = check_sizes(&r, w, (int64_t[]){ shared[0], shared[1], q[0], bias[0], bias[1], d_ff, n_layer }, 7);
    if (st != TRESS_OK) return st;
    *c = (tr_t5_config){ .d = (int)shared[1], .d_ff = (int)d_ff, .d_kv = (int)(q[0] / bias[1]), .n_layer = n_layer, .n_head = (int)bias[1],
                         .n_vocab = (int)shared[0], .n_bucket = (int)bias[0], .distance_max = 128, .gated = gated[0] > 0,
                         .act = gated[0] > 0 ? TR_ACT_GELU_TANH : TR_ACT_NONE, .relu = gated[0] <= 0, .eps = 1e-6f };
    return TRESS_OK;
}

static tress_status t5_check(const tr_t5_config *c, const char *where)
{
    if (c->n_bucket < 4 || c->n_bucket % 4 != 0 || c->distance_max <= c->n_bucket / 4)
        return tr_fail(TRESS_E_FORMAT, "%s: %d buckets up to distance %d: expected a multiple of 4, and a distance above a quarter of it", where, c->n_bucket,
                       c->distance_max);
    if (c->d_kv < 1) return tr_fail(TRESS_E_FORMAT, "%s: the attention is narrower than its %d heads", where, c->n_head);
    return TRESS_OK;
}

tress_status tr_t5_config_read(tr_t5_config *out, tr_weights *w)
{
    tress_status st = TRESS_OK;
    const reader r = reader_of(w);
    tr_t5_config c = { 0 };
    const char *act;
    if (!r.o) {
        TR_TRY(t5_from_shapes(&c, w));
        TR_TRY(t5_check(&c, tr_weights_where(w)));
        return *out = c, TRESS_OK;
    }
    TR_TRY(read_type(&r, "t5", "mt5"));
    TR_TRY(read_int(&c.d, &r, "d_model", 1, EXTENT_MAX, 512));
    TR_TRY(read_int(&c.d_ff, &r, "d_ff", 1, EXTENT_MAX, 2048));
    TR_TRY(read_int(&c.d_kv, &r, "d_kv", 1, 4096, 64));
    TR_TRY(read_int(&c.n_layer, &r, "num_layers", 1, LAYER_MAX, 6));
    TR_TRY(read_int(&c.n_head, &r, "num_heads", 1, 1024, 8));
    TR_TRY(read_int(&c.n_vocab, &r, "vocab_size", 1, EXTENT_MAX, 32128));
    TR_TRY(read_int(&c.n_bucket, &r, "relative_attention_num_buckets", 4, 1024, 32));
    TR_TRY(read_int(&c.distance_max, &r, "relative_attention_max_distance", 2, EXTENT_MAX, 128));
    TR_TRY(read_eps(&c.eps, &r, "layer_norm_epsilon", 1e-6));
    TR_TRY(tr_json_string(&act, r.o, "feed_forward_proj", "relu", r.where));
    c.gated = strncmp(act, "gated-", 6) == 0;
    /* "gated-gelu" means the tanh form, as T5 v1.1 was trained with; transformers keeps that reading of the name. */
    TR_TRY(act_of(&c.act, &c.relu, strcmp(act, "gated-gelu") == 0 ? "gelu_new" : act + (c.gated ? 6 : 0), "feed_forward_proj", r.where));
    if (c.gated && c.relu) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: \"feed_forward_proj\" is \"%s\", an activation that is not supported", r.where, act));
    TR_TRY(t5_check(&c, r.where));
    *out = c;
done:
    return st;
}
