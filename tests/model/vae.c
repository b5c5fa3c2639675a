/* The VAE against diffusers' AutoencoderKL, stage by stage; its bands and threads byte for byte; its configs; its memory. */
#include "model/vae_int.h"
#include "seeded.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define TOLERANCE 1e-5                          /* relative, fp32: issue and design */

static const char *const cases[] = { "sd3", "quant", "plain" };
enum { N_CASE = 3 };

static void ok(tress_status st)
{
    if (st != TRESS_OK) fail_msg("%s: %s", tress_status_name(st), tr_message());
}

typedef struct fixture {
    tr_device *device;
    tr_stream *stream;
    tr_weights *weights;
    tr_vae *vae;
    tr_vae_config config;
    tr_safetensors *golden;
    json_t *note;
    int64_t b, h, w, f;                         /* latent */
    uint64_t seed;
    float *image, *latent;
    int64_t n_image, n_latent;
} fixture;

static void open_case(fixture *x, const char *name, int n_thread, tr_dtype t)
{
    char json[512], path[512], folder[512];
    *x = (fixture){ 0 };
    snprintf(json, sizeof json, "%s/tests/golden/model/vae_%s.json", TRESS_SOURCE_DIR, name);
    snprintf(path, sizeof path, "%s/tests/golden/model/vae_%s.safetensors", TRESS_SOURCE_DIR, name);
    snprintf(folder, sizeof folder, "%s/test_vae_%s_%s", TRESS_BINARY_DIR, name, tr_dtype_name(t));
    ok(seeded_json(&x->note, json));
    ok(seeded_folder(json, folder, "diffusion_pytorch_model.safetensors", t));
    ok(tr_safetensors_open(&x->golden, path));
    ok(tr_device_open(&x->device, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = n_thread }));
    ok(tr_stream_new(&x->stream, x->device));
    ok(tr_weights_open(&x->weights, folder, TR_MODULE_VAE, NULL));
    ok(tr_vae_config_read(&x->config, x->weights));
    ok(tr_vae_open(&x->vae, x->device, x->weights, &x->config));
    ok(tr_weights_check(x->weights, 1));
    const json_t *d = json_object_get(x->note, "latent");
    x->b = json_integer_value(json_array_get(d, 0)), x->h = json_integer_value(json_array_get(d, 1)), x->w = json_integer_value(json_array_get(d, 2));
    x->f = tr_vae_factor(x->vae);
    x->seed = (uint64_t)json_integer_value(json_object_get(x->note, "seed"));
    x->n_image = x->b * 3 * x->f * x->h * x->f * x->w;
    x->n_latent = x->b * x->config.latent_channels * x->h * x->w;
    ok(tr_alloc_array((void **)&x->image, x->n_image, sizeof(float)));
    ok(tr_alloc_array((void **)&x->latent, x->n_latent, sizeof(float)));
    seeded_normal(x->image, x->n_image, "image", x->seed, 0, 0.5);
    seeded_normal(x->latent, x->n_latent, "latent", x->seed, 0, 1);
}

static void close_case(fixture *x)
{
    tr_vae_close(x->vae);
    tr_weights_close(x->weights);
    tr_stream_free(x->stream);
    tr_device_close(x->device);
    tr_safetensors_close(x->golden);
    json_decref(x->note);
    tr_free(x->image);
    tr_free(x->latent);
}

static tr_dims image_dims(const fixture *x) { return TR_DIMS(x->b, 3, x->f * x->h, x->f * x->w); }
static tr_dims latent_dims(const fixture *x) { return TR_DIMS(x->b, x->config.latent_channels, x->h, x->w); }

static void encode(fixture *x, float *mean, float *logvar, int band)
{
    ok(tr_vae_encode(x->vae, x->stream, tr_view(mean, TR_F32, latent_dims(x)), logvar ? tr_view(logvar, TR_F32, latent_dims(x)) : tr_none(),
                     tr_view(x->image, TR_F32, image_dims(x)), band));
}

static void decode(fixture *x, float *image, int band)
{
    ok(tr_vae_decode(x->vae, x->stream, tr_view(image, TR_F32, image_dims(x)), tr_view(x->latent, TR_F32, latent_dims(x)), band));
}

static float *room(int64_t n)
{
    float *p = NULL;
    ok(tr_alloc_array((void **)&p, n, sizeof *p));
    for (int64_t i = 0; i < n; i++) p[i] = NAN;
    return p;
}

static void compare(const fixture *x, const char *name, const float *got, int64_t n)
{
    tr_tensor want;
    if (!tr_safetensors_find(x->golden, name, &want)) fail_msg("the golden has no %s", name);
    assert_int_equal(tr_count(want), n);
    const double e = seeded_error(got, want.data, n);
    if (!(e <= TOLERANCE)) fail_msg("%s is off by %.3g of its norm, at most %g is allowed", name, e, TOLERANCE);
}

/* ---- stages ---------------------------------------------------------------------------------------------- */
typedef struct watcher { fixture *x; int picture; int64_t n_seen; const char *last; int last_level; } watcher;

/* The golden holds every step-th element of [b, c, h, w]; those of one picture are compared. */
static void look(void *self, const char *name, int level, tr_tensor t)
{
    watcher *w = self;
    char key[128];
    tr_tensor want;
    const int64_t step = json_integer_value(json_object_get(w->x->note, "stage_step"));
    if (level < 0) snprintf(key, sizeof key, "stage.%s", name);
    else snprintf(key, sizeof key, "stage.%s.%d", name, level);
    /* the first stage of each half comes round again with the next picture */
    if (!tr_safetensors_find(w->x->golden, key, &want)) fail_msg("the golden has no %s", key);
    if (!strcmp(name, "decoder.conv_in") || (!strcmp(name, "encoder.level") && level == 0)) w->picture++;
    const int64_t h = t.shape[1], width = t.shape[2], c = t.shape[3], n = c * h * width;
    double diff = 0, ref = 0;
    int64_t seen = 0;
    for (int64_t k = 0; k < want.shape[0]; k++) {
        const int64_t i = k * step - w->picture * n;
        if (i < 0 || i >= n) continue;
        const double v = ((const float *)want.data)[k];
        const double g = ((const float *)t.data)[i / width % h * t.stride[1] + i % width * t.stride[2] + i / width / h];
        diff += (g - v) * (g - v);
        ref += v * v;
        seen++;
    }
    const double e = sqrt(diff / ref);
    if (seen == 0 || !(e <= TOLERANCE)) fail_msg("picture %d: %s is off by %.3g of its norm", w->picture, key, e);
    w->n_seen++;
}

static void test_golden(void **state)
{
    (void)state;
    for (int k = 0; k < N_CASE; k++) {
        fixture x;
        open_case(&x, cases[k], 2, TR_F32);
        float *mean = room(x.n_latent), *logvar = room(x.n_latent), *image = room(x.n_image);
        watcher w = { .x = &x, .picture = -1 };
        x.vae->watch = (tr_vae_watch){ &w, look };
        encode(&x, mean, logvar, 0);
        assert_int_equal(w.n_seen, x.b * (x.config.n_level + 1));
        w.n_seen = 0;
        w.picture = -1;
        decode(&x, image, 0);
        assert_int_equal(w.n_seen, x.b * (x.config.n_level + 2));
        compare(&x, "mean", mean, x.n_latent);
        compare(&x, "logvar", logvar, x.n_latent);
        compare(&x, "image", image, x.n_image);
        tr_free(mean), tr_free(logvar), tr_free(image);
        close_case(&x);
    }
}

/* ---- bytes ----------------------------------------------------------------------------------------------- */
static void test_bands(void **state)
{
    (void)state;
    for (int k = 0; k < N_CASE; k++) {
        fixture x;
        open_case(&x, cases[k], 2, TR_F32);
        float *mean[2] = { room(x.n_latent), room(x.n_latent) }, *logvar[2] = { room(x.n_latent), room(x.n_latent) };
        float *image[2] = { room(x.n_image), room(x.n_image) };
        encode(&x, mean[0], logvar[0], 0);
        decode(&x, image[0], 0);
        static const int bands[] = { 1, 2, 5, 16 };
        for (int i = 0; i < 4; i++) {
            const int band = bands[i];
            memset(mean[1], 0xff, (size_t)x.n_latent * 4);
            memset(image[1], 0xff, (size_t)x.n_image * 4);
            encode(&x, mean[1], band == 2 ? NULL : logvar[1], band);
            decode(&x, image[1], band);
            assert_memory_equal(mean[0], mean[1], (size_t)x.n_latent * 4);
            if (band != 2) assert_memory_equal(logvar[0], logvar[1], (size_t)x.n_latent * 4);
            assert_memory_equal(image[0], image[1], (size_t)x.n_image * 4);
        }
        for (int i = 0; i < 2; i++) tr_free(mean[i]), tr_free(logvar[i]), tr_free(image[i]);
        close_case(&x);
    }
}

/* A picture large enough that bands are many, with channels and width for every way of convolving. */
static void test_bands_large(void **state)
{
    (void)state;
    fixture x;
    open_case(&x, "sd3", 2, TR_F32);
    tr_free(x.image);
    tr_free(x.latent);
    x.b = 1, x.h = 13, x.w = 7;
    x.n_image = 3 * 64 * x.h * x.w, x.n_latent = 16 * x.h * x.w;
    x.image = room(x.n_image), x.latent = room(x.n_latent);
    seeded_normal(x.image, x.n_image, "image", 1, 0, 0.5);
    seeded_normal(x.latent, x.n_latent, "latent", 1, 0, 1);
    float *mean[2] = { room(x.n_latent), room(x.n_latent) }, *image[2] = { room(x.n_image), room(x.n_image) };
    encode(&x, mean[0], NULL, 0);
    decode(&x, image[0], 0);
    static const int bands[] = { 1, 3, 8 };
    for (int k = 0; k < 3; k++) {
        encode(&x, mean[1], NULL, bands[k] * 8 - 3);
        decode(&x, image[1], bands[k]);
        assert_memory_equal(mean[0], mean[1], (size_t)x.n_latent * 4);
        assert_memory_equal(image[0], image[1], (size_t)x.n_image * 4);
    }
    for (int i = 0; i < 2; i++) tr_free(mean[i]), tr_free(image[i]);
    close_case(&x);
}

static void test_threads(void **state)
{
    static const int counts[] = { 1, 2, 8 };
    (void)state;
    float *first_mean = NULL, *first_image = NULL;
    for (int k = 0; k < 3; k++) {
        fixture x;
        open_case(&x, "sd3", counts[k], TR_F16);
        float *mean = room(x.n_latent), *image = room(x.n_image);
        encode(&x, mean, NULL, k == 2 ? 16 : 0);
        decode(&x, image, k == 2 ? 2 : 0);
        if (k) {
            assert_memory_equal(mean, first_mean, (size_t)x.n_latent * 4);
            assert_memory_equal(image, first_image, (size_t)x.n_image * 4);
            tr_free(mean), tr_free(image);
        } else {
            first_mean = mean, first_image = image;
        }
        close_case(&x);
    }
    tr_free(first_mean), tr_free(first_image);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */
static void test_allocation(void **state)
{
    (void)state;
    for (int band = 0; band < 5; band += 4) {
        fixture x;
        open_case(&x, "sd3", 2, TR_F32);
        float *mean = room(x.n_latent), *image = room(x.n_image);
        for (int k = 0; k < 2; k++) {
            encode(&x, mean, NULL, band * 8);
            decode(&x, image, band);
        }
        const tr_mem_stats before = tr_mem_now();
        encode(&x, mean, NULL, band * 8);
        decode(&x, image, band);
        assert_int_equal(tr_mem_now().n_alloc, before.n_alloc);
        tr_free(mean), tr_free(image);
        close_case(&x);
    }
}

/* Scratch that a picture of the released VAE needs, told by a dry device. */
static size_t peak(int side, int band, bool encoder)
{
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_weights *w = NULL;
    tr_vae *v = NULL;
    tr_vae_config c;
    tr_tensor image, latent;
    ok(tr_device_open(&d, &(tr_device_spec){ .dry = true, .n_thread = 2 }));
    ok(tr_stream_new(&s, d));
    ok(tr_weights_shapes_only(&w, TR_F16));
    ok(tr_vae_config_read(&c, w));
    assert_int_equal(c.channels[3], 512);
    ok(tr_vae_open(&v, d, w, &c));
    ok(tr_device_take(d, &image, TR_F32, TR_DIMS(1, 3, side, side)));
    ok(tr_device_take(d, &latent, TR_F32, TR_DIMS(1, 16, side / 8, side / 8)));
    if (encoder) ok(tr_vae_encode(v, s, latent, tr_none(), image, band * 8));
    else ok(tr_vae_decode(v, s, image, latent, band));
    const size_t n = tr_stream_count(s).scratch_peak;
    tr_device_give(d, image);
    tr_device_give(d, latent);
    tr_vae_close(v);
    tr_weights_close(w);
    tr_stream_free(s);
    tr_device_close(d);
    return n;
}

static void test_peak(void **state)
{
    (void)state;
    for (int encoder = 0; encoder < 2; encoder++) {
        const size_t whole = peak(1024, 0, encoder), banded = peak(1024, 4, encoder);
        print_message("%s at 1024 x 1024: %zu MiB, %zu MiB in bands of 4 latent rows\n", encoder ? "encode" : "decode", whole >> 20, banded >> 20);
        assert_true(banded < (encoder ? whole / 10 * 7 : whole / 2));
    }
    assert_true(peak(1024, 4, false) < (size_t)1000 << 20);
}

/* What a dry device counts is what a real one takes and does. */
static void test_dry(void **state)
{
    (void)state;
    for (int band = 0; band < 3; band += 2) {
        fixture x;
        tr_device *d = NULL;
        tr_stream *s = NULL;
        tr_vae *v = NULL;
        tr_tensor image, latent;
        open_case(&x, "quant", 2, TR_F16);
        float *out = room(x.n_image);
        decode(&x, out, band);
        ok(tr_device_open(&d, &(tr_device_spec){ .dry = true, .n_thread = 2 }));
        ok(tr_stream_new(&s, d));
        ok(tr_vae_open(&v, d, x.weights, &x.config));
        ok(tr_device_take(d, &image, TR_F32, image_dims(&x)));
        ok(tr_device_take(d, &latent, TR_F32, latent_dims(&x)));
        ok(tr_vae_decode(v, s, image, latent, band));
        const tr_stream_stats real = tr_stream_count(x.stream), dry = tr_stream_count(s);
        assert_int_equal(dry.scratch_peak, real.scratch_peak);
        assert_int_equal(dry.n_op, real.n_op);
        assert_true(dry.flops == real.flops && dry.bytes == real.bytes && dry.flops > 0);
        tr_device_give(d, image);
        tr_device_give(d, latent);
        tr_vae_close(v);
        tr_stream_free(s);
        tr_device_close(d);
        tr_free(out);
        close_case(&x);
    }
}

/* ---- what files may say ---------------------------------------------------------------------------------- */
static tress_status try_config(const char *text, tr_vae_config *c)
{
    char path[512], json[512];
    tr_weights *w = NULL;
    snprintf(json, sizeof json, "%s/tests/golden/model/vae_plain.json", TRESS_SOURCE_DIR);
    snprintf(path, sizeof path, "%s/test_vae_config", TRESS_BINARY_DIR);
    ok(seeded_folder(json, path, "diffusion_pytorch_model.safetensors", TR_F32));
    strcat(path, "/config.json");
    if (text) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
        assert_int_equal(fclose(f), 0);
    } else {
        remove(path);
        strcpy(strrchr(path, '/'), "/diffusion_pytorch_model.safetensors");
    }
    if (text) *strrchr(path, '/') = 0;
    ok(tr_weights_open(&w, path, TR_MODULE_VAE, NULL));
    const tress_status st = tr_vae_config_read(c, w);
    tr_weights_close(w);
    return st;
}

static void test_config(void **state)
{
#define LEVELS "\"down_block_types\":[\"DownEncoderBlock2D\",\"DownEncoderBlock2D\"],\"up_block_types\":[\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"]"
    static const char *const bad[] = {
        "{}", "{\"block_out_channels\":[]," LEVELS "}", "{\"block_out_channels\":[16,0]," LEVELS "}", "{\"block_out_channels\":[16,\"16\"]," LEVELS "}",
        "{\"block_out_channels\":[16,16]}", "{\"block_out_channels\":[16,16,16]," LEVELS "}", "{\"block_out_channels\":[1,2,3,4,5,6,7]," LEVELS "}",
        "{\"block_out_channels\":[32,33]," LEVELS "}", "{\"block_out_channels\":[32,64],\"act_fn\":\"relu\"," LEVELS "}",
        "{\"block_out_channels\":[32,64],\"layers_per_block\":0," LEVELS "}", "{\"block_out_channels\":[32,64],\"norm_num_groups\":-1," LEVELS "}",
        "{\"block_out_channels\":[32,64],\"scaling_factor\":0," LEVELS "}", "{\"block_out_channels\":[32,64],\"use_quant_conv\":3," LEVELS "}",
        "{\"block_out_channels\":[32,64],\"down_block_types\":[\"DownEncoderBlock2D\",\"AttnDownEncoderBlock2D\"]}",
        "{\"_class_name\":\"VQModel\",\"block_out_channels\":[32,64]," LEVELS "}",
    };
    tr_vae_config c;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        c.n_level = 77;
        if (try_config(bad[i], &c) != TRESS_E_FORMAT) fail_msg("accepted: %s", bad[i]);
        assert_int_equal(c.n_level, 77);
        assert_non_null(strstr(tr_message(), "test_vae_config"));
    }
    ok(try_config("{\"block_out_channels\":[32,64],\"shift_factor\":null," LEVELS "}", &c));
    assert_true(c.n_level == 2 && c.channels[1] == 64 && c.layers_per_block == 1 && c.latent_channels == 4 && c.norm_groups == 32);
    assert_true(c.shift == 0 && c.scale == 0.18215f && c.quant_conv && c.post_quant_conv && c.mid_attention && c.channels_in == 3);
    /* Without config.json: what the tensors tell. */
    ok(try_config(NULL, &c));
    assert_true(c.n_level == 2 && c.channels[0] == 16 && c.channels[1] == 16 && c.layers_per_block == 3 && c.latent_channels == 8);
    assert_true(!c.quant_conv && !c.post_quant_conv && !c.mid_attention && c.scale == 1.5305f && c.shift == 0.0609f);
}

static void test_shapes(void **state)
{
    (void)state;
    fixture x;
    float v[4096] = { 0 };
    open_case(&x, "sd3", 1, TR_F32);
    const tr_tensor z = tr_view(v, TR_F32, TR_DIMS(1, 16, 1, 1));
    assert_int_equal(tr_vae_decode(x.vae, x.stream, tr_view(v, TR_F32, TR_DIMS(1, 3, 8, 7)), z, 0), TRESS_E_SHAPE);
    assert_int_equal(tr_vae_decode(x.vae, x.stream, tr_view(v, TR_F32, TR_DIMS(1, 3, 8, 8)), tr_view(v, TR_F32, TR_DIMS(1, 4, 1, 1)), 0), TRESS_E_SHAPE);
    assert_int_equal(tr_vae_encode(x.vae, x.stream, z, tr_none(), tr_view(v, TR_F32, TR_DIMS(1, 3, 8, 12)), 0), TRESS_E_SHAPE);
    assert_int_equal(tr_vae_encode(x.vae, x.stream, z, tr_none(), tr_view(v, TR_F32, TR_DIMS(1, 4, 8, 8)), 0), TRESS_E_SHAPE);
    assert_int_equal(tr_vae_encode(x.vae, x.stream, z, tr_view(v, TR_F32, TR_DIMS(1, 16, 2, 1)), tr_view(v, TR_F32, TR_DIMS(1, 3, 8, 8)), 0), TRESS_E_SHAPE);
    close_case(&x);
}

static bool always(void *self) { return self != NULL; }

static void test_cancel(void **state)
{
    (void)state;
    fixture x;
    open_case(&x, "sd3", 1, TR_F32);
    float *image = room(x.n_image);
    tr_stream_set_cancel(x.stream, always, &x);
    assert_int_equal(tr_vae_decode(x.vae, x.stream, tr_view(image, TR_F32, image_dims(&x)), tr_view(x.latent, TR_F32, latent_dims(&x)), 0), TRESS_E_CANCELLED);
    tr_stream_set_cancel(x.stream, NULL, NULL);
    decode(&x, image, 0);
    compare(&x, "image", image, x.n_image);
    tr_free(image);
    close_case(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_bands), cmocka_unit_test(test_bands_large), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_allocation), cmocka_unit_test(test_peak), cmocka_unit_test(test_dry), cmocka_unit_test(test_config), cmocka_unit_test(test_shapes), cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
