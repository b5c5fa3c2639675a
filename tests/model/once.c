/* What is done once for all gives what is done each time: scales, shifts and gates of many steps; q, k and v by one product. */
#include "model/block_int.h"
#include "model/model.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void ok(tress_status st)
{
    if (st != TRESS_OK) fail_msg("%s: %s", tress_status_name(st), tr_message());
}

#define B 2
#define T 24
#define N 5

typedef struct net {
    tr_device *device;
    tr_stream *stream;
    tr_weights *weights, *control_weights;
    tr_mmdit *m;
    tr_controlnet *c;
    tr_preset preset;
} net;

static tr_tensor filled(net *n, tr_dims d, uint64_t seed)
{
    tr_tensor t;
    ok(tr_scratch(n->stream, &t, TR_F32, d));
    tr_philox_normal(t.data, tr_count(t), seed, 0);
    return t;
}

static int set_up(void **state)
{
    net *n = calloc(1, sizeof *n);
    assert_non_null(n);
    ok(tr_device_open(&n->device, &(tr_device_spec){ .n_thread = 2 }));
    ok(tr_stream_new(&n->stream, n->device));
    ok(tr_preset_get(&n->preset, "mini"));
    n->preset.transformer.n_block = 3;
    n->preset.transformer.dual[0] = true;
    n->preset.controlnet.n_block = 2;
    ok(tr_weights_random(&n->weights, n->device));
    ok(tr_mmdit_open(&n->m, n->device, n->weights, &n->preset.transformer));
    ok(tr_weights_random(&n->control_weights, n->device));
    ok(tr_controlnet_open(&n->c, n->device, n->control_weights, &n->preset.controlnet));
    *state = n;
    return 0;
}

static int tear_down(void **state)
{
    net *n = *state;
    tr_mmdit_close(n->m);
    tr_controlnet_close(n->c);
    tr_weights_close(n->weights);
    tr_weights_close(n->control_weights);
    tr_stream_free(n->stream);
    tr_device_close(n->device);
    free(n);
    return 0;
}

static void near(tr_tensor got, tr_tensor want, double bound)
{
    const float *a = got.data, *b = want.data;
    double off = 0, size = 0;
    for (int64_t i = 0; i < tr_count(want); i++) off += pow((double)a[i] - (double)b[i], 2), size += pow((double)b[i], 2);
    assert_true(size > 0);
    if (!(sqrt(off / size) <= bound)) fail_msg("%g off, %g allowed", sqrt(off / size), bound);
}

static tr_mmdit_args args_of(net *n, float timestep[B])
{
    const tr_mmdit_config *c = &n->preset.transformer;
    for (int i = 0; i < B; i++) timestep[i] = 700.0f - 300.0f * (float)i;
    return (tr_mmdit_args){ .x = filled(n, TR_DIMS(B, 16, 8, 12), 1), .context = filled(n, TR_DIMS(B, N, c->d_context), 2),
                            .pooled = filled(n, TR_DIMS(B, c->d_pooled), 3), .timestep = tr_view(timestep, TR_F32, TR_DIMS(B)),
                            .out = filled(n, TR_DIMS(B, 16, 8, 12), 4) };
}

/* Rows of a wider table, as of the second of two steps. */
static void test_mods(void **state)
{
    net *n = *state;
    const tr_arena_mark mark = tr_scratch_push(n->stream);
    float timestep[B], both[2 * B];
    tr_mmdit_args a = args_of(n, timestep);
    const int64_t width = tr_mmdit_mod_width(n->m);
    tr_tensor want = a.out, mods = filled(n, TR_DIMS(2 * B, width), 5), pooled = filled(n, TR_DIMS(2 * B, n->preset.transformer.d_pooled), 6);
    ok(tr_mmdit_forward(n->m, n->stream, &a));
    for (int i = 0; i < 2 * B; i++) both[i] = i < B ? 10.0f * (float)i : timestep[i - B];
    ok(tr_copy(n->stream, tr_slice(pooled, 0, B, B), a.pooled));
    ok(tr_mmdit_modulate(n->m, n->stream, mods, tr_view(both, TR_F32, TR_DIMS(2 * B)), pooled));
    a.mods = tr_slice(mods, 0, B, B);
    a.out = filled(n, TR_DIMS(B, 16, 8, 12), 7);
    ok(tr_mmdit_forward(n->m, n->stream, &a));
    near(a.out, want, 1e-6);
    a.mods = tr_slice(mods, 0, 0, B);           /* those of the other step are another picture */
    ok(tr_mmdit_forward(n->m, n->stream, &a));
    assert_memory_not_equal(a.out.data, want.data, (size_t)tr_count(want) * sizeof(float));
    tr_scratch_pop(n->stream, mark);
}

static void test_control_mods(void **state)
{
    net *n = *state;
    const tr_arena_mark mark = tr_scratch_push(n->stream);
    float timestep[B] = { 900, 30 };
    const int64_t d = (int64_t)n->preset.controlnet.n_head * n->preset.controlnet.d_head;
    tr_tensor want[2], got[2], mods = filled(n, TR_DIMS(B, tr_controlnet_mod_width(n->c)), 5);
    for (int i = 0; i < 2; i++) {
        want[i] = filled(n, TR_DIMS(B, T, d), 8);
        got[i] = filled(n, TR_DIMS(B, T, d), 9);
    }
    tr_controlnet_args a = { .tokens = filled(n, TR_DIMS(B, T, d), 1), .condition = filled(n, TR_DIMS(B, 16, 8, 12), 2),
                             .pooled = filled(n, TR_DIMS(B, n->preset.controlnet.d_pooled), 3), .timestep = tr_view(timestep, TR_F32, TR_DIMS(B)),
                             .residual = want };
    ok(tr_controlnet_forward(n->c, n->stream, &a));
    ok(tr_controlnet_modulate(n->c, n->stream, mods, a.timestep, a.pooled));
    a.mods = mods;
    a.residual = got;
    ok(tr_controlnet_forward(n->c, n->stream, &a));
    for (int i = 0; i < 2; i++) near(got[i], want[i], 1e-6);
    tr_scratch_pop(n->stream, mark);
}

/* Adapters whose B is zero change nothing, but with them q, k and v are projected one by one. */
static void test_one_product(void **state)
{
    net *n = *state;
    const tr_arena_mark mark = tr_scratch_push(n->stream);
    float timestep[B];
    tr_mmdit_args a = args_of(n, timestep);
    const tr_tensor fused = a.out;
    const int64_t d = (int64_t)n->preset.transformer.n_head * n->preset.transformer.d_head;
    tr_tensor low = filled(n, TR_DIMS(1, d), 5), up;
    ok(tr_scratch(n->stream, &up, TR_F32, TR_DIMS(d, 1)));
    memset(up.data, 0, (size_t)d * sizeof(float));
    int n_adapted = 0, n_side_by_side = 0;
    ok(tr_mmdit_forward(n->m, n->stream, &a));
    for (int i = 0; i < tr_mmdit_layer_count(n->m); i++) {
        tr_linear_layer *l = tr_mmdit_layer(n->m, i);
        const char *tail = strrchr(l->name, '.');
        if (!tail || (strcmp(tail, ".to_q") && strcmp(tail, ".add_q_proj"))) continue;
        n_side_by_side += (char *)tr_mmdit_layer(n->m, i + 1)->w.data == (char *)l->w.data + (size_t)tr_count(l->w) * sizeof(float);
        l->a = low;
        l->up = up;
        n_adapted++;
    }
    assert_int_equal(n_adapted, 7);             /* 3 blocks of two streams and a second attention */
    assert_int_equal(n_side_by_side, n_adapted);        /* the first run did take the one product */
    a.out = filled(n, TR_DIMS(B, 16, 8, 12), 7);
    ok(tr_mmdit_forward(n->m, n->stream, &a));
    near(a.out, fused, 1e-6);
    tr_scratch_pop(n->stream, mark);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_control_mods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_product, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
