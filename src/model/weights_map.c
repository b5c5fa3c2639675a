/* From the names and shapes in the files to diffusers' own. Views where a view will do. */
#include "model/weights_int.h"

#include <string.h>

#define ABSENT (-1)

static bool starts(const char *s, const char *head) { return strncmp(s, head, strlen(head)) == 0; }

/* Is there a tensor named PREFIX HEAD...? Names are sorted, but a plain walk over a few thousand costs nothing. */
static bool any(const tr_weights *w, const char *prefix, const char *head)
{
    const size_t n = strlen(prefix);
    for (int f = 0; f < w->n_file; f++)
        for (int i = 0; i < tr_safetensors_count(w->file[f]); i++) {
            const char *s = tr_safetensors_name(w->file[f], i);
            if (strncmp(s, prefix, n) == 0 && starts(s + n, head)) return true;
        }
    return false;
}

/* OpenCLIP's text tower under whatever name it was a member of; the picture tower has resblocks too, but no token embedding. */
static bool openclip_prefix(const tr_weights *w, char prefix[TR_NAME_MAX])
{
    for (int f = 0; f < w->n_file; f++)
        for (int i = 0; i < tr_safetensors_count(w->file[f]); i++) {
            const char *s = tr_safetensors_name(w->file[f], i), *at = strstr(s, "token_embedding.weight");
            if (!at || at[strlen("token_embedding.weight")] != '\0' || (at != s && at[-1] != '.')) continue;
            memcpy(prefix, s, (size_t)(at - s));
            prefix[at - s] = '\0';
            if (any(w, prefix, "transformer.resblocks.")) return true;
        }
    return false;
}

/* The layout and the prefix that this module's tensors carry in the files; ABSENT when there are none. */
static int detect(const tr_weights *w, char prefix[TR_NAME_MAX])
{
    static const char *const in_one[] = { "model.diffusion_model.", "", "first_stage_model.", "text_encoders.clip_l.transformer.",
                                          "text_encoders.clip_g.transformer.", "text_encoders.t5xxl.transformer." };
    strcpy(prefix, any(w, in_one[w->module], "") ? in_one[w->module] : "");
    switch (w->module) {
    case TR_MODULE_TRANSFORMER:
        if (any(w, prefix, "joint_blocks.")) return TR_LAYOUT_MMDIT;
        return any(w, prefix, "transformer_blocks.") && !any(w, prefix, "controlnet_blocks.") ? TR_LAYOUT_DIFFUSERS : ABSENT;
    case TR_MODULE_CONTROLNET:
        if (!any(w, prefix, "controlnet_blocks.")) return ABSENT;
        return any(w, prefix, "transformer_blocks.0.attn.qkv.") ? TR_LAYOUT_CONTROLNET : TR_LAYOUT_DIFFUSERS;
    case TR_MODULE_VAE:
        if (any(w, prefix, "encoder.down.") || any(w, prefix, "decoder.up.")) return TR_LAYOUT_VAE;
        if (!any(w, prefix, "encoder.down_blocks.") && !any(w, prefix, "decoder.up_blocks.")) return ABSENT;
        return any(w, prefix, "decoder.mid_block.attentions.0.query.") ? TR_LAYOUT_VAE_OLD : TR_LAYOUT_DIFFUSERS;
    case TR_MODULE_CLIP_L:
    case TR_MODULE_CLIP_G:
        if (any(w, prefix, "text_model.")) return TR_LAYOUT_DIFFUSERS;
        if (any(w, prefix, "embeddings.token_embedding.")) return TR_LAYOUT_CLIP_BARE;
        return !*prefix && openclip_prefix(w, prefix) ? TR_LAYOUT_OPENCLIP : ABSENT;
    case TR_MODULE_T5:
        return any(w, prefix, "encoder.block.") ? TR_LAYOUT_DIFFUSERS : ABSENT;
    }
    return ABSENT;
}

/* How many of PREFIX N. there are, counted from 0: the largest N + 1. */
static int count_levels(const tr_weights *w, const char *prefix, const char *head)
{
    int n = 0;
    const size_t n_prefix = strlen(prefix), n_head = strlen(head);
    for (int f = 0; f < w->n_file; f++)
        for (int i = 0; i < tr_safetensors_count(w->file[f]); i++) {
            const char *s = tr_safetensors_name(w->file[f], i);
            if (strncmp(s, prefix, n_prefix) != 0 || strncmp(s + n_prefix, head, n_head) != 0) continue;
            int v = 0, k = 0;
            for (s += n_prefix + n_head; k < 4 && s[k] >= '0' && s[k] <= '9'; k++) v = 10 * v + (s[k] - '0');
            if (k > 0 && s[k] == '.' && v + 1 > n) n = v + 1;
        }
    return n;
}

/* One tensor through one rule. */
static tress_status apply(tr_weights *w, tr_tensor *out, const tr_key_rule *r, tr_key_kind kind, const char *source, const char *file, tr_tensor t)
{
    tress_status st = TRESS_OK;
    char found[TR_DIMS_TEXT];
    void *p = NULL;
    const size_t size = tr_dtype_size(t.dtype);
    tr_dims_text(found, t.rank, t.shape);
    switch (kind) {
    case TR_KEY_THIRD:
        if (t.rank < 1 || t.shape[0] % 3 != 0)
            TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: tensor %s: found %s, expected q, k and v fused: a multiple of 3 rows", file, source, found));
        *out = tr_slice(t, 0, r->part * (t.shape[0] / 3), t.shape[0] / 3);
        break;
    case TR_KEY_SWAP:
    case TR_KEY_SWAP_LAST: {
        if (t.rank < 1 || t.shape[0] % 2 != 0)
            TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: tensor %s: found %s, expected shift and scale: an even number of rows", file, source, found));
        const size_t n = (size_t)tr_count(t) * size;
        TR_TRY(tr_weights_own(w, &p, n));
        memcpy(p, (const uint8_t *)t.data + n / 2, n / 2);
        memcpy((uint8_t *)p + n / 2, t.data, n / 2);
        *out = t;
        out->data = p;
        break;
    }
    case TR_KEY_SQUEEZE:
        *out = t.rank == 4 && t.shape[2] == 1 && t.shape[3] == 1 ? tr_reshape(t, TR_DIMS(t.shape[0], t.shape[1])) : t;
        break;
    case TR_KEY_TRANSPOSE:
        if (t.rank != 2) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: tensor %s: found %s, expected a matrix", file, source, found));
        TR_TRY(tr_weights_own(w, &p, (size_t)tr_count(t) * size));
        for (int64_t i = 0; i < t.shape[0]; i++)
            for (int64_t j = 0; j < t.shape[1]; j++)
                memcpy((uint8_t *)p + (size_t)(j * t.shape[0] + i) * size, (const uint8_t *)t.data + (size_t)(i * t.shape[1] + j) * size, size);
        *out = tr_view(p, t.dtype, TR_DIMS(t.shape[1], t.shape[0]));
        break;
    case TR_KEY_PLAIN:
        *out = t;
        break;
    }
done:
    return st;
}

/* A tensor whose name no rule knows keeps it, so that the check can name it. */
static tress_status map_one(tr_weights *w, tr_layout l, int n_block, int n_mirror, const char *name, const char *source, const char *file, tr_tensor t)
{
    tress_status st = TRESS_OK;
    int n = 0, hits = 0;
    const tr_key_rule *rule = tr_key_rules(l, &n);
    for (int i = 0; i < n; i++) {
        char ours[TR_NAME_MAX];
        tr_key_match m = { .n_mirror = n_mirror };
        tr_tensor v;
        if (!tr_key_fits(rule[i].theirs, false, name, &m)) continue;
        const bool last = m.n_index > 0 && m.index[0] == n_block - 1;
        const tr_key_kind kind = rule[i].kind == TR_KEY_SWAP_LAST && !last ? TR_KEY_PLAIN : rule[i].kind;
        TR_TRY(tr_key_name(ours, sizeof ours, rule[i].ours, false, false, &m));
        TR_TRY(apply(w, &v, &rule[i], kind, source, file, t));
        TR_TRY(tr_weights_add(w, ours, source, file, v));
        hits++;
    }
    if (hits == 0) {
        if (w->module == TR_MODULE_T5 && strcmp(name, "encoder.embed_tokens.weight") == 0 && !any(w, "", "shared.weight") &&
            !any(w, "text_encoders.t5xxl.transformer.", "shared.weight"))
            name = "shared.weight";                                       /* two names of one table: T5 ties them */
        TR_TRY(tr_weights_add(w, name, source, file, t));
    }
done:
    return st;
}

bool tr_weights_is_here(const tr_weights *w)
{
    char prefix[TR_NAME_MAX];
    return detect(w, prefix) != ABSENT;
}

tress_status tr_weights_map(tr_weights *w, bool *absent)
{
    tress_status st = TRESS_OK;
    char prefix[TR_NAME_MAX];
    const int l = detect(w, prefix);
    *absent = l == ABSENT;
    if (*absent) return TRESS_OK;
    w->layout = (tr_layout)l;
    const int n_block = w->layout == TR_LAYOUT_MMDIT ? count_levels(w, prefix, "joint_blocks.") : 0;
    const int n_mirror = w->layout == TR_LAYOUT_VAE ? count_levels(w, prefix, "decoder.up.") : 0;
    const size_t n_prefix = strlen(prefix);
    /* Without a prefix of its own, a module may still share the file with others that have theirs. */
    static const char *const foreign[] = { "model.diffusion_model.", "first_stage_model.", "text_encoders.", "model_sampling.", "visual." };
    for (int f = 0; f < w->n_file; f++)
        for (int i = 0; i < tr_safetensors_count(w->file[f]); i++) {
            const char *s = tr_safetensors_name(w->file[f], i), *file = tr_safetensors_path(w->file[f]);
            if (strncmp(s, prefix, n_prefix) != 0) continue;
            bool skip = false;
            for (size_t k = 0; n_prefix == 0 && k < sizeof foreign / sizeof foreign[0]; k++) skip |= starts(s, foreign[k]);
            if (skip) continue;
            /* what the vendor, ComfyUI and diffusers leave out: see add_identity */
            if (w->module == TR_MODULE_CLIP_L && !w->config && starts(s + n_prefix, "text_projection")) continue;
            TR_TRY(map_one(w, w->layout, n_block, n_mirror, s + n_prefix, s, file, tr_safetensors_at(w->file[f], i)));
        }
done:
    return st;
}
