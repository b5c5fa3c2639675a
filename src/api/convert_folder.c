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

/* digits: 7 for numbers that we hold as float, so that 1e-6 is written as 1e-06; 15 for those that were read. */
static tress_status write_json(const char *dir, const char *name, const json_t *o, size_t digits)
{
    tress_status st = TRESS_OK;
    char *path = NULL, *text = o ? json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(digits)) : NULL;
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

static tress_status make_vae(json_t **out, tr_weights *w)
{
    tr_vae_config c;
    const tress_status st = tr_vae_config_read(&c, w);
    if (st != TRESS_OK) return st;
    *out = json_pack("{s:s, s:s, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:b, s:b, s:b, s:i}", "_class_name", "AutoencoderKL", "act_fn", "silu",
                     "block_out_channels", integers(c.channels, c.n_level), "down_block_types", repeated("DownEncoderBlock2D", c.n_level),
                     "up_block_types", repeated("UpDecoderBlock2D", c.n_level), "in_channels", c.channels_in, "out_channels", c.channels_out,
                     "latent_channels", c.latent_channels, "layers_per_block", c.layers_per_block, "norm_num_groups", c.norm_groups,
                     "scaling_factor", (double)c.scale, "shift_factor", (double)c.shift, "use_quant_conv", (int)c.quant_conv,
                     "use_post_quant_conv", (int)c.post_quant_conv, "mid_block_add_attention", (int)c.mid_attention, "force_upcast", 1, "sample_size", 1024);
    return TRESS_OK;
}

static tress_status make_clip(json_t **out, tr_weights *w)
{
    tr_clip_config c;
    const tress_status st = tr_clip_config_read(&c, w);
    if (st != TRESS_OK) return st;
    *out = json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:s, s:i, s:i, s:i}", "architectures", "CLIPTextModelWithProjection",
                     "model_type", "clip_text_model", "hidden_size", c.d, "num_hidden_layers", c.n_layer, "num_attention_heads", c.n_head,
                     "intermediate_size", c.d_ff, "max_position_embeddings", c.n_position, "vocab_size", c.n_vocab, "projection_dim", c.d_projection,
                     "layer_norm_eps", (double)c.eps, "hidden_act", c.act == TR_ACT_GELU_QUICK ? "quick_gelu" : "gelu", "bos_token_id", c.n_vocab - 2,
                     "eos_token_id", c.n_vocab - 1, "pad_token_id", tr_weights_module(w) == TR_MODULE_CLIP_L ? c.n_vocab - 1 : 0);
    return TRESS_OK;
}

static tress_status make_t5(json_t **out, tr_weights *w)
{
    tr_t5_config c;
    const tress_status st = tr_t5_config_read(&c, w);
    if (st != TRESS_OK) return st;
    *out = json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:s, s:i, s:i, s:i, s:b, s:b}", "architectures", "T5EncoderModel",
                     "model_type", "t5", "d_model", c.d, "d_ff", c.d_ff, "d_kv", c.d_kv, "num_layers", c.n_layer, "num_heads", c.n_head,
                     "vocab_size", c.n_vocab, "relative_attention_num_buckets", c.n_bucket, "relative_attention_max_distance", c.distance_max,
                     "layer_norm_epsilon", (double)c.eps, "feed_forward_proj", c.gated ? "gated-gelu" : "relu", "pad_token_id", 0, "eos_token_id", 1,
                     "decoder_start_token_id", 0, "is_encoder_decoder", 1, "tie_word_embeddings", 0);
    return TRESS_OK;
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
    TR_TRY(write_json(dir, "config.json", o, tr_weights_config(w) ? 15 : 7));
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
    TR_TRY(write_json(sub, "scheduler_config.json", o, 7));
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
    TR_TRY(write_json(dir, "model_index.json", o, 7));
    if (from) TR_TRY(copy_folder(from, dir, "scheduler", &copied));
    if (!copied) TR_TRY(write_scheduler(dir));
    if (!all && (has[TR_MODULE_CLIP_L] || has[TR_MODULE_CLIP_G] || has[TR_MODULE_T5]))
        tr_host_note(h, "the model has text encoders but not all tokenizers: name the folder that holds tokenizer/, tokenizer_2/ and tokenizer_3/ to have them copied");
done:
    json_decref(o);
    return st;
}
