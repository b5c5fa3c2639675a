/* A drawing that attends to the photo round it, over a tiny model with seeded weights, through tress.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api_int.h"

#define DIR TRESS_BINARY_DIR "/tests/api-reference"
#define MODEL DIR "/model"
#define W 96
#define H 80

#define OK(call)                                                                                    \
    do {                                                                                            \
        if ((call) != TRESS_OK) fail_msg("%s: %s", #call, tress_last_error());                       \
    } while (0)

static tress *t;
static tress_model *model;
static tress_image *sketch, *photo, *matte;
static char note[1024];

static tress_image *picture(int channels)
{
    static const uint8_t zero[W * H * 3];
    tress_image *img = NULL;
    OK(tress_image_new(t, &img, &(tress_image_info){ W, H, channels, 8, false }, zero));
    return img;
}

static void paint(tress_image *img, int x0, int y0, int x1, int y1, uint8_t v)
{
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) memset((uint8_t *)img->data + (y * img->width + x) * img->channels, v, (size_t)img->channels);
}

static void on_note(void *self, const char *text)
{
    (void)self;
    snprintf(note, sizeof note, "%s", text);
}

static int setup(void **state)
{
    (void)state;
    if (system("rm -rf '" DIR "' && mkdir -p '" DIR "' && '" TRESS_BINARY_DIR "/make_model' --preset tiny --dtype f32 --seed 3 '" MODEL "' >/dev/null") != 0) return -1;
    OK(tress_new(&t, &(tress_options){ .n_thread = 2, .hooks = { .note = on_note } }));
    OK(tress_model_open(t, &model, &(tress_model_args){ .model = MODEL }));
    sketch = picture(3);
    for (int i = 0; i < 5; i++) paint(sketch, 30 + 8 * i, 14, 32 + 8 * i, 62, 255);
    photo = picture(3);
    for (int i = 0; i < W * H * 3; i++) ((uint8_t *)photo->data)[i] = (uint8_t)((unsigned)i * 2654435761u >> 24);
    matte = picture(1);
    paint(matte, 32, 20, 64, 56, 255);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tress_image_free(sketch);
    tress_image_free(photo);
    tress_image_free(matte);
    tress_model_close(model);
    tress_free(t);
    return system("rm -rf '" DIR "'");
}

static tress_generate_args args(void)
{
    tress_generate_args g;
    tress_generate_defaults(&g);
    g.sketch = sketch, g.photo = photo, g.matte = matte;
    g.prompt = "long red hair";
    g.n_step = 5;
    g.seed = 42;
    g.max_sequence_length = 16;
    g.latents_out = DIR "/latents.safetensors";
    return g;
}

/* The latents that a drawing ends with; *n is their number. The caller frees. */
static float *latents_with(tress_model *m, const tress_generate_args *g, int64_t *n)
{
    tress_result *r = NULL;
    tr_safetensors *f = NULL;
    tr_tensor found;
    OK(tress_generate(m, g, &r));
    tress_result_free(r);
    OK(tr_safetensors_open(&f, g->latents_out));
    assert_true(tr_safetensors_find(f, "latents", &found));
    *n = tr_count(found);
    float *z = malloc((size_t)*n * sizeof *z);
    assert_non_null(z);
    memcpy(z, found.data, (size_t)*n * sizeof *z);
    tr_safetensors_close(f);
    return z;
}

static float *latents(const tress_generate_args *g, int64_t *n) { return latents_with(model, g, n); }

static bool same(const tress_generate_args *a, const tress_generate_args *b)
{
    int64_t n = 0, n_b = 0;
    float *x = latents(a, &n), *y = latents(b, &n_b);
    assert_int_equal(n, n_b);
    const bool equal = memcmp(x, y, (size_t)n * sizeof *x) == 0;
    free(x);
    free(y);
    return equal;
}

static double apart(const float *x, const float *y, int64_t n)
{
    double d = 0, r = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        r += (double)y[i] * (double)y[i];
    }
    return sqrt(d / r);
}

static const tress_reference policies[] = { TRESS_REFERENCE_CLEAN, TRESS_REFERENCE_STAIRCASE, TRESS_REFERENCE_NOISED };

static void policies_and_strength(void **state)
{
    (void)state;
    tress_generate_args g = args(), off = args();
    off.reference = TRESS_REFERENCE_OFF;
    for (int i = 0; i < 3; i++) {
        g = args();
        g.reference = policies[i];
        assert_false(same(&g, &off));
        for (int k = 0; k < i; k++) {                               /* each is another drawing */
            tress_generate_args other = g;
            other.reference = policies[k];
            assert_false(same(&g, &other));
        }
        tress_generate_args stronger = g;
        stronger.reference_strength = 1;                            /* a weight of 32, not infinity */
        assert_false(same(&g, &stronger));
        g.reference_strength = 0;
        assert_true(same(&g, &off));
    }
    g = args();
    tress_generate_args staircase = g;
    staircase.reference = TRESS_REFERENCE_STAIRCASE;
    assert_true(same(&g, &staircase));                              /* auto */
    tress_generate_args fewer = staircase;
    fewer.reference_rows = 17;
    assert_false(same(&fewer, &staircase));
    fewer = staircase;
    fewer.reference_first = fewer.reference_last = 0;
    assert_false(same(&fewer, &staircase));
}

/* Keys and values of the photo's rows in every block, at sigma 0. The caller frees. */
static float *keys_and_values(const tress_image *of, int64_t *n)
{
    const tr_canvas_rules rules = { .multiple = 16, .side_max = 384, .side_own = 128, .cell = 8, .needs_sketch = true, .needs_reference = true };
    const tr_mmdit_config *config = tr_mmdit_get_config(model->transformer);
    const int64_t d = (int64_t)config->n_head * config->d_head;
    tress_generate_args g = args();
    tr_canvas c;
    tr_around around;
    tr_stream *s = NULL;
    tr_tensor z = tr_none(), all, rows, context, pooled;
    tr_reference *r = NULL;
    float time = 0;
    g.photo = of;
    OK(tr_canvas_make(&c, &g, &rules));
    OK(tr_around_make(&around, &c, 1000));
    OK(tr_stream_new(&s, t->host.device));
    for (int64_t i = 0; i < (int64_t)3 * c.height * c.width; i++) c.reference.data[i] = 2 * c.reference.data[i] - 1;
    OK(tr_latent_encode(&z, model, s, c.reference, true, 1));
    const tr_arena_mark mark = tr_scratch_push(s);
    OK(tr_scratch(s, &all, TR_F32, TR_DIMS(1, (int64_t)c.height / 16 * (c.width / 16), d)));
    OK(tr_scratch(s, &rows, TR_F32, TR_DIMS(1, around.n_row, d)));
    OK(tr_scratch(s, &context, TR_F32, TR_DIMS(1, 1, config->d_context)));
    OK(tr_scratch(s, &pooled, TR_F32, TR_DIMS(1, config->d_pooled)));
    OK(tr_set(s, context, 0));
    OK(tr_set(s, pooled, 0));
    OK(tr_mmdit_embed(model->transformer, s, all, z));
    OK(tr_mmdit_gather(s, rows, all, around.row));
    OK(tr_reference_new(&r, model->transformer, 1, around.n_row, 0, config->n_block));
    OK(tr_reference_make(r, model->transformer, s, &(tr_reference_args){ .rows = rows, .context = context, .context_logw = 5.8f, .pooled = pooled,
                                                                         .timestep = tr_view(&time, TR_F32, TR_DIMS(1)) }));
    const int64_t one = around.n_row * d;
    *n = 2 * config->n_block * one;
    float *out = malloc((size_t)*n * sizeof *out);
    assert_non_null(out);
    for (int i = 0; i < config->n_block; i++) {
        tr_tensor k, v;
        assert_true(tr_reference_of(&k, &v, r, i));
        memcpy(out + 2 * i * one, k.data, (size_t)one * sizeof *out);
        memcpy(out + (2 * i + 1) * one, v.data, (size_t)one * sizeof *out);
    }
    tr_scratch_pop(s, mark);
    tr_reference_free(r);
    tr_device_give(t->host.device, z);
    tr_stream_free(s);
    tr_around_fini(&around);
    tr_canvas_fini(&c);
    return out;
}

/* No pixel of the region that may change reaches the reference's keys and values; no pixel of the matte reaches the drawing at all. */
static void old_hair_leaves_no_trace(void **state)
{
    (void)state;
    tress_image *marked = NULL;
    int64_t n = 0, n_marked = 0;
    OK(tress_image_new(t, &marked, &(tress_image_info){ W, H, 3, 8, false }, photo->data));
    paint(marked, 32, 20, 64, 56, 7);                               /* the matte */
    for (int i = 0; i < 4; i++) {
        tress_generate_args g = args(), other;
        if (i < 3) g.reference = policies[i];
        else g.inpaint = true;
        other = g;
        other.photo = marked;
        if (i < 3) assert_true(same(&g, &other));
        else assert_false(same(&g, &other));                        /* plain inpainting sees it: the mark is no trifle */
    }
    paint(marked, 30, 18, 66, 58, 7);                               /* within 3 pixels of it */
    float *before = keys_and_values(photo, &n), *after = keys_and_values(marked, &n_marked);
    assert_int_equal(n, n_marked);
    assert_memory_equal(before, after, (size_t)n * sizeof *before);
    free(after);
    paint(marked, 27, 18, 28, 19, 7);                               /* one pixel outside */
    after = keys_and_values(marked, &n_marked);
    assert_memory_not_equal(before, after, (size_t)n * sizeof *before);
    free(before);
    free(after);
    tress_image_free(marked);
}

/* Each sample of a batch sees its own noised photo: the first of two is as it is alone, but for rounding. */
static void batches(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        int64_t n = 0, n_two = 0;
        tress_generate_args g = args();
        g.reference = policies[i];
        g.reference_strength = 0.8f;
        float *one = latents(&g, &n);
        g.batch = 2;
        float *two = latents(&g, &n_two);
        assert_int_equal(n_two, 2 * n);
        const double e = apart(two, one, n);
        if (!(e <= 1e-5)) fail_msg("policy %d: the first of two is %g from the same alone", (int)policies[i], e);
        free(one);
        free(two);
    }
}

/* Only tokens of the region are drawn: the others end as the filled photo's latent, and each step is less work. */
static void tokens_of_the_region(void **state)
{
    (void)state;
    double flops[2];
    float *z[2];
    int64_t n = 0;
    for (int i = 0; i < 2; i++) {
        tress_plan *p = NULL;
        tress_generate_args g = args();
        g.reference = TRESS_REFERENCE_CLEAN;
        g.draw_tokens = i ? TRESS_DRAW_EDIT : TRESS_DRAW_ALL;
        OK(tress_plan_generate(t, &(tress_model_args){ .model = MODEL }, &g, &p));
        flops[i] = 0;
        for (int k = 0; k < tress_plan_count(p); k++)
            if (strcmp(tress_plan_at(p, k).name, "sample") == 0) flops[i] = tress_plan_at(p, k).flops;
        tress_plan_free(p);
        z[i] = latents(&g, &n);
    }
    if (!(flops[1] < 0.75 * flops[0])) fail_msg("drawing the region alone takes %g operations, all of it %g", flops[1], flops[0]);
    int n_held = 0, n_drawn = 0;
    for (int64_t i = 0; i < n; i++) {
        assert_true(isfinite(z[1][i]));
        n_held += z[0][i] == z[1][i];
        n_drawn += z[0][i] != z[1][i];
    }
    assert_true(n_held > n / 4 && n_drawn > n / 8);
    free(z[0]);
    free(z[1]);

    tress_result *r = NULL;
    tress_generate_args g = args();
    g.draw_tokens = TRESS_DRAW_EDIT;
    g.reference = TRESS_REFERENCE_OFF;
    assert_int_equal(tress_generate(model, &g, &r), TRESS_E_ARG);
    assert_non_null(strstr(tress_last_error(), "--draw-tokens edit"));
    g.reference = TRESS_REFERENCE_CLEAN;
    g.inpaint = true;
    assert_int_equal(tress_generate(model, &g, &r), TRESS_E_ARG);
    assert_non_null(strstr(tress_last_error(), "--inpaint"));
}

/* The ControlNet's share by tokens: the same everywhere is the one strength, to rounding; less outside is another drawing. */
static void control_outside(void **state)
{
    (void)state;
    int64_t n = 0;
    tress_generate_args g = args(), other = args();
    other.control_strength_outside = 1;
    assert_true(same(&g, &other));
    other.control_strength_outside = 0.3f;
    assert_false(same(&g, &other));
    float *plain = latents(&g, &n);
    other.control_strength_outside = 0.99999994f;                   /* the next below 1: by rows, all but the same */
    float *rows = latents(&other, &n);
    const double e = apart(rows, plain, n);
    if (!(e <= 1e-5)) fail_msg("a strength of 1 by tokens is %g from the one strength", e);
    free(plain);
    free(rows);
    other.control_strength_outside = 0.3f;
    other.reference = TRESS_REFERENCE_CLEAN;
    other.draw_tokens = TRESS_DRAW_EDIT;
    g = other;
    g.control_strength_outside = -1;
    assert_false(same(&g, &other));
}

/* The strokes' colours: two sketches of the same lines are one drawing, until colours are asked for. */
static void colours_of_strokes(void **state)
{
    (void)state;
    tress_image *other = NULL;
    OK(tress_image_new(t, &other, &(tress_image_info){ W, H, 3, 8, false }, sketch->data));
    for (int i = 0; i < W * H; i++)
        if (((uint8_t *)other->data)[3 * i]) ((uint8_t *)other->data)[3 * i + 1] = 60;
    for (int i = 0; i < 5; i++) {
        tress_generate_args g = args();
        if (i == 1) g.colour_start = 0.92f;
        if (i == 2) g.colour_guide = 0.3f;
        if (i >= 3) g.colour_reference = 1;
        if (i == 4) g.reference = TRESS_REFERENCE_CLEAN, g.draw_tokens = TRESS_DRAW_EDIT, g.batch = 2;
        tress_generate_args dyed = g;
        dyed.sketch = other;
        assert_int_equal(same(&g, &dyed), i == 0);
        assert_true(same(&g, &g));
        dyed = g;
        dyed.colour_start = dyed.colour_guide = dyed.colour_reference = 0;
        assert_int_equal(same(&g, &dyed), i == 0);
    }
    tress_image_free(other);
}

static void write_lora(const char *path, const char *policy)
{
    tr_lora *l = NULL;
    const tr_lora_pair *p = NULL;
    const tr_contract c = { .present = true };
    tr_contract mine = c;
    snprintf(mine.reference, sizeof mine.reference, "%s", policy);
    OK(tr_lora_new(&l));
    const tr_linear_layer *layer = tr_mmdit_layer(model->transformer, 0);
    for (int i = 0; i < tr_mmdit_layer_count(model->transformer) && !strstr(layer->name, "blocks.0.attn.to_q"); i++) layer = tr_mmdit_layer(model->transformer, i);
    OK(tr_lora_add(l, &p, layer->name, 1, layer->w.shape[0], layer->w.shape[1]));
    OK(tr_contract_write(l, &mine));
    OK(tr_lora_set_meta(l, "tress.vae_shift", "0.0609"));
    OK(tr_lora_save(l, path, TR_LORA_DIFFUSERS));
    tr_lora_close(l);
}

/* A LoRA that learned with a reference is used with that one; any other learned with none and goes with all. */
static void the_policy_of_a_lora(void **state)
{
    (void)state;
    const tress_lora_ref lora = { DIR "/lora.safetensors", 1 };
    for (int i = 0; i < 2; i++) {
        tress_model *m = NULL;
        tress_result *r = NULL;
        int64_t n = 0;
        write_lora(lora.file, i ? "off" : "clean");
        OK(tress_model_open(t, &m, &(tress_model_args){ .model = MODEL, .lora = &lora, .n_lora = 1 }));
        tress_generate_args g = args();
        float *by_itself = latents_with(m, &g, &n);
        g.reference = i ? TRESS_REFERENCE_STAIRCASE : TRESS_REFERENCE_CLEAN;
        float *named = latents_with(m, &g, &n);
        assert_memory_equal(by_itself, named, (size_t)n * sizeof *named);
        free(by_itself);
        free(named);
        for (int k = 0; k < 2; k++) {
            g.reference = k ? TRESS_REFERENCE_OFF : TRESS_REFERENCE_NOISED;
            const tress_status st = tress_generate(m, &g, &r);
            if (i) OK(st);
            else assert_int_equal(st, TRESS_E_CONTRACT);
            if (!i) assert_non_null(strstr(tress_last_error(), k ? "--reference: found off, expected clean" : "--reference: found noised, expected clean"));
            tress_result_free(r);
            r = NULL;
        }
        g = args();
        g.photo = g.matte = NULL;                                   /* nothing to refer to */
        OK(tress_generate(m, &g, &r));
        tress_result_free(r);
        tress_model_close(m);
    }
}

static void what_cannot_be(void **state)
{
    (void)state;
    tress_result *r = NULL;
    tress_generate_args g, off = args();
#define REFUSED(part, change)                                                                       \
    do {                                                                                            \
        g = args();                                                                                 \
        change;                                                                                     \
        assert_int_equal(tress_generate(model, &g, &r), TRESS_E_ARG);                                \
        if (!strstr(tress_last_error(), part)) fail_msg("\"%s\" has no \"%s\"", tress_last_error(), part); \
    } while (0)
    REFUSED("--reference clean needs --photo", g.photo = g.matte = NULL; g.reference = TRESS_REFERENCE_CLEAN);
    REFUSED("--reference-strength", g.reference_strength = 1.5f);
    REFUSED("--reference-strength", g.reference_strength = (float)NAN);
    REFUSED("--reference-rows 3", g.reference_rows = 3);
    REFUSED("--reference-last 99", g.reference_last = 99);
    REFUSED("--reference-first 1, --reference-last 0", g.reference_first = 1; g.reference_last = 0);
    REFUSED("--control-strength-outside", g.control_strength_outside = (float)INFINITY);
    REFUSED("--control-strength-outside needs --photo", g.photo = g.matte = NULL; g.control_strength_outside = 0.3f);
    REFUSED("--colour-start", g.colour_start = 1.5f);
    REFUSED("--colour-guide", g.colour_guide = (float)NAN);
    REFUSED("--colour-reference", g.colour_reference = -1);
    REFUSED("need --sketch", g.photo = g.matte = NULL; g.colour_guide = 0.3f);
    REFUSED("tress.h", g.reference = 9);
    REFUSED("tress.h", g.draw_tokens = 9);
#undef REFUSED
    /* Next to nothing is left of the photo: the reference is off, and that is told. */
    off.reference = TRESS_REFERENCE_OFF;
    off.edit_grow = 60;
    g = off;
    g.reference = TRESS_REFERENCE_CLEAN;
    note[0] = '\0';
    assert_true(same(&g, &off));
    assert_non_null(strstr(note, "--reference clean: 0 tokens of the photo"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_and_strength), cmocka_unit_test(old_hair_leaves_no_trace), cmocka_unit_test(batches),
        cmocka_unit_test(tokens_of_the_region), cmocka_unit_test(control_outside), cmocka_unit_test(colours_of_strokes), cmocka_unit_test(the_policy_of_a_lora), cmocka_unit_test(what_cannot_be),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
