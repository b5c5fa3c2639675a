/* The whole pipeline against diffusers' own on the same folder, prompt and seed: encodings, final latents, pixels. The bound is the
 * project's 1e-5 for fp32, from prompt to final latent; pixels may fall on the other side of a rounding. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "seeded.h"

#define DIR TRESS_BINARY_DIR "/tests/api-pipeline"
#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/api/pipeline-"
#define BOUND 1e-5

static void hold(const char *kind)
{
    char path[512], command[1024];
    json_t *golden = NULL;
    tr_safetensors *want = NULL, *got = NULL;
    tr_tensor a, b;
    tress *t = NULL;
    tress_model *m = NULL;
    tress_image *sketch = NULL;
    tress_result *r = NULL;
    tress_generate_args g;
    snprintf(path, sizeof path, "%s%s.json", GOLDEN, kind);
    assert_int_equal(seeded_json(&golden, path), TRESS_OK);
    snprintf(path, sizeof path, "%s%s.safetensors", GOLDEN, kind);
    assert_int_equal(tr_safetensors_open(&want, path), TRESS_OK);
    snprintf(command, sizeof command, "rm -rf '" DIR "' && mkdir -p '" DIR "' && '" TRESS_BINARY_DIR "/make_model' --preset %s --seed 5 --dtype f32 '" DIR "/model' >/dev/null",
             json_string_value(json_object_get(golden, "preset")));
    assert_int_equal(system(command), 0);

    const int w = (int)json_integer_value(json_array_get(json_object_get(golden, "size"), 0)), h = (int)json_integer_value(json_array_get(json_object_get(golden, "size"), 1));
    void *pixels = NULL;
    assert_int_equal(tr_alloc_array(&pixels, (int64_t)w * h, 3), TRESS_OK);
    for (int i = 0; i < 3; i++)
        for (int y = 20; y < 64; y++) memset((uint8_t *)pixels + 3 * (y * w + 30 + 14 * i), 255, 6);
    assert_int_equal(tress_new(&t, &(tress_options){ .n_thread = 1 }), TRESS_OK);
    assert_int_equal(tress_image_new(t, &sketch, &(tress_image_info){ w, h, 3, 8, false }, pixels), TRESS_OK);
    tr_free(pixels);

    tress_generate_defaults(&g);
    g.sketch = sketch;
    g.prompt = json_string_value(json_object_get(golden, "prompt"));
    g.negative = json_string_value(json_object_get(golden, "negative"));
    g.n_step = (int)json_integer_value(json_object_get(golden, "steps"));
    g.cfg_scale = (float)json_number_value(json_object_get(golden, "cfg_scale"));
    g.seed = (uint64_t)json_integer_value(json_object_get(golden, "seed"));
    g.control_image = TRESS_CONTROL_RAW;
    g.control_range = TRESS_RANGE_SIGNED;
    g.control_last = TRESS_LAST_DIFFUSERS;
    g.latents_out = DIR "/latents.safetensors";
    const tress_model_args ma = { .model = DIR "/model" };

    const tress_probe_args p = { .module = "text", .text = g.prompt, .out = DIR "/text.safetensors" };
    if (tress_probe(t, &ma, &p) != TRESS_OK) fail_msg("%s: %s", kind, tress_last_error());
    assert_int_equal(tr_safetensors_open(&got, p.out), TRESS_OK);
    assert_true(tr_safetensors_find(got, "encoder_hidden_states", &a) && tr_safetensors_find(want, "encoder_hidden_states", &b));
    assert_int_equal((tr_count(a) + 6) / 7, tr_count(b));
    void *seventh = NULL;
    assert_int_equal(tr_alloc_array(&seventh, tr_count(b), sizeof(float)), TRESS_OK);
    for (int64_t i = 0; i < tr_count(b); i++) ((float *)seventh)[i] = ((const float *)a.data)[7 * i];
    const double e_context = seeded_error(seventh, b.data, tr_count(b));
    tr_free(seventh);
    assert_true(tr_safetensors_find(got, "pooled_projections", &a) && tr_safetensors_find(want, "pooled_projections", &b));
    assert_int_equal(tr_count(a), tr_count(b));
    const double e_pooled = seeded_error(a.data, b.data, tr_count(b));
    tr_safetensors_close(got);

    if (tress_model_open(t, &m, &ma) != TRESS_OK || tress_generate(m, &g, &r) != TRESS_OK) fail_msg("%s: %s", kind, tress_last_error());
    assert_int_equal(tr_safetensors_open(&got, g.latents_out), TRESS_OK);
    assert_true(tr_safetensors_find(got, "latents", &a) && tr_safetensors_find(want, "latents", &b));
    assert_int_equal(tr_count(a), tr_count(b));
    const double e_latents = seeded_error(a.data, b.data, tr_count(b));
    assert_true(tr_safetensors_find(want, "pixels", &b));
    const uint8_t *x = tress_image_pixels(tress_result_image(r, 0)), *y = b.data;
    int most = 0, n_apart = 0;
    assert_int_equal(tr_count(b), 3 * w * h);
    for (int i = 0; i < 3 * w * h; i++) {
        const int d = abs(x[i] - y[i]);
        most = d > most ? d : most;
        n_apart += d > 0;
    }
    print_message("%-9s context %.2g, pooled %.2g, latents %.2g, pixels at most %d apart, %d of %d at all\n", kind, e_context, e_pooled, e_latents, most, n_apart, 3 * w * h);
    if (!(e_context <= BOUND) || !(e_pooled <= BOUND) || !(e_latents <= BOUND)) fail_msg("%s: beyond %g", kind, BOUND);
    if (most > 1 || n_apart > 3 * w * h / 100) fail_msg("%s: pixels", kind);

    tr_safetensors_close(got);
    tr_safetensors_close(want);
    tress_result_free(r);
    tress_model_close(m);
    tress_image_free(sketch);
    tress_free(t);
    json_decref(golden);
    assert_int_equal(system("rm -rf '" DIR "'"), 0);
}

static void tiny(void **state) { (void)state, hold("tiny"); }
static void medium(void **state) { (void)state, hold("medium"); }
static void instantx(void **state) { (void)state, hold("instantx"); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tiny), cmocka_unit_test(medium), cmocka_unit_test(instantx) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
