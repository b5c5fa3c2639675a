/* make_model.c - a whole SD3-shaped model of seeded random weights, from milliseconds' worth to the full size of SD3.5-Large, as a
 * diffusers folder (which diffusers itself loads) or in the layout of the original single files. For tests, benches and trying
 * things out: it draws noise, but it draws it exactly as every other reader of the same files does.
 *
 *     make_model --preset tiny --seed 1 --dtype f32 /tmp/model
 *
 * Element i of tensor NAME is s(w) / 147.8 * std, with w word i of Philox 4x32-10 keyed by FNV-1a-64(NAME) ^ seed and s the sum of
 * its four bytes minus 510: bell-shaped, 1021 levels, so that a table per tensor turns words into any number type. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 1021

/* ---- presets --------------------------------------------------------------------------------------------- */

typedef struct clip_spec { int d, n_layer, n_head, d_ff; const char *act; } clip_spec;
typedef struct preset {
    const char *name, *what;
    int  n_block, n_head, d_head, n_dual, pos_max, sample_size;
    bool qk_norm;
    int  control_blocks;
    bool instantx;                              /* ControlNet with words and a patch embedding of its own */
    int  d_context;
    int  vae[4], groups;
    clip_spec clip[2];
    int  t5_ff, t5_kv, t5_head, t5_layer;
    int  clip_vocab, t5_vocab;                  /* 0: those of the tokenizers */
} preset;

#define TINY_REST 96, { 8, 16, 16, 16 }, 4, { { 32, 2, 2, 64, "quick_gelu" }, { 48, 2, 3, 96, "gelu" } }, 128, 32, 3, 2, 0, 0
static const preset presets[] = {
    { "tiny", "SD3.5-Large in small: 2 blocks, width 64", 2, 2, 32, 0, 24, 16, true, 1, false, TINY_REST },
    { "sd3-medium-tiny", "SD3-Medium: no q/k norm", 3, 2, 32, 0, 24, 16, false, 2, false, TINY_REST },
    { "sd35-medium-tiny", "SD3.5-Medium: two blocks of four with dual attention", 4, 2, 32, 2, 32, 16, true, 2, false, TINY_REST },
    { "instantx-tiny", "SD3-Medium with a ControlNet of joint blocks", 4, 2, 32, 0, 24, 16, false, 2, true, TINY_REST },
    { "mini", "the size that ships: 8 blocks, width 256, 256x256 pixels", 8, 4, 64, 0, 64, 32, true, 4, false, 384, { 32, 64, 128, 128 }, 16,
      { { 128, 4, 2, 512, "quick_gelu" }, { 192, 4, 3, 768, "gelu" } }, 512, 64, 6, 4, 0, 0 },
    { "wide", "two blocks of SD3.5-Large's width, for timing one", 2, 38, 64, 0, 192, 128, true, 1, false, 4096,
      { 32, 64, 128, 128 }, 16, { { 128, 4, 2, 512, "quick_gelu" }, { 192, 4, 3, 768, "gelu" } }, 512, 64, 6, 1, 0, 0 },
    { "sd35-large", "the exact shapes of SD3.5-Large and its 8B ControlNet: 16 + 4 GB in 16 bits, text encoders 11 GB", 38, 38, 64, 0, 192, 128, true, 19, false, 4096,
      { 128, 256, 512, 512 }, 32, { { 768, 12, 12, 3072, "quick_gelu" }, { 1280, 32, 20, 5120, "gelu" } }, 10240, 64, 64, 24, 49408, 32128 },
};

/* ---- the list of tensors of a module --------------------------------------------------------------------- */

typedef enum value_kind { RANDOM, NORM, POSITION, IDENTITY } value_kind;
typedef struct value { value_kind kind; float std; } value;
typedef struct tensors {
    tr_named *list;                             /* names owned */
    value    *v;
    int       n, cap;
    tr_dtype  t;
    uint64_t  seed;
    int       base;                             /* of positions: side of the model's own grid */
    int       n_thread;
} tensors;

static void tensors_fini(tensors *w)
{
    for (int i = 0; i < w->n; i++) tr_free((char *)(uintptr_t)w->list[i].name);
    tr_free(w->list);
    tr_free(w->v);
    *w = (tensors){ .t = w->t, .seed = w->seed, .base = w->base, .n_thread = w->n_thread };
}

static tress_status add(tensors *w, value_kind kind, double std, tr_dims d, const char *format, ...) TR_PRINTF(5, 6);
static tress_status add(tensors *w, value_kind kind, double std, tr_dims d, const char *format, ...)
{
    tress_status st = TRESS_OK;
    char name[256];
    char *copy = NULL;
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    if (w->n == w->cap) {
        const int cap = w->cap ? 2 * w->cap : 256;
        void *p = w->list;
        TR_TRY(tr_realloc(&p, (size_t)w->cap * sizeof *w->list, (size_t)cap * sizeof *w->list));
        w->list = p;
        p = w->v;
        TR_TRY(tr_realloc(&p, (size_t)w->cap * sizeof *w->v, (size_t)cap * sizeof *w->v));
        w->v = p;
        w->cap = cap;
    }
    TR_TRY(tr_strdup(&copy, name));
    tr_tensor t = tr_view(NULL, w->t, d);
    w->list[w->n] = (tr_named){ copy, t };
    w->v[w->n++] = (value){ kind, (float)std };
done:
    return st;
}

/* Weights N(0, gain^2 / fan in), biases N(0, 0.05^2). */
static tress_status linear(tensors *w, const char *name, int64_t out, int64_t in, double gain, bool bias)
{
    tress_status st = TRESS_OK;
    TR_TRY(add(w, RANDOM, gain / sqrt((double)in), TR_DIMS(out, in), "%s.weight", name));
    if (bias) TR_TRY(add(w, RANDOM, 0.05, TR_DIMS(out), "%s.bias", name));
done:
    return st;
}

static tress_status conv(tensors *w, const char *name, int64_t out, int64_t in, int64_t k, double gain)
{
    tress_status st = TRESS_OK;
    TR_TRY(add(w, RANDOM, gain / sqrt((double)(in * k * k)), TR_DIMS(out, in, k, k), "%s.weight", name));
    TR_TRY(add(w, RANDOM, 0.05, TR_DIMS(out), "%s.bias", name));
done:
    return st;
}

static tress_status norm(tensors *w, const char *name, int64_t d, bool bias)
{
    tress_status st = TRESS_OK;
    TR_TRY(add(w, NORM, 0.1, TR_DIMS(d), "%s.weight", name));
    if (bias) TR_TRY(add(w, RANDOM, 0.05, TR_DIMS(d), "%s.bias", name));
done:
    return st;
}

#define AT(...) (snprintf(at, sizeof at, __VA_ARGS__), at)

/* to_q, to_k, to_v, to_out.0 and the norms of one attention; text: the added projections too. */
static tress_status attention(tensors *w, const char *block, const char *attn, int64_t d, int64_t d_head, bool qk_norm, bool text, bool text_out)
{
    static const char *const image_part[] = { "to_q", "to_k", "to_v", "to_out.0" }, *const text_part[] = { "add_q_proj", "add_k_proj", "add_v_proj" };
    tress_status st = TRESS_OK;
    char at[256];
    for (int i = 0; i < 4; i++) TR_TRY(linear(w, AT("%s.%s.%s", block, attn, image_part[i]), d, d, 1, true));
    for (int i = 0; text && i < 3; i++) TR_TRY(linear(w, AT("%s.%s.%s", block, attn, text_part[i]), d, d, 1, true));
    if (text && text_out) TR_TRY(linear(w, AT("%s.%s.to_add_out", block, attn), d, d, 1, true));
    if (qk_norm) {
        TR_TRY(norm(w, AT("%s.%s.norm_q", block, attn), d_head, false));
        TR_TRY(norm(w, AT("%s.%s.norm_k", block, attn), d_head, false));
        if (text) TR_TRY(norm(w, AT("%s.%s.norm_added_q", block, attn), d_head, false));
        if (text) TR_TRY(norm(w, AT("%s.%s.norm_added_k", block, attn), d_head, false));
    }
done:
    return st;
}

typedef struct block_spec { int64_t d, d_head; bool qk_norm, dual, text, last; } block_spec;

static tress_status block(tensors *w, int i, block_spec b)
{
    tress_status st = TRESS_OK;
    char name[64], at[256];
    snprintf(name, sizeof name, "transformer_blocks.%d", i);
    TR_TRY(linear(w, AT("%s.norm1.linear", name), (b.dual ? 9 : 6) * b.d, b.d, 0.7, true));
    TR_TRY(attention(w, name, "attn", b.d, b.d_head, b.qk_norm, b.text, !b.last));
    if (b.dual) TR_TRY(attention(w, name, "attn2", b.d, b.d_head, b.qk_norm, false, false));
    TR_TRY(linear(w, AT("%s.ff.net.0.proj", name), 4 * b.d, b.d, 1, true));
    TR_TRY(linear(w, AT("%s.ff.net.2", name), b.d, 4 * b.d, 1, true));
    if (b.text) {
        TR_TRY(linear(w, AT("%s.norm1_context.linear", name), (b.last ? 2 : 6) * b.d, b.d, 0.7, true));
        if (!b.last) TR_TRY(linear(w, AT("%s.ff_context.net.0.proj", name), 4 * b.d, b.d, 1, true));
        if (!b.last) TR_TRY(linear(w, AT("%s.ff_context.net.2", name), b.d, 4 * b.d, 1, true));
    }
done:
    return st;
}

static tress_status embedders(tensors *w, int64_t d, int64_t d_pooled)
{
    tress_status st = TRESS_OK;
    TR_TRY(linear(w, "time_text_embed.timestep_embedder.linear_1", d, 256, 1, true));
    TR_TRY(linear(w, "time_text_embed.timestep_embedder.linear_2", d, d, 1, true));
    TR_TRY(linear(w, "time_text_embed.text_embedder.linear_1", d, d_pooled, 1, true));
    TR_TRY(linear(w, "time_text_embed.text_embedder.linear_2", d, d, 1, true));
done:
    return st;
}

static tress_status make_transformer(tensors *w, const preset *p)
{
    tress_status st = TRESS_OK;
    const int64_t d = (int64_t)p->n_head * p->d_head;
    TR_TRY(add(w, POSITION, 0, TR_DIMS(1, (int64_t)p->pos_max * p->pos_max, d), "pos_embed.pos_embed"));
    TR_TRY(conv(w, "pos_embed.proj", d, 16, 2, 1));
    TR_TRY(embedders(w, d, p->clip[0].d + p->clip[1].d));
    TR_TRY(linear(w, "context_embedder", d, p->d_context, 1, true));
    for (int i = 0; i < p->n_block; i++)
        TR_TRY(block(w, i, (block_spec){ d, p->d_head, p->qk_norm, i < p->n_dual, true, i == p->n_block - 1 }));
    TR_TRY(linear(w, "norm_out.linear", 2 * d, d, 0.7, true));
    TR_TRY(linear(w, "proj_out", 64, d, 0.6, true));
done:
    return st;
}

static tress_status make_controlnet(tensors *w, const preset *p)
{
    tress_status st = TRESS_OK;
    char at[256];
    const int64_t d = (int64_t)p->n_head * p->d_head;
    if (p->instantx) {
        TR_TRY(add(w, POSITION, 0, TR_DIMS(1, (int64_t)p->pos_max * p->pos_max, d), "pos_embed.pos_embed"));
        TR_TRY(conv(w, "pos_embed.proj", d, 16, 2, 1));
        TR_TRY(linear(w, "context_embedder", d, p->d_context, 1, true));
    }
    TR_TRY(conv(w, "pos_embed_input.proj", d, 16, 2, 1));
    TR_TRY(embedders(w, d, p->clip[0].d + p->clip[1].d));
    for (int i = 0; i < p->control_blocks; i++) {
        TR_TRY(block(w, i, (block_spec){ d, p->d_head, false, false, p->instantx, false }));
        TR_TRY(linear(w, AT("controlnet_blocks.%d", i), d, d, 0.3, true));
    }
done:
    return st;
}

static tress_status resnet(tensors *w, const char *name, int64_t in, int64_t out)
{
    tress_status st = TRESS_OK;
    char at[256];
    TR_TRY(norm(w, AT("%s.norm1", name), in, true));
    TR_TRY(conv(w, AT("%s.conv1", name), out, in, 3, 1));
    TR_TRY(norm(w, AT("%s.norm2", name), out, true));
    TR_TRY(conv(w, AT("%s.conv2", name), out, out, 3, 1));
    if (in != out) TR_TRY(conv(w, AT("%s.conv_shortcut", name), out, in, 1, 1));
done:
    return st;
}

static tress_status vae_middle(tensors *w, const char *half, int64_t c)
{
    static const char *const part[] = { "to_q", "to_k", "to_v", "to_out.0" };
    tress_status st = TRESS_OK;
    char at[256];
    TR_TRY(resnet(w, AT("%s.mid_block.resnets.0", half), c, c));
    TR_TRY(norm(w, AT("%s.mid_block.attentions.0.group_norm", half), c, true));
    for (int i = 0; i < 4; i++) TR_TRY(linear(w, AT("%s.mid_block.attentions.0.%s", half, part[i]), c, c, 1, true));
    TR_TRY(resnet(w, AT("%s.mid_block.resnets.1", half), c, c));
done:
    return st;
}

static tress_status make_vae(tensors *w, const preset *p)
{
    tress_status st = TRESS_OK;
    char name[128], at[256];
    const int *c = p->vae;
    TR_TRY(conv(w, "encoder.conv_in", c[0], 3, 3, 1));
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 2; j++) {
            snprintf(name, sizeof name, "encoder.down_blocks.%d.resnets.%d", i, j);
            TR_TRY(resnet(w, name, j == 0 && i > 0 ? c[i - 1] : c[i], c[i]));
        }
        if (i < 3) TR_TRY(conv(w, AT("encoder.down_blocks.%d.downsamplers.0.conv", i), c[i], c[i], 3, 1));
    }
    TR_TRY(vae_middle(w, "encoder", c[3]));
    TR_TRY(norm(w, "encoder.conv_norm_out", c[3], true));
    TR_TRY(conv(w, "encoder.conv_out", 32, c[3], 3, 1));
    TR_TRY(conv(w, "decoder.conv_in", c[3], 16, 3, 1));
    TR_TRY(vae_middle(w, "decoder", c[3]));
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++) {
            snprintf(name, sizeof name, "decoder.up_blocks.%d.resnets.%d", i, j);
            TR_TRY(resnet(w, name, j == 0 && i > 0 ? c[4 - i] : c[3 - i], c[3 - i]));
        }
        if (i < 3) TR_TRY(conv(w, AT("decoder.up_blocks.%d.upsamplers.0.conv", i), c[3 - i], c[3 - i], 3, 1));
    }
    TR_TRY(norm(w, "decoder.conv_norm_out", c[0], true));
    TR_TRY(conv(w, "decoder.conv_out", 3, c[0], 3, 1));
done:
    return st;
}

static tress_status make_clip(tensors *w, const clip_spec *c, int64_t vocab, bool project)
{
    static const char *const part[] = { "q_proj", "k_proj", "v_proj", "out_proj" };
    tress_status st = TRESS_OK;
    char at[256];
    TR_TRY(add(w, RANDOM, 0.5, TR_DIMS(vocab, c->d), "text_model.embeddings.token_embedding.weight"));
    TR_TRY(add(w, RANDOM, 0.2, TR_DIMS(77, c->d), "text_model.embeddings.position_embedding.weight"));
    for (int i = 0; i < c->n_layer; i++) {
        char name[64];
        snprintf(name, sizeof name, "text_model.encoder.layers.%d", i);
        TR_TRY(norm(w, AT("%s.layer_norm1", name), c->d, true));
        for (int k = 0; k < 4; k++) TR_TRY(linear(w, AT("%s.self_attn.%s", name, part[k]), c->d, c->d, 0.7, true));
        TR_TRY(norm(w, AT("%s.layer_norm2", name), c->d, true));
        TR_TRY(linear(w, AT("%s.mlp.fc1", name), c->d_ff, c->d, 0.7, true));
        TR_TRY(linear(w, AT("%s.mlp.fc2", name), c->d, c->d_ff, 0.7, true));
    }
    TR_TRY(norm(w, "text_model.final_layer_norm", c->d, true));
    TR_TRY(add(w, project ? RANDOM : IDENTITY, 1 / sqrt((double)c->d), TR_DIMS(c->d, c->d), "text_projection.weight"));
done:
    return st;
}

static tress_status make_t5(tensors *w, const preset *p, int64_t vocab)
{
    static const char *const part[] = { "q", "k", "v" };
    tress_status st = TRESS_OK;
    char at[256];
    const int64_t d = p->d_context, inner = (int64_t)p->t5_head * p->t5_kv;
    TR_TRY(add(w, RANDOM, 1, TR_DIMS(vocab, d), "shared.weight"));
    for (int i = 0; i < p->t5_layer; i++) {
        /* scores are not divided by sqrt(d_kv): the query carries it */
        for (int k = 0; k < 3; k++)
            TR_TRY(linear(w, AT("encoder.block.%d.layer.0.SelfAttention.%s", i, part[k]), inner, d, k == 0 ? 1 / sqrt((double)p->t5_kv) : 1, false));
        TR_TRY(linear(w, AT("encoder.block.%d.layer.0.SelfAttention.o", i), d, inner, 1, false));
        if (i == 0) TR_TRY(add(w, RANDOM, 0.5, TR_DIMS(32, p->t5_head), "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"));
        TR_TRY(norm(w, AT("encoder.block.%d.layer.0.layer_norm", i), d, false));
        TR_TRY(linear(w, AT("encoder.block.%d.layer.1.DenseReluDense.wi_0", i), p->t5_ff, d, 1, false));
        TR_TRY(linear(w, AT("encoder.block.%d.layer.1.DenseReluDense.wi_1", i), p->t5_ff, d, 1, false));
        TR_TRY(linear(w, AT("encoder.block.%d.layer.1.DenseReluDense.wo", i), d, p->t5_ff, 1, false));
        TR_TRY(norm(w, AT("encoder.block.%d.layer.1.layer_norm", i), d, false));
    }
    TR_TRY(norm(w, "encoder.final_layer_norm", d, false));
done:
    return st;
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static uint64_t name_key(const char *name, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 0x100000001b3u;
    return h ^ seed;
}

static void store(void *to, tr_dtype t, int64_t i, float f)
{
    const uint16_t h = t == TR_F16 ? tr_f32_to_f16(f) : t == TR_BF16 ? tr_f32_to_bf16(f) : 0;
    if (t == TR_F32) memcpy((uint8_t *)to + 4 * i, &f, 4);
    else memcpy((uint8_t *)to + 2 * i, &h, 2);
}

/* Sines and cosines of grid positions; the middle of the buffer runs over 0 .. 16 whatever its size, as the released ones do. */
static float position(tr_tensor t, int base, int64_t i)
{
    const int64_t d = t.shape[2], q = d / 4, side = (int64_t)llround(sqrt((double)t.shape[1]));
    const int64_t row = i / d / side, col = i / d % side, c = i % d, part = c / q, j = c % q;
    const double step = 16.0 / base, x = (double)((part < 2 ? col : row) - (side - base) / 2) * step;
    const double angle = x * pow(10000, -(double)j / (double)q);
    return (float)(part % 2 == 0 ? sin(angle) : cos(angle));
}

typedef struct task { const tensors *w; int i; int64_t begin, n; uint8_t *to; const uint8_t *table; uint64_t key; } task;
#define TASK ((int64_t)1 << 18)

static tress_status fill_task(void *self, int64_t k, int i_thread)
{
    const task *a = self;
    const tr_tensor t = a->w->list[a->i].t;
    const int64_t size = (int64_t)tr_dtype_size(t.dtype), from = k * TASK, n = a->n - from < TASK ? a->n - from : TASK, first = a->begin + from;
    uint8_t *to = a->to + from * size;
    (void)i_thread;
    if (a->w->v[a->i].kind == POSITION) {
        for (int64_t j = 0; j < n; j++) store(to, t.dtype, j, position(t, a->w->base, first + j));
    } else if (a->w->v[a->i].kind == IDENTITY) {
        for (int64_t j = 0; j < n; j++) store(to, t.dtype, j, (first + j) / t.shape[1] == (first + j) % t.shape[1] ? 1 : 0);
    } else {
        uint32_t word[4];
        for (int64_t j = 0; j < n; j++) {
            const int64_t e = first + j;
            if (j == 0 || e % 4 == 0) tr_philox(word, a->key, (uint64_t)(e / 4), 0);
            const uint32_t u = word[e % 4], s = (u & 255) + (u >> 8 & 255) + (u >> 16 & 255) + (u >> 24);
            memcpy(to + j * size, a->table + s * (uint32_t)size, (size_t)size);
        }
    }
    return TRESS_OK;
}

static tress_status fill(void *self, int i, size_t at, void *bytes, size_t n)
{
    const tensors *w = self;
    const size_t size = tr_dtype_size(w->t);
    uint8_t table[LEVELS * 4];
    for (int s = 0; s < LEVELS; s++) store(table, w->t, s, (w->v[i].kind == NORM ? 1 : 0) + (float)(s - 510) / 147.8f * w->v[i].std);
    task a = { w, i, (int64_t)(at / size), (int64_t)(n / size), bytes, table, name_key(w->list[i].name, w->seed) };
    return tr_parallel(w->n_thread, (a.n + TASK - 1) / TASK, fill_task, &a);
}

/* ---- configurations -------------------------------------------------------------------------------------- */

static tress_status write_text(const char *dir, const char *name, const char *format, ...) TR_PRINTF(3, 4);
static tress_status write_text(const char *dir, const char *name, const char *format, ...)
{
    tress_status st = TRESS_OK;
    char text[4096], *path = NULL;
    va_list ap;
    va_start(ap, format);
    const int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    TR_ASSERT(n > 0 && (size_t)n < sizeof text);
    TR_TRY(tr_path_join(&path, dir, name));
    TR_TRY(tr_file_write(path, text, (size_t)n));
done:
    tr_free(path);
    return st;
}

typedef struct vocab { int clip, clip_begin, clip_end, t5; } vocab;

static tress_status write_config(const char *dir, tr_module m, const preset *p, const vocab *v)
{
    const int d_pooled = p->clip[0].d + p->clip[1].d, d = p->n_head * p->d_head;
    char dual[128] = "";
    for (int i = 0, at = 0; i < p->n_dual; i++) at += snprintf(dual + at, sizeof dual - (size_t)at, "%s%d", i ? ", " : "", i);
    switch (m) {
    case TR_MODULE_TRANSFORMER:
        return write_text(dir, "config.json",
            "{\n  \"_class_name\": \"SD3Transformer2DModel\",\n  \"attention_head_dim\": %d,\n  \"caption_projection_dim\": %d,\n"
            "  \"dual_attention_layers\": [%s],\n  \"in_channels\": 16,\n  \"joint_attention_dim\": %d,\n  \"num_attention_heads\": %d,\n"
            "  \"num_layers\": %d,\n  \"out_channels\": 16,\n  \"patch_size\": 2,\n  \"pooled_projection_dim\": %d,\n"
            "  \"pos_embed_max_size\": %d,\n  \"qk_norm\": %s,\n  \"sample_size\": %d\n}\n",
            p->d_head, d, dual, p->d_context, p->n_head, p->n_block, d_pooled, p->pos_max, p->qk_norm ? "\"rms_norm\"" : "null", p->sample_size);
    case TR_MODULE_CONTROLNET: {
        char context[32] = "null", pos[32] = "null";
        if (p->instantx) snprintf(context, sizeof context, "%d", p->d_context);
        if (p->instantx) snprintf(pos, sizeof pos, "%d", p->pos_max);
        return write_text(dir, "config.json",
            "{\n  \"_class_name\": \"SD3ControlNetModel\",\n  \"attention_head_dim\": %d,\n  \"caption_projection_dim\": %d,\n"
            "  \"dual_attention_layers\": [],\n  \"extra_conditioning_channels\": 0,\n  \"force_zeros_for_pooled_projection\": %s,\n"
            "  \"in_channels\": 16,\n  \"joint_attention_dim\": %s,\n  \"num_attention_heads\": %d,\n  \"num_layers\": %d,\n"
            "  \"out_channels\": 16,\n  \"patch_size\": 2,\n  \"pooled_projection_dim\": %d,\n  \"pos_embed_max_size\": %s,\n"
            "  \"pos_embed_type\": %s,\n  \"qk_norm\": null,\n  \"sample_size\": %d,\n  \"use_pos_embed\": %s\n}\n",
            p->d_head, p->instantx ? d : 2048, p->instantx ? "true" : "false", context, p->n_head, p->control_blocks, d_pooled, pos,
            p->instantx ? "\"sincos\"" : "null", p->sample_size, p->instantx ? "true" : "false");
    }
    case TR_MODULE_VAE:
        return write_text(dir, "config.json",
            "{\n  \"_class_name\": \"AutoencoderKL\",\n  \"act_fn\": \"silu\",\n  \"block_out_channels\": [%d, %d, %d, %d],\n"
            "  \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\"],\n"
            "  \"force_upcast\": true,\n  \"in_channels\": 3,\n  \"latent_channels\": 16,\n  \"layers_per_block\": 2,\n"
            "  \"mid_block_add_attention\": true,\n  \"norm_num_groups\": %d,\n  \"out_channels\": 3,\n  \"sample_size\": %d,\n"
            "  \"scaling_factor\": 1.5305,\n  \"shift_factor\": 0.0609,\n"
            "  \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", \"UpDecoderBlock2D\", \"UpDecoderBlock2D\"],\n"
            "  \"use_post_quant_conv\": false,\n  \"use_quant_conv\": false\n}\n",
            p->vae[0], p->vae[1], p->vae[2], p->vae[3], p->groups, p->sample_size * 8);
    case TR_MODULE_CLIP_L:
    case TR_MODULE_CLIP_G: {
        const clip_spec *c = &p->clip[m == TR_MODULE_CLIP_G];
        return write_text(dir, "config.json",
            "{\n  \"architectures\": [\"CLIPTextModelWithProjection\"],\n  \"attention_dropout\": 0.0,\n  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n"
            "  \"hidden_act\": \"%s\",\n  \"hidden_size\": %d,\n  \"intermediate_size\": %d,\n  \"layer_norm_eps\": 1e-05,\n"
            "  \"max_position_embeddings\": 77,\n  \"model_type\": \"clip_text_model\",\n  \"num_attention_heads\": %d,\n"
            "  \"num_hidden_layers\": %d,\n  \"pad_token_id\": %d,\n  \"projection_dim\": %d,\n  \"vocab_size\": %d\n}\n",
            v->clip_begin, v->clip_end, c->act, c->d, c->d_ff, c->n_head, c->n_layer, m == TR_MODULE_CLIP_G ? 0 : v->clip_end, c->d, v->clip);
    }
    case TR_MODULE_T5:
        return write_text(dir, "config.json",
            "{\n  \"architectures\": [\"T5EncoderModel\"],\n  \"d_ff\": %d,\n  \"d_kv\": %d,\n  \"d_model\": %d,\n  \"decoder_start_token_id\": 0,\n"
            "  \"dense_act_fn\": \"gelu_new\",\n  \"dropout_rate\": 0.0,\n  \"eos_token_id\": 1,\n  \"feed_forward_proj\": \"gated-gelu\",\n"
            "  \"is_encoder_decoder\": true,\n  \"is_gated_act\": true,\n  \"layer_norm_epsilon\": 1e-06,\n  \"model_type\": \"t5\",\n"
            "  \"num_decoder_layers\": %d,\n  \"num_heads\": %d,\n  \"num_layers\": %d,\n  \"pad_token_id\": 0,\n"
            "  \"relative_attention_max_distance\": 128,\n  \"relative_attention_num_buckets\": 32,\n  \"tie_word_embeddings\": false,\n"
            "  \"use_cache\": false,\n  \"vocab_size\": %d\n}\n",
            p->t5_ff, p->t5_kv, p->d_context, p->t5_layer, p->t5_head, p->t5_layer, v->t5);
    }
    return TRESS_OK;
}

static tress_status write_model_index(const char *dir)
{
    tress_status st = TRESS_OK;
    char *sub = NULL;
    TR_TRY(write_text(dir, "model_index.json",
        "{\n  \"_class_name\": \"StableDiffusion3Pipeline\",\n  \"_diffusers_version\": \"0.31.0\",\n"
        "  \"scheduler\": [\"diffusers\", \"FlowMatchEulerDiscreteScheduler\"],\n  \"text_encoder\": [\"transformers\", \"CLIPTextModelWithProjection\"],\n"
        "  \"text_encoder_2\": [\"transformers\", \"CLIPTextModelWithProjection\"],\n  \"text_encoder_3\": [\"transformers\", \"T5EncoderModel\"],\n"
        "  \"tokenizer\": [\"transformers\", \"CLIPTokenizer\"],\n  \"tokenizer_2\": [\"transformers\", \"CLIPTokenizer\"],\n"
        "  \"tokenizer_3\": [\"transformers\", \"T5TokenizerFast\"],\n  \"transformer\": [\"diffusers\", \"SD3Transformer2DModel\"],\n"
        "  \"vae\": [\"diffusers\", \"AutoencoderKL\"]\n}\n"));
    TR_TRY(tr_path_join(&sub, dir, "scheduler"));
    TR_TRY(tr_dir_make(sub));
    TR_TRY(write_text(sub, "scheduler_config.json",
        "{\n  \"_class_name\": \"FlowMatchEulerDiscreteScheduler\",\n  \"num_train_timesteps\": 1000,\n  \"shift\": 3.0\n}\n"));
done:
    tr_free(sub);
    return st;
}

/* ---- tokenizers ------------------------------------------------------------------------------------------ */

static tress_status copy_tokenizers(const char *from, const char *to)
{
    static const char *const dir[] = { "tokenizer", "tokenizer_2", "tokenizer_3" };
    static const char *const file[] = { "vocab.json", "merges.txt", "tokenizer.json", "spiece.model", "tokenizer_config.json", "special_tokens_map.json" };
    tress_status st = TRESS_OK;
    char *a = NULL, *b = NULL, *text = NULL, name[128];
    for (size_t i = 0; i < 3; i++) {
        TR_TRY(tr_path_join(&b, to, dir[i]));
        TR_TRY(tr_dir_make(b));
        tr_free(b);
        b = NULL;
        for (size_t k = 0; k < sizeof file / sizeof file[0]; k++) {
            size_t n = 0;
            snprintf(name, sizeof name, "%s/%s", dir[i], file[k]);
            TR_TRY(tr_path_join(&a, from, name));
            TR_TRY(tr_path_join(&b, to, name));
            if (tr_file_exists(a)) {
                TR_TRY(tr_file_read(&text, &n, a, (size_t)64 << 20));
                TR_TRY(tr_file_write(b, text, n));
            }
            tr_free(text);
            tr_free(a);
            tr_free(b);
            text = a = b = NULL;
        }
    }
done:
    tr_free(text);
    tr_free(a);
    tr_free(b);
    return st;
}

static tress_status read_json(json_t **out, const char *dir, const char *name)
{
    tress_status st = TRESS_OK;
    char *path = NULL, *text = NULL;
    size_t n = 0;
    TR_TRY(tr_path_join(&path, dir, name));
    TR_TRY(tr_file_read(&text, &n, path, (size_t)64 << 20));
    TR_TRY(tr_json_parse(out, text, n, 8, path));
done:
    tr_free(path);
    tr_free(text);
    return st;
}

static tress_status read_vocab(vocab *v, const char *dir, const preset *p)
{
    tress_status st = TRESS_OK;
    json_t *clip = NULL, *t5 = NULL;
    TR_TRY(read_json(&clip, dir, "tokenizer/vocab.json"));
    TR_TRY(read_json(&t5, dir, "tokenizer_3/tokenizer.json"));
    *v = (vocab){ .clip = (int)json_object_size(clip), .clip_begin = (int)json_integer_value(json_object_get(clip, "<|startoftext|>")),
                  .clip_end = (int)json_integer_value(json_object_get(clip, "<|endoftext|>")),
                  .t5 = (int)json_array_size(json_object_get(json_object_get(t5, "model"), "vocab")) };
    const json_t *added = json_object_get(t5, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const int id = (int)json_integer_value(json_object_get(json_array_get(added, i), "id"));
        if (id >= v->t5) v->t5 = id + 1;
    }
    if (p->clip_vocab > v->clip) v->clip = p->clip_vocab;
    if (p->t5_vocab > v->t5) v->t5 = p->t5_vocab;
done:
    json_decref(clip);
    json_decref(t5);
    return st;
}

/* ---- the program ----------------------------------------------------------------------------------------- */

typedef struct options {
    const preset *p;
    const char *modules, *tokenizers, *out;
    uint64_t seed;
    tr_dtype t;
    int64_t shard_bytes;
    bool original;
} options;

static bool wanted(const options *o, const char *name)
{
    if (!o->modules) return true;
    const size_t n = strlen(name);
    for (const char *s = o->modules; *s; s += strcspn(s, ","), s += *s == ',')
        if (strcspn(s, ",") == n && strncmp(s, name, n) == 0) return true;
    return false;
}

static tress_status make_module(tensors *w, tr_module m, const preset *p, const vocab *v)
{
    switch (m) {
    case TR_MODULE_TRANSFORMER: return make_transformer(w, p);
    case TR_MODULE_CONTROLNET: return make_controlnet(w, p);
    case TR_MODULE_VAE: return make_vae(w, p);
    case TR_MODULE_CLIP_L: return make_clip(w, &p->clip[0], v->clip, false);      /* as released: pooled without projection */
    case TR_MODULE_CLIP_G: return make_clip(w, &p->clip[1], v->clip, true);
    case TR_MODULE_T5: return make_t5(w, p, v->t5);
    }
    return TRESS_OK;
}

static tress_status make_folder(const options *o, tensors *w, const vocab *v, double *bytes)
{
    tress_status st = TRESS_OK;
    char *dir = NULL;
    for (tr_module m = TR_MODULE_TRANSFORMER; m <= TR_MODULE_T5; m++) {
        if (!wanted(o, tr_module_name(m))) continue;
        TR_TRY(make_module(w, m, o->p, v));
        TR_TRY(tr_path_join(&dir, o->out, tr_module_name(m)));
        TR_TRY(tr_dir_make(dir));
        TR_TRY(tr_weights_save(dir, m, w->list, w->n, o->shard_bytes, fill, w));
        TR_TRY(write_config(dir, m, o->p, v));
        for (int i = 0; i < w->n; i++) *bytes += (double)tr_count(w->list[i].t) * (double)tr_dtype_size(w->t);
        tr_free(dir);
        dir = NULL;
        tensors_fini(w);
    }
    TR_TRY(write_model_index(o->out));
done:
    tr_free(dir);
    return st;
}

/* Several modules in one file: their lists joined, each index handed to its own. */
typedef struct joined { tr_regrouped part[6]; int first[7], n; } joined;

static tress_status fill_joined(void *self, int i, size_t at, void *bytes, size_t n)
{
    joined *j = self;
    int k = 0;
    while (i >= j->first[k + 1]) k++;
    return tr_regrouped_fill(&j->part[k], i - j->first[k], at, bytes, n);
}

/* OUT/sd3.safetensors with everything but the ControlNet, OUT/controlnet.safetensors. */
static tress_status make_original(const options *o, const tensors *like, const vocab *v, double *bytes)
{
    tress_status st = TRESS_OK;
    tensors w[6];
    joined j = { .n = 0 };
    tr_named *all = NULL;
    char *path = NULL;
    void *p = NULL;
    for (int m = 0; m < 6; m++) w[m] = *like;
    for (int pass = 0; pass < 2; pass++) {                                /* the ControlNet has a file of its own */
        int n = 0;
        j.n = 0;
        for (int m = 0; m < 6; m++) {
            if (!wanted(o, tr_module_name((tr_module)m)) || (m == TR_MODULE_CONTROLNET) != (pass == 1)) continue;
            TR_TRY(make_module(&w[m], (tr_module)m, o->p, v));
            TR_TRY(tr_regroup(&j.part[j.n], (tr_module)m, tr_module_prefix((tr_module)m), w[m].list, w[m].n, fill, &w[m]));
            j.first[j.n] = n;
            n += j.part[j.n++].n;
        }
        j.first[j.n] = n;
        if (n == 0) continue;
        TR_TRY(tr_alloc_array(&p, n, sizeof *all));
        all = p;
        for (int k = 0; k < j.n; k++) memcpy(all + j.first[k], j.part[k].list, (size_t)j.part[k].n * sizeof *all);
        for (int i = 0; i < n; i++) *bytes += (double)tr_count(all[i].t) * (double)tr_dtype_size(like->t);
        TR_TRY(tr_path_join(&path, o->out, pass ? "controlnet.safetensors" : "sd3.safetensors"));
        TR_TRY(tr_safetensors_write_filled(path, all, n, NULL, fill_joined, &j));
        for (int k = 0; k < j.n; k++) tr_regrouped_fini(&j.part[k]);
        tr_free(all);
        tr_free(path);
        all = NULL;
        path = NULL;
    }
done:
    for (int k = 0; k < j.n; k++) tr_regrouped_fini(&j.part[k]);
    for (int m = 0; m < 6; m++) tensors_fini(&w[m]);
    tr_free(all);
    tr_free(path);
    return st;
}

static int usage(const char *why)
{
    if (why) fprintf(stderr, "make_model: %s\n", why);
    fprintf(stderr, "make_model [options] OUT     random weights in the shapes of SD3 models\n"
                    "  --preset NAME     tiny unless said:\n");
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) fprintf(stderr, "                      %-18s %s\n", presets[i].name, presets[i].what);
    fprintf(stderr, "  --seed N          0\n"
                    "  --dtype T         f32, f16 or bf16: f32 for the tiny ones, f16 for the others\n"
                    "  --layout L        diffusers (a folder), original (OUT/sd3.safetensors, OUT/controlnet.safetensors)\n"
                    "  --modules LIST    some of transformer,controlnet,vae,text_encoder,text_encoder_2,text_encoder_3\n"
                    "  --tokenizers DIR  holds tokenizer/, tokenizer_2/, tokenizer_3/: examples/tokenizers of the source\n"
                    "  --shard-bytes N   5000000000\n");
    return why ? 2 : 0;
}

int main(int argc, char **argv)
{
    tress_status st = TRESS_OK;
    options o = { .p = &presets[0], .t = TR_DTYPE_N };
    char beside[4096];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(beside, sizeof beside, "%.*s/../examples/tokenizers", slash ? (int)(slash - __FILE__) : 1, slash ? __FILE__ : ".");
    o.tokenizers = beside;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--help") == 0) return usage(NULL);
        if (a[0] != '-') {
            if (o.out) return usage("one OUT, please");
            o.out = a;
            continue;
        }
        if (!v) return usage("an option lacks its value");
        i++;
        if (strcmp(a, "--preset") == 0) {
            o.p = NULL;
            for (size_t k = 0; k < sizeof presets / sizeof presets[0]; k++)
                if (strcmp(presets[k].name, v) == 0) o.p = &presets[k];
            if (!o.p) return usage("no such preset");
        } else if (strcmp(a, "--seed") == 0) o.seed = strtoull(v, NULL, 10);
        else if (strcmp(a, "--dtype") == 0) {
            o.t = strcmp(v, "f32") == 0 ? TR_F32 : strcmp(v, "f16") == 0 ? TR_F16 : strcmp(v, "bf16") == 0 ? TR_BF16 : TR_DTYPE_N;
            if (o.t == TR_DTYPE_N) return usage("--dtype is f32, f16 or bf16");
        } else if (strcmp(a, "--layout") == 0) {
            o.original = strcmp(v, "original") == 0;
            if (!o.original && strcmp(v, "diffusers") != 0) return usage("--layout is diffusers or original");
        } else if (strcmp(a, "--modules") == 0) o.modules = v;
        else if (strcmp(a, "--tokenizers") == 0) o.tokenizers = v;
        else if (strcmp(a, "--shard-bytes") == 0) o.shard_bytes = strtoll(v, NULL, 10);
        else return usage("no such option");
    }
    if (!o.out) return usage("where to?");
    if (o.t == TR_DTYPE_N) o.t = strstr(o.p->name, "tiny") ? TR_F32 : TR_F16;
    tensors w = { .t = o.t, .seed = o.seed, .base = o.p->sample_size / 2, .n_thread = tr_thread_count() };
    vocab v;
    double bytes = 0;
    const double begin = tr_seconds();
    TR_TRY(read_vocab(&v, o.tokenizers, o.p));
    TR_TRY(tr_dir_make(o.out));
    if (o.original && o.p->instantx && wanted(&o, "controlnet")) TR_TRY(tr_fail(TRESS_E_ARG, "the original layout has no ControlNet of joint blocks: name the other --modules"));
    TR_TRY(o.original ? make_original(&o, &w, &v, &bytes) : make_folder(&o, &w, &v, &bytes));
    TR_TRY(copy_tokenizers(o.tokenizers, o.out));
    printf("%s: %.1f MB in %.1f s\n", o.out, bytes / 1e6, tr_seconds() - begin);
done:
    tensors_fini(&w);
    if (st != TRESS_OK) fprintf(stderr, "make_model: %s\n", tr_message());
    return tress_exit_code(st);
}
