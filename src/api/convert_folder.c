/* The small files of a model's folder: configurations, index, scheduler, tokenizers. */
#include "api/convert_int.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool convert_is_empty(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    if (!d) return false;
    for (struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n == 0;
}

/* Best effort: what cannot be removed stays, and says by its name that it is no model. */
static void empty_folder(const char *dir, void (*sub)(const char *path))
{
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        const int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (n < 0 || (size_t)n >= sizeof path) continue;
        if (unlink(path) != 0 && sub) sub(path);
    }
    closedir(d);
    (void)rmdir(dir);
}
static void remove_leaf(const char *dir) { empty_folder(dir, NULL); }
static void remove_middle(const char *dir) { empty_folder(dir, remove_leaf); }
void convert_remove(const char *dir) { empty_folder(dir, remove_middle); }

/* ---- configurations -------------------------------------------------------------------------------------- */

static tress_status write_json(const char *dir, const char *name, const json_t *o)
{
    tress_status st = TRESS_OK;
    char *path = NULL, *text = o ? json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9)) : NULL;
    tr_str s = { 0 };
    if (!text) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for %s", name));
    TR_TRY(tr_str_printf(&s, "%s\n", text));
    TR_TRY(tr_path_join(&path, dir, name));
    TR_TRY(tr_file_write(path, s.s, s.len));
done:
    free(text);                                                           /* jansson's own */
    tr_free(path);
    tr_str_fini(&s);
    return st;
}

static json_t *dual_list(const bool dual[TR_BLOCK_MAX])
{
    json_t *o = json_array();
    for (int i = 0; o && i < TR_BLOCK_MAX; i++)
        if (dual[i]) json_array_append_new(o, json_integer(i));
    return o;
}

static json_t *repeated(const char *text, int n)
{
    json_t *o = json_array();
    for (int i = 0; o && i < n; i++) json_array_append_new(o, json_string(text));
    return o;
}

static json_t *integers(const int *v, int n)
{
    json_t *o = json_array();
    for (int i = 0; o && i < n; i++) json_array_append_new(o, json_integer(v[i]));
    return o;
}

static tress_status make_transformer(json_t **out, tr_weights *w)
{
    tr_mmdit_config c;
    const tress_status st = tr_mmdit_config_read(&c, w);
    if (st != TRESS_OK) return st;
    *out = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:i}", "_class_name", "SD3Transformer2DModel",
                     "sample_size", c.sample_size, "patch_size", c.patch, "in_channels", c.channels_in, "out_channels", c.channels_out,
                     "num_layers", c.n_block, "attention_head_dim", c.d_head, "num_attention_heads", c.n_head, "joint_attention_dim", c.d_context,
                     "pooled_projection_dim", c.d_pooled, "pos_embed_max_size", c.pos_max, "dual_attention_layers", dual_list(c.dual),
                     "caption_projection_dim", c.n_head * c.d_head);
    if (*out) json_object_set_new(*out, "qk_norm", c.qk_norm ? json_string("rms_norm") : json_null());
    return TRESS_OK;
}

static tress_status make_controlnet(json_t **out, tr_weights *w)
{
    tr_controlnet_config c;
    const tress_status st = tr_controlnet_config_read(&c, w);
    if (st != TRESS_OK) return st;
    *out = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:o, s:i}", "_class_name", "SD3ControlNetModel",
                     "sample_size", 128, "patch_size", c.patch, "in_channels", c.channels_in, "out_channels", c.channels_in, "num_layers", c.n_block,
                     "attention_head_dim", c.d_head, "num_attention_heads", c.n_head, "pooled_projection_dim", c.d_pooled,
                     "force_zeros_for_pooled_projection", (int)c.zero_pooled, "dual_attention_layers", dual_list(c.dual),
                     "extra_conditioning_channels", c.channels_extra);
    if (!*out) return TRESS_OK;
    json_object_set_new(*out, "qk_norm", c.qk_norm ? json_string("rms_norm") : json_null());
    json_object_set_new(*out, "joint_attention_dim", c.d_context ? json_integer(c.d_context) : json_null());
    json_object_set_new(*out, "caption_projection_dim", json_integer(c.d_context ? c.n_head * c.d_head : 2048));
    json_object_set_new(*out, "pos_embed_max_size", c.pos_max ? json_integer(c.pos_max) : json_null());
    json_object_set_new(*out, "pos_embed_type", c.pos_max ? json_string("sincos") : json_null());
    json_object_set_new(*out, "use_pos_embed", json_boolean(c.pos_max > 0));
    return TRESS_OK;
}

/* An extent of a tensor that the module cannot do without. */
static tress_status extent(int *out, tr_weights *w, const char *name, int axis)
{
    tr_tensor t;
    if (!tr_weights_find(w, name, &t) || axis >= t.rank || t.shape[axis] < 1 || t.shape[axis] > 1 << 20)
        return tr_fail(TRESS_E_FORMAT, "%s: tensor %s is missing, or has no extent %d that tells a size", tr_weights_where(w), name, axis);
    *out = (int)t.shape[axis];
    return TRESS_OK;
}

/* How many of format % 0, format % 1, .. there are. */
static int count_layers(const tr_weights *w, const char *format, int max)
{
    tr_tensor t;
    char name[128];
    int n = 0;
    for (; n < max; n++) {
        tr_key_match m = { .index = { n }, .n_index = 1 };
        if (tr_key_name(name, sizeof name, format, false, false, &m) != TRESS_OK || !tr_weights_find(w, name, &t)) break;
    }
    return n;
}

/* Original files hold the SD3 family's VAE: its scale and shift are not in them, and 32 groups fit its widths (fewer, if they do not). */
static tress_status make_vae(json_t **out, tr_weights *w)
{
    tress_status st = TRESS_OK;
    int channels[TR_LEVEL_MAX], latent = 0, in = 0, image = 0, groups = 32;
    char name[128];
    tr_tensor t;
    const int n = count_layers(w, "encoder.down_blocks.#.resnets.0.conv1.weight", TR_LEVEL_MAX), layers = count_layers(w, "encoder.down_blocks.0.resnets.#.conv1.weight", 16);
    if (n == 0) return tr_fail(TRESS_E_FORMAT, "%s: found no encoder.down_blocks", tr_weights_where(w));
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "encoder.down_blocks.%d.resnets.0.conv1.weight", i);
        TR_TRY(extent(&channels[i], w, name, 0));
        while (channels[i] % groups != 0) groups /= 2;
    }
    TR_TRY(extent(&latent, w, "decoder.conv_in.weight", 1));
    TR_TRY(extent(&in, w, "encoder.conv_in.weight", 1));
    TR_TRY(extent(&image, w, "decoder.conv_out.weight", 0));
    *out = json_pack("{s:s, s:s, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:b, s:b, s:b, s:i}", "_class_name", "AutoencoderKL", "act_fn", "silu",
                     "block_out_channels", integers(channels, n), "down_block_types", repeated("DownEncoderBlock2D", n),
                     "up_block_types", repeated("UpDecoderBlock2D", n), "in_channels", in, "out_channels", image, "latent_channels", latent,
                     "layers_per_block", layers, "norm_num_groups", groups, "scaling_factor", 1.5305, "shift_factor", 0.0609,
                     "use_quant_conv", (int)tr_weights_find(w, "quant_conv.weight", &t), "use_post_quant_conv", (int)tr_weights_find(w, "post_quant_conv.weight", &t),
                     "mid_block_add_attention", (int)tr_weights_find(w, "encoder.mid_block.attentions.0.to_q.weight", &t), "force_upcast", 1, "sample_size", 1024);
done:
    return st;
}

/* Heads of both have 64 channels. */
static tress_status make_clip(json_t **out, tr_weights *w)
{
    tress_status st = TRESS_OK;
    int d = 0, vocab = 0, positions = 0, ff = 0, projection = 0;
    const bool is_l = tr_weights_module(w) == TR_MODULE_CLIP_L;
    TR_TRY(extent(&vocab, w, "text_model.embeddings.token_embedding.weight", 0));
    TR_TRY(extent(&d, w, "text_model.embeddings.token_embedding.weight", 1));
    TR_TRY(extent(&positions, w, "text_model.embeddings.position_embedding.weight", 0));
    TR_TRY(extent(&ff, w, "text_model.encoder.layers.0.mlp.fc1.weight", 0));
    TR_TRY(extent(&projection, w, "text_projection.weight", 0));
    if (d % 64 != 0) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: width %d, expected a multiple of 64", tr_weights_where(w), d));
    *out = json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:s, s:i, s:i, s:i}", "architectures", "CLIPTextModelWithProjection",
                     "model_type", "clip_text_model", "hidden_size", d, "num_hidden_layers", count_layers(w, "text_model.encoder.layers.#.mlp.fc1.weight", 256),
                     "num_attention_heads", d / 64, "intermediate_size", ff, "max_position_embeddings", positions, "vocab_size", vocab,
                     "projection_dim", projection, "layer_norm_eps", 1e-5, "hidden_act", is_l ? "quick_gelu" : "gelu",
                     "bos_token_id", vocab - 2, "eos_token_id", vocab - 1, "pad_token_id", is_l ? vocab - 1 : 0);
done:
    return st;
}

static tress_status make_t5(json_t **out, tr_weights *w)
{
    tress_status st = TRESS_OK;
    int d = 0, vocab = 0, ff = 0, inner = 0, heads = 0, buckets = 0;
    tr_tensor t;
    const bool gated = tr_weights_find(w, "encoder.block.0.layer.1.DenseReluDense.wi_1.weight", &t);
    TR_TRY(extent(&vocab, w, "shared.weight", 0));
    TR_TRY(extent(&d, w, "shared.weight", 1));
    TR_TRY(extent(&inner, w, "encoder.block.0.layer.0.SelfAttention.q.weight", 0));
    TR_TRY(extent(&buckets, w, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 0));
    TR_TRY(extent(&heads, w, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 1));
    TR_TRY(extent(&ff, w, gated ? "encoder.block.0.layer.1.DenseReluDense.wi_0.weight" : "encoder.block.0.layer.1.DenseReluDense.wi.weight", 0));
    if (inner % heads != 0) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %d channels of attention, expected a multiple of its %d heads", tr_weights_where(w), inner, heads));
    *out = json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:s, s:i, s:i, s:i, s:b, s:b}", "architectures", "T5EncoderModel",
                     "model_type", "t5", "d_model", d, "d_ff", ff, "d_kv", inner / heads, "num_layers", count_layers(w, "encoder.block.#.layer.1.layer_norm.weight", 256),
                     "num_heads", heads, "vocab_size", vocab, "relative_attention_num_buckets", buckets, "relative_attention_max_distance", 128,
                     "layer_norm_epsilon", 1e-6, "feed_forward_proj", gated ? "gated-gelu" : "relu", "pad_token_id", 0, "eos_token_id", 1,
                     "decoder_start_token_id", 0, "is_encoder_decoder", 1, "tie_word_embeddings", 0);
done:
    return st;
}

tress_status convert_write_config(const char *dir, tr_weights *w, const char *dtype_name)
{
    static tress_status (*const make[CONVERT_MODULES])(json_t **out, tr_weights *w) = { make_transformer, make_controlnet, make_vae, make_clip, make_clip, make_t5 };
    static const char *const dtype_key[] = { "torch_dtype", "dtype" };
    tress_status st = TRESS_OK;
    json_t *o = NULL;
    if (tr_weights_config(w)) o = json_deep_copy(tr_weights_config(w));
    else TR_TRY(make[tr_weights_module(w)](&o, w));
    for (int i = 0; o && dtype_name && i < 2; i++)
        if (json_object_get(o, dtype_key[i])) json_object_set_new(o, dtype_key[i], json_string(dtype_name));
    TR_TRY(write_json(dir, "config.json", o));
done:
    json_decref(o);
    return st;
}

/* ---- the model's own files ------------------------------------------------------------------------------- */

static tress_status copy_folder(const char *from, const char *to, const char *name, bool *copied)
{
    tress_status st = TRESS_OK;
    char *a = NULL, *b = NULL, *x = NULL, *y = NULL, *text = NULL;
    DIR *d = NULL;
    TR_TRY(tr_path_join(&a, from, name));
    TR_TRY(tr_path_join(&b, to, name));
    *copied = tr_dir_exists(a) && (d = opendir(a));
    if (!*copied) goto done;
    TR_TRY(tr_dir_make(b));
    for (struct dirent *e; (e = readdir(d));) {
        size_t n = 0;
        if (e->d_name[0] == '.') continue;
        TR_TRY(tr_path_join(&x, a, e->d_name));
        TR_TRY(tr_path_join(&y, b, e->d_name));
        if (tr_file_exists(x)) {
            TR_TRY(tr_file_read(&text, &n, x, (size_t)64 << 20));
            TR_TRY(tr_file_write(y, text, n));
        }
        tr_free(x);
        tr_free(y);
        tr_free(text);
        x = y = text = NULL;
    }
done:
    if (d) closedir(d);
    tr_free(a);
    tr_free(b);
    tr_free(x);
    tr_free(y);
    tr_free(text);
    return st;
}

static tress_status write_scheduler(const char *dir)
{
    tress_status st = TRESS_OK;
    char *sub = NULL;
    json_t *o = json_pack("{s:s, s:i, s:f}", "_class_name", "FlowMatchEulerDiscreteScheduler", "num_train_timesteps", 1000, "shift", 3.0);
    TR_TRY(tr_path_join(&sub, dir, "scheduler"));
    TR_TRY(tr_dir_make(sub));
    TR_TRY(write_json(sub, "scheduler_config.json", o));
done:
    tr_free(sub);
    json_decref(o);
    return st;
}

tress_status convert_write_model(const char *dir, const char *from, const char *tokenizers, const bool has[CONVERT_MODULES], const tr_host *h)
{
    static const struct { int module; const char *name, *library, *class; } part[] = {
        { TR_MODULE_TRANSFORMER, "transformer", "diffusers", "SD3Transformer2DModel" }, { TR_MODULE_VAE, "vae", "diffusers", "AutoencoderKL" },
        { TR_MODULE_CLIP_L, "text_encoder", "transformers", "CLIPTextModelWithProjection" },
        { TR_MODULE_CLIP_G, "text_encoder_2", "transformers", "CLIPTextModelWithProjection" },
        { TR_MODULE_T5, "text_encoder_3", "transformers", "T5EncoderModel" }, { -1, "tokenizer", "transformers", "CLIPTokenizer" },
        { -1, "tokenizer_2", "transformers", "CLIPTokenizer" }, { -1, "tokenizer_3", "transformers", "T5TokenizerFast" },
    };
    tress_status st = TRESS_OK;
    json_t *o = json_pack("{s:s, s:s, s:[s, s]}", "_class_name", "StableDiffusion3Pipeline", "_diffusers_version", "0.31.0", "scheduler", "diffusers",
                          "FlowMatchEulerDiscreteScheduler");
    const char *source = tokenizers ? tokenizers : from;
    bool copied = false, all = true;
    for (size_t i = 0; o && i < sizeof part / sizeof part[0]; i++) {
        bool here = part[i].module >= 0 && has[part[i].module];
        if (part[i].module < 0) {
            if (source) TR_TRY(copy_folder(source, dir, part[i].name, &here));
            all = all && here;
        }
        json_object_set_new(o, part[i].name, here ? json_pack("[s, s]", part[i].library, part[i].class) : json_pack("[n, n]"));
    }
    TR_TRY(write_json(dir, "model_index.json", o));
    if (from) TR_TRY(copy_folder(from, dir, "scheduler", &copied));
    if (!copied) TR_TRY(write_scheduler(dir));
    if (!all && (has[TR_MODULE_CLIP_L] || has[TR_MODULE_CLIP_G] || has[TR_MODULE_T5]))
        tr_host_note(h, "the model has text encoders but not all tokenizers: name the folder that holds tokenizer/, tokenizer_2/ and tokenizer_3/ to have them copied");
done:
    json_decref(o);
    return st;
}
