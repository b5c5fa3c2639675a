/* The whole way over a tiny model with seeded weights, through tress.h: what must be equal is equal by the byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api_int.h"

#define DIR TRESS_BINARY_DIR "/tests/api-generate"
#define MODEL DIR "/model"

static tress_image *sketch, *photo, *matte;

/* ---- pictures and a model -------------------------------------------------------------------------------- */

static tress_image *picture(tress *t, int w, int h, int channels, int depth)
{
    tress_image *img = NULL;
    void *zero = calloc((size_t)w * (size_t)h * (size_t)channels, (size_t)depth / 8);
    const tress_image_info info = { w, h, channels, depth, false };
    assert_non_null(zero);
    assert_int_equal(tress_image_new(t, &img, &info, zero), TRESS_OK);
    free(zero);
    return img;
}

static void paint(tress_image *img, int x0, int y0, int x1, int y1, uint8_t v)
{
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) memset((uint8_t *)img->data + ((size_t)y * (size_t)img->width + (size_t)x) * (size_t)img->channels, v, (size_t)img->channels);
}

static int setup(void **state)
{
    (void)state;
    tress *t = NULL;
    if (system("rm -rf '" DIR "' && mkdir -p '" DIR "' && '" TRESS_BINARY_DIR "/make_model' --preset tiny --dtype f32 --seed 3 '" MODEL "' >/dev/null") != 0) return -1;
    if (tress_new(&t, NULL) != TRESS_OK) return -1;
    sketch = picture(t, 96, 80, 3, 8);
    for (int i = 0; i < 5; i++) paint(sketch, 30 + 8 * i, 14, 32 + 8 * i, 62, 255);
    photo = picture(t, 96, 80, 3, 8);
    for (int i = 0; i < 96 * 80 * 3; i++) ((uint8_t *)photo->data)[i] = (uint8_t)(i * 2654435761u >> 24);
    matte = picture(t, 96, 80, 1, 8);
    paint(matte, 32, 20, 64, 56, 255);
    tress_free(t);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tress_image_free(sketch);
    tress_image_free(photo);
    tress_image_free(matte);
    return system("rm -rf '" DIR "'");
}

/* ---- a drawing and what it told -------------------------------------------------------------------------- */

typedef struct heard {
    int     n_note, n_preview, n_load, n_text, n_poll, cancel_at;
    char    note[1024];
    int64_t n_alloc_after_first, n_alloc_after_last;
    int     n_step;
    int     preview_w;
} heard;

static void on_progress(void *self, const tress_progress *p)
{
    heard *h = self;
    h->n_load += strcmp(p->stage, "load") == 0;
    h->n_text += strcmp(p->stage, "text") == 0;
    if (strcmp(p->stage, "sample") != 0 || p->i == 0) return;
    if (p->i == 1) h->n_alloc_after_first = tr_mem_now().n_alloc;
    h->n_alloc_after_last = tr_mem_now().n_alloc;
    h->n_step = (int)p->i;
}

static void on_note(void *self, const char *text)
{
    heard *h = self;
    h->n_note++;
    snprintf(h->note, sizeof h->note, "%s", text);
}

static void on_preview(void *self, const tress_image *rgb, int step, int n_step)
{
    heard *h = self;
    assert_in_range(step, 1, n_step);
    h->n_preview++;
    h->preview_w = tress_image_get_info(rgb).width;
}

static bool on_cancelled(void *self)
{
    heard *h = self;
    return h->cancel_at > 0 && ++h->n_poll >= h->cancel_at;
}

static tress_options options(heard *h, int n_thread)
{
    return (tress_options){ .n_thread = n_thread, .hooks = { h, on_progress, on_note, on_preview, on_cancelled } };
}

static tress_generate_args args(void)
{
    tress_generate_args g;
    tress_generate_defaults(&g);
    g.sketch = sketch;
    g.prompt = "long red hair";
    g.n_step = 3;
    g.seed = 42;
    g.max_sequence_length = 16;
    return g;
}

static tress_model_args model_args(void) { return (tress_model_args){ .model = MODEL }; }

/* One drawing in a life of its own. */
static tress_status draw(tress_result **out, const tress_model_args *m, const tress_generate_args *g, heard *h, int n_thread)
{
    tress *t = NULL;
    tress_model *model = NULL;
    const tress_options o = options(h, n_thread);
    tress_status st = tress_new(&t, &o);
    if (st == TRESS_OK) st = tress_model_open(t, &model, m);
    if (st == TRESS_OK) st = tress_generate(model, g, out);
    tress_model_close(model);
    tress_free(t);
    return st;
}

static tress_result *drawn(const tress_model_args *m, const tress_generate_args *g)
{
    heard h = { 0 };
    tress_result *r = NULL;
    if (draw(&r, m, g, &h, 1) != TRESS_OK) fail_msg("%s", tress_last_error());
    return r;
}

static bool same(const tress_image *a, const tress_image *b)
{
    return a->width == b->width && a->height == b->height && a->channels == b->channels && a->depth == b->depth &&
           memcmp(a->data, b->data, (size_t)a->width * (size_t)a->height * (size_t)a->channels * (size_t)(a->depth / 8)) == 0;
}

static void assert_same(const tress_result *a, const tress_result *b)
{
    assert_int_equal(tress_result_count(a), tress_result_count(b));
    for (int i = 0; i < tress_result_count(a); i++) assert_true(same(tress_result_image(a, i), tress_result_image(b, i)));
}

static void assert_apart(const tress_result *a, const tress_result *b) { assert_false(same(tress_result_image(a, 0), tress_result_image(b, 0))); }

/* ---- tests ----------------------------------------------------------------------------------------------- */

static void from_sketch_and_words(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    g.negative = "blurry, \"flat\"";
    tress_result *r = drawn(&m, &g);
    assert_int_equal(tress_result_count(r), 1);
    const tress_image_info i = tress_image_get_info(tress_result_image(r, 0));
    assert_true(i.width == 96 && i.height == 80 && i.channels == 3 && i.depth == 8);
    assert_int_equal(tress_result_seed(r), 42);
    assert_string_equal(tress_result_parameters(r, 0), "long red hair\nNegative prompt: blurry, \"flat\"\nSteps: 3, Sampler: Euler, CFG scale: 4.5, Seed: 42, "
                                                       "Size: 96x80, Model: model, Version: tress " TRESS_VERSION);
    json_t *o = NULL;
    assert_int_equal(tr_json_parse(&o, tress_result_json(r, 0), strlen(tress_result_json(r, 0)), 16, "json"), TRESS_OK);
    assert_string_equal(json_string_value(json_object_get(o, "prompt")), "long red hair");
    assert_string_equal(json_string_value(json_object_get(o, "seed")), "42");
    assert_string_equal(json_string_value(json_object_get(o, "control_image")), "lines");
    json_decref(o);
    tress_generate_args odd = args();                               /* bytes that are no UTF-8 do not reach the files */
    odd.prompt = "caf\xe9 \xed\xa0\x80 \xf0\x9f\x92\x87";
    odd.n_step = 1;
    tress_result *cleaned = drawn(&m, &odd);
    assert_int_equal(strncmp(tress_result_parameters(cleaned, 0), "caf\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xf0\x9f\x92\x87\nSteps: 1,", 31), 0);
    assert_int_equal(tr_json_parse(&o, tress_result_json(cleaned, 0), strlen(tress_result_json(cleaned, 0)), 16, "json"), TRESS_OK);
    assert_non_null(strstr(json_string_value(json_object_get(o, "prompt")), "\xf0\x9f\x92\x87"));
    json_decref(o);
    tress_result_free(cleaned);
    assert_non_null(tress_result_control(r));
    assert_null(tress_result_alpha(r));
    assert_null(tress_result_image(r, 1));

    tress *t = NULL;                                                /* saved, the texts come back */
    char *text = NULL;
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    assert_int_equal(tress_result_save(t, r, 0, DIR "/a.png"), TRESS_OK);
    assert_int_equal(tr_image_read_text(&text, DIR "/a.png", "parameters"), TRESS_OK);
    assert_string_equal(text, tress_result_parameters(r, 0));
    tr_free(text);
    tress_image *back = NULL;
    assert_int_equal(tress_image_load(t, &back, DIR "/a.png"), TRESS_OK);
    assert_true(same(back, tress_result_image(r, 0)));
    tress_image_free(back);
    tress_free(t);

    tress_generate_args other = args();
    other.negative = g.negative;
    other.prompt = "short black hair";
    tress_result *q = drawn(&m, &other);
    assert_apart(r, q);
    tress_result_free(q);
    other.prompt = g.prompt;
    other.seed = 43;
    q = drawn(&m, &other);
    assert_apart(r, q);
    tress_result_free(q);
    tress_result_free(r);
}

static void same_bytes_for_any_threads(void **state)
{
    (void)state;
    static const int threads[] = { 2, 8 };
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    heard h = { 0 };
    g.photo = photo, g.matte = matte;
    g.sampler = TRESS_SAMPLER_DPMPP_2M;
    tress_result *one = drawn(&m, &g), *r = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(draw(&r, &m, &g, &h, threads[i]), TRESS_OK);
        assert_same(one, r);
        tress_result_free(r);
        r = NULL;
    }
    tress_result *again = drawn(&m, &g);
    assert_same(one, again);
    tress_result_free(again);
    tress_result_free(one);
}

static void read_latents(const char *path, float **out, tr_tensor *t)
{
    tr_safetensors *f = NULL;
    tr_tensor found;
    assert_int_equal(tr_safetensors_open(&f, path), TRESS_OK);
    assert_true(tr_safetensors_find(f, "latents", &found));
    *out = malloc(sizeof(float) * (size_t)tr_count(found));
    assert_non_null(*out);
    memcpy(*out, found.data, sizeof(float) * (size_t)tr_count(found));
    *t = found;
    tr_safetensors_close(f);
}

static double apart(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += pow((double)a[i] - (double)b[i], 2);
        s += pow((double)b[i], 2);
    }
    return sqrt(d / s);
}

/* torch: one stream for the batch, so its first picture starts from the noise of a batch of one, and the file of the batch's noise, given
 * back, gives the batch. */
static void batches_and_latents(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    float *one = NULL, *two = NULL;
    tr_tensor t1, t2;
    g.latents_out = DIR "/one.safetensors";
    tress_result_free(drawn(&m, &g));
    g.batch = 2;
    g.latents_out = DIR "/two.safetensors";
    tress_result *r = drawn(&m, &g);
    assert_int_equal(tress_result_count(r), 2);
    assert_false(same(tress_result_image(r, 0), tress_result_image(r, 1)));
    assert_non_null(strstr(tress_result_parameters(r, 1), "Batch size: 2, Batch pos: 1"));
    read_latents(DIR "/one.safetensors", &one, &t1);
    read_latents(DIR "/two.safetensors", &two, &t2);
    assert_int_equal(t2.shape[0], 2);
    assert_int_equal(t2.shape[2], 10);
    /* products of another height may round otherwise, and that is all */
    if (!(apart(two, one, tr_count(t1)) <= 1e-5)) fail_msg("picture 0 of a batch of 2 is %g from the batch of 1", apart(two, one, tr_count(t1)));

    const int64_t n = tr_count(t2);                                 /* the noise of the seed as a file */
    tr_mt19937 s;
    tr_mt19937_init(&s, g.seed);
    tr_mt19937_normal(&s, two, n);
    const tr_named noise = { "latents", tr_view(two, TR_F32, TR_DIMS(2, 16, 10, 12)) };
    assert_int_equal(tr_safetensors_write(DIR "/noise.safetensors", &noise, 1, NULL), TRESS_OK);
    g.latents_in = DIR "/noise.safetensors";
    g.latents_out = NULL;
    g.seed = 7;                                                     /* not used then */
    tress_result *q = drawn(&m, &g);
    assert_same(r, q);
    tress_result_free(q);
    heard h = { 0 };
    tress_result *none = NULL;
    g.batch = 1;
    assert_int_equal(draw(&none, &m, &g, &h, 1), TRESS_E_SHAPE);
    two[5] = (float)NAN;
    assert_int_equal(tr_safetensors_write(DIR "/noise.safetensors", &noise, 1, NULL), TRESS_OK);
    g.batch = 2;
    assert_int_equal(draw(&none, &m, &g, &h, 1), TRESS_E_FORMAT);
    assert_null(none);
    free(one);
    free(two);
    tress_result_free(r);
}

static void embeds_stand_for_words(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    tress *t = NULL;
    tr_named list[4];
    tr_safetensors *f[2] = { NULL, NULL };
    static const char *const names[2][2] = { { "encoder_hidden_states", "pooled_projections" },
                                             { "negative_encoder_hidden_states", "negative_pooled_projections" } };
    g.negative = "bald";
    tress_result *words = drawn(&m, &g);
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    for (int i = 0; i < 2; i++) {
        const tress_probe_args p = { .module = "text", .out = i ? DIR "/n.safetensors" : DIR "/p.safetensors", .text = i ? g.negative : g.prompt, .sample = &g };
        assert_int_equal(tress_probe(t, &m, &p), TRESS_OK);
        assert_int_equal(tr_safetensors_open(&f[i], p.out), TRESS_OK);
        for (int k = 0; k < 2; k++) {
            list[2 * i + k].name = names[i][k];
            assert_true(tr_safetensors_find(f[i], names[0][k], &list[2 * i + k].t));
        }
    }
    assert_int_equal(list[0].t.shape[1], 77 + 16);
    assert_int_equal(tr_safetensors_write(DIR "/embeds.safetensors", list, 4, NULL), TRESS_OK);
    g.embeds_in = DIR "/embeds.safetensors";
    g.prompt = "not read";
    assert_int_equal(rename(MODEL "/text_encoder", MODEL "/gone"), 0);      /* no encoder is opened */
    tress_result *r = drawn(&m, &g);
    assert_int_equal(rename(MODEL "/gone", MODEL "/text_encoder"), 0);
    assert_same(words, r);
    tress_result_free(r);
    assert_int_equal(tr_safetensors_write(DIR "/embeds.safetensors", list, 2, NULL), TRESS_OK);
    heard h = { 0 };
    tress_result *none = NULL;
    assert_int_equal(draw(&none, &m, &g, &h, 1), TRESS_E_FORMAT);           /* guidance needs the negative ones */
    assert_non_null(strstr(tress_last_error(), "negative_encoder_hidden_states"));
    for (int i = 0; i < 2; i++) tr_safetensors_close(f[i]);
    tress_free(t);
    tress_result_free(words);
}

static void encodings_are_cached(void **state)
{
    (void)state;
    tress_model_args m = model_args();
    tress_generate_args g = args();
    heard h = { 0 };
    tress_result *plain = drawn(&m, &g), *r = NULL;
    m.text_cache = DIR "/cache";
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_OK);
    assert_same(plain, r);
    tress_result_free(r);
    r = NULL;
    const int n_text = h.n_text;
    h = (heard){ 0 };
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_OK);            /* from the cache */
    assert_same(plain, r);
    assert_true(h.n_text < n_text);
    assert_int_equal(h.n_note, 0);
    tress_result_free(r);
    r = NULL;
    /* damage one byte in the middle of every entry */
    assert_int_equal(system("for f in '" DIR "'/cache/*; do printf '\\377' | dd of=\"$f\" bs=1 seek=3000 conv=notrunc 2>/dev/null; done"), 0);
    h = (heard){ 0 };
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_OK);
    assert_same(plain, r);
    assert_int_equal(h.n_note, 2);
    assert_non_null(strstr(h.note, "damaged"));
    tress_result_free(r);
    r = NULL;
    h = (heard){ 0 };
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_OK);            /* and was made good */
    assert_int_equal(h.n_note, 0);
    tress_result_free(r);
    tress_result_free(plain);
}

static void long_prompts_are_cut_with_a_note(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    char prompt[2000] = "";
    heard h = { 0 };
    tress_result *r = NULL;
    for (int i = 0; i < 300; i++) strcat(prompt, "hair ");
    g.prompt = prompt;
    g.cfg_scale = 1;
    g.n_step = 1;
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_OK);
    assert_int_equal(h.n_note, 2);                                  /* CLIP and T5 */
    assert_non_null(strstr(h.note, "too long"));
    tress_result_free(r);
}

static void into_a_photo(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    g.photo = photo, g.matte = matte;
    tress_result *r = drawn(&m, &g);
    const tress_image *img = tress_result_image(r, 0), *alpha = tress_result_alpha(r);
    assert_true(img->width == 96 && img->height == 80 && img->channels == 3 && alpha->depth == 16);
    int n_out = 0, n_new = 0;
    for (int i = 0; i < 96 * 80; i++) {
        const bool kept = memcmp((uint8_t *)img->data + 3 * i, (uint8_t *)photo->data + 3 * i, 3) == 0;
        if (((const uint16_t *)alpha->data)[i] == 0) {
            assert_true(kept);
            n_out++;
        }
        n_new += !kept;
    }
    assert_true(n_out > 4000 && n_new > 1000);

    tress_generate_args q = g;                                      /* each of these draws another picture */
    tress_result *other;
    q.strength = 0.6f;
    other = drawn(&m, &q);
    assert_apart(r, other);
    tress_result_free(other);
    q = g;
    q.reference = TRESS_REFERENCE_OFF;
    other = drawn(&m, &q);
    assert_apart(r, other);
    q.inpaint = true;
    tress_result *inpainted = drawn(&m, &q);
    assert_apart(r, inpainted);
    assert_apart(other, inpainted);
    q.reference = TRESS_REFERENCE_AUTO;                             /* plain inpainting refers to nothing of its own accord */
    tress_result *again = drawn(&m, &q);
    assert_same(inpainted, again);
    tress_result_free(inpainted);
    tress_result_free(again);
    tress_result_free(other);

    q = g;
    q.blend = TRESS_BLEND_BANDS;
    q.overlay = true;
    other = drawn(&m, &q);
    assert_apart(r, other);
    assert_null(tress_result_overlay(r));
    assert_true(tress_result_overlay(other)->width == 96 && tress_result_overlay(other)->height == 80);
    assert_non_null(strstr(tress_result_json(other, 0), "\"blend\": \"bands\""));
    tress_result_free(other);

    heard h = { 0 };
    tress_result *none = NULL;
    q = args();
    q.overlay = true;
    assert_int_equal(draw(&none, &m, &q, &h, 1), TRESS_E_ARG);
    assert_non_null(strstr(tress_last_error(), "--photo"));
    q = args();
    q.strength = 0.5f;
    assert_int_equal(draw(&none, &m, &q, &h, 1), TRESS_E_ARG);
    assert_non_null(strstr(tress_last_error(), "--photo"));
    q = g;
    q.strength = 0;
    assert_int_equal(draw(&none, &m, &q, &h, 1), TRESS_E_ARG);
    q = g;
    q.strength = 0.34f;                                             /* of 3 steps: 3 - int(3 * 0.66) = 2 */
    assert_int_equal(draw(&other, &m, &q, &h, 1), TRESS_OK);
    assert_int_equal(h.n_step, 2);
    tress_result_free(other);
    tress_result_free(r);
}

/* The photo's hold on the latent, written out by hand beside the one that draws. */
typedef struct by_hand { const float *noise, *z0, *mask; int64_t n_cell; } by_hand;

static tress_status blend_by_hand(void *self, tr_stream *s, tr_tensor x, tr_tensor x0, float sigma, int step)
{
    const by_hand *b = self;
    (void)s, (void)x0, (void)step;
    for (int64_t i = 0; i < tr_count(x); i++) {
        const double m = (double)b->mask[i % b->n_cell], known = (double)sigma * (double)b->noise[i] + (1 - (double)sigma) * (double)b->z0[i];
        ((float *)x.data)[i] = (float)(m * (double)((float *)x.data)[i] + (1 - m) * known);
    }
    return TRESS_OK;
}

static void photo_holds_its_ground(void **state)
{
    (void)state;
    tress *t = NULL;
    tress_model *m = NULL;
    tress_result *r = NULL;
    tr_canvas c;
    tr_words words;
    tr_schedule schedule;
    tr_stream *s = NULL;
    tr_tensor control = tr_none(), z0 = tr_none(), noise = tr_none(), found;
    float *got = NULL;
    const tress_model_args ma = model_args();
    tress_generate_args g = args();
    const tr_canvas_rules rules = { .multiple = 16, .side_max = 384, .side_own = 128, .cell = 8, .needs_sketch = true };
    g.photo = photo, g.matte = matte;
    g.inpaint = true;
    g.strength = 0.7f;
    g.n_step = 4;                                                   /* 4 - int(4 * 0.3) = 3 of them */
    g.batch = 2;
    g.latents_out = DIR "/held.safetensors";
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    assert_int_equal(tress_model_open(t, &m, &ma), TRESS_OK);
    assert_int_equal(tress_generate(m, &g, &r), TRESS_OK);
    read_latents(g.latents_out, &got, &found);

    assert_int_equal(tr_canvas_make(&c, &g, &rules), TRESS_OK);
    assert_int_equal(tr_words_get(&words, m, &g), TRESS_OK);
    assert_int_equal(tr_schedule_make(&schedule, &m->schedule, 4, 0, 0.7), TRESS_OK);
    assert_int_equal(tr_stream_new(&s, t->host.device), TRESS_OK);
    for (int i = 0; i < 3 * c.height * c.width; i++) c.rgb.data[i] = 2 * c.rgb.data[i] - 1;
    tr_control_range_apply(c.control, TRESS_RANGE_VENDOR);
    assert_int_equal(tr_latent_encode(&z0, m, s, c.rgb, true, 2), TRESS_OK);
    assert_int_equal(tr_latent_encode(&control, m, s, c.control, true, 1), TRESS_OK);
    assert_int_equal(tr_noise_make(&noise, s, TR_DIMS(2, 16, c.height / 8, c.width / 8), 42, NULL), TRESS_OK);
    const by_hand b = { noise.data, z0.data, c.mask.data, (int64_t)c.mask.h * c.mask.w };
    float *x = malloc(sizeof(float) * (size_t)tr_count(noise));
    assert_non_null(x);
    const double sigma = (double)schedule.sigma[0];
    assert_true(sigma < 1 && schedule.n_step == 3);
    for (int64_t i = 0; i < tr_count(noise); i++) x[i] = (float)(sigma * (double)b.noise[i] + (1 - sigma) * (double)b.z0[i]);
    assert_int_equal(tr_draw_latents(m, s, tr_view(x, TR_F32, TR_DIMS(2, 16, c.height / 8, c.width / 8)), &g, &schedule, &words, control, NULL, blend_by_hand,
                                     (void *)(uintptr_t)&b), TRESS_OK);
    assert_int_equal(tr_count(found), tr_count(noise));
    if (!(apart(got, x, tr_count(noise)) <= 1e-6)) fail_msg("the blended latent is %g from the one by hand", apart(got, x, tr_count(noise)));
    int n_held = 0;
    for (int64_t i = 0; i < tr_count(noise); i++)
        if (c.mask.data[i % b.n_cell] == 0) {
            assert_true(got[i] == b.z0[i]);
            n_held++;
        }
    assert_true(n_held > 0);
    free(x);
    free(got);
    tr_device_give(t->host.device, z0);
    tr_device_give(t->host.device, control);
    tr_device_give(t->host.device, noise);
    tr_stream_free(s);
    tr_words_fini(&words);
    tr_canvas_fini(&c);
    tress_result_free(r);
    tress_model_close(m);
    tress_free(t);
}

static void control_that_is_off(void **state)
{
    (void)state;
    tress_model_args m = model_args();
    tress_generate_args g = args();
    tress_result *on = drawn(&m, &g);
    g.control_start = 0.4f;
    g.control_end = 0.5f;                                           /* no step of 3 lies inside */
    tress_result *outside = drawn(&m, &g);
    g = args();
    g.control_strength = 0;
    tress_result *zero = drawn(&m, &g);
    m.no_control = true;
    g = args();
    tress_result *none = drawn(&m, &g);
    assert_apart(on, outside);
    assert_same(outside, zero);
    assert_same(outside, none);
    assert_null(tress_result_control(zero));
    tress_result_free(on);
    tress_result_free(outside);
    tress_result_free(zero);
    tress_result_free(none);
}

static void write_lora(const char *path, const char *layer, const char *const *meta)
{
    float a[4 * 64], b[64 * 4];
    char name[2][200];
    tr_philox_normal(a, 256, 1, 0);
    tr_philox_normal(b, 256, 2, 0);
    snprintf(name[0], sizeof name[0], "transformer.%s.lora_A.weight", layer);
    snprintf(name[1], sizeof name[1], "transformer.%s.lora_B.weight", layer);
    const tr_named list[] = { { name[0], tr_view(a, TR_F32, TR_DIMS(4, 64)) }, { name[1], tr_view(b, TR_F32, TR_DIMS(64, 4)) } };
    assert_int_equal(tr_safetensors_write(path, list, 2, meta), TRESS_OK);
}

static void loras_and_their_contract(void **state)
{
    (void)state;
    tress_model_args m = model_args();
    tress_generate_args g = args();
    tress_lora_ref lora = { DIR "/lora.safetensors", 0 };
    heard h = { 0 };
    tress_result *none = NULL;
    write_lora(lora.file, "transformer_blocks.0.attn.to_q", NULL);
    tress_result *base = drawn(&m, &g);
    m.lora = &lora, m.n_lora = 1;
    tress_result *weightless = drawn(&m, &g);
    assert_same(base, weightless);
    lora.weight = 0.5f;
    tress_result *half = drawn(&m, &g);
    assert_apart(base, half);
    assert_non_null(strstr(tress_result_parameters(half, 0), "Lora weights: \"lora: 0.5\""));

    write_lora(lora.file, "transformer_blocks.9.attn.to_q", NULL);
    assert_int_equal(draw(&none, &m, &g, &h, 1), TRESS_E_CONTRACT);
    const char *const meta[] = { "tress.control_image", "colour", "tress.control_range", "vendor", NULL };
    write_lora(lora.file, "transformer_blocks.0.attn.to_q", meta);
    assert_int_equal(draw(&none, &m, &g, &h, 1), TRESS_E_CONTRACT);
    assert_non_null(strstr(tress_last_error(), "colour"));
    assert_null(none);
    m.ignore_contract = true;
    tress_result *forced = drawn(&m, &g);
    assert_same(half, forced);
    tress_result_free(base);
    tress_result_free(weightless);
    tress_result_free(half);
    tress_result_free(forced);
}

static void zero_text(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    g.zero_text = true;
    tress_result *r = drawn(&m, &g);
    g.zero_text_rows = 77;
    tress_result *fewer = drawn(&m, &g);
    assert_apart(r, fewer);
    /* 333 rows of zeros in a file are the same drawing, but for rounding: exact by the mathematics, close by the byte */
    const int d = 96, p = 80;
    void *zero = NULL;
    assert_int_equal(tr_alloc_array(&zero, 333 * d, sizeof(float)), TRESS_OK);
    const tr_named list[] = { { "encoder_hidden_states", tr_view(zero, TR_F32, TR_DIMS(1, 333, d)) }, { "pooled_projections", tr_view(zero, TR_F32, TR_DIMS(1, p)) } };
    assert_int_equal(tr_safetensors_write(DIR "/zeros.safetensors", list, 2, NULL), TRESS_OK);
    tr_free(zero);
    g = args();
    g.embeds_in = DIR "/zeros.safetensors";
    g.cfg_scale = 1;
    tress_result *rows = drawn(&m, &g);
    const uint8_t *x = tress_result_image(r, 0)->data, *y = tress_result_image(rows, 0)->data;
    for (int i = 0; i < 96 * 80 * 3; i++) assert_in_range(x[i] - y[i] + 1, 0, 2);
    tress_result_free(r);
    tress_result_free(fewer);
    tress_result_free(rows);
}

static void a_drawing_can_be_stopped(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    const tress_generate_args g = args();
    tress_result *r = NULL;
    for (int at = 1; at < 60; at += 7) {
        heard h = { .cancel_at = at };
        const tress_status st = draw(&r, &m, &g, &h, 1);
        if (st == TRESS_OK) {                                       /* fewer polls than that */
            tress_result_free(r);
            r = NULL;
            assert_true(at > 8);
            break;
        }
        assert_int_equal(st, TRESS_E_CANCELLED);
        assert_null(r);
    }
}

static void steps_allocate_nothing(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    heard h = { 0 };
    tress_result *r = NULL;
    int skip[] = { 1 };
    g.n_step = 6;
    g.photo = photo, g.matte = matte;
    g.sampler = TRESS_SAMPLER_DPMPP_2M;
    g.skip_layer = skip, g.n_skip_layer = 1;
    g.skip_layer_start = -1;
    assert_int_equal(draw(&r, &m, &g, &h, 2), TRESS_OK);
    assert_int_equal(h.n_step, 6);
    assert_int_equal(h.n_alloc_after_last, h.n_alloc_after_first);
    tress_result_free(r);
}

static void one_model_draws_again(void **state)
{
    (void)state;
    tress *t = NULL;
    tress_model *model = NULL;
    tress_result *a = NULL, *b = NULL, *c = NULL;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    heard h = { 0 };
    const tress_options o = options(&h, 1);
    assert_int_equal(tress_new(&t, &o), TRESS_OK);
    assert_int_equal(tress_model_open(t, &model, &m), TRESS_OK);
    assert_int_equal(tress_generate(model, &g, &a), TRESS_OK);
    assert_true(h.n_load > 0 && h.n_text > 0);
    h = (heard){ 0 };
    g.preview_every = 2;
    g.n_step = 3;
    assert_int_equal(tress_generate(model, &g, &b), TRESS_OK);
    assert_true(h.n_load == 0 && h.n_text == 0);                    /* nothing is read again */
    assert_int_equal(h.n_preview, 1);
    assert_int_equal(h.preview_w, 96);
    assert_same(a, b);
    g.batch = 3;
    assert_int_equal(tress_generate(model, &g, &c), TRESS_OK);
    g.vae_band = 3;
    tress_result_free(b);
    assert_int_equal(tress_generate(model, &g, &b), TRESS_OK);
    assert_same(b, c);
    tress_result_free(a);
    tress_result_free(b);
    tress_result_free(c);
    tress_model_close(model);
    tress_free(t);
}

/* The plan is the drawing's own code on a device that counts: equal to the last byte. */
static void plans_are_exact(void **state)
{
    (void)state;
    tress *t = NULL;
    tress_model *model = NULL;
    tress_plan *p = NULL;
    tress_result *r = NULL;
    tr_ledger real = { .n = 0 };
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    int w = 0, h = 0;
    g.photo = photo, g.matte = matte;
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    const int64_t before = tr_mem_now().peak_bytes;
    assert_int_equal(tress_plan_generate(t, &m, &g, &p), TRESS_OK);
    (void)before;
    tress_plan_size(p, &w, &h);
    assert_true(w > 0 && w % 16 == 0 && h % 16 == 0);
    assert_int_equal(tress_model_open(t, &model, &m), TRESS_OK);
    t->host.ledger = &real;
    assert_int_equal(tress_generate(model, &g, &r), TRESS_OK);
    assert_int_equal(tress_plan_count(p), real.n);
    assert_true(real.n >= 6);
    for (int i = 0; i < real.n; i++) {
        const tress_plan_part part = tress_plan_at(p, i);
        assert_string_equal(part.name, real.part[i].name);
        if (part.work_bytes != real.part[i].work_bytes || part.weight_bytes != real.part[i].weight_bytes || part.flops != real.part[i].flops)
            fail_msg("%s: planned %" PRId64 " + %" PRId64 " bytes, %g operations; took %" PRId64 " + %" PRId64 ", %g", part.name, part.weight_bytes,
                     part.work_bytes, part.flops, real.part[i].weight_bytes, real.part[i].work_bytes, real.part[i].flops);
        assert_true(part.weight_bytes > 0 && part.work_bytes > 0 && part.flops > 0);
    }
    assert_true(tress_plan_peak_bytes(p) == tr_ledger_peak(&real, NULL));
    tress_plan_free(p);
    tress_result_free(r);
    tress_model_close(model);
    tress_free(t);
}

static void limits_are_kept_before_the_work(void **state)
{
    (void)state;
    tress *t = NULL;
    tress_model *model = NULL;
    tress_result *r = NULL;
    heard h = { 0 };
    tress_options o = options(&h, 1);
    const tress_model_args m = model_args();
    const tress_generate_args g = args();
    o.memory_max = 400 << 10;
    assert_int_equal(tress_new(&t, &o), TRESS_OK);
    assert_int_equal(tress_model_open(t, &model, &m), TRESS_OK);
    assert_int_equal(tress_generate(model, &g, &r), TRESS_E_OOM);
    assert_int_equal(h.n_load, 0);
    assert_null(r);
    tress_model_close(model);
    tress_free(t);
}

static void dry_runs_check_and_draw_nothing(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    tress_generate_args g = args();
    heard h = { 0 };
    tress_result *r = NULL;
    g.dry_run = true;
    g.latents_out = DIR "/not-written.safetensors";
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_OK);
    assert_int_equal(tress_result_count(r), 0);
    assert_null(tress_result_image(r, 0));
    assert_non_null(tress_result_json(r, 0));
    assert_int_equal(access(g.latents_out, F_OK), -1);
    tress_result_free(r);
    r = NULL;
    g.n_step = 0;
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_E_ARG);
    g = args();
    g.dry_run = true;
    g.matte = matte;
    assert_int_equal(draw(&r, &m, &g, &h, 1), TRESS_E_ARG);
    assert_null(r);
}

static void bad_arguments(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    heard h = { 0 };
    tress_result *r = NULL;
    tress_generate_args g = args();
    static int skip[] = { 2 };
#define REFUSED(code, change)                                                        \
    do {                                                                             \
        g = args();                                                                  \
        change;                                                                      \
        const tress_status st = draw(&r, &m, &g, &h, 1);                             \
        if (st != (code)) fail_msg("%s: status %d, expected %d: %s", #change, st, (code), tress_last_error()); \
        assert_null(r);                                                              \
    } while (0)
    REFUSED(TRESS_E_ARG, g.sketch = NULL);
    REFUSED(TRESS_E_ARG, g.n_step = 0);
    REFUSED(TRESS_E_ARG, g.n_step = 1001);
    REFUSED(TRESS_E_ARG, g.batch = 0);
    REFUSED(TRESS_E_ARG, g.cfg_scale = (float)NAN);
    REFUSED(TRESS_E_ARG, g.strength = -1);
    REFUSED(TRESS_E_ARG, g.control_start = 0.9f; g.control_end = 0.1f);
    REFUSED(TRESS_E_ARG, g.control_strength = (float)INFINITY);
    REFUSED(TRESS_E_ARG, g.max_sequence_length = 513);
    REFUSED(TRESS_E_ARG, g.skip_layer = skip; g.n_skip_layer = 1);
    REFUSED(TRESS_E_ARG, g.zero_text = true; g.embeds_in = "x");
    REFUSED(TRESS_E_ARG, g.inpaint = true);
    REFUSED(TRESS_E_ARG, g.vae_band = -1);
    REFUSED(TRESS_E_SHAPE, g.width = 4096; g.height = 64);
    REFUSED(TRESS_E_IO, g.embeds_in = DIR "/nowhere.safetensors");
    REFUSED(TRESS_E_IO, g.latents_in = DIR "/nowhere.safetensors");
    REFUSED(TRESS_E_IO, g.latents_out = DIR "/no/such/folder/x.safetensors");
#undef REFUSED
    tress *t = NULL;
    tress_model *model = NULL;
    assert_int_equal(tress_new(&t, NULL), TRESS_OK);
    assert_int_equal(tress_model_open(t, &model, &(tress_model_args){ .model = DIR "/nowhere" }), TRESS_E_IO);
    assert_non_null(strstr(tress_last_error(), "nowhere"));
    assert_int_equal(rename(MODEL "/controlnet", MODEL "/gone"), 0);
    assert_int_equal(tress_model_open(t, &model, &m), TRESS_E_FORMAT);
    assert_non_null(strstr(tress_last_error(), "--control-net"));
    assert_int_equal(tress_model_open(t, &model, &(tress_model_args){ .model = MODEL, .control_net = MODEL "/gone" }), TRESS_OK);
    tress_model_close(model);
    assert_int_equal(rename(MODEL "/gone", MODEL "/controlnet"), 0);
    tress_free(t);
}

static void without_t5(void **state)
{
    (void)state;
    const tress_model_args m = model_args();
    const tress_generate_args g = args();
    tress_result *with = drawn(&m, &g);
    assert_int_equal(rename(MODEL "/text_encoder_3", MODEL "/gone"), 0);
    assert_int_equal(system("sed -i.bak 's/\"text_encoder_3\": \\[[^]]*\\]/\"text_encoder_3\": [null, null]/' '" MODEL "/model_index.json'"), 0);
    tress_result *r = drawn(&m, &g);
    assert_int_equal(rename(MODEL "/gone", MODEL "/text_encoder_3"), 0);
    assert_int_equal(rename(MODEL "/model_index.json.bak", MODEL "/model_index.json"), 0);
    assert_apart(with, r);
    tress_result_free(with);
    tress_result_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_sketch_and_words),
        cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(batches_and_latents),
        cmocka_unit_test(embeds_stand_for_words),
        cmocka_unit_test(encodings_are_cached),
        cmocka_unit_test(long_prompts_are_cut_with_a_note),
        cmocka_unit_test(into_a_photo),
        cmocka_unit_test(photo_holds_its_ground),
        cmocka_unit_test(control_that_is_off),
        cmocka_unit_test(loras_and_their_contract),
        cmocka_unit_test(zero_text),
        cmocka_unit_test(a_drawing_can_be_stopped),
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(one_model_draws_again),
        cmocka_unit_test(plans_are_exact),
        cmocka_unit_test(limits_are_kept_before_the_work),
        cmocka_unit_test(dry_runs_check_and_draw_nothing),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(without_t5),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
