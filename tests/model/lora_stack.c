/* Adapters on a transformer: against PEFT at run time, merged, stacked, taken off again. */
#include "sd3.h"

typedef struct fixture {
    sd3_mmdit m;
    tr_lora    *lora[2];                        /* "image", "rest" */
    float       weight[2];
} fixture;
static const char *const adapter_name[2] = { "image", "rest" };

/* A PEFT folder with the tensors that list names; keep(layer) says which, NULL all. zero_b: up matrices are zeros. */
static tr_lora *adapter(const sd3_golden *g, const char *adapter_key, bool zero_b, const char *extra_key, tr_dims extra_a, tr_dims extra_b)
{
    const json_t *a = json_object_get(json_object_get(g->note, "adapters"), adapter_key), *list = json_object_get(a, "tensors");
    const int rank = (int)json_integer_value(json_object_get(a, "rank"));
    char folder[600], path[700], keys[128][160];
    tr_named named[128];
    tr_lora *l = NULL;
    int n = 0;
    snprintf(folder, sizeof folder, "%s-adapter", g->folder);
    assert_true(mkdir(folder, 0777) == 0 || errno == EEXIST);
    for (void *it = extra_key ? NULL : json_object_iter((json_t *)(uintptr_t)list); it; it = json_object_iter_next((json_t *)(uintptr_t)list, it)) {
        const json_t *shape = json_object_iter_value(it);
        const tr_tensor t = sd3_new(TR_DIMS(json_integer_value(json_array_get(shape, 0)), json_integer_value(json_array_get(shape, 1))));
        snprintf(path, sizeof path, "%s.%s", adapter_key, json_object_iter_key(it));
        if (!zero_b || !strstr(path, "lora_B")) seeded_weight(t.data, path, g->seed, TR_DIMS(t.shape[0], t.shape[1]));
        snprintf(keys[n], sizeof keys[n], "base_model.model.%s", json_object_iter_key(it));
        named[n] = (tr_named){ keys[n], t };
        n++;
    }
    for (int i = 0; extra_key && i < 2; i++, n++) {
        const tr_dims d = i ? extra_b : extra_a;
        const tr_tensor t = sd3_new(d);
        snprintf(keys[n], sizeof keys[n], "base_model.model.%s.lora_%s.weight", extra_key, i ? "B" : "A");
        seeded_weight(t.data, keys[n], g->seed, d);
        named[n] = (tr_named){ keys[n], t };
    }
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    OK(tr_safetensors_write(path, named, n, NULL));
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    json_t *config = json_pack("{s:s, s:i, s:O}", "peft_type", "LORA", "r", extra_key ? (int)extra_a.n[0] : rank,
                               "lora_alpha", json_object_get(a, "alpha"));
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    OK(tr_lora_open(&l, folder));
    for (int i = 0; i < n; i++) tr_free(named[i].t.data);
    remove(path);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    remove(path);
    remove(folder);
    return l;
}

static void fixture_open(fixture *f, tr_dtype t, int n_thread)
{
    *f = (fixture){ 0 };
    sd3_mmdit_open(&f->m, "lora-peft", t, n_thread);
    sd3_golden *g = &f->m.golden;
    for (int i = 0; i < 2; i++) {
        f->lora[i] = adapter(g, adapter_name[i], false, NULL, TR_DIMS(1), TR_DIMS(1));
        f->weight[i] = (float)json_number_value(json_object_get(
            json_object_get(json_object_get(g->note, "adapters"), adapter_name[i]), "weight"));
    }
}

static void fixture_close(fixture *f)
{
    for (int i = 0; i < 2; i++) tr_lora_close(f->lora[i]);
    sd3_mmdit_close(&f->m);
}

/* A new copy of what the model draws now. */
static float *draw(fixture *f)
{
    void *p = NULL;
    const size_t n = (size_t)tr_count(f->m.args.out) * 4;
    OK(tr_mmdit_forward(f->m.model, f->m.stream, &f->m.args));
    OK(tr_alloc_raw(&p, n));
    memcpy(p, f->m.args.out.data, n);
    return p;
}

static void expect(fixture *f, const char *name, double tolerance)
{
    memset(f->m.args.out.data, 0xff, (size_t)tr_count(f->m.args.out) * 4);
    OK(tr_mmdit_forward(f->m.model, f->m.stream, &f->m.args));
    const double e = sd3_error(&f->m.golden, name, f->m.args.out);
    if (!(e <= tolerance)) fail_msg("%s: relative error %.3g, expected at most %.3g", name, e, tolerance);
}

typedef tress_status (*put_on)(tr_lora_stack **out, tr_mmdit *m, const tr_lora *const *list, const float *weight, int n);

static void against_peft(put_on put)
{
    fixture f;
    tr_lora_stack *k = NULL;
    static const float one[2] = { 1, 1 };
    fixture_open(&f, TR_F32, 2);
    expect(&f, "sample.none", SD3_TOLERANCE);
    for (int i = 0; i < 2; i++) {
        char name[32];
        const tr_lora *list[1] = { f.lora[i] };
        OK(put(&k, f.m.model, list, one, 1));
        snprintf(name, sizeof name, "sample.%s", adapter_name[i]);
        expect(&f, name, SD3_TOLERANCE);
        tr_lora_stack_free(k);
    }
    const tr_lora *both[2] = { f.lora[0], f.lora[1] };
    OK(put(&k, f.m.model, both, f.weight, 2));
    expect(&f, "sample.both", SD3_TOLERANCE);
    tr_lora_stack_free(k);
    expect(&f, "sample.none", SD3_TOLERANCE);
    fixture_close(&f);
}

static void test_run_time(void **state) { (void)state; against_peft(tr_lora_stack_new); }
static void test_merged(void **state)   { (void)state; against_peft(tr_lora_stack_merge); }

/* Merging rounds the weights once more: within their own rounding of the adapters beside them. */
static void test_merged_half(void **state)
{
    (void)state;
    fixture f;
    tr_lora_stack *k = NULL;
    fixture_open(&f, TR_F16, 2);
    const tr_lora *both[2] = { f.lora[0], f.lora[1] };
    float *none = draw(&f);
    OK(tr_lora_stack_new(&k, f.m.model, both, f.weight, 2));
    float *beside = draw(&f);
    tr_lora_stack_free(k);
    OK(tr_lora_stack_merge(&k, f.m.model, both, f.weight, 2));
    for (int i = 0; i < tr_mmdit_layer_count(f.m.model); i++) assert_int_equal(tr_mmdit_layer(f.m.model, i)->w.dtype, TR_F16);
    float *merged = draw(&f);
    tr_lora_stack_free(k);
    const int64_t n = tr_count(f.m.args.out);
    const double e = seeded_error(merged, beside, n);
    if (!(e <= 2e-3)) fail_msg("merged against beside: %.3g", e);
    assert_true(seeded_error(none, beside, n) > 0.1);
    float *again = draw(&f);
    assert_memory_equal(again, none, (size_t)n * 4);          /* taken off: the file's own weights */
    tr_free(none);
    tr_free(beside);
    tr_free(merged);
    tr_free(again);
    fixture_close(&f);
}

/* B starts at zero, so a fresh adapter changes nothing, bit for bit. */
static void test_zero_changes_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        fixture f;
        tr_lora_stack *k = NULL;
        fixture_open(&f, kind ? TR_F16 : TR_F32, 2);
        tr_lora *fresh[2];
        for (int i = 0; i < 2; i++) fresh[i] = adapter(&f.m.golden, adapter_name[i], true, NULL, TR_DIMS(1), TR_DIMS(1));
        const tr_lora *list[2] = { fresh[0], fresh[1] };
        float *none = draw(&f);
        OK(tr_lora_stack_new(&k, f.m.model, list, f.weight, 2));
        float *beside = draw(&f);
        tr_lora_stack_free(k);
        OK(tr_lora_stack_merge(&k, f.m.model, list, f.weight, 2));
        float *merged = draw(&f);
        tr_lora_stack_free(k);
        const size_t n = (size_t)tr_count(f.m.args.out) * 4;
        assert_memory_equal(beside, none, n);
        assert_memory_equal(merged, none, n);
        tr_free(none);
        tr_free(beside);
        tr_free(merged);
        for (int i = 0; i < 2; i++) tr_lora_close(fresh[i]);
        fixture_close(&f);
    }
}

/* One adapter twice with weights that add up is the adapter once; a weight of 0 is none. */
static void test_stack_is_sum(void **state)
{
    (void)state;
    fixture f;
    tr_lora_stack *k = NULL;
    fixture_open(&f, TR_F32, 2);
    const tr_lora *list[3] = { f.lora[0], f.lora[1], f.lora[0] };
    OK(tr_lora_stack_new(&k, f.m.model, list, (float[]){ 1.5f, -0.5f, -0.75f }, 3));
    expect(&f, "sample.both", SD3_TOLERANCE);
    tr_lora_stack_free(k);
    OK(tr_lora_stack_new(&k, f.m.model, list, (float[]){ 1, 0 }, 2));
    expect(&f, "sample.image", SD3_TOLERANCE);
    tr_lora_stack_free(k);
    fixture_close(&f);
}

/* Layers that PEFT does not wrap as linear: the patch projection, a convolution in the file. */
static void test_patch_projection(void **state)
{
    (void)state;
    fixture f;
    tr_lora_stack *k = NULL;
    fixture_open(&f, TR_F32, 2);
    tr_lora *l = adapter(&f.m.golden, "image", false, "pos_embed.proj", TR_DIMS(2, 64), TR_DIMS(128, 2));
    const tr_lora *list[1] = { l };
    float *none = draw(&f);
    OK(tr_lora_stack_new(&k, f.m.model, list, (float[]){ 1 }, 1));
    float *beside = draw(&f);
    tr_lora_stack_free(k);
    OK(tr_lora_stack_merge(&k, f.m.model, list, (float[]){ 1 }, 1));
    float *merged = draw(&f);
    tr_lora_stack_free(k);
    const int64_t n = tr_count(f.m.args.out);
    assert_true(seeded_error(none, beside, n) > 0.01);
    const double e = seeded_error(merged, beside, n);
    if (!(e <= SD3_TOLERANCE)) fail_msg("merged against beside: %.3g", e);
    tr_free(none);
    tr_free(beside);
    tr_free(merged);
    tr_lora_close(l);
    fixture_close(&f);
}

static void test_wrong(void **state)
{
    (void)state;
    fixture f;
    tr_lora_stack *k = NULL;
    fixture_open(&f, TR_F32, 1);
    float *none = draw(&f);
    static const struct { const char *key; tr_dims a, b; tress_status st; const char *part; } cases[] = {
        { "transformer_blocks.2.attn.to_q", { 2, { 2, 128 } }, { 2, { 128, 2 } }, TRESS_E_CONTRACT,
          "LoRA key transformer_blocks.2.attn.to_q matches no layer" },
        { "transformer_blocks.1.attn.to_add_out", { 2, { 2, 128 } }, { 2, { 128, 2 } }, TRESS_E_CONTRACT, "to_add_out matches no layer" },
        { "transformer_blocks.1.attn.to_q", { 2, { 2, 192 } }, { 2, { 192, 2 } }, TRESS_E_SHAPE, "LoRA on transformer_blocks.1.attn.to_q has A [2, 192]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_lora *l = adapter(&f.m.golden, "image", false, cases[i].key, cases[i].a, cases[i].b);
        const tr_lora *list[2] = { f.lora[0], l };
        FAILS(tr_lora_stack_new(&k, f.m.model, list, f.weight, 2), cases[i].st, cases[i].part);
        FAILS(tr_lora_stack_merge(&k, f.m.model, list, f.weight, 2), cases[i].st, cases[i].part);
        tr_lora_close(l);
    }
    const tr_lora *list[2] = { f.lora[0], f.lora[1] };
    FAILS(tr_lora_stack_new(&k, f.m.model, list, (float[]){ 1, NAN }, 2), TRESS_E_ARG, "weight of LoRA 2 is nan");
    FAILS(tr_lora_stack_new(&k, f.m.model, list, (float[]){ 1, 3e38f }, 2), TRESS_E_ARG, "is not finite");
    assert_null(k);
    const int64_t bytes = tr_mem_now().bytes;
    for (int i = 0; i < 2; i++) {                             /* out of memory at every allocation */
        int n = 0;
        for (tress_status st = TRESS_E_OOM; st != TRESS_OK; n++) {
            k = NULL;
            tr_mem_fail_at(n + 1);
            st = (i ? tr_lora_stack_merge : tr_lora_stack_new)(&k, f.m.model, list, f.weight, 2);
            tr_mem_fail_at(0);
            assert_true(st == TRESS_OK ? k != NULL : st == TRESS_E_OOM && k == NULL);
            tr_lora_stack_free(k);
            assert_int_equal(tr_mem_now().bytes, bytes);
        }
        assert_true(n > 10);
    }
    float *still = draw(&f);
    assert_memory_equal(none, still, (size_t)tr_count(f.m.args.out) * 4);
    tr_free(none);
    tr_free(still);
    fixture_close(&f);

    fixture_open(&f, TR_F16, 1);                              /* beyond what the weights' type holds */
    const tr_lora *half[1] = { f.lora[0] };
    FAILS(tr_lora_stack_merge(&k, f.m.model, half, (float[]){ 1e6f }, 1), TRESS_E_NONFINITE, "values beyond F16");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_time), cmocka_unit_test(test_merged), cmocka_unit_test(test_merged_half), cmocka_unit_test(test_zero_changes_nothing),
        cmocka_unit_test(test_stack_is_sum), cmocka_unit_test(test_patch_projection), cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
