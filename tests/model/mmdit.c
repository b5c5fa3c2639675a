/* The SD3 transformers against diffusers, stage by stage, and what must hold beyond goldens. */
#include "sd3.h"

typedef sd3_mmdit fixture;

static int64_t width(const fixture *f) { return (int64_t)f->config.n_head * f->config.d_head; }
static int64_t tokens(const fixture *f) { return f->golden.h * f->golden.w / 4; }

/* ---- goldens --------------------------------------------------------------------------------------------- */
static void run_stages(const char *name, int n_stage)
{
    fixture f;
    sd3_mmdit_open(&f, name, TR_F32, 2);
    OK(tr_weights_check(f.weights, 2));                       /* every tensor of the file was asked for */
    sd3_stages stages = { .golden = &f.golden };
    f.args.probe = sd3_stage;
    f.args.probe_self = &stages;
    OK(tr_mmdit_forward(f.model, f.stream, &f.args));
    assert_int_equal(stages.n, n_stage);
    print_message("%s: worst stage %s, %.2g\n", name, stages.worst_name, stages.worst);
    sd3_mmdit_close(&f);
}

/* 5 stages around the blocks; 6 in a block, one more with a second attention; the last block's text asks nothing and ends. */
static void test_sd3_medium(void **state)  { (void)state; run_stages("mmdit-sd3-medium", 5 + 3 * 6 - 2); }
static void test_sd35_medium(void **state) { (void)state; run_stages("mmdit-sd35-medium", 5 + 4 * 6 + 3 - 2); }
static void test_sd35_large(void **state)  { (void)state; run_stages("mmdit-sd35-large", 5 + 4 * 6 - 2); }
static void test_heads_32(void **state)    { (void)state; run_stages("mmdit-heads-32", 5 + 2 * 6 - 2); }

static void expect_sample(fixture *f, const char *name)
{
    memset(f->args.out.data, 0xff, (size_t)tr_count(f->args.out) * 4);      /* NaN */
    OK(tr_mmdit_forward(f->model, f->stream, &f->args));
    const double e = sd3_error(&f->golden, name, f->args.out);
    if (!(e <= SD3_TOLERANCE)) fail_msg("%s: relative error %.3g", name, e);
}

static void test_residuals(void **state)
{
    (void)state;
    static const struct { int n; int skip[2], n_skip; const char *tag; bool vendor; } cases[] = {
        { 1, { 0 }, 0, "1", true }, { 2, { 0 }, 0, "2", true }, { 3, { 0 }, 0, "3", false },
        { 2, { 1 }, 1, "2-1", true }, { 3, { 0, 3 }, 2, "3-0-3", false },
    };
    fixture f;
    sd3_mmdit_open(&f, "mmdit-sd35-large", TR_F32, 2);
    tr_tensor residual[3];
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "residual.%d", i);
        residual[i] = sd3_input(&f.golden, name, TR_DIMS(f.golden.b, tokens(&f), width(&f)));
    }
    f.args.residual = residual;
    f.args.residual_scale = 0.75f;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        f.args.n_residual = cases[i].n;
        f.args.skip = cases[i].skip;
        f.args.n_skip = cases[i].n_skip;
        f.args.residual_last = false;
        snprintf(name, sizeof name, "sample.diffusers.%s", cases[i].tag);
        expect_sample(&f, name);
        f.args.residual_last = true;
        snprintf(name, sizeof name, "sample.vendor.%s", cases[i].tag);
        if (cases[i].vendor) expect_sample(&f, name);
        else if (!cases[i].n_skip)
            FAILS(tr_mmdit_forward(f.model, f.stream, &f.args), TRESS_E_ARG, "3 ControlNet residuals cannot be spread over 4 blocks");
    }
    f.args.residual = NULL;
    f.args.skip = (int[]){ 2 };
    f.args.n_skip = 1;
    expect_sample(&f, "sample.skip");
    for (int i = 0; i < 3; i++) tr_free(residual[i].data);
    sd3_mmdit_close(&f);
}

/* Rounding: no further from the float64 answer than torch's own fp32, but for the luck of the last bits. */
static void test_float64(void **state)
{
    (void)state;
    fixture f;
    sd3_mmdit_open(&f, "mmdit-sd35-large", TR_F32, 2);
    OK(tr_mmdit_forward(f.model, f.stream, &f.args));
    tr_tensor want;
    assert_true(tr_safetensors_find(f.golden.file, "sample.f64", &want) && want.dtype == TR_F64);
    double diff = 0, ref = 0;
    for (int64_t i = 0; i < tr_count(want); i++) {
        double v;
        memcpy(&v, (const char *)want.data + 8 * i, 8);
        const double e = ((const float *)f.args.out.data)[i] - v;
        diff += e * e;
        ref += v * v;
    }
    const double ours = sqrt(diff / ref), torch = json_real_value(json_object_get(f.golden.note, "error_torch_f32"));
    print_message("error against float64: %.3g, torch fp32 %.3g, ratio %.2f\n", ours, torch, ours / torch);
    if (!(ours <= 1.5 * torch)) fail_msg("error against float64 %.3g, torch fp32 %.3g", ours, torch);
    sd3_mmdit_close(&f);
}

/* ---- beyond goldens -------------------------------------------------------------------------------------- */
/* N equal text rows are one row with log N on its logits; reference/hair.md finding 4. */
static void test_one_row_for_many(void **state)
{
    (void)state;
    static const char *const name[] = { "mmdit-sd3-medium", "mmdit-sd35-medium", "mmdit-sd35-large" };
    enum { N = 333 };
    for (int i = 0; i < 3; i++) {
        fixture f;
        sd3_mmdit_open(&f, name[i], TR_F32, 2);
        const tr_tensor given = f.args.context, out = f.args.out;
        const tr_tensor many = sd3_new(TR_DIMS(f.golden.b, N, f.config.d_context)), one = sd3_new(TR_DIMS(f.golden.b, 1, f.config.d_context));
        const tr_tensor out_one = sd3_new(TR_DIMS(out.shape[0], out.shape[1], out.shape[2], out.shape[3]));
        f.args.context = many;
        OK(tr_mmdit_forward(f.model, f.stream, &f.args));
        f.args.context = one;
        f.args.out = out_one;
        OK(tr_mmdit_forward(f.model, f.stream, &f.args));
        const double unweighted = seeded_error(out_one.data, out.data, tr_count(out));
        f.args.context_logw = logf(N);
        OK(tr_mmdit_forward(f.model, f.stream, &f.args));
        const double e = seeded_error(out_one.data, out.data, tr_count(out));
        if (!(e <= SD3_TOLERANCE)) fail_msg("%s: one row for %d: relative error %.3g", name[i], N, e);
        assert_true(unweighted > 1e-3);                       /* the weight matters, or the test says nothing */
        f.args.context = given;
        f.args.out = out;
        tr_free(many.data);
        tr_free(one.data);
        tr_free(out_one.data);
        sd3_mmdit_close(&f);
    }
}

static void test_threads_and_allocations(void **state)
{
    (void)state;
    static const int threads[] = { 1, 2, 8 };
    void *first = NULL;
    for (int i = 0; i < 3; i++) {
        fixture f;
        sd3_mmdit_open(&f, "mmdit-sd35-medium", TR_F32, threads[i]);
        f.args.context_logw = 0.5f;
        const size_t n = (size_t)tr_count(f.args.out) * 4;
        OK(tr_mmdit_forward(f.model, f.stream, &f.args));
        if (!first) {
            OK(tr_alloc_raw(&first, n));
            memcpy(first, f.args.out.data, n);
        }
        assert_memory_equal(first, f.args.out.data, n);
        OK(tr_mmdit_forward(f.model, f.stream, &f.args));
        const int64_t before = tr_mem_now().n_alloc;
        OK(tr_mmdit_forward(f.model, f.stream, &f.args));
        assert_int_equal(tr_mem_now().n_alloc, before);
        assert_memory_equal(first, f.args.out.data, n);
        sd3_mmdit_close(&f);
    }
    tr_free(first);
}

static void test_tokens_given(void **state)
{
    (void)state;
    fixture f;
    sd3_mmdit_open(&f, "mmdit-sd35-large", TR_F32, 2);
    const tr_tensor t = sd3_new(TR_DIMS(f.golden.b, tokens(&f), width(&f))), copy = sd3_new(TR_DIMS(f.golden.b, tokens(&f), width(&f)));
    OK(tr_mmdit_embed(f.model, f.stream, t, f.args.x));
    memcpy(copy.data, t.data, (size_t)tr_count(t) * 4);
    const double e = sd3_error(&f.golden, "tokens", t);
    if (!(e <= SD3_TOLERANCE)) fail_msg("tokens: %.3g", e);
    f.args.tokens = t;
    expect_sample(&f, "sample");
    assert_memory_equal(t.data, copy.data, (size_t)tr_count(t) * 4);        /* borrowed: the ControlNet reads them too */
    tr_free(t.data);
    tr_free(copy.data);
    sd3_mmdit_close(&f);
}

static void test_half_weights(void **state)
{
    (void)state;
    static const struct { tr_dtype t; double tolerance; } kind[] = { { TR_F16, 2e-3 }, { TR_BF16, 1e-2 } };    /* the project's limits for these */
    for (int i = 0; i < 2; i++) {
        fixture f;
        sd3_mmdit_open(&f, "mmdit-sd35-medium", kind[i].t, 2);
        OK(tr_mmdit_forward(f.model, f.stream, &f.args));
        const double e = sd3_error(&f.golden, "sample", f.args.out);
        print_message("%s weights: %.2g\n", tr_dtype_name(kind[i].t), e);
        if (!(e <= kind[i].tolerance)) fail_msg("%s weights: relative error %.3g", tr_dtype_name(kind[i].t), e);
        sd3_mmdit_close(&f);
    }
}

/* A dry device runs the same code: same operations, same scratch, nothing read. */
static void test_dry(void **state)
{
    (void)state;
    fixture f;
    sd3_mmdit_open(&f, "mmdit-sd35-medium", TR_F32, 2);
    f.args.context_logw = 1;
    OK(tr_mmdit_forward(f.model, f.stream, &f.args));
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_weights *w = NULL;
    tr_mmdit *m = NULL;
    sd3_device(&d, &s, 2, true);
    OK(tr_weights_shapes_only(&w, TR_F32));
    OK(tr_mmdit_open(&m, d, w, &f.config));
    tr_mmdit_args a = f.args;
    void *nowhere = (void *)(uintptr_t)4096;                  /* would fault if it were read */
    a.x.data = a.context.data = a.pooled.data = a.timestep.data = a.out.data = nowhere;
    OK(tr_mmdit_forward(m, s, &a));
    const tr_stream_stats real = tr_stream_count(f.stream), dry = tr_stream_count(s);
    assert_true(dry.flops > 0 && dry.flops == real.flops && dry.bytes == real.bytes && dry.n_op == real.n_op);
    assert_int_equal(dry.scratch_peak, real.scratch_peak);
    tr_mmdit_close(m);
    tr_weights_close(w);
    tr_stream_free(s);
    tr_device_close(d);
    sd3_mmdit_close(&f);
}

static bool say_yes(void *self) { return ++*(int *)self > 3; }

static void test_cancel(void **state)
{
    (void)state;
    fixture f;
    int n = 0;
    sd3_mmdit_open(&f, "mmdit-sd35-large", TR_F32, 2);
    tr_stream_set_cancel(f.stream, say_yes, &n);
    assert_int_equal(tr_mmdit_forward(f.model, f.stream, &f.args), TRESS_E_CANCELLED);
    assert_int_equal(n, 4);                                   /* asked at every block, and no more once it said yes */
    tr_stream_set_cancel(f.stream, NULL, NULL);
    expect_sample(&f, "sample");                              /* scratch was popped: the model goes on */
    sd3_mmdit_close(&f);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    fixture f;
    sd3_mmdit_open(&f, "mmdit-sd35-large", TR_F32, 1);
    const tr_mmdit_args good = f.args;
    const int64_t b = f.golden.b;
    const tr_tensor big = sd3_new(TR_DIMS(b, 16, 18, 18));
    float nan_time[2] = { 1, NAN };
#define WRONG(field, value, status, part) \
    f.args = good, f.args.field = (value); FAILS(tr_mmdit_forward(f.model, f.stream, &f.args), status, part)
    WRONG(x, tr_view(big.data, TR_F32, TR_DIMS(b, 16, 7, 10)), TRESS_E_SHAPE, "multiples of 2");
    WRONG(x, tr_view(big.data, TR_F32, TR_DIMS(b, 16, 18, 4)), TRESS_E_SHAPE, "9 x 2 tokens: the model has positions for 8 x 8");
    WRONG(x, tr_view(big.data, TR_F32, TR_DIMS(b, 4, 6, 10)), TRESS_E_SHAPE, "expected [batch, 16, height, width]");
    WRONG(x, tr_view(big.data, TR_F32, TR_DIMS(16, 6, 10)), TRESS_E_SHAPE, "[16, 6, 10]");
    WRONG(out, tr_view(big.data, TR_F32, TR_DIMS(b, 16, 10, 6)), TRESS_E_SHAPE, "the output is [2, 16, 10, 6], expected [2, 16, 6, 10]");
    WRONG(context, tr_view(big.data, TR_F32, TR_DIMS(b, 5, 41)), TRESS_E_SHAPE, "the text is [2, 5, 41], expected [2, 5, 40]");
    WRONG(context, tr_none(), TRESS_E_ARG, "the text is missing");
    WRONG(context, tr_view(big.data, TR_F32, TR_DIMS(b, 0, 40)), TRESS_E_SHAPE, "no rows");
    WRONG(pooled, tr_view(big.data, TR_F32, TR_DIMS(1, 24)), TRESS_E_SHAPE, "the pooled text is [1, 24], expected [2, 24]");
    WRONG(tokens, tr_view(big.data, TR_F32, TR_DIMS(b, 14, 192)), TRESS_E_SHAPE, "tokens");
    WRONG(timestep, tr_view(big.data, TR_F32, TR_DIMS(1)), TRESS_E_SHAPE, "timestep is [1], expected [2]");
    WRONG(timestep, tr_view(nan_time, TR_F32, TR_DIMS(2)), TRESS_E_ARG, "timestep 1 is nan");
#undef WRONG
    f.args = good;
    f.args.skip = (int[]){ 1, 4 };
    f.args.n_skip = 2;
    FAILS(tr_mmdit_forward(f.model, f.stream, &f.args), TRESS_E_ARG, "block 4 to skip: the transformer has blocks 0 to 3");
    const tr_tensor narrow = tr_view(big.data, TR_F32, TR_DIMS(b, 15, 191));
    f.args = good;
    f.args.residual = &narrow;
    f.args.n_residual = 1;
    FAILS(tr_mmdit_forward(f.model, f.stream, &f.args), TRESS_E_SHAPE, "ControlNet residual 0 is [2, 15, 191], expected [2, 15, 192]");
    f.args = good;
    expect_sample(&f, "sample");
    tr_free(big.data);
    sd3_mmdit_close(&f);
}

/* Opening fails cleanly at every allocation. */
static void test_open_out_of_memory(void **state)
{
    (void)state;
    fixture f;
    sd3_mmdit_open(&f, "mmdit-heads-32", TR_F32, 1);
    const int64_t bytes = tr_mem_now().bytes;
    int n = 0;
    for (tress_status st = TRESS_E_OOM; st != TRESS_OK; n++) {
        tr_mmdit *m = NULL;
        tr_mem_fail_at(n + 1);
        st = tr_mmdit_open(&m, f.device, f.weights, &f.config);
        tr_mem_fail_at(0);
        assert_true(st == TRESS_OK ? m != NULL : st == TRESS_E_OOM && m == NULL);
        tr_mmdit_close(m);
        assert_int_equal(tr_mem_now().bytes, bytes);
    }
    assert_true(n > 10);
    sd3_mmdit_close(&f);
}

/* ---- configuration --------------------------------------------------------------------------------------- */
static void test_config_from_shapes(void **state)
{
    (void)state;
    static const char *const name[] = { "mmdit-sd3-medium", "mmdit-sd35-medium", "mmdit-sd35-large", "mmdit-heads-32" };
    for (int i = 0; i < 4; i++) {
        fixture f;
        char path[600];
        tr_weights *w = NULL;
        tr_mmdit_config c;
        sd3_mmdit_open(&f, name[i], TR_F32, 1);
        snprintf(path, sizeof path, "%s/config.json", f.golden.folder);
        assert_int_equal(remove(path), 0);
        snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", f.golden.folder);
        OK(tr_weights_open(&w, path, TR_MODULE_TRANSFORMER, NULL));
        assert_null(tr_weights_config(w));
        OK(tr_mmdit_config_read(&c, w));
        c.sample_size = f.config.sample_size;                 /* no shape tells it */
        assert_memory_equal(&c, &f.config, sizeof c);
        tr_weights_close(w);
        sd3_mmdit_close(&f);
    }
}

static void test_wrong_config(void **state)
{
    (void)state;
    static const sd3_config_case cases[] = {
        { "_class_name", "\"FluxTransformer2DModel\"", "\"_class_name\" is \"FluxTransformer2DModel\", expected \"SD3Transformer2DModel\"" },
        { "qk_norm", "\"layer_norm\"", "\"qk_norm\" is \"layer_norm\"" },
        { "qk_norm", "1", "\"qk_norm\" is an integer" },
        { "num_layers", "65", "\"num_layers\" is 65, expected 1 to 64" },
        { "num_layers", "0", "\"num_layers\" is 0" },
        { "num_layers", "2.5", "\"num_layers\" is a real number" },
        { "num_layers", "9223372036854775807", "\"num_layers\"" },
        { "num_attention_heads", "100000", "\"num_attention_heads\" is 100000" },
        { "attention_head_dim", "12", "12 channels" },
        { "caption_projection_dim", "64", "\"caption_projection_dim\" is 64" },
        { "pos_embed_max_size", "-1", "\"pos_embed_max_size\" is -1" },
        { "patch_size", "16", "\"patch_size\" is 16" },
        { "dual_attention_layers", "[0, 9]", "\"dual_attention_layers\"" },
        { "dual_attention_layers", "[\"a\"]", "\"dual_attention_layers\"" },
        { "dual_attention_layers", "3", "\"dual_attention_layers\" is no array" },
        { "use_rotary", "true", "\"use_rotary\" is true, a key that is not supported" },
        { "quantization_config", "{\"bits\": 4}", "\"quantization_config\" is {\"bits\":4}" },
    };
    fixture f;
    tr_weights *w = NULL;
    tr_mmdit_config c;
    sd3_mmdit_open(&f, "mmdit-sd35-medium", TR_F32, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        w = sd3_weights_with(&f.golden, TR_MODULE_TRANSFORMER, &cases[i], 1);
        FAILS(tr_mmdit_config_read(&c, w), TRESS_E_FORMAT, cases[i].part);
        assert_non_null(strstr(tr_message(), "config.json"));
        tr_weights_close(w);
    }
    /* What is said to be off, and what diffusers adds itself, is no matter. */
    w = sd3_weights_with(&f.golden, TR_MODULE_TRANSFORMER, (sd3_config_case[]){
        { "_diffusers_version", "\"0.42\"", "" }, { "use_rotary", "false", "" }, { "out_channels", "null", "" } }, 3);
    OK(tr_mmdit_config_read(&c, w));
    assert_memory_equal(&c, &f.config, sizeof c);
    tr_weights_close(w);
    /* A config that the tensors do not bear out. */
    w = sd3_weights_with(&f.golden, TR_MODULE_TRANSFORMER, &(sd3_config_case){ "pooled_projection_dim", "25", "" }, 1);
    OK(tr_mmdit_config_read(&c, w));
    tr_mmdit *m = NULL;
    FAILS(tr_mmdit_open(&m, f.device, w, &c), TRESS_E_SHAPE, "time_text_embed.text_embedder.linear_1.weight");
    assert_null(m);
    tr_weights_close(w);
    sd3_mmdit_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sd3_medium), cmocka_unit_test(test_sd35_medium), cmocka_unit_test(test_sd35_large), cmocka_unit_test(test_heads_32),
        cmocka_unit_test(test_residuals), cmocka_unit_test(test_float64), cmocka_unit_test(test_one_row_for_many),
        cmocka_unit_test(test_threads_and_allocations), cmocka_unit_test(test_tokens_given), cmocka_unit_test(test_half_weights),
        cmocka_unit_test(test_dry), cmocka_unit_test(test_cancel), cmocka_unit_test(test_wrong_arguments), cmocka_unit_test(test_open_out_of_memory),
        cmocka_unit_test(test_config_from_shapes), cmocka_unit_test(test_wrong_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
