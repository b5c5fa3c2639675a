#include "generate/draw.h"

#include "generate/canvas.h"
#include "generate/contract.h"
#include "generate/dye.h"
#include "generate/latent.h"
#include "generate/metadata.h"
#include "generate/around.h"
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
    if (!(a->reference_strength >= 0 && a->reference_strength <= 1))
        return tr_fail(TRESS_E_ARG, "--reference-strength %g, it must lie between 0 and 1", (double)a->reference_strength);
    if (a->reference_rows < TR_AROUND_ROWS_MIN) return tr_fail(TRESS_E_ARG, "--reference-rows %d, it must be at least %d", a->reference_rows, TR_AROUND_ROWS_MIN);
    if (!isfinite(a->control_strength_outside) || a->control_strength_outside > 100)
        return tr_fail(TRESS_E_ARG, "--control-strength-outside %g, it must lie between 0 and 100", (double)a->control_strength_outside);
    if (a->control_strength_outside >= 0 && !a->photo) return tr_fail(TRESS_E_ARG, "--control-strength-outside needs --photo: its matte says what is outside");
    if (!(a->colour_start >= 0 && a->colour_start <= 1)) return tr_fail(TRESS_E_ARG, "--colour-start %g, it must lie between 0 and 1", (double)a->colour_start);
    if (!(a->colour_guide >= 0 && a->colour_guide <= 1)) return tr_fail(TRESS_E_ARG, "--colour-guide %g, it must lie between 0 and 1", (double)a->colour_guide);
    if (!(a->colour_reference >= 0 && a->colour_reference <= 4))
        return tr_fail(TRESS_E_ARG, "--colour-reference %g, it must lie between 0 and 4", (double)a->colour_reference);
    if (a->zero_text && a->embeds_in) return tr_fail(TRESS_E_ARG, "--zero-text and --embeds-in exclude each other");
    if (a->n_skip_layer < 0 || (a->n_skip_layer > 0 && !a->skip_layer)) return tr_fail(TRESS_E_ARG, "%d layers to skip, and no list of them", a->n_skip_layer);
    if (!isfinite(a->skip_layer_scale) || !isfinite(a->skip_layer_start) || !isfinite(a->skip_layer_end))
        return tr_fail(TRESS_E_ARG, "--skip-layer-scale, -start and -end must be finite");
    if ((unsigned)a->control_image > TRESS_CONTROL_RAW || (unsigned)a->control_range > TRESS_RANGE_SIGNED || (unsigned)a->control_last > TRESS_LAST_DIFFUSERS ||
        (unsigned)a->control_pooled > TRESS_POOLED_ZERO || (unsigned)a->sampler > TRESS_SAMPLER_DPMPP_2M || (unsigned)a->reference > TRESS_REFERENCE_NOISED ||
        (unsigned)a->draw_tokens > TRESS_DRAW_EDIT || (unsigned)a->blend > TRESS_BLEND_BANDS)
        return tr_fail(TRESS_E_ARG, "an option holds a value that tress.h does not list");
    return TRESS_OK;
}

/* ---- the networks ---------------------------------------------------------------------------------------- */

tress_status tr_draw_latents(tr_bundle *m, tr_stream *s, tr_tensor x, const tress_generate_args *a, const tr_schedule *schedule, const tr_words *words,
                             tr_tensor condition, const tr_draw_more *more, tress_status (*after)(void *, tr_stream *, tr_tensor, tr_tensor, float, int), void *after_self)
{
    tress_status st = TRESS_OK;
    tr_guide *guide = NULL;
    tr_guide_args g = {
        .transformer = m->transformer, .controlnet = tr_is_none(condition) ? NULL : m->controlnet,
        .context = words->context, .pooled = words->pooled, .context_neg = words->context_neg, .pooled_neg = words->pooled_neg,
        .context_repeat = words->repeat, .condition = condition, .cfg_scale = a->cfg_scale,
        .control_strength = a->control_strength, .control_start = a->control_start, .control_end = a->control_end,
        .control_last = a->control_last == TRESS_LAST_VENDOR, .control_pooled_zero = a->control_pooled == TRESS_POOLED_ZERO,
        .skip = a->skip_layer, .n_skip = a->n_skip_layer, .skip_scale = a->skip_layer_scale, .skip_start = a->skip_layer_start,
        .skip_end = a->skip_layer_end, .n_step = schedule->n_step, .sigma = schedule->sigma,
        .weights_travel = tr_weights_travels(m->weights[TR_MODULE_TRANSFORMER]) ||
                          (!tr_is_none(condition) && tr_weights_travels(m->weights[TR_MODULE_CONTROLNET])),
    };
    if (more) {
        memcpy(g.refer, more->refer, sizeof g.refer);
        g.n_refer = more->n_refer;
        g.row = more->row;
        g.n_row = more->n_row;
        g.control_row = more->control_row;
    }
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
    tr_colour  *colour;                         /* or NULL */
    const tr_schedule *schedule;
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
    if (t->colour) TR_TRY(tr_colour_after(t->colour, s, x, x0_guess, t->schedule->sigma[step], sigma_next));
    if (!tr_is_none(t->mask)) TR_TRY(hold_photo(t, s, x, sigma_next));
    tr_stage_done(t->stage, step + 1);
    if (t->preview && (step + 1) % t->a->preview_every == 0) {
        const tr_image *view = NULL;
        TR_TRY(tr_preview_make(t->preview, s, x0_guess, &view));
        if (hooks->preview) hooks->preview(hooks->self, view, step + 1, t->schedule->n_step);
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
    tress_reference policy;                     /* not AUTO */
    int         begin, end;                     /* blocks that see the reference */
    tr_around   around;                          /* with a policy, or where the sketch is weaker outside */
    float      *control_row;                    /* or NULL */
    tr_refer   *refer;                          /* or NULL */
    tr_dye      dye;                            /* where colours come from the sketch */
    tr_refer   *dyed;                           /* or NULL */
    tr_colour  *colour;                         /* or NULL */
    tr_tensor   condition, z0, filled, held, z_dye, noise, x, mask;      /* on the device, owned */
} drawing;

static bool draws_edit(const drawing *d) { return d->a->draw_tokens == TRESS_DRAW_EDIT; }

/* What of the photo the drawing refers to. */
static tress_status set_around(drawing *d, const tr_canvas_rules *rules)
{
    tress_status st = TRESS_OK;
    const tress_generate_args *a = d->a;
    const bool outside = a->control_strength_outside >= 0 && a->control_strength_outside != a->control_strength && tr_draw_controls(d->m, a);
    if (d->policy != TRESS_REFERENCE_OFF || a->colour_reference > 0) TR_TRY(tr_around_window(&d->begin, &d->end, a, d->m->transformer_config.n_block));
    if (d->policy != TRESS_REFERENCE_OFF || outside || tr_dye_wanted(a))
        TR_TRY(tr_around_make(&d->around, &d->canvas, a->reference_rows));
    if (tr_dye_wanted(a)) TR_TRY(tr_dye_make(&d->dye, &d->canvas, rules));
    if (a->colour_reference > 0 && d->dye.n_row == 0)
        tr_host_note(d->m->host, "--colour-reference: the matte holds no whole token and its neighbours, so no colours are referred to");
    if (d->policy != TRESS_REFERENCE_OFF && d->around.n_row < TR_AROUND_ROWS_MIN) {
        tr_host_note(d->m->host, "--reference %s: %" PRId64 " tokens of the photo lie outside what may change, at least %d are needed: it is left off",
                     tr_reference_name(d->policy), d->around.n_row, TR_AROUND_ROWS_MIN);
        d->policy = TRESS_REFERENCE_OFF;
    }
    if (draws_edit(d) && d->policy == TRESS_REFERENCE_OFF)
        TR_TRY(tr_fail(TRESS_E_ARG, "--draw-tokens edit needs --photo and a reference: it stands in place of the tokens that are not drawn"));
    if (draws_edit(d) && a->inpaint) TR_TRY(tr_fail(TRESS_E_ARG, "--draw-tokens edit and --inpaint exclude each other"));
    if (outside) {
        void *p = NULL;
        const int64_t n = draws_edit(d) ? d->around.n_drawn : (int64_t)d->canvas.height / rules->multiple * (d->canvas.width / rules->multiple);
        TR_TRY(tr_alloc_array(&p, n, sizeof *d->control_row));
        d->control_row = p;
        for (int64_t i = 0; i < n; i++) {
            const float m = d->canvas.soft.data[draws_edit(d) ? d->around.drawn[i] : i];
            d->control_row[i] = a->control_strength * m + a->control_strength_outside * (1 - m);
        }
    }
done:
    return st;
}

static tress_status set_up(drawing *d)
{
    tress_status st = TRESS_OK;
    const tr_mmdit_config *c = &d->m->transformer_config;
    const int cell = tr_vae_config_factor(&d->m->vae_config);
    tr_canvas_rules rules = { .multiple = cell * c->patch, .side_max = c->pos_max * c->patch * cell, .side_own = c->sample_size * cell,
                                    .cell = cell, .needs_sketch = tr_draw_controls(d->m, d->a) };
    TR_TRY(check_args(d->a));
    TR_TRY(tr_schedule_make(&d->schedule, &d->m->schedule, d->a->n_step, (double)d->a->shift, (double)d->a->strength));
    TR_TRY(tr_around_policy(&d->policy, d->m, d->a));
    rules.needs_reference = d->policy != TRESS_REFERENCE_OFF || tr_dye_wanted(d->a);
    TR_TRY(tr_canvas_make(&d->canvas, d->a, &rules));
    if (d->a->width > 0 && !d->a->photo && (d->canvas.width != d->a->width || d->canvas.height != d->a->height))
        tr_host_note(d->m->host, "--size %dx%d is rounded to %dx%d: each side must be a multiple of %d", d->a->width, d->a->height,
                     d->canvas.width, d->canvas.height, rules.multiple);
    if (d->a->place.on && d->canvas.landed < 0.5)
        tr_host_note(d->m->host, "--place lays %.0f %% of the sketch's strokes on the part of the photo that is drawn", 100 * d->canvas.landed);
    if (rules.needs_sketch && d->m->controlnet_config.channels_extra > 0)
        TR_TRY(tr_fail(TRESS_E_CONTRACT, "%s reads %d channels besides the control latent (an inpainting net); tress draws with ControlNets that read a sketch",
                       tr_weights_where(d->m->weights[TR_MODULE_CONTROLNET]), d->m->controlnet_config.channels_extra));
    if (rules.needs_sketch && d->m->controlnet_config.zero_pooled && d->a->control_range == TRESS_RANGE_VENDOR)
        tr_host_note(d->m->host, "this ControlNet is of the InstantX kind, which was trained with --control-range signed");
    TR_TRY(tr_contract_keep(d->m, d->a, d->policy, d->canvas.width, d->canvas.height));
    TR_TRY(set_around(d, &rules));
done:
    return st;
}

/* *out = the latent of a photo's planes, b times. */
static tress_status encode_photo(tr_tensor *out, drawing *d, tr_stream *s, tr_planes from, int64_t b)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    TR_TRY(tr_planes_new(&p, 3, from.h, from.w));
    for (int64_t i = 0; i < (int64_t)3 * from.h * from.w; i++) p.data[i] = 2 * from.data[i] - 1;
    TR_TRY(tr_latent_encode(out, d->m, s, p, true, b));
done:
    tr_planes_fini(&p);
    return st;
}

/* Is the photo held by blending with its soft matte, as plain inpainting does? */
static bool inpaints(const drawing *d) { return d->canvas.photo && d->a->inpaint; }
static bool refers(const drawing *d) { return d->policy != TRESS_REFERENCE_OFF; }

/* What may change, by latent pixels; nothing of the tokens that are not drawn. */
static tress_status put_mask(drawing *d, tr_stream *s)
{
    tress_status st = TRESS_OK;
    tr_planes mask = { 0 };
    const tr_planes soft = d->canvas.mask, edited = d->canvas.edited;
    const int k = soft.w / edited.w;
    TR_TRY(tr_planes_new(&mask, 1, soft.h, soft.w));
    for (int y = 0; y < soft.h; y++)
        for (int x = 0; x < soft.w; x++)
            mask.data[y * soft.w + x] = draws_edit(d) && edited.data[y / k * edited.w + x / k] == 0 ? 0 : soft.data[y * soft.w + x];
    TR_TRY(tr_device_take(d->m->host->device, &d->mask, TR_F32, TR_DIMS(1, 1, mask.h, mask.w)));
    TR_TRY(tr_upload(s, d->mask, mask.data));
    TR_TRY(tr_stream_sync(s));
done:
    tr_planes_fini(&mask);
    return st;
}

static tress_status encode_pictures(drawing *d)
{
    tress_status st = TRESS_OK;
    tr_stage stage = { 0 };
    tr_planes p = { 0 };
    const bool control = d->canvas.control.data != NULL, photo = inpaints(d) || d->a->strength < 1;
    int n = 0;
    const bool dyed = tr_dye_wanted(d->a);
    if (!control && !photo && !refers(d) && !dyed) return TRESS_OK;
    TR_TRY(tr_bundle_use(d->m, TR_WANT_VAE));
    TR_TRY(tr_stage_begin(&stage, d->m->host, "encode", control + photo + refers(d) + dyed));
    if (control) {
        const tr_planes from = d->canvas.control;
        TR_TRY(tr_planes_new(&p, 3, from.h, from.w));
        memcpy(p.data, from.data, sizeof(float) * 3 * (size_t)from.h * (size_t)from.w);
        tr_control_range_apply(p, d->a->control_range);
        TR_TRY(tr_latent_encode(&d->condition, d->m, stage.stream, p, !d->m->controlnet_config.zero_pooled, 1));
        tr_planes_fini(&p);
        tr_stage_done(&stage, ++n);
    }
    if (photo) {
        TR_TRY(encode_photo(&d->z0, d, stage.stream, d->canvas.rgb, d->a->batch));
        tr_stage_done(&stage, ++n);
    }
    if (refers(d)) {
        TR_TRY(encode_photo(&d->filled, d, stage.stream, d->canvas.reference, 1));
        if (!inpaints(d)) TR_TRY(encode_photo(&d->held, d, stage.stream, d->canvas.held, d->a->batch));
        tr_stage_done(&stage, ++n);
    }
    if (dyed) {
        TR_TRY(encode_photo(&d->z_dye, d, stage.stream, d->dye.picture, 1));
        tr_stage_done(&stage, ++n);
    }
    if (inpaints(d) || refers(d)) TR_TRY(put_mask(d, stage.stream));
    tr_stage_book(&stage, "vae encode", tr_weights_bytes(d->m->weights[TR_MODULE_VAE]));
done:
    tr_stage_end(&stage);
    tr_planes_fini(&p);
    return st;
}

/* *out is what the tokens that are drawn attend to: weigh(strength, the matte there). */
static tress_status new_refer(tr_refer **out, drawing *d, tr_stream *s, tr_refer_args r, float (*weigh)(float, float), float strength)
{
    tress_status st = TRESS_OK;
    float *weight = NULL;
    void *p = NULL;
    const int patch = d->m->transformer_config.patch;
    const int64_t n = draws_edit(d) ? d->around.n_drawn : d->x.shape[2] / patch * (d->x.shape[3] / patch);
    TR_TRY(tr_alloc_array(&p, n, sizeof *weight));
    weight = p;
    for (int64_t i = 0; i < n; i++) weight[i] = weigh(strength, d->canvas.soft.data[draws_edit(d) ? d->around.drawn[i] : i]);
    r.transformer = d->m->transformer;
    r.noise = d->noise;
    r.weight = weight;
    r.n_token = n;
    r.begin = d->begin;
    r.end = d->end;
    r.n_step = d->schedule.n_step;
    r.zero_rows = d->a->zero_text_rows;
    TR_TRY(tr_refer_new(out, s, &r));
done:
    tr_free(weight);
    return st;
}

static float weigh_dye(float u, float hair) { return u * hair; }

/* What the drawing attends to, and what leads its colours. */
static tress_status attend(drawing *d, tr_stream *s, tr_draw_more *more)
{
    tress_status st = TRESS_OK;
    const tress_generate_args *a = d->a;
    if (refers(d)) {
        TR_TRY(new_refer(&d->refer, d, s, (tr_refer_args){ .policy = d->policy, .fade = TR_FADE_SCENE, .picture = d->filled,
                                                           .row = d->around.row, .n_row = d->around.n_row }, tr_around_weight, a->reference_strength));
        more->refer[more->n_refer++] = d->refer;
    }
    if (a->colour_reference > 0 && d->dye.n_row > 0) {
        TR_TRY(new_refer(&d->dyed, d, s, (tr_refer_args){ .policy = TRESS_REFERENCE_CLEAN, .fade = TR_FADE_COLOUR, .picture = d->z_dye,
                                                          .row = d->dye.row, .n_row = d->dye.n_row }, weigh_dye, a->colour_reference));
        more->refer[more->n_refer++] = d->dyed;
    }
    if (a->colour_start > 0 || a->colour_guide > 0)
        TR_TRY(tr_colour_new(&d->colour, s, &(tr_colour_args){ .picture = d->z_dye, .noise = d->noise, .hair = d->dye.hair.data,
                                                              .start = a->colour_start, .guide = a->colour_guide }));
    if (draws_edit(d)) {
        more->row = d->around.drawn;
        more->n_row = d->around.n_drawn;
    }
done:
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
    const bool previews = d->a->preview_every > 0 && host->previews;
    TR_TRY(tr_bundle_use(d->m, TR_WANT_TRANSFORMER | (tr_is_none(d->condition) ? 0 : TR_WANT_CONTROLNET) | (previews ? TR_WANT_VAE : 0)));
    TR_TRY(tr_stage_begin(&stage, host, "sample", d->schedule.n_step));
    TR_TRY(tr_noise_make(&d->noise, stage.stream, dims, r->seed, d->a->latents_in));
    TR_TRY(tr_device_take(host->device, &d->x, TR_F32, dims));
    const float sigma = d->schedule.sigma[0];
    if (d->a->strength < 1) TR_TRY(tr_axpby(stage.stream, d->x, sigma, d->noise, 1.0f - sigma, d->z0));
    else TR_TRY(tr_copy(stage.stream, d->x, d->noise));
    if (previews) TR_TRY(tr_preview_new(&preview, d->m, c->channels_in, h, w));
    tr_draw_more more = { .control_row = d->control_row };
    TR_TRY(attend(d, stage.stream, &more));
    between t = { .stage = &stage, .a = d->a, .z0 = inpaints(d) ? d->z0 : d->held, .noise = d->noise, .mask = d->mask, .preview = preview,
                  .colour = d->colour, .schedule = &d->schedule };
    TR_TRY(tr_draw_latents(d->m, stage.stream, d->x, d->a, &d->schedule, &d->words, d->condition, &more, after_step, &t));
    if (d->a->latents_out && !tr_device_is_dry(host->device)) TR_TRY(tr_latent_save(stage.stream, d->x, "latents", d->a->latents_out));
    tr_stage_book(&stage, "sample", tr_weights_bytes(d->m->weights[TR_MODULE_TRANSFORMER]) +
                                        (tr_is_none(d->condition) ? 0 : tr_weights_bytes(d->m->weights[TR_MODULE_CONTROLNET])));
done:
    tr_refer_free(d->refer);
    tr_refer_free(d->dyed);
    tr_colour_free(d->colour);
    d->refer = d->dyed = NULL;
    d->colour = NULL;
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
    if (d->a->overlay) TR_TRY(tr_canvas_overlay(&r->overlay, d->a));
    for (int i = 0; i < r->n; i++) {
        TR_TRY(tr_metadata_parameters(&r->parameters[i], d->m, d->a, r, i));
        TR_TRY(tr_metadata_json(&r->json[i], d->m, d->a, d->policy, r, i));
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
    tr_image_free(r->overlay);
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
    tr_around_fini(&d.around);
    tr_free(d.control_row);
    tr_dye_fini(&d.dye);
    tr_device_give(m->host->device, d.filled);
    tr_device_give(m->host->device, d.held);
    tr_device_give(m->host->device, d.z_dye);
    tr_device_give(m->host->device, d.condition);
    tr_device_give(m->host->device, d.z0);
    tr_device_give(m->host->device, d.noise);
    tr_device_give(m->host->device, d.x);
    tr_device_give(m->host->device, d.mask);
    return st;
}
