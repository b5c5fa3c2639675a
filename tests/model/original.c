/* Original-layout files give, name by name and bit by bit, the tensors of the diffusers folder they were made from. The files are made
 * by tools/golden/original.py, where diffusers' own converters agree. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/model/"

static json_t *golden;

static int enter(void **state)
{
    (void)state;
    golden = json_load_file(GOLDEN "original.json", 0, NULL);
    return golden ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

/* The tensors' bytes, whatever their strides. */
static void hash(char hex[65], tr_tensor t)
{
    tr_sha256 *h = NULL;
    assert_true(tr_is_contiguous(t));
    assert_int_equal(tr_sha256_new(&h), TRESS_OK);
    assert_int_equal(tr_sha256_add(h, t.data, (size_t)tr_count(t) * tr_dtype_size(t.dtype)), TRESS_OK);
    assert_int_equal(tr_sha256_hex(h, hex), TRESS_OK);
    tr_sha256_free(h);
}

static void compare(const char *file, tr_module m, tr_layout layout, int n_extra)
{
    tr_weights *w = NULL;
    const json_t *want = json_object_get(json_object_get(golden, "tensors"), tr_module_name(m)), *one;
    const char *name;
    if (tr_weights_open(&w, file, m, NULL) != TRESS_OK) fail_msg("%s", tr_message());
    assert_int_equal(tr_weights_layout(w), layout);
    assert_int_equal(tr_weights_count(w), (int)json_object_size(want) + n_extra);
    json_object_foreach((json_t *)(uintptr_t)want, name, one) {
        const json_t *shape = json_object_get(one, "shape");
        tr_dims d = { .rank = (int)json_array_size(shape) };
        tr_tensor t = tr_none();
        char hex[65];
        for (int i = 0; i < d.rank; i++) d.n[i] = json_integer_value(json_array_get(shape, (size_t)i));
        if (tr_weights_get(w, &t, d, "%s", name) != TRESS_OK) fail_msg("%s", tr_message());
        assert_int_equal((uintptr_t)t.data % tr_dtype_size(t.dtype), 0);
        if (strcmp(name, "text_projection.weight") == 0 && m == TR_MODULE_CLIP_L) continue;      /* made here, in F32: below */
        hash(hex, t);
        if (strcmp(hex, json_string_value(json_object_get(one, "sha256"))) != 0) fail_msg("%s differs", name);
    }
    if (tr_weights_check(w, 2) != TRESS_OK) fail_msg("%s", tr_message());
    tr_weights_close(w);
}

static void transformer(void **state) { (void)state; compare(GOLDEN "original_whole.safetensors", TR_MODULE_TRANSFORMER, TR_LAYOUT_MMDIT, 0); }
static void vae(void **state) { (void)state; compare(GOLDEN "original_whole.safetensors", TR_MODULE_VAE, TR_LAYOUT_VAE, 0); }
static void clip_l(void **state) { (void)state; compare(GOLDEN "original_whole.safetensors", TR_MODULE_CLIP_L, TR_LAYOUT_DIFFUSERS, 1); }
static void clip_g(void **state) { (void)state; compare(GOLDEN "original_whole.safetensors", TR_MODULE_CLIP_G, TR_LAYOUT_DIFFUSERS, 0); }
static void t5(void **state) { (void)state; compare(GOLDEN "original_whole.safetensors", TR_MODULE_T5, TR_LAYOUT_DIFFUSERS, 0); }
static void openclip(void **state) { (void)state; compare(GOLDEN "original_openclip.safetensors", TR_MODULE_CLIP_G, TR_LAYOUT_OPENCLIP, 1); }

static void controlnet(void **state)
{
    tr_weights *w = NULL;
    tr_tensor t = tr_none();
    (void)state;
    compare(GOLDEN "original_controlnet.safetensors", TR_MODULE_CONTROLNET, TR_LAYOUT_CONTROLNET, 1);
    assert_int_equal(tr_weights_open(&w, GOLDEN "original_controlnet.safetensors", TR_MODULE_CONTROLNET, NULL), TRESS_OK);
    assert_true(tr_weights_find(w, "control_type", &t));
    assert_int_equal(t.dtype, TR_I32);
    assert_int_equal(*(int32_t *)t.data, 1);
    tr_weights_close(w);
}

/* An original CLIP-L is used without projection: the identity. */
static void identity(void **state)
{
    tr_weights *w = NULL;
    tr_tensor t = tr_none();
    (void)state;
    assert_int_equal(tr_weights_open(&w, GOLDEN "original_whole.safetensors", TR_MODULE_CLIP_L, NULL), TRESS_OK);
    assert_int_equal(tr_weights_get(w, &t, TR_DIMS(8, 8), "text_projection.weight"), TRESS_OK);
    for (int i = 0; i < 64; i++) assert_true(((float *)t.data)[i] == (i % 9 == 0 ? 1.0f : 0.0f));
    tr_weights_close(w);
}

/* What is not in the file is named, with what the file does hold. */
static void absent(void **state)
{
    tr_weights *w = NULL;
    (void)state;
    assert_int_equal(tr_weights_open(&w, GOLDEN "original_controlnet.safetensors", TR_MODULE_VAE, NULL), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "original_controlnet.safetensors: no vae in it"));
    assert_int_equal(tr_weights_open(&w, GOLDEN "original_whole.safetensors", TR_MODULE_CONTROLNET, NULL), TRESS_E_FORMAT);
    assert_null(w);
}

/* Files of one module: the prefix stripped from whatever stands in the whole file, under the usual names, beside a file without it. */
static void separate(void **state)
{
    static const struct { const char *file, *prefix, *cut; tr_module m; tr_layout l; int n_extra; } c[] = {
        { "clip_l.safetensors", "text_encoders.clip_l.transformer.", "", TR_MODULE_CLIP_L, TR_LAYOUT_DIFFUSERS, 1 },
        { "text_encoders/clip_g.safetensors", "text_encoders.clip_g.transformer.", "text_model.", TR_MODULE_CLIP_G, TR_LAYOUT_CLIP_BARE, 0 },
        { "text_encoders/t5xxl_fp16.safetensors", "text_encoders.t5xxl.transformer.", "", TR_MODULE_T5, TR_LAYOUT_DIFFUSERS, 0 },
        { "vae.safetensors", "first_stage_model.", "", TR_MODULE_VAE, TR_LAYOUT_VAE, 0 },
        { "mmdit.safetensors", "model.diffusion_model.", "", TR_MODULE_TRANSFORMER, TR_LAYOUT_MMDIT, 0 },
    };
    char dir[] = "/tmp/tress-original-XXXXXX", path[256], main_file[256];
    tr_safetensors *f = NULL;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/text_encoders", dir);
    assert_int_equal(tr_dir_make(path), TRESS_OK);
    assert_int_equal(tr_safetensors_open(&f, GOLDEN "original_whole.safetensors"), TRESS_OK);
    for (size_t k = 0; k < sizeof c / sizeof c[0]; k++) {
        tr_named list[512];
        int n = 0;
        for (int i = 0; i < tr_safetensors_count(f); i++) {
            const char *s = tr_safetensors_name(f, i);
            if (strncmp(s, c[k].prefix, strlen(c[k].prefix)) != 0) continue;
            s += strlen(c[k].prefix);
            if (*c[k].cut && strncmp(s, c[k].cut, strlen(c[k].cut)) == 0) s += strlen(c[k].cut);
            list[n++] = (tr_named){ s, tr_safetensors_at(f, i) };
        }
        snprintf(path, sizeof path, "%s/%s", dir, c[k].file);
        if (tr_safetensors_write(path, list, n, NULL) != TRESS_OK) fail_msg("%s", tr_message());
        compare(path, c[k].m, c[k].l, c[k].n_extra);
    }
    snprintf(main_file, sizeof main_file, "%s/mmdit.safetensors", dir);
    for (int k = 0; k < 3; k++) compare(main_file, c[k].m, c[k].l, c[k].n_extra);
    tr_weights *w = NULL;
    assert_int_equal(tr_weights_open(&w, main_file, TR_MODULE_VAE, NULL), TRESS_E_FORMAT);
    tr_safetensors_close(f);
    snprintf(path, sizeof path, "rm -rf '%s'", dir);
    assert_int_equal(system(path), 0);
}

/* Back into the original layout: the file's own tensors, bit by bit. */
static tress_status from_weights(void *self, int i, size_t at, void *bytes, size_t n)
{
    memcpy(bytes, (const uint8_t *)tr_weights_at(self, i).data + at, n);
    return TRESS_OK;
}

static void regroup(void **state)
{
    static const tr_module m[] = { TR_MODULE_TRANSFORMER, TR_MODULE_VAE, TR_MODULE_CLIP_L, TR_MODULE_CLIP_G, TR_MODULE_T5, TR_MODULE_CONTROLNET };
    (void)state;
    for (size_t k = 0; k < sizeof m / sizeof m[0]; k++) {
        tr_weights *w = NULL;
        tr_safetensors *f = NULL;
        tr_named list[512];
        tr_regrouped r;
        const char *path = m[k] == TR_MODULE_CONTROLNET ? GOLDEN "original_controlnet.safetensors" : GOLDEN "original_whole.safetensors";
        assert_int_equal(tr_weights_open(&w, path, m[k], NULL), TRESS_OK);
        assert_int_equal(tr_safetensors_open(&f, path), TRESS_OK);
        for (int i = 0; i < tr_weights_count(w); i++) list[i] = (tr_named){ tr_weights_name(w, i), tr_weights_at(w, i) };
        if (tr_regroup(&r, m[k], tr_module_prefix(m[k]), list, tr_weights_count(w), from_weights, w) != TRESS_OK) fail_msg("%s", tr_message());
        assert_int_equal(r.n_left_out, m[k] == TR_MODULE_CLIP_L);
        int n = 0;
        for (int i = 0; i < tr_safetensors_count(f); i++) n += strncmp(tr_safetensors_name(f, i), tr_module_prefix(m[k]), strlen(tr_module_prefix(m[k]))) == 0;
        assert_int_equal(r.n, n);
        for (int i = 0; i < r.n; i++) {
            tr_tensor t = tr_none();
            static uint8_t got[1 << 20];
            if (!tr_safetensors_find(f, r.list[i].name, &t)) fail_msg("%s is not in the file", r.list[i].name);
            const size_t size = (size_t)tr_count(t) * tr_dtype_size(t.dtype);
            assert_true(size <= sizeof got);
            assert_int_equal(t.dtype, r.list[i].t.dtype);
            assert_int_equal(t.rank, r.list[i].t.rank);
            for (int j = 0; j < t.rank; j++) assert_int_equal(t.shape[j], r.list[i].t.shape[j]);
            for (size_t at = 0; at < size; at += 24) assert_int_equal(tr_regrouped_fill(&r, i, at, got + at, size - at < 24 ? size - at : 24), TRESS_OK);
            assert_memory_equal(got, t.data, size);
        }
        tr_regrouped_fini(&r);
        tr_safetensors_close(f);
        tr_weights_close(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transformer), cmocka_unit_test(vae), cmocka_unit_test(clip_l), cmocka_unit_test(clip_g), cmocka_unit_test(t5),
        cmocka_unit_test(openclip), cmocka_unit_test(controlnet), cmocka_unit_test(identity), cmocka_unit_test(absent),
        cmocka_unit_test(separate), cmocka_unit_test(regroup),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
