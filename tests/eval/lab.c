/* Colours and their differences against published values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "eval/eval.h"

/* Sharma, Wu and Dalal 2005, The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and mathematical
 * observations, table 1: L1 a1 b1 L2 a2 b2 dE00. */
static const double pairs[34][7] = {
    { 50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425 },   { 50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615 },
    { 50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412 },   { 50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000 },
    { 50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000 },  { 50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000 },
    { 50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669 },      { 50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669 },
    { 50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792 },     { 50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792 },
    { 50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195 },     { 50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195 },
    { 50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045 },     { 50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045 },
    { 50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461 },     { 50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065 },
    { 50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492 },   { 50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977 },
    { 50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030 },   { 50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535 },
    { 50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000 },       { 50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000 },
    { 50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000 },       { 50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000 },
    { 60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644 }, { 63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630 },
    { 61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731 },     { 35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645 },
    { 22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373 }, { 36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146 },
    { 90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441 },     { 90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381 },
    { 6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377 },     { 2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082 },
};

static void ciede2000(void **state)
{
    (void)state;
    for (int k = 0; k < 34; k++) {
        const tr_lab p = { pairs[k][0], pairs[k][1], pairs[k][2] }, q = { pairs[k][3], pairs[k][4], pairs[k][5] };
        if (!(fabs(tr_de00(p, q) - pairs[k][6]) <= 5e-5)) fail_msg("pair %d: %.5f, published %.4f", k + 1, tr_de00(p, q), pairs[k][6]);
        if (!(fabs(tr_de00(q, p) - pairs[k][6]) <= 5e-5)) fail_msg("pair %d turned round: %.5f, published %.4f", k + 1, tr_de00(q, p), pairs[k][6]);
        assert_true(tr_de00(p, p) == 0);
    }
}

/* sRGB's white, black, mid grey and primaries, as the CIE's formulas give them (Lindbloom's calculator, D65, to 4 decimals). */
static void srgb(void **state)
{
    static const double v[][6] = { { 1, 1, 1, 100, 0.0, 0.0 }, { 0, 0, 0, 0, 0, 0 }, { 1, 0, 0, 53.2408, 80.0925, 67.2032 },
                                   { 0, 1, 0, 87.7347, -86.1827, 83.1793 }, { 0, 0, 1, 32.2970, 79.1875, -107.8602 } };
    (void)state;
    for (size_t k = 0; k < sizeof v / sizeof *v; k++) {
        const tr_lab c = tr_lab_of(v[k]);
        if (!(fabs(c.l - v[k][3]) < 2e-3 && fabs(c.a - v[k][4]) < 6e-3 && fabs(c.b - v[k][5]) < 6e-3))
            fail_msg("colour %d: %g %g %g", (int)k, c.l, c.a, c.b);
    }
    for (double g = 0; g <= 1; g += 1 / 255.0) {                    /* greys have no colour */
        const tr_lab c = tr_lab_of((double[3]){ g, g, g });
        assert_true(fabs(c.a) < 0.01 && fabs(c.b) < 0.02);
    }
    assert_true(fabs(tr_srgb_linear(0.5) - 0.2140411) < 1e-6);
}

static void words(void **state)
{
    (void)state;
    tr_wanted w;
    assert_int_equal(tr_wanted_read(&w, "#ff0000"), TRESS_OK);
    assert_true(fabs(w.low.l - 53.24) < 0.01 && w.low.a == w.high.a && fabs(w.low.b - 67.2) < 0.01);
    assert_int_equal(tr_wanted_read(&w, "dark brown"), TRESS_OK);
    assert_true(w.low.l < w.high.l && w.low.l > 1 && w.high.l < 45);
    tr_wanted light;
    assert_int_equal(tr_wanted_read(&light, "platinum blonde"), TRESS_OK);
    assert_true(light.low.l > w.high.l);
    static const char *const bad[] = { "", "beige", "#ff00", "#ff00000", "#gg0000", "Brown ", "#+f0000" };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) assert_int_equal(tr_wanted_read(&w, bad[k]), TRESS_E_ARG);
    assert_non_null(strstr(tr_message(), "dark brown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(ciede2000), cmocka_unit_test(srgb), cmocka_unit_test(words) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
