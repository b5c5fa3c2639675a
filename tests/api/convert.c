/* Converting: there and back gives the same bytes, number types are rounded as they should be, LoRAs are added where they belong, and
 * what goes wrong leaves nothing behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char dir[64];
static tress *t;
static char noted[4096];
static int cancel_at = -1;                      /* polls until cancelled; -1: never */

static void note(void *self, const char *text) { (void)self; snprintf(noted + strlen(noted), sizeof noted - strlen(noted), "%s\n", text); }
static bool cancelled(void *self) { (void)self; return cancel_at >= 0 && cancel_at-- == 0; }

static const char *at(const char *name)
{
    static char path[8][256];
    static int k;
    k = (k + 1) % 8;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static int enter(void **state)
{
    char cmd[512];
    (void)state;
    strcpy(dir, "/tmp/tress-convert-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    if (tress_new(&t, &(tress_options){ .n_thread = 2, .hooks = { .note = note, .cancelled = cancelled } }) != TRESS_OK) return -1;
    snprintf(cmd, sizeof cmd, "'%s/make_model' --preset tiny --seed 3 '%s' > /dev/null && '%s/make_model' --preset tiny --seed 3 --layout original '%s' > /dev/null",
             TRESS_BINARY_DIR, at("tiny"), TRESS_BINARY_DIR, at("original"));
    return system(cmd);
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    tress_free(t);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static void same_file(const char *a, const char *b)
{
    char *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    if (tr_file_read(&x, &n, at(a), (size_t)1 << 28) != TRESS_OK || tr_file_read(&y, &m, at(b), (size_t)1 << 28) != TRESS_OK) fail_msg("%s", tr_message());
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s and %s differ", a, b);
    tr_free(x);
    tr_free(y);
}

static void convert(const char *from, const char *to, const char *dtype, const char *modules)
{
    noted[0] = '\0';
    if (tress_convert(t, &(tress_convert_args){ .from = at(from), .to = at(to), .dtype = dtype, .modules = modules }) != TRESS_OK) fail_msg("%s", tress_last_error());
}

/* Nothing of that name, not even in part. */
static void nothing_at(const char *name)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, name, strlen(name)) == 0) fail_msg("%s was left behind", e->d_name);
    closedir(d);
}

static void refuses(const tress_convert_args *a, tress_status st, const char *word)
{
    const tress_status got = tress_convert(t, a);
    if (got != st || !strstr(tress_last_error(), word)) fail_msg("status %d, \"%s\", expected %d, \"%s\"", (int)got, tress_last_error(), (int)st, word);
}

static void there_and_back(void **state)
{
    static const char *const file[] = { "transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors", "text_encoder_2/model.safetensors", "text_encoder_3/model.safetensors" };
    char a[256], b[256];
    (void)state;
    convert("tiny", "one.safetensors", NULL, NULL);
    assert_non_null(strstr(noted, "ControlNet is left out"));
    convert("one.safetensors", "back", NULL, "transformer,vae");
    for (int i = 0; i < 2; i++) {
        snprintf(a, sizeof a, "tiny/%s", file[i]);
        snprintf(b, sizeof b, "back/%s", file[i]);
        same_file(a, b);
    }
    convert("tiny", "copy", NULL, NULL);
    for (int i = 0; i < 5; i++) {
        snprintf(a, sizeof a, "tiny/%s", file[i]);
        snprintf(b, sizeof b, "copy/%s", file[i]);
        same_file(a, b);
    }
    same_file("tiny/tokenizer/vocab.json", "copy/tokenizer/vocab.json");
    same_file("tiny/tokenizer_3/tokenizer.json", "copy/tokenizer_3/tokenizer.json");
    convert("copy", "again.safetensors", NULL, NULL);
    same_file("one.safetensors", "again.safetensors");
    /* a ControlNet by itself: a file, and a folder that needs no model round it */
    convert("tiny", "control.safetensors", NULL, "controlnet");
    convert("control.safetensors", "control", NULL, NULL);
    same_file("tiny/controlnet/diffusion_pytorch_model.safetensors", "control/diffusion_pytorch_model.safetensors");
    convert("tiny/controlnet", "control2.safetensors", NULL, NULL);
    same_file("control.safetensors", "control2.safetensors");
    /* the maker of models writes the original layout without passing through here */
    tr_safetensors *f = NULL, *g = NULL;
    assert_int_equal(tr_safetensors_open(&f, at("original/sd3.safetensors")), TRESS_OK);
    assert_int_equal(tr_safetensors_open(&g, at("one.safetensors")), TRESS_OK);
    assert_int_equal(tr_safetensors_count(f), tr_safetensors_count(g));
    for (int i = 0; i < tr_safetensors_count(f); i++) {
        const tr_tensor x = tr_safetensors_at(f, i), y = tr_safetensors_at(g, i);
        assert_string_equal(tr_safetensors_name(f, i), tr_safetensors_name(g, i));
        assert_int_equal(tr_count(x), tr_count(y));
        assert_memory_equal(x.data, y.data, (size_t)tr_count(x) * 4);
    }
    tr_safetensors_close(f);
    tr_safetensors_close(g);
}

/* Settings told by shapes are the settings the model was made with; where it was not told, they are the released model's. */
static void configs(void **state)
{
    (void)state;
    convert("original/sd3.safetensors", "conf", NULL, "transformer,vae,text_encoder_3");       /* CLIP's heads cannot be told in a tiny one */
    assert_non_null(strstr(noted, "tokenizers"));
    convert("original/controlnet.safetensors", "conf_control", NULL, NULL);
    static const char *const pair[][2] = { { "tiny/transformer/config.json", "conf/transformer/config.json" }, { "tiny/controlnet/config.json", "conf_control/config.json" },
        { "tiny/text_encoder_3/config.json", "conf/text_encoder_3/config.json" } };
    for (int i = 0; i < 3; i++) {
        json_t *a = json_load_file(at(pair[i][0]), 0, NULL), *b = json_load_file(at(pair[i][1]), 0, NULL), *v;
        const char *key;
        assert_non_null(a);
        assert_non_null(b);
        json_object_foreach(b, key, v)
            if (strcmp(key, "sample_size") != 0 && strcmp(key, "attention_head_dim") != 0 && strcmp(key, "num_attention_heads") != 0 &&
                !json_equal(v, json_object_get(a, key))) fail_msg("%s: %s differs", pair[i][1], key);
        json_decref(a);
        json_decref(b);
    }
    json_t *index = json_load_file(at("conf/model_index.json"), 0, NULL);
    assert_true(json_is_null(json_array_get(json_object_get(index, "tokenizer"), 0)));
    assert_string_equal(json_string_value(json_array_get(json_object_get(index, "vae"), 1)), "AutoencoderKL");
    json_decref(index);
    assert_true(tr_file_exists(at("conf/scheduler/scheduler_config.json")));
}

static void types(void **state)
{
    static const struct { const char *name; tr_dtype t; } c[] = { { "f16", TR_F16 }, { "bf16", TR_BF16 }, { "f8e4m3", TR_F8_E4M3 }, { "f32", TR_F32 } };
    tr_safetensors *f = NULL;
    (void)state;
    assert_int_equal(tr_safetensors_open(&f, at("tiny/transformer/diffusion_pytorch_model.safetensors")), TRESS_OK);
    for (int k = 0; k < 4; k++) {
        char name[64], path[128];
        tr_safetensors *g = NULL;
        snprintf(name, sizeof name, "type_%s", c[k].name);
        snprintf(path, sizeof path, "type_%s/transformer/diffusion_pytorch_model.safetensors", c[k].name);
        convert("tiny", name, c[k].name, "transformer");
        assert_int_equal(tr_safetensors_open(&g, at(path)), TRESS_OK);
        assert_int_equal(tr_safetensors_count(f), tr_safetensors_count(g));
        for (int i = 0; i < tr_safetensors_count(f); i++) {
            const tr_tensor x = tr_safetensors_at(f, i);
            tr_tensor y = tr_none();
            assert_true(tr_safetensors_find(g, tr_safetensors_name(f, i), &y));
            const bool kept = c[k].t == TR_F8_E4M3 && (x.rank < 2 || strcmp(tr_safetensors_name(f, i), "pos_embed.pos_embed") == 0);
            assert_int_equal(y.dtype, kept ? TR_F32 : c[k].t);
            for (int64_t j = 0; j < tr_count(x); j++) {
                const float v = ((float *)x.data)[j];
                if (y.dtype == TR_F32) assert_true(((float *)y.data)[j] == v);
                else if (y.dtype == TR_F8_E4M3) assert_int_equal(((uint8_t *)y.data)[j], tr_f32_to_f8e4m3(v));
                else assert_int_equal(((uint16_t *)y.data)[j], y.dtype == TR_F16 ? tr_f32_to_f16(v) : tr_f32_to_bf16(v));
            }
        }
        tr_safetensors_close(g);
    }
    tr_safetensors_close(f);
}

static void shards(void **state)
{
    tr_weights *a = NULL, *b = NULL;
    (void)state;
    assert_int_equal(tress_convert(t, &(tress_convert_args){ .from = at("tiny"), .to = at("shards"), .modules = "transformer", .shard_bytes = 200000 }), TRESS_OK);
    assert_true(tr_file_exists(at("shards/transformer/diffusion_pytorch_model.safetensors.index.json")));
    assert_false(tr_file_exists(at("shards/transformer/diffusion_pytorch_model.safetensors")));
    assert_int_equal(tr_weights_open(&a, at("tiny"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    assert_int_equal(tr_weights_open(&b, at("shards"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    assert_int_equal(tr_weights_count(a), tr_weights_count(b));
    for (int i = 0; i < tr_weights_count(a); i++) {
        assert_string_equal(tr_weights_name(a, i), tr_weights_name(b, i));
        assert_memory_equal(tr_weights_at(a, i).data, tr_weights_at(b, i).data, (size_t)tr_count(tr_weights_at(a, i)) * 4);
    }
    char one[65], two[65];
    assert_int_equal(tr_fingerprint(one, a), TRESS_OK);
    assert_int_equal(tr_fingerprint(two, b), TRESS_OK);
    assert_string_equal(one, two);
    tr_weights_close(b);
    assert_int_equal(tr_weights_open(&b, at("original/sd3.safetensors"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    assert_int_equal(tr_fingerprint(two, b), TRESS_OK);                   /* whatever the layout */
    assert_string_equal(one, two);
    tr_weights_close(a);
    tr_weights_close(b);
}

/* LAYER of rank r with numbers from a formula. */
static void add(tr_lora *l, const char *layer, int r, int64_t d_out, int64_t d_in)
{
    const tr_lora_pair *p = NULL;
    assert_int_equal(tr_lora_add(l, &p, layer, r, d_out, d_in), TRESS_OK);
    tr_philox_normal(p->a.data, r * d_in, strlen(layer), 0);
    tr_philox_normal(p->up.data, r * d_out, strlen(layer), 1);
}

static void merge(void **state)
{
    static const char *const layer[] = { "transformer_blocks.0.attn.to_q", "transformer_blocks.1.ff.net.2", "pos_embed.proj" };
    static const int64_t size[][2] = { { 64, 64 }, { 64, 256 }, { 64, 64 } };
    tr_lora *l = NULL, *m = NULL;
    tr_weights *a = NULL, *b = NULL;
    (void)state;
    assert_int_equal(tr_lora_new(&l), TRESS_OK);
    for (int i = 0; i < 3; i++) add(l, layer[i], 3, size[i][0], size[i][1]);
    assert_int_equal(tr_lora_new(&m), TRESS_OK);
    add(m, layer[0], 2, 64, 64);
    assert_int_equal(tr_lora_save(l, at("l.safetensors"), TR_LORA_DIFFUSERS), TRESS_OK);
    assert_int_equal(tr_lora_save(m, at("m.safetensors"), TR_LORA_KOHYA), TRESS_OK);
    char one[256], two[256];
    snprintf(one, sizeof one, "%s", at("l.safetensors"));
    snprintf(two, sizeof two, "%s", at("m.safetensors"));
    const tress_lora_ref ref[] = { { one, 0.75f }, { two, -2 } };
    if (tress_lora_merge(t, &(tress_convert_args){ .from = at("tiny"), .to = at("merged") }, ref, 2) != TRESS_OK) fail_msg("%s", tress_last_error());
    assert_int_equal(tr_weights_open(&a, at("tiny"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    assert_int_equal(tr_weights_open(&b, at("merged"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    for (int i = 0; i < tr_weights_count(a); i++) {
        const tr_tensor x = tr_weights_at(a, i), y = tr_weights_at(b, i);
        const char *name = tr_weights_name(a, i);
        for (int64_t j = 0; j < tr_count(x); j++) {
            double want = (double)((float *)x.data)[j];
            for (int k = 0; k < 3; k++) {
                if (strncmp(name, layer[k], strlen(layer[k])) != 0 || strcmp(name + strlen(layer[k]), ".weight") != 0) continue;
                for (int q = 0; q < 2; q++)
                    for (int p = 0; p < tr_lora_count(q ? m : l); p++) {
                        const tr_lora_pair *z = tr_lora_at(q ? m : l, p);
                        if (strcmp(z->layer, layer[k]) != 0) continue;
                        double d = 0;
                        for (int r = 0; r < z->rank; r++)
                            d += (double)((float *)z->up.data)[j / size[k][1] * z->rank + r] * (double)((float *)z->a.data)[r * size[k][1] + j % size[k][1]];
                        want += d * (q ? -2 : 0.75);
                    }
            }
            const double err = fabs((double)((float *)y.data)[j] - want);
            if (!(err <= 0x1p-24 * fabs(want))) fail_msg("%s [%d]: %g, expected %g", name, (int)j, (double)((float *)y.data)[j], want);
        }
    }
    tr_weights_close(a);
    tr_weights_close(b);
    same_file("tiny/vae/diffusion_pytorch_model.safetensors", "merged/vae/diffusion_pytorch_model.safetensors");
    /* adapters that belong to another model */
    add(m, "transformer_blocks.2.attn.to_q", 2, 64, 64);
    assert_int_equal(tr_lora_save(m, at("m.safetensors"), TR_LORA_DIFFUSERS), TRESS_OK);
    assert_int_equal(tress_lora_merge(t, &(tress_convert_args){ .from = at("tiny"), .to = at("never") }, ref, 2), TRESS_E_CONTRACT);
    assert_non_null(strstr(tress_last_error(), "transformer_blocks.2.attn.to_q"));
    tr_lora_close(m);
    assert_int_equal(tr_lora_new(&m), TRESS_OK);
    add(m, layer[0], 2, 64, 32);
    assert_int_equal(tr_lora_save(m, at("m.safetensors"), TR_LORA_DIFFUSERS), TRESS_OK);
    assert_int_equal(tress_lora_merge(t, &(tress_convert_args){ .from = at("tiny"), .to = at("never") }, ref, 2), TRESS_E_SHAPE);
    assert_int_equal(tress_lora_merge(t, &(tress_convert_args){ .from = at("tiny"), .to = at("never"), .modules = "vae" }, ref, 1), TRESS_E_ARG);
    nothing_at("never");
    tr_lora_close(l);
    tr_lora_close(m);
}

static void refusals(void **state)
{
    (void)state;
    assert_int_equal(tr_dir_make(at("full/x")), TRESS_OK);
    refuses(&(tress_convert_args){ .from = at("tiny"), .to = at("full") }, TRESS_E_ARG, "not empty");
    refuses(&(tress_convert_args){ .from = at("tiny"), .to = at("never"), .dtype = "f64" }, TRESS_E_ARG, "f64");
    refuses(&(tress_convert_args){ .from = at("tiny"), .to = at("never"), .modules = "vae,unet" }, TRESS_E_ARG, "unet");
    refuses(&(tress_convert_args){ .from = at("tiny"), .to = at("never.safetensors"), .modules = "vae,controlnet" }, TRESS_E_ARG, "file of its own");
    refuses(&(tress_convert_args){ .from = at("none"), .to = at("never") }, TRESS_E_IO, "none");
    refuses(&(tress_convert_args){ .from = at("full"), .to = at("never") }, TRESS_E_FORMAT, "no module");
    refuses(&(tress_convert_args){ .from = at("tiny"), .to = at("none/never.safetensors"), .modules = "vae" }, TRESS_E_IO, "never.safetensors");
    /* one clip file is either of two */
    convert("tiny/text_encoder", "clip.safetensors", NULL, NULL);
    refuses(&(tress_convert_args){ .from = at("clip.safetensors"), .to = at("never") }, TRESS_E_ARG, "text_encoder_2");
    /* an empty folder is taken; a cancelled conversion leaves nothing */
    assert_int_equal(tr_dir_make(at("empty")), TRESS_OK);
    convert("tiny/vae", "empty", NULL, NULL);
    assert_true(tr_file_exists(at("empty/config.json")));
    for (int k = 0; k < 60; k += 20) {
        cancel_at = k;
        refuses(&(tress_convert_args){ .from = at("tiny"), .to = at("never") }, TRESS_E_CANCELLED, "interrupted");
        cancel_at = k;
        refuses(&(tress_convert_args){ .from = at("tiny"), .to = at("never.safetensors") }, TRESS_E_CANCELLED, "interrupted");
    }
    cancel_at = -1;
    nothing_at("never");
}

/* A number that the new type cannot hold, and numbers that no type should. */
static void beyond(void **state)
{
    static const struct { float v; const char *dtype; bool fine; } c[] = {
        { 65519.9f, "f16", true }, { 65520, "f16", false }, { 3.3895e38f, "bf16", true }, { 3.3999e38f, "bf16", false }, { 463, "f8e4m3", true },
        { -464, "f8e4m3", false }, { NAN, NULL, false }, { INFINITY, "f16", false },
    };
    tr_safetensors *f = NULL;
    tr_named list[512];
    float x[8 * 3 * 3 * 3];
    int n = 0, which = -1;
    (void)state;
    convert("tiny/vae", "vae.safetensors", NULL, NULL);
    assert_int_equal(tr_safetensors_open(&f, at("vae.safetensors")), TRESS_OK);
    for (; n < tr_safetensors_count(f); n++) {
        list[n] = (tr_named){ tr_safetensors_name(f, n), tr_safetensors_at(f, n) };
        if (strcmp(list[n].name, "encoder.conv_in.weight") == 0) which = n;
    }
    assert_true(which >= 0 && tr_count(list[which].t) * 4 == (int64_t)sizeof x);
    memcpy(x, list[which].t.data, sizeof x);
    list[which].t.data = x;
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        x[7] = c[i].v;
        assert_int_equal(tr_safetensors_write(at("big.safetensors"), list, n, NULL), TRESS_OK);
        const tress_convert_args a = { .from = at("big.safetensors"), .to = at("big_out.safetensors"), .dtype = c[i].dtype };
        if (!c[i].fine) refuses(&a, TRESS_E_FORMAT, "element 7 is");
        else if (tress_convert(t, &a) != TRESS_OK) fail_msg("%s", tress_last_error());
        assert_int_equal(tr_file_exists(at("big_out.safetensors")), c[i].fine);
        (void)remove(at("big_out.safetensors"));
    }
    /* what a module lacks, has in another shape or has too much is named before anything is written */
    x[7] = 0;
    tr_named keep = list[which];
    list[which].t = tr_reshape(list[which].t, TR_DIMS(8, 27, 1, 1));
    assert_int_equal(tr_safetensors_write(at("big.safetensors"), list, n, NULL), TRESS_OK);
    refuses(&(tress_convert_args){ .from = at("big.safetensors"), .to = at("big_out.safetensors") }, TRESS_E_SHAPE, "encoder.conv_in.weight");
    list[which] = keep;
    list[n] = (tr_named){ "encoder.extra", list[which].t };
    assert_int_equal(tr_safetensors_write(at("big.safetensors"), list, n + 1, NULL), TRESS_OK);
    refuses(&(tress_convert_args){ .from = at("big.safetensors"), .to = at("big_out.safetensors") }, TRESS_E_FORMAT, "encoder.extra");
    list[which] = list[n - 1];
    assert_int_equal(tr_safetensors_write(at("big.safetensors"), list, n - 1, NULL), TRESS_OK);
    refuses(&(tress_convert_args){ .from = at("big.safetensors"), .to = at("big_out.safetensors") }, TRESS_E_FORMAT, "encoder.conv_in.weight");
    tr_safetensors_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(configs), cmocka_unit_test(types), cmocka_unit_test(shards), cmocka_unit_test(merge),
        cmocka_unit_test(refusals), cmocka_unit_test(beyond),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
