#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A batch whose sums are still on the device: what makes losses of them. */
typedef struct heard {
    int64_t b, channels;
    int     n_empty;
    double  mask_sum[TR_TRAIN_BATCH_MAX], weight[TR_TRAIN_BATCH_MAX];      /* of each sample in the loss */
} heard;

struct tr_trainer {
    tr_device     *device;
    tr_mmdit      *m;
    tr_controlnet *controlnet;
    tr_trainer_spec spec;
    tr_adapters   *adapters;
    tr_tensor      m1, m2, m1_scale, m2_scale;  /* moments F32 [n], or U8 [n] with F32 scales of blocks */
    tr_tensor      average;                     /* F32 [n], or none */
    bool           averaged;                    /* the transformer computes with the average */
    tr_scale       scale;
    int64_t        taken;
    tr_tensor      sums;                        /* F64 [n_micro, TR_TRAIN_BATCH_MAX] of m e^2, a row for each batch since the last update */
    heard         *heard;                       /* [n_micro] */
    int            n_heard;
    float          timestep[TR_TRAIN_BATCH_MAX];
};

/* ---- new and free ---------------------------------------------------------------------------------------- */
static tress_status take_zero(tr_trainer *t, tr_stream *s, tr_tensor *out, tr_dtype type, int64_t n)
{
    tress_status st = TRESS_OK;
    void *zero = NULL;
    size_t bytes;
    const tr_dims d = TR_DIMS(n);
    TR_TRY(tr_device_take(t->device, out, type, d));
    if (tr_device_is_dry(t->device)) goto done;
    TR_TRY(tr_bytes(&bytes, type, d));
    TR_TRY(tr_alloc(&zero, bytes));
    TR_TRY(tr_upload(s, *out, zero));
    TR_TRY(tr_stream_sync(s));
done:
    tr_free(zero);
    return st;
}

static tress_status check_spec(const tr_trainer_spec *c)
{
    const struct { const char *name; double value, min, most; bool open; } range[] = {      /* open: most itself is not among them */
        { "lora-dropout", (double)c->dropout, 0, 1, true }, { "unmasked-weight", (double)c->unmasked_weight, 0, 1, false }, { "beta1", c->beta1, 0, 1, true },
        { "beta2", c->beta2, 0, 1, true }, { "epsilon", c->epsilon, 1e-30, 1, false }, { "weight-decay", c->weight_decay, 0, 1000, false },
        { "max-grad-norm", c->max_grad_norm, 0, 1e30, false }, { "ema", c->ema, 0, 1, true },
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (!(range[i].value >= range[i].min && range[i].value <= range[i].most) || (range[i].open && range[i].value == range[i].most))
            return tr_fail(TRESS_E_ARG, range[i].open ? "%s %g, expected at least %g and below %g" : "%s %g, expected %g to %g", range[i].name, range[i].value,
                           range[i].min, range[i].most);
    TR_ASSERT(c->n_micro >= 1);
    if (c->zero_text_rows < 1 || c->zero_text_rows > 4096)
        return tr_fail(TRESS_E_ARG, "zero-text-rows %d, expected 1 to 4096", c->zero_text_rows);
    return TRESS_OK;
}

tress_status tr_trainer_new(tr_trainer **out, tr_stream *s, tr_mmdit *m, tr_controlnet *controlnet, const tr_trainer_spec *spec)
{
    tress_status st = TRESS_OK;
    tr_trainer *t = NULL;
    void *p = NULL;
    TR_TRY(check_spec(spec));
    TR_TRY(tr_alloc(&p, sizeof *t));
    t = p;
    t->device = tr_stream_device(s);
    t->m = m;
    t->controlnet = controlnet;
    t->spec = *spec;
    if (controlnet) TR_TRY(tr_controlnet_fits(controlnet, m));
    if (controlnet && tr_controlnet_get_config(controlnet)->channels_extra > 0)
        TR_TRY(tr_fail(TRESS_E_CONTRACT, "the ControlNet reads %d channels beside the latent, an inpainting net: training needs one that reads a sketch alone",
                       tr_controlnet_get_config(controlnet)->channels_extra));
    TR_TRY(tr_adapters_new(&t->adapters, m, &spec->adapter));
    const int64_t n = tr_count(tr_adapters_params(t->adapters)), n_block = (n + TR_ADAMW8_BLOCK - 1) / TR_ADAMW8_BLOCK;
    const tr_dtype type = spec->adam8 ? TR_U8 : TR_F32;
    TR_TRY(take_zero(t, s, &t->m1, type, n));
    TR_TRY(take_zero(t, s, &t->m2, type, n));
    if (spec->adam8) {
        TR_TRY(take_zero(t, s, &t->m1_scale, TR_F32, n_block));
        TR_TRY(take_zero(t, s, &t->m2_scale, TR_F32, n_block));
    }
    if (spec->ema > 0) {
        TR_TRY(tr_device_take(t->device, &t->average, TR_F32, TR_DIMS(n)));
        TR_TRY(tr_copy(s, t->average, tr_adapters_params(t->adapters)));
    }
    TR_TRY(tr_device_take(t->device, &t->sums, TR_F64, TR_DIMS(spec->n_micro, TR_TRAIN_BATCH_MAX)));
    TR_TRY(tr_alloc_array(&p, spec->n_micro, sizeof *t->heard));
    t->heard = p;
    tr_scale_init(&t->scale, spec->precision == TR_F16);
    *out = t;
    t = NULL;
done:
    tr_trainer_free(t);
    return st;
}

void tr_trainer_free(tr_trainer *t)
{
    if (!t) return;
    tr_tensor *const own[] = { &t->m1, &t->m2, &t->m1_scale, &t->m2_scale, &t->average, &t->sums };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!tr_is_none(*own[i])) tr_device_give(t->device, *own[i]);
    tr_adapters_free(t->adapters);
    tr_free(t->heard);
    tr_free(t);
}

tr_adapters *tr_trainer_adapters(tr_trainer *t) { return t->adapters; }
tr_scale    *tr_trainer_scale(tr_trainer *t) { return &t->scale; }
int64_t      tr_trainer_taken(const tr_trainer *t) { return t->taken; }

/* ---- one pass -------------------------------------------------------------------------------------------- */
typedef struct pass {
    tr_trainer *t;
    tr_stream  *s;
    const tr_train_batch *batch;
    double      share;
    tr_train_loss *out;                         /* NULL: later */
    heard      *heard;
    tr_tensor   sum;                            /* its row of the trainer's sums, [b] */
    float      *v_host;
    tr_tensor   x0, noise, mask, weight_on;     /* on the device */
    tr_mmdit_args f;                            /* what the transformer is given */
} pass;

static tress_status check_batch(const tr_train_batch *a)
{
    if (a->b < 1 || a->b > TR_TRAIN_BATCH_MAX) return tr_fail(TRESS_E_ARG, "a batch of %" PRId64 " samples, expected 1 to %d", a->b, TR_TRAIN_BATCH_MAX);
    for (int64_t i = 0; i < a->b; i++)
        if (!(a->sigma[i] >= 0 && a->sigma[i] <= 1)) return tr_fail(TRESS_E_ARG, "sigma %g, expected 0 to 1", (double)a->sigma[i]);
    for (int64_t i = 0; i < a->b * a->h * a->w; i++)
        if (!(a->mask[i] >= 0 && a->mask[i] <= 1)) return tr_fail(TRESS_E_ARG, "mask: found %g, expected 0 to 1", (double)a->mask[i]);
    return TRESS_OK;
}

/* What each sample's sum of m e^2 is multiplied by to give its share of the loss. */
static void weigh(pass *p, int64_t channels)
{
    const tr_train_batch *a = p->batch;
    const double cells = (double)(a->h * a->w);
    double all = 0;
    int n = 0;
    for (int64_t i = 0; i < a->b; i++) {
        double sum = 0;
        for (int64_t j = 0; j < a->h * a->w; j++) sum += (double)fmaxf(a->mask[i * a->h * a->w + j], p->t->spec.unmasked_weight);
        p->heard->mask_sum[i] = sum;
        all += sum;
        n += sum > 0;
    }
    p->heard->n_empty = (int)a->b - n;
    for (int64_t i = 0; i < a->b; i++) {
        switch (p->t->spec.normalize) {
        case TR_MASK_PER_SAMPLE: p->heard->weight[i] = p->heard->mask_sum[i] > 0 ? 1 / ((double)channels * p->heard->mask_sum[i] * n) : 0; break;
        case TR_MASK_PER_BATCH:  p->heard->weight[i] = all > 0 ? 1 / ((double)channels * all) : 0; break;
        case TR_MASK_NONE:       p->heard->weight[i] = 1 / ((double)channels * cells * (double)a->b); break;
        }
    }
}

/* The sums come to the host, where they become losses. */
static tress_status take_sums(tr_train_loss *out, tr_stream *s, const heard *h, tr_tensor sum)
{
    tress_status st = TRESS_OK;
    double host[TR_TRAIN_BATCH_MAX];
    *out = (tr_train_loss){ .i_bad = -1, .n_empty = h->n_empty };
    TR_TRY(tr_download(s, host, sum));
    TR_TRY(tr_stream_sync(s));
    if (tr_device_is_dry(tr_stream_device(s))) goto done;
    for (int64_t i = 0; i < h->b; i++) {
        out->loss += h->weight[i] * host[i];
        out->sample[i] = h->mask_sum[i] > 0 ? host[i] / ((double)h->channels * h->mask_sum[i]) : 0;
        if (!isfinite(host[i]) && out->i_bad < 0) out->i_bad = (int)i;
    }
done:
    return st;
}

static tress_status download_v(pass *p, tr_tensor v)
{
    tress_status st = TRESS_OK;
    tr_tensor wide = v;
    if (v.dtype != TR_F32) {
        TR_TRY(tr_scratch(p->s, &wide, TR_F32, TR_DIMS(v.shape[0], v.shape[1], v.shape[2], v.shape[3])));
        TR_TRY(tr_copy(p->s, wide, v));
    }
    TR_TRY(tr_download(p->s, p->v_host, wide));
done:
    return st;
}

static tress_status on_velocity(void *self, tr_stream *s, tr_tensor v, tr_tensor dv)
{
    tress_status st = TRESS_OK;
    pass *p = self;
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_TRY(tr_velocity_loss(s, dv, p->sum, v, p->x0, p->noise, p->mask, tr_is_none(dv) ? tr_none() : p->weight_on));
    if (p->v_host) TR_TRY(download_v(p, v));
    if (p->out) TR_TRY(take_sums(p->out, s, p->heard, p->sum));
    if (p->out && p->out->i_bad >= 0) st = tr_fail(TRESS_E_NONFINITE, "the loss of sample %d of the batch is not finite", p->out->i_bad);
done:
    tr_scratch_pop(s, mark);
    return st;
}

static tress_status upload(tr_tensor *out, tr_stream *s, const float *from, tr_dims d)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_scratch(s, out, TR_F32, d));
    if (!tr_device_is_dry(tr_stream_device(s))) TR_TRY(tr_upload(s, *out, from));
done:
    return st;
}

/* x = (1 - sigma) x0 + sigma noise, sample by sample. */
static tress_status add_noise(tr_tensor *x, pass *p)
{
    tress_status st = TRESS_OK;
    tr_stream *s = p->s;
    const tr_tensor like = p->x0;
    TR_TRY(tr_scratch(s, x, tr_stream_dtype(s), TR_DIMS(like.shape[0], like.shape[1], like.shape[2], like.shape[3])));
    for (int64_t i = 0; i < like.shape[0]; i++) {
        const float sigma = p->batch->sigma[i];
        TR_TRY(tr_axpby(s, tr_index(*x, 0, i), 1 - sigma, tr_index(p->x0, 0, i), sigma, tr_index(p->noise, 0, i)));
    }
done:
    return st;
}

static bool has_control(const pass *p) { return p->t->controlnet && p->batch->control; }

static tress_status on_control(void *self, tr_stream *s, tr_tensor tokens, tr_tensor *residual)
{
    tress_status st = TRESS_OK;
    const pass *p = self;
    const tr_train_batch *a = p->batch;
    const tr_controlnet_config *c = tr_controlnet_get_config(p->t->controlnet);
    const tr_arena_mark mark = tr_scratch_push(s);
    tr_controlnet_args k = { .x = p->f.x, .tokens = tokens, .pooled = p->f.pooled, .timestep = p->f.timestep, .residual = residual };
    TR_TRY(upload(&k.condition, s, a->control, TR_DIMS(a->b, c->channels_in, a->h, a->w)));
    if (c->d_context) {                                     /* a net that reads words reads as many zero rows as the rows stand for */
        TR_TRY(tr_scratch(s, &k.context, tr_stream_dtype(s), TR_DIMS(a->b, p->t->spec.zero_text_rows, c->d_context)));
        TR_TRY(tr_set(s, k.context, 0));
    }
    TR_TRY(tr_controlnet_forward(p->t->controlnet, s, &k));
    for (int i = 0; a->no_sketch && i < c->n_block; i++)
        for (int64_t j = 0; j < a->b; j++)
            if (a->no_sketch[j]) TR_TRY(tr_set(s, tr_index(residual[i], 0, j), 0));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* Everything that the transformer is given but the residuals, in scratch. */
static tress_status prepare(pass *p)
{
    tress_status st = TRESS_OK;
    tr_trainer *t = p->t;
    tr_stream *s = p->s;
    const tr_train_batch *a = p->batch;
    const tr_mmdit_config *c = tr_mmdit_get_config(t->m);
    const tr_dims latent = TR_DIMS(a->b, c->channels_in, a->h, a->w);
    const int64_t rows = t->spec.zero_text_long ? t->spec.zero_text_rows : 1;
    tr_mmdit_args *f = &p->f;
    const tr_dtype type = tr_stream_dtype(s);
    float host[TR_TRAIN_BATCH_MAX];

    if (c->channels_out != c->channels_in)
        TR_TRY(tr_fail(TRESS_E_CONTRACT, "the transformer reads %d channels and makes %d, training needs as many", c->channels_in, c->channels_out));
    if (a->h < c->patch || a->w < c->patch || a->h % c->patch || a->w % c->patch || a->h / c->patch > c->pos_max || a->w / c->patch > c->pos_max)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "a latent of %" PRId64 " x %" PRId64 " (width x height): each side must be a multiple of %d and at most %d", a->w, a->h,
                       c->patch, c->pos_max * c->patch));
    TR_TRY(upload(&p->x0, s, a->latents, latent));
    TR_TRY(upload(&p->noise, s, a->noise, latent));
    TR_TRY(upload(&p->mask, s, a->mask, TR_DIMS(a->b, 1, a->h, a->w)));
    if (t->spec.unmasked_weight > 0) TR_TRY(tr_clamp(s, p->mask, p->mask, t->spec.unmasked_weight, INFINITY));
    p->sum = tr_slice(tr_index(t->sums, 0, t->n_heard), 0, 0, a->b);
    p->heard->b = a->b;
    p->heard->channels = c->channels_out;
    weigh(p, c->channels_out);
    for (int64_t i = 0; i < a->b; i++) {
        host[i] = (float)(p->heard->weight[i] * p->share * t->scale.scale);
        t->timestep[i] = 1000 * a->sigma[i];
    }
    TR_TRY(upload(&p->weight_on, s, host, TR_DIMS(a->b)));

    *f = (tr_mmdit_args){ .timestep = tr_view(t->timestep, TR_F32, TR_DIMS(a->b)), .residual_scale = 1, .residual_last = t->spec.control_last,
                          .context_logw = rows == 1 ? logf((float)t->spec.zero_text_rows) : 0 };
    TR_TRY(add_noise(&f->x, p));
    TR_TRY(tr_scratch(s, &f->context, type, TR_DIMS(a->b, rows, c->d_context)));
    TR_TRY(tr_set(s, f->context, 0));
    TR_TRY(tr_scratch(s, &f->pooled, type, TR_DIMS(a->b, c->d_pooled)));
    TR_TRY(tr_set(s, f->pooled, 0));
    TR_TRY(tr_scratch(s, &f->out, type, latent));
    if (has_control(p)) f->n_residual = tr_controlnet_get_config(t->controlnet)->n_block;
done:
    return st;
}

/* Tokens and residuals of a forward alone: all at once. */
static tress_status add_control(pass *p, tr_tensor residual[TR_BLOCK_MAX])
{
    tress_status st = TRESS_OK;
    tr_stream *s = p->s;
    tr_mmdit_args *f = &p->f;
    const tr_mmdit_config *c = tr_mmdit_get_config(p->t->m);
    const tr_dims tokens = TR_DIMS(p->batch->b, (p->batch->h / c->patch) * (p->batch->w / c->patch), (int64_t)c->n_head * c->d_head);
    TR_TRY(tr_scratch(s, &f->tokens, tr_stream_dtype(s), tokens));
    TR_TRY(tr_mmdit_embed(p->t->m, s, f->tokens, f->x));
    if (!has_control(p)) goto done;
    f->residual = residual;
    for (int i = 0; i < f->n_residual; i++) TR_TRY(tr_scratch(s, &residual[i], tr_stream_dtype(s), tokens));
    TR_TRY(on_control(p, s, f->tokens, residual));
done:
    return st;
}

static pass begin_pass(tr_trainer *t, tr_stream *s, const tr_train_batch *batch, double share, tr_train_loss *out)
{
    if (out) *out = (tr_train_loss){ .i_bad = -1 };
    return (pass){ .t = t, .s = s, .batch = batch, .share = share, .out = out, .heard = &t->heard[t->n_heard] };
}

tress_status tr_trainer_accumulate(tr_trainer *t, tr_stream *s, const tr_train_batch *batch, double share, tr_train_loss *out, float *v)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_ASSERT(t->n_heard < t->spec.n_micro);
    pass p = begin_pass(t, s, batch, share, out);
    p.v_host = v;
    tr_mmdit_train_args a = { .keep = t->spec.keep, .round = tr_stream_dtype(s) == TR_F32 ? t->spec.precision : TR_F32, .loss = on_velocity, .self = &p,
                              .drop = { t->spec.dropout, t->spec.seed, batch->draw } };
    TR_ASSERT(!t->averaged);
    TR_TRY(check_batch(batch));
    TR_TRY(prepare(&p));
    a.forward = p.f;
    if (has_control(&p)) a.control = on_control;
    TR_TRY(tr_mmdit_train(t->m, s, &a));
    if (!out) t->n_heard++;
done:
    tr_scratch_pop(s, mark);
    return st == TRESS_E_NONFINITE && out && out->i_bad >= 0 ? TRESS_OK : st;       /* told in out; the step will not be taken */
}

tress_status tr_trainer_hear(tr_trainer *t, tr_stream *s, int i, tr_train_loss *out)
{
    TR_ASSERT(i >= 0 && i < t->n_heard);
    return take_sums(out, s, &t->heard[i], tr_slice(tr_index(t->sums, 0, i), 0, 0, t->heard[i].b));
}

tress_status tr_trainer_loss(tr_trainer *t, tr_stream *s, const tr_train_batch *batch, tr_train_loss *out)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    pass p = begin_pass(t, s, batch, 1, out);
    tr_tensor residual[TR_BLOCK_MAX];
    TR_ASSERT(t->n_heard == 0);
    TR_TRY(check_batch(batch));
    TR_TRY(prepare(&p));
    TR_TRY(add_control(&p, residual));
    TR_TRY(tr_mmdit_forward(t->m, s, &p.f));
    TR_TRY(on_velocity(&p, s, p.f.out, tr_none()));
done:
    tr_scratch_pop(s, mark);
    return st == TRESS_E_NONFINITE && out->i_bad >= 0 ? TRESS_OK : st;
}

tress_status tr_trainer_unscale(tr_trainer *t, tr_stream *s)
{
    const tr_tensor g = tr_adapters_grads(t->adapters);
    const tress_status st = tr_axpby(s, g, (float)(1 / t->scale.scale), g, 0, tr_none());       /* by a power of two: exact */
    if (st == TRESS_OK) t->scale.scale = 1;
    return st;
}

/* ---- the optimiser ----------------------------------------------------------------------------------------- */
static tress_status find_bad_block(int *block, tr_trainer *t, tr_stream *s)
{
    tress_status st = TRESS_OK;
    *block = -1;
    for (int i = tr_adapters_count(t->adapters) - 1; i >= 0 && *block < 0; i--) {
        double sum;
        TR_TRY(tr_sum_squares(s, tr_adapters_grad(t->adapters, i), &sum));
        if (!isfinite(sum)) *block = tr_adapters_block(t->adapters, i);
    }
done:
    return st;
}

/* average += (1 - ema) (p - average). As ema average + (1 - ema) p it would shrink: the two factors, rounded, do not add up to 1. */
static tress_status follow(tr_trainer *t, tr_stream *s)
{
    tress_status st = TRESS_OK;
    const tr_tensor away = tr_adapters_grads(t->adapters);      /* the gradient is spent */
    TR_TRY(tr_axpby(s, away, 1, tr_adapters_params(t->adapters), -1, t->average));
    TR_TRY(tr_axpby(s, t->average, 1, t->average, (float)(1 - t->spec.ema), away));
done:
    return st;
}

static tress_status take_step(tr_trainer *t, tr_stream *s, double learning_rate, double factor)
{
    const tr_trainer_spec *c = &t->spec;
    const tr_tensor p = tr_adapters_params(t->adapters), g = tr_adapters_grads(t->adapters);
    const tr_adamw_args a = { .lr = learning_rate, .beta1 = c->beta1, .beta2 = c->beta2, .eps = c->epsilon, .weight_decay = c->weight_decay,
                              .grad_scale = (float)factor, .step = t->taken + 1 };
    tress_status st = c->adam8 ? tr_adamw8(s, p, t->m1, t->m2, t->m1_scale, t->m2_scale, g, &a) : tr_adamw(s, p, t->m1, t->m2, g, &a);
    if (st == TRESS_OK && c->ema > 0) st = follow(t, s);
    if (st == TRESS_OK) t->taken++;
    return st == TRESS_OK ? tr_adapters_show(t->adapters, s, p) : st;
}

tress_status tr_trainer_update(tr_trainer *t, tr_stream *s, double learning_rate, bool good, tr_train_update *out)
{
    tress_status st = TRESS_OK;
    const tr_tensor g = tr_adapters_grads(t->adapters);
    double sum = 0;
    TR_ASSERT(!t->averaged);
    *out = (tr_train_update){ .finite = good, .bad_block = -1 };
    t->n_heard = 0;
    TR_TRY(tr_sum_squares(s, g, &sum));
    if (good && !isfinite(sum)) {
        out->finite = false;
        TR_TRY(find_bad_block(&out->bad_block, t, s));
    }
    out->grad_norm = sqrt(sum) / t->scale.scale;
    if (out->finite) {
        const double limit = t->spec.max_grad_norm, clip = limit > 0 && limit < out->grad_norm + 1e-6 ? limit / (out->grad_norm + 1e-6) : 1;
        TR_TRY(take_step(t, s, learning_rate, clip / t->scale.scale));
    }
    TR_TRY(tr_set(s, g, 0));
    TR_TRY(tr_scale_update(&t->scale, out->finite));
done:
    return st;
}

/* ---- the average ------------------------------------------------------------------------------------------- */
tress_status tr_trainer_use_average(tr_trainer *t, tr_stream *s, bool on)
{
    if (tr_is_none(t->average)) return TRESS_OK;
    const tress_status st = tr_adapters_show(t->adapters, s, on ? t->average : tr_adapters_params(t->adapters));
    if (st == TRESS_OK) t->averaged = on;
    return st;
}

tress_status tr_trainer_lora(tr_lora **out, tr_trainer *t, tr_stream *s)
{
    return tr_adapters_lora(out, t->adapters, s, tr_is_none(t->average) ? tr_adapters_params(t->adapters) : t->average);
}

/* ---- state --------------------------------------------------------------------------------------------------- */
/* Part k of tensor i: where it lies on the device. Names: "lora.KEY", "adam.m.KEY", "adam.v.KEY", "ema.KEY". */
static const char *const prefixes[] = { "lora.", "adam.m.", "adam.v.", "ema." };

static tress_status add_state(tr_trainer_state *out, const char *prefix, const char *name, tr_dtype t, tr_dims d)
{
    tress_status st = TRESS_OK;
    size_t n = strlen(prefix) + strlen(name) + 1, bytes;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, n));
    snprintf(p, n, "%s%s", prefix, name);
    out->name[out->n] = p;
    out->list[out->n++] = (tr_named){ .name = p };
    TR_TRY(tr_bytes(&bytes, t, d));
    TR_TRY(tr_alloc(&p, bytes));
    out->list[out->n - 1].t = tr_view(p, t, d);
done:
    return st;
}

/* Walk over all state: flat device tensors of the 8-bit optimiser are one entry each, the others one for each tensor of the adapters. */
typedef tress_status (*visit)(void *self, const char *prefix, const char *name, tr_tensor device);
static tress_status each_state(const tr_trainer *t, visit fn, void *self)
{
    tress_status st = TRESS_OK;
    const tr_tensor flat[] = { tr_adapters_params(t->adapters), t->spec.adam8 ? tr_none() : t->m1, t->spec.adam8 ? tr_none() : t->m2, t->average };
    for (int k = 0; k < 4; k++) {
        int64_t at = 0;
        for (int i = 0; !tr_is_none(flat[k]) && i < tr_adapters_count(t->adapters); i++) {
            const tr_tensor like = tr_adapters_param(t->adapters, i);
            const tr_tensor part = tr_reshape(tr_slice(flat[k], 0, at, tr_count(like)), TR_DIMS(like.shape[0], like.shape[1]));
            at += tr_count(like);
            TR_TRY(fn(self, prefixes[k], tr_adapters_name(t->adapters, i), part));
        }
    }
    if (!t->spec.adam8) goto done;
    TR_TRY(fn(self, "", "adam8.m", t->m1));
    TR_TRY(fn(self, "", "adam8.v", t->m2));
    TR_TRY(fn(self, "", "adam8.m_scale", t->m1_scale));
    TR_TRY(fn(self, "", "adam8.v_scale", t->m2_scale));
done:
    return st;
}

typedef struct mover { tr_stream *s; tr_trainer_state *state; int i; } mover;

static tress_status make_entry(void *self, const char *prefix, const char *name, tr_tensor t)
{
    tr_dims d = { .rank = t.rank };
    for (int i = 0; i < t.rank; i++) d.n[i] = t.shape[i];
    return add_state(((mover *)self)->state, prefix, name, t.dtype, d);
}

static tr_tensor next_entry(mover *m, tr_tensor device)
{
    TR_ASSERT(m->i < m->state->n);
    const tr_tensor host = m->state->list[m->i++].t;
    TR_ASSERT(host.dtype == device.dtype && tr_count(host) == tr_count(device));
    return host;
}

static tress_status fetch(void *self, const char *prefix, const char *name, tr_tensor t)
{
    (void)prefix, (void)name;
    return tr_download(((mover *)self)->s, next_entry(self, t).data, t);
}

static tress_status put(void *self, const char *prefix, const char *name, tr_tensor t)
{
    (void)prefix, (void)name;
    return tr_upload(((mover *)self)->s, t, next_entry(self, t).data);
}

static tress_status make_state(tr_trainer_state *out, const tr_trainer *t)
{
    tress_status st = TRESS_OK;
    const int most = 4 * tr_adapters_count(t->adapters) + 4;
    void *p = NULL;
    TR_TRY(tr_alloc_array(&p, most, sizeof *out->list));
    out->list = p;
    TR_TRY(tr_alloc_array(&p, most, sizeof *out->name));
    out->name = p;
    TR_TRY(each_state(t, make_entry, &(mover){ .state = out }));
done:
    if (st != TRESS_OK) tr_trainer_state_fini(out);         /* all of it or none */
    return st;
}

tress_status tr_trainer_state_get(tr_trainer_state *out, const tr_trainer *t, tr_stream *s)
{
    tress_status st = TRESS_OK;
    if (out->n == 0) TR_TRY(make_state(out, t));
    TR_TRY(each_state(t, fetch, &(mover){ .s = s, .state = out }));
    TR_TRY(tr_stream_sync(s));
done:
    return st;
}

tress_status tr_trainer_state_set(tr_trainer *t, tr_stream *s, const tr_trainer_state *state, int64_t taken)
{
    tress_status st = TRESS_OK;
    tr_trainer_state held = *state;
    TR_TRY(each_state(t, put, &(mover){ .s = s, .state = &held }));
    TR_TRY(tr_adapters_show(t->adapters, s, tr_adapters_params(t->adapters)));
    TR_TRY(tr_stream_sync(s));
    t->taken = taken;
done:
    return st;
}

void tr_trainer_state_fini(tr_trainer_state *state)
{
    for (int i = 0; i < state->n; i++) {
        tr_free(state->name[i]);
        tr_free(state->list[i].t.data);
    }
    tr_free(state->list);
    tr_free(state->name);
    memset(state, 0, sizeof *state);
}
