/* Training: the data looked through, the model opened, the run. */
#include "api/train_int.h"

#include <stdio.h>
#include <string.h>

void tress_train_defaults(tress_train_args *args)
{
    if (!args) return;
    *args = (tress_train_args){
        .rank = 16, .buckets = true, .augment_variants = 4, .validation_split = 0.1, .steps = 2000, .batch = 1,
        .gradient_accumulation = 1, .learning_rate = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 1e-4, .max_grad_norm = 1,
        .logit_std = 1, .mode_scale = 1.29, .training_shift = 1, .zero_text_rows = 333, .validate_every = 100, .sample_every = 250, .save_every = 250,
        .keep_checkpoints = 3, .sample_count = 4, .sample_steps = 20,
    };
}

/* ---- data ---------------------------------------------------------------------------------------------------- */
#define TOLD 20                                 /* findings; tress check tells them all */

static tress_status look_through(tr_check **out, tr_dataset **data, tr_host *h, const char *dir)
{
    tress_status st = TRESS_OK;
    tr_stage stage = { 0 };
    tr_check *c = NULL;
    int n = 0;
    TR_TRY(tr_dataset_list(data, dir));
    TR_TRY(tr_stage_begin(&stage, h, "check", 0));
    TR_TRY(tr_check_run(&c, *data, tr_device_threads(h->device), &(tr_data_hooks){ &stage, tr_check_progress, NULL, tr_check_cancelled }));
    for (int unfit = 1; unfit >= 0; unfit--)
        for (int i = 0; i < c->found.n && n < TOLD; i++)
            if (c->found.at[i].unfit == (unfit == 1)) {
                tr_host_note(h, "%s%s %s", unfit ? "unfit: " : "", c->found.at[i].path, c->found.at[i].text);
                n++;
            }
    if (c->found.n > n) tr_host_note(h, "and %d more: tress check --data %s tells them all", c->found.n - n, dir);
    TR_TRY(tr_check_verdict(c));
    *out = c;
    c = NULL;
done:
    tr_stage_end(&stage);
    tr_check_free(c);
    return st;
}

/* ---- the machine ---------------------------------------------------------------------------------------------- */
tress_status tr_train_set_precision(tr_device *d, tress_precision p)
{
    return tr_device_is_host(d) ? TRESS_OK : tr_device_set_dtype(d, tr_run_precision(p, d));
}

void tr_train_restore(tr_device *d, tr_dtype t)
{
    const tress_status st = tr_device_set_dtype(d, t);
    TR_ASSERT(st == TRESS_OK);                  /* it had that type before */
}

int64_t tr_train_weight_bytes(const tr_bundle *m)
{
    const tr_device *d = m->host->device;
    return tr_device_is_host(d) ? tr_weights_bytes(m->weights[TR_MODULE_TRANSFORMER]) + tr_weights_bytes(m->weights[TR_MODULE_CONTROLNET]) : tr_device_weight_bytes(d);
}

/* Bytes of a device that weights and work may take together; 0: no limit. */
static tress_status find_limit(int64_t *out, const tr_host *h, int64_t max_vram)
{
    tress_status st = TRESS_OK;
    const tr_device *d = h->device;
    int64_t left;
    *out = tr_device_is_host(d) ? h->memory_max : h->card_max;
    if (tr_device_is_host(d) || max_vram <= 0) goto done;
    TR_TRY(tr_host_leave(&left, d, max_vram));
    if (*out == 0 || left < *out) *out = left;
done:
    return st;
}

/* ---- memory -------------------------------------------------------------------------------------------------- */
tress_status tr_train_measure(tr_rehearsal *out, const tr_host *like, const tress_model_args *model, const tr_trainer_spec *spec,
                              int64_t batch, int64_t h, int64_t w)
{
    tress_status st = TRESS_OK;
    tr_host dry = { 0 };
    tr_bundle *m = NULL;
    tr_stream *s = NULL;
    TR_TRY(tr_host_init_dry(&dry, like));
    if (!tr_device_is_host(dry.device)) TR_TRY(tr_device_set_dtype(dry.device, spec->precision));
    TR_TRY(tr_bundle_open(&m, &dry, model, TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET));
    TR_TRY(tr_stream_new(&s, dry.device));
    TR_TRY(tr_run_rehearse(out, s, m->transformer, m->controlnet, spec, batch, h, w));
done:
    tr_stream_free(s);
    tr_bundle_close(m);
    if (dry.device) tr_host_fini(&dry);
    return st;
}

/* ---- the run --------------------------------------------------------------------------------------------------- */
typedef struct training {
    tr_bundle *m;
    tr_run_specs specs;
    tr_train_sheets *sheets;
} training;

static tress_status measure(void *self, tr_rehearsal *out, const tr_trainer_spec *spec, int64_t batch, int64_t h, int64_t w)
{
    const training *k = self;
    tress_model_args model = k->m->args;
    model.model = k->m->model;
    return tr_train_measure(out, k->m->host, &model, spec, batch, h, w);
}

static tress_status sheet(void *self, tr_image **out, const tr_data_item *const *item, int n, bool bare)
{
    return tr_train_sheets_draw(((training *)self)->sheets, out, item, n, bare);
}

static tress_status make_contract(tr_contract *c, const tr_bundle *m, const tress_train_args *a, const tr_run_specs *specs)
{
    tress_status st = TRESS_OK;
    *c = (tr_contract){ .present = true, .reference = "off", .vae_shift = tr_vae_get_config(m->vae)->shift, .resolution = specs->latents.prepare.resolution,
                        .zero_text_rows = a->zero_text_rows };
    snprintf(c->control_image, sizeof c->control_image, "%s", tr_control_image_name(a->control_image));
    snprintf(c->control_range, sizeof c->control_range, "%s", tr_control_range_name(a->control_range));
    snprintf(c->control_last, sizeof c->control_last, "%s", tr_control_last_name(a->control_last));
    TR_TRY(tr_fingerprint(c->base, m->weights[TR_MODULE_TRANSFORMER]));
    TR_TRY(tr_fingerprint(c->control, m->weights[TR_MODULE_CONTROLNET]));
done:
    return st;
}

static tress_status check_args(const tress_train_args *a)
{
    static const struct { const char *name; size_t at; int64_t min, max; bool wide; } range[] = {
        { "steps", offsetof(tress_train_args, steps), 1, 100000000, true },                { "validate-every", offsetof(tress_train_args, validate_every), 0, INT64_MAX, true },
        { "sample-every", offsetof(tress_train_args, sample_every), 0, INT64_MAX, true },  { "save-every", offsetof(tress_train_args, save_every), 0, INT64_MAX, true },
        { "keep-checkpoints", offsetof(tress_train_args, keep_checkpoints), 1, 1000000, false }, { "sample-count", offsetof(tress_train_args, sample_count), 0, 64, false },
        { "sample-steps", offsetof(tress_train_args, sample_steps), 1, TR_STEP_MAX, false }, { "blocks", offsetof(tress_train_args, n_block), 0, TR_BLOCK_MAX, false },
        { "max-vram", offsetof(tress_train_args, max_vram), 0, INT64_MAX, true },
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        const char *p = (const char *)a + range[i].at;
        const int64_t v = range[i].wide ? *(const int64_t *)(const void *)p : *(const int *)(const void *)p;
        if (v < range[i].min || v > range[i].max)
            return tr_fail(TRESS_E_ARG, "--%s %" PRId64 ", expected %" PRId64 " to %" PRId64, range[i].name, v, range[i].min, range[i].max);
    }
    return a->n_block > 0 && !a->block ? tr_fail(TRESS_E_ARG, "%d blocks and no list of them", a->n_block) : TRESS_OK;
}

tress_status tress_train(tress *t, const tress_model_args *model, const tress_train_args *a)
{
    tress_status st = TRESS_OK;
    tress_model_args wanted = { 0 };
    tr_dataset *data = NULL;
    tr_check *check = NULL;
    training k = { 0 };
    tr_contract contract;
    char *config = NULL;
    if (!t || !a || !a->data || !a->run) return tr_fail(TRESS_E_ARG, "tress_train: handle, data and run must be given");
    const tr_dtype dtype = tr_device_dtype(t->host.device);
    const int64_t memory_max = t->host.memory_max;
    if (model) wanted = *model;
    wanted.lora = NULL;
    wanted.n_lora = 0;
    wanted.no_control = false;
    TR_TRY(check_args(a));
    TR_TRY(tr_train_set_precision(t->host.device, a->mixed_precision));
    /* what is told at once first, then what takes long: names and headers, all pictures, all weights */
    TR_TRY(tr_bundle_open(&k.m, &t->host, &wanted, TR_WANT_ALL));
    TR_TRY(tr_run_specs_make(&k.specs, a, k.m->transformer, k.m->controlnet, k.m->vae));
    TR_TRY(tr_train_config(&config, &wanted, a));
    TR_TRY(look_through(&check, &data, &t->host, a->data));
    TR_TRY(tr_bundle_scan(k.m));
    TR_TRY(make_contract(&contract, k.m, a, &k.specs));
    TR_TRY(tr_train_sheets_new(&k.sheets, k.m, a, &k.specs.latents.prepare));
    TR_TRY(find_limit(&t->host.memory_max, &t->host, a->max_vram));
    const tr_run_env env = {
        .device = t->host.device, .hooks = t->host.hooks, .check = check, .memory_max = t->host.memory_max, .transformer = k.m->transformer,
        .controlnet = k.m->controlnet, .vae = k.m->vae, .vae_weights = k.m->weights[TR_MODULE_VAE], .contract = &contract, .config = config,
        .weight_bytes = tr_train_weight_bytes(k.m),
        .measure = measure, .sheet = a->sample_count > 0 ? sheet : NULL, .self = &k,
    };
    TR_TRY(tr_run(&env, a, &k.specs));
done:
    tr_free(config);
    tr_train_sheets_free(k.sheets);
    tr_bundle_close(k.m);
    tr_check_free(check);
    tr_dataset_free(data);
    t->host.memory_max = memory_max;
    tr_train_restore(t->host.device, dtype);
    return st;
}
