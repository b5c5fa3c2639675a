/* LoRA files of every layout add what their own writers say they add; any of them written in any layout and read again adds the same;
 * broken ones are refused by name. Goldens: tools/golden/lora_formats.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/model/"

static char dir[64];
static json_t *golden;
static tr_safetensors *delta_file;

static int enter(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tress-lora-XXXXXX");
    golden = json_load_file(GOLDEN "lora_formats.json", 0, NULL);
    return mkdtemp(dir) && golden && tr_safetensors_open(&delta_file, GOLDEN "lora_delta.safetensors") == TRESS_OK ? 0 : -1;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    json_decref(golden);
    tr_safetensors_close(delta_file);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static const char *at(const char *name)
{
    static char path[4][256];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

/* delta W of one pair against want [d_out, d_in]. Both sum r products in F32 and scale them, in whatever order: r + 3 roundings each. */
static void compare_pair(const tr_lora_pair *p, const float *want, const char *what)
{
    const int64_t d_out = p->up.shape[0], d_in = p->a.shape[1];
    const float *a = p->a.data, *up = p->up.data;
    for (int64_t i = 0; i < d_out; i++)
        for (int64_t j = 0; j < d_in; j++) {
            double sum = 0, mag = 0;
            for (int k = 0; k < p->rank; k++) {
                sum += (double)up[i * p->rank + k] * (double)a[k * d_in + j];
                mag += fabs((double)up[i * p->rank + k] * (double)a[k * d_in + j]);
            }
            const double err = fabs(sum - (double)want[i * d_in + j]), tol = 2 * (p->rank + 3) * 0x1p-24 * mag;
            if (!(err <= tol)) fail_msg("%s: %s [%d, %d]: %g, expected %g", what, p->layer, (int)i, (int)j, sum, (double)want[i * d_in + j]);
        }
}

static void compare(const tr_lora *l, const char *name, const char *what)
{
    char key[512];
    int n = 0;
    snprintf(key, sizeof key, "%s/", name);
    for (int i = 0; i < tr_safetensors_count(delta_file); i++) n += strncmp(tr_safetensors_name(delta_file, i), key, strlen(key)) == 0;
    assert_true(n > 0);
    assert_int_equal(tr_lora_count(l), n);
    for (int i = 0; i < n; i++) {
        const tr_lora_pair *p = tr_lora_at(l, i);
        tr_tensor t = tr_none();
        snprintf(key, sizeof key, "%s/%s", name, p->layer);
        if (!tr_safetensors_find(delta_file, key, &t)) fail_msg("%s: %s is not adapted there", what, p->layer);
        assert_int_equal(t.shape[0], p->up.shape[0]);
        assert_int_equal(t.shape[1], p->a.shape[1]);
        compare_pair(p, t.data, what);
    }
}

static void check_open(tr_lora **out, const char *name, const char *path)
{
    int n = 0;
    const bool text = strcmp(name, "with_text") == 0;
    if ((text ? tr_lora_open_transformer(out, path, &n) : tr_lora_open(out, path)) != TRESS_OK) fail_msg("%s", tr_message());
    assert_int_equal(n, text ? 2 : 0);
}

static void reads(void **state)
{
    const char *name;
    json_t *file;
    (void)state;
    assert_int_equal(json_object_size(json_object_get(golden, "files")), 11);
    json_object_foreach(json_object_get(golden, "files"), name, file) {
        tr_lora *l = NULL;
        char path[512];
        snprintf(path, sizeof path, "%s%s", GOLDEN, json_string_value(file));
        check_open(&l, name, path);
        compare(l, name, name);
        tr_lora_close(l);
    }
}

/* Every file through every layout, and from there through another. */
static void round_trips(void **state)
{
    const char *name;
    json_t *file;
    (void)state;
    json_object_foreach(json_object_get(golden, "files"), name, file)
        for (int f = 0; f < TR_LORA_FORMAT_N; f++) {
            const int g = (f + 2) % TR_LORA_FORMAT_N;
            tr_lora *l = NULL, *m = NULL, *k = NULL;
            char path[512], what[128], one[128], two[128];
            snprintf(path, sizeof path, "%s%s", GOLDEN, json_string_value(file));
            snprintf(what, sizeof what, "%s as %s as %s", name, tr_lora_format_name((tr_lora_format)f), tr_lora_format_name((tr_lora_format)g));
            snprintf(one, sizeof one, "%s-%d", name, f);
            snprintf(two, sizeof two, "%s-%d-%d", name, f, g);
            check_open(&l, name, path);
            if (tr_lora_save(l, at(one), (tr_lora_format)f) != TRESS_OK) fail_msg("%s: %s", what, tr_message());
            if (tr_lora_open(&m, at(one)) != TRESS_OK) fail_msg("%s: %s", what, tr_message());
            assert_int_equal(tr_lora_get_format(m), f);
            compare(m, name, what);
            if (tr_lora_save(m, at(two), (tr_lora_format)g) != TRESS_OK) fail_msg("%s: %s", what, tr_message());
            if (tr_lora_open(&k, at(two)) != TRESS_OK) fail_msg("%s: %s", what, tr_message());
            compare(k, name, what);
            for (int i = 0; i < tr_lora_count(k); i++) {
                const tr_lora_pair *p = tr_lora_at(k, i);                 /* scale 1: alpha is the rank as written, fused or not */
                assert_true(g == TR_LORA_KOHYA || g == TR_LORA_COMFY ? p->alpha >= (float)p->rank : p->alpha == (float)p->rank);
            }
            tr_lora_close(l);
            tr_lora_close(m);
            tr_lora_close(k);
        }
}

/* Split adapters of rank r become rank 3 r in a fused file with alpha 3 r, and split ones of rank r again. */
static void fused(void **state)
{
    tr_lora *l = NULL;
    tr_safetensors *f = NULL;
    tr_tensor t = tr_none();
    (void)state;
    assert_int_equal(tr_lora_open(&l, GOLDEN "lora_diffusers_plain.safetensors"), TRESS_OK);
    assert_int_equal(tr_lora_save(l, at("fused.safetensors"), TR_LORA_KOHYA), TRESS_OK);
    tr_lora_close(l);
    assert_int_equal(tr_safetensors_open(&f, at("fused.safetensors")), TRESS_OK);
    assert_int_equal(tr_safetensors_count(f), 2 * 2 * 3);
    assert_true(tr_safetensors_find(f, "lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight", &t));
    assert_int_equal(t.shape[0], 9);
    assert_true(tr_safetensors_find(f, "lora_unet_joint_blocks_0_x_block_attn_qkv.alpha", &t));
    assert_int_equal(t.rank, 0);
    assert_true(*(float *)t.data == 9);
    assert_string_equal(tr_safetensors_meta(f, "ss_network_dim"), "Dynamic");
    tr_safetensors_close(f);
    assert_int_equal(tr_lora_open(&l, at("fused.safetensors")), TRESS_OK);
    for (int i = 0; i < tr_lora_count(l); i++) assert_int_equal(tr_lora_at(l, i)->rank, strcmp(tr_lora_at(l, i)->layer, "transformer_blocks.1.attn.to_q") == 0 ? 5 : 3);
    tr_lora_close(l);
    /* one down part for all three: stays of its rank */
    assert_int_equal(tr_lora_open(&l, GOLDEN "lora_comfyui.safetensors"), TRESS_OK);
    assert_int_equal(tr_lora_save(l, at("shared.safetensors"), TR_LORA_COMFY), TRESS_OK);
    tr_lora_close(l);
    assert_int_equal(tr_safetensors_open(&f, at("shared.safetensors")), TRESS_OK);
    assert_true(tr_safetensors_find(f, "diffusion_model.joint_blocks.1.x_block.attn.qkv.lora_up.weight", &t));
    assert_int_equal(t.shape[1], 3);
    tr_safetensors_close(f);
}

/* One adapter alone, in a fused layout: the others' rows are zeros and vanish again. An untrained file keeps all. */
static void partial(void **state)
{
    (void)state;
    for (int fresh = 0; fresh < 2; fresh++) {
        tr_lora *l = NULL, *m = NULL;
        const tr_lora_pair *p = NULL;
        assert_int_equal(tr_lora_new(&l), TRESS_OK);
        assert_int_equal(tr_lora_add(l, &p, "transformer_blocks.0.attn.to_k", 2, 4, 6), TRESS_OK);
        for (int i = 0; i < 12; i++) ((float *)p->a.data)[i] = (float)(i + 1);
        for (int i = 0; i < 8; i++) ((float *)p->up.data)[i] = fresh ? 0 : (float)(i - 20);
        assert_int_equal(tr_lora_save(l, at("partial.safetensors"), TR_LORA_KOHYA), TRESS_OK);
        assert_int_equal(tr_lora_open(&m, at("partial.safetensors")), TRESS_OK);
        assert_int_equal(tr_lora_count(m), fresh ? 3 : 1);
        if (!fresh) {
            assert_string_equal(tr_lora_at(m, 0)->layer, "transformer_blocks.0.attn.to_k");
            assert_memory_equal(tr_lora_at(m, 0)->a.data, p->a.data, 48);
            assert_memory_equal(tr_lora_at(m, 0)->up.data, p->up.data, 32);
        }
        assert_int_equal(tr_lora_add(l, NULL, "transformer_blocks.0.attn.to_k", 2, 4, 6), TRESS_E_FORMAT);
        tr_lora_close(l);
        tr_lora_close(m);
    }
}

/* ---- what is refused --------------------------------------------------------------------------------------- */

static float numbers[64];

static void refuses(const tr_named *list, int n, const char *const *meta, tress_status st, const char *word)
{
    tr_lora *l = NULL;
    assert_int_equal(tr_safetensors_write(at("bad.safetensors"), list, n, meta), TRESS_OK);
    const tress_status got = tr_lora_open(&l, at("bad.safetensors"));
    if (got != st || !strstr(tr_message(), word)) fail_msg("status %d, \"%s\", expected %d, \"%s\"", (int)got, got ? tr_message() : "", (int)st, word);
    assert_null(l);
}

#define Q "transformer.transformer_blocks.0.attn.to_q"
static void refusals(void **state)
{
    tr_tensor a = tr_view(numbers, TR_F32, TR_DIMS(2, 8)), b = tr_view(numbers, TR_F32, TR_DIMS(8, 2)), one = tr_view(numbers, TR_F32, TR_DIMS(1));
    float bad[16] = { 0 };
    (void)state;
#define BAD(st, word, ...) do { const tr_named list_[] = { __VA_ARGS__ }; refuses(list_, (int)(sizeof list_ / sizeof list_[0]), NULL, st, word); } while (0)
    BAD(TRESS_E_FORMAT, "has no up", { Q ".lora_A.weight", a });
    BAD(TRESS_E_FORMAT, "has no down", { Q ".lora_B.weight", b });
    BAD(TRESS_E_FORMAT, "no down and no up", { Q ".alpha", one });
    BAD(TRESS_E_SHAPE, "expected [rank, in] and [out, rank]", { Q ".lora_A.weight", a }, { Q ".lora_B.weight", tr_view(numbers, TR_F32, TR_DIMS(8, 3)) });
    BAD(TRESS_E_SHAPE, "expected [rank, in] and [out, rank]", { Q ".lora_A.weight", a }, { Q ".lora_B.weight", tr_view(numbers, TR_F32, TR_DIMS(16)) });
    BAD(TRESS_E_FORMAT, "DoRA", { Q ".lora_A.weight", a }, { Q ".lora_B.weight", b }, { Q ".dora_scale", one });
    BAD(TRESS_E_FORMAT, "LoHa", { "lora_unet_x.hada_w1_a", a });
    BAD(TRESS_E_FORMAT, "LoKr", { "lora_unet_x.lokr_w1", a });
    BAD(TRESS_E_FORMAT, "no part of a LoRA", { "transformer.transformer_blocks.0.attn.to_q.weight", a });
    BAD(TRESS_E_CONTRACT, "matches no layer", { "transformer.transformer_blocks.0.attn.to_x.lora_A.weight", a }, { "transformer.transformer_blocks.0.attn.to_x.lora_B.weight", b });
    BAD(TRESS_E_CONTRACT, "matches no layer", { "lora_unet_down_blocks_0_attn.lora_down.weight", a }, { "lora_unet_down_blocks_0_attn.lora_up.weight", b });
    BAD(TRESS_E_CONTRACT, "matches no layer", { "unet.down_blocks.0.lora_A.weight", a });
    BAD(TRESS_E_CONTRACT, "--drop-text-encoders", { "lora_te1_text_model_x.lora_down.weight", a });
    BAD(TRESS_E_SHAPE, "multiple of 3", { "lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight", a }, { "lora_unet_joint_blocks_0_x_block_attn_qkv.lora_up.weight", b });
    BAD(TRESS_E_FORMAT, "two layouts", { Q ".lora_A.weight", a }, { Q ".lora_B.weight", b },
        { "lora_unet_joint_blocks_0_x_block_attn_proj.lora_down.weight", a }, { "lora_unet_joint_blocks_0_x_block_attn_proj.lora_up.weight", b });
    BAD(TRESS_E_FORMAT, "twice", { Q ".lora_A.weight", a }, { Q ".lora_down.weight", a }, { Q ".lora_B.weight", b });
    BAD(TRESS_E_FORMAT, "two adapters", { Q ".lora_A.weight", a }, { Q ".lora_B.weight", b },
        { "transformer_blocks.0.attn.to_q.lora_A.weight", a }, { "transformer_blocks.0.attn.to_q.lora_B.weight", b });
    BAD(TRESS_E_IO, "adapter_config.json", { "base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight", a },
        { "base_model.model.transformer_blocks.0.attn.to_q.lora_B.weight", b });
    BAD(TRESS_E_SHAPE, "expected 1", { Q ".alpha", a });
    for (int i = 0; i < 2; i++) {
        bad[13] = i ? INFINITY : NAN;
        BAD(TRESS_E_FORMAT, i ? "element 13 is infinite" : "element 13 is NaN", { Q ".lora_A.weight", tr_view(bad, TR_F32, TR_DIMS(2, 8)) }, { Q ".lora_B.weight", b });
        BAD(TRESS_E_FORMAT, "element 13 is", { Q ".lora_A.weight", a }, { Q ".lora_B.weight", tr_view(bad, TR_F32, TR_DIMS(8, 2)) });
        BAD(TRESS_E_FORMAT, "element 0 is", { Q ".alpha", tr_view(bad + 13, TR_F32, TR_DIMS(1)) });
    }
    const tr_named good[] = { { Q ".lora_A.weight", a }, { Q ".lora_B.weight", b } };
    static const struct { const char *json, *word; } meta[] = {
        { "{\"transformer.lora_alpha\": \"x\"}", "lora_alpha is no number" }, { "{\"transformer.alpha_pattern\": {\"to_.*\": 1}}", "regular expression" },
        { "{\"transformer.lora_alpha\": 1e300}", "alpha of" }, { "{\"transformer.use_dora\": true}", "use_dora" }, { "{\"transformer.peft_type\": \"LOHA\"}", "LOHA" },
        { "{\"transformer.bias\": \"all\"}", "bias is all" }, { "[]", "expected an object" }, { "{", "bad.safetensors" }, { "{\"transformer.layer_replication\": [1]}", "layer_replication" },
    };
    for (size_t i = 0; i < sizeof meta / sizeof meta[0]; i++) refuses(good, 2, (const char *[]){ "lora_adapter_metadata", meta[i].json, NULL }, TRESS_E_FORMAT, meta[i].word);
    refuses(NULL, 0, NULL, TRESS_E_FORMAT, "holds no adapter");
    tr_lora *l = NULL;
    assert_int_equal(tr_lora_open(&l, at("none.safetensors")), TRESS_E_IO);
    assert_int_equal(tr_lora_open(&l, dir), TRESS_E_IO);
}

/* ---- the contract and fingerprints --------------------------------------------------------------------------- */

static void contract(void **state)
{
    tr_lora *l = NULL, *m = NULL;
    tr_contract a = { .control_image = "lines", .control_range = "vendor", .control_last = "vendor", .reference = "staircase", .vae_shift = 0.0609f,
                      .base = "00ff", .resolution = 1024, .zero_text_rows = 333 }, b = { 0 }, none = { 0 };
    tr_str told = { 0 };
    (void)state;
    assert_int_equal(tr_lora_new(&l), TRESS_OK);
    assert_int_equal(tr_lora_add(l, NULL, "transformer_blocks.0.attn.to_q", 1, 4, 4), TRESS_OK);
    assert_int_equal(tr_contract_write(l, &a), TRESS_OK);
    for (int f = 0; f < TR_LORA_FORMAT_N; f++) {
        char name[32];
        snprintf(name, sizeof name, "contract%d", f);
        assert_int_equal(tr_lora_save(l, at(name), (tr_lora_format)f), TRESS_OK);
        assert_int_equal(tr_lora_open(&m, at(name)), TRESS_OK);
        assert_int_equal(tr_contract_read(&b, m), TRESS_OK);
        tr_lora_close(m);
        assert_true(b.present);
        a.present = true;
        assert_memory_equal(&a, &b, sizeof a);
    }
    assert_int_equal(tr_contract_compare(&a, &b, "x", &told), TRESS_OK);
    assert_int_equal(told.len, 0);
    b.resolution = 512;
    b.zero_text_rows = 77;
    b.base[0] = '\0';                                                     /* unknown agrees */
    assert_int_equal(tr_contract_compare(&a, &b, "x", &told), TRESS_OK);
    assert_non_null(strstr(told.s, "resolution 1024, used with 512"));
    assert_non_null(strstr(told.s, "zero-text rows 333, used with 77"));
    tr_str_fini(&told);
#define DIFFERS(field, word) do { b = a; field; assert_int_equal(tr_contract_compare(&a, &b, "hair.safetensors", &told), TRESS_E_CONTRACT); \
        if (!strstr(tr_message(), word) || !strstr(tr_message(), "hair.safetensors")) fail_msg("%s", tr_message()); } while (0)
    DIFFERS(strcpy(b.control_image, "canny"), "found canny, expected lines");
    DIFFERS(strcpy(b.control_range, "signed"), "--control-range");
    DIFFERS(strcpy(b.control_last, "diffusers"), "--control-last-block");
    DIFFERS(strcpy(b.reference, "off"), "--reference");
    DIFFERS(strcpy(b.base, "00fe"), "the base model");
    DIFFERS(b.vae_shift = 0, "VAE shift");
    assert_int_equal(tr_contract_compare(&none, &b, "x", &told), TRESS_OK);      /* a foreign file has no contract */
    assert_int_equal(tr_lora_set_meta(l, "tress.resolution", "1e3"), TRESS_OK);
    assert_int_equal(tr_contract_read(&b, l), TRESS_E_FORMAT);
    assert_int_equal(tr_lora_set_meta(l, "tress.resolution", "512"), TRESS_OK);
    assert_int_equal(tr_lora_set_meta(l, "tress.vae_shift", "NaN"), TRESS_OK);
    assert_int_equal(tr_contract_read(&b, l), TRESS_E_FORMAT);
    assert_int_equal(tr_lora_set_meta(l, "tress.vae_shift", "0.06"), TRESS_OK);
    assert_int_equal(tr_lora_set_meta(l, "tress.control_image", "a text that is far too long"), TRESS_OK);
    assert_int_equal(tr_contract_read(&b, l), TRESS_E_FORMAT);
    tr_lora_close(l);
}

static void print_of(char hex[65], tr_dtype t, const uint16_t *bits, tr_dtype origin, const char *name, int64_t n)
{
    tr_weights *w = NULL;
    static float x[8192];
    static uint16_t h[8192];
    for (int64_t i = 0; i < n; i++) {
        x[i] = origin == TR_BF16 ? tr_bf16_to_f32(bits[i]) : tr_f16_to_f32(bits[i]);
        h[i] = t == TR_BF16 ? tr_f32_to_bf16(x[i]) : tr_f32_to_f16(x[i]);
    }
    const tr_named list[] = { { name, tr_view(t == TR_F32 ? (void *)x : (void *)h, t, TR_DIMS(n / 4, 4)) }, { "transformer_blocks.0.b", tr_view(x, TR_F32, TR_DIMS(1)) } };
    assert_int_equal(tr_safetensors_write(at("print.safetensors"), list, 2, NULL), TRESS_OK);
    assert_int_equal(tr_weights_open(&w, at("print.safetensors"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    assert_int_equal(tr_fingerprint(hex, w), TRESS_OK);
    tr_weights_close(w);
}

/* Copies of BF16 weights in F16 and F32 have their fingerprint, tiny values included; so have copies of F16 weights. */
static void fingerprints(void **state)
{
    uint16_t bits[8192];
    char a[65], b[65];
    (void)state;
    for (int origin = 0; origin < 2; origin++) {
        const tr_dtype o = origin ? TR_F16 : TR_BF16;
        for (uint32_t i = 0; i < 8192; i++) bits[i] = (uint16_t)(origin ? i * 7 % 0x7b00 : 0x3000 + i * 5 % 0x1200);      /* 1e-9 .. 2 */
        for (int64_t n = 4; n <= 8192; n *= 2) {
            print_of(a, o, bits, o, "transformer_blocks.0.a", n);
            print_of(b, TR_F32, bits, o, "transformer_blocks.0.a", n);
            assert_string_equal(a, b);
            print_of(b, origin ? TR_BF16 : TR_F16, bits, o, "transformer_blocks.0.a", n);
            assert_string_equal(a, b);
        }
        print_of(b, o, bits, o, "transformer_blocks.0.c", 8192);          /* a name, a shape and a sampled value count */
        assert_string_not_equal(a, b);
        print_of(b, o, bits, o, "transformer_blocks.0.a", 8188);
        assert_string_not_equal(a, b);
        bits[20 * 128] ^= 0x200;                                          /* the 20th sample; not a tiny one */
        print_of(b, o, bits, o, "transformer_blocks.0.a", 8192);
        assert_string_not_equal(a, b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads), cmocka_unit_test(round_trips), cmocka_unit_test(fused), cmocka_unit_test(partial), cmocka_unit_test(refusals),
        cmocka_unit_test(contract), cmocka_unit_test(fingerprints),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
