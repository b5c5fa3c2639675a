/* Weights that travel: the same numbers as weights that stay, in less memory of the device. On the CPU with memory set apart, where copies
 * and slots are those of a GPU. */
#include "sd3.h"

#define MINI TRESS_SOURCE_DIR "/models/mini"

typedef struct net {
    tr_device  *device;
    tr_stream  *stream;
    tr_weights *weights;
    tr_mmdit   *model;
    tr_mmdit_config config;
} net;

static void net_open(net *f, const tr_groups *g, int64_t bytes_max)
{
    *f = (net){ 0 };
    OK(tr_device_open(&f->device, &(tr_device_spec){ .n_thread = 2, .apart = true, .bytes_max = bytes_max }));
    OK(tr_stream_new(&f->stream, f->device));
    OK(tr_weights_open(&f->weights, MINI, TR_MODULE_TRANSFORMER, NULL));
    OK(tr_mmdit_config_read(&f->config, f->weights));
    OK(tr_weights_place(f->weights, f->device));
    if (g) OK(tr_weights_travel(f->weights, g));
    OK(tr_mmdit_open(&f->model, f->device, f->weights, &f->config));
}

static void net_close(net *f)
{
    tr_mmdit_close(f->model);
    tr_weights_close(f->weights);
    tr_stream_free(f->stream);
    assert_int_equal(tr_device_bytes(f->device), 0);
    assert_int_equal(tr_device_pinned_bytes(f->device), 0);
    tr_device_close(f->device);
}

static uint64_t dice;
static int roll(int n) { return (int)((dice = dice * 6364136223846793005u + 1442695040888963407u) >> 33) % n; }

/* Which groups travel: kind of choice 0 .. 4. */
static void choose(tr_groups *g, int kind)
{
    for (int i = 0; i < TR_GROUP_MAX; i++)
        g->travels[i] = g->bytes[i] > 0 && (kind == 0 || (kind == 1 && i % 2 == 0) || (kind == 2 && i % 4 == 1) || (kind == 3 && i == 3) || (kind == 4 && roll(2)));
}

/* Every matrix of the group is where its layer looks for it. */
static void expect_group(net *f, int group)
{
    for (int i = 0; i < tr_weights_count(f->weights); i++) {
        const tr_tensor t = tr_weights_at(f->weights, i);
        char prefix[48];
        tr_tensor there;
        tr_dims d = { .rank = t.rank };
        snprintf(prefix, sizeof prefix, "transformer_blocks.%d.", group / 2);
        const char *name = tr_weights_name(f->weights, i), *rest = name + strlen(prefix);
        if (strncmp(name, prefix, strlen(prefix)) != 0 || (strncmp(rest, "norm1", 5) == 0) != (group % 2 == 0)) continue;
        for (int k = 0; k < t.rank; k++) d.n[k] = t.shape[k];
        OK(tr_weights_get(f->weights, &there, d, "%s", name));
        const int64_t n = tr_count(t);
        float *got = sd3_new(TR_DIMS(n)).data, *want = sd3_new(TR_DIMS(n)).data;
        OK(tr_download(f->stream, got, there));
        OK(tr_copy(f->stream, tr_view(want, TR_F32, TR_DIMS(n)), tr_view(t.data, t.dtype, TR_DIMS(n))));
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        tr_free(got);
        tr_free(want);
    }
}

static void need(net *f, int group, int step)
{
    OK(tr_weights_need(f->weights, f->stream, group, step));
    expect_group(f, group);
}

static void test_needs(void **state)
{
    (void)state;
    net f;
    tr_groups g;
    net_open(&f, NULL, 0);
    tr_weights_groups(f.weights, &g);
    const int64_t whole = tr_device_peak_ever(f.device);
    const int n_block = f.config.n_block;
    assert_false(tr_weights_travels(f.weights));
    net_close(&f);
    for (int kind = 0; kind < 8; kind++) {
        int64_t travels = 0, most = 0;
        dice = (uint64_t)kind;
        choose(&g, kind < 4 ? kind : 4);
        for (int i = 0; i < TR_GROUP_MAX; i++) {
            travels += g.travels[i] ? g.bytes[i] : 0;
            if (g.travels[i] && g.bytes[i] > most) most = g.bytes[i];
        }
        net_open(&f, &g, 0);
        assert_true(tr_weights_travels(f.weights));
        OK(tr_weights_check(f.weights, 2));
        assert_int_equal(tr_device_pinned_bytes(f.device), travels);
        assert_true(tr_device_weight_bytes(f.device) <= whole - travels + 2 * most);
        for (int i = 0; i < n_block; i++) need(&f, TR_GROUP_ADALN(i), 1);
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < n_block; i++) need(&f, TR_GROUP_BLOCK(i), 1);
            for (int i = n_block - 1; i >= 0; i--) need(&f, TR_GROUP_BLOCK(i), -1);
        }
        for (int i = 0; i < 30; i++) {
            const int group = roll(2 * n_block);
            need(&f, group, roll(3) - 1);
        }
        net_close(&f);
    }
}

/* The transformer's own calls: with rows of adaLN made before, and at each block; what it refers to is made before, of its first blocks. */
static void run(net *f, tr_tensor out, bool mods)
{
    enum { T = 16, N = 5, N_ROW = 7 };
    const tr_mmdit_config *c = &f->config;
    float time[2] = { 700, 700 };
    const tr_arena_mark mark = tr_scratch_push(f->stream);
    tr_tensor x = sd3_new(TR_DIMS(2, c->channels_in, T, T)), context = sd3_new(TR_DIMS(2, N, c->d_context)), pooled = sd3_new(TR_DIMS(2, c->d_pooled)), rows;
    tr_tensor seen = sd3_new(TR_DIMS(1, N_ROW, (int64_t)c->n_head * c->d_head)), logw = sd3_new(TR_DIMS((int64_t)(T / c->patch) * (T / c->patch)));
    tr_tensor *const in[] = { &x, &context, &pooled, &seen, &logw };
    tr_reference *reference = NULL;
    for (int i = 0; i < 4; i++) tr_philox_normal(in[i]->data, tr_count(*in[i]), (uint64_t)i, 0);
    tr_mmdit_args a = { .x = x, .context = context, .pooled = pooled, .timestep = tr_view(time, TR_F32, TR_DIMS(2)), .out = out };
    OK(tr_reference_new(&reference, f->model, 1, N_ROW, 1, c->n_block - 1));
    const tr_mmdit_see see = { .reference = reference, .logw = logw };
    a.see = &see;
    a.n_see = 1;
    if (mods) {
        OK(tr_scratch(f->stream, &rows, TR_F32, TR_DIMS(2, tr_mmdit_mod_width(f->model))));
        OK(tr_mmdit_modulate(f->model, f->stream, rows, a.timestep, pooled));
        a.mods = rows;
    }
    for (int i = 0; i < 2; i++) {
        OK(tr_reference_make(reference, f->model, f->stream, &(tr_reference_args){
            .rows = seen, .context = tr_slice(context, 0, 0, 1), .pooled = tr_slice(pooled, 0, 0, 1), .timestep = tr_view(time, TR_F32, TR_DIMS(1)) }));
        OK(tr_mmdit_forward(f->model, f->stream, &a));
    }
    tr_reference_free(reference);
    tr_scratch_pop(f->stream, mark);
    for (int i = 0; i < 5; i++) tr_free(in[i]->data);
}

static void test_forward(void **state)
{
    (void)state;
    net f;
    tr_groups g;
    net_open(&f, NULL, 0);
    tr_tensor want = sd3_new(TR_DIMS(2, f.config.channels_out, 16, 16)), got = sd3_new(TR_DIMS(2, f.config.channels_out, 16, 16));
    const size_t n = (size_t)tr_count(want) * sizeof(float);
    tr_weights_groups(f.weights, &g);
    run(&f, want, true);
    net_close(&f);
    for (int kind = 0; kind < 5; kind++)
        for (int mods = 0; mods < 2; mods++) {
            dice = 7;
            choose(&g, kind);
            net_open(&f, &g, 0);
            memset(got.data, 0xff, n);
            run(&f, got, mods);
            assert_memory_equal(got.data, want.data, n);
            net_close(&f);
        }
    tr_free(want.data);
    tr_free(got.data);
}

/* Out of the device and back again. */
static void test_leave(void **state)
{
    (void)state;
    net f;
    tr_groups g;
    net_open(&f, NULL, 0);
    tr_weights_groups(f.weights, &g);
    choose(&g, 2);
    for (int i = 0; i < 3; i++) {
        tr_mmdit_close(f.model);
        f.model = NULL;
        tr_weights_leave(f.weights);
        assert_int_equal(tr_device_weight_bytes(f.device), 0);
        assert_int_equal(tr_device_pinned_bytes(f.device), 0);
        OK(tr_weights_place(f.weights, f.device));
        if (i % 2) OK(tr_weights_travel(f.weights, &g));
        OK(tr_mmdit_open(&f.model, f.device, f.weights, &f.config));
        OK(tr_weights_check(f.weights, 2));
        for (int k = 0; k < f.config.n_block; k++) need(&f, TR_GROUP_BLOCK(k), 1);
    }
    net_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_needs), cmocka_unit_test(test_forward), cmocka_unit_test(test_leave) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
