#include "sd3.h"

typedef struct fixture { sd3_golden g; tr_weights *w; tr_clip_config c; tr_clip *m; tr_device *d; tr_stream *s; tr_tensor ids; } fixture;

static void open_as(fixture *f, const char *name, tr_module module, tr_dtype t, int n_thread)
{
    tr_tensor ids;
    *f = (fixture){ 0 };
    sd3_golden_open(&f->g, name, t);
    sd3_device(&f->d, &f->s, n_thread, false);
    OK(tr_weights_open(&f->w, f->g.folder, module, NULL));
    OK(tr_clip_config_read(&f->c, f->w));
    OK(tr_clip_open(&f->m, f->d, f->w, &f->c));
    OK(tr_weights_check(f->w, 1));
    assert_true(tr_safetensors_find(f->g.file, "input_ids", &ids));
    void *copy = NULL;
    OK(tr_alloc(&copy, (size_t)tr_count(ids) * 4));
    memcpy(copy, ids.data, (size_t)tr_count(ids) * 4);
    f->ids = tr_view(copy, TR_I32, TR_DIMS(ids.shape[0], ids.shape[1]));
}

static void close_all(fixture *f)
{
    tr_free(f->ids.data);
    tr_clip_close(f->m);
    tr_weights_close(f->w);
    tr_stream_free(f->s);
    tr_device_close(f->d);
    sd3_golden_close(&f->g);
}

static void against_transformers(void **state)
{
    (void)state;
    static const struct { const char *name; tr_module module; int d_projection, n_layer; } list[] = {
        { "clip-l", TR_MODULE_CLIP_L, 128, 4 }, { "clip-g", TR_MODULE_CLIP_G, 40, 2 }, { "clip-plain", TR_MODULE_CLIP_L, 64, 1 } };
    for (int i = 0; i < 3; i++) {
        fixture f;
        open_as(&f, list[i].name, list[i].module, TR_F32, 1);
        assert_int_equal(f.c.d_projection, list[i].d_projection);
        assert_int_equal(f.c.n_layer, list[i].n_layer);
        const tr_tensor hidden = sd3_new(TR_DIMS(3, 77, f.c.d)), pooled = sd3_new(TR_DIMS(3, f.c.d_projection));
        OK(tr_clip_encode(f.m, f.s, hidden, pooled, f.ids, 299));
        const double e = sd3_error(&f.g, "hidden", hidden), e_pooled = sd3_error(&f.g, "pooled", pooled);
        print_message("%s: hidden %.2g, pooled %.2g\n", list[i].name, e, e_pooled);
        if (!(e <= SD3_TOLERANCE)) fail_msg("%s: hidden differs by %.3g", list[i].name, e);
        if (!(e_pooled <= SD3_TOLERANCE)) fail_msg("%s: pooled differs by %.3g", list[i].name, e_pooled);
        tr_free(hidden.data);
        tr_free(pooled.data);
        close_all(&f);
    }
}

/* Alone, in company, on more threads, into strided views, one output at a time, a second time: the same bytes. */
static void same_bytes(void **state)
{
    (void)state;
    fixture f, g;
    open_as(&f, "clip-l", TR_MODULE_CLIP_L, TR_F32, 1);
    open_as(&g, "clip-l", TR_MODULE_CLIP_L, TR_F32, 8);
    const int64_t d = f.c.d, p = f.c.d_projection;
    const tr_tensor hidden = sd3_new(TR_DIMS(3, 77, d)), pooled = sd3_new(TR_DIMS(3, p)), other = sd3_new(TR_DIMS(3, 77, d)), wide = sd3_new(TR_DIMS(1, 90, d + 7)),
                    other_pooled = sd3_new(TR_DIMS(3, p));
    OK(tr_clip_encode(f.m, f.s, hidden, pooled, f.ids, 299));
    OK(tr_clip_encode(g.m, g.s, other, other_pooled, f.ids, 299));
    assert_memory_equal(hidden.data, other.data, (size_t)tr_count(hidden) * 4);
    assert_memory_equal(pooled.data, other_pooled.data, (size_t)tr_count(pooled) * 4);
    for (int64_t i = 0; i < 3; i++) {
        const tr_tensor one = tr_slice(tr_slice(wide, 1, 5, 77), 2, 3, d);
        const int64_t n_alloc = tr_mem_now().n_alloc;
        OK(tr_clip_encode(f.m, f.s, one, tr_none(), tr_slice(f.ids, 0, i, 1), 299));
        OK(tr_clip_encode(f.m, f.s, tr_none(), tr_slice(other_pooled, 0, i, 1), tr_slice(f.ids, 0, i, 1), 299));
        if (i > 0) assert_int_equal(tr_mem_now().n_alloc, n_alloc);
        for (int64_t r = 0; r < 77; r++)
            assert_memory_equal((float *)hidden.data + (i * 77 + r) * d, (float *)wide.data + (5 + r) * (d + 7) + 3, (size_t)d * 4);
    }
    assert_memory_equal(pooled.data, other_pooled.data, (size_t)tr_count(pooled) * 4);
    tr_free(hidden.data);
    tr_free(pooled.data);
    tr_free(other.data);
    tr_free(wide.data);
    tr_free(other_pooled.data);
    close_all(&f);
    close_all(&g);
}

/* Weights as files have them: converted as they are read, within their own rounding. */
static void half_weights(void **state)
{
    (void)state;
    static const struct { tr_dtype t; double most; } list[] = { { TR_F16, 2e-3 }, { TR_BF16, 1e-2 }, { TR_F8_E4M3, 0.2 } };
    for (int i = 0; i < 3; i++) {
        fixture f;
        open_as(&f, "clip-g", TR_MODULE_CLIP_G, list[i].t, 2);
        const tr_tensor hidden = sd3_new(TR_DIMS(3, 77, f.c.d)), pooled = sd3_new(TR_DIMS(3, f.c.d_projection));
        OK(tr_clip_encode(f.m, f.s, hidden, pooled, f.ids, 299));
        const double e = sd3_error(&f.g, "hidden", hidden);
        if (!(e > 1e-6 && e <= list[i].most)) fail_msg("%s: hidden differs by %.3g", tr_dtype_name(list[i].t), e);
        tr_free(hidden.data);
        tr_free(pooled.data);
        close_all(&f);
    }
}

/* Which row is pooled, and that ids are bounded. */
static void ids(void **state)
{
    (void)state;
    fixture f;
    open_as(&f, "clip-g", TR_MODULE_CLIP_G, TR_F32, 1);
    const tr_tensor a = sd3_new(TR_DIMS(1, f.c.d_projection)), b = sd3_new(TR_DIMS(1, f.c.d_projection));
    const int64_t n = f.c.d_projection;
    int32_t id[77] = { 298, 5, 299, 7, 299 };
    const tr_tensor five = tr_view(id, TR_I32, TR_DIMS(1, 5)), three = tr_view(id, TR_I32, TR_DIMS(1, 3)), one = tr_view(id, TR_I32, TR_DIMS(1, 1));
    OK(tr_clip_encode(f.m, f.s, tr_none(), a, five, 7));             /* the configuration says 299, whatever the caller thinks */
    OK(tr_clip_encode(f.m, f.s, tr_none(), b, three, 7));
    assert_true(seeded_error(a.data, b.data, n) < 1e-6);
    id[2] = id[4] = 6;
    OK(tr_clip_encode(f.m, f.s, tr_none(), a, five, 7));             /* none: row 0 */
    assert_false(seeded_error(a.data, b.data, n) < 1e-3);
    OK(tr_clip_encode(f.m, f.s, tr_none(), b, one, 7));
    assert_true(seeded_error(a.data, b.data, n) < 1e-6);
    id[1] = 300;
    FAILS(tr_clip_encode(f.m, f.s, tr_none(), a, five, 7), TRESS_E_FORMAT, "token 1 has the id 300, and the text encoder knows 300");
    id[1] = -1;
    FAILS(tr_clip_encode(f.m, f.s, tr_none(), a, five, 7), TRESS_E_FORMAT, "id -1");
    int32_t many[78] = { 0 };
    FAILS(tr_clip_encode(f.m, f.s, tr_none(), a, tr_view(many, TR_I32, TR_DIMS(1, 78)), 7), TRESS_E_SHAPE, "[1, 78], expected [batch, 1 to 77]");
    tr_free(a.data);
    tr_free(b.data);
    close_all(&f);
}

static void without_config(void **state)
{
    (void)state;
    fixture f;
    char path[600];
    tr_weights *w = NULL;
    tr_clip_config c;
    open_as(&f, "clip-l", TR_MODULE_CLIP_L, TR_F32, 1);
    snprintf(path, sizeof path, "%s/config.json", f.g.folder);
    assert_int_equal(remove(path), 0);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", f.g.folder);
    OK(tr_weights_open(&w, path, TR_MODULE_CLIP_L, NULL));
    OK(tr_clip_config_read(&c, w));
    assert_int_equal(c.n_head, 2);
    assert_int_equal(c.d_ff, 192);
    assert_int_equal(c.n_layer, 4);
    assert_int_equal(c.n_vocab, 300);
    assert_int_equal(c.d_projection, 128);
    assert_int_equal(c.eos, -1);
    assert_int_equal(c.act, TR_ACT_GELU_QUICK);
    tr_weights_close(w);
    close_all(&f);
}

static void bad_config(void **state)
{
    (void)state;
    fixture f;
    static const sd3_config_case list[] = {
        { "hidden_act", "\"mish\"", "\"hidden_act\" is \"mish\"" }, { "hidden_act", "\"relu\"", "not supported" }, { "num_attention_heads", "3", "no multiple of 3 heads" },
        { "num_hidden_layers", "100000", "num_hidden_layers" }, { "hidden_size", "0", "hidden_size" }, { "model_type", "\"t5\"", "\"t5\", expected" },
    };
    open_as(&f, "clip-l", TR_MODULE_CLIP_L, TR_F32, 1);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        tr_weights *w = sd3_weights_with(&f.g, TR_MODULE_CLIP_L, &list[i], 1);
        tr_clip_config c;
        FAILS(tr_clip_config_read(&c, w), TRESS_E_FORMAT, list[i].part);
        tr_weights_close(w);
    }
    static const sd3_config_case shapes[] = { { "num_hidden_layers", "5", "layers.4" }, { "intermediate_size", "100", "mlp.fc1" }, { "vocab_size", "301", "token_embedding" } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        tr_weights *w = sd3_weights_with(&f.g, TR_MODULE_CLIP_L, &shapes[i], 1);
        tr_clip_config c;
        tr_clip *m = NULL;
        OK(tr_clip_config_read(&c, w));
        FAILS(tr_clip_open(&m, f.d, w, &c), i == 0 ? TRESS_E_FORMAT : TRESS_E_SHAPE, shapes[i].part);
        assert_null(m);
        tr_weights_close(w);
    }
    close_all(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_transformers), cmocka_unit_test(same_bytes),     cmocka_unit_test(half_weights),
        cmocka_unit_test(ids),                  cmocka_unit_test(without_config), cmocka_unit_test(bad_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
