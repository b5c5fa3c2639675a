#include "generate/metadata.h"

#include "generate/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 letter at s (RFC 3629: no overlong forms, no surrogates), 0 if there is none. */
static size_t letter(const unsigned char *s)
{
    const size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return n;
}

/* What was drawn must be told in valid UTF-8, or readers refuse the file: other bytes become U+FFFD, as the tokenizers read them.
 * NULL is "". *out is new. */
static tress_status clean(char **out, const char *text)
{
    tress_status st = TRESS_OK;
    tr_str b = { 0 };
    for (const char *p = text ? text : ""; *p;) {
        const size_t n = letter((const unsigned char *)p);
        if (n > 0) TR_TRY(tr_str_add(&b, p, n));
        else TR_TRY(tr_str_add(&b, "\xef\xbf\xbd", 3));
        p += n > 0 ? n : 1;
    }
    TR_TRY(tr_strdup(out, b.s ? b.s : ""));
done:
    tr_str_fini(&b);
    return st;
}

/* The last part of a path, without the ending of a weight file. */
static void name_of(char *out, size_t size, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t begin = n;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    static const char ending[] = ".safetensors";
    if (n - begin > sizeof ending - 1 && strncmp(path + n - (sizeof ending - 1), ending, sizeof ending - 1) == 0) n -= sizeof ending - 1;
    snprintf(out, size, "%.*s", (int)(n - begin), path + begin);
}

/* Values with a comma, colon or quote go in JSON quotes: that is how the readers split the line. */
static tress_status add_value(tr_str *b, const char *key, const char *value)
{
    tress_status st = TRESS_OK;
    char *valid = NULL, *quoted = NULL;
    json_t *text = NULL;
    TR_TRY(clean(&valid, value));
    if (strpbrk(valid, ",:\"\n")) {
        text = json_string(valid);
        quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
        if (quoted) TR_TRY(tr_str_printf(b, ", %s: %s", key, quoted));
        else TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the picture's parameters"));
    } else {
        TR_TRY(tr_str_printf(b, ", %s: %s", key, valid));
    }
done:
    tr_free(valid);
    free(quoted);
    json_decref(text);
    return st;
}

tress_status tr_metadata_parameters(char **out, const tr_bundle *m, const tress_generate_args *a, const tr_result *r, int i)
{
    tress_status st = TRESS_OK;
    tr_str b = { 0 };
    char name[256], *prompt = NULL, *negative = NULL;
    const bool guided = a->cfg_scale > 1 && !a->zero_text;
    TR_TRY(clean(&prompt, a->zero_text ? NULL : a->prompt));
    TR_TRY(clean(&negative, guided ? a->negative : NULL));
    TR_TRY(tr_str_printf(&b, "%s\n", prompt));
    if (*negative) TR_TRY(tr_str_printf(&b, "Negative prompt: %s\n", negative));
    TR_TRY(tr_str_printf(&b, "Steps: %d, Sampler: %s, CFG scale: %g, Seed: %" PRIu64 ", Size: %dx%d", a->n_step,
                         a->sampler == TRESS_SAMPLER_EULER ? "Euler" : "DPM++ 2M", guided ? (double)a->cfg_scale : 1.0, r->seed, r->width, r->height));
    name_of(name, sizeof name, m->model);
    TR_TRY(add_value(&b, "Model", name));
    if (a->strength < 1) TR_TRY(tr_str_printf(&b, ", Denoising strength: %g", (double)a->strength));
    if (a->shift > 0) TR_TRY(tr_str_printf(&b, ", Shift: %g", (double)a->shift));
    if (r->n > 1) TR_TRY(tr_str_printf(&b, ", Batch size: %d, Batch pos: %d", r->n, i));
    if (m->args.n_lora > 0) {
        tr_str list = { 0 };
        for (int k = 0; st == TRESS_OK && k < m->args.n_lora; k++) {
            name_of(name, sizeof name, m->args.lora[k].file);
            st = tr_str_printf(&list, "%s%s: %g", k ? ", " : "", name, (double)m->args.lora[k].weight);
        }
        if (st == TRESS_OK) st = add_value(&b, "Lora weights", list.s);
        tr_str_fini(&list);
        if (st != TRESS_OK) goto done;
    }
    TR_TRY(tr_str_printf(&b, ", Version: tress " TRESS_VERSION));
    TR_TRY(tr_strdup(out, b.s));
done:
    tr_free(prompt);
    tr_free(negative);
    tr_str_fini(&b);
    return st;
}

/* A path or prompt as JSON. */
static json_t *text_of(const char *s)
{
    char *valid = NULL;
    json_t *t = NULL;
    if (s && clean(&valid, s) == TRESS_OK) t = json_string(valid);
    tr_free(valid);
    return t ? t : json_null();
}

static json_t *loras_of(const tr_bundle *m)
{
    json_t *list = json_array();
    for (int i = 0; list && i < m->args.n_lora; i++)
        json_array_append_new(list, json_pack("{s:o, s:f}", "file", text_of(m->args.lora[i].file), "weight", (double)m->args.lora[i].weight));
    return list;
}

tress_status tr_metadata_json(char **out, const tr_bundle *m, const tress_generate_args *a, tress_reference reference, const tr_result *r, int i)
{
    tress_status st = TRESS_OK;
    char *text = NULL;
    json_t *skip = json_array();
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, r->seed);               /* JSON numbers end at 2^53 in many readers */
    for (int k = 0; skip && k < a->n_skip_layer; k++) json_array_append_new(skip, json_integer(a->skip_layer[k]));
    json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:f, s:b, s:i, s:f, s:b, s:s, s:f}",
                          "tress", TRESS_VERSION, "model", text_of(m->model), "prompt", text_of(a->prompt), "negative", text_of(a->negative),
                          "seed", seed, "rng", "mt19937", "width", r->width, "height", r->height, "batch", r->n, "batch_index", i, "steps", a->n_step,
                          "cfg_scale", (double)a->cfg_scale, "zero_text", a->zero_text, "zero_text_rows", a->zero_text_rows,
                          "strength", (double)a->strength, "inpaint", a->inpaint, "sampler", tr_sampler_name(a->sampler), "shift", (double)a->shift);
    json_t *control = m->weights[TR_MODULE_CONTROLNET] ? json_pack("{s:o, s:s, s:s, s:s, s:s, s:f, s:f, s:f}",
                          "control_net", text_of(tr_weights_where(m->weights[TR_MODULE_CONTROLNET])),
                          "control_image", tr_control_image_name(a->control_image), "control_range", tr_control_range_name(a->control_range),
                          "control_last_block", tr_control_last_name(a->control_last), "control_pooled", tr_control_pooled_name(a->control_pooled),
                          "control_strength", (double)a->control_strength, "control_start", (double)a->control_start,
                          "control_end", (double)a->control_end) : json_object();
    json_t *place = json_pack("[f, f, f, f, b]", a->place.x, a->place.y, a->place.scale, a->place.rotate, a->place.flip);
    json_t *rest = json_pack("{s:o, s:b, s:i, s:s, s:o, s:f, s:f, s:f, s:i, s:o, s:o, s:s, s:f, s:i, s:i, s:i, s:s, s:f, s:f, s:f, s:f}",
                          "lora", loras_of(m), "photo", a->photo != NULL, "edit_grow", a->edit_grow,
                          "blend", a->blend == TRESS_BLEND_BANDS ? "bands" : "feather", "skip_layer", skip,
                          "skip_layer_scale", (double)a->skip_layer_scale, "skip_layer_start", (double)a->skip_layer_start,
                          "skip_layer_end", (double)a->skip_layer_end, "max_sequence_length", a->max_sequence_length,
                          "latents_in", text_of(a->latents_in), "embeds_in", text_of(a->embeds_in),
                          "reference", tr_reference_name(reference), "reference_strength", (double)a->reference_strength,
                          "reference_rows", a->reference_rows, "reference_first", a->reference_first, "reference_last", a->reference_last,
                          "draw_tokens", a->draw_tokens == TRESS_DRAW_EDIT ? "edit" : "all", "control_strength_outside", (double)a->control_strength_outside,
                          "colour_start", (double)a->colour_start, "colour_guide", (double)a->colour_guide, "colour_reference", (double)a->colour_reference);
    skip = NULL;                                                    /* json_pack took it, also where it failed */
    if (!o || !control || !place || !rest || json_object_update(o, control) || json_object_update(o, rest) ||
        (a->place.on && json_object_set(o, "place", place)))
        TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the picture's JSON"));
    text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (!text) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the picture's JSON"));
    TR_TRY(tr_strdup(out, text));
done:
    free(text);
    json_decref(o);
    json_decref(control);
    json_decref(place);
    json_decref(rest);
    return st;
}
