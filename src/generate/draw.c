#include "generate/draw.h"

#include "generate/canvas.h"
#include "generate/contract.h"
#include "generate/latent.h"
#include "generate/metadata.h"
#include "generate/words.h"

#include <math.h>
#include <string.h>

#define BATCH_MAX 256

bool tr_draw_controls(const tr_bundle *m, const tress_generate_args *a) { return m->weights[TR_MODULE_CONTROLNET] && a->control_strength != 0; }

static tress_status check_args(const tress_generate_args *a)
{
    if (a->batch < 1 || a->batch > BATCH_MAX) return tr_fail(TRESS_E_ARG, "--batch %d, it must lie between 1 and %d", a->batch, BATCH_MAX);
    if (!isfinite(a->cfg_scale) || fabsf(a->cfg_scale) > 1000) return tr_fail(TRESS_E_ARG, "--cfg-scale %g, it must lie between -1000 and 1000", (double)a->cfg_scale);
    if (!isfinite(a->control_strength) || fabsf(a->control_strength) > 100)
        return tr_fail(TRESS_E_ARG, "--control-strength %g, it must lie between -100 and 100", (double)a->control_strength);
    if (!(a->control_start >= 0 && a->control_end <= 1 && a->control_start <= a->control_end))
        return tr_fail(TRESS_E_ARG, "--control-start %g and --control-end %g: expected 0 <= start <= end <= 1", (double)a->control_start, (double)a->control_end);
    if (!(a->strength >= 0 && a->strength <= 1)) return tr_fail(TRESS_E_ARG, "--strength %g, it must lie between 0 and 1", (double)a->strength);
    if (a->strength < 1 && !a->photo) return tr_fail(TRESS_E_ARG, "--strength %g needs --photo: below 1 the drawing starts from it", (double)a->strength);
    if (a->zero_text && a->embeds_in) return tr_fail(TRESS_E_ARG, "--zero-text and --embeds-in exclude each other");
    if (a->n_skip_layer < 0 || (a->n_skip_layer > 0 && !a->skip_layer)) return tr_fail(TRESS_E_ARG, "%d layers to skip, and no list of them", a->n_skip_layer);
    if (!isfinite(a->skip_layer_scale) || !isfinite(a->skip_layer_start) || !isfinite(a->skip_layer_end))
        return tr_fail(TRESS_E_ARG, "--skip-layer-scale, -start and -end must be finite");
    if ((unsigned)a->control_image > TRESS_CONTROL_RAW || (unsigned)a->control_range > TRESS_RANGE_SIGNED || (unsigned)a->control_last > TRESS_LAST_DIFFUSERS ||
        (unsigned)a->control_pooled > TRESS_POOLED_ZERO || (unsigned)a->sampler > TRESS_SAMPLER_DPMPP_2M || (unsigned)a->reference > TRESS_REFERENCE_OFF)
        return tr_fail(TRESS_E_ARG, "an option holds a value that tress.h does not list");
    return TRESS_OK;
}

/* ---- the networks ---------------------------------------------------------------------------------------- */

tress_status tr_draw_latents(tr_bundle *m, tr_stream *s, tr_tensor x, const tress_generate_args *a, const tr_schedule *schedule, const tr_words *words,
                             tr_tensor condition, tress_status (*after)(void *, tr_stream *, tr_tensor, tr_tensor, float, int), void *after_self)
{
    tress_status st = TRESS_OK;
    tr_guide *guide = NULL;
    const tr_guide_args g = {
        .transformer = m->transformer, .controlnet = tr_is_none(condition) ? NULL : m->controlnet,
        .context = words->context, .pooled = words->pooled, .context_neg = words->context_neg, .pooled_neg = words->pooled_neg,
        .context_repeat = words->repeat, .condition = condition, .cfg_scale = a->cfg_scale,
        .control_strength = a->control_strength, .control_start = a->control_start, .control_end = a->control_end,
        .control_last = a->control_last == TRESS_LAST_VENDOR, .control_pooled_zero = a->control_pooled == TRESS_POOLED_ZERO,
        .skip = a->skip_layer, .n_skip = a->n_skip_layer, .skip_scale = a->skip_layer_scale, .skip_start = a->skip_layer_start,
        .skip_end = a->skip_layer_end, .n_step = schedule->n_step, .sigma = schedule->sigma,
    };
    TR_TRY(tr_guide_new(&guide, s, &g, (int)x.shape[0], (int)x.shape[2], (int)x.shape[3]));
    const tr_sampler_args p = { .kind = a->sampler, .schedule = schedule, .velocity = tr_guide_velocity, .velocity_self = guide,
                                .after = after, .after_self = after_self };
    TR_TRY(tr_sample(s, x, &p));
done:
    tr_guide_free(guide);
    return st;
}

/* What happens between steps: the photo holds its ground, and people are told. */
typedef struct between {
    tr_stage  *stage;
    const tress_generate_args *a;
    tr_tensor  z0, noise, mask;                 /* [b, c, h, w] twice, [1, 1, h, w]; none: no blending */
    tr_preview *preview;
    int        n_step;
} between;

/* x = m x + (1 - m) (sigma noise + (1 - sigma) z0), with the noise of the start at every step: diffusers' inpainting. */
static tress_status hold_photo(const between *t, tr_stream *s, tr_tensor x, float sigma)
{
    tress_status st = TRESS_OK;
    tr_tensor known;
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_TRY(tr_scratch(s, &known, TR_F32, TR_DIMS(x.shape[0], x.shape[1], x.shape[2], x.shape[3])));
    TR_TRY(tr_axpby(s, known, sigma, t->noise, 1.0f - sigma, t->z0));
    TR_TRY(tr_blend(s, x, t->mask, x, known));
done:
    tr_scratch_pop(s, mark);
    return st;
}

static tress_status after_step(void *self, tr_stream *s, tr_tensor x, tr_tensor x0_guess, float sigma_next, int step)
{
    const between *t = self;
    const tress_hooks *hooks = &t->stage->host->hooks;
    tress_status st = TRESS_OK;
    if (!tr_is_none(t->mask)) TR_TRY(hold_photo(t, s, x, sigma_next));
    tr_stage_done(t->stage, step + 1);
    if (t->preview && (step + 1) % t->a->preview_every == 0) {
        const tr_image *view = NULL;
        TR_TRY(tr_preview_make(t->preview, s, x0_guess, &view));
        if (hooks->preview) hooks->preview(hooks->self, view, step + 1, t->n_step);
    }
done:
    return st;
}

/* ---- what the drawing is made of ------------------------------------------------------------------------- */

typedef struct drawing {
    tr_bundle  *m;
    const tress_generate_args *a;
    tr_schedule schedule;
    tr_canvas   canvas;
    tr_words    words;
    tr_tensor   condition, z0, noise, x, mask;  /* on the device, owned */
} drawing;

static tress_status set_up(drawing *d)
{
    tress_status st = TRESS_OK;
    const tr_mmdit_config *c = &d->m->transformer_config;
    const int cell = tr_vae_config_factor(&d->m->vae_config);
    const tr_canvas_rules rules = { .multiple = cell * c->patch, .side_max = c->pos_max * c->patch * cell, .side_own = c->sample_size * cell,
                                    .cell = cell, .needs_sketch = tr_draw_controls(d->m, d->a) };
    TR_TRY(check_args(d->a));
    TR_TRY(tr_schedule_make(&d->schedule, &d->m->schedule, d->a->n_step, (double)d->a->shift, (double)d->a->strength));
    TR_TRY(tr_canvas_make(&d->canvas, d->a, &rules));
    if (d->a->width > 0 && !d->a->photo && (d->canvas.width != d->a->width || d->canvas.height != d->a->height))
        tr_host_note(d->m->host, "--size %dx%d is rounded to %dx%d: each side must be a multiple of %d", d->a->width, d->a->height,
                     d->canvas.width, d->canvas.height, rules.multiple);
    if (rules.needs_sketch && d->m->controlnet_config.channels_extra > 0)
        TR_TRY(tr_fail(TRESS_E_CONTRACT, "%s reads %d channels besides the control latent (an inpainting net); tress draws with ControlNets that read a sketch",
                       tr_weights_where(d->m->weights[TR_MODULE_CONTROLNET]), d->m->controlnet_config.channels_extra));
    if (rules.needs_sketch && d->m->controlnet_config.zero_pooled && d->a->control_range == TRESS_RANGE_VENDOR)
        tr_host_note(d->m->host, "this ControlNet is of the InstantX kind, which was trained with --control-range signed");
    TR_TRY(tr_contract_keep(d->m, d->a, d->canvas.width, d->canvas.height));
done:
    return st;
}

static tress_status encode_pictures(drawing *d)
{
    tress_status st = TRESS_OK;
    tr_stage stage = { 0 };
    tr_planes p = { 0 };
    const bool control = d->canvas.control.data != NULL, photo = d->canvas.rgb.data != NULL;
    if (!control && !photo) return TRESS_OK;
    TR_TRY(tr_bundle_use(d->m, TR_WANT_VAE));
    TR_TRY(tr_stage_begin(&stage, d->m->host, "encode", control + photo));
    if (control) {
        const tr_planes from = d->canvas.control;
        TR_TRY(tr_planes_new(&p, 3, from.h, from.w));
        memcpy(p.data, from.data, sizeof(float) * 3 * (size_t)from.h * (size_t)from.w);
        tr_control_range_apply(p, d->a->control_range);
        TR_TRY(tr_latent_encode(&d->condition, d->m, stage.stream, p, !d->m->controlnet_config.zero_pooled, 1));
        tr_planes_fini(&p);
        tr_stage_done(&stage, 1);
    }
    if (photo) {
        const tr_planes from = d->canvas.rgb, mask = d->canvas.mask;
        TR_TRY(tr_planes_new(&p, 3, from.h, from.w));
        for (int64_t i = 0; i < (int64_t)3 * from.h * from.w; i++) p.data[i] = 2 * from.data[i] - 1;
        TR_TRY(tr_latent_encode(&d->z0, d->m, stage.stream, p, true, d->a->batch));
        TR_TRY(tr_device_take(d->m->host->device, &d->mask, TR_F32, TR_DIMS(1, 1, mask.h, mask.w)));
        TR_TRY(tr_upload(stage.stream, d->mask, mask.data));
        TR_TRY(tr_stream_sync(stage.stream));
        tr_stage_done(&stage, control + 1);
    }
    tr_stage_book(&stage, "vae encode", tr_weights_bytes(d->m->weights[TR_MODULE_VAE]));
done:
    tr_stage_end(&stage);
    tr_planes_fini(&p);
    return st;
}

static tress_status sample(drawing *d, tr_result *r)
{
    tress_status st = TRESS_OK;
    tr_stage stage = { 0 };
    tr_preview *preview = NULL;
    tr_host *host = d->m->host;
    const tr_mmdit_config *c = &d->m->transformer_config;
    const int f = tr_vae_config_factor(&d->m->vae_config), h = d->canvas.height / f, w = d->canvas.width / f;
    const tr_dims dims = TR_DIMS(d->a->batch, c->channels_in, h, w);
    const bool blend = d->canvas.photo && (d->a->inpaint || d->a->reference == TRESS_REFERENCE_AUTO);
    const bool previews = d->a->preview_every > 0 && host->previews;
    TR_TRY(tr_bundle_use(d->m, TR_WANT_TRANSFORMER | (tr_is_none(d->condition) ? 0 : TR_WANT_CONTROLNET) | (previews ? TR_WANT_VAE : 0)));
    TR_TRY(tr_stage_begin(&stage, host, "sample", d->schedule.n_step));
    TR_TRY(tr_noise_make(&d->noise, stage.stream, dims, r->seed, d->a->latents_in));
    TR_TRY(tr_device_take(host->device, &d->x, TR_F32, dims));
    const float sigma = d->schedule.sigma[0];
    if (d->a->strength < 1) TR_TRY(tr_axpby(stage.stream, d->x, sigma, d->noise, 1.0f - sigma, d->z0));
    else TR_TRY(tr_copy(stage.stream, d->x, d->noise));
    if (previews) TR_TRY(tr_preview_new(&preview, d->m, c->channels_in, h, w));
    between t = { .stage = &stage, .a = d->a, .z0 = d->z0, .noise = d->noise, .mask = blend ? d->mask : tr_none(), .preview = preview,
                  .n_step = d->schedule.n_step };
    TR_TRY(tr_draw_latents(d->m, stage.stream, d->x, d->a, &d->schedule, &d->words, d->condition, after_step, &t));
    if (d->a->latents_out && !tr_device_is_dry(host->device)) TR_TRY(tr_latent_save(stage.stream, d->x, "latents", d->a->latents_out));
    tr_stage_book(&stage, "sample", tr_weights_bytes(d->m->weights[TR_MODULE_TRANSFORMER]) +
                                        (tr_is_none(d->condition) ? 0 : tr_weights_bytes(d->m->weights[TR_MODULE_CONTROLNET])));
done:
    tr_stage_end(&stage);
    tr_preview_free(preview);
    return st;
}

static tress_status decode(drawing *d, tr_result *r)
{
    tress_status st = TRESS_OK;
    tr_stage stage = { 0 };
    tr_planes p = { 0 };
    TR_TRY(tr_bundle_use(d->m, TR_WANT_VAE));
    TR_TRY(tr_stage_begin(&stage, d->m->host, "decode", r->n));
    for (int i = 0; i < r->n; i++) {
        TR_TRY(tr_latent_decode(&p, d->m, stage.stream, d->x, i, d->a->vae_band));
        if (!tr_device_is_dry(d->m->host->device)) TR_TRY(tr_canvas_finish(&r->image[i], &d->canvas, p));
        tr_planes_fini(&p);
        tr_stage_done(&stage, i + 1);
    }
    tr_stage_book(&stage, "vae decode", tr_weights_bytes(d->m->weights[TR_MODULE_VAE]));
done:
    tr_stage_end(&stage);
    tr_planes_fini(&p);
    return st;
}

/* The pictures that are no drawing, and the words about them. */
static tress_status tell(const drawing *d, tr_result *r)
{
    tress_status st = TRESS_OK;
    if (d->canvas.control.data) TR_TRY(tr_planes_image(&r->control, d->canvas.control, 8));
    if (d->canvas.alpha.data) TR_TRY(tr_planes_image(&r->alpha, d->canvas.alpha, 16));
    for (int i = 0; i < r->n; i++) {
        TR_TRY(tr_metadata_parameters(&r->parameters[i], d->m, d->a, r, i));
        TR_TRY(tr_metadata_json(&r->json[i], d->m, d->a, r, i));
    }
done:
    return st;
}

static tress_status new_result(tr_result **out, const tress_generate_args *a)
{
    tress_status st = TRESS_OK;
    tr_result *r = NULL;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, sizeof *r));
    r = p;
    TR_TRY(tr_alloc_array(&p, a->batch, sizeof *r->image));
    r->image = p;
    TR_TRY(tr_alloc_array(&p, a->batch, sizeof *r->parameters));
    r->parameters = p;
    TR_TRY(tr_alloc_array(&p, a->batch, sizeof *r->json));
    r->json = p;
    r->n = a->batch;
    r->seed = a->seed;
    if (a->seed_random) TR_TRY(tr_random_seed(&r->seed));
    *out = r;
    r = NULL;
done:
    tr_result_free(r);
    return st;
}

void tr_result_free(tr_result *r)
{
    if (!r) return;
    for (int i = 0; i < r->n; i++) {
        tr_image_free(r->image[i]);
        tr_free(r->parameters[i]);
        tr_free(r->json[i]);
    }
    tr_free(r->image);
    tr_free(r->parameters);
    tr_free(r->json);
    tr_image_free(r->control);
    tr_image_free(r->alpha);
    tr_free(r);
}

tress_status tr_draw(tr_result **out, tr_bundle *m, const tress_generate_args *a)
{
    tress_status st = TRESS_OK;
    tr_result *r = NULL;
    drawing d = { .m = m, .a = a };
    TR_ASSERT(m->weights[TR_MODULE_TRANSFORMER] && m->weights[TR_MODULE_VAE]);
    TR_TRY(set_up(&d));                                             /* everything that costs nothing is checked before anything is read */
    TR_TRY(new_result(&r, a));
    r->width = d.canvas.width;
    r->height = d.canvas.height;
    TR_TRY(tr_bundle_scan(m));
    TR_TRY(tr_words_get(&d.words, m, a));
    TR_TRY(encode_pictures(&d));
    TR_TRY(sample(&d, r));
    TR_TRY(decode(&d, r));
    TR_TRY(tell(&d, r));
    *out = r;
    r = NULL;
done:
    tr_result_free(r);
    tr_words_fini(&d.words);
    tr_canvas_fini(&d.canvas);
    tr_device_give(m->host->device, d.condition);
    tr_device_give(m->host->device, d.z0);
    tr_device_give(m->host->device, d.noise);
    tr_device_give(m->host->device, d.x);
    tr_device_give(m->host->device, d.mask);
    return st;
}
