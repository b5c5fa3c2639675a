/* The gradients of every adapter, all elements, against central differences of a forward in float64 (naive.h) that shares no code
 * with the model. The loss is sum(g v) with random g, so that dv = g.
 *
 * Bounds. u = 2^-24. A gradient is a sum of products along about 20 ops for each of up to 3 blocks, there and back; each rounds its
 * result once and sums over up to 256 terms in blocks, which leaves some 4 u of the norm. The errors are independent: sqrt(120) 4 u =
 * 2.6e-6 of a tensor's norm; the bound for one tensor is 1e-5, that of the project for a module. Differences with h = 1e-4 are exact to
 * h^2 f''' / 6 and 2^-53 |loss| / h, both below 1e-7 of a tensor's norm here: with h = 1e-5 the figures are the same.
 * Times are near 0: the angle of the time embedding is rounded in fp32, as torch does, and u times 1000 radians would be all that is
 * seen. */
#include "naive.h"

typedef struct trial {
    const char *name;
    int      n_block, n_head, targets, n_text, n_residual;
    bool     no_norm, dual[N_BLOCK_MAX], diffusers_last, second_alone;
    int      block[N_BLOCK_MAX], n_learn;       /* n_learn 0: all */
    tr_keep  keep;
    double   rows;                              /* that a row of text stands for; 0: 1 */
} trial;

/* ---- the model --------------------------------------------------------------------------------------------- */
typedef struct weight_list { tr_named at[256]; int n; } weight_list;

static void add(weight_list *l, tr_dims d, const char *prefix, const char *name)
{
    char full[128], *kept = NULL;
    size_t bytes;
    void *p = NULL;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    assert_true(l->n < 256);
    OK(tr_bytes(&bytes, TR_F32, d));
    OK(tr_alloc(&p, bytes));
    if (strcmp(full, "pos_embed.pos_embed") == 0) seeded_normal(p, (int64_t)(bytes / 4), full, 3, 0, 1);
    else seeded_weight(p, full, 3, d);
    OK(tr_strdup(&kept, full));
    l->at[l->n++] = (tr_named){ kept, tr_view(p, TR_F32, d) };
}

static void add_linear(weight_list *l, int64_t d_out, int64_t d_in, const char *prefix, const char *name)
{
    char part[96];
    snprintf(part, sizeof part, "%s.weight", name);
    add(l, TR_DIMS(d_out, d_in), prefix, part);
    snprintf(part, sizeof part, "%s.bias", name);
    add(l, TR_DIMS(d_out), prefix, part);
}

static void write_model(const trial *c, const char *folder)
{
    weight_list l = { .n = 0 };
    char path[700];
    add(&l, TR_DIMS(D, CHANNELS, 2, 2), "", "pos_embed.proj.weight");
    add(&l, TR_DIMS(D), "", "pos_embed.proj.bias");
    add(&l, TR_DIMS(1, POS_MAX * POS_MAX, D), "", "pos_embed.pos_embed");
    add_linear(&l, D, TIME, "time_text_embed.", "timestep_embedder.linear_1");
    add_linear(&l, D, D, "time_text_embed.", "timestep_embedder.linear_2");
    add_linear(&l, D, D_POOLED, "time_text_embed.", "text_embedder.linear_1");
    add_linear(&l, D, D, "time_text_embed.", "text_embedder.linear_2");
    add_linear(&l, D, D_CONTEXT, "", "context_embedder");
    add_linear(&l, 2 * D, D, "", "norm_out.linear");
    add_linear(&l, PATCH, D, "", "proj_out");
    for (int i = 0; i < c->n_block; i++) {
        static const char *const image[] = { "to_q", "to_k", "to_v", "to_out.0" };
        static const char *const text[] = { "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out" };
        static const char *const norm[] = { "norm_q.weight", "norm_k.weight", "norm_added_q.weight", "norm_added_k.weight" };
        const bool last = i + 1 == c->n_block;
        char at[64];
        snprintf(at, sizeof at, "transformer_blocks.%d.", i);
        add_linear(&l, (c->dual[i] ? 9 : 6) * D, D, at, "norm1.linear");
        add_linear(&l, (last ? 2 : 6) * D, D, at, "norm1_context.linear");
        add_linear(&l, 4 * D, D, at, "ff.net.0.proj");
        add_linear(&l, D, 4 * D, at, "ff.net.2");
        if (!last) add_linear(&l, 4 * D, D, at, "ff_context.net.0.proj");
        if (!last) add_linear(&l, D, 4 * D, at, "ff_context.net.2");
        for (int second = 0; second <= c->dual[i]; second++) {
            snprintf(at, sizeof at, "transformer_blocks.%d.attn%s.", i, second ? "2" : "");
            for (int k = 0; k < 4; k++) add_linear(&l, D, D, at, image[k]);
            for (int k = 0; !second && k < (last ? 3 : 4); k++) add_linear(&l, D, D, at, text[k]);
            for (int k = 0; !c->no_norm && k < (second ? 2 : 4); k++) add(&l, TR_DIMS(D / c->n_head), at, norm[k]);
        }
    }
    assert_true(mkdir(folder, 0777) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", folder);
    OK(tr_safetensors_write(path, l.at, l.n, NULL));
    for (int i = 0; i < l.n; i++) {
        tr_free((void *)(uintptr_t)l.at[i].name);
        tr_free(l.at[i].t.data);
    }
}

typedef struct fixture {
    const trial *c;
    tr_device   *device;
    tr_stream   *stream;
    tr_weights  *weights;
    tr_mmdit    *model;
    tr_adapters *adapters;
    naive        m;
    float        timestep[N_BATCH], g[N_BATCH][N_LATENT];
    tr_tensor    residual[N_BLOCK_MAX];
    tr_mmdit_args args;
} fixture;

/* The same normal numbers for the model (out, new) and for naive (to). */
static tr_tensor input(void *to, const char *name, tr_dims d)
{
    const tr_tensor t = sd3_new(d);
    seeded_normal(t.data, tr_count(t), name, 5, 0, 1);
    for (int64_t i = 0; i < tr_count(t); i++) ((double *)to)[i] = (double)((const float *)t.data)[i];
    return t;
}

static void fixture_open(fixture *f, const trial *c)
{
    char folder[512], path[700];
    *f = (fixture){ .c = c, .timestep = { 3, 0.5 } };
    snprintf(folder, sizeof folder, "%s/test-gradients-%d", TRESS_BINARY_DIR, (int)getpid());
    write_model(c, folder);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", folder);
    tr_mmdit_config config = { .n_block = c->n_block, .n_head = c->n_head, .d_head = D / c->n_head, .channels_in = CHANNELS,
                               .channels_out = CHANNELS, .patch = 2, .d_context = D_CONTEXT, .d_pooled = D_POOLED, .pos_max = POS_MAX,
                               .sample_size = 8, .qk_norm = !c->no_norm };
    memcpy(config.dual, c->dual, sizeof c->dual);
    sd3_device(&f->device, &f->stream, 2, false);
    OK(tr_weights_open(&f->weights, path, TR_MODULE_TRANSFORMER, NULL));
    OK(tr_mmdit_open(&f->model, f->device, f->weights, &config));
    naive *m = &f->m;
    OK(tr_safetensors_open(&m->file, path));
    remove(path);
    remove(folder);

    m->n_block = c->n_block;
    m->n_head = c->n_head;
    m->n_text = c->n_text;
    m->n_residual = c->n_residual;
    m->qk_norm = !c->no_norm;
    m->residual_last = !c->diffusers_last;
    m->residual_scale = 0.75;
    m->logw = (double)logf((float)(c->rows > 0 ? c->rows : 1));
    memcpy(m->dual, c->dual, sizeof m->dual);
    f->args = (tr_mmdit_args){
        .x = input(m->latent, "x", TR_DIMS(N_BATCH, CHANNELS, 2 * ROWS, 2 * COLS)),
        .context = sd3_new(TR_DIMS(N_BATCH, c->n_text, D_CONTEXT)),
        .context_logw = (float)m->logw,
        .pooled = input(m->pooled, "pooled", TR_DIMS(N_BATCH, D_POOLED)),
        .timestep = tr_view(f->timestep, TR_F32, TR_DIMS(N_BATCH)),
        .residual = f->residual, .n_residual = c->n_residual, .residual_scale = 0.75f, .residual_last = !c->diffusers_last,
        .out = sd3_new(TR_DIMS(N_BATCH, CHANNELS, 2 * ROWS, 2 * COLS)),
    };
    float *context = f->args.context.data;
    seeded_normal(context, tr_count(f->args.context), "context", 5, 0, 1);
    for (int b = 0; b < N_BATCH; b++) {
        m->timestep[b] = (double)f->timestep[b];
        for (int i = 0; i < c->n_text; i++)
            for (int j = 0; j < D_CONTEXT; j++) m->context[b][i][j] = (double)context[(b * c->n_text + i) * D_CONTEXT + j];
    }
    for (int i = 0; i < c->n_residual; i++) {
        char name[32];
        snprintf(name, sizeof name, "residual.%d", i);
        f->residual[i] = input(m->residual[i], name, TR_DIMS(N_BATCH, N_TOKEN, D));
    }
    seeded_normal((float *)f->g, N_BATCH * N_LATENT, "g", 5, 0, 1);
    if (c->second_alone) memset(f->g[0], 0, sizeof f->g[0]);
    naive_begin(m);
}

static void fixture_close(fixture *f)
{
    tr_adapters_free(f->adapters);
    tr_free(f->args.x.data);
    tr_free(f->args.context.data);
    tr_free(f->args.pooled.data);
    tr_free(f->args.out.data);
    for (int i = 0; i < f->c->n_residual; i++) tr_free(f->residual[i].data);
    naive_close(&f->m);
    tr_mmdit_close(f->model);
    tr_weights_close(f->weights);
    tr_stream_free(f->stream);
    tr_device_close(f->device);
}

/* ---- adapters ---------------------------------------------------------------------------------------------- */
#define RANK 2
/* The layer of tensor i of the adapters, and whether it is B. */
static naive_layer *layer_of(fixture *f, int i, bool *b)
{
    char name[128];
    const char *at = tr_adapters_name(f->adapters, i), *end = strstr(at, ".lora_");
    assert_true(strncmp(at, "transformer.", 12) == 0 && end);
    snprintf(name, sizeof name, "%.*s", (int)(end - at) - 12, at + 12);
    naive_layer *l = naive_find(&f->m, name);
    if (!l) fail_msg("the naive model has no %s", name);
    *b = end[6] == 'B';
    return l;
}

/* Random B too, so that gradients reach A; the naive model gets the same. */
static void adapt(fixture *f)
{
    const tr_adapter_spec spec = { .rank = RANK, .alpha = 3, .targets = f->c->targets, .block = f->c->block, .n_block = f->c->n_learn,
                                   .seed = 9 };
    OK(tr_adapters_new(&f->adapters, f->model, &spec));
    f->m.low_scale = 3.0 / RANK;
    for (int i = 0; i < tr_adapters_count(f->adapters); i++) {
        bool b;
        naive_layer *l = layer_of(f, i, &b);
        const tr_tensor p = tr_adapters_param(f->adapters, i);
        void *copy = NULL;
        if (b) seeded_normal(p.data, tr_count(p), tr_adapters_name(f->adapters, i), 5, 0, 0.2);
        OK(tr_alloc_array(&copy, tr_count(p), sizeof(double)));
        for (int64_t j = 0; j < tr_count(p); j++) ((double *)copy)[j] = (double)((const float *)p.data)[j];
        *(b ? &l->up : &l->a) = copy;
        l->rank = RANK;
    }
}

static double loss(const fixture *f)
{
    double sum = 0;
    for (int b = 0; b < N_BATCH; b++)
        for (int i = 0; i < N_LATENT; i++) sum += (double)f->g[b][i] * f->m.v[b][i];
    return sum;
}

static tress_status give(void *self, tr_stream *s, tr_tensor v, tr_tensor dv)
{
    (void)v;
    return tr_upload(s, dv, ((fixture *)self)->g);
}

static void near_naive(fixture *f, const char *what)
{
    float want[N_BATCH][N_LATENT];
    for (int b = 0; b < N_BATCH; b++)
        for (int i = 0; i < N_LATENT; i++) want[b][i] = (float)f->m.v[b][i];
    const double e = seeded_error(f->args.out.data, (const float *)want, N_BATCH * N_LATENT);
    if (!(e <= SD3_TOLERANCE)) fail_msg("%s: %s: relative error %.3g", f->c->name, what, e);
}

/* ---- the comparison ---------------------------------------------------------------------------------------- */
#define H 1e-4
#define BOUND 1e-5
static void hold(const trial *c)
{
    static fixture f;
    double worst = 0;
    const char *worst_name = "";
    fixture_open(&f, c);
    naive_forward(&f.m, 0);
    OK(tr_mmdit_forward(f.model, f.stream, &f.args));
    near_naive(&f, "forward");
    adapt(&f);
    naive_forward(&f.m, 0);
    OK(tr_mmdit_forward(f.model, f.stream, &f.args));
    near_naive(&f, "forward with adapters");
    memset(f.args.out.data, 0xff, sizeof f.g);
    tr_mmdit_train_args a = { .forward = f.args, .keep = c->keep, .round = TR_F32, .loss = give, .self = &f };
    OK(tr_mmdit_train(f.model, f.stream, &a));
    near_naive(&f, "training's forward");
    a.keep = (tr_keep)((c->keep + 1) % 3);
    OK(tr_mmdit_train(f.model, f.stream, &a));                  /* added to what is there: halved below */

    assert_true(tr_adapters_count(f.adapters) > 0);
    for (int i = 0; i < tr_adapters_count(f.adapters); i++) {
        bool b;
        const naive_layer *l = layer_of(&f, i, &b);
        double *at = b ? l->up : l->a, diff = 0, ref = 0;
        const tr_tensor got = tr_adapters_grad(f.adapters, i);
        for (int64_t j = 0; j < tr_count(got); j++) {
            const double p = at[j];
            at[j] = p + H;
            naive_forward(&f.m, tr_adapters_block(f.adapters, i));
            const double more = loss(&f);
            at[j] = p - H;
            naive_forward(&f.m, tr_adapters_block(f.adapters, i));
            const double want = (more - loss(&f)) / (2 * H), e = (double)((const float *)got.data)[j] / 2 - want;
            at[j] = p;
            diff += e * e;
            ref += want * want;
        }
        naive_forward(&f.m, tr_adapters_block(f.adapters, i));
        const double error = sqrt(diff / ref);
        if (!(ref > 0 && error <= BOUND))
            fail_msg("%s: %s: gradient of norm %.3g, relative error %.3g, expected at most %.3g", c->name, tr_adapters_name(f.adapters, i),
                     sqrt(ref), error, BOUND);
        if (!(error <= worst)) {
            worst = error;
            worst_name = tr_adapters_name(f.adapters, i);
        }
    }
    print_message("%-28s %2d tensors, worst %.2g, %s\n", c->name, tr_adapters_count(f.adapters), worst, worst_name);
    fixture_close(&f);
}

enum { TEXT = TR_TARGET_ADD_Q | TR_TARGET_ADD_K | TR_TARGET_ADD_V | TR_TARGET_TO_ADD_OUT };

static void as_trained(void **state)
{
    (void)state;
    hold(&(trial){ .name = "one row for 333", .n_block = 2, .n_head = 2, .targets = TR_TARGET_IMAGE, .n_text = 1, .rows = 333,
                   .n_residual = 2 });
    hold(&(trial){ .name = "several rows with weight", .n_block = 2, .n_head = 1, .targets = TR_TARGET_IMAGE | TEXT, .n_text = 3, .rows = 5,
                   .n_residual = 1, .diffusers_last = true, .keep = TR_KEEP_ATTENTION });
}

static void some_blocks(void **state)
{
    (void)state;
    hold(&(trial){ .name = "first block alone", .n_block = 3, .n_head = 2, .targets = TR_TARGET_IMAGE | TEXT, .n_text = 2, .block = { 0 },
                   .n_learn = 1, .n_residual = 3 });
    hold(&(trial){ .name = "middle block alone", .n_block = 3, .n_head = 1, .targets = TR_TARGET_IMAGE | TEXT, .n_text = 2, .block = { 1 },
                   .n_learn = 1, .n_residual = 1, .keep = TR_KEEP_INPUT });
    hold(&(trial){ .name = "last block alone", .n_block = 3, .n_head = 2, .targets = TR_TARGET_IMAGE | TEXT, .n_text = 2, .block = { 2 },
                   .n_learn = 1, .n_residual = 1, .keep = TR_KEEP_ATTENTION });
    hold(&(trial){ .name = "first and last block", .n_block = 3, .n_head = 2, .targets = TR_TARGET_TO_V, .n_text = 1, .rows = 77,
                   .block = { 0, 2 }, .n_learn = 2, .keep = TR_KEEP_INPUT });
}

static void single_targets(void **state)
{
    static const struct { const char *name; int target; } one[] = {
        { "to_q alone", TR_TARGET_TO_Q }, { "to_k alone", TR_TARGET_TO_K }, { "to_v alone", TR_TARGET_TO_V },
        { "to_out alone", TR_TARGET_TO_OUT },
        { "add_q alone", TR_TARGET_ADD_Q }, { "add_k alone", TR_TARGET_ADD_K }, { "add_v alone", TR_TARGET_ADD_V },
        { "to_add_out alone", TR_TARGET_TO_ADD_OUT } };
    (void)state;
    for (int i = 0; i < 8; i++)
        hold(&(trial){ .name = one[i].name, .n_block = 2, .n_head = 2, .targets = one[i].target, .n_text = 2, .rows = 9,
                       .keep = (tr_keep)(i % 3) });
}

static void second_attention(void **state)
{
    (void)state;
    hold(&(trial){ .name = "second attention", .n_block = 2, .n_head = 2, .targets = TR_TARGET_IMAGE | TEXT, .n_text = 1, .rows = 333,
                   .n_residual = 1, .dual = { true, true } });
    hold(&(trial){ .name = "second attention, unlearned", .n_block = 3, .n_head = 1, .targets = TR_TARGET_TO_K, .n_text = 2,
                   .block = { 0 }, .n_learn = 1, .dual = { false, true, true }, .keep = TR_KEEP_INPUT });
}

static void no_norms(void **state)
{
    (void)state;
    hold(&(trial){ .name = "no norms", .n_block = 2, .n_head = 2, .targets = TR_TARGET_IMAGE | TEXT, .n_text = 2, .no_norm = true,
                   .dual = { true }, .n_residual = 2, .keep = TR_KEEP_INPUT });
}

static void second_sample(void **state)
{
    (void)state;
    hold(&(trial){ .name = "second sample alone", .n_block = 2, .n_head = 2, .targets = TR_TARGET_IMAGE, .n_text = 2, .n_residual = 2,
                   .second_alone = true });
}

/* ---- half precision ---------------------------------------------------------------------------------------- */
static void train(fixture *f, tr_dtype round)
{
    OK(tr_set(f->stream, tr_adapters_grads(f->adapters), 0));
    const tr_mmdit_train_args a = { .forward = f->args, .round = round, .loss = give, .self = f };
    OK(tr_mmdit_train(f->model, f->stream, &a));
}

/* What passes from block to block is of the type it is rounded to: tokens that round to the same are the same, a residual that is
 * large beside them leaves nothing of them, and a gradient below F16's smallest number is none. */
static void rounding(void **state)
{
    const trial c = { .name = "rounding", .n_block = 2, .n_head = 2, .targets = TR_TARGET_IMAGE, .n_text = 1, .n_residual = 1 };
    static fixture f;
    (void)state;
    fixture_open(&f, &c);
    naive_forward(&f.m, 0);                                 /* finds its layers */
    adapt(&f);
    const int64_t n_v = tr_count(f.args.out), n_grad = tr_count(tr_adapters_grads(f.adapters)), n_token = N_BATCH * N_TOKEN * D;
    float *v = f.args.out.data, *grad = tr_adapters_grads(f.adapters).data;
    void *first_v = NULL, *first_grad = NULL;
    OK(tr_alloc_array(&first_v, n_v, sizeof(float)));
    OK(tr_alloc_array(&first_grad, n_grad, sizeof(float)));
    f.args.tokens = sd3_new(TR_DIMS(N_BATCH, N_TOKEN, D));
    for (int i = 0; i < 2; i++) {
        const tr_dtype t = i ? TR_F32 : TR_BF16;
        OK(tr_mmdit_embed(f.model, f.stream, f.args.tokens, f.args.x));
        train(&f, t);
        memcpy(first_v, v, (size_t)n_v * sizeof(float));
        memcpy(first_grad, grad, (size_t)n_grad * sizeof(float));
        for (int64_t j = 0; j < n_token; j++) {
            float *x = (float *)f.args.tokens.data + j;
            *x = tr_bf16_to_f32(tr_f32_to_bf16(*x));
        }
        train(&f, t);
        assert_int_equal(memcmp(v, first_v, (size_t)n_v * sizeof(float)) == 0, t == TR_BF16);
        assert_int_equal(memcmp(grad, first_grad, (size_t)n_grad * sizeof(float)) == 0, t == TR_BF16);
    }
    tr_free(f.args.tokens.data);
    f.args.tokens = tr_none();

    for (int i = 0; i < N_BATCH; i++)
        for (int j = 0; j < N_LATENT; j++) f.g[i][j] *= 1e-12f;
    for (int i = 0; i < 2; i++) {
        double most = 0;
        train(&f, i ? TR_F32 : TR_F16);
        for (int64_t j = 0; j < n_grad; j++) most = fmax(most, fabs((double)grad[j]));
        assert_int_equal(most > 0, i);
    }

    for (int64_t j = 0; j < n_token; j++) ((float *)f.residual[0].data)[j] = 0x1p20f;      /* bf16 is 8192 apart there */
    f.timestep[1] = f.timestep[0];
    memcpy((float *)f.args.pooled.data + D_POOLED, f.args.pooled.data, D_POOLED * sizeof(float));
    for (int i = 0; i < 2; i++) {
        train(&f, i ? TR_F32 : TR_BF16);
        assert_int_equal(memcmp(v, v + N_LATENT, N_LATENT * sizeof(float)) != 0, i);
    }
    tr_free(first_v);
    tr_free(first_grad);
    fixture_close(&f);
}

/* The tensor of that name's largest gradient. */
static double largest(const fixture *f, const char *name)
{
    double most = 0;
    for (int i = 0; i < tr_adapters_count(f->adapters); i++) {
        const tr_tensor g = tr_adapters_grad(f->adapters, i);
        if (strcmp(tr_adapters_name(f->adapters, i), name) != 0) continue;
        for (int64_t j = 0; j < tr_count(g); j++) most = fmax(most, fabs((double)((const float *)g.data)[j]));
        return most;
    }
    fail_msg("there is no %s", name);
    return 0;
}

/* The text's stream likewise. Its gradient is smaller than the image's, so at some scale it is nothing in F16 and the image's is not;
 * and text beyond 65504 is infinite in F16, where without rounding a norm would bring it back. */
static void rounding_of_text(void **state)
{
    static const char *const text = "transformer.transformer_blocks.0.attn.to_add_out.lora_B.weight";
    static const char *const image = "transformer.transformer_blocks.1.attn.to_out.0.lora_B.weight";
    const trial c = { .name = "rounding", .n_block = 2, .n_head = 2, .targets = TR_TARGET_IMAGE | TEXT, .n_text = 1 };
    static fixture f;
    bool seen = false;
    (void)state;
    fixture_open(&f, &c);
    naive_forward(&f.m, 0);
    adapt(&f);
    for (int k = 0; k < 40 && !seen; k++) {
        train(&f, TR_F16);
        seen = largest(&f, text) == 0 && largest(&f, image) > 0;
        if (seen) break;
        for (int i = 0; i < N_BATCH; i++)
            for (int j = 0; j < N_LATENT; j++) f.g[i][j] *= 0.5f;
    }
    assert_true(seen);
    train(&f, TR_F32);
    assert_true(largest(&f, text) > 0);

    for (int i = 0; i < tr_adapters_count(f.adapters); i++) {
        const tr_tensor p = tr_adapters_param(f.adapters, i);
        for (int64_t j = 0; strcmp(tr_adapters_name(f.adapters, i), text) == 0 && j < tr_count(p); j++) ((float *)p.data)[j] *= 1e7f;
    }
    for (int k = 0; k < 2; k++) {
        double sum = 0;
        train(&f, k ? TR_F32 : TR_F16);
        for (int64_t j = 0; j < tr_count(f.args.out); j++) sum += fabs((double)((const float *)f.args.out.data)[j]);
        assert_int_equal(isfinite(sum) != 0, k);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_trained), cmocka_unit_test(some_blocks), cmocka_unit_test(single_targets),
                                        cmocka_unit_test(second_attention), cmocka_unit_test(no_norms), cmocka_unit_test(second_sample),
                                        cmocka_unit_test(rounding), cmocka_unit_test(rounding_of_text) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
