#include "generate/bundle.h"

#include <string.h>

#ifndef TRESS_DATADIR
#define TRESS_DATADIR "/usr/local/share"
#endif

tress_status tr_bundle_find(char **out, const char *name)
{
    static const char *const places[] = { TRESS_DATADIR "/tress/models/mini", "models/mini" };
    if (name) {
        if (tr_dir_exists(name) || tr_file_exists(name)) return tr_strdup(out, name);
        return tr_fail(TRESS_E_IO, "--model %s: there is no such folder or file", name);
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (tr_dir_exists(places[i])) return tr_strdup(out, places[i]);
    return tr_fail(TRESS_E_IO, "no model: name one with --model (neither %s nor ./%s is there)", places[0], places[1]);
}

/* ---- arguments are kept ---------------------------------------------------------------------------------- */

static const char **const *texts_of(tress_model_args *a, const char **list[10])
{
    const char **const all[] = { &a->model, &a->control_net, &a->vae, &a->clip_l, &a->clip_g, &a->t5, &a->tokenizers, &a->variant, &a->text_cache, NULL };
    memcpy(list, all, sizeof all);
    return list;
}

static tress_status keep_args(tr_bundle *m, const tress_model_args *args)
{
    tress_status st = TRESS_OK;
    tress_model_args from = *args;
    const char **source[10], **own[10];
    void *p = NULL;
    m->args = *args;
    m->args.lora = NULL;
    m->args.n_lora = 0;
    texts_of(&from, source);
    texts_of(&m->args, own);
    for (int i = 0; own[i]; i++) *own[i] = NULL;
    for (int i = 0; own[i]; i++) {
        char *copy = NULL;
        if (!*source[i]) continue;
        TR_TRY(tr_strdup(&copy, *source[i]));
        *own[i] = copy;
    }
    if (args->n_lora < 0 || args->n_lora > 64 || (args->n_lora > 0 && !args->lora))
        TR_TRY(tr_fail(TRESS_E_ARG, "%d LoRAs given, 0 to 64 can be used together", args->n_lora));
    TR_TRY(tr_alloc_array(&p, args->n_lora, sizeof *m->args.lora));
    tress_lora_ref *lora = p;
    m->args.lora = lora;
    for (int i = 0; i < args->n_lora; i++) {
        char *file = NULL;
        if (!args->lora[i].file) TR_TRY(tr_fail(TRESS_E_ARG, "LoRA %d has no file", i + 1));
        if (!(args->lora[i].weight >= -100 && args->lora[i].weight <= 100))
            TR_TRY(tr_fail(TRESS_E_ARG, "--lora %s: a weight of %g, it must lie between -100 and 100", args->lora[i].file, (double)args->lora[i].weight));
        TR_TRY(tr_strdup(&file, args->lora[i].file));
        lora[i] = (tress_lora_ref){ file, args->lora[i].weight };
        m->args.n_lora = i + 1;
    }
done:
    return st;
}

static void drop(const char *text) { tr_free((void *)(uintptr_t)text); }

static void drop_args(tress_model_args *a)
{
    const char **own[10];
    texts_of(a, own);
    for (int i = 0; own[i]; i++) drop(*own[i]);
    for (int i = 0; i < a->n_lora; i++) drop(a->lora[i].file);
    tr_free((void *)(uintptr_t)a->lora);
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static void tell_notes(const tr_bundle *m, const tr_weights *w, int begin)
{
    for (int i = begin; i < tr_weights_note_count(w); i++) tr_host_note(m->host, "%s", tr_weights_note(w, i));
}

tress_status tr_bundle_place(tr_bundle *m, tr_weights *w)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_weights_place(w, m->host->device));
    TR_TRY(tr_weights_travel(w, &m->residency.group[tr_weights_module(w)]));
done:
    return st;
}

tress_status tr_bundle_placed(tr_bundle *m, tr_weights *w)
{
    if (m->host->ledger) tr_weights_groups(w, &m->host->ledger->group[tr_weights_module(w)]);
    return tr_weights_placed(w);
}

static tress_status open_weights(tr_bundle *m, tr_module module, const char *path)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_weights_open(&m->weights[module], path, module, m->args.variant));
    tell_notes(m, m->weights[module], 0);
done:
    return st;
}

static tress_status find_transformer(tr_bundle *m)
{
    tress_status st = TRESS_OK;
    TR_TRY(open_weights(m, TR_MODULE_TRANSFORMER, m->model));
    TR_TRY(tr_mmdit_config_read(&m->transformer_config, m->weights[TR_MODULE_TRANSFORMER]));
done:
    return st;
}

static tress_status find_controlnet(tr_bundle *m)
{
    tress_status st = TRESS_OK;
    char *own = NULL;
    const char *path = m->args.control_net;
    if (!path) {
        TR_TRY(tr_path_join(&own, m->model, "controlnet"));
        if (!tr_dir_exists(own)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s holds no controlnet: name a ControlNet with --control-net", m->model));
        path = own;
    }
    TR_TRY(open_weights(m, TR_MODULE_CONTROLNET, path));
    TR_TRY(tr_controlnet_config_read(&m->controlnet_config, m->weights[TR_MODULE_CONTROLNET]));
done:
    tr_free(own);
    return st;
}

static tress_status find_vae(tr_bundle *m)
{
    tress_status st = TRESS_OK;
    tr_vae_config *c = &m->vae_config;
    TR_TRY(open_weights(m, TR_MODULE_VAE, m->args.vae ? m->args.vae : m->model));
    TR_TRY(tr_vae_config_read(c, m->weights[TR_MODULE_VAE]));
    if (m->weights[TR_MODULE_TRANSFORMER] && c->latent_channels != m->transformer_config.channels_out)
        TR_TRY(tr_fail(TRESS_E_CONTRACT, "%s: latents of %d channels, the transformer makes %d", tr_weights_where(m->weights[TR_MODULE_VAE]),
                       c->latent_channels, m->transformer_config.channels_out));
done:
    return st;
}

static tress_status read_schedule(tr_bundle *m)
{
    tress_status st = TRESS_OK;
    char *path = NULL, *text = NULL;
    json_t *config = NULL;
    size_t n = 0;
    TR_TRY(tr_path_join(&path, m->model, "scheduler/scheduler_config.json"));
    if (tr_file_exists(path)) {
        TR_TRY(tr_file_read(&text, &n, path, 1 << 20));
        TR_TRY(tr_json_parse(&config, text, n, 16, path));
    }
    TR_TRY(tr_schedule_config_read(&m->schedule, config, path));
done:
    tr_free(path);
    tr_free(text);
    json_decref(config);
    return st;
}

static tress_status open_loras(tr_bundle *m)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    if (m->args.n_lora == 0) return TRESS_OK;
    TR_TRY(tr_alloc_array(&p, m->args.n_lora, sizeof *m->lora));
    m->lora = p;
    for (int i = 0; i < m->args.n_lora; i++) TR_TRY(tr_lora_open(&m->lora[i], m->args.lora[i].file));
done:
    return st;
}

static tress_status put_on_loras(tr_bundle *m)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    float *weight = NULL;
    const int n = m->args.n_lora;
    if (n == 0) return TRESS_OK;
    TR_TRY(tr_alloc_array(&p, n, sizeof *weight));
    weight = p;
    for (int i = 0; i < n; i++) weight[i] = m->args.lora[i].weight;
    const tr_lora *const *list = (const tr_lora *const *)m->lora;
    const bool travels = tr_weights_travels(m->weights[TR_MODULE_TRANSFORMER]);         /* a merged copy would have to stay */
    if (m->args.lora_merge && travels) tr_host_note(m->host, "--lora-merge: the transformer comes from host memory, so the LoRAs stay beside its weights");
    if (m->args.lora_merge && !travels) TR_TRY(tr_lora_stack_merge(&m->stack, m->transformer, list, weight, n));
    else TR_TRY(tr_lora_stack_new(&m->stack, m->transformer, list, weight, n));
done:
    tr_free(weight);
    return st;
}

/* ---- on the device --------------------------------------------------------------------------------------- */

static const struct { int want; tr_module module; } parts[] = {
    { TR_WANT_TRANSFORMER, TR_MODULE_TRANSFORMER }, { TR_WANT_CONTROLNET, TR_MODULE_CONTROLNET }, { TR_WANT_VAE, TR_MODULE_VAE },
};
#define N_PART ((int)(sizeof parts / sizeof *parts))

static bool is_open(const tr_bundle *m, int part)
{
    return part == TR_WANT_TRANSFORMER ? m->transformer != NULL : part == TR_WANT_CONTROLNET ? m->controlnet != NULL : m->vae != NULL;
}

static tress_status open_part(tr_bundle *m, int i)
{
    tress_status st = TRESS_OK;
    tr_device *d = m->host->device;
    tr_weights *w = m->weights[parts[i].module];
    TR_TRY(tr_bundle_place(m, w));
    if (parts[i].want == TR_WANT_TRANSFORMER) {
        TR_TRY(tr_mmdit_open(&m->transformer, d, w, &m->transformer_config));
    } else if (parts[i].want == TR_WANT_CONTROLNET) {
        TR_TRY(tr_controlnet_open(&m->controlnet, d, w, &m->controlnet_config));
        if (m->transformer) TR_TRY(tr_controlnet_fits(m->controlnet, m->transformer));
    } else {
        TR_TRY(tr_vae_open(&m->vae, d, w, &m->vae_config));
    }
    TR_TRY(tr_bundle_placed(m, w));
done:
    return st;
}

static void close_part(tr_bundle *m, int i)
{
    if (parts[i].want == TR_WANT_TRANSFORMER) {
        tr_lora_stack_free(m->stack);
        tr_mmdit_close(m->transformer);
        m->stack = NULL;
        m->transformer = NULL;
    } else if (parts[i].want == TR_WANT_CONTROLNET) {
        tr_controlnet_close(m->controlnet);
        m->controlnet = NULL;
    } else {
        tr_vae_close(m->vae);
        m->vae = NULL;
    }
    if (m->weights[parts[i].module]) tr_weights_leave(m->weights[parts[i].module]);
}

tress_status tr_bundle_use(tr_bundle *m, int use)
{
    tress_status st = TRESS_OK;
    bool fresh = false;
    for (int i = 0; i < N_PART; i++)
        if (is_open(m, parts[i].want) && !((use | m->residency.keep) & parts[i].want)) close_part(m, i);
    for (int i = 0; i < N_PART; i++) {
        if (!(use & parts[i].want) || !m->weights[parts[i].module] || is_open(m, parts[i].want)) continue;
        st = open_part(m, i);
        if (st != TRESS_OK) {
            close_part(m, i);
            goto done;
        }
        fresh = true;
    }
    if (m->transformer && !m->stack) TR_TRY(put_on_loras(m));
    if (fresh) TR_TRY(tr_bundle_scan(m));
done:
    return st;
}

void tr_bundle_reside(tr_bundle *m, const tr_residency *r)
{
    if (m->residency.keep == r->keep && memcmp(m->residency.group, r->group, sizeof r->group) == 0) return;
    for (int i = 0; i < N_PART; i++)
        if (is_open(m, parts[i].want)) close_part(m, i);
    m->residency = *r;
}

tress_status tr_bundle_open(tr_bundle **out, tr_host *h, const tress_model_args *args, int want)
{
    tress_status st = TRESS_OK;
    tr_bundle *m = NULL;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, sizeof *m));
    m = p;
    m->host = h;
    m->residency.keep = TR_WANT_ALL;
    TR_TRY(keep_args(m, args));
    TR_TRY(tr_bundle_find(&m->model, args->model));
    if (want & TR_WANT_TRANSFORMER) {
        TR_TRY(find_transformer(m));
        TR_TRY(read_schedule(m));
    }
    if (want & TR_WANT_CONTROLNET && !args->no_control) TR_TRY(find_controlnet(m));
    if (want & TR_WANT_VAE) TR_TRY(find_vae(m));
    if (want & TR_WANT_TRANSFORMER) TR_TRY(open_loras(m));
    if (want & TR_WANT_LATER && !tr_device_is_host(h->device)) {
        *out = m;
        m = NULL;
        goto done;
    }
    for (int i = 0; i < N_PART; i++)
        if (m->weights[parts[i].module]) TR_TRY(open_part(m, i));
    if (m->transformer) TR_TRY(put_on_loras(m));
    *out = m;
    m = NULL;
done:
    tr_bundle_close(m);
    return st;
}

void tr_bundle_close(tr_bundle *m)
{
    if (!m) return;
    for (int i = 0; i < TR_WORD_ENTRIES; i++) {
        tr_free(m->word[i].text);
        tr_device_give(m->host->device, m->word[i].context);
        tr_device_give(m->host->device, m->word[i].pooled);
    }
    for (int i = 0; i < N_PART; i++) close_part(m, i);
    for (int i = 0; m->lora && i < m->args.n_lora; i++) tr_lora_close(m->lora[i]);
    tr_free(m->lora);
    for (int i = 0; i < TR_MODULE_N; i++) tr_weights_close(m->weights[i]);
    drop_args(&m->args);
    tr_free(m->model);
    tr_free(m);
}

tress_status tr_bundle_scan(tr_bundle *m)
{
    tress_status st = TRESS_OK;
    tr_stage stage = { 0 };
    int n = 0, i_done = 0;
    for (int i = 0; i < N_PART; i++) n += is_open(m, parts[i].want) && !m->scanned[parts[i].module];
    if (n == 0 || tr_device_is_dry(m->host->device)) return TRESS_OK;
    TR_TRY(tr_stage_begin(&stage, m->host, "load", n));
    for (int i = 0; i < N_PART; i++) {
        tr_weights *w = m->weights[parts[i].module];
        if (!is_open(m, parts[i].want) || m->scanned[parts[i].module]) continue;
        const int n_note = tr_weights_note_count(w);
        TR_TRY(tr_stream_poll(stage.stream));
        TR_TRY(tr_weights_check(w, tr_device_threads(m->host->device)));
        tell_notes(m, w, n_note);
        m->scanned[parts[i].module] = true;
        tr_stage_done(&stage, ++i_done);
    }
done:
    tr_stage_end(&stage);
    return st;
}

/* ---- text encoders --------------------------------------------------------------------------------------- */

/* diffusers' rule: a folder's component is absent when model_index.json says [null, null], or has no entry and no folder. */
static tress_status is_absent(bool *out, const tr_bundle *m, tr_module module)
{
    tress_status st = TRESS_OK;
    char *path = NULL, *text = NULL;
    json_t *index = NULL;
    size_t n = 0;
    *out = false;
    TR_TRY(tr_path_join(&path, m->model, "model_index.json"));
    if (tr_file_exists(path)) {
        TR_TRY(tr_file_read(&text, &n, path, 1 << 20));
        TR_TRY(tr_json_parse(&index, text, n, 16, path));
        const json_t *entry = json_object_get(index, tr_module_name(module));
        if (json_is_array(entry)) {
            *out = json_is_null(json_array_get(entry, 1));
            goto done;
        }
    }
    tr_free(path);
    path = NULL;
    TR_TRY(tr_path_join(&path, m->model, tr_module_name(module)));
    *out = !tr_dir_exists(path);
done:
    tr_free(path);
    tr_free(text);
    json_decref(index);
    return st;
}

tress_status tr_bundle_encoder(tr_weights **out, const tr_bundle *m, tr_module module)
{
    tress_status st = TRESS_OK;
    const char *given = module == TR_MODULE_CLIP_L ? m->args.clip_l : module == TR_MODULE_CLIP_G ? m->args.clip_g : m->args.t5;
    *out = NULL;
    if (given) {
        TR_TRY(tr_weights_open(out, given, module, m->args.variant));
    } else if (tr_dir_exists(m->model)) {
        bool absent = false;
        TR_TRY(is_absent(&absent, m, module));
        if (!absent) TR_TRY(tr_weights_open(out, m->model, module, m->args.variant));
    } else {
        TR_TRY(tr_weights_open_optional(out, m->model, module, m->args.variant));
    }
    if (*out) tell_notes(m, *out, 0);
done:
    return st;
}
