#include "api/api_int.h"

#include <string.h>

void tress_generate_defaults(tress_generate_args *args)
{
    if (!args) return;
    *args = (tress_generate_args){
        .zero_text_rows = 333, .n_step = 28, .cfg_scale = 4.5f, .batch = 1, .strength = 1, .reference_strength = 0.5f, .reference_rows = 1536,
        .reference_first = -1, .reference_last = -1, .control_strength_outside = -1, .edit_grow = -1,
        .place = { .scale = 1 }, .control_strength = 1, .control_end = 1, .skip_layer_scale = 2.8f, .skip_layer_start = 0.01f,
        .skip_layer_end = 0.2f, .max_sequence_length = 256,
    };
}

tress_status tress_model_open(tress *t, tress_model **out, const tress_model_args *args)
{
    static const tress_model_args defaults;
    if (!t || !out) return tr_fail(TRESS_E_ARG, "tress_model_open: handle and out must be given");
    return tr_bundle_open(out, &t->host, args ? args : &defaults, TR_WANT_ALL | TR_WANT_LATER);
}

void tress_model_close(tress_model *m) { tr_bundle_close(m); }

tress_status tr_rehearse(tr_ledger *ledger, tr_result **out, const tr_host *like, const tress_model_args *model, const tress_generate_args *args,
                         const tr_residency *r, bool aloud)
{
    tress_status st = TRESS_OK;
    tr_host dry = { 0 };
    tr_bundle *m = NULL;
    tr_result *result = NULL;
    TR_TRY(tr_host_init_dry(&dry, like));
    if (aloud) dry.hooks = like->hooks;
    dry.ledger = ledger;
    if (ledger) *ledger = (tr_ledger){ .n = 0 };
    TR_TRY(tr_bundle_open(&m, &dry, model, TR_WANT_ALL | TR_WANT_LATER));
    if (r) tr_bundle_reside(m, r);
    TR_TRY(tr_draw(&result, m, args));
    if (ledger) {
        ledger->peak = tr_device_is_host(dry.device) ? tr_ledger_peak(ledger, NULL) : tr_device_peak_ever(dry.device);
        ledger->pinned = tr_device_pinned_peak(dry.device);
    }
    if (out) {
        *out = result;
        result = NULL;
    }
done:
    tr_result_free(result);
    tr_bundle_close(m);
    if (dry.device) tr_host_fini(&dry);
    return st;
}

int64_t tr_ledger_peak(const tr_ledger *l, const tr_part **which)
{
    int64_t peak = 0;
    for (int i = 0; i < l->n; i++) {
        const int64_t bytes = l->part[i].weight_bytes + l->part[i].work_bytes;
        if (bytes <= peak) continue;
        peak = bytes;
        if (which) *which = &l->part[i];
    }
    return peak;
}

/* A limit is held against the plan before the work, so that nobody waits an hour for an "out of memory". */
static tress_status keep_limit(const tress_model *m, const tress_model_args *model, const tress_generate_args *args)
{
    tress_status st = TRESS_OK;
    tr_ledger ledger;
    const tr_part *part = NULL;
    TR_TRY(tr_rehearse(&ledger, NULL, m->host, model, args, NULL, false));
    const int64_t peak = tr_ledger_peak(&ledger, &part);
    if (peak > m->host->memory_max)
        TR_TRY(tr_fail(TRESS_E_OOM, "%s needs %.2f GiB (weights %.2f, work %.2f), the limit is %.2f GiB", part->name, (double)peak / 0x1p30,
                       (double)part->weight_bytes / 0x1p30, (double)part->work_bytes / 0x1p30, (double)m->host->memory_max / 0x1p30));
done:
    return st;
}

/* On a GPU: what the drawing took of it, beside what it may. */
static void tell_peak(const tress_model *m)
{
    const tr_device *d = m->host->device;
    const double own = (double)tr_device_own_bytes(d) / 0x1p30, peak = (double)tr_device_peak_ever(d) / 0x1p30;
    if (tr_device_is_host(d)) return;
    if (m->host->card_max > 0)
        tr_host_note(m->host, "at most %.2f GiB of the GPU were in use beside CUDA and its libraries (%.2f), %.2f may be", peak, own, (double)m->host->card_max / 0x1p30);
    else tr_host_note(m->host, "at most %.2f GiB of the GPU were in use beside CUDA and its libraries (%.2f)", peak, own);
}

tress_status tress_generate(tress_model *m, const tress_generate_args *args, tress_result **out)
{
    tress_status st = TRESS_OK;
    tr_residency r;
    if (!m || !args || !out) return tr_fail(TRESS_E_ARG, "tress_generate: model, args and out must be given");
    tress_model_args model = m->args;
    model.model = m->model;
    const bool host = tr_device_is_host(m->host->device);
    if (tr_device_is_dry(m->host->device) && !args->dry_run) return tr_fail(TRESS_E_ARG, "tress_generate: the handle is for plans alone");
    if (!host) TR_TRY(tr_residency_choose(&r, NULL, m->host, &model, args));
    if (args->dry_run) return tr_rehearse(NULL, out, m->host, &model, args, host ? NULL : &r, true);
    if (!host) tr_bundle_reside(m, &r);
    else if (m->host->memory_max > 0) TR_TRY(keep_limit(m, &model, args));
    TR_TRY(tr_draw(out, m, args));
    tell_peak(m);
done:
    return st;
}

/* ---- results --------------------------------------------------------------------------------------------- */

void tress_result_free(tress_result *r) { tr_result_free(r); }

static bool has(const tress_result *r, int i) { return r && i >= 0 && i < r->n; }

int tress_result_count(const tress_result *r) { return r && r->n > 0 && r->image[0] ? r->n : 0; }
const tress_image *tress_result_image(const tress_result *r, int i) { return has(r, i) ? r->image[i] : NULL; }
const tress_image *tress_result_control(const tress_result *r) { return r ? r->control : NULL; }
const tress_image *tress_result_alpha(const tress_result *r) { return r ? r->alpha : NULL; }
const tress_image *tress_result_overlay(const tress_result *r) { return r ? r->overlay : NULL; }
uint64_t tress_result_seed(const tress_result *r) { return r ? r->seed : 0; }
const char *tress_result_parameters(const tress_result *r, int i) { return has(r, i) ? r->parameters[i] : NULL; }
const char *tress_result_json(const tress_result *r, int i) { return has(r, i) ? r->json[i] : NULL; }

tress_status tress_result_save(tress *t, const tress_result *r, int i, const char *path)
{
    if (!t || !path || !has(r, i) || !r->image[i]) return tr_fail(TRESS_E_ARG, "tress_result_save: handle, path and a picture that is there must be given");
    const size_t n = strlen(path);
    const bool png = n >= 4 && (strcmp(path + n - 4, ".png") == 0 || strcmp(path + n - 4, ".PNG") == 0);
    const char *const text[] = { "parameters", r->parameters[i], "tress", r->json[i], NULL };
    return tr_image_write(r->image[i], path, png ? text : NULL);
}
