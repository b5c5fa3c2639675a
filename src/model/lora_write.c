/* LoRA files in every layout from pairs with their scale folded in: alpha equals the rank wherever a layout has room for it. */
#include "model/lora_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tensors to be written; names and some data are owned. */
typedef struct writer {
    const tr_lora *l;
    tr_named *item;
    void    **own;                              /* [n_item] name */
    void    **data;                             /* [n_item] data, or NULL when borrowed */
    int       n, cap;
    const char **meta;                          /* pairs, ending in NULL; views */
} writer;

static tress_status add(writer *w, const char *head, const char *module, const char *tail, tr_tensor t, void *data /* taken, may be NULL */)
{
    tress_status st = TRESS_OK;
    tr_str name = { 0 };
    if (w->n == w->cap) {
        int cap = w->cap;
        TR_TRY(tr_lora_grow(&w->item, w->n, &cap, sizeof *w->item));
        cap = w->cap;
        TR_TRY(tr_lora_grow(&w->own, w->n, &cap, sizeof *w->own));
        cap = w->cap;
        TR_TRY(tr_lora_grow(&w->data, w->n, &cap, sizeof *w->data));
        w->cap = cap;
    }
    TR_TRY(tr_str_printf(&name, "%s%s%s", head, module, tail));
    if (name.len > 256) TR_TRY(tr_fail(TRESS_E_FORMAT, "the key %.64s.. is longer than 256 bytes", name.s));
    w->item[w->n] = (tr_named){ name.s, t };
    w->own[w->n] = name.s;
    w->data[w->n++] = data;
    name.s = NULL;
    data = NULL;
done:
    tr_str_fini(&name);
    tr_free(data);
    return st;
}

static tress_status new_floats(float **out, int64_t n)
{
    void *p = NULL;
    const tress_status st = tr_alloc_array(&p, n, sizeof(float));
    *out = p;
    return st;
}

/* The patch embedding is a convolution in every reader: its down part is [r, c, 2, 2], its up part [out, r, 1, 1]. */
static tr_tensor as_conv(const char *layer, tr_tensor t, bool up)
{
    if (strcmp(layer, "pos_embed.proj") != 0) return t;
    if (up) return tr_reshape(t, TR_DIMS(t.shape[0], t.shape[1], 1, 1));
    return t.shape[1] % 4 == 0 ? tr_reshape(t, TR_DIMS(t.shape[0], t.shape[1] / 4, 2, 2)) : t;
}

static tress_status add_alpha(writer *w, const char *head, const char *module, int rank)
{
    tress_status st = TRESS_OK;
    float *v = NULL;
    TR_TRY(new_floats(&v, 1));
    *v = (float)rank;
    TR_TRY(add(w, head, module, ".alpha", tr_view(v, TR_F32, (tr_dims){ 0 }), v));
done:
    return st;
}

/* ---- layouts that name our layers ------------------------------------------------------------------------ */

static tress_status add_split(writer *w, const char *head, bool flat, const char *down, const char *up, bool alpha)
{
    tress_status st = TRESS_OK;
    char name[TR_LORA_NAME_MAX];
    for (int i = 0; i < w->l->n_pair; i++) {
        const tr_lora_pair *p = &w->l->pair[i];
        snprintf(name, sizeof name, "%s", p->layer);
        for (char *c = name; flat && *c; c++)
            if (*c == '.') *c = '_';
        TR_TRY(add(w, head, name, down, as_conv(p->layer, p->a, false), NULL));
        TR_TRY(add(w, head, name, up, as_conv(p->layer, p->up, true), NULL));
        if (alpha) TR_TRY(add_alpha(w, head, name, p->rank));
    }
done:
    return st;
}

/* ---- layouts that name original layers ------------------------------------------------------------------- */

static const tr_lora_pair *find(const tr_lora *l, const char *layer)
{
    for (int i = 0; i < l->n_pair; i++)
        if (strcmp(l->pair[i].layer, layer) == 0) return &l->pair[i];
    return NULL;
}

/* q, k and v that share a down part (as a fused file's do) stay of rank r; others are put side by side: down [A_q; A_k; A_v], up
 * block-diagonal of rank r_q + r_k + r_v. A part without an adapter gets rows of zeros. */
static tress_status add_fused(writer *w, const char *head, const char *module, const tr_lora_pair *const part[3])
{
    tress_status st = TRESS_OK;
    const tr_lora_pair *one = part[0] ? part[0] : part[1] ? part[1] : part[2];
    const int64_t d_in = one->a.shape[1], d_out = one->up.shape[0];
    float *down = NULL, *up = NULL;
    int rank = 0;
    bool shared = true;
    for (int k = 0; k < 3; k++) {
        if (!part[k]) {
            shared = false;
            continue;
        }
        if (part[k]->a.shape[1] != d_in || part[k]->up.shape[0] != d_out)
            TR_TRY(tr_fail(TRESS_E_SHAPE, "%s and %s cannot be fused: their widths differ", one->layer, part[k]->layer));
        rank += part[k]->rank;
        shared = shared && part[k]->rank == one->rank && memcmp(part[k]->a.data, one->a.data, sizeof(float) * (size_t)(one->rank * d_in)) == 0;
    }
    if (shared) rank = one->rank;
    if (rank > TR_LORA_RANK_MAX) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: fused rank %d is beyond %d", module, rank, TR_LORA_RANK_MAX));
    TR_TRY(new_floats(&down, rank * d_in));
    TR_TRY(new_floats(&up, 3 * d_out * rank));
    for (int k = 0, at = 0; k < 3; k++) {
        if (!part[k]) continue;
        const int r = part[k]->rank;
        const float *a = part[k]->a.data, *b = part[k]->up.data;
        memcpy(down + at * d_in, a, sizeof(float) * (size_t)(r * d_in));
        for (int64_t row = 0; row < d_out; row++)
            memcpy(up + (k * d_out + row) * rank + at, b + row * r, sizeof(float) * (size_t)r);
        if (!shared) at += r;
    }
    float *give = down;
    down = NULL;
    TR_TRY(add(w, head, module, ".lora_down.weight", tr_view(give, TR_F32, TR_DIMS(rank, d_in)), give));
    give = up;
    up = NULL;
    TR_TRY(add(w, head, module, ".lora_up.weight", tr_view(give, TR_F32, TR_DIMS(3 * d_out, rank)), give));
    TR_TRY(add_alpha(w, head, module, rank));
done:
    tr_free(down);
    tr_free(up);
    return st;
}

static tress_status add_one(writer *w, const char *head, const char *module, const tr_lora_pair *p, bool swap)
{
    tress_status st = TRESS_OK;
    float *up = NULL;
    tr_tensor t = p->up;
    if (swap) {
        const size_t n = (size_t)tr_count(t) / 2;
        TR_TRY(new_floats(&up, tr_count(t)));
        memcpy(up, (const float *)t.data + n, n * sizeof(float));
        memcpy(up + n, t.data, n * sizeof(float));
        t.data = up;
    }
    float *give = up;
    up = NULL;
    TR_TRY(add(w, head, module, ".lora_up.weight", as_conv(p->layer, t, true), give));
    TR_TRY(add(w, head, module, ".lora_down.weight", as_conv(p->layer, p->a, false), NULL));
    TR_TRY(add_alpha(w, head, module, p->rank));
done:
    tr_free(up);
    return st;
}

static tress_status add_original(writer *w, const char *head, bool flat)
{
    tress_status st = TRESS_OK;
    char module[TR_LORA_NAME_MAX], name[TR_LORA_NAME_MAX];
    int n_rule = 0;
    const tr_key_rule *rules = tr_key_rules(TR_LAYOUT_MMDIT, &n_rule);
    for (int i = 0; i < w->l->n_pair; i++) {
        const tr_lora_pair *p = &w->l->pair[i], *part[3] = { NULL };
        tr_key_match m = { 0 };
        const tr_key_rule *r = tr_lora_rule(p->layer, &m);
        if (!r) TR_TRY(tr_fail(TRESS_E_CONTRACT, "layer %s has no name in the original layout", p->layer));
        TR_TRY(tr_key_name(module, sizeof module, r->theirs, flat, true, &m));
        if (r->kind != TR_KEY_THIRD) {
            const bool swap = r->kind == TR_KEY_SWAP || (r->kind == TR_KEY_SWAP_LAST && p->up.shape[0] == 2 * p->a.shape[1]);
            TR_TRY(add_one(w, head, module, p, swap));
            continue;
        }
        for (int j = 0; j < n_rule; j++) {
            if (rules[j].kind != TR_KEY_THIRD || strcmp(rules[j].theirs, r->theirs) != 0) continue;
            TR_TRY(tr_key_name(name, sizeof name, rules[j].ours, false, true, &m));
            part[rules[j].part] = find(w->l, name);
        }
        int first = 0;                                                    /* the three come with the one that is sorted first */
        for (int k = 1; k < 3; k++)
            if (part[k] && (!part[first] || strcmp(part[k]->layer, part[first]->layer) < 0)) first = k;
        if (part[first] == p) TR_TRY(add_fused(w, head, module, part));
    }
done:
    return st;
}

/* ---- settings beside the tensors ------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* What PEFT's LoraConfig needs, each key with prefix before it: alpha equals the rank, layer by layer. */
static tress_status make_config(json_t **out, const tr_lora *l, const char *prefix)
{
    tress_status st = TRESS_OK;
    json_t *o = json_object(), *ranks = json_object(), *targets = json_array();
    const char **name = NULL;
    void *p = NULL;
    char key[64];
    int r = l->pair[0].rank, most = 0;
    for (int i = 0; i < l->n_pair; i++) {                                 /* the rank that most layers have */
        int n = 0;
        for (int j = 0; j < l->n_pair; j++) n += l->pair[j].rank == l->pair[i].rank;
        if (n > most) {
            most = n;
            r = l->pair[i].rank;
        }
    }
    bool ok = o && ranks && targets;
    TR_TRY(tr_alloc_array(&p, l->n_pair, sizeof *name));
    name = p;
    for (int i = 0; i < l->n_pair; i++) name[i] = l->pair[i].layer;
    qsort(name, (size_t)l->n_pair, sizeof *name, by_name);
    for (int i = 0; ok && i < l->n_pair; i++) {
        ok = json_array_append_new(targets, json_string(name[i])) == 0;
        if (ok && l->pair[i].rank != r) ok = json_object_set_new(ranks, l->pair[i].layer, json_integer(l->pair[i].rank)) == 0;
    }
#define SET(k, v) (snprintf(key, sizeof key, "%s%s", prefix, k), ok = ok && json_object_set_new(o, key, v) == 0)
    SET("r", json_integer(r));
    SET("lora_alpha", json_integer(r));
    SET("rank_pattern", json_deep_copy(ranks));
    SET("alpha_pattern", json_deep_copy(ranks));
    SET("target_modules", json_deep_copy(targets));
    SET("use_rslora", json_false());
    SET("use_dora", json_false());
    SET("lora_bias", json_false());
    SET("lora_dropout", json_real(0));
    SET("bias", json_string("none"));
    if (!ok) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the settings of a LoRA"));
    *out = o;
    o = NULL;
done:
    json_decref(o);
    json_decref(ranks);
    json_decref(targets);
    tr_free(name);
    return st;
}

static tress_status write_peft_config(const tr_lora *l, const char *path)
{
    tress_status st = TRESS_OK;
    json_t *o = NULL;
    char *text = NULL;
    TR_TRY(make_config(&o, l, ""));
    bool ok = json_object_set_new(o, "peft_type", json_string("LORA")) == 0 && json_object_set_new(o, "base_model_name_or_path", json_null()) == 0 &&
              json_object_set_new(o, "fan_in_fan_out", json_false()) == 0 && json_object_set_new(o, "inference_mode", json_true()) == 0 &&
              json_object_set_new(o, "init_lora_weights", json_true()) == 0 && json_object_set_new(o, "modules_to_save", json_null()) == 0 &&
              json_object_set_new(o, "task_type", json_null()) == 0;
    text = ok ? json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    st = text ? tr_file_write(path, text, strlen(text)) : tr_fail(TRESS_E_OOM, "no memory for %s", path);
done:
    free(text);                                                           /* jansson's own */
    json_decref(o);
    return st;
}

/* The file's own metadata under "tress.", and what the layout asks for. */
static tress_status make_meta(writer *w, tr_lora_format f, const char *settings, char rank[16])
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    int n = 0;
    TR_TRY(tr_alloc_array(&p, 2 * w->l->n_meta + 16, sizeof *w->meta));
    w->meta = p;
    for (int i = 0; i < w->l->n_meta; i++)
        if (strncmp(w->l->meta[i].key, "tress.", 6) == 0) {
            w->meta[n++] = w->l->meta[i].key;
            w->meta[n++] = w->l->meta[i].value;
        }
    bool uniform = true;
    for (int i = 1; i < w->l->n_pair; i++) uniform = uniform && w->l->pair[i].rank == w->l->pair[0].rank;
    snprintf(rank, 16, uniform ? "%d" : "Dynamic", w->l->pair[0].rank);
#define META(k, v) (w->meta[n++] = (k), w->meta[n++] = (v))
    META("format", "pt");
    if (f == TR_LORA_DIFFUSERS) META("lora_adapter_metadata", settings);
    if (f == TR_LORA_KOHYA) {
        META("ss_network_module", "networks.lora_sd3");
        META("ss_network_dim", rank);
        META("ss_network_alpha", rank);
    }
    w->meta[n] = NULL;
done:
    return st;
}

tress_status tr_lora_save(const tr_lora *l, const char *path, tr_lora_format f)
{
    tress_status st = TRESS_OK;
    writer w = { .l = l };
    json_t *config = NULL;
    char *settings = NULL, *file = NULL, *config_path = NULL, rank[16];
    if (l->n_pair == 0) TR_TRY(tr_fail(TRESS_E_ARG, "%s: there is no adapter to write", path));
    switch (f) {
    case TR_LORA_DIFFUSERS: TR_TRY(add_split(&w, "transformer.", false, ".lora_A.weight", ".lora_B.weight", false)); break;
    case TR_LORA_PEFT: TR_TRY(add_split(&w, "base_model.model.", false, ".lora_A.weight", ".lora_B.weight", false)); break;
    case TR_LORA_ONETRAINER: TR_TRY(add_split(&w, "lora_transformer_", true, ".lora_down.weight", ".lora_up.weight", true)); break;
    case TR_LORA_KOHYA: TR_TRY(add_original(&w, "lora_unet_", true)); break;
    case TR_LORA_COMFY: TR_TRY(add_original(&w, "diffusion_model.", false)); break;
    case TR_LORA_FORMAT_N: TR_ASSERT(!"a layout"); break;
    }
    if (f == TR_LORA_DIFFUSERS) {
        TR_TRY(make_config(&config, l, "transformer."));
        settings = json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS);
        if (!settings) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the settings of a LoRA"));
    }
    TR_TRY(make_meta(&w, f, settings, rank));
    if (f == TR_LORA_PEFT) {
        TR_TRY(tr_dir_make(path));
        TR_TRY(tr_path_join(&config_path, path, "adapter_config.json"));
        TR_TRY(tr_path_join(&file, path, "adapter_model.safetensors"));
        TR_TRY(write_peft_config(l, config_path));
    }
    TR_TRY(tr_safetensors_write(file ? file : path, w.item, w.n, w.meta));
done:
    for (int i = 0; i < w.n; i++) {
        tr_free(w.own[i]);
        tr_free(w.data[i]);
    }
    tr_free(w.item);
    tr_free(w.own);
    tr_free(w.data);
    tr_free(w.meta);
    tr_free(file);
    tr_free(config_path);
    free(settings);                                                       /* jansson's own */
    json_decref(config);
    return st;
}
