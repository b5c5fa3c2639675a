/* `probe train-step` against PyTorch, diffusers and PEFT in float64 (tests/golden/train): the loss and all gradients of a step that
 * begins with a LoRA file, and one step of AdamW on them; fresh adapters; and what it says to inputs that are no training step. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "seeded.h"

#include <unistd.h>

#define FOLDER TRESS_BINARY_DIR "/tests/api-probe-train"
#define IN     FOLDER ".in.safetensors"
#define OUT    FOLDER ".out.safetensors"
#define LORA   FOLDER ".lora.safetensors"
#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/train/"
#define BOUND 1e-5

#define OK(call)                                                                         \
    do {                                                                                 \
        const tress_status ok_st = (call);                                               \
        if (ok_st != TRESS_OK) fail_msg("%s: status %d: %s", #call, ok_st, tress_last_error()); \
    } while (0)

typedef struct fixture {
    const char     *kind;
    json_t         *note;
    tr_safetensors *golden;
    tress          *t;
    char            model[512];
    uint64_t        seed;
    int64_t         b, h, w;
    tress_train_args train;
} fixture;

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void fixture_open(fixture *f, const char *kind)
{
    static const char *const module[] = { "transformer", "controlnet" };
    char json[512], path[600], config[64];
    *f = (fixture){ .kind = kind };
    snprintf(json, sizeof json, "%s%s.json", GOLDEN, kind);
    snprintf(path, sizeof path, "%s%s.safetensors", GOLDEN, kind);
    OK(seeded_json(&f->note, json));
    OK(tr_safetensors_open(&f->golden, path));
    snprintf(f->model, sizeof f->model, "%s-%s", FOLDER, kind);
    assert_true(mkdir(f->model, 0777) == 0 || errno == EEXIST);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", f->model, module[i]);
        snprintf(config, sizeof config, "%s_config", module[i]);
        OK(seeded_folder_of(json, module[i], config, path, "diffusion_pytorch_model.safetensors", TR_F32));
    }
    f->seed = (uint64_t)number(f->note, "seed");
    f->b = (int64_t)number(f->note, "batch");
    f->h = json_integer_value(json_array_get(json_object_get(f->note, "size"), 0));
    f->w = json_integer_value(json_array_get(json_object_get(f->note, "size"), 1));
    OK(tress_new(&f->t, NULL));
    const json_t *o = json_object_get(f->note, "step");
    tress_train_defaults(&f->train);
    f->train.rank = (int)number(o, "rank");
    f->train.alpha = (float)number(o, "alpha");
    f->train.learning_rate = number(o, "learning_rate");
    f->train.max_grad_norm = 0.005;                         /* below all of the goldens' norms: clipping is seen */
    const bool vendor = strcmp(json_string_value(json_object_get(o, "last_block")), "vendor") == 0;
    f->train.control_last = vendor ? TRESS_LAST_VENDOR : TRESS_LAST_DIFFUSERS;
}

static void fixture_close(fixture *f)
{
    tress_free(f->t);
    tr_safetensors_close(f->golden);
    json_decref(f->note);
    remove(IN);
    remove(OUT);
    remove(LORA);
}

/* The inputs of step 1, one of them left out, of other dims, or with a value put into it. */
typedef struct spoil { const char *name; bool absent; tr_dims d; bool put; float value; int64_t at; } spoil;
static void write_inputs(const fixture *f, const spoil *k)
{
    const json_t *sigma = json_array_get(json_object_get(f->note, "sigma"), 0);
    const tr_dims latent = TR_DIMS(f->b, 16, f->h, f->w);
    const struct { const char *name; tr_dims d; } list[] = {
        { "latents", latent }, { "control", latent }, { "noise", latent }, { "mask", TR_DIMS(f->b, 1, f->h, f->w) },
        { "sigma", TR_DIMS(f->b) } };
    tr_named out[5];
    int n_out = 0;
    for (int i = 0; i < 5; i++) {
        const bool here = k && strcmp(k->name, list[i].name) == 0;
        const tr_dims d = here && k->d.rank ? k->d : list[i].d;
        char name[64];
        void *p = NULL;
        int64_t n = 1;
        if (here && k->absent) continue;
        for (int j = 0; j < d.rank; j++) n *= d.n[j];
        OK(tr_alloc_array(&p, n, sizeof(float)));
        float *x = p;
        snprintf(name, sizeof name, "step.1.%s", list[i].name);
        if (i < 4) seeded_normal(x, n, name, f->seed, i == 3 ? 0.5 : 0, i == 3 ? 0.5 : 1);
        for (int64_t j = 0; i == 3 && j < n; j++) x[j] = x[j] < 0 ? 0 : x[j] > 1 ? 1 : x[j];
        for (int64_t j = 0; i == 4 && j < n; j++) x[j] = (float)json_real_value(json_array_get(sigma, (size_t)(j % f->b)));
        if (here && k->put) x[k->at] = k->value;
        out[n_out++] = (tr_named){ list[i].name, tr_view(p, TR_F32, d) };
    }
    OK(tr_safetensors_write(IN, out, n_out, NULL));
    for (int i = 0; i < n_out; i++) tr_free(out[i].t.data);
}

static tr_dims dims_of(const json_t *shape)
{
    return TR_DIMS(json_integer_value(json_array_get(shape, 0)), json_integer_value(json_array_get(shape, 1)));
}

/* A LoRA file with what the goldens begin with: A, and B normal with deviation b_std. only: layers whose name has it. */
static void write_lora(const fixture *f, double b_std, const char *only)
{
    tr_named out[128];
    int n_out = 0;
    const char *name;
    json_t *shape;
    json_object_foreach(json_object_get(f->note, "lora"), name, shape) {
        const tr_dims d = dims_of(shape);
        void *p = NULL;
        if (only && !strstr(name, only)) continue;
        OK(tr_alloc_array(&p, d.n[0] * d.n[1], sizeof(float)));
        if (strstr(name, "lora_A")) seeded_weight(p, name, f->seed, d);
        else seeded_normal(p, d.n[0] * d.n[1], name, f->seed, 0, b_std);
        out[n_out++] = (tr_named){ name, tr_view(p, TR_F32, d) };
    }
    OK(tr_safetensors_write(LORA, out, n_out, NULL));
    for (int i = 0; i < n_out; i++) tr_free(out[i].t.data);
}

static tress_status probe(const fixture *f, const tress_train_args *train, const tress_lora_ref *lora, int n_lora)
{
    const tress_probe_args p = { .module = "train-step", .in = IN, .out = OUT, .train = train };
    return tress_probe(f->t, &(tress_model_args){ .model = f->model, .lora = lora, .n_lora = n_lora }, &p);
}

static const float *get(const tr_safetensors *file, const char *prefix, const char *name, tr_dims d)
{
    char full[256];
    tr_tensor t;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    if (!tr_safetensors_find(file, full, &t)) fail_msg("there is no %s", full);
    assert_true(t.dtype == TR_F32 && tr_has_dims(t, d));
    return t.data;
}

/* One AdamW step from zero moments: m / (1 - beta1) = g, v / (1 - beta2) = g^2, so p - lr (g / (|g| + eps) + wd p), with g clipped. A
 * dozen roundings of the update and one of p. */
static void hold_step(const fixture *f, const tr_safetensors *out, double b_std)
{
    const char *name;
    json_t *shape;
    double squares = 0;
    const json_t *lora = json_object_get(f->note, "lora");
    json_object_foreach((json_t *)(uintptr_t)lora, name, shape) {
        const tr_dims d = dims_of(shape);
        const float *g = get(out, "grad.", name, d);
        for (int64_t i = 0; i < d.n[0] * d.n[1]; i++) squares += (double)g[i] * (double)g[i];
    }
    const double norm = sqrt(squares), clip = f->train.max_grad_norm < norm + 1e-6 ? f->train.max_grad_norm / (norm + 1e-6) : 1;
    assert_true(clip < 1);
    json_object_foreach((json_t *)(uintptr_t)lora, name, shape) {
        const tr_dims d = dims_of(shape);
        const int64_t n = d.n[0] * d.n[1];
        const float *g = get(out, "grad.", name, d), *p = get(out, "lora.", name, d);
        void *room = NULL;
        OK(tr_alloc_array(&room, n, sizeof(float)));
        float *p0 = room;
        if (strstr(name, "lora_A")) seeded_weight(p0, name, f->seed, d);
        else seeded_normal(p0, n, name, f->seed, 0, b_std);
        for (int64_t i = 0; i < n; i++) {
            const double from = (double)p0[i], gi = clip * (double)g[i], lr = f->train.learning_rate;
            const double want = from - lr * (gi / (fabs(gi) + f->train.epsilon) + f->train.weight_decay * from);
            const double bound = 0x1p-23 * fabs(from) + 12 * 0x1p-24 * lr;
            if (!(fabs((double)p[i] - want) <= bound))
                fail_msg("%s: lora.%s[%d] is %.9g, expected %.9g", f->kind, name, (int)i, (double)p[i], want);
        }
        tr_free(room);
    }
}

static void hold(fixture *f, const char *golden_loss, const char *golden_grad, double b_std, double bound)
{
    tr_safetensors *out = NULL;
    tr_tensor want;
    const char *name;
    json_t *shape;
    double diff = 0, ref = 0;
    write_inputs(f, NULL);
    write_lora(f, b_std, NULL);
    const tress_lora_ref lora = { LORA, 1 };
    OK(probe(f, &f->train, &lora, 1));
    OK(tr_safetensors_open(&out, OUT));
    assert_true(tr_safetensors_find(f->golden, golden_loss, &want));
    const double loss = (double)*get(out, "", "loss", TR_DIMS(1)), e_loss = fabs(loss / (double)*(const float *)want.data - 1);
    json_object_foreach(json_object_get(f->note, "lora"), name, shape) {
        char full[256];
        const tr_dims d = dims_of(shape);
        const float *g = get(out, "grad.", name, d);
        snprintf(full, sizeof full, "%s%s", golden_grad, name);
        assert_true(tr_safetensors_find(f->golden, full, &want) && tr_has_dims(want, d));
        for (int64_t i = 0; i < d.n[0] * d.n[1]; i++) {
            const double w = (double)((const float *)want.data)[i], e = (double)g[i] - w;
            diff += e * e;
            ref += w * w;
        }
    }
    const double e_grad = sqrt(diff / ref);
    print_message("%-7s %-16s loss %.2g, gradients %.2g\n", f->kind, golden_loss, e_loss, e_grad);
    if (!(e_loss <= bound) || !(e_grad <= bound))
        fail_msg("%s: loss %.3g, gradients %.3g from torch's, expected at most %g", f->kind, e_loss, e_grad, bound);
    hold_step(f, out, b_std);
    tr_safetensors_close(out);
}

static void goldens(void **state)
{
    static const char *const kinds[] = { "large", "medium", "plain" };
    static const tress_checkpointing keep[] = { TRESS_CHECKPOINTING_OFF, TRESS_CHECKPOINTING_ATTENTION, TRESS_CHECKPOINTING_ON };
    (void)state;
    for (int i = 0; i < 3; i++) {
        fixture f;
        fixture_open(&f, kinds[i]);
        f.train.gradient_checkpointing = keep[i];
        hold(&f, "loss", "grad.1.", 0, BOUND);
        hold(&f, "variant.same.loss", "variant.same.grad.", number(f.note, "b_std"), BOUND);
        f.train.mixed_precision = TRESS_PRECISION_FP16;     /* the loss scale is out of what is shown; the bound is that of tests/train/trainer.c */
        hold(&f, "variant.same.loss", "variant.same.grad.", number(f.note, "b_std"), 8 * sqrt(5.0) * 0x1p-11);
        fixture_close(&f);
    }
}

/* Without a LoRA: fresh adapters of the seed; the loss is the base's, as with any A while B is zero. */
static void fresh(void **state)
{
    fixture f;
    tr_safetensors *out = NULL;
    tr_tensor want, a[2];
    (void)state;
    fixture_open(&f, "plain");
    write_inputs(&f, NULL);
    for (int i = 0; i < 2; i++) {
        f.train.seed = (uint64_t)i;
        OK(probe(&f, &f.train, NULL, 0));
        OK(tr_safetensors_open(&out, OUT));
        assert_true(tr_safetensors_find(f.golden, "loss", &want));
        assert_true(fabs((double)*get(out, "", "loss", TR_DIMS(1)) / (double)*(const float *)want.data - 1) <= BOUND);
        assert_true(tr_safetensors_find(out, "lora.transformer.transformer_blocks.0.attn.to_q.lora_A.weight", &a[i]));
        static float first[8];
        if (i == 0) memcpy(first, a[0].data, sizeof first);
        else assert_memory_not_equal(first, a[1].data, sizeof first);
        tr_safetensors_close(out);
        out = NULL;
    }
    OK(probe(&f, NULL, NULL, 0));                           /* all defaults: rank 16 */
    OK(tr_safetensors_open(&out, OUT));
    assert_true(tr_safetensors_find(out, "grad.transformer.transformer_blocks.0.attn.to_q.lora_B.weight", &a[0]) && a[0].shape[1] == 16);
    tr_safetensors_close(out);
    fixture_close(&f);
}

static void expect(const fixture *f, const tress_train_args *train, const tress_lora_ref *lora, int n_lora, tress_status st,
                   const char *part)
{
    remove(OUT);
    const tress_status got = probe(f, train, lora, n_lora);
    if (got != st || !strstr(tress_last_error(), part))
        fail_msg("status %d, expected %d; message \"%s\", expected \"%s\" in it", got, st, tress_last_error(), part);
    assert_int_equal(access(OUT, F_OK), -1);
}

static void bad_inputs(void **state)
{
    fixture f;
    (void)state;
    fixture_open(&f, "plain");
    const int64_t h = f.h, w = f.w;
    const struct { spoil k; tress_status st; const char *part; } list[] = {
        { { .name = "latents", .absent = true }, TRESS_E_FORMAT, "there is no tensor latents, which train-step reads" },
        { { .name = "control", .absent = true }, TRESS_E_FORMAT, "control" },
        { { .name = "mask", .absent = true }, TRESS_E_FORMAT, "mask" },
        { { .name = "sigma", .absent = true }, TRESS_E_FORMAT, "sigma" },
        { { .name = "latents", .d = TR_DIMS(2, 16, h * w) }, TRESS_E_SHAPE, "latents is [2, 16, 60], expected [B, 16, h, w]" },
        { { .name = "latents", .d = TR_DIMS(2, 4, h, w) }, TRESS_E_SHAPE, "latents is [2, 4, 6, 10]" },
        { { .name = "latents", .d = TR_DIMS(2, 16, 5, w) }, TRESS_E_SHAPE, "latents is [2, 16, 5, 10]" },
        { { .name = "latents", .d = TR_DIMS(2, 16, 18, w) }, TRESS_E_SHAPE, "latents is [2, 16, 18, 10]" },
        { { .name = "latents", .d = TR_DIMS(1, 16, h, w) }, TRESS_E_SHAPE, "control is [2, 16, 6, 10], expected [1, 16, 6, 10]" },
        { { .name = "noise", .d = TR_DIMS(2, 16, w, h) }, TRESS_E_SHAPE, "noise is [2, 16, 10, 6]" },
        { { .name = "mask", .d = TR_DIMS(2, 16, h, w) }, TRESS_E_SHAPE, "mask is [2, 16, 6, 10]" },
        { { .name = "sigma", .d = TR_DIMS(3) }, TRESS_E_SHAPE, "sigma is [3], expected [2]" },
        { { .name = "sigma", .put = true, .value = 1.5f }, TRESS_E_FORMAT, "sigma holds 1.5, expected 0 to 1" },
        { { .name = "sigma", .put = true, .value = -0.5f, .at = 1 }, TRESS_E_FORMAT, "sigma holds -0.5" },
        { { .name = "mask", .put = true, .value = 2, .at = 7 }, TRESS_E_FORMAT, "mask holds 2, expected 0 to 1" },
        { { .name = "mask", .put = true, .value = NAN }, TRESS_E_FORMAT, "mask" },
        { { .name = "latents", .put = true, .value = NAN, .at = 3 }, TRESS_E_FORMAT, "latents" },
        { { .name = "noise", .put = true, .value = INFINITY, .at = 3 }, TRESS_E_FORMAT, "noise" },
        { { .name = "noise", .put = true, .value = 1e38f, .at = 16 * h * w + 2 }, TRESS_E_NONFINITE, "more than F32 holds" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        write_inputs(&f, &list[i].k);
        expect(&f, &f.train, NULL, 0, list[i].st, list[i].part);
    }
    remove(IN);
    expect(&f, &f.train, NULL, 0, TRESS_E_IO, "api-probe-train.in.safetensors");
    fixture_close(&f);
}

static void bad_options(void **state)
{
    fixture f;
    (void)state;
    fixture_open(&f, "plain");
    write_inputs(&f, NULL);
    write_lora(&f, 0.02, NULL);
    tress_train_args t = f.train;
    t.rank = 0;
    expect(&f, &t, NULL, 0, TRESS_E_ARG, "rank 0");
    t = f.train;
    t.targets = "to_q,to_w";
    expect(&f, &t, NULL, 0, TRESS_E_ARG, "--targets: \"to_w\"");
    t = f.train;
    t.block = (const int[]){ 3 };
    t.n_block = 1;
    expect(&f, &t, NULL, 0, TRESS_E_ARG, "block 3 is to learn, the transformer has blocks 0 to 2");
    t = f.train;
    t.lora_dropout = 1;
    expect(&f, &t, NULL, 0, TRESS_E_ARG, "lora-dropout 1");

    const tress_lora_ref two[] = { { LORA, 1 }, { LORA, 1 } }, half = { LORA, 0.5f }, missing = { FOLDER ".none.safetensors", 1 };
    expect(&f, &f.train, two, 2, TRESS_E_ARG, "train-step begins with one LoRA at most");
    expect(&f, &f.train, &half, 1, TRESS_E_ARG, "its weight is 1");
    expect(&f, &f.train, &missing, 1, TRESS_E_IO, "api-probe-train.none.safetensors");
    t = f.train;
    t.rank = 8;
    expect(&f, &t, two, 1, TRESS_E_SHAPE, "has rank 4, the adapters that learn 8");
    t = f.train;
    t.targets = "to_q,to_k";
    expect(&f, &t, two, 1, TRESS_E_CONTRACT, "is not among the layers that learn");
    write_lora(&f, 0.02, ".to_k.");                         /* a part of the layers is no fault */
    OK(probe(&f, &t, two, 1));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(goldens), cmocka_unit_test(fresh), cmocka_unit_test(bad_inputs),
                                        cmocka_unit_test(bad_options) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
