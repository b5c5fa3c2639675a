/* The options of a run turned into what trainer, data and schedule take. */
#include "train/run.h"

#include <string.h>

static tress_status read_targets(int *out, const char *text)
{
    static const struct { const char *name; int target; } all[] = {
        { "to_q", TR_TARGET_TO_Q }, { "to_k", TR_TARGET_TO_K }, { "to_v", TR_TARGET_TO_V }, { "to_out", TR_TARGET_TO_OUT }, { "to_out.0", TR_TARGET_TO_OUT },
        { "add_q_proj", TR_TARGET_ADD_Q }, { "add_k_proj", TR_TARGET_ADD_K }, { "add_v_proj", TR_TARGET_ADD_V }, { "to_add_out", TR_TARGET_TO_ADD_OUT },
    };
    *out = 0;
    if (!text) return *out = TR_TARGET_IMAGE, TRESS_OK;
    for (const char *p = text; *p;) {
        const size_t n = strcspn(p, ",");
        size_t i = 0;
        while (i < sizeof all / sizeof *all && (strlen(all[i].name) != n || memcmp(all[i].name, p, n) != 0)) i++;
        if (i == sizeof all / sizeof *all)
            return tr_fail(TRESS_E_ARG, "--targets: \"%.*s\", expected some of to_q, to_k, to_v, to_out, add_q_proj, add_k_proj, add_v_proj, to_add_out", (int)(n < 64 ? n : 64), p);
        *out |= all[i].target;
        p += n + (p[n] == ',');
    }
    return *out ? TRESS_OK : tr_fail(TRESS_E_ARG, "--targets is empty");
}

tr_dtype tr_run_precision(tress_precision p, const tr_device *d)
{
    return p == TRESS_PRECISION_AUTO ? tr_device_dtype(d) : p == TRESS_PRECISION_FP16 ? TR_F16 : p == TRESS_PRECISION_BF16 ? TR_BF16 : TR_F32;
}

static tress_status check_choices(const tress_train_args *a)
{
    if ((unsigned)a->mask_normalize > TRESS_MASK_NONE || (unsigned)a->fit > TRESS_FIT_LETTERBOX || (unsigned)a->mixed_precision > TRESS_PRECISION_NO ||
        (unsigned)a->gradient_checkpointing > TRESS_CHECKPOINTING_OFF || (unsigned)a->optimizer > TRESS_OPTIMIZER_ADAMW8BIT ||
        (unsigned)a->lr_schedule > TRESS_LR_POLYNOMIAL || (unsigned)a->timestep_sampling > TRESS_TIMESTEP_COSMAP ||
        (unsigned)a->control_image > TRESS_CONTROL_RAW || (unsigned)a->control_range > TRESS_RANGE_SIGNED || (unsigned)a->control_last > TRESS_LAST_DIFFUSERS)
        return tr_fail(TRESS_E_ARG, "an option of training holds a value that tress.h does not list");
    return TRESS_OK;
}

tress_status tr_run_trainer_spec(tr_trainer_spec *out, const tress_train_args *a, const tr_mmdit *m)
{
    tress_status st = TRESS_OK;
    const tr_device *d = tr_mmdit_device(m);
    int targets;
    TR_TRY(check_choices(a));
    TR_TRY(read_targets(&targets, a->targets));
    *out = (tr_trainer_spec){
        .adapter = { .rank = a->rank, .alpha = a->alpha == 0 ? (float)a->rank : a->alpha, .targets = targets, .block = a->block, .n_block = a->n_block, .seed = a->seed },
        .dropout = a->lora_dropout, .zero_text_rows = a->zero_text_rows, .keep = TR_KEEP_ALL, .precision = tr_run_precision(a->mixed_precision, d),
        .control_last = a->control_last == TRESS_LAST_VENDOR, .normalize = (tr_mask_normalize)a->mask_normalize, .unmasked_weight = a->unmasked_weight,
        .adam8 = a->optimizer == TRESS_OPTIMIZER_ADAMW8BIT, .beta1 = a->beta1, .beta2 = a->beta2, .epsilon = a->epsilon, .weight_decay = a->weight_decay,
        .max_grad_norm = a->max_grad_norm, .ema = a->ema, .seed = a->seed, .n_micro = a->gradient_accumulation < 1 ? 1 : a->gradient_accumulation > 256 ? 256 : a->gradient_accumulation,
    };
    TR_ASSERT(tr_device_is_host(d) || out->precision == tr_device_dtype(d));
done:
    return st;
}

tress_status tr_run_specs_make(tr_run_specs *out, const tress_train_args *a, const tr_mmdit *m, const tr_controlnet *controlnet, const tr_vae *vae)
{
    tress_status st = TRESS_OK;
    const tr_mmdit_config *c = tr_mmdit_get_config(m);
    const int cell = tr_vae_factor(vae);
    TR_TRY(tr_run_trainer_spec(&out->trainer, a, m));
    out->latents = (tr_latents_spec){
        .prepare = { .resolution = a->resolution ? a->resolution : c->sample_size * cell, .multiple = cell * c->patch, .side_max = c->pos_max * c->patch * cell,
                     .cell = cell, .fit = (tr_data_fit)a->fit, .buckets = a->buckets, .control_image = a->control_image, .mask_grow = a->mask_grow,
                     .mask_blur = a->mask_blur, .seed = a->seed,
                     .augment = { .flip = a->augment_flip, .rotate = a->augment_rotate, .translate = a->augment_translate, .scale = a->augment_scale,
                                  .stroke_width = a->augment_stroke_width } },
        .control_range = a->control_range, .control_shifted = !controlnet || !tr_controlnet_get_config(controlnet)->zero_pooled, .variants = a->augment_variants,
    };
    TR_TRY(tr_prepare_check(&out->latents.prepare));
done:
    return st;
}

tress_status tr_run_rehearse(tr_rehearsal *out, tr_stream *dry, tr_mmdit *m, tr_controlnet *controlnet, const tr_trainer_spec *spec,
                             int64_t batch, int64_t h, int64_t w)
{
    tress_status st = TRESS_OK;
    tr_trainer *t = NULL;
    tr_train_loss loss;
    tr_train_update update;
    tr_rehearsal r = { 0 };
    float sigma[TR_TRAIN_BATCH_MAX] = { 0 };
    void *mask = NULL;
    tr_device *d = tr_stream_device(dry);
    TR_ASSERT(tr_device_is_dry(d));
    if (batch < 1 || batch > TR_TRAIN_BATCH_MAX) TR_TRY(tr_fail(TRESS_E_ARG, "--batch %" PRId64 ", expected 1 to %d", batch, TR_TRAIN_BATCH_MAX));
    TR_TRY(tr_alloc_array(&mask, batch * h * w, sizeof(float)));
    TR_TRY(tr_trainer_new(&t, dry, m, controlnet, spec));
    const tr_train_batch b = { .b = batch, .h = h, .w = w, .latents = mask, .control = controlnet ? mask : NULL, .noise = mask, .mask = mask, .sigma = sigma };
    for (int pass = 0; pass < 2; pass++) {                          /* the first tells how much scratch the second begins with, as a run does */
        const double before = tr_stream_count(dry).flops;
        tr_scratch_trim(dry);
        TR_TRY(tr_scratch_reserve(dry, r.scratch));
        (void)tr_device_peak_reset(d);
        TR_TRY(tr_trainer_accumulate(t, dry, &b, 1, &loss, NULL));      /* a dry device reads no numbers: mask stands in for all */
        TR_TRY(tr_trainer_update(t, dry, 0, true, &update));
        r = (tr_rehearsal){ tr_device_peak(d) - tr_device_weight_bytes(d), tr_stream_count(dry).scratch_peak, tr_stream_count(dry).flops - before };
    }
    *out = r;
done:
    tr_trainer_free(t);
    tr_free(mask);
    return st;
}
