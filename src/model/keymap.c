#include "model/keymap.h"

#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const tr_key_rule mmdit[] = {
    { "pos_embed.pos_embed", "pos_embed", TR_KEY_PLAIN, 0 },
    { "pos_embed.proj.$", "x_embedder.proj.$", TR_KEY_PLAIN, 0 },
    { "time_text_embed.timestep_embedder.linear_1.$", "t_embedder.mlp.0.$", TR_KEY_PLAIN, 0 },
    { "time_text_embed.timestep_embedder.linear_2.$", "t_embedder.mlp.2.$", TR_KEY_PLAIN, 0 },
    { "time_text_embed.text_embedder.linear_1.$", "y_embedder.mlp.0.$", TR_KEY_PLAIN, 0 },
    { "time_text_embed.text_embedder.linear_2.$", "y_embedder.mlp.2.$", TR_KEY_PLAIN, 0 },
    { "context_embedder.$", "context_embedder.$", TR_KEY_PLAIN, 0 },
    { "proj_out.$", "final_layer.linear.$", TR_KEY_PLAIN, 0 },
    { "norm_out.linear.$", "final_layer.adaLN_modulation.1.$", TR_KEY_SWAP, 0 },      /* shift, scale -> scale, shift */
    { "transformer_blocks.#.attn.to_q.$", "joint_blocks.#.x_block.attn.qkv.$", TR_KEY_THIRD, 0 },
    { "transformer_blocks.#.attn.to_k.$", "joint_blocks.#.x_block.attn.qkv.$", TR_KEY_THIRD, 1 },
    { "transformer_blocks.#.attn.to_v.$", "joint_blocks.#.x_block.attn.qkv.$", TR_KEY_THIRD, 2 },
    { "transformer_blocks.#.attn.add_q_proj.$", "joint_blocks.#.context_block.attn.qkv.$", TR_KEY_THIRD, 0 },
    { "transformer_blocks.#.attn.add_k_proj.$", "joint_blocks.#.context_block.attn.qkv.$", TR_KEY_THIRD, 1 },
    { "transformer_blocks.#.attn.add_v_proj.$", "joint_blocks.#.context_block.attn.qkv.$", TR_KEY_THIRD, 2 },
    { "transformer_blocks.#.attn.norm_q.$", "joint_blocks.#.x_block.attn.ln_q.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn.norm_k.$", "joint_blocks.#.x_block.attn.ln_k.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn.norm_added_q.$", "joint_blocks.#.context_block.attn.ln_q.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn.norm_added_k.$", "joint_blocks.#.context_block.attn.ln_k.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn.to_out.0.$", "joint_blocks.#.x_block.attn.proj.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn.to_add_out.$", "joint_blocks.#.context_block.attn.proj.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn2.to_q.$", "joint_blocks.#.x_block.attn2.qkv.$", TR_KEY_THIRD, 0 },
    { "transformer_blocks.#.attn2.to_k.$", "joint_blocks.#.x_block.attn2.qkv.$", TR_KEY_THIRD, 1 },
    { "transformer_blocks.#.attn2.to_v.$", "joint_blocks.#.x_block.attn2.qkv.$", TR_KEY_THIRD, 2 },
    { "transformer_blocks.#.attn2.norm_q.$", "joint_blocks.#.x_block.attn2.ln_q.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn2.norm_k.$", "joint_blocks.#.x_block.attn2.ln_k.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.attn2.to_out.0.$", "joint_blocks.#.x_block.attn2.proj.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.norm1.linear.$", "joint_blocks.#.x_block.adaLN_modulation.1.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.norm1_context.linear.$", "joint_blocks.#.context_block.adaLN_modulation.1.$", TR_KEY_SWAP_LAST, 0 },
    { "transformer_blocks.#.ff.net.0.proj.$", "joint_blocks.#.x_block.mlp.fc1.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.ff.net.2.$", "joint_blocks.#.x_block.mlp.fc2.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.ff_context.net.0.proj.$", "joint_blocks.#.context_block.mlp.fc1.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.ff_context.net.2.$", "joint_blocks.#.context_block.mlp.fc2.$", TR_KEY_PLAIN, 0 },
};

/* The embedders already have diffusers' names in this file. No swap anywhere. */
static const tr_key_rule controlnet[] = {
    { "transformer_blocks.#.attn.to_q.$", "transformer_blocks.#.attn.qkv.$", TR_KEY_THIRD, 0 },
    { "transformer_blocks.#.attn.to_k.$", "transformer_blocks.#.attn.qkv.$", TR_KEY_THIRD, 1 },
    { "transformer_blocks.#.attn.to_v.$", "transformer_blocks.#.attn.qkv.$", TR_KEY_THIRD, 2 },
    { "transformer_blocks.#.attn.to_out.0.$", "transformer_blocks.#.attn.proj.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.ff.net.0.proj.$", "transformer_blocks.#.mlp.fc1.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.ff.net.2.$", "transformer_blocks.#.mlp.fc2.$", TR_KEY_PLAIN, 0 },
    { "transformer_blocks.#.norm1.linear.$", "transformer_blocks.#.adaLN_modulation.1.$", TR_KEY_PLAIN, 0 },
};

#define VAE_RESNET(ours, theirs)                                        \
    { ours ".norm1.$", theirs ".norm1.$", TR_KEY_PLAIN, 0 },            \
    { ours ".conv1.$", theirs ".conv1.$", TR_KEY_PLAIN, 0 },            \
    { ours ".norm2.$", theirs ".norm2.$", TR_KEY_PLAIN, 0 },            \
    { ours ".conv2.$", theirs ".conv2.$", TR_KEY_PLAIN, 0 },            \
    { ours ".conv_shortcut.$", theirs ".nin_shortcut.$", TR_KEY_PLAIN, 0 }
#define VAE_HALF(half)                                                                                        \
    { half ".conv_in.$", half ".conv_in.$", TR_KEY_PLAIN, 0 },                                                \
    { half ".conv_out.$", half ".conv_out.$", TR_KEY_PLAIN, 0 },                                              \
    { half ".conv_norm_out.$", half ".norm_out.$", TR_KEY_PLAIN, 0 },                                         \
    VAE_RESNET(half ".mid_block.resnets.0", half ".mid.block_1"),                                             \
    VAE_RESNET(half ".mid_block.resnets.1", half ".mid.block_2"),                                             \
    { half ".mid_block.attentions.0.group_norm.$", half ".mid.attn_1.norm.$", TR_KEY_PLAIN, 0 },              \
    { half ".mid_block.attentions.0.to_q.$", half ".mid.attn_1.q.$", TR_KEY_SQUEEZE, 0 },                     \
    { half ".mid_block.attentions.0.to_k.$", half ".mid.attn_1.k.$", TR_KEY_SQUEEZE, 0 },                     \
    { half ".mid_block.attentions.0.to_v.$", half ".mid.attn_1.v.$", TR_KEY_SQUEEZE, 0 },                     \
    { half ".mid_block.attentions.0.to_out.0.$", half ".mid.attn_1.proj_out.$", TR_KEY_SQUEEZE, 0 }
static const tr_key_rule vae[] = {
    VAE_HALF("encoder"),
    VAE_HALF("decoder"),
    VAE_RESNET("encoder.down_blocks.#.resnets.#", "encoder.down.#.block.#"),
    { "encoder.down_blocks.#.downsamplers.0.conv.$", "encoder.down.#.downsample.conv.$", TR_KEY_PLAIN, 0 },
    VAE_RESNET("decoder.up_blocks.#.resnets.#", "decoder.up.~.block.#"),
    { "decoder.up_blocks.#.upsamplers.0.conv.$", "decoder.up.~.upsample.conv.$", TR_KEY_PLAIN, 0 },
    { "quant_conv.$", "quant_conv.$", TR_KEY_PLAIN, 0 },
    { "post_quant_conv.$", "post_quant_conv.$", TR_KEY_PLAIN, 0 },
};

#define VAE_OLD(half)                                                                                                                \
    { half ".mid_block.attentions.0.to_q.$", half ".mid_block.attentions.0.query.$", TR_KEY_SQUEEZE, 0 },        \
    { half ".mid_block.attentions.0.to_k.$", half ".mid_block.attentions.0.key.$", TR_KEY_SQUEEZE, 0 },          \
    { half ".mid_block.attentions.0.to_v.$", half ".mid_block.attentions.0.value.$", TR_KEY_SQUEEZE, 0 },        \
    { half ".mid_block.attentions.0.to_out.0.$", half ".mid_block.attentions.0.proj_attn.$", TR_KEY_SQUEEZE, 0 }
static const tr_key_rule vae_old[] = { VAE_OLD("encoder"), VAE_OLD("decoder") };

#define CLIP_BARE(name) { "text_model." name, name, TR_KEY_PLAIN, 0 }
static const tr_key_rule clip_bare[] = {
    CLIP_BARE("embeddings.token_embedding.weight"),
    CLIP_BARE("embeddings.position_embedding.weight"),
    CLIP_BARE("embeddings.position_ids"),
    CLIP_BARE("encoder.layers.#.layer_norm1.$"),
    CLIP_BARE("encoder.layers.#.layer_norm2.$"),
    CLIP_BARE("encoder.layers.#.self_attn.q_proj.$"),
    CLIP_BARE("encoder.layers.#.self_attn.k_proj.$"),
    CLIP_BARE("encoder.layers.#.self_attn.v_proj.$"),
    CLIP_BARE("encoder.layers.#.self_attn.out_proj.$"),
    CLIP_BARE("encoder.layers.#.mlp.fc1.$"),
    CLIP_BARE("encoder.layers.#.mlp.fc2.$"),
    CLIP_BARE("final_layer_norm.$"),
};

static const tr_key_rule openclip[] = {
    { "text_model.embeddings.token_embedding.weight", "token_embedding.weight", TR_KEY_PLAIN, 0 },
    { "text_model.embeddings.position_embedding.weight", "positional_embedding", TR_KEY_PLAIN, 0 },
    { "text_model.final_layer_norm.$", "ln_final.$", TR_KEY_PLAIN, 0 },
    { "text_projection.weight", "text_projection", TR_KEY_TRANSPOSE, 0 },
    { "text_model.encoder.layers.#.layer_norm1.$", "transformer.resblocks.#.ln_1.$", TR_KEY_PLAIN, 0 },
    { "text_model.encoder.layers.#.layer_norm2.$", "transformer.resblocks.#.ln_2.$", TR_KEY_PLAIN, 0 },
    { "text_model.encoder.layers.#.self_attn.q_proj.$", "transformer.resblocks.#.attn.in_proj_$", TR_KEY_THIRD, 0 },
    { "text_model.encoder.layers.#.self_attn.k_proj.$", "transformer.resblocks.#.attn.in_proj_$", TR_KEY_THIRD, 1 },
    { "text_model.encoder.layers.#.self_attn.v_proj.$", "transformer.resblocks.#.attn.in_proj_$", TR_KEY_THIRD, 2 },
    { "text_model.encoder.layers.#.self_attn.out_proj.$", "transformer.resblocks.#.attn.out_proj.$", TR_KEY_PLAIN, 0 },
    { "text_model.encoder.layers.#.mlp.fc1.$", "transformer.resblocks.#.mlp.c_fc.$", TR_KEY_PLAIN, 0 },
    { "text_model.encoder.layers.#.mlp.fc2.$", "transformer.resblocks.#.mlp.c_proj.$", TR_KEY_PLAIN, 0 },
};

const tr_key_rule *tr_key_rules(tr_layout l, int *n)
{
    static const struct { const tr_key_rule *rule; int n; } table[TR_LAYOUT_N] = {
        [TR_LAYOUT_DIFFUSERS] = { NULL, 0 },
        [TR_LAYOUT_MMDIT] = { mmdit, COUNT(mmdit) },
        [TR_LAYOUT_CONTROLNET] = { controlnet, COUNT(controlnet) },
        [TR_LAYOUT_VAE] = { vae, COUNT(vae) },
        [TR_LAYOUT_VAE_OLD] = { vae_old, COUNT(vae_old) },
        [TR_LAYOUT_CLIP_BARE] = { clip_bare, COUNT(clip_bare) },
        [TR_LAYOUT_OPENCLIP] = { openclip, COUNT(openclip) },
    };
    TR_ASSERT(l >= 0 && l < TR_LAYOUT_N);
    *n = table[l].n;
    return table[l].rule;
}

/* At most four digits without a leading zero: no block count comes near, and nothing can overflow. */
static const char *read_index(const char *s, int *out)
{
    int v = 0, n = 0;
    while (n < 4 && s[n] >= '0' && s[n] <= '9') v = 10 * v + (s[n++] - '0');
    if (n == 0 || (n > 1 && s[0] == '0')) return NULL;
    *out = v;
    return s + n;
}

bool tr_key_fits(const char *pattern, bool flat, const char *name, tr_key_match *m)
{
    m->n_index = 0;
    m->bias = false;
    const char *s = name;
    for (const char *p = pattern; *p; p++) {
        if (*p == '#' || *p == '~') {
            int v = 0;
            if (m->n_index == 2 || !(s = read_index(s, &v))) return false;
            if (*p == '~') v = m->n_mirror - 1 - v;
            if (v < 0) return false;
            m->index[m->n_index++] = v;
        } else if (*p == '$') {
            m->bias = strcmp(s, "bias") == 0;
            return p[1] == '\0' && (m->bias || strcmp(s, "weight") == 0);
        } else if (flat && strcmp(p, ".$") == 0) {
            break;
        } else {
            if (*s != (flat && *p == '.' ? '_' : *p)) return false;
            s++;
        }
    }
    return *s == '\0';
}

tress_status tr_key_name(char *out, size_t n, const char *pattern, bool flat, bool layer, const tr_key_match *m)
{
    size_t at = 0;
    int i = 0;
    for (const char *p = pattern; *p; p++) {
        char digits[16] = { *p, '\0' };
        const char *piece = digits;
        if (layer && strcmp(p, ".$") == 0) break;
        if (*p == '#' || *p == '~') {
            TR_ASSERT(i < m->n_index);
            const int v = *p == '~' ? m->n_mirror - 1 - m->index[i] : m->index[i];
            i++;
            int k = (int)sizeof digits - 1;
            unsigned u = (unsigned)v;
            digits[k] = '\0';
            do digits[--k] = (char)('0' + u % 10); while (u /= 10);
            piece = digits + k;
        } else if (*p == '$') {
            piece = m->bias ? "bias" : "weight";
        } else if (flat && *p == '.') {
            piece = "_";
        }
        const size_t len = strlen(piece);
        if (len >= n - at) return tr_fail(TRESS_E_FORMAT, "a tensor name made from %s is longer than %zu bytes", pattern, n - 1);
        memcpy(out + at, piece, len);
        at += len;
    }
    out[at] = '\0';
    return TRESS_OK;
}
