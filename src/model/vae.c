/* What an AutoencoderKL is, from its config.json or its tensors, and its layers. */
#include "model/vae_int.h"

#include <stdio.h>
#include <string.h>

#define CHANNELS_MAX 8192
#define LAYERS_MAX 16

/* ---- configuration --------------------------------------------------------------------------------------- */
typedef struct reader { const json_t *o; char where[512]; } reader;

static bool is_null(const reader *r, const char *key)
{
    const json_t *v = json_object_get(r->o, key);
    return !v || json_is_null(v);
}

/* A key whose value is null counts as absent, as in diffusers. */
static tress_status read_int(int *out, const reader *r, const char *key, int min, int max, int absent)
{
    int64_t v = absent;
    const tress_status st = is_null(r, key) ? TRESS_OK : tr_json_int(&v, r->o, key, min, max, absent, r->where);
    if (st == TRESS_OK) *out = (int)v;
    return st;
}

static tress_status read_float(float *out, const reader *r, const char *key, double min, double max, double absent)
{
    double v = absent;
    const tress_status st = is_null(r, key) ? TRESS_OK : tr_json_double(&v, r->o, key, min, max, absent, r->where);
    if (st == TRESS_OK) *out = (float)v;
    return st;
}

static tress_status read_bool(bool *out, const reader *r, const char *key, bool absent)
{
    *out = absent;
    return is_null(r, key) ? TRESS_OK : tr_json_bool(out, r->o, key, absent, r->where);
}

static tress_status read_word(const reader *r, const char *key, const char *expected)
{
    const char *v = expected;
    const tress_status st = is_null(r, key) ? TRESS_OK : tr_json_string(&v, r->o, key, expected, r->where);
    if (st != TRESS_OK) return st;
    if (strcmp(v, expected) != 0) return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is \"%.60s\", expected \"%s\"", r->where, key, v, expected);
    return TRESS_OK;
}

static tress_status read_channels(tr_vae_config *c, const reader *r)
{
    const json_t *list = json_object_get(r->o, "block_out_channels");
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n < 1 || n > TR_LEVEL_MAX)
        return tr_fail(TRESS_E_FORMAT, "%s: \"block_out_channels\" is no list of 1 to %d numbers", r->where, TR_LEVEL_MAX);
    c->n_level = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > CHANNELS_MAX)
            return tr_fail(TRESS_E_FORMAT, "%s: \"block_out_channels\" holds something that is no number from 1 to %d", r->where, CHANNELS_MAX);
        c->channels[i] = (int)json_integer_value(v);
    }
    return TRESS_OK;
}

/* Every level of the one kind that we know, as many as there are channels. */
static tress_status read_levels(const tr_vae_config *c, const reader *r, const char *key, const char *kind)
{
    const json_t *list = json_object_get(r->o, key);
    if (!list || json_is_null(list)) {
        if (c->n_level == 1) return TRESS_OK;                /* diffusers' default is one level */
        return tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is missing, expected %d times \"%s\"", r->where, key, c->n_level, kind);
    }
    bool fine = json_is_array(list) && json_array_size(list) == (size_t)c->n_level;
    for (size_t i = 0; fine && i < json_array_size(list); i++) {
        const char *v = json_string_value(json_array_get(list, i));
        fine = v && strcmp(v, kind) == 0;
    }
    return fine ? TRESS_OK : tr_fail(TRESS_E_FORMAT, "%s: \"%s\" is not %d times \"%s\"", r->where, key, c->n_level, kind);
}

static tress_status config_from_json(tr_vae_config *c, const reader *r)
{
    tress_status st = TRESS_OK;
    TR_TRY(read_word(r, "_class_name", "AutoencoderKL"));
    TR_TRY(read_word(r, "act_fn", "silu"));
    TR_TRY(read_int(&c->channels_in, r, "in_channels", 1, 64, 3));
    TR_TRY(read_int(&c->channels_out, r, "out_channels", 1, 64, 3));
    TR_TRY(read_int(&c->latent_channels, r, "latent_channels", 1, 256, 4));
    TR_TRY(read_channels(c, r));
    TR_TRY(read_levels(c, r, "down_block_types", "DownEncoderBlock2D"));
    TR_TRY(read_levels(c, r, "up_block_types", "UpDecoderBlock2D"));
    TR_TRY(read_int(&c->layers_per_block, r, "layers_per_block", 1, LAYERS_MAX, 1));
    TR_TRY(read_int(&c->norm_groups, r, "norm_num_groups", 1, CHANNELS_MAX, 32));
    TR_TRY(read_float(&c->scale, r, "scaling_factor", 1e-6, 1e6, 0.18215));
    TR_TRY(read_float(&c->shift, r, "shift_factor", -1e6, 1e6, 0));
    TR_TRY(read_bool(&c->quant_conv, r, "use_quant_conv", true));
    TR_TRY(read_bool(&c->post_quant_conv, r, "use_post_quant_conv", true));
    TR_TRY(read_bool(&c->mid_attention, r, "mid_block_add_attention", true));
done:
    return st;
}

/* The extents of a tensor that may be there. */
static bool find(const tr_weights *w, tr_tensor *t, const char *format, ...) TR_PRINTF(3, 4);
static bool find(const tr_weights *w, tr_tensor *t, const char *format, ...)
{
    char name[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    return tr_weights_find(w, name, t);
}

/* A single file has no config: what its tensors say, and for the rest what SD3 and SD3.5 have (spec: 32 groups, 1.5305, 0.0609). */
static tress_status config_from_tensors(tr_vae_config *c, const tr_weights *w)
{
    *c = (tr_vae_config){ .channels_in = 3, .channels_out = 3, .latent_channels = 16, .n_level = 4, .channels = { 128, 256, 512, 512 },
                          .layers_per_block = 2, .norm_groups = 32, .scale = 1.5305f, .shift = 0.0609f, .mid_attention = true };
    tr_tensor t;
    if (!find(w, &t, "encoder.conv_in.weight")) return TRESS_OK;               /* shapes only */
    const char *bad = NULL;
    if (t.rank == 4 && t.shape[1] >= 1 && t.shape[1] <= 64) c->channels_in = (int)t.shape[1];
    else bad = "encoder.conv_in.weight";
    if (!find(w, &t, "decoder.conv_in.weight") || t.rank != 4 || t.shape[1] < 1 || t.shape[1] > 256) bad = "decoder.conv_in.weight";
    else c->latent_channels = (int)t.shape[1];
    if (!find(w, &t, "decoder.conv_out.weight") || t.rank != 4 || t.shape[0] < 1 || t.shape[0] > 64) bad = "decoder.conv_out.weight";
    else c->channels_out = (int)t.shape[0];
    c->n_level = 0;
    while (!bad && c->n_level < TR_LEVEL_MAX && find(w, &t, "encoder.down_blocks.%d.resnets.0.conv1.weight", c->n_level)) {
        if (t.rank != 4 || t.shape[0] < 1 || t.shape[0] > CHANNELS_MAX) bad = "encoder.down_blocks.*.resnets.0.conv1.weight";
        else c->channels[c->n_level++] = (int)t.shape[0];
    }
    if (c->n_level == 0 && !bad) bad = "encoder.down_blocks.0.resnets.0.conv1.weight";
    if (bad) return tr_fail(TRESS_E_FORMAT, "%s: %s is missing or has a shape that no VAE has", tr_weights_where(w), bad);
    c->layers_per_block = 0;
    while (c->layers_per_block < LAYERS_MAX && find(w, &t, "encoder.down_blocks.0.resnets.%d.conv1.weight", c->layers_per_block)) c->layers_per_block++;
    c->quant_conv = find(w, &t, "quant_conv.weight");
    c->post_quant_conv = find(w, &t, "post_quant_conv.weight");
    c->mid_attention = find(w, &t, "decoder.mid_block.attentions.0.group_norm.weight");
    while (c->norm_groups > 1 && c->channels[0] % c->norm_groups) c->norm_groups /= 2;
    return TRESS_OK;
}

tress_status tr_vae_config_read(tr_vae_config *out, tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_vae_config c = { 0 };
    reader r = { .o = tr_weights_config(w) };
    snprintf(r.where, sizeof r.where, "config.json of %s", tr_weights_where(w));
    if (r.o) TR_TRY(config_from_json(&c, &r));
    else TR_TRY(config_from_tensors(&c, w));
    for (int i = 0; i < c.n_level; i++)
        if (c.channels[i] % c.norm_groups)
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %d channels do not make %d groups", tr_weights_where(w), c.channels[i], c.norm_groups));
    *out = c;
done:
    return st;
}

/* ---- layers ---------------------------------------------------------------------------------------------- */
static tress_status open_conv(tr_vae_conv *c, tr_weights *w, int64_t m, int64_t n, int64_t k, const char *name)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_weights_get(w, &c->w, TR_DIMS(m, n, k, k), "%s.weight", name));
    TR_TRY(tr_weights_get(w, &c->b, TR_DIMS(m), "%s.bias", name));
done:
    return st;
}

static tress_status open_norm(tr_vae_norm *n, tr_weights *w, int64_t c, const char *name)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_weights_get(w, &n->w, TR_DIMS(c), "%s.weight", name));
    TR_TRY(tr_weights_get(w, &n->b, TR_DIMS(c), "%s.bias", name));
done:
    return st;
}

#define NAME_LEN 128
static const char *text(char to[NAME_LEN], const char *format, ...) TR_PRINTF(2, 3);
static const char *text(char to[NAME_LEN], const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(to, NAME_LEN, format, ap);
    va_end(ap);
    return to;
}

static tress_status open_resnet(tr_vae_resnet *r, tr_weights *w, int64_t from, int64_t to, const char *at)
{
    tress_status st = TRESS_OK;
    char name[NAME_LEN];
    TR_TRY(open_norm(&r->norm1, w, from, text(name, "%s.norm1", at)));
    TR_TRY(open_conv(&r->conv1, w, to, from, 3, text(name, "%s.conv1", at)));
    TR_TRY(open_norm(&r->norm2, w, to, text(name, "%s.norm2", at)));
    TR_TRY(open_conv(&r->conv2, w, to, to, 3, text(name, "%s.conv2", at)));
    if (from != to) TR_TRY(open_conv(&r->shortcut, w, to, from, 1, text(name, "%s.conv_shortcut", at)));
done:
    return st;
}

static tress_status open_attention(tr_vae_half *h, tr_weights *w, int64_t c, const char *half)
{
    static const char *const names[] = { "to_q", "to_k", "to_v", "to_out.0" };
    tr_vae_conv *const layers[] = { &h->q, &h->k, &h->v, &h->o };
    tress_status st = TRESS_OK;
    char name[NAME_LEN];
    TR_TRY(open_norm(&h->attention_norm, w, c, text(name, "%s.mid_block.attentions.0.group_norm", half)));
    for (int i = 0; i < 4; i++) {
        TR_TRY(tr_weights_get(w, &layers[i]->w, TR_DIMS(c, c), "%s.mid_block.attentions.0.%s.weight", half, names[i]));
        TR_TRY(tr_weights_get(w, &layers[i]->b, TR_DIMS(c), "%s.mid_block.attentions.0.%s.bias", half, names[i]));
    }
done:
    return st;
}

/* Both halves have the same parts; levels of the decoder count from the deepest. */
static tress_status open_half(tr_vae_half *h, tr_weights *w, const tr_vae_config *c, const char *half, bool encoder)
{
    tress_status st = TRESS_OK;
    char name[NAME_LEN];
    const int n = c->n_level, first = encoder ? c->channels[0] : c->channels[n - 1], deep = c->channels[n - 1];
    int from = first;
    h->n_res = c->layers_per_block + (encoder ? 0 : 1);
    TR_TRY(tr_alloc_array((void **)&h->res, (int64_t)n * h->n_res, sizeof *h->res));
    TR_TRY(open_conv(&h->in, w, first, encoder ? c->channels_in : c->latent_channels, 3, text(name, "%s.conv_in", half)));
    for (int i = 0; i < n; i++) {
        const char *const block = encoder ? "down_blocks" : "up_blocks", *const sampler = encoder ? "downsamplers" : "upsamplers";
        const int to = encoder ? c->channels[i] : c->channels[n - 1 - i];
        for (int k = 0; k < h->n_res; k++, from = to)
            TR_TRY(open_resnet(&h->res[i * h->n_res + k], w, from, to, text(name, "%s.%s.%d.resnets.%d", half, block, i, k)));
        if (i + 1 < n) TR_TRY(open_conv(&h->sample[i], w, to, to, 3, text(name, "%s.%s.%d.%s.0.conv", half, block, i, sampler)));
    }
    for (int k = 0; k < 2; k++) TR_TRY(open_resnet(&h->mid[k], w, deep, deep, text(name, "%s.mid_block.resnets.%d", half, k)));
    if (c->mid_attention) TR_TRY(open_attention(h, w, deep, half));
    TR_TRY(open_norm(&h->norm_out, w, from, text(name, "%s.conv_norm_out", half)));
    TR_TRY(open_conv(&h->out, w, encoder ? 2 * c->latent_channels : c->channels_out, from, 3, text(name, "%s.conv_out", half)));
done:
    return st;
}

tress_status tr_vae_open(tr_vae **out, tr_device *d, tr_weights *w, const tr_vae_config *c)
{
    tress_status st = TRESS_OK;
    tr_vae *v = NULL;
    const int n_latent = c->latent_channels;
    TR_ASSERT(c->n_level >= 1 && c->n_level <= TR_LEVEL_MAX);
    TR_TRY(tr_alloc((void **)&v, sizeof *v));
    v->config = *c;
    v->device = d;
    TR_TRY(open_half(&v->encoder, w, c, "encoder", true));
    TR_TRY(open_half(&v->decoder, w, c, "decoder", false));
    if (c->quant_conv) TR_TRY(open_conv(&v->quant, w, 2 * n_latent, 2 * n_latent, 1, "quant_conv"));
    if (c->post_quant_conv) TR_TRY(open_conv(&v->post_quant, w, n_latent, n_latent, 1, "post_quant_conv"));
    *out = v;
    v = NULL;
done:
    tr_vae_close(v);
    return st == TRESS_OK ? st : tr_note(st, "opening the VAE");
}

void tr_vae_close(tr_vae *v)
{
    if (!v) return;
    tr_free(v->encoder.res);
    tr_free(v->decoder.res);
    tr_free(v);
}

const tr_vae_config *tr_vae_get_config(const tr_vae *v) { return &v->config; }
int tr_vae_config_factor(const tr_vae_config *c) { return 1 << (c->n_level - 1); }
int tr_vae_factor(const tr_vae *v) { return tr_vae_config_factor(&v->config); }
