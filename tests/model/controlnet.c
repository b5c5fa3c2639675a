/* The SD3 ControlNets against diffusers, stage by stage: image blocks alone and joint blocks. */
#include "sd3.h"

typedef struct fixture {
    sd3_golden     golden;
    tr_device     *device;
    tr_stream     *stream;
    tr_weights    *weights;
    tr_controlnet *model;
    tr_controlnet_config config;
    tr_controlnet_args args;
    tr_tensor residual[TR_BLOCK_MAX];
} fixture;

static void fixture_open(fixture *f, const char *name, int n_thread)
{
    *f = (fixture){ 0 };
    sd3_golden_open(&f->golden, name, TR_F32);
    sd3_device(&f->device, &f->stream, n_thread, false);
    OK(tr_weights_open(&f->weights, f->golden.folder, TR_MODULE_CONTROLNET, NULL));
    OK(tr_controlnet_config_read(&f->config, f->weights));
    OK(tr_controlnet_open(&f->model, f->device, f->weights, &f->config));
    sd3_golden *g = &f->golden;
    const tr_controlnet_config *c = &f->config;
    const int64_t t = g->h * g->w / 4, d = (int64_t)c->n_head * c->d_head;
    f->args = (tr_controlnet_args){
        .condition = sd3_input(g, "condition", TR_DIMS(g->b, c->channels_in + c->channels_extra, g->h, g->w)),
        .pooled = c->zero_pooled ? sd3_new(TR_DIMS(g->b, c->d_pooled)) : sd3_input(g, "pooled", TR_DIMS(g->b, c->d_pooled)),
        .timestep = tr_view(g->timestep, TR_F32, TR_DIMS(g->b)),
        .residual = f->residual,
    };
    if (c->pos_max) f->args.x = sd3_input(g, "x", TR_DIMS(g->b, c->channels_in, g->h, g->w));
    else f->args.tokens = sd3_input(g, "tokens", TR_DIMS(g->b, t, d));
    if (c->d_context) f->args.context = sd3_input(g, "context", TR_DIMS(g->b, g->n_text, c->d_context));
    for (int i = 0; i < c->n_block; i++) f->residual[i] = sd3_new(TR_DIMS(g->b, t, d));
}

static void fixture_close(fixture *f)
{
    for (int i = 0; i < f->config.n_block; i++) tr_free(f->residual[i].data);
    tr_free(f->args.condition.data);
    tr_free(f->args.pooled.data);
    tr_free(f->args.x.data);
    tr_free(f->args.tokens.data);
    tr_free(f->args.context.data);
    tr_controlnet_close(f->model);
    tr_weights_close(f->weights);
    tr_stream_free(f->stream);
    tr_device_close(f->device);
    sd3_golden_close(&f->golden);
}

static void run_stages(const char *name, int n_stage)
{
    fixture f;
    fixture_open(&f, name, 2);
    OK(tr_weights_check(f.weights, 2));
    sd3_stages stages = { .golden = &f.golden };
    f.args.probe = sd3_stage;
    f.args.probe_self = &stages;
    OK(tr_controlnet_forward(f.model, f.stream, &f.args));
    assert_int_equal(stages.n, n_stage);
    print_message("%s: worst stage %s, %.2g\n", name, stages.worst_name, stages.worst);
    fixture_close(&f);
}

/* temb (and context) before the blocks; norm, attention, image, residual of each, and as many less one of the text. */
static void test_8b(void **state)       { (void)state; run_stages("controlnet-8b", 1 + 3 * 4); }
static void test_instantx(void **state) { (void)state; run_stages("controlnet-instantx", 2 + 3 * 7); }
static void test_extra(void **state)    { (void)state; run_stages("controlnet-extra", 2 + 2 * 7 + 1); }

static void test_config(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, "controlnet-8b", 1);
    assert_true(f.config.n_block == 3 && !f.config.d_context && !f.config.pos_max && !f.config.qk_norm && !f.config.zero_pooled);
    fixture_close(&f);
    fixture_open(&f, "controlnet-instantx", 1);
    assert_true(f.config.d_context == 40 && f.config.pos_max == 8 && f.config.zero_pooled && !f.config.channels_extra);
    fixture_close(&f);
    fixture_open(&f, "controlnet-extra", 1);
    assert_true(f.config.channels_extra == 1 && f.config.qk_norm && !f.config.dual[0] && f.config.dual[1] && !f.config.zero_pooled);
    fixture_close(&f);
}

static void test_config_from_shapes(void **state)
{
    (void)state;
    static const char *const name[] = { "controlnet-8b", "controlnet-instantx", "controlnet-extra" };
    for (int i = 0; i < 3; i++) {
        fixture f;
        char path[600];
        tr_weights *w = NULL;
        tr_controlnet_config c;
        fixture_open(&f, name[i], 1);
        snprintf(path, sizeof path, "%s/config.json", f.golden.folder);
        assert_int_equal(remove(path), 0);
        snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", f.golden.folder);
        OK(tr_weights_open(&w, path, TR_MODULE_CONTROLNET, NULL));
        OK(tr_controlnet_config_read(&c, w));
        if (i == 2) c.zero_pooled = false;                    /* no shape tells it: nets with their own embedding were trained on zeros */
        assert_memory_equal(&c, &f.config, sizeof c);
        tr_weights_close(w);
        fixture_close(&f);
    }
}

static void test_wrong_config(void **state)
{
    (void)state;
    static const sd3_config_case cases[] = {
        { "_class_name", "\"SD3Transformer2DModel\"", "expected \"SD3ControlNetModel\"" },
        { "pos_embed_type", "null", "\"pos_embed_type\" is null beside \"use_pos_embed\" true" },
        { "pos_embed_type", "\"rotary\"", "\"pos_embed_type\" is rotary" },
        { "use_pos_embed", "1", "\"use_pos_embed\" is an integer" },
        { "extra_conditioning_channels", "-1", "\"extra_conditioning_channels\" is -1" },
        { "num_layers", "65", "\"num_layers\" is 65" },
        { "qk_norm", "\"layer_norm\"", "\"qk_norm\" is \"layer_norm\"" },
        { "conditioning_channels", "3", "\"conditioning_channels\" is 3, a key that is not supported" },
    };
    fixture f;
    fixture_open(&f, "controlnet-extra", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_controlnet_config c;
        tr_weights *w = sd3_weights_with(&f.golden, TR_MODULE_CONTROLNET, &cases[i], 1);
        FAILS(tr_controlnet_config_read(&c, w), TRESS_E_FORMAT, cases[i].part);
        tr_weights_close(w);
    }
    fixture_close(&f);
}

/* Which nets stand beside which transformer. */
static void test_fits(void **state)
{
    (void)state;
    static const sd3_config_case wider = { "pooled_projection_dim", "24", "" };
    fixture f;
    sd3_golden t;
    tr_mmdit *m = NULL;
    tr_mmdit_config c;
    sd3_golden_open(&t, "mmdit-sd3-medium", TR_F32);          /* 3 blocks, width 128 */
    fixture_open(&f, "controlnet-8b", 1);
    tr_weights *w = sd3_weights_with(&t, TR_MODULE_TRANSFORMER, &wider, 1);
    OK(tr_mmdit_config_read(&c, w));
    OK(tr_mmdit_open(&m, f.device, w, &c));
    OK(tr_controlnet_fits(f.model, m));
    tr_mmdit_close(m);
    tr_weights_close(w);

    /* Shapes alone are enough to try others. */
    const struct { int *field, value; const char *part; } cases[] = {
        { &c.n_head, 3, "width 128, the transformer 192" }, { &c.d_pooled, 25, "pooled text width 24, the transformer 25" },
        { &c.patch, 4, "patch size 2, the transformer 4" }, { &c.channels_in, 4, "latent channels 16, the transformer 4" },
        { &c.n_block, 2, "3 blocks, the transformer 2" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int was = *cases[i].field;
        *cases[i].field = cases[i].value;
        OK(tr_weights_shapes_only(&w, TR_F32));
        OK(tr_mmdit_open(&m, f.device, w, &c));
        FAILS(tr_controlnet_fits(f.model, m), TRESS_E_CONTRACT, cases[i].part);
        *cases[i].field = was;
        tr_mmdit_close(m);
        tr_weights_close(w);
    }
    fixture_close(&f);
    fixture_open(&f, "controlnet-instantx", 1);
    c.d_context = 48;
    OK(tr_weights_shapes_only(&w, TR_F32));
    OK(tr_mmdit_open(&m, f.device, w, &c));
    FAILS(tr_controlnet_fits(f.model, m), TRESS_E_CONTRACT, "text width 40, the transformer 48");
    tr_mmdit_close(m);
    tr_weights_close(w);
    fixture_close(&f);
    sd3_golden_close(&t);
}

static void test_threads_and_allocations(void **state)
{
    (void)state;
    static const int threads[] = { 1, 2, 8 };
    void *first = NULL;
    for (int i = 0; i < 3; i++) {
        fixture f;
        fixture_open(&f, "controlnet-extra", threads[i]);
        const tr_tensor last = f.residual[f.config.n_block - 1];
        const size_t n = (size_t)tr_count(last) * 4;
        OK(tr_controlnet_forward(f.model, f.stream, &f.args));
        if (!first) {
            OK(tr_alloc_raw(&first, n));
            memcpy(first, last.data, n);
        }
        assert_memory_equal(first, last.data, n);
        OK(tr_controlnet_forward(f.model, f.stream, &f.args));
        const int64_t before = tr_mem_now().n_alloc;
        OK(tr_controlnet_forward(f.model, f.stream, &f.args));
        assert_int_equal(tr_mem_now().n_alloc, before);
        assert_memory_equal(first, last.data, n);
        fixture_close(&f);
    }
    tr_free(first);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, "controlnet-8b", 1);
    tr_controlnet_args a = f.args;
    a.tokens = tr_none();
    FAILS(tr_controlnet_forward(f.model, f.stream, &a), TRESS_E_ARG, "tokens is missing, expected [2, 15, 128]");
    a = f.args;
    a.condition = tr_view(f.args.condition.data, TR_F32, TR_DIMS(2, 16, 5, 6));
    FAILS(tr_controlnet_forward(f.model, f.stream, &a), TRESS_E_SHAPE, "the condition is [2, 16, 5, 6]");
    a.condition = tr_view(f.args.condition.data, TR_F32, TR_DIMS(2, 16, 6, 6));
    FAILS(tr_controlnet_forward(f.model, f.stream, &a), TRESS_E_SHAPE, "tokens is [2, 15, 128], expected [2, 9, 128]");
    a = f.args;
    a.pooled = tr_none();
    FAILS(tr_controlnet_forward(f.model, f.stream, &a), TRESS_E_ARG, "the pooled text is missing");
    fixture_close(&f);
    fixture_open(&f, "controlnet-extra", 1);
    a = f.args;
    a.condition = f.args.x;
    FAILS(tr_controlnet_forward(f.model, f.stream, &a), TRESS_E_SHAPE, "expected [batch, 17, height, width]");
    a = f.args;
    a.context = tr_none();
    FAILS(tr_controlnet_forward(f.model, f.stream, &a), TRESS_E_ARG, "the text is missing");
    fixture_close(&f);
}

static bool say_yes(void *self) { return ++*(int *)self > 1; }

static void test_cancel(void **state)
{
    (void)state;
    fixture f;
    int n = 0;
    fixture_open(&f, "controlnet-8b", 1);
    tr_stream_set_cancel(f.stream, say_yes, &n);
    assert_int_equal(tr_controlnet_forward(f.model, f.stream, &f.args), TRESS_E_CANCELLED);
    assert_int_equal(n, 2);                                   /* asked at every block */
    tr_stream_set_cancel(f.stream, NULL, NULL);
    OK(tr_controlnet_forward(f.model, f.stream, &f.args));
    for (int i = 0; i < f.config.n_block; i++) {
        char name[32];
        snprintf(name, sizeof name, "residual.%d", i);
        const double e = sd3_error(&f.golden, name, f.residual[i]);
        if (!(e <= SD3_TOLERANCE)) fail_msg("%s: relative error %.3g", name, e);
    }
    fixture_close(&f);
}

/* Both kinds on a dry device: what a plan does. */
static void test_dry(void **state)
{
    (void)state;
    static const char *const name[] = { "controlnet-8b", "controlnet-instantx" };
    for (int i = 0; i < 2; i++) {
        fixture f;
        tr_device *d = NULL;
        tr_stream *s = NULL;
        tr_weights *w = NULL;
        tr_controlnet *m = NULL;
        fixture_open(&f, name[i], 2);
        OK(tr_controlnet_forward(f.model, f.stream, &f.args));
        sd3_device(&d, &s, 2, true);
        OK(tr_weights_shapes_only(&w, TR_F32));
        OK(tr_controlnet_open(&m, d, w, &f.config));
        OK(tr_controlnet_forward(m, s, &f.args));
        const tr_stream_stats real = tr_stream_count(f.stream), dry = tr_stream_count(s);
        assert_true(dry.flops > 0 && dry.flops == real.flops && dry.n_op == real.n_op);
        assert_int_equal(dry.scratch_peak, real.scratch_peak);
        tr_controlnet_close(m);
        tr_weights_close(w);
        tr_stream_free(s);
        tr_device_close(d);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_8b), cmocka_unit_test(test_instantx), cmocka_unit_test(test_extra), cmocka_unit_test(test_config),
        cmocka_unit_test(test_config_from_shapes), cmocka_unit_test(test_wrong_config), cmocka_unit_test(test_fits),
        cmocka_unit_test(test_threads_and_allocations), cmocka_unit_test(test_wrong_arguments), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_dry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
