/* What an SD3 transformer or ControlNet is: from its config.json, with diffusers' own defaults for keys that are not there,
 * or from the shapes of its tensors where there is no config.json. */
#include "model/controlnet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- config.json ----------------------------------------------------------------------------------------- */
typedef struct reader { const json_t *o; char where[512]; } reader;

static void reader_init(reader *r, tr_weights *w)
{
    r->o = tr_weights_config(w);
    snprintf(r->where, sizeof r->where, "config.json of %s", tr_weights_where(w));
}

/* A key whose value is null counts as absent, as in diffusers. */
static tress_status read_int(int *out, const reader *r, const char *key, int min, int max, int absent)
{
    int64_t v = absent;
    if (!json_is_null(json_object_get(r->o, key))) {
        const tress_status st = tr_json_int(&v, r->o, key, min, max, absent, r->where);
        if (st != TRESS_OK) return st;
    }
    *out = (int)v;
    return TRESS_OK;
}

static bool is_set(const reader *r, const char *key)
{
    const json_t *v = json_object_get(r->o, key);
    return v && !json_is_null(v);
}

static tress_status read_class(const reader *r, const char *expected)
{
    const char *name;
    const tress_status st = tr_json_string(&name, r->o, "_class_name", expected, r->where);
    if (st != TRESS_OK) return st;
    if (strcmp(name, expected) != 0)
        return tr_fail(TRESS_E_FORMAT, "%s: \"_class_name\" is \"%s\", expected \"%s\"", r->where, name, expected);
    return TRESS_OK;
}

static tress_status read_qk_norm(bool *out, const reader *r)
{
    const char *name = NULL;
    *out = is_set(r, "qk_norm");
    if (!*out) return TRESS_OK;
    const tress_status st = tr_json_string(&name, r->o, "qk_norm", NULL, r->where);
    if (st != TRESS_OK) return st;
    if (strcmp(name, "rms_norm") != 0)
        return tr_fail(TRESS_E_FORMAT, "%s: \"qk_norm\" is \"%s\", expected null or \"rms_norm\"", r->where, name);
    return TRESS_OK;
}

static tress_status read_dual(bool dual[TR_BLOCK_MAX], const reader *r, int n_block)
{
    const json_t *list = json_object_get(r->o, "dual_attention_layers");
    memset(dual, 0, TR_BLOCK_MAX * sizeof *dual);
    if (!list || json_is_null(list)) return TRESS_OK;
    if (!json_is_array(list)) return tr_fail(TRESS_E_FORMAT, "%s: \"dual_attention_layers\" is no array", r->where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= n_block)
            return tr_fail(TRESS_E_FORMAT, "%s: \"dual_attention_layers\" holds something that is no block 0 to %d at place %zu",
                           r->where, n_block - 1, i);
        dual[json_integer_value(v)] = true;
    }
    return TRESS_OK;
}

/* A key that we do not know may change the network, unless it says that something is off. */
static tress_status check_keys(const reader *r, const char *const *known)
{
    for (void *i = json_object_iter((json_t *)r->o); i; i = json_object_iter_next((json_t *)r->o, i)) {
        const char *key = json_object_iter_key(i);
        const json_t *v = json_object_iter_value(i);
        bool fine = key[0] == '_' || json_is_null(v) || json_is_false(v) || (json_is_array(v) && json_array_size(v) == 0);
        for (int j = 0; !fine && known[j]; j++) fine = strcmp(key, known[j]) == 0;
        if (!fine) {
            char text[64] = "";
            const size_t n = json_dumpb(v, text, sizeof text - 1, JSON_COMPACT | JSON_ENCODE_ANY);
            text[n < sizeof text ? n : sizeof text - 1] = 0;
            return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is %.60s, a key that is not supported", r->where, key, text);
        }
    }
    return TRESS_OK;
}

#define D_MAX 16384                             /* channels of a row; SD3.5-Large has 2432 */
static tress_status check_width(const char *where, int n_head, int d_head)
{
    if (d_head % 8 || (int64_t)n_head * d_head > D_MAX || ((int64_t)n_head * d_head) % 4)
        return tr_fail(TRESS_E_FORMAT, "%s: %d heads of %d channels are not supported: expected a multiple of 8 a head, "
                                       "at most %d in all",
                       where, n_head, d_head, D_MAX);
    return TRESS_OK;
}

/* Text tokens come out of the embedder as wide as image tokens. */
static tress_status check_caption(const reader *r, int width)
{
    int d = 0;
    const tress_status st = read_int(&d, r, "caption_projection_dim", 1, D_MAX, 1152);
    if (st != TRESS_OK) return st;
    if (d != width)
        return tr_fail(TRESS_E_FORMAT, "%s: \"caption_projection_dim\" is %d, expected num_attention_heads x attention_head_dim, %d",
                       r->where, d, width);
    return TRESS_OK;
}

static tress_status mmdit_from_json(tr_mmdit_config *c, const reader *r)
{
    static const char *const known[] = {
        "sample_size", "patch_size", "in_channels", "num_layers", "attention_head_dim", "num_attention_heads", "joint_attention_dim", "caption_projection_dim", "pooled_projection_dim", "out_channels", "pos_embed_max_size",
        "dual_attention_layers", "qk_norm", NULL };
    tress_status st = TRESS_OK;
    TR_TRY(read_class(r, "SD3Transformer2DModel"));
    TR_TRY(check_keys(r, known));
    TR_TRY(read_int(&c->sample_size, r, "sample_size", 1, 4096, 128));
    TR_TRY(read_int(&c->patch, r, "patch_size", 1, 8, 2));
    TR_TRY(read_int(&c->channels_in, r, "in_channels", 1, 256, 16));
    TR_TRY(read_int(&c->channels_out, r, "out_channels", 1, 256, c->channels_in));
    TR_TRY(read_int(&c->n_block, r, "num_layers", 1, TR_BLOCK_MAX, 18));
    TR_TRY(read_int(&c->d_head, r, "attention_head_dim", 8, 256, 64));
    TR_TRY(read_int(&c->n_head, r, "num_attention_heads", 1, 512, 18));
    TR_TRY(read_int(&c->d_context, r, "joint_attention_dim", 1, 65536, 4096));
    TR_TRY(read_int(&c->d_pooled, r, "pooled_projection_dim", 1, 65536, 2048));
    TR_TRY(read_int(&c->pos_max, r, "pos_embed_max_size", 1, 1024, 96));
    TR_TRY(check_width(r->where, c->n_head, c->d_head));
    TR_TRY(check_caption(r, c->n_head * c->d_head));
    TR_TRY(read_qk_norm(&c->qk_norm, r));
    TR_TRY(read_dual(c->dual, r, c->n_block));
done:
    return st;
}

static tress_status controlnet_from_json(tr_controlnet_config *c, const reader *r)
{
    static const char *const known[] = {
        "sample_size", "patch_size", "in_channels", "num_layers", "attention_head_dim", "num_attention_heads", "joint_attention_dim", "caption_projection_dim", "pooled_projection_dim", "out_channels", "pos_embed_max_size",
        "extra_conditioning_channels", "dual_attention_layers", "qk_norm", "pos_embed_type", "use_pos_embed",
        "force_zeros_for_pooled_projection", NULL };
    tress_status st = TRESS_OK;
    bool own_embed;
    TR_TRY(read_class(r, "SD3ControlNetModel"));
    TR_TRY(check_keys(r, known));
    TR_TRY(read_int(&c->patch, r, "patch_size", 1, 8, 2));
    TR_TRY(read_int(&c->channels_in, r, "in_channels", 1, 256, 16));
    TR_TRY(read_int(&c->channels_extra, r, "extra_conditioning_channels", 0, 256, 0));
    TR_TRY(read_int(&c->n_block, r, "num_layers", 1, TR_BLOCK_MAX, 18));
    TR_TRY(read_int(&c->d_head, r, "attention_head_dim", 8, 256, 64));
    TR_TRY(read_int(&c->n_head, r, "num_attention_heads", 1, 512, 18));
    TR_TRY(read_int(&c->d_pooled, r, "pooled_projection_dim", 1, 65536, 2048));
    TR_TRY(check_width(r->where, c->n_head, c->d_head));
    /* For these two, null is a value of its own and differs from being absent. */
    const bool text = is_set(r, "joint_attention_dim") || !json_object_get(r->o, "joint_attention_dim");
    if (text) TR_TRY(read_int(&c->d_context, r, "joint_attention_dim", 1, 65536, 4096));
    TR_TRY(tr_json_bool(&own_embed, r->o, "use_pos_embed", true, r->where));
    if (own_embed) {
        const char *type = "null";
        if (is_set(r, "pos_embed_type") || !json_object_get(r->o, "pos_embed_type"))
            TR_TRY(tr_json_string(&type, r->o, "pos_embed_type", "sincos", r->where));
        if (strcmp(type, "sincos") != 0)
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: \"pos_embed_type\" is %s beside \"use_pos_embed\" true, expected \"sincos\"",
                           r->where, type));
        TR_TRY(read_int(&c->pos_max, r, "pos_embed_max_size", 1, 1024, 96));
    }
    if (text) {                                 /* diffusers' block without text has neither */
        TR_TRY(check_caption(r, c->n_head * c->d_head));
        TR_TRY(read_qk_norm(&c->qk_norm, r));
        TR_TRY(read_dual(c->dual, r, c->n_block));
    }
    TR_TRY(tr_json_bool(&c->zero_pooled, r->o, "force_zeros_for_pooled_projection", true, r->where));
done:
    return st;
}

/* ---- shapes ---------------------------------------------------------------------------------------------- */
/* The tensor of that name, which must have this rank and extents of 1 to 65,536. */
static tress_status need(tr_tensor *out, tr_weights *w, int rank, const char *name)
{
    tr_tensor t;
    char text[TR_DIMS_TEXT];
    if (!tr_weights_find(w, name, &t))
        return tr_fail(TRESS_E_FORMAT, "%s has no config.json and no tensor %s: not a network of this kind",
                       tr_weights_where(w), name);
    bool fine = t.rank == rank;
    for (int i = 0; fine && i < rank; i++) fine = t.shape[i] >= 1 && t.shape[i] <= 65536;
    if (!fine)
        return tr_fail(TRESS_E_SHAPE, "%s: %s is %s, expected rank %d and extents up to 65536", tr_weights_where(w), name,
                       tr_dims_text(text, t.rank, t.shape), rank);
    *out = t;
    return TRESS_OK;
}

static bool has(tr_weights *w, const char *format, int i)
{
    char name[128];
    tr_tensor t;
    snprintf(name, sizeof name, format, i);
    return tr_weights_find(w, name, &t);
}

static tress_status patch_from_shape(int *out, tr_weights *w, tr_tensor proj)
{
    if (proj.shape[2] > 8)
        return tr_fail(TRESS_E_SHAPE, "%s: patches of %" PRId64 " latent pixels, expected at most 8",
                       tr_weights_where(w), proj.shape[2]);
    *out = (int)proj.shape[2];
    return TRESS_OK;
}

/* The blocks that both networks have: how many, their heads, their second attention. */
static tress_status blocks_from_shapes(int *n_block, int *n_head, int *d_head, bool *qk_norm, bool dual[TR_BLOCK_MAX], tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_tensor t;
    int n = 0;
    while (n <= TR_BLOCK_MAX && has(w, "transformer_blocks.%d.attn.to_q.weight", n)) n++;
    if (n < 1 || n > TR_BLOCK_MAX)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: expected 1 to %d blocks transformer_blocks.N.attn.to_q.weight, found %s",
                       tr_weights_where(w), TR_BLOCK_MAX, n ? "more" : "none"));
    TR_TRY(need(&t, w, 2, "transformer_blocks.0.attn.to_q.weight"));
    const int64_t d = t.shape[0];
    *qk_norm = has(w, "transformer_blocks.%d.attn.norm_q.weight", 0);
    *d_head = 64;                               /* all released networks; a norm tells */
    if (*qk_norm) {
        TR_TRY(need(&t, w, 1, "transformer_blocks.0.attn.norm_q.weight"));
        *d_head = (int)t.shape[0];
    }
    if (d % *d_head)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: width %" PRId64 " is no multiple of %d channels a head", tr_weights_where(w), d, *d_head));
    *n_head = (int)(d / *d_head);
    TR_TRY(check_width(tr_weights_where(w), *n_head, *d_head));
    for (int i = 0; i < TR_BLOCK_MAX; i++) dual[i] = i < n && has(w, "transformer_blocks.%d.attn2.to_q.weight", i);
    *n_block = n;
done:
    return st;
}

/* P of a position buffer [1, P P, d]. */
static tress_status pos_from_shapes(int *out, tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_tensor t;
    char text[TR_DIMS_TEXT];
    if (!tr_weights_find(w, "pos_embed.pos_embed", &t))
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s has no config.json and no tensor pos_embed.pos_embed", tr_weights_where(w)));
    const int p = t.rank == 3 && t.shape[1] > 0 && t.shape[1] <= 1024 * 1024 ? (int)lround(sqrt((double)t.shape[1])) : 0;
    if (p < 1 || (int64_t)p * p != t.shape[1])
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: pos_embed.pos_embed is %s, expected [1, P x P, width]", tr_weights_where(w),
                       tr_dims_text(text, t.rank, t.shape)));
    *out = p;
done:
    return st;
}

static tress_status mmdit_from_shapes(tr_mmdit_config *c, tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_tensor t;
    TR_TRY(blocks_from_shapes(&c->n_block, &c->n_head, &c->d_head, &c->qk_norm, c->dual, w));
    TR_TRY(pos_from_shapes(&c->pos_max, w));
    TR_TRY(need(&t, w, 4, "pos_embed.proj.weight"));
    c->channels_in = (int)t.shape[1];
    TR_TRY(patch_from_shape(&c->patch, w, t));
    TR_TRY(need(&t, w, 2, "proj_out.weight"));
    c->channels_out = (int)(t.shape[0] / ((int64_t)c->patch * c->patch));
    TR_TRY(need(&t, w, 2, "context_embedder.weight"));
    c->d_context = (int)t.shape[1];
    TR_TRY(need(&t, w, 2, "time_text_embed.text_embedder.linear_1.weight"));
    c->d_pooled = (int)t.shape[1];
    c->sample_size = 128;
done:
    return st;
}

static tress_status controlnet_from_shapes(tr_controlnet_config *c, tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_tensor t, latent;
    TR_TRY(blocks_from_shapes(&c->n_block, &c->n_head, &c->d_head, &c->qk_norm, c->dual, w));
    TR_TRY(need(&t, w, 4, "pos_embed_input.proj.weight"));
    TR_TRY(patch_from_shape(&c->patch, w, t));
    c->channels_in = (int)(t.shape[1] < 16 ? t.shape[1] : 16);
    if (tr_weights_find(w, "pos_embed.proj.weight", &latent)) {
        TR_TRY(need(&latent, w, 4, "pos_embed.proj.weight"));
        c->channels_in = (int)latent.shape[1];
        TR_TRY(pos_from_shapes(&c->pos_max, w));            /* without it: the unchained 2B net, which is another network */
    }
    c->channels_extra = (int)t.shape[1] - c->channels_in;
    if (c->channels_extra < 0)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: the condition has %" PRId64 " channels, fewer than the latent's %d", tr_weights_where(w),
                       t.shape[1], c->channels_in));
    if (tr_weights_find(w, "context_embedder.weight", &t)) {
        TR_TRY(need(&t, w, 2, "context_embedder.weight"));
        c->d_context = (int)t.shape[1];
    }
    TR_TRY(need(&t, w, 2, "time_text_embed.text_embedder.linear_1.weight"));
    c->d_pooled = (int)t.shape[1];
    c->zero_pooled = c->pos_max > 0;            /* the 8B nets read the pooled text, the others were trained on zeros */
done:
    return st;
}

/* ---- doors ----------------------------------------------------------------------------------------------- */
tress_status tr_mmdit_config_read(tr_mmdit_config *out, tr_weights *w)
{
    tr_mmdit_config c = { 0 };
    reader r;
    reader_init(&r, w);
    const tress_status st = r.o ? mmdit_from_json(&c, &r) : mmdit_from_shapes(&c, w);
    if (st == TRESS_OK) *out = c;
    return st;
}

tress_status tr_controlnet_config_read(tr_controlnet_config *out, tr_weights *w)
{
    tr_controlnet_config c = { 0 };
    reader r;
    reader_init(&r, w);
    const tress_status st = r.o ? controlnet_from_json(&c, &r) : controlnet_from_shapes(&c, w);
    if (st == TRESS_OK) *out = c;
    return st;
}
