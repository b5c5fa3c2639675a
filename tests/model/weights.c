/* Folders, shards, variants, look-ups, checks, and everything that can be wrong with them. */
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

static char dir[64];

static int enter(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tress-weights-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
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

static void text(const char *name, const char *s) { assert_int_equal(tr_file_write(at(name), s, strlen(s)), TRESS_OK); }
static void folder(const char *name) { assert_int_equal(tr_dir_make(at(name)), TRESS_OK); }

static float values[4096];                      /* all zero unless a test says otherwise */

/* NAMES, separated by spaces, each F32 [4, 6]. */
static void file(const char *name, const char *names)
{
    tr_named list[32];
    static char copy[1024];
    int n = 0;
    snprintf(copy, sizeof copy, "%s", names);
    for (char *s = strtok(copy, " "); s; s = strtok(NULL, " ")) list[n++] = (tr_named){ s, tr_view(values, TR_F32, TR_DIMS(4, 6)) };
    assert_int_equal(tr_safetensors_write(at(name), list, n, NULL), TRESS_OK);
}

#define A "transformer_blocks.0.a"
#define B "transformer_blocks.0.b"
#define C "transformer_blocks.0.c"

static void opens(const char *path, const char *variant, int count)
{
    tr_weights *w = NULL;
    if (tr_weights_open(&w, at(path), TR_MODULE_TRANSFORMER, variant) != TRESS_OK) fail_msg("%s", tr_message());
    assert_int_equal(tr_weights_count(w), count);
    tr_weights_close(w);
}

static void refuses(const char *path, const char *variant, tress_status st, const char *word)
{
    tr_weights *w = NULL;
    assert_int_equal(tr_weights_open(&w, at(path), TR_MODULE_TRANSFORMER, variant), st);
    assert_null(w);
    if (!strstr(tr_message(), word)) fail_msg("\"%s\" does not say \"%s\"", tr_message(), word);
}

static void folders(void **state)
{
    tr_weights *w = NULL;
    tr_tensor t;
    (void)state;
    folder("m/transformer");
    refuses("m/transformer", NULL, TRESS_E_IO, "diffusion_pytorch_model.safetensors");
    file("m/transformer/diffusion_pytorch_model.fp16.safetensors", A);
    refuses("m/transformer", NULL, TRESS_E_IO, "config.json");
    text("m/transformer/config.json", "{\"num_layers\": 1}");
    opens("m/transformer", NULL, 1);                                      /* the fp16 variant when there is nothing else */
    opens("m/transformer", "fp16", 1);
    file("m/transformer/diffusion_pytorch_model.safetensors", A " " B);
    opens("m/transformer", NULL, 2);
    opens("m/transformer", "fp16", 1);
    opens("m", NULL, 2);                                                  /* by module, from the model's folder */
    opens("m/transformer/diffusion_pytorch_model.safetensors", NULL, 2);  /* the file itself */
    assert_int_equal(tr_weights_open(&w, at("m"), TR_MODULE_TRANSFORMER, "bf16"), TRESS_OK);
    assert_int_equal(tr_weights_note_count(w), 1);
    assert_non_null(strstr(tr_weights_note(w, 0), "no variant bf16"));
    assert_int_equal(json_integer_value(json_object_get(tr_weights_config(w), "num_layers")), 1);
    assert_true(tr_weights_find(w, B, &t));
    assert_false(tr_weights_find(w, C, &t));
    tr_weights_close(w);
    assert_int_equal(tr_weights_open(&w, at("m/transformer/diffusion_pytorch_model.safetensors"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    assert_non_null(tr_weights_config(w));
    tr_weights_close(w);
    text("m/model_index.json", "{}");
    w = NULL;
    assert_int_equal(tr_weights_open(&w, at("m"), TR_MODULE_CONTROLNET, NULL), TRESS_E_IO);
    assert_non_null(strstr(tr_message(), "has no folder controlnet"));
    refuses("nothing", NULL, TRESS_E_IO, "nothing");
    text("m/transformer/config.json", "[1]");
    refuses("m", NULL, TRESS_E_FORMAT, "expected an object");
    text("m/transformer/config.json", "{\"a\": 1");
    refuses("m", NULL, TRESS_E_FORMAT, "config.json");
    text("m/transformer/config.json", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
    refuses("m", NULL, TRESS_E_FORMAT, "config.json");
}

#define INDEX "s/diffusion_pytorch_model.safetensors.index.json"

static void shards(void **state)
{
    (void)state;
    folder("s");
    text("s/config.json", "{}");
    file("s/one.safetensors", A " " B);
    file("s/two.safetensors", C);
    file("outside.safetensors", C);
    text(INDEX, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {\"" A "\": \"one.safetensors\", \"" B "\": \"one.safetensors\", \"" C "\": \"two.safetensors\"}}");
    opens("s", NULL, 3);
    text(INDEX, "{\"weight_map\": {\"" A "\": \"one.safetensors\", \"" C "\": \"one.safetensors\"}}");
    refuses("s", NULL, TRESS_E_FORMAT, C " is missing from one.safetensors");
    text(INDEX, "{\"weight_map\": {\"" A "\": \"three.safetensors\"}}");
    refuses("s", NULL, TRESS_E_IO, "three.safetensors");
    text(INDEX, "{\"weight_map\": {\"" C "\": \"../outside.safetensors\"}}");
    refuses("s", NULL, TRESS_E_FORMAT, "../outside.safetensors");
    text(INDEX, "{\"weight_map\": {\"" C "\": \"/etc/x.safetensors\"}}");
    refuses("s", NULL, TRESS_E_FORMAT, "plain name");
    text(INDEX, "{\"weight_map\": {\"" C "\": \"two.bin\"}}");
    refuses("s", NULL, TRESS_E_FORMAT, "two.bin");
    text(INDEX, "{\"weight_map\": {\"" C "\": 7}}");
    refuses("s", NULL, TRESS_E_FORMAT, "not a string");
    text(INDEX, "{\"weight_map\": {}}");
    refuses("s", NULL, TRESS_E_FORMAT, "empty");
    text(INDEX, "{}");
    refuses("s", NULL, TRESS_E_FORMAT, "weight_map");
    text(INDEX, "{\"weight_map\": {\"" C "\": \"two.safetensors\", \"" C "\": \"two.safetensors\"}}");
    refuses("s", NULL, TRESS_E_FORMAT, "index.json");
    file("s/two.safetensors", A " " C);                                   /* one tensor in two shards */
    text(INDEX, "{\"weight_map\": {\"" A "\": \"one.safetensors\", \"" B "\": \"one.safetensors\", \"" C "\": \"two.safetensors\"}}");
    refuses("s", NULL, TRESS_E_FORMAT, A " is there twice");
    /* the two ways in which a variant's index is named and its shards */
    file("s/two.safetensors", C);
    text("s/diffusion_pytorch_model.safetensors.index.fp16.json", "{\"weight_map\": {\"" C "\": \"two.safetensors\"}}");
    opens("s", "fp16", 1);
    opens("s", NULL, 3);
}

static void look_ups(void **state)
{
    tr_weights *w = NULL;
    tr_tensor t = tr_none();
    static const int32_t ints[24];
    const tr_named list[] = { { A, tr_view(values, TR_F32, TR_DIMS(4, 6)) }, { B, tr_view((void *)(uintptr_t)ints, TR_I32, TR_DIMS(4, 6)) } };
    (void)state;
    assert_int_equal(tr_safetensors_write(at("x.safetensors"), list, 2, NULL), TRESS_OK);
    assert_int_equal(tr_weights_open(&w, at("x.safetensors"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "transformer_blocks.%d.%s", 0, "a"), TRESS_OK);
    assert_int_equal(tr_count(t), 24);
    assert_int_equal(tr_weights_bytes(w), 96);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(-1, 6), A), TRESS_OK);
    assert_int_equal(tr_weights_bytes(w), 96);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 7), A), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "x.safetensors: tensor " A ": found [4, 6], expected [4, 7]"));
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(-1, 6, 1), A), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "expected [any, 6, 1]"));
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), B), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "found type I32"));
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), C), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "x.safetensors: tensor " C " is missing, expected [4, 6]"));
    assert_int_equal(tr_weights_get_optional(w, &t, TR_DIMS(4, 6), C), TRESS_OK);
    assert_true(tr_is_none(t));
    assert_int_equal(tr_weights_check(w, 1), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), B " I32 [4, 6] is no part of this transformer"));
    tr_weights_close(w);
}

/* A NaN or infinity at each place where the scan changes its stride, in each type, is found and named. */
static void not_finite(void **state)
{
    static const int64_t n[] = { 1, 1023, 1024, 1025, 2500000 }, place[] = { 0, 1022, 1023, 1024, 2499999 };
    static const struct { tr_dtype t; uint32_t bad[3]; int n; } c[] = {
        { TR_F32, { 0x7fc00000u, 0xff800000u, 0x7f800001u }, 3 }, { TR_F16, { 0x7c00, 0xfe00, 0x7c01 }, 3 },
        { TR_BF16, { 0x7f80, 0xffc0, 0x7f81 }, 3 }, { TR_F8_E4M3, { 0x7f, 0xff }, 2 },
    };
    static const uint32_t largest[] = { 0xff7fffffu, 0x7bff, 0xff7f, 0xfe };
    void *p = NULL;
    (void)state;
    assert_int_equal(tr_alloc(&p, 10000000), TRESS_OK);
    for (int k = 0; k < 4; k++) {
        memset(p, 0, 10000000);
        for (int i = 0; i < 5; i++)
            for (int b = -1; b < c[k].n; b++) {
                if (i == 4 && b > 0) continue;                            /* 10 MB once per type is enough */
                tr_weights *w = NULL;
                tr_tensor t;
                char word[64];
                const size_t size = tr_dtype_size(c[k].t);
                uint8_t *x = p;
                for (int64_t j = 0; j < n[i]; j += 97) memcpy(x + (size_t)j * size, &largest[k], size);      /* the largest numbers are fine */
                if (b >= 0) memcpy(x + (size_t)place[i] * size, &c[k].bad[b], size);
                const tr_named list[] = { { A, tr_view(x, c[k].t, TR_DIMS(n[i])) } };
                assert_int_equal(tr_safetensors_write(at("nan.safetensors"), list, 1, NULL), TRESS_OK);
                assert_int_equal(tr_weights_open(&w, at("nan.safetensors"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
                assert_int_equal(tr_weights_get(w, &t, TR_DIMS(n[i]), A), TRESS_OK);
                assert_int_equal(tr_weights_check(w, 2), b < 0 ? TRESS_OK : TRESS_E_FORMAT);
                snprintf(word, sizeof word, ": element %d is %s", (int)place[i], b == (k == 0 ? 1 : 0) && k < 3 ? "infinite" : "NaN");
                if (b >= 0 && !strstr(tr_message(), word)) fail_msg("\"%s\" does not say \"%s\"", tr_message(), word);
                tr_weights_close(w);
                memset(x + (size_t)place[i] * size, 0, size);
            }
    }
    tr_free(p);
}

/* Tensors that real files carry and that do nothing. */
static void harmless(void **state)
{
    tr_weights *w = NULL;
    tr_tensor t;
    (void)state;
    file("clip.safetensors", "text_model.a logit_scale text_model.embeddings.position_ids");
    assert_int_equal(tr_weights_open(&w, at("clip.safetensors"), TR_MODULE_CLIP_G, NULL), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "text_model.a"), TRESS_OK);
    assert_int_equal(tr_weights_check(w, 1), TRESS_OK);
    tr_weights_close(w);
    file("t5.safetensors", "shared.weight encoder.embed_tokens.weight encoder.block.0.x decoder.block.0.y lm_head.weight");
    assert_int_equal(tr_weights_open(&w, at("t5.safetensors"), TR_MODULE_T5, NULL), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "shared.weight"), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "encoder.block.0.x"), TRESS_OK);
    assert_int_equal(tr_weights_check(w, 1), TRESS_OK);
    tr_weights_close(w);
    file("t5.safetensors", "encoder.embed_tokens.weight encoder.block.0.x");
    assert_int_equal(tr_weights_open(&w, at("t5.safetensors"), TR_MODULE_T5, NULL), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "shared.weight"), TRESS_OK);
    tr_weights_close(w);
    /* the last block's text query reaches nothing; an earlier one's does */
    for (int k = 0; k < 2; k++) {
        file("last.safetensors", "transformer_blocks.0.attn.to_q.weight transformer_blocks.1.attn.to_q.weight transformer_blocks.0.attn.add_q_proj.weight "
                                 "transformer_blocks.1.attn.add_q_proj.weight");
        assert_int_equal(tr_weights_open(&w, at("last.safetensors"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
        for (int i = 0; i < 2; i++) assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "transformer_blocks.%d.attn.to_q.weight", i), TRESS_OK);
        assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "transformer_blocks.%d.attn.add_q_proj.weight", k), TRESS_OK);
        assert_int_equal(tr_weights_check(w, 1), k == 0 ? TRESS_OK : TRESS_E_FORMAT);
        tr_weights_close(w);
    }
}

/* A fused tensor whose rows are no multiple of 3, a name that two tensors come to. */
static void bad_originals(void **state)
{
    (void)state;
    file("bad.safetensors", "joint_blocks.0.x_block.attn.qkv.weight");
    refuses("bad.safetensors", NULL, TRESS_E_SHAPE, "joint_blocks.0.x_block.attn.qkv.weight: found [4, 6]");
    file("bad.safetensors", "joint_blocks.0.x_block.attn.proj.weight transformer_blocks.0.attn.to_out.0.weight");
    refuses("bad.safetensors", NULL, TRESS_E_FORMAT, "transformer_blocks.0.attn.to_out.0.weight is there twice");
    file("bad.safetensors", "joint_blocks.00.x_block.attn.proj.weight joint_blocks.99999.x");
    opens("bad.safetensors", NULL, 2);                                    /* odd names stay as they are, for the check to name */
    text("bad.safetensors", "no safetensors file at all");
    refuses("bad.safetensors", NULL, TRESS_E_FORMAT, "bad.safetensors");
}

/* A writer that does not pad its header leaves tensors at odd addresses: they are copied into place. */
static void unaligned(void **state)
{
    static const char header[] = "{\"" A "\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}} ";
    uint8_t bytes[8 + sizeof header - 1 + 12] = { 0 };
    const float x[3] = { 1, -2, 3 };
    tr_weights *w = NULL;
    tr_tensor t;
    (void)state;
    const size_t n = (sizeof header - 1) | 1;                             /* odd */
    bytes[0] = (uint8_t)(n > sizeof header - 1 ? sizeof header - 2 : n);
    memcpy(bytes + 8, header, bytes[0]);
    memcpy(bytes + 8 + bytes[0], x, 12);
    assert_int_equal(bytes[0] % 2, 1);
    assert_int_equal(tr_file_write(at("odd.safetensors"), bytes, 8 + (size_t)bytes[0] + 12), TRESS_OK);
    if (tr_weights_open(&w, at("odd.safetensors"), TR_MODULE_TRANSFORMER, NULL) != TRESS_OK) fail_msg("%s", tr_message());
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(3), A), TRESS_OK);
    assert_int_equal((uintptr_t)t.data % 4, 0);
    assert_memory_equal(t.data, x, 12);
    tr_weights_close(w);
}

static void shapes_only(void **state)
{
    tr_weights *w = NULL;
    tr_tensor a, b, c;
    (void)state;
    assert_int_equal(tr_weights_shapes_only(&w, TR_F16), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &a, TR_DIMS(2432, 9728), "a"), TRESS_OK);
    assert_int_equal(tr_weights_get_optional(w, &b, TR_DIMS(-1, 3), "b"), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &c, TR_DIMS(1, (int64_t)1 << 31), "c"), TRESS_OK);     /* larger than the first range */
    assert_int_equal(a.dtype, TR_F16);
    assert_int_equal(b.shape[0], 1);
    assert_int_equal(tr_weights_bytes(w), 2 * (2432 * 9728 + 3) + ((int64_t)1 << 32));
    assert_int_equal(((uint16_t *)a.data)[2432 * 9728 - 1], 0);
    assert_int_equal(((uint16_t *)c.data)[((int64_t)1 << 31) - 1], 0);
    assert_int_equal(tr_weights_check(w, 1), TRESS_OK);
    assert_null(tr_weights_config(w));
    tr_weights_close(w);
}

/* What differs from the released models is told. */
static void notes(void **state)
{
    tr_weights *w = NULL;
    tr_tensor t;
    static const int32_t depth = 2;
    const tr_named list[] = { { "controlnet_blocks.0.weight", tr_view(values, TR_F32, TR_DIMS(4, 6)) },
                              { "control_type", tr_view((void *)(uintptr_t)&depth, TR_I32, TR_DIMS(1)) } };
    (void)state;
    assert_int_equal(tr_safetensors_write(at("depth.safetensors"), list, 2, NULL), TRESS_OK);
    assert_int_equal(tr_weights_open(&w, at("depth.safetensors"), TR_MODULE_CONTROLNET, NULL), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4, 6), "controlnet_blocks.0.weight"), TRESS_OK);
    assert_int_equal(tr_weights_check(w, 1), TRESS_OK);
    assert_int_equal(tr_weights_note_count(w), 1);
    assert_non_null(strstr(tr_weights_note(w, 0), "control_type is 2 (depth)"));
    tr_weights_close(w);

    folder("v");
    static float wide[512 * 16 * 9];
    static const struct { int width; const char *config; int n_note; } vaes[] = {
        { 512, "{\"scaling_factor\": 1.5305, \"shift_factor\": 0.0609}", 0 },
        { 512, "{\"scaling_factor\": 0.18215, \"shift_factor\": null}", 1 },
        { 4, "{\"scaling_factor\": 0.7, \"shift_factor\": -0.02}", 0 },      /* a small model's own */
    };
    for (int k = 0; k < 3; k++) {
        const tr_named vae[] = { { "decoder.conv_in.weight", tr_view(wide, TR_F32, TR_DIMS(vaes[k].width, 16, 3, 3)) },
                                 { "decoder.up_blocks.0.x", tr_view(wide, TR_F32, TR_DIMS(4)) } };
        assert_int_equal(tr_safetensors_write(at("v/diffusion_pytorch_model.safetensors"), vae, 2, NULL), TRESS_OK);
        text("v/config.json", vaes[k].config);
        assert_int_equal(tr_weights_open(&w, at("v"), TR_MODULE_VAE, NULL), TRESS_OK);
        assert_int_equal(tr_weights_get(w, &t, TR_DIMS(vaes[k].width, 16, 3, 3), "decoder.conv_in.weight"), TRESS_OK);
        assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4), "decoder.up_blocks.0.x"), TRESS_OK);
        assert_int_equal(tr_weights_check(w, 1), TRESS_OK);
        assert_int_equal(tr_weights_note_count(w), vaes[k].n_note);
        tr_weights_close(w);
    }
}

/* The stored positions of the released models, and others. */
static void positions(void **state)
{
    const int64_t side = 192, d = 8, q = 2;
    const size_t n = (size_t)(side * side * d);
    void *p = NULL;
    (void)state;
    assert_int_equal(tr_alloc(&p, n * sizeof(float)), TRESS_OK);
    for (int k = 0; k < 2; k++) {
        tr_weights *w = NULL;
        tr_tensor t;
        float *x = p;
        for (int64_t r = 0; r < side; r++)
            for (int64_t c = 0; c < side; c++)
                for (int64_t j = 0; j < d; j++) {
                    const int64_t coord = j / q < 2 ? c : r;
                    const double value = k == 0 ? (double)coord / 4 - 16 : (double)coord / 3, f = pow(10000, -(double)(j % q) / (double)q);
                    x[(r * side + c) * d + j] = (float)(j / q % 2 ? cos(value * f) : sin(value * f));
                }
        const tr_named list[] = { { "pos_embed.pos_embed", tr_view(x, TR_F32, TR_DIMS(1, side * side, d)) }, { A, tr_view(values, TR_F32, TR_DIMS(4)) } };
        assert_int_equal(tr_safetensors_write(at("pos.safetensors"), list, 2, NULL), TRESS_OK);
        assert_int_equal(tr_weights_open(&w, at("pos.safetensors"), TR_MODULE_TRANSFORMER, NULL), TRESS_OK);
        assert_int_equal(tr_weights_get(w, &t, TR_DIMS(1, side * side, d), "pos_embed.pos_embed"), TRESS_OK);
        assert_int_equal(tr_weights_get(w, &t, TR_DIMS(4), A), TRESS_OK);
        assert_int_equal(tr_weights_check(w, 1), TRESS_OK);
        assert_int_equal(tr_weights_note_count(w), k);
        tr_weights_close(w);
    }
    tr_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders), cmocka_unit_test(shards), cmocka_unit_test(look_ups), cmocka_unit_test(not_finite),
        cmocka_unit_test(harmless), cmocka_unit_test(bad_originals), cmocka_unit_test(unaligned), cmocka_unit_test(shapes_only),
        cmocka_unit_test(notes), cmocka_unit_test(positions),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
