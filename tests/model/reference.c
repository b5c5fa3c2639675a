/* References against one softmax over concatenated keys in float64 (tools/golden/reference.py), and what must hold beyond the golden. */
#include "sd3.h"

#include <math.h>

#define BEGIN 1                                 /* the golden's window of blocks */
#define END 4
#define ZERO_ROWS 333

typedef struct fixture {
    sd3_mmdit m;
    tr_reference *one, *two;                    /* of one sample at timestep 0, of two at 600 and 300 */
    tr_mmdit_see see[2];
    int32_t rows[16], drawn[16];
    int n_row, n_drawn;
} fixture;

static int64_t width(const fixture *f) { return (int64_t)f->m.config.n_head * f->m.config.d_head; }
static int64_t tokens(const fixture *f) { return f->m.golden.h * f->m.golden.w / 4; }

static int list(int32_t *out, const json_t *from)
{
    for (size_t i = 0; i < json_array_size(from); i++) out[i] = (int32_t)json_integer_value(json_array_get(from, i));
    return (int)json_array_size(from);
}

/* rows [b, n_row, d] of latents [b, 16, h, w]. */
static tr_tensor rows_of(fixture *f, tr_tensor x, const int32_t *row, int64_t n)
{
    const int64_t b = x.shape[0];
    const tr_tensor all = sd3_new(TR_DIMS(b, tokens(f), width(f))), rows = sd3_new(TR_DIMS(b, n, width(f)));
    OK(tr_mmdit_embed(f->m.model, f->m.stream, all, x));
    OK(tr_mmdit_gather(f->m.stream, rows, all, row));
    tr_free(all.data);
    return rows;
}

static void make(fixture *f, tr_reference *r, tr_tensor rows, const float *timestep)
{
    const int64_t b = rows.shape[0];
    const tr_tensor context = sd3_new(TR_DIMS(b, 1, f->m.config.d_context)), pooled = sd3_new(TR_DIMS(b, f->m.config.d_pooled));
    float time[2];
    memcpy(time, timestep, sizeof *time * (size_t)b);
    OK(tr_reference_make(r, f->m.model, f->m.stream, &(tr_reference_args){ .rows = rows, .context = context, .context_logw = logf(ZERO_ROWS), .pooled = pooled,
                                                                       .timestep = tr_view(time, TR_F32, TR_DIMS(b)) }));
    tr_free(context.data);
    tr_free(pooled.data);
}

static tr_tensor weights(const fixture *f, const char *name, int64_t n)
{
    const tr_tensor w = sd3_input(&f->m.golden, name, TR_DIMS(f->m.config.n_block, n));
    for (int64_t i = 0; i < f->m.config.n_block; i++)
        for (int64_t j = 1; j < n; j += 4) ((float *)w.data)[i * n + j] = -INFINITY;
    return w;
}

static void fixture_open(fixture *f, int n_thread)
{
    static const float at_0[] = { 0 }, at_two[] = { 600, 300 };
    *f = (fixture){ 0 };
    sd3_mmdit_open(&f->m, "reference", TR_F32, n_thread);
    sd3_golden *g = &f->m.golden;
    f->n_row = list(f->rows, json_object_get(g->note, "rows"));
    f->n_drawn = list(f->drawn, json_object_get(g->note, "drawn"));
    const tr_tensor photo = sd3_input(g, "photo", TR_DIMS(2, f->m.config.channels_in, g->h, g->w)), rows = rows_of(f, photo, f->rows, f->n_row);
    OK(tr_reference_new(&f->one, f->m.model, 1, f->n_row, BEGIN, END));
    OK(tr_reference_new(&f->two, f->m.model, 2, f->n_row, BEGIN, END));
    make(f, f->one, tr_slice(rows, 0, 0, 1), at_0);
    make(f, f->two, rows, at_two);
    f->see[0] = (tr_mmdit_see){ f->one, weights(f, "logw.one", tokens(f)) };
    f->see[1] = (tr_mmdit_see){ f->two, weights(f, "logw.two", tokens(f)) };
    tr_free(photo.data);
    tr_free(rows.data);
}

static void fixture_close(fixture *f)
{
    for (int i = 0; i < 2; i++) tr_free(f->see[i].logw.data);
    tr_reference_free(f->one);
    tr_reference_free(f->two);
    sd3_mmdit_close(&f->m);
}

static void run(fixture *f)
{
    memset(f->m.args.out.data, 0xff, (size_t)tr_count(f->m.args.out) * 4);      /* NaN */
    OK(tr_mmdit_forward(f->m.model, f->m.stream, &f->m.args));
}

static void expect(fixture *f, const char *name)
{
    run(f);
    const double e = sd3_error(&f->m.golden, name, f->m.args.out);
    print_message("%s: %.2g\n", name, e);
    if (!(e <= SD3_TOLERANCE)) fail_msg("%s: relative error %.3g, expected at most %.3g", name, e, SD3_TOLERANCE);
}

static void test_golden(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 2);
    for (int i = BEGIN; i < END; i++) {
        char name[32];
        tr_tensor k, v;
        assert_true(tr_reference_of(&k, &v, f.one, i));
        snprintf(name, sizeof name, "key.%d", i);
        if (!(sd3_error(&f.m.golden, name, k) <= SD3_TOLERANCE)) fail_msg("%s: %.3g", name, sd3_error(&f.m.golden, name, k));
        snprintf(name, sizeof name, "value.%d", i);
        if (!(sd3_error(&f.m.golden, name, v) <= SD3_TOLERANCE)) fail_msg("%s: %.3g", name, sd3_error(&f.m.golden, name, v));
    }
    assert_false(tr_reference_of(&(tr_tensor){ 0 }, &(tr_tensor){ 0 }, f.one, BEGIN - 1));
    f.m.args.see = &f.see[0];
    f.m.args.n_see = 1;
    expect(&f, "sample.one");
    f.m.args.see = &f.see[1];
    expect(&f, "sample.two");
    const tr_mmdit_see both[] = { f.see[1], f.see[0] };
    f.m.args.see = both;
    f.m.args.n_see = 2;
    expect(&f, "sample.both");
    fixture_close(&f);
}

/* Only some tokens are drawn: what stands for the others is in the references. */
static void test_rows(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 2);
    int32_t place[16];
    const tr_tensor rows = rows_of(&f, f.m.args.x, f.drawn, f.n_drawn), logw = sd3_new(TR_DIMS(f.m.config.n_block, f.n_drawn));
    for (int i = 0; i < tokens(&f); i++) place[i] = f.n_drawn;
    for (int i = 0; i < f.n_drawn; i++) {
        place[f.drawn[i]] = i;
        for (int j = 0; j < f.m.config.n_block; j++)
            ((float *)logw.data)[j * f.n_drawn + i] = ((const float *)f.see[0].logw.data)[j * tokens(&f) + f.drawn[i]];
    }
    const tr_mmdit_see see = { f.one, logw };
    f.m.args.see = &see;
    f.m.args.n_see = 1;
    f.m.args.tokens = rows;
    f.m.args.place = place;
    f.m.args.n_row = f.n_drawn;
    expect(&f, "sample.rows");
    tr_free(rows.data);
    tr_free(logw.data);
    fixture_close(&f);
}

/* A weight of 0 at every query is the drawing without a reference, to the bit, and so is no block of it in the window. */
static void test_weight_0(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 2);
    const size_t n = (size_t)tr_count(f.m.args.out) * 4;
    void *without = NULL;
    OK(tr_alloc_raw(&without, n));
    run(&f);
    memcpy(without, f.m.args.out.data, n);
    for (int64_t i = 0; i < tr_count(f.see[0].logw); i++) ((float *)f.see[0].logw.data)[i] = -INFINITY;
    f.m.args.see = f.see;
    f.m.args.n_see = 1;
    run(&f);
    assert_memory_equal(without, f.m.args.out.data, n);
    ((float *)f.see[0].logw.data)[BEGIN * tokens(&f)] = 0;                  /* one query of one block sees it: all is another */
    run(&f);
    assert_memory_not_equal(without, f.m.args.out.data, n);
    tr_free(without);
    fixture_close(&f);
}

/* Made again from the same rows: the same bytes, so that what is kept over steps is what would be made at each. Another order of rows is
 * the same but for rounding. The adapters of the drawing do not reach a reference. */
static void test_made_again(void **state)
{
    (void)state;
    static const float at_0[] = { 0 };
    fixture f;
    fixture_open(&f, 2);
    const tr_tensor photo = sd3_input(&f.m.golden, "photo", TR_DIMS(2, f.m.config.channels_in, f.m.golden.h, f.m.golden.w));
    const size_t n = (size_t)tr_count(f.m.args.out) * 4;
    void *kept = NULL;
    OK(tr_alloc_raw(&kept, n));
    f.m.args.see = f.see;
    f.m.args.n_see = 1;
    tr_linear_layer *l = tr_mmdit_layer(f.m.model, 0);
    for (int i = 0; i < tr_mmdit_layer_count(f.m.model) && !strstr(l->name, "blocks.0.attn.to_v"); i++) l = tr_mmdit_layer(f.m.model, i);
    const tr_tensor a = sd3_input(&f.m.golden, "a", TR_DIMS(2, l->w.shape[1])), up = sd3_input(&f.m.golden, "up", TR_DIMS(l->w.shape[0], 2));
    enum { FIRST, AGAIN, TURNED, ADAPTED, TURNS };
    for (int turn = FIRST; turn < TURNS; turn++) {
        int32_t row[16];
        for (int i = 0; i < f.n_row; i++) row[i] = f.rows[turn == TURNED ? f.n_row - 1 - i : i];
        const tr_tensor rows = rows_of(&f, tr_slice(photo, 0, 0, 1), row, f.n_row);
        if (turn == ADAPTED) l->a = a, l->up = up;
        make(&f, f.one, rows, at_0);
        l->a = l->up = tr_none();
        run(&f);
        if (turn == FIRST) memcpy(kept, f.m.args.out.data, n);
        if (turn == TURNED) {
            const double e = seeded_error(f.m.args.out.data, kept, tr_count(f.m.args.out));
            if (!(e <= SD3_TOLERANCE)) fail_msg("rows in another order: relative error %.3g", e);
        } else {
            assert_memory_equal(kept, f.m.args.out.data, n);
        }
        tr_free(rows.data);
    }
    const tr_tensor rows = rows_of(&f, tr_slice(photo, 0, 0, 1), f.rows, f.n_row);
    l->reference.a = a, l->reference.up = up;                               /* its own do */
    make(&f, f.one, rows, at_0);
    run(&f);
    assert_memory_not_equal(kept, f.m.args.out.data, n);
    l->reference.a = l->reference.up = tr_none();
    tr_free(rows.data);
    tr_free(a.data);
    tr_free(up.data);
    tr_free(photo.data);
    tr_free(kept);
    fixture_close(&f);
}

/* Keys that are the queries' own once more, weight 1: half of the softmax is there, with the same answer. */
static void test_own_keys_again(void **state)
{
    (void)state;
    enum { N = 37, H = 2, D = 64 };
    sd3_golden g = { .seed = 7 };
    tr_device *device;
    tr_stream *s;
    sd3_device(&device, &s, 2, false);
    const tr_dims dims = TR_DIMS(2, N, H, D);
    const tr_tensor q = sd3_input(&g, "q", dims), k = sd3_input(&g, "k", dims), v = sd3_input(&g, "v", dims), once = sd3_new(dims), twice = sd3_new(dims),
                    zero = sd3_new(TR_DIMS(N)), lse = sd3_new(TR_DIMS(2, H, N)), lse_twice = sd3_new(TR_DIMS(2, H, N));
    tr_attention_args a = { .q = q, .o = once, .lse = lse, .scale = 0.125f, .n_segment = 1, .segment = { { .k = k, .v = v }, { .k = k, .v = v, .query_logw = zero } } };
    OK(tr_attention(s, &a));
    a.n_segment = 2;
    a.o = twice;
    a.lse = lse_twice;
    OK(tr_attention(s, &a));
    const double e = seeded_error(twice.data, once.data, tr_count(once));
    if (!(e <= 1e-6)) fail_msg("the same keys twice: relative error %.3g", e);
    for (int64_t i = 0; i < tr_count(lse); i++) {
        const float grown = ((float *)lse_twice.data)[i] - ((float *)lse.data)[i];
        if (!(fabsf(grown - logf(2)) <= 1e-5f)) fail_msg("log-sum-exp grows by %g, expected log 2", (double)grown);
    }
    const tr_tensor all[] = { q, k, v, once, twice, zero, lse, lse_twice };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tr_free(all[i].data);
    tr_stream_free(s);
    tr_device_close(device);
}

/* Steps with a reference allocate nothing, on any number of threads the bytes are the same, and a dry device counts the same work. */
static void test_threads_and_dry(void **state)
{
    (void)state;
    static const int threads[] = { 1, 2, 8 };
    void *first = NULL;
    for (int i = 0; i < 3; i++) {
        fixture f;
        fixture_open(&f, threads[i]);
        const size_t n = (size_t)tr_count(f.m.args.out) * 4;
        f.m.args.see = f.see;
        f.m.args.n_see = 2;
        run(&f);
        if (!first) {
            OK(tr_alloc_raw(&first, n));
            memcpy(first, f.m.args.out.data, n);
        }
        assert_memory_equal(first, f.m.args.out.data, n);
        const int64_t before = tr_mem_now().n_alloc;
        run(&f);
        assert_int_equal(tr_mem_now().n_alloc, before);
        fixture_close(&f);
    }
    tr_free(first);

    fixture f;
    fixture_open(&f, 2);
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_weights *w = NULL;
    tr_mmdit *m = NULL;
    tr_reference *r = NULL;
    sd3_device(&d, &s, 2, true);
    OK(tr_weights_shapes_only(&w, TR_F32));
    OK(tr_mmdit_open(&m, d, w, &f.m.config));
    OK(tr_reference_new(&r, m, 1, f.n_row, BEGIN, END));
    void *nowhere = (void *)(uintptr_t)4096;                  /* would fault if it were read */
    const tr_tensor rows = tr_view(nowhere, TR_F32, TR_DIMS(1, f.n_row, width(&f)));
    const tr_reference_args a = { .rows = rows, .context = tr_view(nowhere, TR_F32, TR_DIMS(1, 1, f.m.config.d_context)), .context_logw = 1,
                                  .pooled = tr_view(nowhere, TR_F32, TR_DIMS(1, f.m.config.d_pooled)), .timestep = tr_view(nowhere, TR_F32, TR_DIMS(1)) };
    OK(tr_reference_make(r, m, s, &a));
    const tr_tensor real_rows = sd3_new(TR_DIMS(1, f.n_row, width(&f)));
    const tr_stream_stats before = tr_stream_count(f.m.stream);
    make(&f, f.one, real_rows, (const float[]){ 0 });
    const tr_stream_stats real = tr_stream_count(f.m.stream), dry = tr_stream_count(s);
    assert_true(dry.flops > 0 && dry.flops == real.flops - before.flops && dry.n_op == real.n_op - before.n_op);
    tr_free(real_rows.data);
    tr_reference_free(r);
    tr_mmdit_close(m);
    tr_weights_close(w);
    tr_stream_free(s);
    tr_device_close(d);
    fixture_close(&f);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, 1);
    const int64_t bytes = tr_mem_now().bytes;
    int n = 0;
    for (tress_status st = TRESS_E_OOM; st != TRESS_OK; n++) {
        tr_reference *r = NULL;
        tr_mem_fail_at(n + 1);
        st = tr_reference_new(&r, f.m.model, 1, 3, 0, 2);
        tr_mem_fail_at(0);
        assert_true(st == TRESS_OK ? r != NULL : st == TRESS_E_OOM && r == NULL);
        tr_reference_free(r);
        assert_int_equal(tr_mem_now().bytes, bytes);
    }
    assert_true(n >= 5);
    const tr_tensor big = sd3_new(TR_DIMS(1, 8, width(&f)));
    FAILS(tr_reference_make(f.one, f.m.model, f.m.stream, &(tr_reference_args){ .rows = big }), TRESS_E_SHAPE, "the reference's rows is [1, 8, 192], expected [1, 7, 192]");
    tr_free(big.data);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_rows), cmocka_unit_test(test_weight_0), cmocka_unit_test(test_made_again),
        cmocka_unit_test(test_own_keys_again), cmocka_unit_test(test_threads_and_dry), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
