#include "sd3.h"

typedef struct fixture { sd3_golden g; tr_weights *w; tr_t5_config c; tr_t5 *m; tr_device *d; tr_stream *s; } fixture;

static void open_as(fixture *f, const char *name, tr_dtype t, int n_thread)
{
    *f = (fixture){ 0 };
    sd3_golden_open(&f->g, name, t);
    sd3_device(&f->d, &f->s, n_thread, false);
    OK(tr_weights_open(&f->w, f->g.folder, TR_MODULE_T5, NULL));
    OK(tr_t5_config_read(&f->c, f->w));
    OK(tr_t5_open(&f->m, f->d, f->w, &f->c));
    OK(tr_weights_check(f->w, 1));
}

static void close_all(fixture *f)
{
    tr_t5_close(f->m);
    tr_weights_close(f->w);
    tr_stream_free(f->s);
    tr_device_close(f->d);
    sd3_golden_close(&f->g);
}

/* The golden's ids of that length, copied; free .data. */
static tr_tensor golden_ids(const fixture *f, int n)
{
    char name[32];
    tr_tensor t;
    void *copy = NULL;
    snprintf(name, sizeof name, "input_ids.%d", n);
    assert_true(tr_safetensors_find(f->g.file, name, &t));
    OK(tr_alloc(&copy, (size_t)tr_count(t) * 4));
    memcpy(copy, t.data, (size_t)tr_count(t) * 4);
    return tr_view(copy, TR_I32, TR_DIMS(2, n));
}

/* Long goldens hold every 7th element. */
static double error(const fixture *f, int n, tr_tensor hidden)
{
    char name[32];
    tr_tensor want;
    snprintf(name, sizeof name, "hidden.%d", n);
    assert_true(tr_safetensors_find(f->g.file, name, &want));
    if (tr_count(want) == tr_count(hidden)) return sd3_error(&f->g, name, hidden);
    const int64_t every = json_integer_value(json_object_get(f->g.note, "every")), n_kept = (tr_count(hidden) + every - 1) / every;
    const tr_tensor kept = sd3_new(TR_DIMS(n_kept));
    for (int64_t i = 0; i < n_kept; i++) ((float *)kept.data)[i] = ((const float *)hidden.data)[i * every];
    const double e = sd3_error(&f->g, name, kept);
    tr_free(kept.data);
    return e;
}

static void against_transformers(void **state)
{
    (void)state;
    static const char *const list[] = { "t5-one", "t5-gated", "t5-relu" };
    static const int lengths[] = { 5, 77, 256, 300 };
    for (int i = 0; i < 3; i++) {
        fixture f;
        open_as(&f, list[i], TR_F32, 2);
        for (int k = 0; k < 4; k++) {
            const tr_tensor ids = golden_ids(&f, lengths[k]), hidden = sd3_new(TR_DIMS(2, lengths[k], f.c.d));
            OK(tr_t5_encode(f.m, f.s, hidden, ids));
            const double e = error(&f, lengths[k], hidden);
            print_message("%s, %d ids: %.2g\n", list[i], lengths[k], e);
            if (!(e <= SD3_TOLERANCE)) fail_msg("%s, %d ids: hidden differs by %.3g", list[i], lengths[k], e);
            tr_free(ids.data);
            tr_free(hidden.data);
        }
        close_all(&f);
    }
}

/* Alone, in company, on more threads, into part of a larger tensor, a second time: the same bytes. */
static void same_bytes(void **state)
{
    (void)state;
    fixture f, g;
    open_as(&f, "t5-gated", TR_F32, 1);
    open_as(&g, "t5-gated", TR_F32, 8);
    const int64_t d = f.c.d;
    const tr_tensor ids = golden_ids(&f, 77), hidden = sd3_new(TR_DIMS(2, 77, d)), other = sd3_new(TR_DIMS(2, 77, d)), wide = sd3_new(TR_DIMS(2, 154, d));
    OK(tr_t5_encode(f.m, f.s, hidden, ids));
    OK(tr_t5_encode(g.m, g.s, other, ids));
    assert_memory_equal(hidden.data, other.data, (size_t)tr_count(hidden) * 4);
    const int64_t n_alloc = tr_mem_now().n_alloc;
    OK(tr_t5_encode(f.m, f.s, tr_slice(wide, 1, 77, 77), ids));
    assert_int_equal(tr_mem_now().n_alloc, n_alloc);
    for (int64_t i = 0; i < 2; i++) {
        assert_memory_equal((float *)hidden.data + i * 77 * d, (float *)wide.data + (i * 154 + 77) * d, (size_t)(77 * d) * 4);
        const tr_tensor one = tr_slice(other, 0, i, 1);
        memset(one.data, 0xFF, (size_t)(77 * d) * 4);
        OK(tr_t5_encode(f.m, f.s, one, tr_slice(ids, 0, i, 1)));
    }
    assert_memory_equal(hidden.data, other.data, (size_t)tr_count(hidden) * 4);
    tr_free(ids.data);
    tr_free(hidden.data);
    tr_free(other.data);
    tr_free(wide.data);
    close_all(&f);
    close_all(&g);
}

static void half_weights(void **state)
{
    (void)state;
    /* Attention without a scale makes T5's softmax sharp, which multiplies the weights' rounding. */
    static const struct { tr_dtype t; double most; } list[] = { { TR_F16, 5e-3 }, { TR_BF16, 5e-2 }, { TR_F8_E4M3, 0.5 } };
    for (int i = 0; i < 3; i++) {
        fixture f;
        open_as(&f, "t5-one", list[i].t, 2);
        const tr_tensor ids = golden_ids(&f, 77), hidden = sd3_new(TR_DIMS(2, 77, f.c.d));
        OK(tr_t5_encode(f.m, f.s, hidden, ids));
        const double e = error(&f, 77, hidden);
        if (!(e > 1e-6 && e <= list[i].most)) fail_msg("%s: hidden differs by %.3g", tr_dtype_name(list[i].t), e);
        tr_free(ids.data);
        tr_free(hidden.data);
        close_all(&f);
    }
}

static void bad_input(void **state)
{
    (void)state;
    fixture f;
    open_as(&f, "t5-gated", TR_F32, 1);
    int32_t id[3] = { 1, 300, 0 };
    const tr_tensor hidden = sd3_new(TR_DIMS(1, 3, f.c.d));
    FAILS(tr_t5_encode(f.m, f.s, hidden, tr_view(id, TR_I32, TR_DIMS(1, 3))), TRESS_E_FORMAT, "token 1 has the id 300, and T5 knows 300");
    id[1] = -5;
    FAILS(tr_t5_encode(f.m, f.s, hidden, tr_view(id, TR_I32, TR_DIMS(1, 3))), TRESS_E_FORMAT, "id -5");
    FAILS(tr_t5_encode(f.m, f.s, hidden, tr_view(id, TR_I32, TR_DIMS(3))), TRESS_E_SHAPE, "[3], expected [batch, tokens]");
    tr_free(hidden.data);
    static const sd3_config_case list[] = {
        { "feed_forward_proj", "\"gated-relu\"", "\"gated-relu\"" }, { "feed_forward_proj", "\"mish\"", "\"mish\"" }, { "relative_attention_num_buckets", "30", "30 buckets" },
        { "relative_attention_max_distance", "8", "distance 8" }, { "num_layers", "0", "num_layers" }, { "model_type", "\"bert\"", "\"bert\", expected" },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        tr_weights *w = sd3_weights_with(&f.g, TR_MODULE_T5, &list[i], 1);
        tr_t5_config c;
        FAILS(tr_t5_config_read(&c, w), TRESS_E_FORMAT, list[i].part);
        tr_weights_close(w);
    }
    close_all(&f);
}

static void without_config(void **state)
{
    (void)state;
    static const char *const list[] = { "t5-gated", "t5-relu" };
    for (int i = 0; i < 2; i++) {
        fixture f;
        char path[600];
        tr_weights *w = NULL;
        tr_t5_config c;
        open_as(&f, list[i], TR_F32, 1);
        snprintf(path, sizeof path, "%s/config.json", f.g.folder);
        assert_int_equal(remove(path), 0);
        snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", f.g.folder);
        OK(tr_weights_open(&w, path, TR_MODULE_T5, NULL));
        OK(tr_t5_config_read(&c, w));
        assert_int_equal(c.d, f.c.d);
        assert_int_equal(c.d_ff, f.c.d_ff);
        assert_int_equal(c.d_kv, f.c.d_kv);
        assert_int_equal(c.n_head, f.c.n_head);
        assert_int_equal(c.n_layer, f.c.n_layer);
        assert_int_equal(c.n_bucket, f.c.n_bucket);
        assert_int_equal(c.distance_max, 128);
        assert_int_equal(c.gated, f.c.gated);
        assert_int_equal(c.relu, f.c.relu);
        assert_int_equal(c.act, f.c.act);
        tr_weights_close(w);
        close_all(&f);
    }
}

/* Streaming: what a call needs beside the weights does not depend on how many layers there are. */
static void dry(void **state)
{
    (void)state;
    size_t peak[2];
    for (int i = 0; i < 2; i++) {
        tr_device *d;
        tr_stream *s;
        tr_weights *w = NULL;
        tr_t5 *m = NULL;
        tr_tensor hidden;
        int32_t id = 0;
        const tr_t5_config c = { .d = 4096, .d_ff = 10240, .d_kv = 64, .n_layer = i ? 24 : 1, .n_head = 64, .n_vocab = 32128, .n_bucket = 32, .distance_max = 128,
                                 .gated = true, .act = TR_ACT_GELU_TANH, .eps = 1e-6f };
        sd3_device(&d, &s, 1, true);
        OK(tr_weights_shapes_only(&w, TR_F16));
        OK(tr_t5_open(&m, d, w, &c));
        OK(tr_scratch(s, &hidden, TR_F32, TR_DIMS(1, 256, 4096)));
        tr_tensor ids = tr_view(&id, TR_I32, TR_DIMS(1, 256));
        OK(tr_t5_encode(m, s, hidden, ids));
        peak[i] = tr_stream_count(s).scratch_peak;
        if (i == 1) {
            /* 9.5 GB: 24 (4 d^2 + 3 d d_ff) + n_vocab d + the norms and the bias, in two bytes each */
            const int64_t n = 24 * (4 * INT64_C(4096) * 4096 + 3 * INT64_C(4096) * 10240 + 2 * 4096) + INT64_C(32128) * 4096 + 32 * 64 + 4096;
            assert_int_equal(tr_weights_bytes(w), 2 * n);
        }
        tr_t5_close(m);
        tr_weights_close(w);
        tr_stream_free(s);
        tr_device_close(d);
    }
    assert_int_equal(peak[0], peak[1]);
    assert_true(peak[1] < (size_t)96 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_transformers), cmocka_unit_test(same_bytes), cmocka_unit_test(half_weights),
        cmocka_unit_test(bad_input),            cmocka_unit_test(without_config), cmocka_unit_test(dry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
