/* The colour start and the guidance of what is coarse, against sums written out in float64. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/diffusion.h"

enum { B = 2, C = 3, H = 10, W = 14, N = B * C * H * W };

static tr_device *device;
static tr_stream *stream;
static float z[C * H * W], noise[N], hair[H * W], x[N], x0[N];

static int setup(void **state)
{
    (void)state;
    if (tr_device_open(&device, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = 2 }) != TRESS_OK) return -1;
    return tr_stream_new(&stream, device) == TRESS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tr_stream_free(stream);
    tr_device_close(device);
    return 0;
}

static void fill(void)
{
    tr_philox_normal(z, C * H * W, 1, 0);
    tr_philox_normal(noise, N, 2, 0);
    tr_philox_normal(x, N, 3, 0);
    tr_philox_normal(x0, N, 4, 0);
    for (int i = 0; i < H * W; i++) {
        const int from = abs(i / W - 4) + abs(i % W - 6);
        hair[i] = from < 4 ? 1 : from < 6 ? 0.35f : 0;
    }
}

static double weight(int i, int j, double reach) { return exp(-0.5 * (i - j) * (i - j) / (reach * reach)); }

/* share m G(m d) / G(m) at a latent pixel. */
static double coarse(const double *d, int at, double guide, double reach)
{
    double sum = 0, all = 0;
    for (int y = 0; y < H; y++)
        for (int k = 0; k < W; k++) {
            const double g = weight(at / W, y, reach) * weight(at % W, k, reach) * (double)hair[y * W + k];
            sum += g * d[y * W + k];
            all += g;
        }
    return hair[at] > 0 ? guide * (double)hair[at] * sum / all : 0;
}

static void run(float start, float guide, float sigma, float next)
{
    static double want_x[N], want_x0[N], d[H * W];
    tr_colour *c = NULL;
    fill();
    for (int i = 0; i < N; i++) want_x[i] = (double)x[i], want_x0[i] = (double)x0[i];
    for (int i = 0; guide > 0 && sigma > 0.4f && i < B * C; i++) {
        for (int k = 0; k < H * W; k++) d[k] = (double)z[i % C * H * W + k] - (double)x0[i * H * W + k];
        for (int k = 0; k < H * W; k++) {
            const double v = coarse(d, k, (double)guide, 6.0 * W / 128);
            want_x0[i * H * W + k] += v;
            want_x[i * H * W + k] += (1 - (double)next / (double)sigma) * v;
        }
    }
    for (int i = 0; start > 0 && sigma > start && next <= start && i < N; i++) {
        const double m = (double)hair[i % (H * W)], seed = (1 - (double)next) * (double)z[i % (C * H * W)] + (double)next * (double)noise[i];
        want_x[i] = m * seed + (1 - m) * want_x[i];
    }
    const tr_colour_args a = { .picture = tr_view(z, TR_F32, TR_DIMS(1, C, H, W)), .noise = tr_view(noise, TR_F32, TR_DIMS(B, C, H, W)), .hair = hair,
                               .start = start, .guide = guide };
    assert_int_equal(tr_colour_new(&c, stream, &a), TRESS_OK);
    assert_int_equal(tr_colour_after(c, stream, tr_view(x, TR_F32, TR_DIMS(B, C, H, W)), tr_view(x0, TR_F32, TR_DIMS(B, C, H, W)), sigma, next), TRESS_OK);
    tr_colour_free(c);
    for (int i = 0; i < N; i++) {
        if (!(fabs((double)x[i] - want_x[i]) <= 4e-6)) fail_msg("start %g, guide %g, %g to %g: x[%d] is %g, expected %g", (double)start, (double)guide, (double)sigma, (double)next, i, (double)x[i], want_x[i]);
        if (!(fabs((double)x0[i] - want_x0[i]) <= 4e-6)) fail_msg("start %g, guide %g, %g to %g: x0[%d] is %g, expected %g", (double)start, (double)guide, (double)sigma, (double)next, i, (double)x0[i], want_x0[i]);
    }
}

static void test_guide(void **state) { (void)state; run(0, 0.3f, 0.8f, 0.7f); run(0, 1, 0.41f, 0); run(0, 0.3f, 0.4f, 0.3f); }
static void test_start(void **state) { (void)state; run(0.92f, 0, 1, 0.92f); run(0.92f, 0, 1, 0.95f); run(0.92f, 0, 0.92f, 0.8f); run(0.92f, 0, 0.93f, 0.5f); }
static void test_both(void **state) { (void)state; run(0.92f, 0.3f, 0.95f, 0.9f); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_guide), cmocka_unit_test(test_start), cmocka_unit_test(test_both) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
