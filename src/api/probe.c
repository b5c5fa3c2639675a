#include "api/train_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Tensors of a probe: read from a file onto the device by name, written from it under names. */
#define NAMED_MAX (TR_BLOCK_MAX + 8)
typedef struct probe {
    tr_bundle *m;
    tr_stage   stage;
    tr_safetensors *in;                         /* NULL: the module reads none */
    tr_tensor  owned[2 * NAMED_MAX];            /* device memory to give back */
    int        n_owned;
    tr_named  *out;                             /* [n_out] host copies to be written, their names owned */
    int        n_out, cap_out;
    const tress_probe_args *args;
    const char *lora;                           /* train-step: what the adapters begin with; NULL: fresh ones */
} probe;

static tr_dims dims_of(tr_tensor t)
{
    tr_dims d = { .rank = t.rank };
    for (int i = 0; i < t.rank; i++) d.n[i] = t.shape[i];
    return d;
}

static tress_status take(probe *p, tr_tensor *out, tr_dims d)
{
    tress_status st = TRESS_OK;
    TR_ASSERT(p->n_owned < 2 * NAMED_MAX);
    TR_TRY(tr_device_take(p->m->host->device, out, TR_F32, d));
    p->owned[p->n_owned++] = *out;
done:
    return st;
}

/* F32 input `name` of `rank` dimensions, its first b (0: any) onto the device. Optional ones that are absent become none. */
static tress_status get(probe *p, tr_tensor *out, const char *name, int rank, int64_t b, bool optional)
{
    tress_status st = TRESS_OK;
    tr_tensor found;
    void *host = NULL;
    char dims[TR_DIMS_TEXT];
    const char *path = tr_safetensors_path(p->in);
    if (!tr_safetensors_find(p->in, name, &found)) {
        if (optional) return *out = tr_none(), TRESS_OK;
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: there is no tensor %s, which %s reads", path, name, p->args->module));
    }
    if (found.rank != rank || tr_count(found) == 0 || (b > 0 && found.shape[0] != b))
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: %s is %s, expected %d dimensions, the first %s", path, name, tr_dims_text(dims, found.rank, found.shape), rank,
                       b > 0 ? "that of the other tensors" : "a batch"));
    TR_TRY(tr_alloc_array(&host, tr_count(found), sizeof(float)));
    TR_TRY(tr_safetensors_read_f32(p->in, name, host, dims_of(found)));
    TR_TRY(take(p, out, dims_of(found)));
    TR_TRY(tr_upload(p->stage.stream, *out, host));
    TR_TRY(tr_stream_sync(p->stage.stream));
done:
    tr_free(host);
    return st;
}

/* The same, left in host memory: what ops read from the host (timesteps). host is new (tr_free). */
static tress_status get_host(probe *p, tr_tensor *out, void **host, const char *name, int64_t b)
{
    tress_status st = TRESS_OK;
    tr_tensor found;
    if (!tr_safetensors_find(p->in, name, &found)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: there is no tensor %s", tr_safetensors_path(p->in), name));
    TR_TRY(tr_alloc_array(host, b, sizeof(float)));
    TR_TRY(tr_safetensors_read_f32(p->in, name, *host, TR_DIMS(b)));
    *out = tr_view(*host, TR_F32, TR_DIMS(b));
done:
    return st;
}

/* Token ids [b, n] I32; host is new. */
static tress_status get_ids(probe *p, tr_tensor *out, void **host, int64_t n_max)
{
    tress_status st = TRESS_OK;
    tr_tensor found;
    char dims[TR_DIMS_TEXT];
    const char *path = tr_safetensors_path(p->in);
    if (!tr_safetensors_find(p->in, "input_ids", &found)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: there is no tensor input_ids", path));
    if (found.dtype != TR_I32 || found.rank != 2 || tr_count(found) == 0 || found.shape[1] > n_max)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: input_ids is %s %s, expected I32 [B, up to %" PRId64 "]", path, tr_dtype_name(found.dtype),
                       tr_dims_text(dims, found.rank, found.shape), n_max));
    TR_TRY(tr_alloc_array(host, tr_count(found), sizeof(int32_t)));
    memcpy(*host, found.data, sizeof(int32_t) * (size_t)tr_count(found));
    *out = tr_view(*host, TR_I32, dims_of(found));
done:
    return st;
}

static tress_status put_host(probe *p, const char *name, const void *data, tr_dtype t, tr_dims d)
{
    tress_status st = TRESS_OK;
    void *copy = NULL;
    size_t n = 0;
    char *own = NULL;
    if (p->n_out == p->cap_out) {
        const int cap = p->cap_out ? 2 * p->cap_out : 16;
        void *list = p->out;
        TR_TRY(tr_realloc(&list, (size_t)p->cap_out * sizeof *p->out, (size_t)cap * sizeof *p->out));
        p->out = list;
        p->cap_out = cap;
    }
    TR_TRY(tr_bytes(&n, t, d));
    TR_TRY(tr_strdup(&own, name));
    TR_TRY(tr_alloc_raw(&copy, n));
    if (data) memcpy(copy, data, n);
    p->out[p->n_out++] = (tr_named){ own, tr_view(copy, t, d) };
    own = NULL;
done:
    tr_free(own);
    return st;
}

static tress_status put(probe *p, const char *name, tr_tensor t)
{
    tress_status st = TRESS_OK;
    int64_t bad = 0;
    TR_TRY(tr_count_nonfinite(p->stage.stream, t, &bad));
    if (bad > 0) TR_TRY(tr_fail(TRESS_E_NONFINITE, "%s: %s holds %" PRId64 " NaN or infinite values of %" PRId64, p->args->module, name, bad, tr_count(t)));
    TR_TRY(put_host(p, name, NULL, TR_F32, dims_of(t)));
    TR_TRY(tr_download(p->stage.stream, p->out[p->n_out - 1].t.data, t));
    TR_TRY(tr_stream_sync(p->stage.stream));
done:
    return st;
}

static tress_status expect_shape(const probe *p, const char *name, tr_tensor t, tr_dims d)
{
    char found[TR_DIMS_TEXT], want[TR_DIMS_TEXT];
    if (tr_is_none(t) || tr_has_dims(t, d)) return TRESS_OK;
    return tr_fail(TRESS_E_SHAPE, "%s: %s is %s, expected %s", tr_safetensors_path(p->in), name, tr_dims_text(found, t.rank, t.shape), tr_dims_text(want, d.rank, d.n));
}

/* A latent the transformer can take: its channels, sides that are whole patches inside the position grid. */
static tress_status expect_latent(const probe *p, const char *name, tr_tensor x, int64_t channels)
{
    const tr_mmdit_config *c = tr_mmdit_get_config(p->m->transformer);
    char found[TR_DIMS_TEXT];
    if (x.shape[1] == channels && x.shape[2] % c->patch == 0 && x.shape[3] % c->patch == 0 && x.shape[2] / c->patch <= c->pos_max && x.shape[3] / c->patch <= c->pos_max)
        return TRESS_OK;
    return tr_fail(TRESS_E_SHAPE, "%s: %s is %s, expected [B, %" PRId64 ", h, w] with sides that are multiples of %d, at most %d", tr_safetensors_path(p->in), name,
                   tr_dims_text(found, x.rank, x.shape), channels, c->patch, c->patch * c->pos_max);
}

/* ---- the modules ----------------------------------------------------------------------------------------- */

static tress_status run_transformer(probe *p)
{
    tress_status st = TRESS_OK;
    void *host = NULL;
    tr_tensor residual[TR_BLOCK_MAX];
    tr_mmdit_args a = { .residual_scale = 1 };
    const tr_mmdit_config *c = tr_mmdit_get_config(p->m->transformer);
    const tress_generate_args *g = p->args->sample;
    TR_TRY(get(p, &a.x, "hidden_states", 4, 0, false));
    TR_TRY(expect_latent(p, "hidden_states", a.x, c->channels_in));
    const int64_t b = a.x.shape[0], t = (a.x.shape[2] / c->patch) * (a.x.shape[3] / c->patch);
    TR_TRY(get(p, &a.context, "encoder_hidden_states", 3, b, false));
    TR_TRY(expect_shape(p, "encoder_hidden_states", a.context, TR_DIMS(b, a.context.shape[1], c->d_context)));
    TR_TRY(get(p, &a.pooled, "pooled_projections", 2, b, false));
    TR_TRY(expect_shape(p, "pooled_projections", a.pooled, TR_DIMS(b, c->d_pooled)));
    TR_TRY(get_host(p, &a.timestep, &host, "timestep", b));
    for (int i = 0; i < TR_BLOCK_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "residuals.%d", i);
        TR_TRY(get(p, &residual[i], name, 3, b, true));
        if (tr_is_none(residual[i])) break;
        TR_TRY(expect_shape(p, name, residual[i], TR_DIMS(b, t, (int64_t)c->n_head * c->d_head)));
        a.n_residual = i + 1;
    }
    if (a.n_residual > c->n_block) TR_TRY(tr_fail(TRESS_E_SHAPE, "%d residuals, the transformer has %d blocks", a.n_residual, c->n_block));
    a.residual = residual;
    a.residual_last = g->control_last == TRESS_LAST_VENDOR;
    for (int i = 0; i < g->n_skip_layer; i++)
        if (g->skip_layer[i] < 0 || g->skip_layer[i] >= c->n_block)
            TR_TRY(tr_fail(TRESS_E_ARG, "block %d is to be skipped, the transformer has blocks 0 to %d", g->skip_layer[i], c->n_block - 1));
    a.skip = g->skip_layer;
    a.n_skip = g->n_skip_layer;
    TR_TRY(take(p, &a.out, TR_DIMS(b, c->channels_out, a.x.shape[2], a.x.shape[3])));
    TR_TRY(tr_mmdit_forward(p->m->transformer, p->stage.stream, &a));
    TR_TRY(put(p, "sample", a.out));
done:
    tr_free(host);
    return st;
}

static tress_status run_controlnet(probe *p)
{
    tress_status st = TRESS_OK;
    void *host = NULL;
    tr_tensor residual[TR_BLOCK_MAX];
    tr_controlnet_args a = { .residual = residual };
    const tr_controlnet_config *k = tr_controlnet_get_config(p->m->controlnet);
    const tr_mmdit_config *c = tr_mmdit_get_config(p->m->transformer);
    TR_TRY(get(p, &a.x, "hidden_states", 4, 0, false));
    TR_TRY(expect_latent(p, "hidden_states", a.x, c->channels_in));
    const int64_t b = a.x.shape[0], t = (a.x.shape[2] / c->patch) * (a.x.shape[3] / c->patch), d = (int64_t)c->n_head * c->d_head;
    TR_TRY(get(p, &a.condition, "controlnet_cond", 4, b, false));
    TR_TRY(expect_shape(p, "controlnet_cond", a.condition, TR_DIMS(b, k->channels_in + k->channels_extra, a.x.shape[2], a.x.shape[3])));
    TR_TRY(get(p, &a.pooled, "pooled_projections", 2, b, false));
    TR_TRY(expect_shape(p, "pooled_projections", a.pooled, TR_DIMS(b, k->d_pooled)));
    TR_TRY(get_host(p, &a.timestep, &host, "timestep", b));
    if (k->d_context) {
        TR_TRY(get(p, &a.context, "encoder_hidden_states", 3, b, false));
        TR_TRY(expect_shape(p, "encoder_hidden_states", a.context, TR_DIMS(b, a.context.shape[1], k->d_context)));
    }
    TR_TRY(take(p, &a.tokens, TR_DIMS(b, t, d)));
    TR_TRY(tr_mmdit_embed(p->m->transformer, p->stage.stream, a.tokens, a.x));
    for (int i = 0; i < k->n_block; i++) TR_TRY(take(p, &residual[i], TR_DIMS(b, t, d)));
    TR_TRY(tr_controlnet_forward(p->m->controlnet, p->stage.stream, &a));
    for (int i = 0; i < k->n_block; i++) {
        char name[32];
        snprintf(name, sizeof name, "residuals.%d", i);
        TR_TRY(put(p, name, residual[i]));
    }
done:
    tr_free(host);
    return st;
}

static tress_status run_vae_encode(probe *p)
{
    tress_status st = TRESS_OK;
    tr_tensor image, mean, logvar;
    const tr_vae_config *c = tr_vae_get_config(p->m->vae);
    const int f = tr_vae_factor(p->m->vae);
    char found[TR_DIMS_TEXT];
    TR_TRY(get(p, &image, "image", 4, 0, false));
    if (image.shape[1] != c->channels_in || image.shape[2] % f || image.shape[3] % f)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "image is %s, expected [B, %d, H, W] with sides that are multiples of %d", tr_dims_text(found, image.rank, image.shape), c->channels_in, f));
    const tr_dims d = TR_DIMS(image.shape[0], c->latent_channels, image.shape[2] / f, image.shape[3] / f);
    TR_TRY(take(p, &mean, d));
    TR_TRY(take(p, &logvar, d));
    TR_TRY(tr_vae_encode(p->m->vae, p->stage.stream, mean, logvar, image, p->args->sample->vae_band));
    TR_TRY(put(p, "mean", mean));
    TR_TRY(put(p, "logvar", logvar));
done:
    return st;
}

static tress_status run_vae_decode(probe *p)
{
    tress_status st = TRESS_OK;
    tr_tensor latent, image;
    const tr_vae_config *c = tr_vae_get_config(p->m->vae);
    const int f = tr_vae_factor(p->m->vae);
    TR_TRY(get(p, &latent, "latent", 4, 0, false));
    TR_TRY(expect_shape(p, "latent", latent, TR_DIMS(latent.shape[0], c->latent_channels, latent.shape[2], latent.shape[3])));
    TR_TRY(take(p, &image, TR_DIMS(latent.shape[0], c->channels_out, latent.shape[2] * f, latent.shape[3] * f)));
    TR_TRY(tr_vae_decode(p->m->vae, p->stage.stream, image, latent, p->args->sample->vae_band));
    TR_TRY(put(p, "image", image));
done:
    return st;
}

static tress_status no_such_module(const probe *p, tr_module module)
{
    return tr_fail(TRESS_E_IO, "%s holds no %s", p->m->model, tr_module_name(module));
}

static tress_status run_clip(probe *p, tr_module module)
{
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    tr_clip *net = NULL;
    tr_clip_config c;
    tr_tensor ids, hidden, pooled;
    void *host = NULL;
    TR_TRY(tr_bundle_encoder(&w, p->m, module));
    if (!w) TR_TRY(no_such_module(p, module));
    TR_TRY(tr_clip_config_read(&c, w));
    TR_TRY(tr_weights_place(w, p->m->host->device));
    TR_TRY(tr_clip_open(&net, p->m->host->device, w, &c));
    TR_TRY(tr_weights_check(w, tr_device_threads(p->m->host->device)));
    TR_TRY(get_ids(p, &ids, &host, c.n_position));
    TR_TRY(take(p, &hidden, TR_DIMS(ids.shape[0], ids.shape[1], c.d)));
    TR_TRY(take(p, &pooled, TR_DIMS(ids.shape[0], c.d_projection)));
    TR_TRY(tr_clip_encode(net, p->stage.stream, hidden, pooled, ids, c.n_vocab - 1));      /* <|endoftext|> is the last word of every CLIP vocabulary */
    TR_TRY(put(p, "hidden", hidden));
    TR_TRY(put(p, "pooled", pooled));
done:
    tr_clip_close(net);
    tr_weights_close(w);
    tr_free(host);
    return st;
}

static tress_status run_t5(probe *p)
{
    tress_status st = TRESS_OK;
    tr_weights *w = NULL;
    tr_t5 *net = NULL;
    tr_t5_config c;
    tr_tensor ids, hidden;
    void *host = NULL;
    TR_TRY(tr_bundle_encoder(&w, p->m, TR_MODULE_T5));
    if (!w) TR_TRY(no_such_module(p, TR_MODULE_T5));
    TR_TRY(tr_t5_config_read(&c, w));
    TR_TRY(tr_weights_place(w, p->m->host->device));
    TR_TRY(tr_t5_open(&net, p->m->host->device, w, &c));
    TR_TRY(tr_weights_check(w, tr_device_threads(p->m->host->device)));
    TR_TRY(get_ids(p, &ids, &host, TR_T5_ROWS_MAX));
    TR_TRY(take(p, &hidden, TR_DIMS(ids.shape[0], ids.shape[1], c.d)));
    TR_TRY(tr_t5_encode(net, p->stage.stream, hidden, ids));
    TR_TRY(put(p, "hidden", hidden));
done:
    tr_t5_close(net);
    tr_weights_close(w);
    tr_free(host);
    return st;
}

static tress_status run_tokenize(probe *p)
{
    tress_status st = TRESS_OK;
    tr_ids *ids = NULL;
    void *v = NULL;
    const int n = p->args->sample->max_sequence_length;
    TR_TRY(tr_alloc(&v, sizeof *ids));
    ids = v;
    TR_TRY(tr_words_tokenize(ids, p->m, p->args->text ? p->args->text : "", n));
    TR_TRY(put_host(p, "clip_l", ids->clip_l, TR_I32, TR_DIMS(1, TR_CLIP_ROWS)));
    TR_TRY(put_host(p, "clip_g", ids->clip_g, TR_I32, TR_DIMS(1, TR_CLIP_ROWS)));
    if (ids->has_t5) TR_TRY(put_host(p, "t5", ids->t5, TR_I32, TR_DIMS(1, n)));
done:
    tr_free(v);
    return st;
}

static tress_status run_text(probe *p)
{
    tress_status st = TRESS_OK;
    tr_tensor context, pooled;
    const char *const text[] = { p->args->text ? p->args->text : "" };
    TR_TRY(tr_words_encode(p->m, text, 1, p->args->sample->max_sequence_length, &context, &pooled));
    TR_TRY(put(p, "encoder_hidden_states", context));
    TR_TRY(put(p, "pooled_projections", pooled));
done:
    return st;
}

static tress_status run_sample(probe *p)
{
    tress_status st = TRESS_OK;
    const tress_generate_args *g = p->args->sample;
    const tr_mmdit_config *c = tr_mmdit_get_config(p->m->transformer);
    const bool guided = g->cfg_scale > 1;
    tr_words w = { .repeat = 1 };
    tr_tensor x, condition;
    tr_schedule schedule;
    TR_TRY(get(p, &x, "latents", 4, 0, false));
    TR_TRY(expect_latent(p, "latents", x, c->channels_in));
    TR_TRY(get(p, &w.context, "encoder_hidden_states", 3, 0, false));
    TR_TRY(get(p, &w.pooled, "pooled_projections", 2, 0, false));
    if (guided) {
        TR_TRY(get(p, &w.context_neg, "negative_encoder_hidden_states", 3, 0, false));
        TR_TRY(get(p, &w.pooled_neg, "negative_pooled_projections", 2, 0, false));
    }
    TR_TRY(get(p, &condition, "controlnet_cond", 4, 0, true));
    TR_TRY(tr_schedule_make(&schedule, &p->m->schedule, g->n_step, (double)g->shift, (double)g->strength));
    TR_TRY(tr_draw_latents(p->m, p->stage.stream, x, g, &schedule, &w, condition, NULL, NULL, NULL));
    TR_TRY(put(p, "latents", x));
done:
    return st;
}

/* F32 input of exactly these dims, left in host memory; *out is new (tr_free). */
static tress_status read_host(const probe *p, float **out, const char *name, tr_dims d)
{
    tress_status st = TRESS_OK;
    void *host = NULL;
    int64_t n = 1;
    for (int i = 0; i < d.rank; i++) n *= d.n[i];
    TR_TRY(tr_alloc_array(&host, n, sizeof(float)));
    TR_TRY(tr_safetensors_read_f32(p->in, name, host, d));
    *out = host;
    host = NULL;
done:
    tr_free(host);
    return st;
}

/* Inputs that are shares. */
static tress_status expect_share(const probe *p, const char *name, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] >= 0 && x[i] <= 1))
            return tr_fail(TRESS_E_FORMAT, "%s: %s holds %g, expected 0 to 1", tr_safetensors_path(p->in), name, (double)x[i]);
    return TRESS_OK;
}

static tress_status put_params(probe *p, tr_trainer *t, bool grads)
{
    tress_status st = TRESS_OK;
    const tr_adapters *k = tr_trainer_adapters(t);
    for (int i = 0; i < tr_adapters_count(k); i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", grads ? "grad." : "lora.", tr_adapters_name(k, i));
        TR_TRY(put(p, name, grads ? tr_adapters_grad(k, i) : tr_adapters_param(k, i)));
    }
done:
    return st;
}

static tress_status run_train_step(probe *p)
{
    tress_status st = TRESS_OK;
    tr_lora *begin = NULL;
    tr_trainer *t = NULL;
    float *host[5] = { NULL };                                  /* latents, control, noise, mask, sigma */
    static const char *const name[] = { "latents", "control", "noise", "mask", "sigma" };
    tr_tensor x;
    tr_run_specs specs;
    tr_train_loss loss;
    tr_train_update update;
    char dims[TR_DIMS_TEXT];
    const tr_mmdit_config *c = tr_mmdit_get_config(p->m->transformer);
    tr_stream *s = p->stage.stream;
    if (!tr_safetensors_find(p->in, "latents", &x)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: there is no tensor latents, which train-step reads", tr_safetensors_path(p->in)));
    if (x.rank != 4 || tr_count(x) == 0) TR_TRY(tr_fail(TRESS_E_SHAPE, "%s: latents is %s, expected [B, %d, h, w]", tr_safetensors_path(p->in), tr_dims_text(dims, x.rank, x.shape), c->channels_in));
    TR_TRY(expect_latent(p, "latents", x, c->channels_in));
    for (int i = 0; i < 5; i++)
        TR_TRY(read_host(p, &host[i], name[i], i < 3 ? dims_of(x) : i == 3 ? TR_DIMS(x.shape[0], 1, x.shape[2], x.shape[3]) : TR_DIMS(x.shape[0])));
    TR_TRY(expect_share(p, "mask", host[3], x.shape[0] * x.shape[2] * x.shape[3]));
    TR_TRY(expect_share(p, "sigma", host[4], x.shape[0]));
    TR_TRY(tr_run_trainer_spec(&specs.trainer, p->args->train, p->m->transformer));
    const tress_checkpointing keep = p->args->train->gradient_checkpointing;
    specs.trainer.keep = keep == TRESS_CHECKPOINTING_ON ? TR_KEEP_INPUT : keep == TRESS_CHECKPOINTING_ATTENTION ? TR_KEEP_ATTENTION : TR_KEEP_ALL;
    TR_TRY(tr_trainer_new(&t, s, p->m->transformer, p->m->controlnet, &specs.trainer));
    if (p->lora) {
        TR_TRY(tr_lora_open(&begin, p->lora));
        TR_TRY(tr_adapters_load(tr_trainer_adapters(t), s, begin));
    }
    const tr_train_batch batch = { .b = x.shape[0], .h = x.shape[2], .w = x.shape[3], .latents = host[0], .control = host[1], .noise = host[2], .mask = host[3], .sigma = host[4] };
    TR_TRY(tr_trainer_accumulate(t, s, &batch, 1, &loss, NULL));
    if (loss.i_bad >= 0) TR_TRY(tr_fail(TRESS_E_NONFINITE, "the loss of sample %d is not finite", loss.i_bad));
    const float value = (float)loss.loss;
    if (!isfinite(value)) TR_TRY(tr_fail(TRESS_E_NONFINITE, "the loss is %g, more than F32 holds", loss.loss));
    TR_TRY(put_host(p, "loss", &value, TR_F32, TR_DIMS(1)));
    TR_TRY(tr_trainer_unscale(t, s));
    TR_TRY(put_params(p, t, true));
    TR_TRY(tr_trainer_update(t, s, p->args->train->learning_rate, true, &update));
    if (!update.finite) TR_TRY(tr_fail(TRESS_E_NONFINITE, "the gradient of block %d is not finite", update.bad_block));
    TR_TRY(put_params(p, t, false));
done:
    tr_trainer_free(t);
    tr_lora_close(begin);
    for (int i = 0; i < 5; i++) tr_free(host[i]);
    return st;
}

/* ---- one probe ------------------------------------------------------------------------------------------- */

static tress_status run_clip_l(probe *p) { return run_clip(p, TR_MODULE_CLIP_L); }
static tress_status run_clip_g(probe *p) { return run_clip(p, TR_MODULE_CLIP_G); }

static const struct { const char *name; int want; bool reads; tress_status (*run)(probe *p); } modules[] = {
    { "transformer", TR_WANT_TRANSFORMER, true, run_transformer },
    { "controlnet", TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET, true, run_controlnet },
    { "vae-encode", TR_WANT_VAE, true, run_vae_encode },
    { "vae-decode", TR_WANT_VAE, true, run_vae_decode },
    { "clip-l", 0, true, run_clip_l },
    { "clip-g", 0, true, run_clip_g },
    { "t5", 0, true, run_t5 },
    { "tokenize", 0, false, run_tokenize },
    { "text", TR_WANT_TRANSFORMER, false, run_text },
    { "sample", TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET, true, run_sample },
    { "train-step", TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET, true, run_train_step },
};
#define N_MODULE (int)(sizeof modules / sizeof *modules)

tress_status tress_probe(tress *t, const tress_model_args *model, const tress_probe_args *args)
{
    tress_status st = TRESS_OK;
    tress_generate_args sample;
    tress_train_args train;
    tress_probe_args a;
    tress_model_args wanted = { 0 };
    probe *p = NULL;
    void *v = NULL;
    int k = 0;
    if (!t || !args || !args->module || !args->out) return tr_fail(TRESS_E_ARG, "tress_probe: handle, module and out must be given");
    while (k < N_MODULE && strcmp(modules[k].name, args->module) != 0) k++;
    if (k == N_MODULE)
        return tr_fail(TRESS_E_ARG, "there is no module %s: expected transformer, controlnet, vae-encode, vae-decode, clip-l, clip-g, t5, tokenize, text, sample or train-step", args->module);
    if (modules[k].reads && !args->in) return tr_fail(TRESS_E_ARG, "%s needs --in: a safetensors file of its inputs", args->module);
    const tr_dtype dtype = tr_device_dtype(t->host.device);
    a = *args;
    tress_generate_defaults(&sample);
    if (!a.sample) a.sample = &sample;
    tress_train_defaults(&train);
    if (!a.train) a.train = &train;
    if (model) wanted = *model;
    const bool trains = modules[k].run == run_train_step;
    const char *begin = NULL;
    if (trains && wanted.n_lora > 0) {                          /* what learns, rather than what lies beside the weights */
        if (wanted.n_lora > 1 || wanted.lora[0].weight != 1) return tr_fail(TRESS_E_ARG, "train-step begins with one LoRA at most, and its weight is 1");
        begin = wanted.lora[0].file;
        wanted.n_lora = 0;
    }

    TR_TRY(tr_alloc(&v, sizeof *p));
    p = v;
    p->args = &a;
    p->lora = begin;
    if (modules[k].reads) TR_TRY(tr_safetensors_open(&p->in, a.in));
    int want = modules[k].want;
    tr_tensor ignored;
    if (strcmp(args->module, "sample") == 0 && !tr_safetensors_find(p->in, "controlnet_cond", &ignored)) want = TR_WANT_TRANSFORMER;
    if (trains) TR_TRY(tr_train_set_precision(t->host.device, a.train->mixed_precision));
    TR_TRY(tr_bundle_open(&p->m, &t->host, &wanted, want));
    TR_TRY(tr_bundle_scan(p->m));
    TR_TRY(tr_stage_begin(&p->stage, &t->host, a.module, 0));
    st = modules[k].run(p);
    if (st != TRESS_OK) {
        if (st != TRESS_E_CANCELLED) st = tr_note(st, "probe %s", a.module);
        goto done;
    }
    TR_TRY(tr_safetensors_write(a.out, p->out, p->n_out, NULL));
done:
    if (p) {
        tr_stage_end(&p->stage);
        for (int i = 0; i < p->n_owned; i++) tr_device_give(t->host.device, p->owned[i]);
        for (int i = 0; i < p->n_out; i++) {
            tr_free((void *)(uintptr_t)p->out[i].name);
            tr_free(p->out[i].t.data);
        }
        tr_free(p->out);
        tr_safetensors_close(p->in);
        tr_bundle_close(p->m);
        tr_free(p);
    }
    tr_train_restore(t->host.device, dtype);
    return st;
}
