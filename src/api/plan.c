#include "api/train_int.h"

#include <stdio.h>

struct tress_plan {
    tr_ledger ledger;
    int width, height;
    int64_t own, card_max, card_free;           /* of a GPU */
    char *residency;
};

static tress_status plan_new(tress_plan **out, const tr_host *h)
{
    void *v = NULL;
    const tress_status st = tr_alloc(&v, sizeof(tress_plan));
    if (st != TRESS_OK) return st;
    *out = v;
    (*out)->own = tr_device_own_bytes(h->device);
    (*out)->card_max = h->card_max;
    (*out)->card_free = h->card_free;
    return TRESS_OK;
}

tress_status tress_plan_generate(tress *t, const tress_model_args *model, const tress_generate_args *args, tress_plan **out)
{
    static const tress_model_args defaults;
    tress_status st = TRESS_OK;
    tress_plan *p = NULL;
    tr_result *r = NULL;
    tr_residency residency;
    if (!t || !args || !out) return tr_fail(TRESS_E_ARG, "tress_plan_generate: handle, args and out must be given");
    if (!model) model = &defaults;
    const bool host = tr_device_is_host(t->host.device);
    TR_TRY(plan_new(&p, &t->host));
    if (!host) {
        TR_TRY(tr_residency_choose(&residency, NULL, &t->host, model, args));
        TR_TRY(tr_residency_text(&p->residency, &residency));
    }
    TR_TRY(tr_rehearse(&p->ledger, &r, &t->host, model, args, host ? NULL : &residency, true));
    p->width = r->width;
    p->height = r->height;
    *out = p;
    p = NULL;
done:
    tr_result_free(r);
    tress_plan_free(p);
    return st;
}

static tress_status book(tress_plan *p, const char *name, int64_t weights, int64_t work, double flops)
{
    TR_ASSERT(p->ledger.n < TR_PART_MAX);
    tr_part *q = &p->ledger.part[p->ledger.n++];
    *q = (tr_part){ .weight_bytes = weights, .work_bytes = work, .flops = flops };
    snprintf(q->name, sizeof q->name, "%s", name);
    return TRESS_OK;
}

tress_status tress_plan_train(tress *t, const tress_model_args *model, const tress_train_args *args, tress_plan **out)
{
    static const char *const name[] = { "step, all kept", "step, attention kept", "step, inputs kept" };
    tress_status st = TRESS_OK;
    tress_model_args wanted = { 0 };
    tr_host dry = { 0 };
    tr_bundle *m = NULL;
    tress_plan *p = NULL;
    tr_run_specs specs;
    if (!t || !args || !out) return tr_fail(TRESS_E_ARG, "tress_plan_train: handle, args and out must be given");
    if (model) wanted = *model;
    wanted.n_lora = 0;
    TR_TRY(plan_new(&p, &t->host));
    TR_TRY(tr_host_init_dry(&dry, &t->host));
    TR_TRY(tr_train_set_precision(dry.device, args->mixed_precision));
    TR_TRY(tr_bundle_open(&m, &dry, &wanted, TR_WANT_ALL));
    TR_TRY(tr_run_specs_make(&specs, args, m->transformer, m->controlnet, m->vae));
    const int64_t weights = tr_train_weight_bytes(m), own = tr_device_own_bytes(dry.device), most = args->max_vram - own;
    const int cell = specs.latents.prepare.cell;
    tr_prepare_size(&p->width, &p->height, &specs.latents.prepare, specs.latents.prepare.resolution, specs.latents.prepare.resolution);
    const tress_checkpointing asked = args->gradient_checkpointing;
    const int first = asked == TRESS_CHECKPOINTING_ON ? TR_KEEP_INPUT : asked == TRESS_CHECKPOINTING_ATTENTION ? TR_KEEP_ATTENTION : TR_KEEP_ALL;
    for (int level = first; level <= TR_KEEP_INPUT; level++) {
        tr_trainer_spec spec = specs.trainer;
        tr_rehearsal r;
        spec.keep = (tr_keep)level;
        TR_TRY(tr_train_measure(&r, &t->host, &wanted, &spec, args->batch, p->height / cell, p->width / cell));
        p->ledger.n = 0;                        /* the level that is chosen is the last that was looked at */
        TR_TRY(book(p, name[level], weights, r.bytes, r.flops));
        if (asked != TRESS_CHECKPOINTING_AUTO || args->max_vram == 0 || weights + r.bytes <= most) break;
    }
    if (args->max_vram > 0 && tr_ledger_peak(&p->ledger, NULL) > most)
        TR_TRY(tr_fail(TRESS_E_OOM, "%s takes %.2f GiB of weights and %.2f beside them, --max-vram leaves %.2f", p->ledger.part[0].name,
                       (double)p->ledger.part[0].weight_bytes / 0x1p30, (double)p->ledger.part[0].work_bytes / 0x1p30, (double)most / 0x1p30));
    p->ledger.peak = tr_ledger_peak(&p->ledger, NULL);
    *out = p;
    p = NULL;
done:
    tr_bundle_close(m);
    if (dry.device) tr_host_fini(&dry);
    tress_plan_free(p);
    return st;
}

void tress_plan_free(tress_plan *p)
{
    if (!p) return;
    tr_free(p->residency);
    tr_free(p);
}

int tress_plan_count(const tress_plan *p) { return p ? p->ledger.n : 0; }

tress_plan_part tress_plan_at(const tress_plan *p, int i)
{
    if (!p || i < 0 || i >= p->ledger.n) return (tress_plan_part){ .name = "" };
    const tr_part *a = &p->ledger.part[i];
    return (tress_plan_part){ a->name, a->weight_bytes, a->work_bytes, a->flops };
}

int64_t tress_plan_peak_bytes(const tress_plan *p) { return p ? p->ledger.peak : 0; }

void tress_plan_size(const tress_plan *p, int *width, int *height)
{
    if (width) *width = p ? p->width : 0;
    if (height) *height = p ? p->height : 0;
}

tress_plan_card tress_plan_get_card(const tress_plan *p)
{
    if (!p || p->own == 0) return (tress_plan_card){ .residency = NULL };
    return (tress_plan_card){ p->residency ? p->residency : "", p->own, p->card_max, p->card_free, p->ledger.pinned };
}
