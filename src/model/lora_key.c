/* The names of the field: module paths and tensor endings of every layout of LoRA files. docs/lora.md has them as a table. */
#include "model/lora_int.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool starts(const char *s, const char *head) { return strncmp(s, head, strlen(head)) == 0; }

static bool ends(const char *s, size_t n, const char *tail, size_t *cut)
{
    const size_t k = strlen(tail);
    if (n <= k || strcmp(s + n - k, tail) != 0) return false;
    *cut = n - k;
    return true;
}

tress_status tr_lora_key_read(tr_lora_key *out, const char *key, const char *path)
{
    static const struct { const char *end; tr_lora_role role; } ending[] = {
        { ".lora_A.weight", TR_LORA_DOWN }, { ".lora_B.weight", TR_LORA_UP },
        { ".lora_A.default.weight", TR_LORA_DOWN }, { ".lora_B.default.weight", TR_LORA_UP },
        { ".lora_down.weight", TR_LORA_DOWN }, { ".lora_up.weight", TR_LORA_UP },
        { ".lora.down.weight", TR_LORA_DOWN }, { ".lora.up.weight", TR_LORA_UP },
        { "_lora.down.weight", TR_LORA_DOWN }, { "_lora.up.weight", TR_LORA_UP },
        { ".alpha", TR_LORA_ALPHA },
    };
    static const struct { const char *end, *what; } other[] = {
        { ".dora_scale", "DoRA" }, { ".lora_magnitude_vector", "DoRA" }, { ".lora_magnitude_vector.weight", "DoRA" },
        { ".lora_magnitude_vector.default.weight", "DoRA" }, { ".hada_w1_a", "LoHa" }, { ".hada_w1_b", "LoHa" }, { ".hada_w2_a", "LoHa" },
        { ".hada_w2_b", "LoHa" }, { ".hada_t1", "LoHa" }, { ".hada_t2", "LoHa" }, { ".lokr_w1", "LoKr" }, { ".lokr_w2", "LoKr" },
        { ".lokr_w1_a", "LoKr" }, { ".lokr_w1_b", "LoKr" }, { ".lokr_w2_a", "LoKr" }, { ".lokr_w2_b", "LoKr" }, { ".lokr_t2", "LoKr" },
        { ".lora_mid.weight", "LoCon with a middle convolution" }, { ".oft_blocks", "OFT" }, { ".oft_diag", "OFT" }, { ".diff", "a full difference" },
        { ".diff_b", "a difference of biases" }, { ".lora_B.bias", "LoRA with biases" }, { ".lora_up.bias", "LoRA with biases" },
    };
    static const struct { const char *head; tr_lora_kind kind; tr_lora_format f; } prefix[] = {
        { "text_encoder.", TR_LORA_KEY_TEXT, TR_LORA_DIFFUSERS }, { "text_encoder_2.", TR_LORA_KEY_TEXT, TR_LORA_DIFFUSERS },
        { "text_encoder_3.", TR_LORA_KEY_TEXT, TR_LORA_DIFFUSERS }, { "text_encoders.", TR_LORA_KEY_TEXT, TR_LORA_COMFY },
        { "lora_te_", TR_LORA_KEY_TEXT, TR_LORA_KOHYA }, { "lora_te1_", TR_LORA_KEY_TEXT, TR_LORA_KOHYA },
        { "lora_te2_", TR_LORA_KEY_TEXT, TR_LORA_KOHYA }, { "lora_te3_", TR_LORA_KEY_TEXT, TR_LORA_KOHYA },
        { "clip_l.", TR_LORA_KEY_TEXT, TR_LORA_COMFY }, { "clip_g.", TR_LORA_KEY_TEXT, TR_LORA_COMFY }, { "t5xxl.", TR_LORA_KEY_TEXT, TR_LORA_COMFY },
        { "transformer.", TR_LORA_KEY_LAYER, TR_LORA_DIFFUSERS }, { "base_model.model.", TR_LORA_KEY_LAYER, TR_LORA_PEFT },
        { "lora_unet_", TR_LORA_KEY_LAYER, TR_LORA_KOHYA }, { "lora_transformer_", TR_LORA_KEY_LAYER, TR_LORA_ONETRAINER },
        { "lycoris_", TR_LORA_KEY_LAYER, TR_LORA_ONETRAINER }, { "diffusion_model.", TR_LORA_KEY_LAYER, TR_LORA_COMFY },
        { "transformer_blocks.", TR_LORA_KEY_LAYER, TR_LORA_DIFFUSERS },
    };
    const size_t n = strlen(key);
    size_t cut = 0, i = 0;
    for (i = 0; i < COUNT(other); i++)
        if (ends(key, n, other[i].end, &cut))
            return tr_fail(TRESS_E_FORMAT, "%s: key %s is part of %s: tress reads LoRA (down, up and alpha) and no other kind of adapter", path, key, other[i].what);
    for (i = 0; i < COUNT(ending) && !ends(key, n, ending[i].end, &cut); i++) {}
    if (i == COUNT(ending) || cut >= TR_LORA_NAME_MAX) return tr_fail(TRESS_E_FORMAT, "%s: key %s is no part of a LoRA", path, key);
    out->role = ending[i].role;
    memcpy(out->module, key, cut);
    out->module[cut] = '\0';
    out->kind = TR_LORA_KEY_UNKNOWN;
    for (i = 0; i < COUNT(prefix); i++)
        if (starts(key, prefix[i].head)) {
            out->kind = prefix[i].kind;
            out->format = prefix[i].f;
            break;
        }
    return TRESS_OK;
}

const tr_key_rule *tr_lora_rule(const char *layer, tr_key_match *m)
{
    char name[TR_LORA_NAME_MAX + 8];
    int n = 0;
    const tr_key_rule *r = tr_key_rules(TR_LAYOUT_MMDIT, &n);
    snprintf(name, sizeof name, "%s.weight", layer);
    for (int i = 0; i < n; i++)
        if (tr_key_fits(r[i].ours, false, name, m)) return &r[i];
    return NULL;
}

/* Through the table of the original layout, by its names or by ours with underscores for dots. */
static tress_status by_table(tr_lora_target *out, const char *name, bool theirs, bool flat)
{
    tress_status st = TRESS_OK;
    char full[TR_LORA_NAME_MAX + 8];
    int n = 0;
    const tr_key_rule *r = tr_key_rules(TR_LAYOUT_MMDIT, &n);
    snprintf(full, sizeof full, flat ? "%s" : "%s.weight", name);
    for (int i = 0; i < n && out->n < 3; i++) {
        tr_key_match m = { 0 };
        const char *pattern = theirs ? r[i].theirs : r[i].ours;
        if (!strchr(pattern, '$') || !tr_key_fits(pattern, flat, full, &m)) continue;
        TR_TRY(tr_key_name(out->layer[out->n++], TR_LORA_NAME_MAX, r[i].ours, false, true, &m));
        out->kind = theirs ? r[i].kind : TR_KEY_PLAIN;
        if (!theirs) break;
    }
done:
    return st;
}

tress_status tr_lora_target_read(tr_lora_target *out, const char *module, tr_lora_format f, const char *path)
{
    tress_status st = TRESS_OK;
    const char *s = module;
    *out = (tr_lora_target){ .kind = TR_KEY_PLAIN };
    switch (f) {
    case TR_LORA_DIFFUSERS:
    case TR_LORA_PEFT: {
        static const char processor[] = ".processor.";                    /* the layout of 2023: attn.processor.to_q_lora.down */
        if (starts(s, "transformer.")) s += strlen("transformer.");
        if (starts(s, "base_model.model.")) s += strlen("base_model.model.");
        const char *at = strstr(s, processor);
        if (at) snprintf(out->layer[0], TR_LORA_NAME_MAX, "%.*s.%s", (int)(at - s), s, at + sizeof processor - 1);
        else snprintf(out->layer[0], TR_LORA_NAME_MAX, "%s", s);
        /* to_out of the processors was the projection itself, which is the first of a list now */
        const size_t n = strlen(out->layer[0]), k = strlen(".to_out");
        if (at && n > k && n + 3 < TR_LORA_NAME_MAX && strcmp(out->layer[0] + n - k, ".to_out") == 0) strcat(out->layer[0], ".0");
        out->n = 1;
        tr_key_match m = { 0 };
        if (!tr_lora_rule(out->layer[0], &m)) out->n = 0;
        break;
    }
    case TR_LORA_KOHYA:
        TR_TRY(by_table(out, s + strlen("lora_unet_"), true, true));
        break;
    case TR_LORA_COMFY:
        TR_TRY(by_table(out, s + strlen("diffusion_model."), true, false));
        break;
    case TR_LORA_ONETRAINER:
        TR_TRY(by_table(out, s + (starts(s, "lycoris_") ? strlen("lycoris_") : strlen("lora_transformer_")), false, true));
        break;
    case TR_LORA_FORMAT_N:
        break;
    }
    if (out->n == 0) TR_TRY(tr_fail(TRESS_E_CONTRACT, "%s: key %s matches no layer of an SD3 transformer", path, module));
done:
    return st;
}
