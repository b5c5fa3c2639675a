/* Looking into LoRA files and writing them in other layouts. */
#include "api/api_int.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_format(tr_lora_format *out, const char *name)
{
    for (int f = 0; f < TR_LORA_FORMAT_N; f++)
        if (strcmp(name, tr_lora_format_name((tr_lora_format)f)) == 0) return *out = (tr_lora_format)f, true;
    return false;
}

static bool is_empty_folder(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    if (!d) return false;
    for (struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n == 0;
}

tress_status tress_lora_convert(tress *t, const tress_lora_convert_args *a)
{
    tress_status st = TRESS_OK;
    tr_lora *l = NULL;
    tr_lora_format f = TR_LORA_DIFFUSERS;
    int n_dropped = 0;
    if (!t || !a || !a->from || !a->to || !a->format) return tr_fail(TRESS_E_ARG, "tress_lora_convert: from, to and format are needed");
    if (!parse_format(&f, a->format)) return tr_fail(TRESS_E_ARG, "format: found %s, expected diffusers, peft, kohya, comfyui or onetrainer", a->format);
    if (f == TR_LORA_PEFT && tr_dir_exists(a->to) && !is_empty_folder(a->to)) return tr_fail(TRESS_E_ARG, "%s: is there and not empty: name a new folder", a->to);
    if (f != TR_LORA_PEFT && tr_dir_exists(a->to)) return tr_fail(TRESS_E_ARG, "%s: is a folder, expected the name of a file", a->to);
    if (a->drop_text_encoders) TR_TRY(tr_lora_open_transformer(&l, a->from, &n_dropped));
    else TR_TRY(tr_lora_open(&l, a->from));
    if (n_dropped > 0) tr_host_note(&t->host, "%s: %d tensors of text encoders are left out", a->from, n_dropped);
    TR_TRY(tr_lora_save(l, a->to, f));
done:
    tr_lora_close(l);
    return st;
}

/* ---- looking inside -------------------------------------------------------------------------------------- */

/* o[key] += 1 */
static bool count_up(json_t *o, const char *key) { return json_object_set_new(o, key, json_integer(json_integer_value(json_object_get(o, key)) + 1)) == 0; }

/* "transformer_blocks.3.attn.to_q" -> "attn.to_q" */
static const char *target_of(const char *layer)
{
    static const char head[] = "transformer_blocks.";
    if (strncmp(layer, head, sizeof head - 1) != 0) return layer;
    const char *s = strchr(layer + sizeof head - 1, '.');
    return s ? s + 1 : layer;
}

static double norm_of(const tr_lora_pair *p)
{
    /* |up a|^2 = sum over pairs of ranks of (up^T up)(a a^T): r^2 (d_in + d_out) operations rather than d_in d_out r */
    const int64_t d_in = p->a.shape[1], d_out = p->up.shape[0];
    const float *a = p->a.data, *up = p->up.data;
    double sum = 0;
    for (int i = 0; i < p->rank; i++)
        for (int j = 0; j <= i; j++) {
            double aa = 0, uu = 0;
            for (int64_t k = 0; k < d_in; k++) aa += (double)a[i * d_in + k] * (double)a[j * d_in + k];
            for (int64_t k = 0; k < d_out; k++) uu += (double)up[k * p->rank + i] * (double)up[k * p->rank + j];
            sum += (i == j ? 1 : 2) * aa * uu;
        }
    return sqrt(sum > 0 ? sum : 0);
}

static bool set(json_t *o, const char *key, json_t *v) { return json_object_set_new(o, key, v) == 0; }

static bool add_contract(json_t *o, const tr_contract *c)
{
    json_t *k = json_object();
    bool ok = k != NULL;
    if (ok && *c->control_image) ok = set(k, "control_image", json_string(c->control_image));
    if (ok && *c->control_range) ok = set(k, "control_range", json_string(c->control_range));
    if (ok && *c->control_last) ok = set(k, "control_last_block", json_string(c->control_last));
    if (ok && *c->reference) ok = set(k, "reference", json_string(c->reference));
    if (ok && *c->base) ok = set(k, "base", json_string(c->base));
    if (ok && *c->control) ok = set(k, "control", json_string(c->control));
    ok = ok && set(k, "vae_shift", json_real((double)c->vae_shift));
    if (ok && c->resolution) ok = set(k, "resolution", json_integer(c->resolution));
    if (ok && c->zero_text_rows) ok = set(k, "zero_text_rows", json_integer(c->zero_text_rows));
    ok = ok && json_object_set(o, "contract", k) == 0;
    json_decref(k);
    return ok;
}

static tress_status describe(json_t **out, const tr_lora *l, int n_dropped)
{
    tress_status st = TRESS_OK;
    tr_contract c;
    json_t *o = json_object(), *ranks = json_object(), *targets = json_object(), *meta = json_object();
    int64_t n = 0;
    double largest = 0, sum = 0;
    char rank[16];
    TR_TRY(tr_contract_read(&c, l));
    bool ok = o && ranks && targets && meta;
    for (int i = 0; ok && i < tr_lora_count(l); i++) {
        const tr_lora_pair *p = tr_lora_at(l, i);
        const double norm = norm_of(p);
        n += tr_count(p->a) + tr_count(p->up);
        sum += norm * norm;
        if (norm > largest) largest = norm;
        snprintf(rank, sizeof rank, "%d", p->rank);
        ok = count_up(ranks, rank) && count_up(targets, target_of(p->layer));
    }
    for (int i = 0; ok && i < tr_lora_meta_count(l); i++) {
        const char *key, *value;
        tr_lora_meta_at(l, i, &key, &value);
        const bool ours = strncmp(key, "tress.", 6) == 0 && strcmp(key, "tress.steps") != 0 && strcmp(key, "tress.version") != 0;
        if (!ours && strcmp(key, "lora_adapter_metadata") != 0) ok = set(meta, key, json_string(value));
    }
    ok = ok && set(o, "file", json_string(tr_lora_path(l))) && set(o, "format", json_string(tr_lora_format_name(tr_lora_get_format(l)))) &&
         set(o, "layers", json_integer(tr_lora_count(l))) && set(o, "parameters", json_integer(n)) && set(o, "norm", json_real(sqrt(sum))) &&
         set(o, "largest_norm", json_real(largest)) && json_object_set(o, "ranks", ranks) == 0 && json_object_set(o, "targets", targets) == 0 &&
         set(o, "text_encoder_tensors", json_integer(n_dropped)) && json_object_set(o, "metadata", meta) == 0;
    ok = ok && (c.present ? add_contract(o, &c) : set(o, "contract", json_null()));
    if (!ok) TR_TRY(tr_fail(TRESS_E_OOM, "no memory to describe %s", tr_lora_path(l)));
    *out = o;
    o = NULL;
done:
    json_decref(o);
    json_decref(ranks);
    json_decref(targets);
    json_decref(meta);
    return st;
}

/* "rank 16 (152 layers), rank 8 (4 layers)" */
static tress_status add_counts(tr_str *s, const char *title, const json_t *o, const char *head, const char *tail)
{
    tress_status st = TRESS_OK;
    const char *key, *comma = "";
    json_t *v;
    TR_TRY(tr_str_printf(s, "%-12s", title));
    json_object_foreach((json_t *)(uintptr_t)o, key, v) {
        TR_TRY(tr_str_printf(s, "%s%s%s (%lld%s)", comma, head, key, (long long)json_integer_value(v), tail));
        comma = ", ";
    }
    TR_TRY(tr_str_printf(s, "\n"));
done:
    return st;
}

static tress_status as_lines(tr_str *s, const json_t *o)
{
    tress_status st = TRESS_OK;
    const char *key;
    json_t *v;
    const json_t *contract = json_object_get(o, "contract");
    const double n = (double)json_integer_value(json_object_get(o, "parameters"));
    TR_TRY(tr_str_printf(s, "%-12s%s\n", "file", json_string_value(json_object_get(o, "file"))));
    TR_TRY(tr_str_printf(s, "%-12s%s\n", "layout", json_string_value(json_object_get(o, "format"))));
    TR_TRY(tr_str_printf(s, "%-12s%lld, %.4g million parameters\n", "layers", (long long)json_integer_value(json_object_get(o, "layers")), n / 1e6));
    TR_TRY(add_counts(s, "ranks", json_object_get(o, "ranks"), "", " layers"));
    TR_TRY(add_counts(s, "targets", json_object_get(o, "targets"), "", ""));
    TR_TRY(tr_str_printf(s, "%-12s%.4g of all layers, %.4g of the largest\n", "norm", json_real_value(json_object_get(o, "norm")), json_real_value(json_object_get(o, "largest_norm"))));
    if (json_integer_value(json_object_get(o, "text_encoder_tensors")) > 0)
        TR_TRY(tr_str_printf(s, "%-12s%lld tensors, which tress does not apply\n", "text", (long long)json_integer_value(json_object_get(o, "text_encoder_tensors"))));
    if (json_is_null(contract)) TR_TRY(tr_str_printf(s, "%-12snone: not trained by tress\n", "contract"));
    json_object_foreach((json_t *)(uintptr_t)contract, key, v) {
        if (json_is_string(v)) TR_TRY(tr_str_printf(s, "%-12s%s = %s\n", "contract", key, json_string_value(v)));
        else TR_TRY(tr_str_printf(s, "%-12s%s = %.9g\n", "contract", key, json_number_value(v)));
    }
    json_object_foreach(json_object_get(o, "metadata"), key, v) TR_TRY(tr_str_printf(s, "%-12s%s = %.200s\n", "metadata", key, json_string_value(v)));
done:
    return st;
}

tress_status tress_lora_info(tress *t, const char *file, bool json, char **out)
{
    tress_status st = TRESS_OK;
    tr_lora *l = NULL;
    json_t *o = NULL;
    char *text = NULL;
    tr_str s = { 0 };
    int n_dropped = 0;
    if (!t || !file || !out) return tr_fail(TRESS_E_ARG, "tress_lora_info: a file and a place for the text are needed");
    TR_TRY(tr_lora_open_transformer(&l, file, &n_dropped));
    TR_TRY(describe(&o, l, n_dropped));
    if (json) {
        text = json_dumps(o, JSON_INDENT(2));
        if (!text) TR_TRY(tr_fail(TRESS_E_OOM, "no memory to describe %s", file));
        TR_TRY(tr_str_printf(&s, "%s\n", text));
    } else {
        TR_TRY(as_lines(&s, o));
    }
    *out = s.s;
    s = (tr_str){ 0 };
done:
    free(text);                                                           /* jansson's own */
    json_decref(o);
    tr_str_fini(&s);
    tr_lora_close(l);
    return st;
}
