/* `probe sample` against whole samplings by diffusers in float64: schedule, samplers, guidance, ControlNet of both kinds,
 * last-block rules, interval, zero pooled vector, skip-layer guidance. The bound is the project's 1e-5 for fp32 modules, with
 * nothing added for the number of steps: torch's own fp32 runs stay below 1e-6 here (error_torch_f32 in the goldens). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "seeded.h"

#define FOLDER TRESS_BINARY_DIR "/tests/api-sample"
#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/api/sample-"
#define BOUND 1e-5

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static int integer(const json_t *o, const char *key) { return (int)number(o, key); }

static void write_inputs(const char *path, const json_t *golden, bool control)
{
    const uint64_t seed = (uint64_t)json_integer_value(json_object_get(golden, "seed"));
    const json_t *size = json_object_get(golden, "size");
    const int h = (int)json_integer_value(json_array_get(size, 0)), w = (int)json_integer_value(json_array_get(size, 1)), n = integer(golden, "n_text");
    const struct { const char *seeded, *name; tr_dims d; } list[] = {
        { "latents", "latents", TR_DIMS(2, 16, h, w) },           { "context", "encoder_hidden_states", TR_DIMS(2, n, 40) },
        { "pooled", "pooled_projections", TR_DIMS(2, 24) },       { "context_neg", "negative_encoder_hidden_states", TR_DIMS(1, n, 40) },
        { "pooled_neg", "negative_pooled_projections", TR_DIMS(1, 24) }, { "condition", "controlnet_cond", TR_DIMS(1, 16, h, w) },
    };
    tr_named out[6];
    const int n_out = control ? 6 : 5;
    for (int i = 0; i < n_out; i++) {
        void *p = NULL;
        size_t bytes;
        assert_int_equal(tr_bytes(&bytes, TR_F32, list[i].d), TRESS_OK);
        assert_int_equal(tr_alloc(&p, bytes), TRESS_OK);
        seeded_normal(p, (int64_t)(bytes / 4), list[i].seeded, seed, 0, 1);
        out[i] = (tr_named){ list[i].name, tr_view(p, TR_F32, list[i].d) };
    }
    assert_int_equal(tr_safetensors_write(path, out, n_out, NULL), TRESS_OK);
    for (int i = 0; i < n_out; i++) tr_free(out[i].t.data);
}

static void run(tress *t, const json_t *golden, const tr_safetensors *want, const char *kind, const char *name, const json_t *c)
{
    tress_generate_args g;
    int skip[8];
    char model[512];
    const bool control = number(c, "control") != 0;
    tress_generate_defaults(&g);
    g.n_step = integer(c, "n");
    g.cfg_scale = (float)number(c, "cfg");
    g.shift = (float)number(c, "shift");
    g.control_strength = (float)number(c, "control");
    g.control_start = (float)number(c, "start");
    g.control_end = (float)number(c, "end");
    g.control_last = strcmp(json_string_value(json_object_get(c, "last")), "vendor") ? TRESS_LAST_DIFFUSERS : TRESS_LAST_VENDOR;
    g.control_pooled = strcmp(json_string_value(json_object_get(c, "pooled")), "zero") ? TRESS_POOLED_TEXT : TRESS_POOLED_ZERO;
    g.sampler = strcmp(json_string_value(json_object_get(c, "sampler")), "euler") ? TRESS_SAMPLER_DPMPP_2M : TRESS_SAMPLER_EULER;
    g.n_skip_layer = (int)json_array_size(json_object_get(c, "skip"));
    for (int i = 0; i < g.n_skip_layer; i++) skip[i] = (int)json_integer_value(json_array_get(json_object_get(c, "skip"), (size_t)i));
    g.skip_layer = skip;
    snprintf(model, sizeof model, "%s-%s", FOLDER, kind);
    write_inputs(FOLDER ".in.safetensors", golden, control);

    const tress_probe_args p = { .module = "sample", .in = FOLDER ".in.safetensors", .out = FOLDER ".out.safetensors", .sample = &g };
    const tress_status st = tress_probe(t, &(tress_model_args){ .model = model }, &p);
    if (st != TRESS_OK) fail_msg("%s %s: %s", kind, name, tress_last_error());
    tr_safetensors *f = NULL;
    tr_tensor got, ref;
    assert_int_equal(tr_safetensors_open(&f, p.out), TRESS_OK);
    assert_true(tr_safetensors_find(f, "latents", &got) && tr_safetensors_find(want, name, &ref));
    assert_int_equal(tr_count(got), tr_count(ref));
    const double error = seeded_error(got.data, ref.data, tr_count(ref));
    print_message("%-8s %-16s relative error %.2g\n", kind, name, error);
    if (!(error <= BOUND)) fail_msg("%s %s: relative error %g, expected at most %g", kind, name, error, BOUND);
    tr_safetensors_close(f);
}

static void hold(const char *kind)
{
    char json[512], file[512], model[512], part[600];
    json_t *golden = NULL;
    tr_safetensors *want = NULL;
    tress *t = NULL;
    const char *name;
    json_t *c;
    snprintf(json, sizeof json, "%s%s.json", GOLDEN, kind);
    snprintf(file, sizeof file, "%s%s.safetensors", GOLDEN, kind);
    snprintf(model, sizeof model, "%s-%s", FOLDER, kind);
    assert_true(mkdir(model, 0777) == 0 || errno == EEXIST);
    snprintf(part, sizeof part, "%s/transformer", model);
    assert_int_equal(seeded_folder_of(json, "transformer", "transformer_config", part, "diffusion_pytorch_model.safetensors", TR_F32), TRESS_OK);
    snprintf(part, sizeof part, "%s/controlnet", model);
    assert_int_equal(seeded_folder_of(json, "controlnet", "controlnet_config", part, "diffusion_pytorch_model.safetensors", TR_F32), TRESS_OK);
    assert_int_equal(seeded_json(&golden, json), TRESS_OK);
    assert_int_equal(tr_safetensors_open(&want, file), TRESS_OK);
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    json_object_foreach(json_object_get(golden, "cases"), name, c) run(t, golden, want, kind, name, c);
    tress_free(t);
    tr_safetensors_close(want);
    json_decref(golden);
}

static void large(void **state) { (void)state, hold("large"); }
static void medium(void **state) { (void)state, hold("medium"); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(large), cmocka_unit_test(medium) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
