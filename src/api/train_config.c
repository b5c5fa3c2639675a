/* The options of a training as JSON, with the names that the command line and its --config use. */
#include "api/train_int.h"

#include <stdlib.h>
#include <string.h>

typedef enum kind { TEXT, INT, INT64, UINT64, REAL, FLOAT, FLAG, CHOICE } kind;
typedef struct entry { const char *key; kind kind; size_t at; const char *const *word; } entry;

static const char *const control_image[] = { "lines", "canny", "colour", "raw" }, *const control_range[] = { "vendor", "signed" },
    *const control_last[] = { "vendor", "diffusers" }, *const fit[] = { "crop", "letterbox" }, *const precision[] = { "auto", "fp16", "bf16", "no" },
    *const checkpointing[] = { "auto", "on", "attention", "off" }, *const optimizer[] = { "adamw", "adamw8bit" },
    *const schedule[] = { "constant", "linear", "cosine", "polynomial" }, *const timestep[] = { "logit-normal", "uniform", "mode", "cosmap" },
    *const normalize[] = { "per-sample", "per-batch", "none" };

#define AT(member) offsetof(tress_train_args, member)
static const entry entries[] = {
    { "data", TEXT, AT(data), NULL }, { "output", TEXT, AT(run), NULL }, { "latent-cache", TEXT, AT(latent_cache), NULL }, { "rank", INT, AT(rank), NULL },
    { "alpha", FLOAT, AT(alpha), NULL }, { "targets", TEXT, AT(targets), NULL }, { "lora-dropout", FLOAT, AT(lora_dropout), NULL },
    { "resolution", INT, AT(resolution), NULL }, { "fit", CHOICE, AT(fit), fit }, { "buckets", FLAG, AT(buckets), NULL },
    { "augment-flip", FLAG, AT(augment_flip), NULL }, { "augment-rotate", REAL, AT(augment_rotate), NULL }, { "augment-translate", REAL, AT(augment_translate), NULL },
    { "augment-scale", REAL, AT(augment_scale), NULL }, { "augment-stroke-width", REAL, AT(augment_stroke_width), NULL },
    { "augment-variants", INT, AT(augment_variants), NULL }, { "mask-grow", REAL, AT(mask_grow), NULL }, { "mask-blur", REAL, AT(mask_blur), NULL },
    { "validation-split", REAL, AT(validation_split), NULL }, { "control-image", CHOICE, AT(control_image), control_image },
    { "control-range", CHOICE, AT(control_range), control_range }, { "control-last-block", CHOICE, AT(control_last), control_last },
    { "sketch-dropout", FLOAT, AT(sketch_dropout), NULL }, { "steps", INT64, AT(steps), NULL }, { "batch", INT, AT(batch), NULL },
    { "gradient-accumulation", INT, AT(gradient_accumulation), NULL }, { "learning-rate", REAL, AT(learning_rate), NULL },
    { "lr-schedule", CHOICE, AT(lr_schedule), schedule }, { "warmup-steps", INT64, AT(warmup_steps), NULL }, { "optimizer", CHOICE, AT(optimizer), optimizer },
    { "beta1", REAL, AT(beta1), NULL }, { "beta2", REAL, AT(beta2), NULL }, { "epsilon", REAL, AT(epsilon), NULL }, { "weight-decay", REAL, AT(weight_decay), NULL },
    { "max-grad-norm", REAL, AT(max_grad_norm), NULL }, { "ema", REAL, AT(ema), NULL }, { "timestep-sampling", CHOICE, AT(timestep_sampling), timestep },
    { "logit-mean", REAL, AT(logit_mean), NULL }, { "logit-std", REAL, AT(logit_std), NULL }, { "mode-scale", REAL, AT(mode_scale), NULL },
    { "training-shift", REAL, AT(training_shift), NULL }, { "mask-normalize", CHOICE, AT(mask_normalize), normalize },
    { "unmasked-weight", FLOAT, AT(unmasked_weight), NULL }, { "zero-text-rows", INT, AT(zero_text_rows), NULL }, { "seed", UINT64, AT(seed), NULL },
    { "mixed-precision", CHOICE, AT(mixed_precision), precision }, { "gradient-checkpointing", CHOICE, AT(gradient_checkpointing), checkpointing },
    { "validate-every", INT64, AT(validate_every), NULL }, { "sample-every", INT64, AT(sample_every), NULL }, { "save-every", INT64, AT(save_every), NULL },
    { "keep-checkpoints", INT, AT(keep_checkpoints), NULL }, { "sample-count", INT, AT(sample_count), NULL }, { "sample-steps", INT, AT(sample_steps), NULL },
    { "sample-embeds", TEXT, AT(sample_embeds), NULL },
};

/* A path or name that is no UTF-8 cannot stand in JSON: TRESS_E_ARG. */
static tress_status put_text(json_t *o, const char *key, const char *s)
{
    if (!s) return TRESS_OK;
    return json_object_set_new(o, key, json_string(s)) == 0 ? TRESS_OK : tr_fail(TRESS_E_ARG, "--%s is not valid UTF-8, which a run's configuration must be", key);
}

static tress_status put(json_t *o, const entry *e, const tress_train_args *a)
{
    const void *p = (const char *)a + e->at;
    json_t *v = NULL;
    char digits[24];
    switch (e->kind) {
    case TEXT:   return put_text(o, e->key, *(const char *const *)p);
    case INT:    v = json_integer(*(const int *)p); break;
    case INT64:  v = json_integer(*(const int64_t *)p); break;
    case UINT64: /* as text: JSON numbers end at 2^53 in many readers */
        snprintf(digits, sizeof digits, "%" PRIu64, *(const uint64_t *)p);
        v = json_string(digits);
        break;
    case REAL:   v = json_real(*(const double *)p); break;
    case FLOAT:  v = json_real(strtod((snprintf(digits, sizeof digits, "%.9g", (double)*(const float *)p), digits), NULL)); break;
    case FLAG:   v = json_boolean(*(const bool *)p); break;
    case CHOICE: v = json_string(e->word[*(const int *)p]); break;
    }
    return json_object_set_new(o, e->key, v) == 0 ? TRESS_OK : tr_fail(TRESS_E_OOM, "no memory for the run's configuration");
}

tress_status tr_train_config(char **out, const tress_model_args *model, const tress_train_args *a)
{
    tress_status st = TRESS_OK;
    json_t *o = json_object(), *blocks = NULL;
    char *text = NULL;
    tr_str page = { 0 };
    if (!o) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the run's configuration"));
    TR_TRY(put_text(o, "model", model->model));
    TR_TRY(put_text(o, "control-net", model->control_net));
    TR_TRY(put_text(o, "vae", model->vae));
    TR_TRY(put_text(o, "variant", model->variant));
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) TR_TRY(put(o, &entries[i], a));
    if (a->n_block > 0) {
        blocks = json_array();
        for (int i = 0; blocks && i < a->n_block; i++) json_array_append_new(blocks, json_integer(a->block[i]));
        if (json_object_set(o, "blocks", blocks)) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the run's configuration"));
    }
    if (a->max_vram > 0 && json_object_set_new(o, "max-vram", json_real((double)a->max_vram / 0x1p30)))
        TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the run's configuration"));
    for (int digits = 12; digits <= 17; digits++) {              /* the fewest that give every number back: a run goes on only as it began */
        free(text);
        text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(digits));
        json_t *back = text ? json_loads(text, 0, NULL) : NULL;
        const bool same = json_equal(o, back) == 1;
        json_decref(back);
        if (same) break;
    }
    if (!text) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the run's configuration"));
    TR_TRY(tr_str_printf(&page, "%s\n", text));
    *out = page.s;
    page = (tr_str){ 0 };
done:
    tr_str_fini(&page);
    free(text);
    json_decref(blocks);
    json_decref(o);
    return st;
}
