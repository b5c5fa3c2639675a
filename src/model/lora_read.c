/* LoRA files of every layout into pairs by diffusers layer, with their scale folded in. */
#include "model/lora_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_BYTES_MAX ((size_t)1 << 20)

/* One module of the file as it stands there. */
typedef struct raw { char *module; tr_lora_format format; tr_tensor down, up; bool has_alpha; float alpha; } raw;

/* Where scales come from when there are no alpha tensors: PEFT's adapter_config.json, or the same keys with "transformer." before them
 * in the metadata of newer diffusers files. prefix says which. */
typedef struct scales { json_t *config; const char *prefix; const char *where; } scales;

typedef struct reader {
    const char *path;
    tr_safetensors *file;
    tr_lora *l;
    raw  *item;
    int   n_item, cap_item, n_text;
    scales scale;
    char *config_path;
} reader;

/* ---- numbers --------------------------------------------------------------------------------------------- */

static tress_status value_at(float *out, const reader *r, const char *key, tr_tensor t, int64_t i)
{
    const uint8_t *p = (const uint8_t *)t.data + (size_t)i * tr_dtype_size(t.dtype);
    uint16_t h;
    double d;
    switch (t.dtype) {
    case TR_F32: memcpy(out, p, 4); break;
    case TR_F16: memcpy(&h, p, 2); *out = tr_f16_to_f32(h); break;
    case TR_BF16: memcpy(&h, p, 2); *out = tr_bf16_to_f32(h); break;
    case TR_F8_E4M3: *out = tr_f8e4m3_to_f32(*p); break;
    case TR_F64: memcpy(&d, p, 8); *out = (float)d; break;
    case TR_I64: { int64_t v; memcpy(&v, p, 8); *out = (float)v; break; }             /* alpha, in some files */
    case TR_I32: { int32_t v; memcpy(&v, p, 4); *out = (float)v; break; }
    default: return tr_fail(TRESS_E_FORMAT, "%s: %s has type %s, expected a float type", r->path, key, tr_dtype_name(t.dtype));
    }
    if (!isfinite(*out)) return tr_fail(TRESS_E_FORMAT, "%s: %s: element %" PRId64 " is %s", r->path, key, i, isnan(*out) ? "NaN" : "infinite");
    return TRESS_OK;
}

/* PEFT looks for the first key that matches (.*\.)?(KEY)$. Keys are regular expressions there; plain names are what is written. */
static tress_status pattern_value(double *out, bool *found, const reader *r, const json_t *patterns, const char *layer)
{
    const char *key;
    json_t *v;
    *found = false;
    json_object_foreach((json_t *)(uintptr_t)patterns, key, v) {
        const char *k = key[0] == '^' ? key + 1 : key;
        const size_t n = strlen(layer), m = strlen(k);
        if (strpbrk(k, "*+?()[]{}|\\$^"))
            return tr_fail(TRESS_E_FORMAT, "%s: the pattern %.128s is a regular expression: expected the name of a layer", r->scale.where, key);
        if (m > n || strcmp(layer + n - m, k) != 0 || (m < n && (key[0] == '^' || layer[n - m - 1] != '.'))) continue;
        if (!json_is_number(v)) return tr_fail(TRESS_E_FORMAT, "%s: the pattern %.128s has no number", r->scale.where, key);
        *out = json_number_value(v);
        *found = true;
        return TRESS_OK;
    }
    return TRESS_OK;
}

static const json_t *config_get(const scales *s, const char *key)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s", s->prefix, key);
    return json_object_get(s->config, full);
}

/* alpha of a layer of rank n: what multiplies the product is alpha / n, or alpha / sqrt(n) if the config says so. */
static tress_status scale_of(float *alpha, float *scale, const reader *r, const raw *i, const char *layer, int n)
{
    tress_status st = TRESS_OK;
    *alpha = (float)n;
    *scale = 1;
    if (i->has_alpha) {
        if (i->alpha != 0) *alpha = i->alpha;                             /* zero stands for "the rank" since kohya's first files */
        *scale = *alpha / (float)n;
    } else if (r->scale.config) {
        double a = n;
        bool found = false;
        const json_t *v = config_get(&r->scale, "lora_alpha");
        TR_TRY(pattern_value(&a, &found, r, config_get(&r->scale, "alpha_pattern"), layer));
        if (!found && v && !json_is_number(v)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: lora_alpha is no number", r->scale.where));
        if (!found && v) a = json_number_value(v);
        if (!isfinite(a) || fabs(a) > 1e6) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: alpha of %s is %g", r->scale.where, layer, a));
        *alpha = (float)a;
        *scale = (float)(json_is_true(config_get(&r->scale, "use_rslora")) ? a / sqrt((double)n) : a / n);
    }
done:
    return st;
}

/* ---- gathering ------------------------------------------------------------------------------------------- */

static tress_status find_or_add(reader *r, raw **out, const tr_lora_key *k)
{
    tress_status st = TRESS_OK;
    for (int i = r->n_item; i-- > 0;)                                     /* sorted names: the partner is among the last few */
        if (strcmp(r->item[i].module, k->module) == 0) return *out = &r->item[i], TRESS_OK;
    TR_TRY(tr_lora_grow(&r->item, r->n_item, &r->cap_item, sizeof *r->item));
    r->item[r->n_item] = (raw){ .format = k->format };
    TR_TRY(tr_strdup(&r->item[r->n_item].module, k->module));
    *out = &r->item[r->n_item++];
done:
    return st;
}

static tress_status gather(reader *r, bool drop_text)
{
    tress_status st = TRESS_OK;
    for (int i = 0; i < tr_safetensors_count(r->file); i++) {
        const char *key = tr_safetensors_name(r->file, i);
        tr_tensor t = tr_safetensors_at(r->file, i);
        tr_lora_key k;
        raw *to = NULL;
        TR_TRY(tr_lora_key_read(&k, key, r->path));
        if (k.kind == TR_LORA_KEY_UNKNOWN) TR_TRY(tr_fail(TRESS_E_CONTRACT, "%s: key %s matches no layer of an SD3 transformer", r->path, key));
        if (k.kind == TR_LORA_KEY_TEXT) {
            if (!drop_text)
                TR_TRY(tr_fail(TRESS_E_CONTRACT, "%s: key %s adapts a text encoder; tress adapts the transformer alone: "
                               "`tress lora convert --drop-text-encoders` writes a file without such keys", r->path, key));
            r->n_text++;
            continue;
        }
        TR_TRY(find_or_add(r, &to, &k));
        if (k.role == TR_LORA_ALPHA) {
            if (tr_count(t) != 1) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %s has %" PRId64 " elements, expected 1", r->path, key, tr_count(t)));
            TR_TRY(value_at(&to->alpha, r, key, t, 0));
            to->has_alpha = true;
        } else {
            tr_tensor *half = k.role == TR_LORA_DOWN ? &to->down : &to->up;
            if (!tr_is_none(*half)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s is there twice, under two endings", r->path, key));
            if (tr_count(t) == 0) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %s is empty", r->path, key));
            *half = t;
        }
    }
    if (r->n_item == 0)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: holds no adapter of a transformer%s", r->path, r->n_text ? ", only of text encoders" : ""));
done:
    return st;
}

/* Rows from .. from + n of up, and the columns (with the rows of down) that those rows use, become the adapter of one layer. A fused
 * file made from split adapters is block-diagonal: dropping the unused columns gives back the split ones. */
static tress_status add_part(reader *r, const raw *i, const char *layer, int64_t from, int64_t n, bool swap, bool prune, float alpha, float scale)
{
    tress_status st = TRESS_OK;
    const tr_lora_pair *p = NULL;
    char down_key[TR_LORA_NAME_MAX + 8], up_key[TR_LORA_NAME_MAX + 8];
    const int64_t rank = i->down.shape[0], d_in = tr_count(i->down) / rank;
    bool used[TR_LORA_RANK_MAX];
    int n_used = 0;
    snprintf(down_key, sizeof down_key, "%s (down)", i->module);
    snprintf(up_key, sizeof up_key, "%s (up)", i->module);
    for (int64_t c = 0; c < rank; c++) {
        used[c] = !prune;
        for (int64_t row = from; !used[c] && row < from + n; row++) {
            float v = 0;
            TR_TRY(value_at(&v, r, up_key, i->up, row * rank + c));
            used[c] = v != 0;
        }
        n_used += used[c];
    }
    if (n_used == 0) goto done;                                           /* this part is not adapted */
    TR_TRY(tr_lora_add(r->l, &p, layer, n_used, n, d_in));
    ((tr_lora_pair *)(uintptr_t)p)->alpha = alpha;
    float *a = p->a.data, *up = p->up.data;
    for (int64_t c = 0, k = 0; c < rank; c++) {
        if (!used[c]) continue;
        for (int64_t j = 0; j < d_in; j++) TR_TRY(value_at(&a[k * d_in + j], r, down_key, i->down, c * d_in + j));
        for (int64_t row = 0; row < n; row++) {
            const int64_t at = from + (swap ? (row + n / 2) % n : row);
            float v = 0;
            TR_TRY(value_at(&v, r, up_key, i->up, at * rank + c));
            v *= scale;
            if (!isfinite(v)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s times its scale %g is not finite", r->path, up_key, (double)scale));
            up[row * n_used + k] = v;
        }
        k++;
    }
done:
    return st;
}

static bool all_zero(tr_tensor t)
{
    const uint8_t *p = t.data;
    const size_t n = (size_t)tr_count(t) * tr_dtype_size(t.dtype);
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

static tress_status add_raw(reader *r, const raw *i)
{
    tress_status st = TRESS_OK;
    tr_lora_target to;
    char a[TR_DIMS_TEXT], b[TR_DIMS_TEXT];
    float alpha = 0, scale = 0;
    TR_TRY(tr_lora_target_read(&to, i->module, i->format, r->path));
    if (tr_is_none(i->down) || tr_is_none(i->up))
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s has no %s part", r->path, i->module, tr_is_none(i->down) ? tr_is_none(i->up) ? "down and no up" : "down" : "up"));
    tr_dims_text(a, i->down.rank, i->down.shape);
    tr_dims_text(b, i->up.rank, i->up.shape);
    /* down [r, in..], up [out, r, 1..]: convolutions of the patch embedding flatten to matrices */
    bool fits = i->down.rank >= 2 && i->up.rank >= 2 && i->down.shape[0] == i->up.shape[1] && i->down.shape[0] <= TR_LORA_RANK_MAX;
    for (int k = 2; fits && k < i->up.rank; k++) fits = i->up.shape[k] == 1;
    if (!fits) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %s: down is %s and up %s, expected [rank, in] and [out, rank] of one rank up to %d", r->path, i->module, a, b, TR_LORA_RANK_MAX));
    const int64_t rows = i->up.shape[0], d_in = tr_count(i->down) / i->down.shape[0];
    TR_TRY(scale_of(&alpha, &scale, r, i, to.layer[0], (int)i->down.shape[0]));
    if (to.kind == TR_KEY_THIRD) {
        const bool fresh = all_zero(i->up);                               /* untrained: every column is zero, and none is dropped */
        if (rows % 3 != 0) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %s: up is %s, expected q, k and v fused: a multiple of 3 rows", r->path, i->module, b));
        for (int k = 0; k < to.n; k++) TR_TRY(add_part(r, i, to.layer[k], k * (rows / 3), rows / 3, false, !fresh, alpha, scale));
    } else {
        const bool swap = to.kind == TR_KEY_SWAP || (to.kind == TR_KEY_SWAP_LAST && rows == 2 * d_in);      /* 2 D rows: the last block */
        TR_TRY(add_part(r, i, to.layer[0], 0, rows, swap, false, alpha, scale));
    }
done:
    return st;
}

/* ---- scales beside the tensors --------------------------------------------------------------------------- */

static tress_status check_config(const reader *r)
{
    static const char *const no[] = { "use_dora", "fan_in_fan_out", "lora_bias", "use_qalora" };
    static const char *const null[] = { "layer_replication", "arrow_config", "alora_invocation_tokens", "use_bdlora", "kasa_config", "velora_config",
                                        "monteclora_config", "target_parameters" };
    const json_t *type = config_get(&r->scale, "peft_type");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "LORA") != 0))
        return tr_fail(TRESS_E_FORMAT, "%s: peft_type is %s, expected LORA", r->scale.where, json_is_string(type) ? json_string_value(type) : "no text");
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (json_is_true(config_get(&r->scale, no[i]))) return tr_fail(TRESS_E_FORMAT, "%s: %s is on: tress reads plain LoRA", r->scale.where, no[i]);
    for (size_t i = 0; i < sizeof null / sizeof null[0]; i++) {
        const json_t *v = config_get(&r->scale, null[i]);
        if (v && !json_is_null(v) && !json_is_false(v)) return tr_fail(TRESS_E_FORMAT, "%s: %s is set: tress reads plain LoRA", r->scale.where, null[i]);
    }
    const json_t *bias = config_get(&r->scale, "bias");
    if (json_is_string(bias) && strcmp(json_string_value(bias), "none") != 0)
        return tr_fail(TRESS_E_FORMAT, "%s: bias is %s, expected none", r->scale.where, json_string_value(bias));
    return TRESS_OK;
}

static tress_status read_scales(reader *r)
{
    tress_status st = TRESS_OK;
    char *text = NULL, *dir = NULL;
    size_t n = 0;
    const char *meta = tr_safetensors_meta(r->file, "lora_adapter_metadata");
    const char *slash = strrchr(r->path, '/');
    TR_TRY(tr_strdup(&dir, slash ? r->path : "."));
    if (slash) dir[slash - r->path] = '\0';
    TR_TRY(tr_path_join(&r->config_path, *dir ? dir : "/", "adapter_config.json"));
    if (strcmp(slash ? slash + 1 : r->path, "adapter_model.safetensors") == 0 && tr_file_exists(r->config_path)) {
        TR_TRY(tr_file_read(&text, &n, r->config_path, CONFIG_BYTES_MAX));
        TR_TRY(tr_json_parse(&r->scale.config, text, n, 16, r->config_path));
        r->scale.prefix = "";
        r->scale.where = r->config_path;
    } else if (meta) {
        TR_TRY(tr_json_parse(&r->scale.config, meta, strlen(meta), 16, r->path));
        r->scale.prefix = "transformer.";
        r->scale.where = r->path;
    }
    if (r->scale.config && !json_is_object(r->scale.config)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: expected an object of LoRA settings", r->scale.where));
    if (r->scale.config) TR_TRY(check_config(r));
    for (int i = 0; !r->scale.config && i < r->n_item; i++)
        if (r->item[i].format == TR_LORA_PEFT && !r->item[i].has_alpha)
            TR_TRY(tr_fail(TRESS_E_IO, "%s: found no adapter_config.json beside it, which tells the scale of PEFT's adapters", r->path));
done:
    tr_free(text);
    tr_free(dir);
    return st;
}

static tress_status keep_meta(reader *r)
{
    tress_status st = TRESS_OK;
    for (int i = 0; i < tr_safetensors_meta_count(r->file); i++) {
        const char *key, *value;
        tr_safetensors_meta_at(r->file, i, &key, &value);
        TR_TRY(tr_lora_set_meta(r->l, key, value));
    }
done:
    return st;
}

static tress_status open_lora(tr_lora **out, const char *path, bool drop_text, int *n_dropped)
{
    tress_status st = TRESS_OK;
    reader r = { 0 };
    char *inside = NULL;
    if (tr_dir_exists(path)) {
        TR_TRY(tr_path_join(&inside, path, "adapter_model.safetensors"));
        if (!tr_file_exists(inside)) {
            tr_free(inside);
            inside = NULL;
            TR_TRY(tr_path_join(&inside, path, "pytorch_lora_weights.safetensors"));
        }
        if (!tr_file_exists(inside)) TR_TRY(tr_fail(TRESS_E_IO, "%s: found neither adapter_model.safetensors nor pytorch_lora_weights.safetensors in it", path));
    }
    r.path = inside ? inside : path;
    TR_TRY(tr_lora_new(&r.l));
    TR_TRY(tr_safetensors_open(&r.file, r.path));
    TR_TRY(gather(&r, drop_text));
    TR_TRY(read_scales(&r));
    for (int i = 0; i < r.n_item; i++) {
        if (r.item[i].format != r.item[0].format)
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s and %s are of two layouts (%s, %s)", r.path, r.item[0].module, r.item[i].module,
                           tr_lora_format_name(r.item[0].format), tr_lora_format_name(r.item[i].format)));
        TR_TRY(add_raw(&r, &r.item[i]));
    }
    TR_TRY(keep_meta(&r));
    r.l->format = r.item[0].format;
    tr_free(r.l->path);
    r.l->path = NULL;
    TR_TRY(tr_strdup(&r.l->path, path));
    if (n_dropped) *n_dropped = r.n_text;
    *out = r.l;
    r.l = NULL;
done:
    for (int i = 0; i < r.n_item; i++) tr_free(r.item[i].module);
    tr_free(r.item);
    tr_free(r.config_path);
    tr_free(inside);
    json_decref(r.scale.config);
    tr_safetensors_close(r.file);
    tr_lora_close(r.l);
    return st;
}

tress_status tr_lora_open(tr_lora **out, const char *path) { return open_lora(out, path, false, NULL); }
tress_status tr_lora_open_transformer(tr_lora **out, const char *path, int *n_dropped) { return open_lora(out, path, true, n_dropped); }
