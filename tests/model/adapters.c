/* Adapters that learn: where they sit and what they are called, what they begin with, on and off, from LoRA files and back. */
#include "sd3.h"

typedef sd3_mmdit fixture;

static void fixture_open(fixture *f) { sd3_mmdit_open(f, "mmdit-sd35-medium", TR_F32, 2); }

enum { ALL = 255 };
static tr_adapters *adapters(fixture *f, int rank, float alpha, int targets, const int *block, int n_block, uint64_t seed)
{
    tr_adapters *k = NULL;
    OK(tr_adapters_new(&k, f->model, &(tr_adapter_spec){ .rank = rank, .alpha = alpha, .targets = targets, .block = block,
                                                         .n_block = n_block, .seed = seed }));
    return k;
}

static size_t bytes_of(tr_tensor t) { return (size_t)tr_count(t) * sizeof(float); }
static float *copy_of(tr_tensor t)
{
    void *p = NULL;
    OK(tr_alloc_array(&p, tr_count(t), sizeof(float)));
    memcpy(p, t.data, bytes_of(t));
    return p;
}
/* The velocity, new. */
static float *draw(fixture *f)
{
    OK(tr_mmdit_forward(f->model, f->stream, &f->args));
    return copy_of(f->args.out);
}
static int find(const tr_adapters *k, const char *name)
{
    for (int i = 0; i < tr_adapters_count(k); i++)
        if (strcmp(tr_adapters_name(k, i), name) == 0) return i;
    fail_msg("there is no %s", name);
    return -1;
}
static void fill_up(tr_adapters *k, double std)
{
    for (int i = 1; i < tr_adapters_count(k); i += 2)
        seeded_normal(tr_adapters_param(k, i).data, tr_count(tr_adapters_param(k, i)), tr_adapters_name(k, i), 3, 0, std);
}

/* ---- names ------------------------------------------------------------------------------------------------- */
static void names_and_order(void **state)
{
    static const char *const parts[] = { "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj",
                                         "attn.add_v_proj", "attn.to_add_out", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0" };
    fixture f;
    (void)state;
    fixture_open(&f);
    const int n_block = f.config.n_block;
    const int64_t d = (int64_t)f.config.n_head * f.config.d_head;
    tr_adapters *k = adapters(&f, 3, 3, ALL, NULL, 0, 1);
    int n = 0;
    const float *at = tr_adapters_params(k).data, *at_grad = tr_adapters_grads(k).data;
    for (int block = 0; block < n_block; block++)
        for (int part = 0; part < 12; part++)
            for (int b = 0; b < 2; b++) {
                char name[256];
                if (part >= 8 && !f.config.dual[block]) continue;
                if (block == n_block - 1 && (part == 4 || part == 7)) continue;     /* the last block's text asks nothing and ends */
                snprintf(name, sizeof name, "transformer.transformer_blocks.%d.%s.lora_%c.weight", block, parts[part], "AB"[b]);
                assert_true(n < tr_adapters_count(k));
                assert_string_equal(tr_adapters_name(k, n), name);
                assert_int_equal(tr_adapters_block(k, n), block);
                const tr_tensor p = tr_adapters_param(k, n), g = tr_adapters_grad(k, n);
                assert_true(tr_has_dims(p, b ? TR_DIMS(d, 3) : TR_DIMS(3, d)) && tr_has_dims(g, b ? TR_DIMS(d, 3) : TR_DIMS(3, d)));
                assert_ptr_equal(p.data, at);
                assert_ptr_equal(g.data, at_grad);
                at += 3 * d;
                at_grad += 3 * d;
                n++;
            }
    assert_int_equal(n, tr_adapters_count(k));
    assert_int_equal(tr_count(tr_adapters_params(k)), n * 3 * d);
    assert_int_equal(tr_count(tr_adapters_grads(k)), n * 3 * d);
    tr_adapters_free(k);

    k = adapters(&f, 1, 1, TR_TARGET_TO_V, (const int[]){ 2, 0, 2 }, 3, 1);          /* in the model's order, each once */
    const int want = 2 * (1 + f.config.dual[0]) + 2 * (1 + f.config.dual[2]);
    assert_int_equal(tr_adapters_count(k), want);
    assert_int_equal(tr_adapters_block(k, 0), 0);
    assert_int_equal(tr_adapters_block(k, want - 1), 2);
    tr_adapters_free(k);
    sd3_mmdit_close(&f);
}

/* ---- what they begin with ---------------------------------------------------------------------------------- */
/* A is uniform within 1 / sqrt(d_in): mean and variance within five deviations of those of n numbers, sixteen bins by chi-squared
 * (15 degrees, below 50 but for once in 1e5). The seed is fixed: a figure, not a chance. */
static void beginning(void **state)
{
    fixture f;
    (void)state;
    fixture_open(&f);
    tr_adapters *k = adapters(&f, 16, 16, ALL, NULL, 0, 7);
    double sum = 0, squares = 0, chi = 0;
    int64_t n = 0, bin[16] = { 0 };
    for (int i = 0; i < tr_adapters_count(k); i++) {
        const tr_tensor p = tr_adapters_param(k, i);
        const double bound = 1 / sqrt((double)p.shape[1]);
        assert_int_equal(strstr(tr_adapters_name(k, i), "lora_B") != NULL, i % 2);
        for (int64_t j = 0; j < tr_count(p); j++) {
            const double v = (double)((const float *)p.data)[j] / bound;
            if (i % 2) assert_true(v == 0);
            else assert_true(fabs(v) <= 1 + 1e-6);
            if (i % 2) continue;
            sum += v;
            squares += v * v;
            const int at = (int)((v + 1) * 8);
            bin[at < 0 ? 0 : at > 15 ? 15 : at]++;
            n++;
        }
    }
    for (int i = 0; i < 16; i++) chi += ((double)bin[i] - (double)n / 16) * ((double)bin[i] - (double)n / 16) / ((double)n / 16);
    assert_true(fabs(sum / (double)n) <= 5 / sqrt(3.0 * (double)n));
    assert_true(fabs(squares / (double)n - 1 / 3.0) <= 5 * sqrt(4 / 45.0 / (double)n));
    if (!(chi < 50)) fail_msg("A is not uniform: chi-squared %.3g with 15 degrees of freedom", chi);
    for (int64_t j = 0; j < tr_count(tr_adapters_grads(k)); j++) assert_true(((const float *)tr_adapters_grads(k).data)[j] == 0);

    /* A layer's A follows from seed and name, whoever else learns. */
    static const char *const name = "transformer.transformer_blocks.1.attn.to_k.lora_A.weight";
    static const char *const other = "transformer.transformer_blocks.1.attn.to_v.lora_A.weight";
    const tr_tensor a = tr_adapters_param(k, find(k, name));
    const size_t bytes = bytes_of(a);
    float *first = copy_of(a);
    assert_memory_not_equal(first, tr_adapters_param(k, find(k, other)).data, bytes);
    tr_adapters_free(k);
    k = adapters(&f, 16, 2, TR_TARGET_TO_K, (const int[]){ 1 }, 1, 7);
    assert_memory_equal(first, tr_adapters_param(k, find(k, name)).data, bytes);
    tr_adapters_free(k);
    k = adapters(&f, 16, 16, ALL, NULL, 0, 8);
    assert_memory_not_equal(first, tr_adapters_param(k, find(k, name)).data, bytes);
    tr_adapters_free(k);
    tr_free(first);
    sd3_mmdit_close(&f);
}

/* ---- on and off -------------------------------------------------------------------------------------------- */
static void on_and_off(void **state)
{
    fixture f;
    (void)state;
    fixture_open(&f);
    const size_t bytes = bytes_of(f.args.out);
    float *base = draw(&f);
    tr_adapters *k = adapters(&f, 4, 8, ALL, NULL, 0, 7);
    float *fresh = draw(&f);
    assert_memory_equal(fresh, base, bytes);                /* B is zero: nothing, bit for bit */
    fill_up(k, 0.1);
    float *adapted = draw(&f);
    assert_true(seeded_error(adapted, base, (int64_t)(bytes / 4)) > 1e-3);
    tr_adapters_attach(k, false);
    float *off = draw(&f);
    assert_memory_equal(off, base, bytes);
    tr_adapters_attach(k, true);
    float *on = draw(&f);
    assert_memory_equal(on, adapted, bytes);

    /* Others in their place, and back. */
    void *p = NULL;
    OK(tr_alloc_array(&p, tr_count(tr_adapters_params(k)), sizeof(float)));
    OK(tr_adapters_show(k, f.stream, tr_view(p, TR_F32, TR_DIMS(tr_count(tr_adapters_params(k))))));
    float *zero = draw(&f);
    assert_memory_equal(zero, base, bytes);
    tr_adapters_attach(k, false);
    OK(tr_adapters_show(k, f.stream, tr_adapters_params(k)));           /* while off: not on by that */
    float *still_off = draw(&f);
    assert_memory_equal(still_off, base, bytes);
    tr_adapters_attach(k, true);
    float *back = draw(&f);
    assert_memory_equal(back, adapted, bytes);
    tr_free(p);

    tr_adapters_free(k);
    float *gone = draw(&f);
    assert_memory_equal(gone, base, bytes);
    for (int i = 0; i < tr_mmdit_layer_count(f.model); i++) {
        const tr_linear_layer *l = tr_mmdit_layer(f.model, i);
        assert_true(tr_is_none(l->a) && tr_is_none(l->up) && tr_is_none(l->da) && tr_is_none(l->dup) && l->low_scale == 0);
    }
    tr_adapters_free(NULL);
    float *const all[] = { base, fresh, adapted, off, on, zero, still_off, back, gone };
    for (int i = 0; i < 9; i++) tr_free(all[i]);
    sd3_mmdit_close(&f);
}

/* Which inputs a layer's adapter is not shown: number i d + j of the stream that draw and layer have, here by the formula of layer.h, in
 * float64; the bound is the project's for fp32. */
static void dropped(void **state)
{
    enum { ROWS = 3 };
    static const tr_drop drop = { .p = 0.25f, .key = 77, .draw = 5 };
    fixture f;
    (void)state;
    fixture_open(&f);
    const int64_t d = (int64_t)f.config.n_head * f.config.d_head;
    tr_adapters *k = adapters(&f, 4, 6, TR_TARGET_TO_Q | TR_TARGET_TO_V, NULL, 0, 7);
    fill_up(k, 1);
    const tr_tensor x = sd3_new(TR_DIMS(ROWS, d)), y = sd3_new(TR_DIMS(ROWS, d)), base = sd3_new(TR_DIMS(ROWS, d));
    seeded_normal(x.data, ROWS * d, "x", 1, 0, 1);
    for (int n = 0, seen = 0; n < tr_mmdit_layer_count(f.model) && seen < 3; n++) {
        const tr_linear_layer *l = tr_mmdit_layer(f.model, n);
        if (tr_is_none(l->a)) continue;
        seen++;
        assert_int_equal(l->index, n);
        OK(tr_linear_apply_dropped(f.stream, y, x, l, NULL, &drop));
        OK(tr_linear(f.stream, base, x, l->w, l->b, tr_none(), tr_none(), NULL));
        double diff = 0, ref = 0;
        for (int64_t i = 0; i < ROWS; i++)
            for (int64_t o = 0; o < d; o++) {
                double want = 0;
                for (int r = 0; r < 4; r++) {
                    double low = 0;
                    for (int64_t j = 0; j < d; j++)
                        if (tr_philox_uniform(drop.key, drop.draw * TR_LAYER_MAX + (uint64_t)n, (uint64_t)(i * d + j)) >= drop.p)
                            low += (double)((const float *)l->a.data)[r * d + j] * (double)((const float *)x.data)[i * d + j] / 0.75;
                    want += 1.5 * (double)((const float *)l->up.data)[o * 4 + r] * low;
                }
                const double got = (double)((const float *)y.data)[i * d + o] - (double)((const float *)base.data)[i * d + o];
                diff += (got - want) * (got - want);
                ref += want * want;
            }
        if (!(sqrt(diff / ref) <= 1e-5)) fail_msg("%s: what is dropped: relative error %.3g", l->name, sqrt(diff / ref));
    }
    tr_free(x.data);
    tr_free(y.data);
    tr_free(base.data);
    tr_adapters_free(k);
    sd3_mmdit_close(&f);
}

/* ---- files ------------------------------------------------------------------------------------------------- */
/* A LoRA in memory of rank 4 on two layers, of random A and B; tr_lora_close. */
static tr_lora *two_layers(const fixture *f, const char *second, int64_t d_out)
{
    const int64_t d = (int64_t)f->config.n_head * f->config.d_head;
    tr_lora *l = NULL;
    OK(tr_lora_new(&l));
    for (int i = 0; i < 2; i++) {
        const tr_lora_pair *p;
        OK(tr_lora_add(l, &p, i ? second : "transformer_blocks.0.attn.to_q", 4, i ? d_out : d, d));
        seeded_normal(p->a.data, tr_count(p->a), "a", (uint64_t)i, 0, 0.1);
        seeded_normal(p->up.data, tr_count(p->up), "b", (uint64_t)i, 0, 0.1);
    }
    return l;
}

static void from_files(void **state)
{
    fixture f;
    char path[600];
    (void)state;
    fixture_open(&f);
    const int64_t d = (int64_t)f.config.n_head * f.config.d_head, n_out = tr_count(f.args.out);
    tr_lora *made = two_layers(&f, "transformer_blocks.1.attn.to_out.0", d), *l = NULL;
    snprintf(path, sizeof path, "%s/test-adapters-%d.safetensors", TRESS_BINARY_DIR, (int)getpid());
    OK(tr_lora_save(made, path, TR_LORA_DIFFUSERS));
    OK(tr_lora_open(&l, path));
    tr_lora_stack *stack = NULL;
    OK(tr_lora_stack_new(&stack, f.model, (const tr_lora *const[]){ l }, (const float[]){ 1 }, 1));
    float *want = draw(&f);
    tr_lora_stack_free(stack);

    static const float alpha[] = { 4, 8, 3, 0.5f };         /* alpha / r of 1, 2, 3/4, 1/8: folded in the file, not in the adapters */
    for (int i = 0; i < 4; i++) {
        tr_adapters *k = adapters(&f, 4, alpha[i], TR_TARGET_IMAGE, NULL, 0, 7);
        const int other = find(k, "transformer.transformer_blocks.0.attn.to_v.lora_A.weight");
        float *untouched = copy_of(tr_adapters_param(k, other));
        OK(tr_adapters_load(k, f.stream, l));
        assert_memory_equal(tr_adapters_param(k, other).data, untouched, bytes_of(tr_adapters_param(k, other)));
        tr_free(untouched);
        float *got = draw(&f);
        const double e = seeded_error(got, want, n_out);
        if (!(e <= 1e-6)) fail_msg("alpha %g: relative error %.3g", (double)alpha[i], e);
        tr_free(got);
        for (int j = 0; j < 2; j++) {
            const tr_lora_pair *pair = tr_lora_at(l, j);
            snprintf(path, sizeof path, "transformer.%s.lora_A.weight", pair->layer);
            const int at = find(k, path);
            assert_memory_equal(tr_adapters_param(k, at).data, pair->a.data, bytes_of(pair->a));
            const float *unfolded = tr_adapters_param(k, at + 1).data, *folded = pair->up.data;
            for (int64_t q = 0; q < tr_count(pair->up); q++)
                assert_true(fabs((double)unfolded[q] * (double)alpha[i] / 4 - (double)folded[q]) <= 0x1p-23 * fabs((double)folded[q]));
        }

        /* And back: all layers, folded again; a power of two comes back to the bit. */
        tr_lora *back = NULL;
        OK(tr_adapters_lora(&back, k, f.stream, tr_adapters_params(k)));
        assert_int_equal(tr_lora_count(back), tr_adapters_count(k) / 2);
        for (int j = 0; j < 2; j++)
            for (int q = 0; q < tr_lora_count(back); q++) {
                const tr_lora_pair *a = tr_lora_at(l, j), *b = tr_lora_at(back, q);
                if (strcmp(a->layer, b->layer) != 0) continue;
                assert_int_equal(b->rank, 4);
                assert_memory_equal(a->a.data, b->a.data, bytes_of(a->a));
                if (alpha[i] != 3) assert_memory_equal(a->up.data, b->up.data, bytes_of(a->up));
                else assert_true(seeded_error(b->up.data, a->up.data, tr_count(a->up)) <= 0x1p-23);
            }
        float *p = copy_of(tr_adapters_params(k));
        OK(tr_adapters_load(k, f.stream, back));
        if (alpha[i] != 3) assert_memory_equal(tr_adapters_params(k).data, p, bytes_of(tr_adapters_params(k)));
        tr_free(p);
        tr_lora_close(back);
        tr_adapters_free(k);
    }
    snprintf(path, sizeof path, "%s/test-adapters-%d.safetensors", TRESS_BINARY_DIR, (int)getpid());
    remove(path);
    tr_free(want);
    tr_lora_close(l);
    tr_lora_close(made);
    sd3_mmdit_close(&f);
}

/* A file that does not fit changes nothing, not even the layers before the one that does not. */
static void misfits(void **state)
{
    fixture f;
    (void)state;
    fixture_open(&f);
    const int64_t d = (int64_t)f.config.n_head * f.config.d_head;
    const struct { int rank, targets; const char *second; int64_t d_out; tress_status st; const char *part; } list[] = {
        { 4, TR_TARGET_IMAGE, "transformer_blocks.1.attn.add_k_proj", d, TRESS_E_CONTRACT,
          "transformer_blocks.1.attn.add_k_proj is not among the layers that learn" },
        { 4, TR_TARGET_IMAGE, "transformer_blocks.1.ff.net.2", d, TRESS_E_CONTRACT, "is not among the layers that learn" },
        { 4, TR_TARGET_IMAGE, "transformer_blocks.99.attn.to_q", d, TRESS_E_CONTRACT, "transformer_blocks.99.attn.to_q is not among" },
        { 8, TR_TARGET_IMAGE, "transformer_blocks.1.attn.to_q", d, TRESS_E_SHAPE, "has rank 4, the adapters that learn 8" },
        { 4, TR_TARGET_IMAGE, "transformer_blocks.1.attn.to_q", d + 1, TRESS_E_SHAPE, "transformer_blocks.1.attn.to_q is for a layer" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        tr_lora *l = two_layers(&f, list[i].second, list[i].d_out);
        tr_adapters *k = adapters(&f, list[i].rank, 4, list[i].targets, NULL, 0, 7);
        fill_up(k, 0.1);
        float *p = copy_of(tr_adapters_params(k));
        FAILS(tr_adapters_load(k, f.stream, l), list[i].st, list[i].part);
        assert_memory_equal(tr_adapters_params(k).data, p, bytes_of(tr_adapters_params(k)));
        tr_free(p);
        tr_adapters_free(k);
        tr_lora_close(l);
    }
    sd3_mmdit_close(&f);
}

static void bad_specs(void **state)
{
    fixture f;
    (void)state;
    fixture_open(&f);
    const int last = f.config.n_block - 1, minus = -1, beyond = f.config.n_block;
    const struct { tr_adapter_spec c; const char *part; } list[] = {
        { { .rank = 0, .alpha = 1, .targets = 1 }, "rank 0, expected 1 to 4096" },
        { { .rank = 4097, .alpha = 1, .targets = 1 }, "rank 4097" },
        { { .rank = 4, .alpha = 0, .targets = 1 }, "alpha 0, expected 1e-06 to 1e+06" },
        { { .rank = 4, .alpha = -1, .targets = 1 }, "alpha -1" },
        { { .rank = 4, .alpha = NAN, .targets = 1 }, "alpha nan" },
        { { .rank = 4, .alpha = INFINITY, .targets = 1 }, "alpha inf" },
        { { .rank = 4, .alpha = 1e-44f, .targets = 1 }, "alpha" },           /* alpha / r would be 0, which stands for 1 */
        { { .rank = 4, .alpha = 4, .targets = 1, .block = &minus, .n_block = 1 }, "block -1 is to learn" },
        { { .rank = 4, .alpha = 4, .targets = 1, .block = &beyond, .n_block = 1 }, "is to learn, the transformer has blocks 0 to" },
        { { .rank = 4, .alpha = 4, .targets = 0 }, "no layer is left to learn" },
        { { .rank = 4, .alpha = 4, .targets = TR_TARGET_ADD_Q | TR_TARGET_TO_ADD_OUT, .block = &last, .n_block = 1 },
          "no layer is left to learn" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        tr_adapters *k = NULL;
        const int64_t bytes = tr_mem_now().bytes;
        FAILS(tr_adapters_new(&k, f.model, &list[i].c), TRESS_E_ARG, list[i].part);
        assert_null(k);
        assert_int_equal(tr_mem_now().bytes, bytes);
        for (int j = 0; j < tr_mmdit_layer_count(f.model); j++) assert_true(tr_is_none(tr_mmdit_layer(f.model, j)->a));
    }
    sd3_mmdit_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(names_and_order), cmocka_unit_test(beginning), cmocka_unit_test(on_and_off),
                                        cmocka_unit_test(dropped),
                                        cmocka_unit_test(from_files), cmocka_unit_test(misfits), cmocka_unit_test(bad_specs) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
