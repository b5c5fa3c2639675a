/* loss.svg: well-formed whatever goes in, small however much it is, true to the numbers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/curve_int.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Elements opened are closed, in their order; attributes are quoted; no NaN or infinity; every number is written with a point. */
static void expect_xml(const char *s)
{
    const char *open_tag[32];
    size_t open_n[32];
    int depth = 0;
    assert_null(strstr(s, "nan"));
    assert_null(strstr(s, "inf"));
    for (const char *c = s; *c; c++) {
        if ((unsigned char)*c < 0x20) assert_int_equal(*c, '\n');
        if (*c == '&') assert_true(strncmp(c, "&amp;", 5) == 0 || strncmp(c, "&lt;", 4) == 0 || strncmp(c, "&gt;", 4) == 0);
        if (*c != '<') continue;
        const char *end = c;
        for (bool quoted = false; *end && (quoted || *end != '>'); end++) {
            if (*end == '"') quoted = !quoted;
            assert_true(end == c || *end != '<');
        }
        assert_int_equal(*end, '>');
        if (c[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_int_equal(open_n[depth], end - c - 2);
            assert_memory_equal(open_tag[depth], c + 2, open_n[depth]);
        } else if (end[-1] != '/') {
            assert_true(depth < 32);
            open_tag[depth] = c + 1;
            open_n[depth++] = strcspn(c + 1, " >");
        }
        if (strncmp(c, "<path", 5) == 0) {
            const char *d = strstr(c, " d=\"");
            assert_true(d && d < end);
            assert_int_equal(strspn(d + 4, "0123456789.- MLHVhZ"), strcspn(d + 4, "\""));
        }
        c = end;
    }
    assert_int_equal(depth, 0);
    assert_string_equal(s + strlen(s) - 7, "</svg>\n");
}

static int count(const char *s, const char *word)
{
    int n = 0;
    for (; (s = strstr(s, word)); s++) n++;
    return n;
}

static tr_str draw(const tr_curve *c)
{
    tr_str out = { 0 };
    const int64_t bytes = tr_mem_now().bytes;
    assert_int_equal(tr_curve_draw(&out, c), TRESS_OK);
    expect_xml(out.s);
    assert_true(tr_mem_now().bytes - bytes == (int64_t)out.cap);
    return out;
}

static void fill(tr_series *s, int64_t n, double from, double to)
{
    for (int64_t i = 0; i < n; i++) assert_int_equal(tr_series_add(s, i + 1, from + (to - from) * (double)i / (double)(n > 1 ? n - 1 : 1)), TRESS_OK);
}

static void what_it_shows(void **state)
{
    (void)state;
    tr_series loss = { 0 }, lr = { 0 }, val = { 0 }, low = { 0 };
    fill(&loss, 500, 1, 0.5), fill(&lr, 500, 1e-4, 0);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(tr_series_add(&val, 100 * i, 0.8), TRESS_OK);
        assert_int_equal(tr_series_add(&low, 100 * i, 0.9), TRESS_OK);
    }
    const tr_curve_line lines[] = { { "validation", &val }, { "\xcf\x83 0.1", &low } };
    const tr_curve c = { "hair & <braid>\"\x01\xff", &loss, &lr, lines, 2, 0 };
    tr_str s = draw(&c);
    assert_non_null(strstr(s.s, "<title>hair &amp; &lt;braid&gt;\"?" "?</title>"));
    assert_non_null(strstr(s.s, ">step 500 \xc2\xb7 loss 0.5000 \xc2\xb7 validation 0.8000<"));
    assert_non_null(strstr(s.s, ">\xcf\x83 0.1<"));
    assert_non_null(strstr(s.s, "learning rate"));
    assert_non_null(strstr(s.s, ">1e-4<"));
    assert_int_equal(count(s.s, "<circle"), 1 + 5);              /* in the key, and each validation */
    assert_non_null(strstr(s.s, ">0.8</text>"));                 /* a tick of either axis */
    assert_non_null(strstr(s.s, ">350</text>"));
    tr_str_fini(&s);
    /* the mean in the corner: without smoothing the last value, with it the corrected one */
    const tr_curve plain = { "x", &loss, NULL, NULL, 0, 0.9 };
    s = draw(&plain);
    assert_null(strstr(s.s, "learning rate"));
    char want[64];
    double m = 0;
    for (int i = 0; i < 500; i++) m = 0.9 * m + 0.1 * loss.value[i];
    snprintf(want, sizeof want, "loss %.4f", m / (1 - pow(0.9, 500)));
    assert_non_null(strstr(s.s, want));
    tr_str_fini(&s);
    tr_series_fini(&loss), tr_series_fini(&lr), tr_series_fini(&val), tr_series_fini(&low);
}

/* The mean of one value is that value, of equal ones the same; the start is not pulled to zero. */
static void running_mean(void **state)
{
    (void)state;
    tr_mean m = tr_mean_start(0.99);
    for (int i = 0; i < 1000; i++) assert_true(fabs(tr_mean_add(&m, 3.5) - 3.5) < 1e-12 * 3.5);        /* 1 - w^n loses at most 7 bits of 53 */
    m = tr_mean_start(0.5);
    assert_true(tr_mean_add(&m, 1) == 1);
    assert_true(fabs(tr_mean_add(&m, 4) - 3) < 1e-15 * 8);       /* (0.5 * 1 * 0.5 + 0.5 * 4) / 0.75 */
}

static void many_steps_few_bytes(void **state)
{
    (void)state;
    const int64_t n = 1000000;
    tr_series loss = { 0 }, val[TR_CURVE_LINES] = { { 0 } };
    tr_curve_line lines[TR_CURVE_LINES];
    for (int64_t i = 0; i < n; i++) assert_int_equal(tr_series_add(&loss, i, 1 + 0.0005 * (double)(i * 7919 % 1000)), TRESS_OK);
    loss.value[777777] = 1.9;
    for (int k = 0; k < TR_CURVE_LINES; k++) {
        fill(&val[k], 20000, 1, 0.1 * k);
        lines[k] = (tr_curve_line){ "line", &val[k] };
    }
    const tr_curve c = { "long", &loss, &val[0], lines, TR_CURVE_LINES, -1 };
    tr_str s = draw(&c);
    assert_in_range(s.len, 10000, 180000);                       /* 9 lines and two bands of 1000 points, 12 bytes each, make 156,000 */
    tr_str_fini(&s);
    for (int k = 0; k < TR_CURVE_LINES; k++) tr_series_fini(&val[k]);

    tr_points band[TR_BANDS];
    assert_int_equal(tr_points_bands(band, &loss), TRESS_OK);
    double most = 0;
    for (int i = 0; i < band[0].n; i++) {
        for (int b = 1; b < TR_BANDS; b++) assert_true(band[b].p[i].y >= band[b - 1].p[i].y && band[b].p[i].x == band[0].p[i].x);
        most = fmax(most, band[3].p[i].y);
        /* even values from 1 to 1.5, every fourth of 2000 kept: the quantiles are those of 500 of them, apart by 0.001 or so */
        assert_true(fabs(band[1].p[i].y - 1.05) < 0.005 && fabs(band[2].p[i].y - 1.45) < 0.005);
    }
    assert_int_equal(band[0].n, TR_COLUMNS);
    assert_true(most == 1.9);
    for (int b = 0; b < TR_BANDS; b++) assert_int_equal(band[b].n, band[0].n), tr_free(band[b].p);
    tr_series_fini(&loss);
}

/* No spike and no dip is lost, and the order stays. */
static void envelope(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 9000; n = n * 3 + 1) {
        tr_series s = { 0 };
        tr_points p = { 0 };
        fill(&s, n, 1, 2);
        const int64_t spike = n > 20 ? n / 2 + 5 : n / 2, dip = n > 20 ? n / 3 + 5 : 0;        /* in the middle of a column */
        s.value[dip] = -5, s.value[spike] = 9;
        assert_int_equal(tr_points_envelope(&p, &s), TRESS_OK);
        assert_in_range(p.n, 1, 2 * TR_COLUMNS);
        double least = 100, most = -100;
        for (int i = 0; i < p.n; i++) {
            least = fmin(least, p.p[i].y), most = fmax(most, p.p[i].y);
            assert_true(i == 0 || p.p[i].x > p.p[i - 1].x);
            assert_true(p.p[i].y == s.value[(int64_t)p.p[i].x - 1]);
        }
        assert_true(most == 9 && (n == 1 || least == -5));
        if (n <= 2 * TR_COLUMNS) assert_int_equal(p.n, n);
        else assert_true(p.n > TR_COLUMNS);
        tr_free(p.p);
        tr_series_fini(&s);
    }
}

static void ticks(void **state)
{
    (void)state;
    double t[TR_TICKS];
    int d = 0;
    const tr_axis a = { 0, 1, 0, 100, false }, b = { 0.113, 0.187, 0, 100, false }, c = { 0, 7, 0, 100, false }, e = { 0.004, 3, 0, 100, true };
    assert_int_equal(tr_axis_ticks(&a, 5, false, t, &d), 6);
    assert_true(d == 1 && t[0] == 0 && !signbit(t[0]) && fabs(t[1] - 0.2) < 1e-15 && t[5] == 1);
    const int n = tr_axis_ticks(&b, 8, false, t, &d);
    assert_true(n == 7 && d == 2 && fabs(t[0] - 0.12) < 1e-15 && fabs(t[6] - 0.18) < 1e-15);
    for (int i = 0; i < n; i++) assert_true(t[i] >= b.v0 && t[i] <= b.v1);
    assert_int_equal(tr_axis_ticks(&c, 10, true, t, &d), 8);
    assert_true(d == 0 && t[7] == 7);
    assert_int_equal(tr_axis_ticks(&e, 9, false, t, &d), 9);     /* .005 .01 .02 .05 .1 .2 .5 1 2 */
    assert_true(d == -1 && fabs(t[0] - 0.005) < 1e-15 && t[8] == 2);
    assert_int_equal(tr_decimals(0.005), 3);
    assert_int_equal(tr_decimals(0.1), 1);
    assert_int_equal(tr_decimals(20), 0);
    assert_true(tr_axis_at(&a, 0.25) == 25);
    assert_true(fabs(tr_axis_at(&(tr_axis){ 1, 100, 0, 100, true }, 10) - 50) < 1e-12);
}

/* Whatever numbers a file may hold. */
static void odd_series(void **state)
{
    (void)state;
    static const double value[][4] = {
        { 1, 1, 1, 1 }, { 0, 0, 0, 0 }, { -1, 2, -3, 4 }, { 1e308, -1e308, 1e308, -1e308 }, { 1e-300, 1e300, 1, 2 }, { 4.9e-324, 4.9e-324, 1, 1 },
        { 1e9, 1e9 + 1, 1e9, 1e9 }, { 1e-9, 2e-9, 3e-9, 4e-9 }, { 0, 1e-30, 0, 0 }, { 1e30, 1e30, 1e30, 1e30 }, { -7, -7, -7, -7 },
    };
    for (size_t k = 0; k < sizeof value / sizeof *value; k++)
        for (int n = 0; n <= 4; n++) {
            tr_series s = { 0 };
            for (int i = 0; i < n; i++) assert_int_equal(tr_series_add(&s, k % 2 ? INT64_MAX / 4 * (i + 1) : i, value[k][i]), TRESS_OK);
            const tr_curve_line lines[] = { { "", &s }, { "b", &s } };
            const tr_curve all = { "", &s, &s, lines, 2, -1 }, one = { "x", &s, NULL, NULL, 0, -1 };
            tr_str a = draw(&all), b = draw(&one);
            if (n == 0) assert_non_null(strstr(b.s, "no steps yet"));
            tr_str_fini(&a), tr_str_fini(&b);
            tr_series_fini(&s);
        }
    tr_series s = { 0 };                                         /* steps that fall back or stand still */
    static const int64_t step[] = { 5, 6, 6, 3, 7, 0, 8 };
    for (int i = 0; i < 7; i++) assert_int_equal(tr_series_add(&s, step[i], i), TRESS_OK);
    tr_points p = { 0 };
    assert_int_equal(tr_points_envelope(&p, &s), TRESS_OK);
    assert_int_equal(p.n, 4);
    assert_true(p.p[2].x == 7 && p.p[2].y == 4);
    tr_free(p.p);
    const tr_curve c = { "x", &s, NULL, NULL, 0, -1 };
    tr_str t = draw(&c);
    tr_str_fini(&t);
    tr_series_fini(&s);
}

static void same_in_any_locale(void **state)
{
    (void)state;
    tr_series loss = { 0 };
    fill(&loss, 300, 1.5, 0.25);
    const tr_curve c = { "x", &loss, &loss, NULL, 0, -1 };
    tr_str a = draw(&c);
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") || setlocale(LC_NUMERIC, "fr_FR.UTF-8")) {
        tr_str b = draw(&c);
        assert_string_equal(a.s, b.s);
        tr_str_fini(&b);
    }
    setlocale(LC_NUMERIC, "C");
    tr_str_fini(&a);
    tr_series_fini(&loss);
}

static void written(void **state)
{
    (void)state;
    char dir[] = "/tmp/tress-curve-XXXXXX", path[64], cmd[64], *text = NULL;
    size_t n = 0;
    tr_series loss = { 0 };
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/loss.svg", dir);
    fill(&loss, 9000, 1, 0.5);
    const tr_curve_line line = { "v", &loss };
    const tr_curve c = { "x", &loss, &loss, &line, 1, -1 };
    assert_int_equal(tr_file_write(path, "old", 3), TRESS_OK);
    for (int memory = 0; memory < 2; memory++) {
        tress_status st = TRESS_E_IO;
        int k = 1;
        for (; k < 200 && st != TRESS_OK; k++) {
            const int64_t bytes = tr_mem_now().bytes;
            if (memory) tr_mem_fail_at(k);
            else tr_io_fail_at(k, TR_IO_ERROR_ON, ENOSPC);
            st = tr_curve_write(path, &c);
            tr_mem_fail_at(0);
            tr_io_fail_at(0, TR_IO_ERROR, 0);
            assert_int_equal(tr_mem_now().bytes, bytes);
            if (st != TRESS_OK) assert_int_equal(st, memory ? TRESS_E_OOM : TRESS_E_IO);
            assert_int_equal(tr_file_read(&text, &n, path, 1 << 20), TRESS_OK);
            assert_true(n == 3 || strcmp(text + n - 7, "</svg>\n") == 0);
            tr_free(text);
        }
        assert_true(st == TRESS_OK && k > 5);
    }
    tr_series_fini(&loss);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_shows), cmocka_unit_test(running_mean), cmocka_unit_test(many_steps_few_bytes), cmocka_unit_test(envelope),
        cmocka_unit_test(ticks), cmocka_unit_test(odd_series), cmocka_unit_test(same_in_any_locale), cmocka_unit_test(written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
