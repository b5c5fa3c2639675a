#include "train/run.h"

#include "train/feed.h"
#include "train/lock.h"
#include "train/lr.h"
#include "train/show.h"
#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define VALIDATION_MAX 16                       /* pictures: enough for a steady mean, little beside the steps between */

typedef struct run {
    const tr_run_env       *env;
    const tress_train_args *a;
    tr_run_specs            specs;
    tr_stream  *stream;
    tr_lock    *lock;
    bool       *held;                           /* [n_item] */
    int         n_held;
    tr_latents *latents;
    tr_feed    *feed;
    const char **name;                          /* [accumulation, batch] pictures of a step: views */
    tr_trainer *trainer;
    tr_trainer_state room;
    tr_identity identity;
    tr_checkpoint *resume;
    tr_show    *show;
    char       *checkpoints;                    /* RUN/checkpoints */
    size_t      scratch;                        /* of a step */
    int64_t     step, saved;                    /* steps done; the step of the newest checkpoint, -1: none */
    tr_lr       lr;
    bool        bare;                           /* the base's pictures are drawn */
    tr_show_step told;                          /* of the last step, */
    int         n_log;                          /* which is in so many of the two logs */
    bool        torn;                           /* within an update: the state is that of no step */
} run;

/* ---- words ------------------------------------------------------------------------------------------------- */
static void say(void *self, const char *text)
{
    const run *r = self;
    if (r->env->hooks.note) r->env->hooks.note(r->env->hooks.self, text);
}

static void sayf(run *r, const char *format, ...) TR_PRINTF(2, 3);
static void sayf(run *r, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(r, text);
}

static bool cancelled(void *self)
{
    const run *r = self;
    return r->env->hooks.cancelled && r->env->hooks.cancelled(r->env->hooks.self);
}

/* How far a stage is, for the data room's hooks. */
typedef struct stage { run *r; const char *name; double begin; } stage;
static void on_progress(void *self, int64_t i, int64_t n)
{
    const stage *g = self;
    const tress_hooks *h = &g->r->env->hooks;
    const double seconds = tr_seconds() - g->begin;
    if (h->progress)
        h->progress(h->self, &(tress_progress){ .stage = g->name, .i = i, .n = n, .seconds = seconds, .left = i > 0 ? seconds / (double)i * (double)(n - i) : -1 });
}
static void on_note(void *self, const char *text) { say(((stage *)self)->r, text); }
static bool on_cancelled(void *self) { return cancelled(((stage *)self)->r); }

/* ---- a full disk is waited for ----------------------------------------------------------------------------- */
/* Again and again while the disk is full, with growing pauses up to half a minute: the run stays in memory, and nothing is lost once
 * somebody makes room. An interruption meanwhile ends in the failure itself. */
typedef tress_status (*writer)(void *self);
static tress_status patiently(run *r, writer write, void *self)
{
    for (int tenths = 2;; tenths = tenths < 150 ? 2 * tenths : 300) {
        const tress_status st = write(self);
        if (st != TRESS_E_IO || !tr_disk_full()) return st;
        sayf(r, "%s; the run waits, and tries again in %g s: make room and it goes on", tr_message(), tenths / 10.0);
        for (int i = 0; i < tenths; i++) {
            if (!cancelled(r)) nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
            else if (r->saved < 0) return tr_note(st, "interrupted while the disk is full, after step %" PRId64 ", before there was a checkpoint", r->step);
            else return tr_note(st, "interrupted while the disk is full, after step %" PRId64 ", the newest checkpoint being that of step %" PRId64, r->step, r->saved);
        }
    }
}

/* ---- opening ----------------------------------------------------------------------------------------------- */
/* Also what a resume without other options begins from. */
static tress_status write_config(void *self)
{
    tress_status st = TRESS_OK;
    const run *r = self;
    char *path = NULL;
    TR_TRY(tr_path_join(&path, r->a->run, "config.json"));
    TR_TRY(tr_file_write(path, r->env->config, strlen(r->env->config)));
done:
    tr_free(path);
    return st;
}

static tress_status open_folder(run *r)
{
    tress_status st = TRESS_OK;
    char *path = NULL;
    static const char *const inside[] = { "checkpoints", "samples", "latents" };
    const char *resume = r->a->resume;
    TR_TRY(tr_dir_make(r->a->run));
    TR_TRY(tr_lock_open(&r->lock, r->a->run));
    if (!resume) TR_TRY(tr_lock_check_empty(r->a->run));
    TR_TRY(tr_checkpoint_clean(r->a->run, say, r));
    TR_TRY(tr_path_join(&r->checkpoints, r->a->run, inside[0]));
    for (int i = 0; i < 3; i++) {                   /* latents only where they are the run's own: runs may share another folder */
        TR_TRY(tr_path_join(&path, r->a->run, inside[i]));
        if (i < 2) TR_TRY(tr_dir_make(path));
        if (tr_dir_exists(path)) TR_TRY(tr_checkpoint_clean(path, say, r));
        tr_free(path);
        path = NULL;
    }
    if (resume && strcmp(resume, "latest") == 0) TR_TRY(tr_checkpoint_latest(&r->resume, r->checkpoints, say, r));
    else if (resume) TR_TRY(tr_checkpoint_open(&r->resume, resume));
    if (resume && !r->resume) sayf(r, "%s holds no checkpoint yet: the run begins from its start", r->checkpoints);
    if (!r->resume) TR_TRY(patiently(r, write_config, r));      /* else once it is known to fit */
done:
    tr_free(path);
    return st;
}

static tress_status split_data(run *r)
{
    tress_status st = TRESS_OK;
    const tr_dataset *d = r->env->check->data;
    tr_split_reason reason;
    void *p = NULL;
    TR_TRY(tr_alloc_array(&p, d->n_item, sizeof *r->held));
    r->held = p;
    TR_TRY(tr_split_make(r->held, &r->n_held, &reason, d, r->a->validation_split));
    if (reason == TR_SPLIT_FEW)
        sayf(r, "%d pictures are too few to hold any out: there will be no validation; from %d on, or with a test/ half, there is", d->n_item, TR_SPLIT_LEAST);
done:
    return st;
}

/* What was encoded before a failure is kept, so that the call can be made again. */
static tress_status open_latents(void *self)
{
    tress_status st = TRESS_OK;
    run *r = self;
    stage g = { r, "latents", tr_seconds() };
    const tr_data_hooks hooks = { &g, on_progress, on_note, on_cancelled };
    char *own = NULL;
    if (!r->a->latent_cache) TR_TRY(tr_path_join(&own, r->a->run, "latents"));
    const tr_latents_args args = { .check = r->env->check, .held = r->held, .vae = r->env->vae, .weights = r->env->vae_weights, .stream = r->stream,
                                   .dir = own ? own : r->a->latent_cache, .memory_max = r->env->memory_max, .n_thread = tr_device_threads(r->env->device),
                                   .hooks = &hooks };
    TR_TRY(tr_latents_open(&r->latents, &r->specs.latents, &args));
done:
    tr_free(own);
    return st;
}

/* ---- what a resumed run must find again ---------------------------------------------------------------------- */
/* All but the data, so that a resume is refused before a picture is encoded. */
static tress_status identify(run *r)
{
    tress_status st = TRESS_OK;
    tr_identity *d = &r->identity;
    const tress_train_args *a = r->a;
    const tr_trainer_spec *t = &r->specs.trainer;
    tr_str blocks = { 0 };
    TR_TRY(tr_str_printf(&blocks, "%s", a->n_block ? "" : "all"));
    for (int i = 0; i < a->n_block; i++) TR_TRY(tr_str_printf(&blocks, "%s%d", i ? "," : "", a->block[i]));
    if (blocks.len > 900) TR_TRY(tr_fail(TRESS_E_ARG, "--blocks names %d blocks, which is too long a list", a->n_block));
    TR_TRY(tr_identity_add(d, "base model", "%s", r->env->contract->base));
    TR_TRY(tr_identity_add(d, "ControlNet", "%s", r->env->contract->control));
    TR_TRY(tr_identity_add(d, "seed", "%" PRIu64, a->seed));
    TR_TRY(tr_identity_add(d, "rank", "%d", a->rank));
    TR_TRY(tr_identity_add_number(d, "alpha", (double)t->adapter.alpha));
    TR_TRY(tr_identity_add(d, "targets", "%d", t->adapter.targets));
    TR_TRY(tr_identity_add(d, "blocks", "%s", blocks.s));
    const struct { const char *name; double value; } numbers[] = {
        { "lora-dropout", (double)a->lora_dropout }, { "sketch-dropout", (double)a->sketch_dropout }, { "batch", a->batch },
        { "gradient-accumulation", a->gradient_accumulation }, { "learning-rate", a->learning_rate }, { "warmup-steps", (double)a->warmup_steps },
        { "beta1", a->beta1 }, { "beta2", a->beta2 }, { "epsilon", a->epsilon }, { "weight-decay", a->weight_decay }, { "max-grad-norm", a->max_grad_norm },
        { "ema", a->ema }, { "logit-mean", a->logit_mean }, { "logit-std", a->logit_std }, { "mode-scale", a->mode_scale }, { "training-shift", a->training_shift },
        { "unmasked-weight", (double)a->unmasked_weight }, { "zero-text-rows", a->zero_text_rows },
        /* of the pictures: all in the digest of the data too, but here they have names */
        { "resolution", r->specs.latents.prepare.resolution }, { "buckets", a->buckets }, { "augment-flip", a->augment_flip },
        { "augment-rotate", a->augment_rotate }, { "augment-translate", a->augment_translate }, { "augment-scale", a->augment_scale },
        { "augment-stroke-width", a->augment_stroke_width }, { "augment-variants", a->augment_variants }, { "mask-grow", a->mask_grow },
        { "mask-blur", a->mask_blur }, { "validation-split", a->validation_split },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) TR_TRY(tr_identity_add_number(d, numbers[i].name, numbers[i].value));
    const struct { const char *name; const char *value; } words[] = {
        { "lr-schedule", tr_lr_name((tr_lr_kind)a->lr_schedule) }, { "timestep-sampling", tr_sigma_name((tr_sigma_kind)a->timestep_sampling) },
        { "optimizer", t->adam8 ? "adamw8bit" : "adamw" }, { "mixed-precision", t->precision == TR_F16 ? "fp16" : t->precision == TR_BF16 ? "bf16" : "no" },
        { "mask-normalize", t->normalize == TR_MASK_PER_SAMPLE ? "per-sample" : t->normalize == TR_MASK_PER_BATCH ? "per-batch" : "none" },
        { "control-last-block", t->control_last ? "vendor" : "diffusers" }, { "fit", a->fit == TRESS_FIT_LETTERBOX ? "letterbox" : "crop" },
        { "control-image", r->env->contract->control_image }, { "control-range", r->env->contract->control_range },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) TR_TRY(tr_identity_add(d, words[i].name, "%s", words[i].value));
    if (r->resume) TR_TRY(tr_identity_check(d, r->resume));
done:
    tr_str_fini(&blocks);
    return st;
}

/* ---- memory -------------------------------------------------------------------------------------------------- */
static const char *amount(char text[32], int64_t n)
{
    snprintf(text, 32, n < (int64_t)1 << 30 ? "%.1f MiB" : "%.2f GiB", (double)n / (n < (int64_t)1 << 30 ? 0x1p20 : 0x1p30));
    return text;
}

/* The least checkpointing that fits, and words about it. */
static tress_status choose_keep(run *r)
{
    static const char *const name[] = { "off: nothing is computed twice", "attention: all but attention is computed twice", "on: everything is computed twice" };
    tress_status st = TRESS_OK;
    int64_t h = 0, w = 0;
    tr_rehearsal step[3] = { { 0 } };
    const int cell = r->specs.latents.prepare.cell;
    const bool host = tr_device_is_host(r->env->device);
    const int64_t limit = host && r->a->max_vram > 0 ? r->a->max_vram : r->env->memory_max, weights = r->env->weight_bytes;
    const int64_t wish = limit > 0 || !host ? limit : tr_mem_machine() / 10 * 8;       /* of auto: others need memory too */
    char step_text[32], weight_text[32];
    const tress_checkpointing asked = r->a->gradient_checkpointing;
    for (int i = 0; i < r->env->check->data->n_item; i++) {     /* before a picture is encoded, which takes long */
        int width = 0, height = 0;
        tr_prepare_size(&width, &height, &r->specs.latents.prepare, r->env->check->facts[i].width, r->env->check->facts[i].height);
        if ((int64_t)(width / cell) * (height / cell) <= h * w) continue;
        h = height / cell;
        w = width / cell;
    }
    int keep = asked == TRESS_CHECKPOINTING_ON ? TR_KEEP_INPUT : asked == TRESS_CHECKPOINTING_ATTENTION ? TR_KEEP_ATTENTION : TR_KEEP_ALL;
    for (int level = keep; level <= TR_KEEP_INPUT; level++) {
        tr_trainer_spec spec = r->specs.trainer;
        spec.keep = (tr_keep)level;
        TR_TRY(r->env->measure(r->env->self, &step[level], &spec, r->a->batch, h, w));
        keep = level;
        if (asked != TRESS_CHECKPOINTING_AUTO || wish == 0 || weights + step[level].bytes <= wish) break;
    }
    if (limit > 0 && weights + step[keep].bytes > limit)
        TR_TRY(tr_fail(TRESS_E_OOM, "training at %" PRId64 " x %" PRId64 " pixels, batch %d, takes %.2f GiB: %.2f of weights and %.2f beside them, with gradient checkpointing %s; "
                       "%s leaves %.2f: a smaller --resolution or --batch takes less", w * cell, h * cell, r->a->batch,
                       (double)(weights + step[keep].bytes) / 0x1p30, (double)weights / 0x1p30, (double)step[keep].bytes / 0x1p30, name[keep],
                       r->a->max_vram > 0 || host ? "--max-vram" : "the GPU", (double)limit / 0x1p30));
    r->specs.trainer.keep = (tr_keep)keep;
    r->scratch = step[keep].scratch;
    sayf(r, "memory: %s of weights, %s, and %s for a step of %d picture%s of %" PRId64 " x %" PRId64 " pixels; gradient checkpointing %s",
         amount(weight_text, weights), host ? "mapped from their files" : "on the GPU", amount(step_text, step[keep].bytes), r->a->batch, r->a->batch == 1 ? "" : "s", w * cell, h * cell, name[keep]);
done:
    return st;
}

/* ---- the trainer ------------------------------------------------------------------------------------------------ */
static tress_status open_show(void *self)
{
    run *r = self;
    return tr_show_open(&r->show, r->a->run, r->step, r->a->steps, r->a->resume != NULL, &r->env->hooks);
}

/* Where a run goes on from an older checkpoint, what came after it is of another past: logs are cut to the step, and so are these. */
static tress_status remove_newer(run *r)
{
    tress_status st = TRESS_OK;
    char **list = NULL, *path = NULL;
    int n = 0, n_gone = 0;
    TR_TRY(tr_dir_list(&list, &n, r->checkpoints));
    for (int i = n - 1; i >= 0; i--) {                          /* sorted: the newest first, so that a kill leaves no gap */
        if (tr_checkpoint_step(list[i]) <= r->step) continue;
        tr_free(path);
        path = NULL;
        TR_TRY(tr_path_join(&path, r->checkpoints, list[i]));
        TR_TRY(tr_file_remove(path));
        n_gone++;
    }
    if (n_gone) sayf(r, "%d newer checkpoint%s removed", n_gone, n_gone == 1 ? " is" : "s are");
done:
    tr_free(path);
    tr_names_free(list, n);
    return st;
}

static tress_status open_trainer(run *r)
{
    tress_status st = TRESS_OK;
    const tress_train_args *a = r->a;
    const tr_feed_spec feed = { .batch = a->batch, .accumulation = a->gradient_accumulation, .sketch_dropout = a->sketch_dropout, .seed = a->seed,
                                .sigma = { (tr_sigma_kind)a->timestep_sampling, a->logit_mean, a->logit_std, a->mode_scale, a->training_shift } };
    void *p = NULL;
    TR_TRY(tr_feed_new(&r->feed, r->latents, &feed));
    TR_TRY(tr_alloc_array(&p, (int64_t)a->gradient_accumulation * a->batch, sizeof *r->name));
    r->name = p;
    TR_TRY(tr_trainer_new(&r->trainer, r->stream, r->env->transformer, r->env->controlnet, &r->specs.trainer));
    TR_TRY(tr_trainer_state_get(&r->room, r->trainer, r->stream));              /* room to save in, before there is anything to lose */
    if (r->resume) {
        TR_TRY(tr_state_load(r->resume, r->trainer, r->stream, &r->room, &r->identity, &r->step));
        r->saved = r->step;
        sayf(r, "going on after step %" PRId64 " of %s", r->step, tr_checkpoint_file(r->resume));
        tr_checkpoint_close(r->resume);
        r->resume = NULL;
        TR_TRY(remove_newer(r));
        TR_TRY(patiently(r, write_config, r));
    }
    TR_TRY(patiently(r, open_show, r));
done:
    return st;
}

/* ---- keeping ---------------------------------------------------------------------------------------------------- */
static tress_status write_checkpoint(void *self)
{
    run *r = self;
    return tr_state_save(r->checkpoints, r->step, r->trainer, r->stream, &r->room, &r->identity, r->env->config);
}

static tress_status write_lora(void *self)
{
    tress_status st = TRESS_OK;
    run *r = self;
    tr_lora *l = NULL;
    char *path = NULL, text[48];
    TR_TRY(tr_trainer_lora(&l, r->trainer, r->stream));
    TR_TRY(tr_contract_write(l, r->env->contract));
    snprintf(text, sizeof text, "%" PRId64, r->step);
    TR_TRY(tr_lora_set_meta(l, "tress.steps", text));
    TR_TRY(tr_lora_set_meta(l, "tress.version", tress_version()));
    TR_TRY(tr_path_join(&path, r->a->run, "lora.safetensors"));
    TR_TRY(tr_lora_save(l, path, TR_LORA_DIFFUSERS));
done:
    tr_free(path);
    tr_lora_close(l);
    return st;
}

static tress_status draw_curve(void *self) { return tr_show_curve(((run *)self)->show); }
static tress_status sync_logs(void *self) { return tr_show_sync(((run *)self)->show); }

static tress_status save(run *r)
{
    tress_status st = TRESS_OK;
    TR_TRY(patiently(r, sync_logs, r));                         /* first: a checkpoint on the disk means that its steps' records are, too */
    if (r->saved != r->step) TR_TRY(patiently(r, write_checkpoint, r));
    r->saved = r->step;
    TR_TRY(tr_checkpoint_prune(r->checkpoints, r->a->keep_checkpoints, say, r));
    TR_TRY(patiently(r, write_lora, r));
    TR_TRY(patiently(r, draw_curve, r));
done:
    return st;
}

/* ---- seeing ----------------------------------------------------------------------------------------------------- */
static tress_status log_step(void *self)
{
    run *r = self;
    tress_status st = TRESS_OK;
    if (r->n_log == 0) TR_TRY(tr_show_step_metrics(r->show, &r->told));
    if (r->n_log == 0) r->n_log = 1;
    if (r->n_log == 1) TR_TRY(tr_show_step_events(r->show, &r->told));
    r->n_log = 2;
done:
    return st;
}

/* The trained adapters are back after whatever came of the average: st, or what went wrong here. */
static tress_status stop_average(run *r, tress_status st)
{
    const tress_status back = tr_trainer_use_average(r->trainer, r->stream, false);
    return st == TRESS_OK ? back : st;
}

typedef struct validation { run *r; double loss[TR_VALIDATION_N], mean; } validation;
static tress_status validation_metrics(void *self) { const validation *v = self; return tr_show_validation_metrics(v->r->show, v->r->step, v->loss, v->mean); }
static tress_status validation_events(void *self) { const validation *v = self; return tr_show_validation_events(v->r->show, v->r->step, v->loss, v->mean); }

static tress_status validate(run *r)
{
    tress_status st = TRESS_OK;
    validation v = { .r = r };
    tr_train_batch batch;
    tr_train_loss loss;
    int n = 0;
    stage g = { r, "validate", tr_seconds() };
    const int n_look = r->n_held < VALIDATION_MAX ? r->n_held : VALIDATION_MAX;
    if (r->n_held == 0) return TRESS_OK;
    TR_TRY(tr_trainer_use_average(r->trainer, r->stream, true));
    for (int i = 0; st == TRESS_OK && i < tr_latents_count(r->latents) && n < n_look; i++) {
        if (!tr_latents_at(r->latents, i).held) continue;
        n++;
        for (int k = 0; st == TRESS_OK && k < TR_VALIDATION_N; k++) {
            st = tr_feed_fixed(r->feed, i, tr_validation_sigma[k], &batch);
            if (st == TRESS_OK) st = tr_trainer_loss(r->trainer, r->stream, &batch, &loss);
            if (st == TRESS_OK) v.loss[k] += loss.loss;
        }
        if (st == TRESS_OK) on_progress(&g, n, n_look);
    }
    TR_TRY(stop_average(r, st));
    for (int k = 0; k < TR_VALIDATION_N; k++) {
        v.loss[k] /= n;
        v.mean += v.loss[k] / TR_VALIDATION_N;
    }
    TR_TRY(patiently(r, validation_metrics, &v));
    TR_TRY(patiently(r, validation_events, &v));
done:
    return st;
}

typedef struct sheet_report { run *r; const tr_image *sheet; } sheet_report;
static tress_status sheet_file(void *self) { const sheet_report *x = self; return tr_show_sheet_file(x->r->show, x->r->step, x->sheet); }
static tress_status sheet_events(void *self) { const sheet_report *x = self; return tr_show_sheet_events(x->r->show, x->r->step, x->sheet); }

/* Held-out pictures first, then the others. */
static int choose_items(const run *r, const tr_data_item *item[64])
{
    int n = 0;
    const int want = r->a->sample_count < 64 ? r->a->sample_count : 64;
    for (int held = 1; held >= 0; held--)
        for (int i = 0; i < r->env->check->data->n_item && n < want; i++)
            if (r->held[i] == (held == 1)) item[n++] = &r->env->check->data->item[i];
    return n;
}

static tress_status draw_sheet(run *r)
{
    tress_status st = TRESS_OK;
    const tr_data_item *item[64];
    tr_image *sheet = NULL;
    const int n = choose_items(r, item);
    if (!r->env->sheet || n == 0) return TRESS_OK;
    if (!tr_device_is_host(r->env->device)) tr_scratch_trim(r->stream);         /* the drawing's takes its place */
    if (!r->bare) {
        tr_adapters_attach(tr_trainer_adapters(r->trainer), false);
        st = r->env->sheet(r->env->self, &sheet, item, n, true);
        tr_adapters_attach(tr_trainer_adapters(r->trainer), true);
        if (st != TRESS_OK) goto done;
        r->bare = true;
    }
    TR_TRY(tr_trainer_use_average(r->trainer, r->stream, true));
    st = r->env->sheet(r->env->self, &sheet, item, n, false);
    TR_TRY(stop_average(r, st));
    const sheet_report x = { r, sheet };
    TR_TRY(patiently(r, sheet_file, (void *)&x));
    TR_TRY(patiently(r, sheet_events, (void *)&x));
done:
    tr_image_free(sheet);
    if (st != TRESS_E_NONFINITE) return st;
    sayf(r, "no sheet after step %" PRId64 ": %s", r->step, tr_message());       /* a picture lost; of training itself the steps tell */
    return TRESS_OK;
}

/* ---- a step ------------------------------------------------------------------------------------------------------ */
/* Who was in the step that failed, and where. */
static void tell_bad_step(run *r, const char *names, const tr_train_update *u)
{
    if (u->bad_block >= 0) sayf(r, "step %" PRId64 " is skipped: the gradient of block %d is not finite; pictures: %s", r->step + 1, u->bad_block, names);
    else sayf(r, "step %" PRId64 " is skipped: the loss of %s is not finite", r->step + 1, names);
}

static tress_status one_step(run *r)
{
    tress_status st = TRESS_OK;
    const tress_train_args *a = r->a;
    tr_train_batch batch;
    tr_train_loss loss;
    tr_train_update u;
    char names[256] = "", bad[256] = "";
    double total = 0;
    bool good = true;
    TR_TRY(tr_scratch_reserve(r->stream, r->scratch));          /* it is there, but at first and after a drawing */
    for (int micro = 0; micro < a->gradient_accumulation; micro++) {
        TR_TRY(tr_feed_next(r->feed, r->step, micro, &batch));
        TR_TRY(tr_trainer_accumulate(r->trainer, r->stream, &batch, 1.0 / a->gradient_accumulation, NULL, NULL));
        for (int i = 0; i < a->batch; i++) {
            const size_t at = strlen(names);
            r->name[micro * a->batch + i] = tr_feed_name(r->feed, i);
            if (at + 1 < sizeof names) snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", tr_feed_name(r->feed, i));
        }
    }
    if (r->step + 1 < a->steps) TR_TRY(tr_feed_next(r->feed, r->step + 1, 0, &batch));        /* while a GPU is at work */
    for (int micro = 0; micro < a->gradient_accumulation && good; micro++) {
        TR_TRY(tr_trainer_hear(r->trainer, r->stream, micro, &loss));
        total += loss.loss / a->gradient_accumulation;
        good = loss.i_bad < 0;
        if (!good) snprintf(bad, sizeof bad, "%s", r->name[micro * a->batch + loss.i_bad]);
    }
    const double rate = tr_lr_at(&r->lr, r->step);
    r->torn = true;
    st = tr_trainer_update(r->trainer, r->stream, rate, good, &u);
    if (st == TRESS_OK || st == TRESS_E_NONFINITE) r->torn = false;             /* taken, or skipped */
    if (!u.finite) tell_bad_step(r, good ? names : bad, &u);
    if (st != TRESS_OK) {
        st = u.bad_block >= 0 ? tr_note(st, "step %" PRId64 ", block %d, pictures %s", r->step + 1, u.bad_block, names)
                              : tr_note(st, "step %" PRId64 ", picture %s", r->step + 1, good ? names : bad);
        goto done;
    }
    r->step++;
    r->n_log = 0;
    r->told = (tr_show_step){ .step = r->step, .loss = total, .learning_rate = rate, .grad_norm = u.grad_norm, .scale = tr_trainer_scale(r->trainer)->scale,
                             .epoch = (double)r->step / (double)tr_feed_epoch_steps(r->feed), .n_image = (int64_t)a->batch * a->gradient_accumulation,
                             .n_skipped = tr_trainer_scale(r->trainer)->n_skipped };
    TR_TRY(tr_show_step_done(r->show, &r->told));
    TR_TRY(patiently(r, log_step, r));
done:
    return st;
}

static bool due(int64_t every, int64_t step) { return every > 0 && step % every == 0; }
static bool validation_is_due(const run *r, bool edge) { return r->a->validate_every > 0 && (edge || due(r->a->validate_every, r->step)); }
static bool sheet_is_due(const run *r, bool edge) { return r->a->sample_every > 0 && (edge || due(r->a->sample_every, r->step)); }

static tress_status go(run *r)
{
    tress_status st = TRESS_OK;
    const tress_train_args *a = r->a;
    if (r->step >= a->steps) sayf(r, "all %" PRId64 " steps are done already", a->steps);
    /* what a process before this one was to do after its last step, but was ended before */
    if (validation_is_due(r, r->step == 0 || r->step >= a->steps) && !tr_show_has_validation(r->show, r->step)) TR_TRY(validate(r));
    if (r->step > 0 && sheet_is_due(r, r->step >= a->steps) && !tr_show_has_sheet(r->show, r->step)) TR_TRY(draw_sheet(r));
    while (r->step < a->steps) {
        TR_TRY(tr_stream_poll(r->stream));
        TR_TRY(one_step(r));
        const bool last = r->step == a->steps;
        if (validation_is_due(r, last)) TR_TRY(validate(r));
        if (due(a->save_every, r->step) && !last) TR_TRY(save(r));          /* before the pictures, which take long */
        if (sheet_is_due(r, last)) TR_TRY(draw_sheet(r));
        if (tr_show_curve_is_old(r->show)) TR_TRY(patiently(r, draw_curve, r));
    }
    TR_TRY(save(r));
done:
    return st;
}

/* An end before the end: what was done is kept. */
static tress_status end_early(run *r, tress_status why)
{
    tress_status st = TRESS_OK;
    char text[1024];
    snprintf(text, sizeof text, "%s", tr_message());
    if (r->torn || r->step == 0) return why;
    if (log_step(r) != TRESS_OK) sayf(r, "step %" PRId64 " is missing in the log: %s", r->step, tr_message());   /* less of a loss than the step itself */
    if (why == TRESS_E_CANCELLED || why == TRESS_E_NONFINITE) st = save(r);
    else if (r->saved != r->step && write_checkpoint(r) != TRESS_OK) return tr_fail(why, "%s", text);  /* once: no waiting where something else is wrong */
    if (st != TRESS_OK) return st;
    if (why == TRESS_E_CANCELLED)
        return tr_fail(TRESS_E_SAVED, "interrupted after step %" PRId64 " of %" PRId64 "; saved, go on with --resume latest", r->step, r->a->steps);
    return tr_fail(why, "%s; the run is saved as it was after step %" PRId64, text, r->step);
}

tress_status tr_run(const tr_run_env *env, const tress_train_args *args, const tr_run_specs *specs)
{
    tress_status st = TRESS_OK;
    run *r = NULL;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, sizeof *r));
    r = p;
    *r = (run){ .env = env, .a = args, .specs = *specs, .saved = -1,
                .n_log = 2, .lr = { (tr_lr_kind)args->lr_schedule, args->learning_rate, args->warmup_steps, args->steps } };
    TR_TRY(tr_lr_check(&r->lr));
    TR_TRY(tr_stream_new(&r->stream, env->device));
    tr_stream_set_cancel(r->stream, cancelled, r);
    TR_TRY(split_data(r));
    TR_TRY(choose_keep(r));
    TR_TRY(open_folder(r));
    TR_TRY(identify(r));
    TR_TRY(patiently(r, open_latents, r));
    tr_scratch_trim(r->stream);                 /* encoding takes more than a step, or less */
    TR_TRY(tr_identity_add(&r->identity, "data", "%s", tr_latents_digest(r->latents)));
    TR_TRY(open_trainer(r));
    st = go(r);
    if (st != TRESS_OK) st = end_early(r, st);
done:
    if (r) {
        tr_show_close(r->show);
        tr_checkpoint_close(r->resume);
        tr_trainer_state_fini(&r->room);
        tr_trainer_free(r->trainer);
        tr_feed_free(r->feed);
        tr_latents_close(r->latents);
        tr_identity_fini(&r->identity);
        tr_stream_free(r->stream);
        tr_lock_close(r->lock);
        tr_free(r->held);
        tr_free(r->name);
        tr_free(r->checkpoints);
        tr_free(r);
    }
    return st;
}
