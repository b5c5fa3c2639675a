/* What a training step must hold beyond the oracle's numbers: the same bytes however much is kept and whoever computes them, dropout
 * whose backward belongs to its forward, half precision that overflows without harm, an average and a state that are what they say,
 * and failures that change nothing. */
#include "small.h"

#include <math.h>

#define FAILS(call, status, part)                                                                   \
    do {                                                                                            \
        const tress_status ok_st = (call);                                                          \
        if (ok_st != (status) || !strstr(tr_message(), part))                                        \
            fail_msg("%s: status %d, expected %d; message \"%s\", expected \"%s\" in it", #call, ok_st, status, tr_message(), part); \
    } while (0)

#define ALL_TARGETS 255
static tr_trainer_spec spec_of(int rank, int targets)
{
    tr_trainer_spec c = TR_TRAINER_SPEC_DEFAULT;
    c.adapter.rank = rank;
    c.adapter.alpha = 4;
    c.adapter.targets = targets;
    return c;
}

static tr_trainer *begin(small *m, const tr_trainer_spec *c, double b_std)
{
    tr_trainer *t = NULL;
    OK(tr_trainer_new(&t, m->stream, m->transformer, m->controlnet, c));
    small_begin(m, t, b_std);
    return t;
}

static float *copy_of(tr_tensor t)
{
    void *p = NULL;
    OK(tr_alloc_array(&p, tr_count(t), sizeof(float)));
    memcpy(p, t.data, (size_t)tr_count(t) * sizeof(float));
    return p;
}
static tr_tensor grads(tr_trainer *t) { return tr_adapters_grads(tr_trainer_adapters(t)); }
static tr_tensor params(tr_trainer *t) { return tr_adapters_params(tr_trainer_adapters(t)); }
static size_t bytes_of(tr_tensor t) { return (size_t)tr_count(t) * sizeof(float); }
static bool all_zero(tr_tensor t)
{
    for (int64_t i = 0; i < tr_count(t); i++)
        if (((const float *)t.data)[i] != 0) return false;
    return true;
}

/* Gradients of one step, and the parameters after it, new. */
typedef struct outcome { float *g, *p; int64_t n; tr_train_loss loss; tr_train_update up; } outcome;
static outcome one_step(small *m, const tr_trainer_spec *c, double b_std, double learning_rate)
{
    static small_inputs x;
    outcome o;
    tr_trainer *t = begin(m, c, b_std);
    const tr_train_batch batch = small_batch(m, &x, 1);
    OK(tr_trainer_accumulate(t, m->stream, &batch, 1, &o.loss, NULL));
    o.n = tr_count(grads(t));
    o.g = copy_of(grads(t));
    OK(tr_trainer_update(t, m->stream, learning_rate, true, &o.up));
    o.p = copy_of(params(t));
    tr_trainer_free(t);
    return o;
}
static void outcome_free(outcome *o)
{
    tr_free(o->g);
    tr_free(o->p);
}
static void same(const outcome *a, const outcome *b, const char *what)
{
    assert_int_equal(a->n, b->n);
    if (memcmp(a->g, b->g, (size_t)a->n * sizeof(float)) != 0) fail_msg("%s: other gradients", what);
    if (memcmp(a->p, b->p, (size_t)a->n * sizeof(float)) != 0) fail_msg("%s: other adapters", what);
    if (memcmp(&a->loss.loss, &b->loss.loss, sizeof(double)) != 0) fail_msg("%s: another loss", what);
}
static void near(double got, double want, double bound, const char *what)
{
    if (!(fabs(got - want) <= bound * fabs(want))) fail_msg("%s: %.9g, expected %.9g within %.2g of it", what, got, want, bound);
}
static void near_all(const float *got, const float *want, int64_t n, double bound, const char *what)
{
    const double e = seeded_error(got, want, n);
    print_message("%-40s %.2g\n", what, e);
    if (!(e <= bound)) fail_msg("%s: relative error %.3g, expected at most %.3g", what, e, bound);
}

static const char *const kinds[] = { "large", "medium", "plain" };

/* ---- the same bytes ---------------------------------------------------------------------------------------- */
static void levels_of_keeping(void **state)
{
    static const tr_dtype precision[] = { TR_F32, TR_F16, TR_F32 };
    static const float dropout[] = { 0, 0, 0.25f };
    (void)state;
    for (int k = 0; k < 3; k++) {
        small m;
        small_open(&m, kinds[k], 2);
        for (int i = 0; i < 3; i++) {
            tr_trainer_spec c = spec_of(3, ALL_TARGETS);
            c.precision = precision[i];
            c.dropout = dropout[i];
            outcome all = one_step(&m, &c, 0.02, 1e-3);
            for (int level = 1; level < 3; level++) {
                c.keep = (tr_keep)level;
                outcome less = one_step(&m, &c, 0.02, 1e-3);
                same(&less, &all, level == 1 ? "attention kept" : "inputs kept");
                outcome_free(&less);
            }
            assert_true(isfinite(all.loss.loss) && all.up.finite && all.up.grad_norm > 0);
            outcome_free(&all);
        }
        small_close(&m);
    }
}

static void threads(void **state)
{
    static const int n_thread[] = { 1, 2, 8 };
    outcome o[3];
    (void)state;
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 3; i++) {
            small m;
            small_open(&m, kinds[k], n_thread[i]);
            tr_trainer_spec c = spec_of(16, ALL_TARGETS);
            c.dropout = 0.1f;
            c.adam8 = k == 1;
            o[i] = one_step(&m, &c, 0.02, 1e-3);
            small_close(&m);
        }
        same(&o[1], &o[0], "two threads");
        same(&o[2], &o[0], "eight threads");
        for (int i = 0; i < 3; i++) outcome_free(&o[i]);
    }
}

/* The passes of generation and of training are the same operations. */
static void loss_alone(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        small m;
        small_inputs x;
        tr_train_loss a, b;
        small_open(&m, kinds[k], 2);
        const tr_trainer_spec c = spec_of(4, ALL_TARGETS);
        tr_trainer *t = begin(&m, &c, 0.1);
        const tr_train_batch batch = small_batch(&m, &x, 1);
        OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &a, NULL));
        float *g = copy_of(grads(t));
        OK(tr_trainer_loss(t, m.stream, &batch, &b));
        near(b.loss, a.loss, 1e-6, "the loss of a forward alone");
        for (int i = 0; i < m.b; i++) near(b.sample[i], a.sample[i], 1e-6, "a sample's loss");
        near(a.loss, (a.sample[0] + a.sample[1]) / 2, 1e-12, "the mean of the samples");
        assert_memory_equal(grads(t).data, g, bytes_of(grads(t)));
        tr_free(g);
        tr_trainer_free(t);
        small_close(&m);
    }
}

/* ---- parts of a batch -------------------------------------------------------------------------------------- */
/* Sample i of a batch, alone. */
static tr_train_batch sample_of(const tr_train_batch *b, int i)
{
    const int64_t cells = b->h * b->w;
    tr_train_batch one = *b;
    one.b = 1;
    one.latents += i * 16 * cells;
    one.control += i * 16 * cells;
    one.noise += i * 16 * cells;
    one.mask += i * cells;
    one.sigma += i;
    return one;
}

/* Each gradient is 1e-6 from exact (the oracle); other batches take other paths through the products. */
static void halves(void **state)
{
    small m;
    small_inputs x;
    tr_train_loss loss, half[2];
    (void)state;
    small_open(&m, "large", 2);
    const tr_trainer_spec c = spec_of(4, ALL_TARGETS);
    tr_trainer *t = begin(&m, &c, 0.02);
    tr_train_update up;
    const tr_train_batch batch = small_batch(&m, &x, 1);
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    float *whole = copy_of(grads(t));
    OK(tr_trainer_update(t, m.stream, 0, true, &up));
    assert_true(all_zero(grads(t)));
    for (int i = 0; i < 2; i++) {
        const tr_train_batch one = sample_of(&batch, i);
        OK(tr_trainer_accumulate(t, m.stream, &one, 0.5, &half[i], NULL));
        near(half[i].loss, loss.sample[i], 1e-6, "a sample alone");
    }
    near_all(grads(t).data, whole, tr_count(grads(t)), 5e-6, "two halves");
    tr_free(whole);
    tr_trainer_free(t);
    small_close(&m);
}

static void other_sizes(void **state)
{
    small m;
    small_inputs x, y;
    tr_train_loss loss;
    tr_train_update up;
    (void)state;
    small_open(&m, "medium", 2);
    const tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    tr_trainer *t = begin(&m, &c, 0.02);
    const tr_train_batch batch = small_batch(&m, &x, 1);
    tr_train_batch other = small_batch(&m, &y, 2);
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    float *first = copy_of(grads(t));
    other.b = 1;
    other.h = 4;
    other.w = 14;
    OK(tr_trainer_update(t, m.stream, 0, true, &up));
    OK(tr_trainer_accumulate(t, m.stream, &other, 1, &loss, NULL));
    assert_true(isfinite(loss.loss) && loss.loss > 0);
    OK(tr_trainer_update(t, m.stream, 0, true, &up));
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    assert_memory_equal(grads(t).data, first, bytes_of(grads(t)));
    tr_free(first);
    tr_trainer_free(t);
    small_close(&m);
}

/* ---- sketches and masks ------------------------------------------------------------------------------------ */
static void no_sketch(void **state)
{
    small m;
    small_inputs x;
    tr_train_loss loss[4];
    const bool none[SMALL_BATCH] = { true, true };
    (void)state;
    small_open(&m, "large", 2);
    const tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    tr_trainer *t = begin(&m, &c, 0.02);
    tr_train_batch batch = small_batch(&m, &x, 1);
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[0]));
    batch.no_sketch = none;
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[1]));
    batch.no_sketch = NULL;
    batch.control = NULL;
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[2]));
    tr_trainer_free(t);
    tr_controlnet *net = m.controlnet;
    m.controlnet = NULL;
    t = begin(&m, &c, 0.02);
    batch.control = x.control;
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[3]));
    m.controlnet = net;
    assert_true(loss[0].loss != loss[1].loss);
    assert_true(loss[1].loss == loss[2].loss && loss[2].loss == loss[3].loss);
    tr_trainer_free(t);
    small_close(&m);
}

static void masks(void **state)
{
    small m;
    small_inputs x;
    tr_train_loss loss, ones;
    tr_train_update up;
    (void)state;
    small_open(&m, "plain", 2);
    tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    /* nothing to learn from: nothing is learnt, and nothing divided by 0 */
    for (int normalize = 0; normalize < 3; normalize++) {
        c.normalize = (tr_mask_normalize)normalize;
        c.adapter.alpha = 4;
        tr_trainer *t = begin(&m, &c, 0.02);
        const tr_train_batch batch = small_batch(&m, &x, 1);
        memset(x.mask, 0, sizeof x.mask);
        OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
        assert_true(loss.loss == 0 && loss.sample[0] == 0 && loss.sample[1] == 0 && loss.i_bad == -1);
        assert_int_equal(loss.n_empty, 2);
        assert_true(all_zero(grads(t)));
        OK(tr_trainer_update(t, m.stream, 1e-3, true, &up));
        assert_true(up.finite && up.grad_norm == 0);
        tr_trainer_free(t);
    }
    c.normalize = TR_MASK_PER_SAMPLE;                                   /* a floor of 1 under the mask is a mask of 1 */
    c.unmasked_weight = 1;
    tr_trainer *t = begin(&m, &c, 0.02);
    tr_train_batch batch = small_batch(&m, &x, 1);
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    assert_int_equal(loss.n_empty, 0);
    float *g = copy_of(grads(t));
    tr_trainer_free(t);
    c.unmasked_weight = 0;
    t = begin(&m, &c, 0.02);
    for (int64_t i = 0; i < m.b * m.h * m.w; i++) x.mask[i] = 1;
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &ones, NULL));
    assert_true(loss.loss == ones.loss);
    assert_memory_equal(grads(t).data, g, bytes_of(grads(t)));
    tr_free(g);
    tr_trainer_free(t);
    small_close(&m);
}

/* One row of text with the logarithm of its number is so many rows. Gradients are 1e-5 from exact either way: those of the text's layers
 * are sums over all rows. */
static void rows_of_text(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        small m;
        small_open(&m, kinds[k], 2);
        tr_trainer_spec c = spec_of(4, ALL_TARGETS);
        outcome one = one_step(&m, &c, 0.02, 0);
        c.zero_text_long = true;
        outcome all = one_step(&m, &c, 0.02, 0);
        near(one.loss.loss, all.loss.loss, 1e-6, "one row's loss");
        near_all(one.g, all.g, all.n, 2e-5, "one row's gradients");
        c.zero_text_long = false;
        c.zero_text_rows = 77;
        outcome fewer = one_step(&m, &c, 0.02, 0);
        assert_true(fabs(fewer.loss.loss - one.loss.loss) > 1e-5 * one.loss.loss);
        outcome_free(&one);
        outcome_free(&all);
        outcome_free(&fewer);
        small_close(&m);
    }
}

/* ---- dropout ----------------------------------------------------------------------------------------------- */
/* For each tensor of the adapters the slope of the loss along its own gradient g, which is |g|, from steps of h both ways with the same
 * draw. A loss is 1e-7 from exact, and h is chosen so that the two differ by 1e-4 of it: 2e-3 of the slope, and parts of the third degree
 * stay below 1e-2 (ten times the h makes them 6e-2). A backward that drops other elements is off by about the share of what is dropped,
 * one half, in its own layer and by a tenth below, where the adapter's part of the way down is smaller than the layer's. */
static void dropout(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        small m;
        small_inputs x;
        tr_train_loss loss, more, less;
        double worst = 0;
        small_open(&m, kinds[k], 2);
        tr_trainer_spec c = spec_of(4, ALL_TARGETS);
        c.dropout = 0.5f;
        c.seed = 11;
        tr_trainer *t = begin(&m, &c, 0.3);
        const tr_train_batch batch = small_batch(&m, &x, 1);
        OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
        float *g = copy_of(grads(t)), *p = copy_of(params(t));
        tr_adapters *a = tr_trainer_adapters(t);
        int64_t at = 0;
        for (int i = 0; i < tr_adapters_count(a); i++) {
            const int64_t n = tr_count(tr_adapters_param(a, i));
            float *to = tr_adapters_param(a, i).data;
            double norm = 0;
            for (int64_t j = 0; j < n; j++) norm += (double)g[at + j] * (double)g[at + j];
            norm = sqrt(norm);
            assert_true(norm > 0);
            const double h = 5e-5 * loss.loss / norm;
            for (int64_t j = 0; j < n; j++) to[j] = p[at + j] + (float)(h * (double)g[at + j] / norm);
            OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &more, NULL));
            for (int64_t j = 0; j < n; j++) to[j] = p[at + j] - (float)(h * (double)g[at + j] / norm);
            OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &less, NULL));
            memcpy(to, p + at, (size_t)n * sizeof(float));
            const double slope = (more.loss - less.loss) / (2 * h), e = fabs(slope - norm) / norm;
            if (!(e <= 0.02)) fail_msg("%s: %s: slope %.6g, its gradient has the norm %.6g", kinds[k], tr_adapters_name(a, i), slope, norm);
            worst = e > worst ? e : worst;
            at += n;
        }
        print_message("%-7s dropout: worst slope %.2g\n", kinds[k], worst);
        tr_free(g);
        tr_free(p);
        tr_trainer_free(t);
        small_close(&m);
    }
}

static void draws(void **state)
{
    small m;
    small_inputs x;
    tr_train_loss loss[6];
    (void)state;
    small_open(&m, "large", 2);
    tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    const struct { float p; uint64_t seed, draw; } run[] = { { 0.5f, 1, 1 }, { 0.5f, 1, 1 }, { 0.5f, 1, 2 }, { 0.5f, 2, 1 }, { 0, 1, 1 },
                                                             { 0, 2, 2 } };
    for (int i = 0; i < 6; i++) {
        c.dropout = run[i].p;
        c.seed = run[i].seed;
        tr_trainer *t = begin(&m, &c, 0.1);
        tr_train_batch batch = small_batch(&m, &x, 1);
        batch.draw = run[i].draw;
        OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss[i], NULL));
        if (i == 0) {                                       /* validation drops nothing */
            tr_train_loss v;
            OK(tr_trainer_loss(t, m.stream, &batch, &v));
            loss[5] = v;
        } else if (i == 4) {
            near(loss[5].loss, loss[4].loss, 1e-6, "a loss without dropout");
        }
        tr_trainer_free(t);
    }
    assert_true(loss[0].loss == loss[1].loss);
    assert_true(loss[0].loss != loss[2].loss && loss[0].loss != loss[3].loss && loss[2].loss != loss[3].loss);
    assert_true(loss[0].loss != loss[4].loss);
    assert_true(loss[4].loss == loss[5].loss);
    small_close(&m);
}

/* ---- half precision ---------------------------------------------------------------------------------------- */
/* Tokens, text and what leaves each block are rounded: n_block + 1 independent errors of u on the way to the velocity, so
 * 2 sqrt(n_block + 1) u of the loss; as many again on the way back, and each layer's gradient is a product of the two: 4 sqrt(n_block + 1) u of the gradients,
 * where cancellation in the softmax doubles what it is given. */
static void half_precision(void **state)
{
    static const struct { tr_dtype t; double u; const char *name; } half[] = { { TR_F16, 0x1p-11, "F16" }, { TR_BF16, 0x1p-8, "BF16" } };
    (void)state;
    for (int k = 0; k < 3; k++) {
        small m;
        small_open(&m, kinds[k], 2);
        tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
        outcome whole = one_step(&m, &c, 0.02, 0);
        const double n = sqrt(tr_mmdit_get_config(m.transformer)->n_block + 1.0);
        for (int i = 0; i < 2; i++) {
            c.precision = half[i].t;
            outcome o = one_step(&m, &c, 0.02, 0);
            const double scale = half[i].t == TR_F16 ? TR_SCALE_FIRST : 1;
            assert_true(o.loss.loss != whole.loss.loss);
            near(o.loss.loss, whole.loss.loss, 2 * n * half[i].u, half[i].name);
            for (int64_t j = 0; j < o.n; j++) o.g[j] = (float)((double)o.g[j] / scale);
            near_all(o.g, whole.g, o.n, 8 * n * half[i].u, half[i].name);
            near(o.up.grad_norm, whole.up.grad_norm, 8 * n * half[i].u, "the norm without the loss scale");
            outcome_free(&o);
        }
        outcome_free(&whole);
        small_close(&m);
    }
}

/* A loss that is not finite: told, nothing added, the step not taken, the scale halved. */
static void overflow(void **state)
{
    small m;
    small_inputs x, y;
    tr_train_loss loss;
    tr_train_update up;
    (void)state;
    small_open(&m, "large", 2);
    tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    c.precision = TR_F16;
    tr_trainer *t = begin(&m, &c, 0.02);
    const tr_train_batch batch = small_batch(&m, &x, 1), large = small_batch(&m, &y, 2);
    const int64_t one = 16 * m.h * m.w;
    for (int64_t i = 0; i < one; i++) y.latents[one + i] *= 1e6f;       /* the second sample: tokens beyond 65504 */
    OK(tr_trainer_accumulate(t, m.stream, &batch, 0.5, &loss, NULL));
    assert_int_equal(loss.i_bad, -1);
    float *g = copy_of(grads(t)), *p = copy_of(params(t));
    OK(tr_trainer_accumulate(t, m.stream, &large, 0.5, &loss, NULL));
    assert_true(!isfinite(loss.loss) && isfinite(loss.sample[0]) && !isfinite(loss.sample[1]));
    assert_int_equal(loss.i_bad, 1);
    assert_memory_equal(grads(t).data, g, bytes_of(grads(t)));
    OK(tr_trainer_loss(t, m.stream, &batch, &loss));
    assert_int_equal(loss.i_bad, -1);
    OK(tr_trainer_update(t, m.stream, 1e-3, false, &up));
    assert_true(!up.finite && up.bad_block == -1);
    assert_memory_equal(params(t).data, p, bytes_of(params(t)));
    assert_true(all_zero(grads(t)));
    assert_true(tr_trainer_scale(t)->scale == TR_SCALE_FIRST / 2);
    assert_int_equal(tr_trainer_taken(t), 0);

    /* Gradients that overflow where the loss did not: the last block is the first to have them. */
    tr_trainer_scale(t)->scale = 0x1p100;
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    assert_int_equal(loss.i_bad, -1);
    OK(tr_trainer_update(t, m.stream, 1e-3, true, &up));
    assert_true(!up.finite);
    assert_int_equal(up.bad_block, 3);
    assert_memory_equal(params(t).data, p, bytes_of(params(t)));
    assert_true(all_zero(grads(t)));
    assert_true(tr_trainer_scale(t)->scale == 0x1p99);
    tr_trainer_scale(t)->scale = TR_SCALE_FIRST;
    OK(tr_trainer_accumulate(t, m.stream, &batch, 0.5, &loss, NULL));
    assert_memory_equal(grads(t).data, g, bytes_of(grads(t)));
    OK(tr_trainer_update(t, m.stream, 1e-3, true, &up));
    assert_true(up.finite && tr_trainer_scale(t)->scale == TR_SCALE_FIRST && tr_trainer_taken(t) == 1);
    assert_memory_not_equal(params(t).data, p, bytes_of(params(t)));

    /* In fp32 there is no scale to change, and no sample that is to blame but the one that is. */
    tr_trainer_free(t);
    c.precision = TR_F32;
    t = begin(&m, &c, 0.02);
    y.noise[0] = INFINITY;
    OK(tr_trainer_accumulate(t, m.stream, &large, 1, &loss, NULL));
    assert_int_equal(loss.i_bad, 0);
    OK(tr_trainer_update(t, m.stream, 1e-3, false, &up));
    assert_true(tr_trainer_scale(t)->scale == 1);
    tr_free(g);
    tr_free(p);
    tr_trainer_free(t);
    small_close(&m);
}

/* The loss scale goes into the gradients and out again: by powers of two, to the same bytes. */
static void loss_scale(void **state)
{
    small m;
    small_inputs x;
    tr_train_loss loss;
    tr_train_update up;
    (void)state;
    small_open(&m, "plain", 2);
    const tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    outcome plain = one_step(&m, &c, 0.02, 1e-3);
    tr_trainer *t = begin(&m, &c, 0.02);
    const tr_train_batch batch = small_batch(&m, &x, 1);
    tr_trainer_scale(t)->scale = 1024;
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    assert_memory_not_equal(grads(t).data, plain.g, bytes_of(grads(t)));
    OK(tr_trainer_unscale(t, m.stream));
    assert_memory_equal(grads(t).data, plain.g, bytes_of(grads(t)));
    assert_true(tr_trainer_scale(t)->scale == 1);
    OK(tr_trainer_update(t, m.stream, 1e-3, true, &up));
    assert_memory_equal(params(t).data, plain.p, bytes_of(params(t)));
    tr_trainer_free(t);

    t = begin(&m, &c, 0.02);                                /* and out of the step, without being asked */
    tr_trainer_scale(t)->scale = 1024;
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    OK(tr_trainer_update(t, m.stream, 1e-3, true, &up));
    assert_memory_equal(params(t).data, plain.p, bytes_of(params(t)));
    assert_true(up.grad_norm == plain.up.grad_norm);
    outcome_free(&plain);
    tr_trainer_free(t);
    small_close(&m);
}

/* ---- over several steps ------------------------------------------------------------------------------------- */
static void steps(small *m, tr_trainer *t, int first, int n, double learning_rate)
{
    static small_inputs x;
    tr_train_loss loss;
    tr_train_update up;
    for (int i = first; i < first + n; i++) {
        const tr_train_batch batch = small_batch(m, &x, i);
        OK(tr_trainer_accumulate(t, m->stream, &batch, 1, &loss, NULL));
        OK(tr_trainer_update(t, m->stream, learning_rate, true, &up));
        assert_true(up.finite);
    }
}

/* average = ema average + (1 - ema) p after each step, in float64 here; four roundings of fp32 a step. The LoRA is made of it, and the
 * transformer computes with it for as long as it is told to. */
static void average(void **state)
{
    enum { N_STEP = 6 };
    small m;
    small_inputs x;
    tr_train_loss loss[4];
    tr_train_update up;
    tr_lora *l = NULL;
    (void)state;
    small_open(&m, "large", 2);
    tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    c.ema = 0.8;
    tr_trainer *t = NULL;
    OK(tr_trainer_new(&t, m.stream, m.transformer, m.controlnet, &c));
    const int64_t n = tr_count(params(t));
    double *want = NULL;
    OK(tr_alloc_array((void **)&want, n, sizeof *want));
    for (int64_t j = 0; j < n; j++) want[j] = (double)((const float *)params(t).data)[j];
    for (int i = 1; i <= N_STEP; i++) {
        steps(&m, t, i, 1, 1e-2);
        for (int64_t j = 0; j < n; j++) want[j] = 0.8 * want[j] + (1 - 0.8) * (double)((const float *)params(t).data)[j];
    }
    float *p = copy_of(params(t));
    const tr_train_batch batch = small_batch(&m, &x, 1);
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[0]));
    OK(tr_trainer_use_average(t, m.stream, true));
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[1]));
    OK(tr_trainer_lora(&l, t, m.stream));
    tr_lora_close(l);
    l = NULL;
    tr_adapters_attach(tr_trainer_adapters(t), false);      /* as when the base draws: the average stays in place */
    tr_adapters_attach(tr_trainer_adapters(t), true);
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[2]));
    assert_true(loss[2].loss == loss[1].loss);
    OK(tr_trainer_use_average(t, m.stream, false));
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[2]));
    assert_true(loss[2].loss == loss[0].loss && loss[1].loss != loss[0].loss);
    assert_memory_equal(params(t).data, p, bytes_of(params(t)));

    OK(tr_trainer_lora(&l, t, m.stream));
    tr_adapters *k = tr_trainer_adapters(t);
    int64_t at = 0;
    for (int i = 0; i < tr_adapters_count(k); i++) {
        for (int64_t j = 0; j < tr_count(tr_adapters_param(k, i)); j++) ((float *)tr_adapters_param(k, i).data)[j] = (float)want[at + j];
        at += tr_count(tr_adapters_param(k, i));
    }
    OK(tr_trainer_loss(t, m.stream, &batch, &loss[3]));
    near(loss[1].loss, loss[3].loss, 1e-6, "the loss of the average");
    assert_int_equal(tr_lora_count(l), tr_adapters_count(k) / 2);
    for (int i = 0; i < tr_lora_count(l); i++) {            /* sorted by layer; alpha is the rank: nothing to fold */
        const tr_lora_pair *pair = tr_lora_at(l, i);
        for (int q = 0; q < tr_adapters_count(k); q++) {
            char name[256];
            snprintf(name, sizeof name, "transformer.%s.lora_%c.weight", pair->layer, q % 2 ? 'B' : 'A');
            if (strcmp(name, tr_adapters_name(k, q)) != 0) continue;
            const double e = seeded_error((q % 2 ? pair->up : pair->a).data, tr_adapters_param(k, q).data,
                                          tr_count(tr_adapters_param(k, q)));
            if (!(e <= 4 * N_STEP * 0x1p-24)) fail_msg("%s: the average is %.3g from its formula", name, e);
        }
    }
    tr_lora_close(l);
    tr_trainer_free(t);

    c.ema = 0.9999;                                         /* what does not move has itself as its average */
    OK(tr_trainer_new(&t, m.stream, m.transformer, m.controlnet, &c));
    memcpy(p, params(t).data, bytes_of(params(t)));
    for (int i = 0; i < 100; i++) OK(tr_trainer_update(t, m.stream, 0, true, &up));
    OK(tr_trainer_lora(&l, t, m.stream));
    k = tr_trainer_adapters(t);
    for (int i = 0; i < tr_lora_count(l); i++)
        for (int q = 0; q < tr_adapters_count(k); q += 2)
            if (strstr(tr_adapters_name(k, q), tr_lora_at(l, i)->layer))
                assert_memory_equal(tr_lora_at(l, i)->a.data, tr_adapters_param(k, q).data, bytes_of(tr_adapters_param(k, q)));
    tr_lora_close(l);
    tr_free(p);
    tr_free(want);
    tr_trainer_free(t);
    small_close(&m);
}

/* Thirty steps on one batch: both kinds of moments bring its loss down, and by about as much. */
static void eight_bits(void **state)
{
    double last[2] = { 0 };
    (void)state;
    for (int i = 0; i < 2; i++) {
        small m;
        small_inputs x;
        tr_train_loss loss;
        tr_train_update up;
        double first = 0;
        small_open(&m, "large", 2);
        tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
        c.adam8 = i == 1;
        c.max_grad_norm = 0;
        tr_trainer *t = begin(&m, &c, 0);
        const tr_train_batch batch = small_batch(&m, &x, 1);
        for (int n = 0; n < 30; n++) {
            OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
            if (n == 0) first = loss.loss;
            OK(tr_trainer_update(t, m.stream, 3e-3, true, &up));
        }
        OK(tr_trainer_loss(t, m.stream, &batch, &loss));
        print_message("%s: loss %.4f -> %.4f\n", i ? "8 bits" : "32 bits", first, loss.loss);
        last[i] = first - loss.loss;
        assert_true(last[i] > 0.02 * first);
        tr_trainer_free(t);
        small_close(&m);
    }
    near(last[1], last[0], 0.1, "what 8 bits learn");
}

/* max_grad_norm: at most that goes into the moments; 0: all of it. The first moment after one step is (1 - beta1) g. */
static void clipping(void **state)
{
    small m;
    (void)state;
    small_open(&m, "large", 2);
    tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    c.max_grad_norm = 0;
    c.epsilon = 0.999;                                      /* the step is nearly lr g: it shows by how much g was multiplied */
    c.weight_decay = 0;
    outcome free_of = one_step(&m, &c, 0.02, 1);
    const double limit = free_of.up.grad_norm / 8;
    c.max_grad_norm = limit;
    outcome clipped = one_step(&m, &c, 0.02, 1);
    c.max_grad_norm = free_of.up.grad_norm * 1.01;
    outcome loose = one_step(&m, &c, 0.02, 1);
    same(&loose, &free_of, "a limit above the norm");
    c.max_grad_norm = 0;
    outcome still = one_step(&m, &c, 0.02, 0);
    double by = 0, all = 0;
    for (int64_t j = 0; j < free_of.n; j++) {
        const double from = (double)still.p[j];
        by += fabs((double)clipped.p[j] - from);
        all += fabs((double)free_of.p[j] - from);
    }
    near(by / all, 1.0 / 8, 0.05, "a clipped step");        /* the root beside epsilon bends it a little */
    assert_true(clipped.up.grad_norm == free_of.up.grad_norm);
    outcome_free(&free_of);
    outcome_free(&clipped);
    outcome_free(&loose);
    outcome_free(&still);
    small_close(&m);
}

/* Three steps, state out, into a fresh trainer, a fourth step: the same bytes as four steps. */
static void state_goes_round(void **state)
{
    static const struct { bool adam8; double ema; } variant[] = { { false, 0 }, { true, 0.9 }, { false, 0.9 } };
    (void)state;
    for (int i = 0; i < 3; i++) {
        small m;
        tr_trainer_state kept = { 0 }, four = { 0 }, again = { 0 };
        small_open(&m, "medium", 2);
        tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
        c.adam8 = variant[i].adam8;
        c.ema = variant[i].ema;
        c.dropout = 0.1f;
        tr_trainer *t = begin(&m, &c, 0.02);
        steps(&m, t, 1, 3, 1e-3);
        OK(tr_trainer_state_get(&kept, t, m.stream));
        const int64_t n_alloc = tr_mem_now().n_alloc;
        OK(tr_trainer_state_get(&kept, t, m.stream));
        assert_int_equal(tr_mem_now().n_alloc, n_alloc);
        const int n = tr_adapters_count(tr_trainer_adapters(t));
        assert_int_equal(kept.n, (c.adam8 ? n + 4 : 3 * n) + (c.ema > 0 ? n : 0));
        for (int k = 0; k < n; k++) {
            char name[256];
            snprintf(name, sizeof name, "lora.%s", tr_adapters_name(tr_trainer_adapters(t), k));
            assert_string_equal(kept.list[k].name, name);
            assert_memory_equal(kept.list[k].t.data, tr_adapters_param(tr_trainer_adapters(t), k).data,
                                bytes_of(tr_adapters_param(tr_trainer_adapters(t), k)));
        }
        if (c.adam8) assert_string_equal(kept.list[kept.n - 4].name, "adam8.m");
        else assert_true(strncmp(kept.list[n].name, "adam.m.transformer.", 19) == 0 && strncmp(kept.list[2 * n].name, "adam.v.", 7) == 0);
        const int64_t taken = tr_trainer_taken(t);
        assert_int_equal(taken, 3);
        steps(&m, t, 4, 1, 1e-3);
        OK(tr_trainer_state_get(&four, t, m.stream));
        tr_trainer_free(t);

        OK(tr_trainer_new(&t, m.stream, m.transformer, m.controlnet, &c));
        OK(tr_trainer_state_set(t, m.stream, &kept, taken));
        steps(&m, t, 4, 1, 1e-3);
        OK(tr_trainer_state_get(&again, t, m.stream));
        assert_int_equal(tr_trainer_taken(t), 4);
        assert_int_equal(again.n, four.n);
        for (int k = 0; k < four.n; k++) {
            const size_t bytes = (size_t)tr_count(four.list[k].t) * tr_dtype_size(four.list[k].t.dtype);
            assert_string_equal(again.list[k].name, four.list[k].name);
            if (memcmp(again.list[k].t.data, four.list[k].t.data, bytes) != 0)
                fail_msg("%s is another after a step from a state", four.list[k].name);
        }
        tr_trainer_free(t);
        tr_trainer_state_fini(&kept);
        tr_trainer_state_fini(&four);
        tr_trainer_state_fini(&again);
        assert_int_equal(kept.n, 0);
        small_close(&m);
    }
}

/* ---- failures ----------------------------------------------------------------------------------------------- */
static void bad_batches(void **state)
{
    small m;
    static small_inputs x;
    tr_train_loss loss;
    float sigma[TR_TRAIN_BATCH_MAX + 1] = { 0 };
    (void)state;
    small_open(&m, "large", 2);
    const tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    tr_trainer *t = begin(&m, &c, 0.02);
    const tr_train_batch good = small_batch(&m, &x, 1);
    OK(tr_trainer_accumulate(t, m.stream, &good, 1, &loss, NULL));
    float *g = copy_of(grads(t));
#define BAD(change, status, part)                                                                    \
    do {                                                                                             \
        tr_train_batch b = small_batch(&m, &x, 1);                                                   \
        change;                                                                                      \
        FAILS(tr_trainer_accumulate(t, m.stream, &b, 1, &loss, NULL), status, part);                 \
        FAILS(tr_trainer_loss(t, m.stream, &b, &loss), status, part);                                \
        assert_memory_equal(grads(t).data, g, bytes_of(grads(t)));                                   \
    } while (0)
    BAD(x.sigma[1] = -0.01f, TRESS_E_ARG, "sigma -0.01, expected 0 to 1");
    BAD(x.sigma[1] = 1.01f, TRESS_E_ARG, "sigma 1.01, expected 0 to 1");
    BAD(x.sigma[0] = NAN, TRESS_E_ARG, "sigma nan, expected 0 to 1");
    BAD(x.mask[m.h * m.w] = -0.5f, TRESS_E_ARG, "mask: found -0.5, expected 0 to 1");
    BAD(x.mask[2 * m.h * m.w - 1] = 1.5f, TRESS_E_ARG, "mask: found 1.5, expected 0 to 1");
    BAD(x.mask[0] = NAN, TRESS_E_ARG, "mask: found nan, expected 0 to 1");
    BAD(b.b = 0, TRESS_E_ARG, "a batch of 0 samples, expected 1 to 256");
    BAD((b.b = TR_TRAIN_BATCH_MAX + 1, b.sigma = sigma), TRESS_E_ARG, "a batch of 257 samples, expected 1 to 256");
    BAD(b.h = 5, TRESS_E_SHAPE, "a latent of 10 x 5 (width x height): each side must be a multiple of 2 and at most 16");
    BAD(b.w = 9, TRESS_E_SHAPE, "a latent of 9 x 6 (width x height)");
    BAD((b.b = 1, b.h = 2, b.w = 18), TRESS_E_SHAPE, "a latent of 18 x 2 (width x height)");
    BAD((b.b = 1, b.h = 18, b.w = 2), TRESS_E_SHAPE, "at most 16");
    BAD((b.b = 1, b.h = 0), TRESS_E_SHAPE, "a latent of 10 x 0");
#undef BAD
    OK(tr_trainer_loss(t, m.stream, &good, &loss));         /* the borders themselves are good */
    const tr_train_batch b = small_batch(&m, &x, 1);
    x.sigma[0] = 0;
    x.sigma[1] = 1;
    OK(tr_trainer_loss(t, m.stream, &b, &loss));
    assert_true(isfinite(loss.loss));
    tr_free(g);
    tr_trainer_free(t);
    small_close(&m);
}

static void bad_settings(void **state)
{
    small m;
    tr_trainer *t = NULL;
    (void)state;
    small_open(&m, "large", 2);
#define BAD(change, part)                                                                            \
    do {                                                                                             \
        tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);                                             \
        c.change;                                                                                    \
        FAILS(tr_trainer_new(&t, m.stream, m.transformer, m.controlnet, &c), TRESS_E_ARG, part);     \
        assert_null(t);                                                                              \
    } while (0)
    BAD(dropout = 1, "lora-dropout 1, expected at least 0 and below 1");
    BAD(dropout = -0.1f, "lora-dropout");
    BAD(dropout = NAN, "lora-dropout");
    BAD(unmasked_weight = 1.5f, "unmasked-weight 1.5, expected 0 to 1");
    BAD(beta1 = 1, "beta1");
    BAD(beta2 = NAN, "beta2");
    BAD(epsilon = 0, "epsilon");
    BAD(weight_decay = -1, "weight-decay");
    BAD(max_grad_norm = INFINITY, "max-grad-norm");
    BAD(ema = 1, "ema");
    BAD(zero_text_rows = 0, "zero-text-rows 0, expected 1 to 4096");
    BAD(zero_text_rows = 5000, "zero-text-rows");
    BAD(adapter.rank = 0, "rank 0");
#undef BAD
    small_close(&m);
}

typedef struct countdown { int n, left; } countdown;
static bool count_down(void *self)
{
    countdown *c = self;
    c->n++;
    return c->left > 0 && --c->left == 0;
}

/* A step can be stopped before every block, there and back, and tried again. */
static void cancelled(void **state)
{
    small m;
    small_inputs x;
    tr_train_loss loss;
    tr_train_update up;
    countdown all = { 0 };
    (void)state;
    small_open(&m, "large", 2);
    const tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
    outcome want = one_step(&m, &c, 0.02, 1e-3);
    tr_trainer *t = begin(&m, &c, 0.02);
    const tr_train_batch batch = small_batch(&m, &x, 1);
    tr_stream_set_cancel(m.stream, count_down, &all);
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    const int n_block = tr_mmdit_get_config(m.transformer)->n_block;
    assert_true(all.n >= 2 * n_block);
    for (int i = 1; i <= all.n; i++) {
        countdown c1 = { .left = i };
        OK(tr_trainer_update(t, m.stream, 1e-3, false, &up));       /* what was added is dropped like a bad step */
        tr_trainer_scale(t)->n_bad = 0;
        tr_stream_set_cancel(m.stream, count_down, &c1);
        FAILS(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL), TRESS_E_CANCELLED, "cancelled");
        assert_int_equal(c1.n, i);
        if (i <= all.n - n_block + 1) assert_true(all_zero(grads(t)));      /* nothing is added on the way there */
    }
    tr_stream_set_cancel(m.stream, NULL, NULL);
    OK(tr_trainer_update(t, m.stream, 1e-3, false, &up));
    OK(tr_trainer_accumulate(t, m.stream, &batch, 1, &loss, NULL));
    assert_memory_equal(grads(t).data, want.g, bytes_of(grads(t)));
    outcome_free(&want);
    tr_trainer_free(t);
    small_close(&m);
}

/* ---- memory ------------------------------------------------------------------------------------------------- */
static void no_allocations(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        small m;
        small_inputs x;
        tr_train_loss loss;
        tr_train_update up;
        static float v[SMALL_BATCH * 16 * SMALL_CELLS];
        int64_t n_alloc = 0;
        small_open(&m, kinds[i % 3], 2);
        tr_trainer_spec c = spec_of(4, i < 3 ? TR_TARGET_IMAGE : ALL_TARGETS);
        c.keep = (tr_keep)(i % 3);
        c.dropout = i < 3 ? 0 : 0.1f;
        c.precision = i == 4 ? TR_F16 : TR_F32;
        c.adam8 = i == 5;
        c.ema = i == 1 || i == 5 ? 0.9 : 0;
        c.unmasked_weight = i == 2 ? 0.1f : 0;
        tr_trainer *t = begin(&m, &c, 0.02);
        for (int n = 1; n <= 4; n++) {
            const tr_train_batch batch = small_batch(&m, &x, n);
            OK(tr_trainer_accumulate(t, m.stream, &batch, 0.5, &loss, v));
            OK(tr_trainer_accumulate(t, m.stream, &batch, 0.5, &loss, NULL));
            OK(tr_trainer_update(t, m.stream, 1e-3, true, &up));
            OK(tr_trainer_use_average(t, m.stream, true));
            OK(tr_trainer_loss(t, m.stream, &batch, &loss));
            OK(tr_trainer_use_average(t, m.stream, false));
            if (n == 1) n_alloc = tr_mem_now().n_alloc;
        }
        assert_int_equal(tr_mem_now().n_alloc, n_alloc);
        tr_trainer_free(t);
        small_close(&m);
    }
}

/* A trainer and a step with its nth allocation failing, for every n: out of memory is what is told, nothing is left behind, and the same
 * networks do it right when there is memory again. */
static void out_of_memory(void **state)
{
    static const struct { const char *kind; bool adam8; float dropout; double ema; } variant[] = {
        { "plain", false, 0, 0.9 }, { "medium", true, 0.1f, 0.9 } };
    (void)state;
    for (int i = 0; i < 2; i++) {
        small m;
        static small_inputs x;
        int n_failed = 0;
        small_open(&m, variant[i].kind, 2);
        tr_trainer_spec c = spec_of(4, TR_TARGET_IMAGE);
        c.adam8 = variant[i].adam8;
        c.dropout = variant[i].dropout;
        c.ema = variant[i].ema;
        c.keep = i ? TR_KEEP_INPUT : TR_KEEP_ALL;
        const tr_train_batch batch = small_batch(&m, &x, 1);
        const tr_mmdit_config config = *tr_mmdit_get_config(m.transformer);
        for (int64_t n = 1; n < 1000; n++) {
            tr_mmdit *model = NULL;                         /* new ones: they keep what a first step allocates */
            tr_stream *s = NULL;
            tr_trainer *t = NULL;
            tr_trainer_state kept = { 0 };
            tr_train_loss loss;
            tr_train_update up;
            const int64_t bytes = tr_mem_now().bytes;
            OK(tr_mmdit_open(&model, m.device, m.weights[0], &config));
            OK(tr_stream_new(&s, m.device));
            tr_mem_fail_at(n);
            tress_status st = tr_trainer_new(&t, s, model, m.controlnet, &c);
            if (st == TRESS_OK) st = tr_trainer_accumulate(t, s, &batch, 1, &loss, NULL);
            if (st == TRESS_OK) st = tr_trainer_update(t, s, 1e-3, true, &up);
            if (st == TRESS_OK) st = tr_trainer_state_get(&kept, t, s);
            if (st != TRESS_OK) assert_int_equal(kept.n, 0);
            tr_mem_fail_at(0);
            if (st != TRESS_OK && st != TRESS_E_OOM) fail_msg("allocation %d failed: status %d: %s", (int)n, st, tr_message());
            tr_trainer_free(t);
            for (int k = 0; k < tr_mmdit_layer_count(model); k++)
                assert_true(tr_is_none(tr_mmdit_layer(model, k)->a) && tr_is_none(tr_mmdit_layer(model, k)->da));
            if (st != TRESS_OK && n % 8 == 0) {             /* the same networks, with memory */
                OK(tr_trainer_new(&t, s, model, m.controlnet, &c));
                OK(tr_trainer_accumulate(t, s, &batch, 1, &loss, NULL));
                tr_trainer_free(t);
            }
            tr_trainer_state_fini(&kept);
            tr_stream_free(s);
            tr_mmdit_close(model);
            assert_int_equal(tr_mem_now().bytes, bytes);
            if (st == TRESS_OK) break;
            n_failed++;
        }
        print_message("%s: %d allocations failed\n", variant[i].kind, n_failed);
        assert_in_range(n_failed, 20, 900);
        small_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_of_keeping), cmocka_unit_test(threads), cmocka_unit_test(loss_alone), cmocka_unit_test(halves),
        cmocka_unit_test(other_sizes), cmocka_unit_test(no_sketch), cmocka_unit_test(masks), cmocka_unit_test(rows_of_text),
        cmocka_unit_test(dropout), cmocka_unit_test(draws),
        cmocka_unit_test(half_precision), cmocka_unit_test(overflow), cmocka_unit_test(loss_scale), cmocka_unit_test(average),
        cmocka_unit_test(eight_bits), cmocka_unit_test(clipping), cmocka_unit_test(state_goes_round), cmocka_unit_test(bad_batches),
        cmocka_unit_test(bad_settings), cmocka_unit_test(cancelled), cmocka_unit_test(no_allocations), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
