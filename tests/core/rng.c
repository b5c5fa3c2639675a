/* Random numbers against their published vectors: spec/sampling.md section 7 for torch's stream, Random123's known
 * answers for Philox, Matsumoto's own first outputs for mt19937. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/core.h"

#include <math.h>
#include <string.h>

static void near4(const float *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= 0.5e-4 + 1e-6)) fail_msg("element %d is %.6f, expected %.4f", i, (double)got[i], want[i]);
}

static void mt_first_outputs(void **state)
{
    (void)state;
    tr_mt19937 g;
    tr_mt19937_init(&g, 5489);
    assert_int_equal(tr_mt19937_u32(&g), 3499211612u);
    assert_int_equal(tr_mt19937_u32(&g), 581869302u);
    for (int i = 2; i < 9999; i++) tr_mt19937_u32(&g);
    assert_int_equal(tr_mt19937_u32(&g), 4123659995u);       /* the 10000th: C++ standard, [rand.predef] */
}

static void torch_vectors(void **state)
{
    (void)state;
    static const double seed0[16] = { -1.1258, -1.1524, -0.2506, -0.4339, 0.8487, 0.6920, -0.3160, -2.1152,
                                      0.3223, -1.2633, 0.3500, 0.3081, 0.1198, 1.2377, 1.1168, -0.2473 };
    static const double seed42[16] = { 1.9269, 1.4873, 0.9007, -2.1055, 0.6784, -1.2345, -0.0431, -1.6047,
                                       -0.7521, 1.6487, -0.3925, -1.4036, -0.7279, -0.5594, -0.7688, 0.7624 };
    static const double tail42[5] = { 1.9269, 1.4873, 0.9007, -2.1055, -0.7581 };
    static const double few0[5] = { 1.5410, -0.2934, -2.1788, 0.5684, -1.0845 }, few42[3] = { 0.3367, 0.1288, 0.2345 };
    tr_mt19937 g;
    float x[20];
    tr_mt19937_init(&g, 0);
    tr_mt19937_normal(&g, x, 16);
    near4(x, seed0, 16);
    tr_mt19937_init(&g, 42);
    tr_mt19937_normal(&g, x, 16);
    near4(x, seed42, 16);
    tr_mt19937_init(&g, 42);
    tr_mt19937_normal(&g, x, 20);
    near4(x, tail42, 5);
    tr_mt19937_init(&g, 0);
    tr_mt19937_normal(&g, x, 5);
    near4(x, few0, 5);
    tr_mt19937_init(&g, 42);
    tr_mt19937_normal(&g, x, 3);
    near4(x, few42, 3);
}

/* torch.manual_seed(2**40 + 7) is the stream of seed 7, and a cached half of a pair survives between calls. */
static void seed_and_cache(void **state)
{
    (void)state;
    tr_mt19937 a, b;
    float x[5], y[5];
    tr_mt19937_init(&a, (UINT64_C(1) << 40) + 7);
    tr_mt19937_init(&b, 7);
    tr_mt19937_normal(&a, x, 5);
    for (int i = 0; i < 5; i++) tr_mt19937_normal(&b, y + i, 1);
    assert_memory_equal(x, y, sizeof x);
}

static void philox_known_answers(void **state)
{
    (void)state;
    static const struct { uint64_t key, lo, hi; uint32_t want[4]; } kat[] = {
        { 0, 0, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { UINT64_MAX, UINT64_MAX, UINT64_MAX, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { 0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e, { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (int i = 0; i < 3; i++) {
        uint32_t w[4];
        tr_philox(w, kat[i].key, kat[i].lo, kat[i].hi);
        assert_memory_equal(w, kat[i].want, sizeof w);
    }
}

static void philox_streams(void **state)
{
    (void)state;
    enum { N = 100003 };
    static float a[N], b[N];
    tr_philox_normal(a, N, 1, 2);
    tr_philox_normal(b, 17, 1, 2);
    assert_memory_equal(a, b, 17 * sizeof(float));           /* a prefix does not hang on the length */
    tr_philox_normal(b, 17, 1, 3);
    assert_memory_not_equal(a, b, 17 * sizeof(float));
    double mean = 0, sq = 0;
    for (int i = 0; i < N; i++) mean += (double)a[i] / N, sq += (double)a[i] * (double)a[i] / N;
    if (!(fabs(mean) < 5 / sqrt(N))) fail_msg("mean %g", mean);                  /* five standard errors */
    if (!(fabs(sq - 1) < 5 * sqrt(2.0 / N))) fail_msg("variance %g", sq);
    double sum = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        const float u = tr_philox_uniform(9, 9, i);
        assert_true(u >= 0 && u < 1);
        sum += (double)u;
    }
    if (!(fabs(sum / 1000 - 0.5) < 5 / sqrt(12.0 * 1000))) fail_msg("mean of uniforms %g", sum / 1000);
}

static void system_seeds_differ(void **state)
{
    (void)state;
    uint64_t a = 0, b = 0;
    assert_int_equal(tr_random_seed(&a), TRESS_OK);
    assert_int_equal(tr_random_seed(&b), TRESS_OK);
    assert_true(a != b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mt_first_outputs), cmocka_unit_test(torch_vectors),  cmocka_unit_test(seed_and_cache),
        cmocka_unit_test(philox_known_answers), cmocka_unit_test(philox_streams), cmocka_unit_test(system_seeds_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
