/* tress bench: the parts of a drawing timed on random numbers, beside the fastest product that this machine does. */
#include "api/train_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT_MAX 1000
#define TENSOR_MAX 16

void tress_bench_defaults(tress_bench_args *a)
{
    *a = (tress_bench_args){ .what = "step", .batch = 1, .n_repeat = 10, .n_step = 28, .text_rows = 333, .cfg_scale = 4.5f, .control_pooled = TRESS_POOLED_TEXT, .rank = 16 };
}

typedef struct bench {
    tr_host    *host;
    const tress_bench_args *a;
    tr_preset   preset;
    tr_bundle  *m;                              /* a real model; NULL: random weights, below */
    tr_weights *weights[TR_MODULE_N];
    tr_mmdit   *transformer;
    tr_controlnet *controlnet;
    tr_vae     *vae;
    tr_residency residency;                     /* on a GPU: what comes from host memory */
    tr_stream  *stream;
    tr_tensor   taken[TENSOR_MAX];
    int         n_taken;
    double      limit_tflops;
    char        more[64];                       /* JSON of what the part alone has */
    void      (*line)(void *self, const char *json);
    void       *self;
} bench;

/* ---- what it runs on ------------------------------------------------------------------------------------- */
static tress_status random_tensor(bench *b, tr_tensor *out, tr_dims d)
{
    tress_status st = TRESS_OK;
    void *host = NULL;
    int64_t n = 1;
    for (int i = 0; i < d.rank; i++) n *= d.n[i];
    TR_ASSERT(b->n_taken < TENSOR_MAX);
    TR_TRY(tr_alloc_array(&host, n, sizeof(float)));
    tr_philox_normal(host, n, (uint64_t)b->n_taken + 1, 0);
    TR_TRY(tr_device_take(b->host->device, out, TR_F32, d));
    b->taken[b->n_taken++] = *out;
    TR_TRY(tr_upload(b->stream, *out, host));
    TR_TRY(tr_stream_sync(b->stream));
done:
    tr_free(host);
    return st;
}

/* Random weights of a network, where the residency says. */
static tress_status draw_weights(bench *b, tr_module module)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_weights_random(&b->weights[module], b->host->device));
    TR_TRY(tr_weights_travel(b->weights[module], &b->residency.group[module]));
done:
    return st;
}

static tress_status open_parts(bench *b, const tress_model_args *model, int want)
{
    static const tress_model_args defaults;
    tress_status st = TRESS_OK;
    tr_device *d = b->host->device;
    if (!b->a->preset) {
        TR_TRY(tr_bundle_open(&b->m, b->host, model ? model : &defaults, want | TR_WANT_LATER));
        tr_bundle_reside(b->m, &b->residency);
        TR_TRY(tr_bundle_use(b->m, want));
        b->transformer = b->m->transformer;
        b->controlnet = b->m->controlnet;
        b->vae = b->m->vae;
        goto done;
    }
    if (want & TR_WANT_TRANSFORMER) {
        TR_TRY(draw_weights(b, TR_MODULE_TRANSFORMER));
        TR_TRY(tr_mmdit_open(&b->transformer, d, b->weights[TR_MODULE_TRANSFORMER], &b->preset.transformer));
    }
    if (want & TR_WANT_CONTROLNET) {
        TR_TRY(draw_weights(b, TR_MODULE_CONTROLNET));
        TR_TRY(tr_controlnet_open(&b->controlnet, d, b->weights[TR_MODULE_CONTROLNET], &b->preset.controlnet));
    }
    if (want & TR_WANT_VAE) {
        TR_TRY(draw_weights(b, TR_MODULE_VAE));
        TR_TRY(tr_vae_open(&b->vae, d, b->weights[TR_MODULE_VAE], &b->preset.vae));
    }
done:
    return st;
}

static void finish(bench *b)
{
    tr_stream_free(b->stream);
    for (int i = 0; i < b->n_taken; i++) tr_device_give(b->host->device, b->taken[i]);
    if (b->m) {
        tr_bundle_close(b->m);
        return;
    }
    tr_mmdit_close(b->transformer);
    tr_controlnet_close(b->controlnet);
    tr_vae_close(b->vae);
    for (int i = 0; i < TR_MODULE_N; i++) tr_weights_close(b->weights[i]);
}

/* ---- timing ---------------------------------------------------------------------------------------------- */
static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct timing { double median, least, most, flops; } timing;

static tress_status time_it(timing *out, bench *b, tress_status (*run)(void *self, tr_stream *s), void *self)
{
    tress_status st = TRESS_OK;
    double t[REPEAT_MAX], flops = 0;
    const int n = b->a->n_repeat;
    for (int i = -1; i < n; i++) {
        TR_TRY(tr_stream_poll(b->stream));
        const double begin = tr_seconds(), before = tr_stream_count(b->stream).flops;
        TR_TRY(run(self, b->stream));
        TR_TRY(tr_stream_sync(b->stream));
        if (i >= 0) t[i] = 1000 * (tr_seconds() - begin);
        flops = tr_stream_count(b->stream).flops - before;
    }
    qsort(t, (size_t)n, sizeof *t, by_value);
    *out = (timing){ t[n / 2], t[0], t[n - 1], flops };
done:
    return st;
}

typedef struct product { tr_tensor x, w, y; } product;

static tress_status run_product(void *self, tr_stream *s)
{
    const product *p = self;
    return tr_linear(s, p->y, p->x, p->w, tr_none(), tr_none(), tr_none(), NULL);
}

/* The rate of a large square product in the type of the activations: what everything else is held against. */
static tress_status measure_limit(bench *b)
{
    tress_status st = TRESS_OK;
    timing t;
    product p;
    const tr_arena_mark mark = tr_scratch_push(b->stream);
    const tr_dtype type = tr_device_dtype(b->host->device);
    const int64_t n = tr_device_own_bytes(b->host->device) > 0 ? 8192 : 1024;         /* a GPU, or the CPU */
    tr_tensor x, w;
    TR_TRY(random_tensor(b, &x, TR_DIMS(n, n)));
    TR_TRY(random_tensor(b, &w, TR_DIMS(n, n)));
    TR_TRY(tr_scratch(b->stream, &p.x, type, TR_DIMS(n, n)));
    TR_TRY(tr_scratch(b->stream, &p.w, type, TR_DIMS(n, n)));
    TR_TRY(tr_scratch(b->stream, &p.y, type, TR_DIMS(n, n)));
    TR_TRY(tr_copy(b->stream, p.x, x));
    TR_TRY(tr_copy(b->stream, p.w, w));
    TR_TRY(time_it(&t, b, run_product, &p));
    b->limit_tflops = t.flops / t.least / 1e9;
    for (int i = 0; i < 2; i++) tr_device_give(b->host->device, b->taken[--b->n_taken]);
done:
    tr_scratch_pop(b->stream, mark);
    return st;
}

/* Time run and tell it. */
static tress_status report(bench *b, const char *what, tress_status (*run)(void *self, tr_stream *s), void *self)
{
    static const char *const type_name[] = { [TR_F32] = "f32", [TR_F16] = "f16", [TR_BF16] = "bf16" };
    tress_status st = TRESS_OK;
    timing t;
    char text[1024];
    if (tr_device_is_dry(b->host->device)) return run(self, b->stream);
    (void)tr_device_peak_reset(b->host->device);
    TR_TRY(time_it(&t, b, run, self));
    snprintf(text, sizeof text,
             "{\"what\": \"%s\", \"model\": \"%s\", \"width\": %d, \"height\": %d, \"batch\": %d, %s\"guided\": %s, \"text_rows\": %d, \"reference_rows\": %d, \"draw_rows\": %d, \"dtype\": \"%s\", "
             "\"ms\": %.3f, \"ms_least\": %.3f, \"ms_most\": %.3f, \"tflop\": %.4f, \"tflops\": %.2f, \"limit_tflops\": %.2f, \"share\": %.3f, "
             "\"peak_bytes\": %" PRId64 ", \"weight_bytes\": %" PRId64 ", \"device\": \"%s\"}",
             what, b->a->preset ? b->a->preset : b->m->model, b->a->width, b->a->height, b->a->batch, b->more, b->a->cfg_scale > 1 ? "true" : "false", b->a->text_rows,
             b->a->reference_rows, b->a->draw_rows,
             type_name[tr_device_dtype(b->host->device)], t.median, t.least, t.most, t.flops / 1e12, t.flops / t.median / 1e9, b->limit_tflops,
             t.flops / t.median / 1e9 / b->limit_tflops, tr_device_peak(b->host->device), tr_device_weight_bytes(b->host->device), tr_device_name(b->host->device));
    b->line(b->self, text);
done:
    return st;
}

/* ---- networks -------------------------------------------------------------------------------------------- */
typedef struct step { tr_guide *guide; tr_refer *refer; tr_tensor x, v; tr_schedule schedule; int32_t *row; float *weight; } step;

static tress_status run_step(void *self, tr_stream *s)
{
    step *k = self;
    const int i = k->schedule.n_step / 2;
    return tr_guide_velocity(k->guide, s, k->v, k->x, k->schedule.sigma[i], i);
}

static tress_status run_sample(void *self, tr_stream *s)
{
    step *k = self;
    const tr_sampler_args p = { .kind = TRESS_SAMPLER_EULER, .schedule = &k->schedule, .velocity = tr_guide_velocity, .velocity_self = k->guide };
    return tr_sample(s, k->x, &p);
}

typedef struct pixels { bench *b; tr_tensor image, latent, mean; } pixels;

static tress_status run_encode(void *self, tr_stream *s)
{
    const pixels *p = self;
    return tr_vae_encode(p->b->vae, s, p->mean, tr_none(), p->image, 0);
}

static tress_status run_decode(void *self, tr_stream *s)
{
    const pixels *p = self;
    return tr_vae_decode(p->b->vae, s, p->image, p->latent, 0);
}

static void drop_step(step *k)
{
    tr_guide_free(k->guide);
    tr_refer_free(k->refer);
    tr_free(k->row);
    tr_free(k->weight);
}

/* The first tokens are drawn, the last are the reference's. */
static tress_status make_refer(bench *b, step *k, tr_guide_args *g, int64_t t)
{
    tress_status st = TRESS_OK;
    const int64_t n = b->a->reference_rows, n_drawn = b->a->draw_rows > 0 ? b->a->draw_rows : t;
    tress_generate_args defaults;
    tr_refer_args r = { .transformer = b->transformer, .policy = TRESS_REFERENCE_CLEAN, .n_row = n, .n_token = n_drawn, .n_step = b->a->n_step, .zero_rows = 333 };
    void *p = NULL;
    if (n > t || n_drawn > t)
        TR_TRY(tr_fail(TRESS_E_ARG, "--reference-rows %" PRId64 ", --draw-rows %" PRId64 ": this size has %" PRId64 " tokens", n, n_drawn, t));
    TR_TRY(tr_alloc_array(&p, t, sizeof *k->row));
    k->row = p;
    for (int64_t i = 0; i < t; i++) k->row[i] = (int32_t)i;
    if (n_drawn < t) {
        g->row = k->row;
        g->n_row = n_drawn;
    }
    if (n == 0) goto done;
    TR_TRY(tr_alloc_array(&p, n_drawn, sizeof *k->weight));
    k->weight = p;
    for (int64_t i = 0; i < n_drawn; i++) k->weight[i] = 0.5f + (float)(i % 7) / 7;
    tress_generate_defaults(&defaults);
    TR_TRY(tr_around_window(&r.begin, &r.end, &defaults, tr_mmdit_get_config(b->transformer)->n_block));
    TR_TRY(random_tensor(b, &r.picture, TR_DIMS(1, 16, b->a->height / 8, b->a->width / 8)));
    r.row = k->row + t - n;
    r.weight = k->weight;
    TR_TRY(tr_refer_new(&k->refer, b->stream, &r));
    g->refer[g->n_refer++] = k->refer;
done:
    return st;
}

static bool travels(const bench *b, tr_module module)
{
    const tr_weights *w = b->m ? b->m->weights[module] : b->weights[module];
    return w && tr_weights_travels(w);
}

static tress_status make_guide(bench *b, step *k, bool control)
{
    tress_status st = TRESS_OK;
    const tress_bench_args *a = b->a;
    const tr_mmdit_config *c = tr_mmdit_get_config(b->transformer);
    const bool guided = a->cfg_scale > 1;
    const int h = a->height / 8, w = a->width / 8;
    tr_schedule_config c_schedule;
    TR_TRY(tr_schedule_config_read(&c_schedule, NULL, "defaults"));
    TR_TRY(tr_schedule_make(&k->schedule, &c_schedule, a->n_step, 0, 1));
    tr_guide_args g = { .transformer = b->transformer, .controlnet = control ? b->controlnet : NULL, .cfg_scale = a->cfg_scale, .control_strength = 1,
                        .control_end = 1, .control_last = true, .control_pooled_zero = a->control_pooled == TRESS_POOLED_ZERO, .n_step = a->n_step, .sigma = k->schedule.sigma };
    g.weights_travel = travels(b, TR_MODULE_TRANSFORMER) || (control && travels(b, TR_MODULE_CONTROLNET));
    TR_TRY(random_tensor(b, &g.context, TR_DIMS(1, a->text_rows, c->d_context)));
    TR_TRY(random_tensor(b, &g.pooled, TR_DIMS(1, c->d_pooled)));
    if (guided) {
        TR_TRY(random_tensor(b, &g.context_neg, TR_DIMS(1, a->text_rows, c->d_context)));
        TR_TRY(random_tensor(b, &g.pooled_neg, TR_DIMS(1, c->d_pooled)));
    }
    if (control) TR_TRY(random_tensor(b, &g.condition, TR_DIMS(1, 16, h, w)));
    TR_TRY(random_tensor(b, &k->x, TR_DIMS(a->batch, c->channels_in, h, w)));
    TR_TRY(random_tensor(b, &k->v, TR_DIMS(a->batch, c->channels_out, h, w)));
    if (a->reference_rows > 0 || a->draw_rows > 0) TR_TRY(make_refer(b, k, &g, (int64_t)(h / c->patch) * (w / c->patch)));
    TR_TRY(tr_guide_new(&k->guide, b->stream, &g, a->batch, h, w));
done:
    return st;
}

static tress_status make_pixels(bench *b, pixels *p)
{
    tress_status st = TRESS_OK;
    const int64_t h = b->a->height, w = b->a->width;
    p->b = b;
    TR_TRY(random_tensor(b, &p->image, TR_DIMS(1, 3, h, w)));
    TR_TRY(random_tensor(b, &p->latent, TR_DIMS(1, 16, h / 8, w / 8)));
    TR_TRY(random_tensor(b, &p->mean, TR_DIMS(1, 16, h / 8, w / 8)));
done:
    return st;
}

static tress_status bench_guide(bench *b, const char *what, bool control)
{
    tress_status st = TRESS_OK;
    step k = { 0 };
    TR_TRY(make_guide(b, &k, control));
    TR_TRY(report(b, what, run_step, &k));
done:
    drop_step(&k);
    return st;
}

static tress_status bench_transformer(bench *b) { return bench_guide(b, "transformer", false); }
static tress_status bench_step(bench *b) { return bench_guide(b, "step", true); }

typedef struct control { bench *b; tr_controlnet_args a; tr_tensor residual[TR_BLOCK_MAX]; float timestep[2 * 64]; } control;

static tress_status run_controlnet(void *self, tr_stream *s)
{
    const control *k = self;
    return tr_controlnet_forward(k->b->controlnet, s, &k->a);
}

static tress_status bench_controlnet(bench *b)
{
    tress_status st = TRESS_OK;
    control k = { .b = b };
    const tr_controlnet_config *c = tr_controlnet_get_config(b->controlnet);
    const int64_t n = b->a->cfg_scale > 1 ? 2 * b->a->batch : b->a->batch, h = b->a->height / 8, w = b->a->width / 8;
    const int64_t t = h / c->patch * (w / c->patch), d = (int64_t)c->n_head * c->d_head;
    const tr_dtype type = tr_device_dtype(b->host->device);
    const tr_arena_mark mark = tr_scratch_push(b->stream);
    if (c->d_context > 0 || c->pos_max > 0)
        TR_TRY(tr_fail(TRESS_E_ARG, "bench controlnet times nets of the 8B kind; this one has a stream of words or positions of its own: use step"));
    if (n > 2 * 64) TR_TRY(tr_fail(TRESS_E_ARG, "--batch %d, it must lie between 1 and 64", b->a->batch));
    for (int64_t i = 0; i < n; i++) k.timestep[i] = 700;
    k.a.timestep = tr_view(k.timestep, TR_F32, TR_DIMS(n));
    TR_TRY(random_tensor(b, &k.a.tokens, TR_DIMS(n, t, d)));
    TR_TRY(random_tensor(b, &k.a.condition, TR_DIMS(n, c->channels_in + c->channels_extra, h, w)));
    TR_TRY(random_tensor(b, &k.a.pooled, TR_DIMS(n, c->d_pooled)));
    for (int i = 0; i < c->n_block; i++) TR_TRY(tr_scratch(b->stream, &k.residual[i], type, TR_DIMS(n, t, d)));
    k.a.residual = k.residual;
    TR_TRY(report(b, "controlnet", run_controlnet, &k));
done:
    tr_scratch_pop(b->stream, mark);
    return st;
}

static tress_status bench_vae(bench *b)
{
    tress_status st = TRESS_OK;
    pixels p;
    TR_TRY(make_pixels(b, &p));
    TR_TRY(report(b, "vae-encode", run_encode, &p));
    TR_TRY(report(b, "vae-decode", run_decode, &p));
done:
    return st;
}

typedef struct words { tr_clip *clip; tr_t5 *t5; tr_tensor ids, hidden, pooled; } words;

static tress_status run_clip(void *self, tr_stream *s)
{
    const words *k = self;
    return tr_clip_encode(k->clip, s, k->hidden, k->pooled, k->ids, 1);
}

static tress_status run_t5(void *self, tr_stream *s)
{
    const words *k = self;
    return tr_t5_encode(k->t5, s, k->hidden, k->ids);
}

/* One encoder at a time, as a drawing has them; a guided drawing encodes both texts. */
static tress_status bench_encoder(bench *b, tr_module module)
{
    enum { ROWS_MAX = 256 };
    tress_status st = TRESS_OK;
    words k = { 0 };
    tr_weights *w = NULL;
    int32_t ids[ROWS_MAX];
    const bool t5 = module == TR_MODULE_T5;
    tr_clip_config c = module == TR_MODULE_CLIP_L ? b->preset.clip_l : b->preset.clip_g;
    tr_t5_config c5 = b->preset.t5;
    const tr_arena_mark mark = tr_scratch_push(b->stream);
    if (b->a->preset) TR_TRY(tr_weights_random(&w, b->host->device));
    else TR_TRY(tr_bundle_encoder(&w, b->m, module));
    if (!w) goto done;
    if (!b->a->preset) {
        if (t5) TR_TRY(tr_t5_config_read(&c5, w));
        else TR_TRY(tr_clip_config_read(&c, w));
        TR_TRY(tr_weights_place(w, b->host->device));
    }
    const int64_t rows = t5 ? ROWS_MAX : c.n_position < ROWS_MAX ? c.n_position : ROWS_MAX;
    for (int i = 0; i < rows; i++) ids[i] = (i * 37 + 5) % (t5 ? c5.n_vocab : c.n_vocab);
    k.ids = tr_view(ids, TR_I32, TR_DIMS(1, rows));
    TR_TRY(tr_scratch(b->stream, &k.hidden, TR_F32, TR_DIMS(1, rows, t5 ? c5.d : c.d)));
    if (t5) {
        TR_TRY(tr_t5_open(&k.t5, b->host->device, w, &c5));
    } else {
        TR_TRY(tr_scratch(b->stream, &k.pooled, TR_F32, TR_DIMS(1, c.d_projection)));
        TR_TRY(tr_clip_open(&k.clip, b->host->device, w, &c));
    }
    TR_TRY(report(b, t5 ? "t5" : module == TR_MODULE_CLIP_L ? "clip-l" : "clip-g", t5 ? run_t5 : run_clip, &k));
done:
    tr_scratch_pop(b->stream, mark);
    tr_clip_close(k.clip);
    tr_t5_close(k.t5);
    tr_weights_close(w);
    return st;
}

static tress_status bench_text(bench *b)
{
    tress_status st = TRESS_OK;
    TR_TRY(bench_encoder(b, TR_MODULE_CLIP_L));
    TR_TRY(bench_encoder(b, TR_MODULE_CLIP_G));
    TR_TRY(bench_encoder(b, TR_MODULE_T5));
done:
    return st;
}

/* From the control picture to pixels, words encoded before: encode, all steps, decode. */
static tress_status bench_generate(bench *b)
{
    tress_status st = TRESS_OK;
    step k = { 0 };
    pixels p;
    TR_TRY(make_guide(b, &k, true));
    TR_TRY(make_pixels(b, &p));
    TR_TRY(report(b, "encode", run_encode, &p));
    TR_TRY(report(b, "sample", run_sample, &k));
    TR_TRY(report(b, "decode", run_decode, &p));
done:
    drop_step(&k);
    return st;
}

/* ---- training -------------------------------------------------------------------------------------------- */
typedef struct lesson { tr_trainer *trainer; tr_train_batch batch; } lesson;

/* Forward, backward and the optimiser's step. */
static tress_status run_lesson(void *self, tr_stream *s)
{
    tress_status st = TRESS_OK;
    lesson *k = self;
    tr_train_loss loss;
    tr_train_update update;
    TR_TRY(tr_trainer_accumulate(k->trainer, s, &k->batch, 1, &loss, NULL));
    TR_TRY(tr_trainer_update(k->trainer, s, 1e-4, loss.i_bad < 0, &update));
done:
    return st;
}

static tress_status bench_train_step(bench *b)
{
    static const char *const level[] = { [TR_KEEP_ALL] = "off", [TR_KEEP_ATTENTION] = "attention", [TR_KEEP_INPUT] = "on" };
    tress_status st = TRESS_OK;
    lesson k = { 0 };
    float *noise = NULL, *mask = NULL, sigma[64];
    void *p = NULL;
    tr_trainer_spec spec = TR_TRAINER_SPEC_DEFAULT;
    const tress_checkpointing asked = b->a->gradient_checkpointing;
    const int64_t h = b->a->height / 8, w = b->a->width / 8, n = b->a->batch, c = tr_mmdit_get_config(b->transformer)->channels_in;
    spec.keep = asked == TRESS_CHECKPOINTING_ON ? TR_KEEP_INPUT : asked == TRESS_CHECKPOINTING_ATTENTION ? TR_KEEP_ATTENTION : TR_KEEP_ALL;
    spec.precision = tr_device_dtype(b->host->device);
    spec.adapter.rank = b->a->rank;
    spec.adapter.alpha = (float)b->a->rank;
    spec.zero_text_rows = b->a->text_rows;
    snprintf(b->more, sizeof b->more, "\"rank\": %d, \"gradient_checkpointing\": \"%s\", ", b->a->rank, level[spec.keep]);
    TR_TRY(tr_alloc_array(&p, n * c * h * w, sizeof *noise));
    noise = p;
    TR_TRY(tr_alloc_array(&p, n * h * w, sizeof *mask));
    mask = p;
    tr_philox_normal(noise, n * c * h * w, 1, 0);
    for (int64_t i = 0; i < n * h * w; i++) mask[i] = 1;
    for (int64_t i = 0; i < n; i++) sigma[i] = 0.5f;
    k.batch = (tr_train_batch){ .b = n, .h = h, .w = w, .latents = noise, .control = noise, .noise = noise, .mask = mask, .sigma = sigma };
    TR_TRY(tr_trainer_new(&k.trainer, b->stream, b->transformer, b->controlnet, &spec));
    TR_TRY(run_lesson(&k, b->stream));
    const size_t scratch = tr_stream_count(b->stream).scratch_peak;
    tr_scratch_trim(b->stream);
    TR_TRY(tr_scratch_reserve(b->stream, scratch));         /* in one piece, as a run takes it */
    TR_TRY(report(b, "train-step", run_lesson, &k));
done:
    tr_trainer_free(k.trainer);
    tr_free(noise);
    tr_free(mask);
    return st;
}

typedef struct bench_part { const char *name; int want; tress_status (*run)(bench *b); } bench_part;
static const bench_part parts[] = {
    { "transformer", TR_WANT_TRANSFORMER, bench_transformer },
    { "controlnet", TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET, bench_controlnet },
    { "step", TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET, bench_step },
    { "vae", TR_WANT_VAE, bench_vae },
    { "text", 0, bench_text },
    { "generate", TR_WANT_ALL, bench_generate },
    { "train-step", TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET, bench_train_step },
};
#define N_PART (sizeof parts / sizeof *parts)

static tress_status run_part(bench *b, tr_host *h, const tress_model_args *model, tress_bench_args *a, const bench_part *part)
{
    tress_status st = TRESS_OK;
    b->host = h;
    b->a = a;
    if (a->preset) TR_TRY(tr_preset_get(&b->preset, a->preset));
    TR_TRY(tr_stream_new(&b->stream, h->device));
    tr_stream_set_cancel(b->stream, h->hooks.cancelled, h->hooks.self);
    TR_TRY(open_parts(b, model, part->want));
    const int side = b->transformer ? 8 * tr_mmdit_get_config(b->transformer)->sample_size : a->preset ? 8 * b->preset.transformer.sample_size : 256;
    if (a->width == 0) a->width = a->height = side;
    if (a->width < 16 || a->height < 16 || a->width % 16 || a->height % 16 || a->width > 4096 || a->height > 4096)
        TR_TRY(tr_fail(TRESS_E_ARG, "--size %dx%d: each side must be a multiple of 16 up to 4096", a->width, a->height));
    TR_TRY(measure_limit(b));
    tr_scratch_trim(b->stream);
    TR_TRY(part->run(b));
done:
    return st;
}

/* On a GPU that is too small for this: what comes from host memory, as in a drawing. All that is timed stays there otherwise. */
static tress_status find_residency(tr_residency *out, const tress *t, const tress_model_args *model, const tress_bench_args *args, const bench_part *part)
{
    tress_status st = TRESS_OK;
    tr_host dry = { 0 };
    bench b = { 0 };
    tress_bench_args a = *args;
    *out = (tr_residency){ .keep = TR_WANT_ALL };
    if (tr_device_is_host(t->host.device) || t->host.card_max == 0) return TRESS_OK;
    for (int pass = 0; pass < 2; pass++) {                      /* once to learn how large networks of random weights are */
        TR_TRY(tr_host_init_dry(&dry, &t->host));
        b = (bench){ .residency = *out };
        TR_TRY(run_part(&b, &dry, model, &a, part));
        for (int i = 0; i < TR_MODULE_N; i++) {
            const tr_weights *w = b.m ? b.m->weights[i] : b.weights[i];
            if (w) tr_weights_groups(w, &out->group[i]);
        }
        if (pass == 1) tr_residency_lighten(out, tr_device_peak_ever(dry.device) - t->host.card_max);
        finish(&b);
        b = (bench){ 0 };
        tr_host_fini(&dry);
    }
done:
    finish(&b);
    if (dry.device) tr_host_fini(&dry);
    return st;
}

tress_status tress_bench(tress *t, const tress_model_args *model, const tress_bench_args *args, void (*line)(void *self, const char *json), void *self)
{
    tress_status st = TRESS_OK;
    bench b = { .line = line, .self = self };
    tress_bench_args a;
    size_t k = 0;
    if (!t || !args || !args->what || !line) return tr_fail(TRESS_E_ARG, "tress_bench: handle, args, what and line must be given");
    a = *args;
    while (k < N_PART && strcmp(parts[k].name, a.what) != 0) k++;
    if (k == N_PART) return tr_fail(TRESS_E_ARG, "bench %s: expected transformer, controlnet, step, vae, text, generate or train-step", a.what);
    if (a.n_repeat < 1 || a.n_repeat > REPEAT_MAX) return tr_fail(TRESS_E_ARG, "--repeat %d, it must lie between 1 and %d", a.n_repeat, REPEAT_MAX);
    if (a.batch < 1 || a.batch > 64) return tr_fail(TRESS_E_ARG, "--batch %d, it must lie between 1 and 64", a.batch);
    if (a.text_rows < 1 || a.text_rows > 4096) return tr_fail(TRESS_E_ARG, "--text-rows %d, it must lie between 1 and 4096", a.text_rows);
    if (a.reference_rows < 0 || a.draw_rows < 0) return tr_fail(TRESS_E_ARG, "--reference-rows %d, --draw-rows %d: expected 0 or more", a.reference_rows, a.draw_rows);
    TR_TRY(find_residency(&b.residency, t, model, &a, &parts[k]));
    TR_TRY(run_part(&b, &t->host, model, &a, &parts[k]));
done:
    finish(&b);
    return st;
}
