/* The op adamw is torch.optim.AdamW: from each of its 300 states one step, and 300 steps from the first, with the gradients of
 * tests/golden/train/adamw.safetensors.
 *
 * Both compute the same operations in fp32, in the same order; they may differ where one fuses a product and a sum and the other
 * rounds twice. With u = 2^-24, from equal states one step may set apart
 *     m   two roundings of the product and two of the sum                      2 u |(1 - beta1) (g - m)| + 2 u |m'|
 *     v   two roundings of (1 - beta2) g^2, two of the sum                     4 u v'
 *     p   two of the sum; eight of the update m' / denom (two each for root, quotient, product, quotient) and what m and v
 *         carry into it                                                        2 u |p'| + |update| (8 u + dm / m' + dv / 2 v')
 * that is, a few units in the last place. Over many steps m and v forget with beta1 and beta2, and p, on which no gradient hangs
 * here, keeps what was added: the same bounds, added up step by step. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/io.h"
#include "tensor/ops.h"

#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/train/adamw.safetensors"
#define U 0x1p-24
enum { STEPS = 300, N = 24 };

static tr_safetensors *golden;
static tr_device *device;
static tr_stream *s;
static tr_tensor p, m, v, g;                    /* F32 [N] on the device */

static int setup(void **state)
{
    (void)state;
    return tr_safetensors_open(&golden, GOLDEN) == TRESS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tr_safetensors_close(golden);
    return 0;
}

static void open_device(tr_simd simd)
{
    tr_tensor *const all[] = { &p, &m, &v, &g };
    const tr_device_spec spec = { .kind = TRESS_BACKEND_CPU, .n_thread = 2, .simd = simd };
    assert_int_equal(tr_device_open(&device, &spec), TRESS_OK);
    assert_int_equal(tr_stream_new(&s, device), TRESS_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(tr_device_take(device, all[i], TR_F32, TR_DIMS(N)), TRESS_OK);
}

static void close_device(void)
{
    const tr_tensor all[] = { p, m, v, g };
    for (int i = 0; i < 4; i++) tr_device_give(device, all[i]);
    tr_stream_free(s);
    tr_device_close(device);
}

/* Row t of a tensor [.., N] of the golden. */
static void row(float out[N], const char *name, const char *part, int t, int n_row)
{
    char full[64];
    tr_tensor x;
    snprintf(full, sizeof full, part ? "%s.%s" : "%s", name, part);
    assert_true(tr_safetensors_find(golden, full, &x));
    assert_true(x.dtype == TR_F32 && tr_has_dims(x, TR_DIMS(n_row, N)));
    memcpy(out, (const float *)x.data + (size_t)t * N, N * sizeof *out);
}

static void numbers(double *out, const char *name, const char *part, int n)
{
    char full[64];
    tr_tensor x;
    snprintf(full, sizeof full, "%s.%s", name, part);
    assert_true(tr_safetensors_find(golden, full, &x));
    assert_true(x.dtype == TR_F64 && tr_has_dims(x, TR_DIMS(n)));
    memcpy(out, x.data, (size_t)n * sizeof *out);
}

static void put(tr_tensor to, const char *name, const char *part, int t, int n_row)
{
    float x[N];
    row(x, name, part, t, n_row);
    assert_int_equal(tr_upload(s, to, x), TRESS_OK);
}

static void hold(const char *name, const char *part, int t, tr_tensor got, const double bound[N])
{
    float have[N], want[N];
    row(want, name, part, t + 1, STEPS + 1);
    assert_int_equal(tr_download(s, have, got), TRESS_OK);
    for (int i = 0; i < N; i++)
        if (!(fabs((double)have[i] - (double)want[i]) <= bound[i] + 0x1p-149))
            fail_msg("%s.%s after step %d, element %d: %.9g, torch has %.9g, %.3g apart where %.3g is allowed", name, part, t + 1, i,
                     (double)have[i], (double)want[i], fabs((double)have[i] - (double)want[i]), bound[i]);
}

/* each: every step begins with torch's state. Else only the first does. */
static void hold_run(const char *name, bool each)
{
    double set[5], lr[STEPS], dp[N] = { 0 }, dm[N] = { 0 }, dv[N] = { 0 };
    numbers(set, name, "settings", 5);
    numbers(lr, name, "lr", STEPS);
    for (int t = 0; t < STEPS; t++) {
        const tr_adamw_args a = { .lr = lr[t], .beta1 = set[0], .beta2 = set[1], .eps = set[2], .weight_decay = set[3],
                                  .grad_scale = (float)set[4], .step = t + 1 };
        float gi[N], m0[N], m1[N], v1[N], p1[N];
        if (each || t == 0) {
            put(p, name, "p", t, STEPS + 1);
            put(m, name, "m", t, STEPS + 1);
            put(v, name, "v", t, STEPS + 1);
        }
        put(g, "g", NULL, t, STEPS);
        assert_int_equal(tr_adamw(s, p, m, v, g, &a), TRESS_OK);
        row(gi, "g", NULL, t, STEPS);
        row(m0, name, "m", t, STEPS + 1);
        row(m1, name, "m", t + 1, STEPS + 1);
        row(v1, name, "v", t + 1, STEPS + 1);
        row(p1, name, "p", t + 1, STEPS + 1);
        for (int i = 0; i < N; i++) {
            const double away = fabs((double)gi[i] * set[4] - (double)m0[i]), denom = sqrt((double)v1[i] / (1 - pow(a.beta2, t + 1))) + a.eps;
            const double by_m = a.lr / (1 - pow(a.beta1, t + 1)) / denom;
            dm[i] = (each ? 0 : a.beta1 * dm[i]) + 2 * U * (1 - a.beta1) * away + 2 * U * fabs((double)m1[i]);
            dv[i] = (each ? 0 : a.beta2 * dv[i]) + 4 * U * (double)v1[i];
            dp[i] = (each ? 0 : dp[i]) + 2 * U * fabs((double)p1[i]) +
                    by_m * (fabs((double)m1[i]) * (8 * U + (v1[i] > 0 ? dv[i] / (2 * (double)v1[i]) : 0)) + dm[i]);
        }
        hold(name, "m", t, m, dm);
        hold(name, "v", t, v, dv);
        hold(name, "p", t, p, dp);
    }
}

static void hold_all(bool each)
{
    static const tr_simd levels[] = { TR_SIMD_AUTO, TR_SIMD_AVX2, TR_SIMD_NONE };
    static const char *const names[] = { "plain", "scaled", "short" };
    for (int k = 0; k < 3; k++) {
        open_device(levels[k]);
        for (int i = 0; i < 3; i++) hold_run(names[i], each);
        close_device();
    }
}

static void each_step_is_torchs(void **state)
{
    (void)state;
    hold_all(true);
}

static void three_hundred_steps_are_torchs(void **state)
{
    (void)state;
    hold_all(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_step_is_torchs), cmocka_unit_test(three_hundred_steps_are_torchs) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
