/* Twenty training steps, and single steps with other settings, against PyTorch's autograd, diffusers' networks, PEFT's LoRA and torch's
 * AdamW in float64 (tools/golden/train.py). Bounds: 1e-5 relative for losses and for gradients over all adapters together, as for every
 * module in fp32; torch's own fp32 run is up to 4e-6 away (error_torch_f32 in the goldens). The adapters after twenty steps: 1e-4: the
 * division by sqrt(v) turns the rounding of a gradient near 0 into a whole step; fed with the oracle's gradients 1e-6. */
#include "small.h"

#include <math.h>

#define BOUND 1e-5

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}
static bool is(const json_t *o, const char *key, const char *word)
{
    const char *s = json_string_value(json_object_get(o, key));
    assert_non_null(s);
    return strcmp(s, word) == 0;
}

static tr_trainer_spec spec_of(const json_t *o, int block[TR_BLOCK_MAX])
{
    static const struct { const char *name; int target; } names[] = {
        { "to_q", TR_TARGET_TO_Q }, { "to_k", TR_TARGET_TO_K }, { "to_v", TR_TARGET_TO_V }, { "to_out.0", TR_TARGET_TO_OUT } };
    tr_trainer_spec c = TR_TRAINER_SPEC_DEFAULT;
    const json_t *targets = json_object_get(o, "targets"), *blocks = json_object_get(o, "blocks");
    c.adapter.rank = (int)number(o, "rank");
    c.adapter.alpha = (float)number(o, "alpha");
    c.adapter.targets = 0;
    for (size_t i = 0; i < json_array_size(targets); i++)
        for (int k = 0; k < 4; k++)
            if (strcmp(json_string_value(json_array_get(targets, i)), names[k].name) == 0) c.adapter.targets |= names[k].target;
    c.adapter.block = block;
    c.adapter.n_block = (int)json_array_size(blocks);
    for (int i = 0; i < c.adapter.n_block; i++) block[i] = (int)json_integer_value(json_array_get(blocks, (size_t)i));
    c.zero_text_rows = (int)number(o, "zero_text_rows");
    c.control_last = is(o, "last_block", "vendor");
    c.normalize = is(o, "normalize", "none") ? TR_MASK_NONE : is(o, "normalize", "per-batch") ? TR_MASK_PER_BATCH : TR_MASK_PER_SAMPLE;
    c.unmasked_weight = (float)number(o, "unmasked");
    c.beta1 = number(o, "beta1");
    c.beta2 = number(o, "beta2");
    c.epsilon = number(o, "epsilon");
    c.weight_decay = number(o, "weight_decay");
    c.max_grad_norm = number(o, "max_grad_norm");
    return c;
}

static const float *golden(const small *m, const char *name, int64_t n)
{
    tr_tensor t;
    if (!tr_safetensors_find(m->golden, name, &t)) fail_msg("the golden has no %s", name);
    assert_int_equal(tr_count(t), n);
    assert_int_equal(t.dtype, TR_F32);
    return t.data;
}

/* ||got - want|| / ||want|| over the tensors PREFIX + KEY that the golden has; `grads`, else the parameters. */
static double apart(const small *m, tr_trainer *t, const char *prefix, bool grads, int *n_found)
{
    tr_adapters *k = tr_trainer_adapters(t);
    double diff = 0, ref = 0;
    *n_found = 0;
    for (int i = 0; i < tr_adapters_count(k); i++) {
        char name[256];
        tr_tensor want;
        const tr_tensor got = grads ? tr_adapters_grad(k, i) : tr_adapters_param(k, i);
        snprintf(name, sizeof name, "%s%s", prefix, tr_adapters_name(k, i));
        if (!tr_safetensors_find(m->golden, name, &want)) continue;
        assert_true(tr_has_dims(want, TR_DIMS(got.shape[0], got.shape[1])));
        for (int64_t e = 0; e < tr_count(got); e++) {
            const double a = ((const float *)got.data)[e], b = ((const float *)want.data)[e];
            if (grads && strstr(name, "lora_A") && b == 0) assert_true(a == 0);     /* B = 0: exactly nothing reaches A */
            diff += (a - b) * (a - b);
            ref += b * b;
        }
        ++*n_found;
    }
    return sqrt(diff) / sqrt(ref);
}

static void expect(double error, double bound, const char *kind, const char *what)
{
    if (!(error <= bound)) fail_msg("%s: %s: relative error %.3g, expected at most %.3g", kind, what, error, bound);
    print_message("%-7s %-24s %.2g\n", kind, what, error);
}

static void twenty_steps(const char *kind, tr_keep keep, bool zero_text_long)
{
    small m;
    small_inputs x;
    int block[TR_BLOCK_MAX], n;
    char what[64];
    tr_trainer *t = NULL;
    tr_train_loss loss;
    tr_train_update up;
    double worst = 0, worst_norm = 0;
    small_open(&m, kind, 2);
    const json_t *o = json_object_get(m.note, "step");
    tr_trainer_spec spec = spec_of(o, block);
    spec.keep = keep;
    spec.zero_text_long = zero_text_long;
    OK(tr_trainer_new(&t, m.stream, m.transformer, m.controlnet, &spec));
    assert_int_equal(tr_adapters_count(tr_trainer_adapters(t)), (int)json_object_size(json_object_get(m.note, "lora")));
    small_begin(&m, t, 0);
    const float *want = golden(&m, "loss", m.n_step), *want_norm = golden(&m, "grad_norm", m.n_step);
    static float v[SMALL_BATCH * 16 * SMALL_CELLS];
    int64_t n_alloc = 0;
    for (int i = 1; i <= m.n_step; i++) {
        const tr_train_batch batch = small_batch(&m, &x, i);
        OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, i == 1 ? v : NULL));
        const double e = fabs(loss.loss - (double)want[i - 1]) / (double)want[i - 1];
        worst = !(e <= worst) ? e : worst;
        snprintf(what, sizeof what, "grad.%d.", i);
        if (i <= 2 || i == m.n_step) {
            expect(apart(&m, t, what, true, &n), BOUND, kind, what);
            assert_int_equal(n, tr_adapters_count(tr_trainer_adapters(t)));
        }
        OK(tr_trainer_update(t, m.stream, number(o, "learning_rate"), true, &up));
        assert_true(up.finite);
        const double g = fabs(up.grad_norm - (double)want_norm[i - 1]) / (double)want_norm[i - 1];
        worst_norm = !(g <= worst_norm) ? g : worst_norm;
        if (i == 2) n_alloc = tr_mem_now().n_alloc;
        if (i > 2) assert_int_equal(tr_mem_now().n_alloc, n_alloc);          /* after the first, a step allocates nothing */
    }
    expect(worst, BOUND, kind, "losses");
    expect(worst_norm, BOUND, kind, "gradient norms");
    expect(seeded_error(v, golden(&m, "velocity", m.b * 16 * m.h * m.w), m.b * 16 * m.h * m.w), BOUND, kind, "velocity");
    expect(apart(&m, t, "lora.", false, &n), 1e-4, kind, "adapters after 20 steps");
    tr_trainer_free(t);
    small_close(&m);
}

static void large(void **state) { (void)state; twenty_steps("large", TR_KEEP_ALL, false); }
static void medium(void **state) { (void)state; twenty_steps("medium", TR_KEEP_ATTENTION, false); }
static void plain(void **state) { (void)state; twenty_steps("plain", TR_KEEP_INPUT, false); }
static void rows_in_full(void **state) { (void)state; twenty_steps("large", TR_KEEP_ALL, true); }

static void one_variant(small *m, const char *kind, const char *name, const json_t *o)
{
    small_inputs x;
    int block[TR_BLOCK_MAX], n;
    char prefix[128];
    tr_trainer *t = NULL;
    tr_train_loss loss;
    tr_train_update up;
    double total = 0;
    const tr_trainer_spec spec = spec_of(o, block);
    const int n_micro = (int)number(o, "accumulate");
    OK(tr_trainer_new(&t, m->stream, m->transformer, m->controlnet, &spec));
    small_begin(m, t, number(m->note, "b_std"));
    for (int i = 1; i <= n_micro; i++) {
        tr_train_batch batch = small_batch(m, &x, i);
        bool no_sketch[SMALL_BATCH] = { false };
        const json_t *empty = json_object_get(o, "empty"), *bare = json_object_get(o, "no_sketch");
        for (size_t k = 0; k < json_array_size(bare); k++) no_sketch[json_integer_value(json_array_get(bare, k))] = true;
        batch.no_sketch = json_array_size(bare) ? no_sketch : NULL;
        for (size_t k = 0; k < json_array_size(empty); k++)
            memset(x.mask + json_integer_value(json_array_get(empty, k)) * m->h * m->w, 0, (size_t)(m->h * m->w) * sizeof(float));
        OK(tr_trainer_accumulate(t, m->stream, &batch, 1.0 / n_micro, &loss, NULL));
        assert_int_equal(loss.n_empty, (int)json_array_size(empty));
        total += loss.loss / n_micro;
    }
    snprintf(prefix, sizeof prefix, "variant.%s.loss", name);
    const double want = (double)*golden(m, prefix, 1);
    expect(fabs(total - want) / want, BOUND, kind, prefix);
    snprintf(prefix, sizeof prefix, "variant.%s.grad.", name);
    expect(apart(m, t, prefix, true, &n), BOUND, kind, prefix);
    assert_true(n > 0);
    OK(tr_trainer_update(t, m->stream, 0, true, &up));
    snprintf(prefix, sizeof prefix, "variant.%s.grad_norm", name);
    const double norm = (double)*golden(m, prefix, 1);
    expect(fabs(up.grad_norm - norm) / norm, BOUND, kind, prefix);
    tr_trainer_free(t);
}

static void variants(void **state)
{
    static const char *const kinds[] = { "large", "medium", "plain" };
    (void)state;
    for (int i = 0; i < 3; i++) {
        small m;
        small_open(&m, kinds[i], 2);
        json_t *list = json_object_get(m.note, "variants");
        const char *name;
        json_t *o;
        json_object_foreach(list, name, o) one_variant(&m, kinds[i], name, o);
        small_close(&m);
    }
}

/* AdamW alone: what it makes of the very gradients that torch's ate. */
static void oracle_gradients(void **state)
{
    small m;
    int block[TR_BLOCK_MAX], n;
    tr_trainer *t = NULL;
    tr_safetensors *every = NULL;
    tr_train_update up;
    (void)state;
    small_open(&m, "plain", 2);
    OK(tr_safetensors_open(&every, TRESS_SOURCE_DIR "/tests/golden/train/plain-gradients.safetensors"));
    const json_t *o = json_object_get(m.note, "step");
    const tr_trainer_spec spec = spec_of(o, block);
    OK(tr_trainer_new(&t, m.stream, m.transformer, m.controlnet, &spec));
    small_begin(&m, t, 0);
    tr_adapters *k = tr_trainer_adapters(t);
    for (int step = 0; step < m.n_step; step++) {
        for (int i = 0; i < tr_adapters_count(k); i++) {
            char name[256];
            tr_tensor all;
            const tr_tensor g = tr_adapters_grad(k, i);
            snprintf(name, sizeof name, "grad.%s", tr_adapters_name(k, i));
            assert_true(tr_safetensors_find(every, name, &all));
            memcpy(g.data, (const float *)all.data + step * tr_count(g), (size_t)tr_count(g) * sizeof(float));
        }
        OK(tr_trainer_update(t, m.stream, number(o, "learning_rate"), true, &up));
    }
    expect(apart(&m, t, "lora.", false, &n), 1e-6, "plain", "adapters, torch's gradients");
    tr_safetensors_close(every);
    tr_trainer_free(t);
    small_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(large), cmocka_unit_test(medium), cmocka_unit_test(plain), cmocka_unit_test(rows_in_full),
                                        cmocka_unit_test(variants), cmocka_unit_test(oracle_gradients) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
