/* metrics.jsonl: exact numbers, whole lines, and going on from a step whatever the end of the file looks like. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/metrics.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[96];
static char said[4096];
static int n_said;

static void hear(void *self, const char *text)
{
    (void)self;
    n_said++;
    snprintf(said, sizeof said, "%s", text);
}

static int enter(void **state)
{
    (void)state;
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-metrics-XXXXXX" : "/tmp/tress-metrics-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    return 0;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static int clear(void **state)
{
    (void)state;
    tr_io_fail_at(0, TR_IO_ERROR, 0);
    tr_mem_fail_at(0);
    n_said = 0;
    return tr_file_remove(path) == TRESS_OK ? 0 : -1;
}

static void put(const char *text) { assert_int_equal(tr_file_write(path, text, strlen(text)), TRESS_OK); }

static void expect(const char *want)
{
    char *s = NULL;
    size_t n = 0;
    assert_int_equal(tr_file_read(&s, &n, path, 1 << 20), TRESS_OK);
    assert_string_equal(s, want);
    tr_free(s);
}

static tr_metrics *open_at(int64_t step)
{
    tr_metrics *m = NULL;
    assert_int_equal(tr_metrics_open(&m, path, step, hear, NULL), TRESS_OK);
    return m;
}

static void lines_as_json(void **state)
{
    (void)state;
    tr_metrics *m = open_at(-1);
    const tr_field list[] = { tr_field_int("step", 7), tr_field_double("loss", 0.1), tr_field_double("nan", NAN), tr_field_double("inf", -INFINITY),
                              tr_field_text("sample", "a \"b\"\\c\n\x01 h\303\244r"), tr_field_text("latin", "h\344r"), tr_field_int("n", INT64_MIN) };
    assert_int_equal(tr_metrics_add(m, list, 7), TRESS_OK);
    assert_int_equal(tr_metrics_add(m, NULL, 0), TRESS_OK);
    assert_int_equal(tr_metrics_sync(m), TRESS_OK);
    tr_metrics_close(m);
    expect("{\"step\": 7, \"loss\": 0.1, \"nan\": null, \"inf\": null, \"sample\": \"a \\\"b\\\"\\\\c\\u000a\\u0001 h\303\244r\", "
           "\"latin\": \"h\\u00e4r\", \"n\": -9223372036854775808}\n{}\n");
}

/* Every double comes back as it was, in any locale. */
static void numbers_come_back(void **state)
{
    (void)state;
    static const double value[] = { 0, -0.0, 1, 0.1, 1.0 / 3, 1e-300, 4.9e-324, 1.7976931348623157e308, 123456789, 65536, 3.14159274101257324 };
    const char *const name[] = { "loss", "absent" };
    for (int comma = 0; comma < 2; comma++) {
        tr_series s[2] = { { 0 }, { 0 } };
        (void)setlocale(LC_NUMERIC, comma ? "de_DE.UTF-8" : "C");                /* where it is not installed nothing changes */
        tr_metrics *m = open_at(comma ? 0 : -1);
        for (int i = 0; i < 11; i++) {
            const tr_field list[] = { tr_field_int("step", i), tr_field_double("loss", value[i]) };
            assert_int_equal(tr_metrics_add(m, list, 2), TRESS_OK);
        }
        tr_metrics_close(m);
        assert_int_equal(tr_metrics_read(path, name, 2, s), TRESS_OK);
        assert_int_equal(s[0].n, 11 + comma);                                    /* from the first time only step 0 was kept */
        assert_int_equal(s[1].n, 0);
        for (int i = 0; i < 11; i++) {
            assert_int_equal(s[0].step[i + comma], i);
            assert_memory_equal(&s[0].value[i + comma], &value[i], sizeof(double));
        }
        tr_series_fini(&s[0]);
        tr_series_fini(&s[1]);
    }
    setlocale(LC_NUMERIC, "C");
}

static void goes_on_from_a_step(void **state)
{
    (void)state;
    static const struct { int64_t step; const char *before, *after; int said; } cases[] = {
        { -1, "{\"step\": 1}\n{\"step\": 9}\n", "{\"step\": 1}\n{\"step\": 9}\n", 0 },
        { 5, "{\"step\": 5}\n{\"step\": 6}\n{\"step\": 7, \"x\": [1]}\n", "{\"step\": 5}\n", 0 },
        { 5, "{\"step\": 6}\n{\"step\": 4}\n{\"x\": 6}\n", "{\"step\": 4}\n{\"x\": 6}\n", 0 },
        { 0, "{\"step\": 1}\n", "", 0 },
        { 5, "{\"step\": 5}\n{\"step\": 6, \"lo", "{\"step\": 5}\n", 0 },
        { 9, "{\"step\": 5}\n{\"step\": 6, \"lo", "{\"step\": 5}\n", 0 },
        { 9, "{\"step\": 5}\n{\"step\": 6}", "{\"step\": 5}\n{\"step\": 6}\n", 0 },
        { 5, "{\"step\": 5}\n{\"step\": 6}", "{\"step\": 5}\n", 0 },
        { 5, "{\"step\": 4}\nrubbish\n\n[1]\n{\"step\": 6}\n{\"step\": 5}\n", "{\"step\": 4}\nrubbish\n\n[1]\n{\"step\": 5}\n", 3 },
        { 5, "{\"step\": 1.5}\n{\"step\": \"9\"}\n{\"step\": -3}\n", "{\"step\": 1.5}\n{\"step\": \"9\"}\n{\"step\": -3}\n", 0 },
        { 5, "rubbish\n", "rubbish\n", 1 },
        { 5, "", "", 0 },
        { 5, "x\nx\nx\nx\nx\nx\nx\n", "x\nx\nx\nx\nx\nx\nx\n", 6 },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char want[256];
        put(cases[k].before);
        n_said = 0;
        tr_metrics *m = open_at(cases[k].step);
        expect(cases[k].after);
        if (n_said != cases[k].said) fail_msg("case %zu: %d said", k, n_said);
        const tr_field f = tr_field_int("step", 100);
        assert_int_equal(tr_metrics_add(m, &f, 1), TRESS_OK);
        tr_metrics_close(m);
        snprintf(want, sizeof want, "%s{\"step\": 100}\n", cases[k].after);
        expect(want);
    }
    put("{\"step\": 1}\nrubbish\n");
    tr_metrics_close(open_at(3));
    assert_non_null(strstr(said, "line 2"));
}

/* A line without end, deep brackets, NULs: neither stack nor memory go with it. */
static void hostile(void **state)
{
    (void)state;
    const size_t n = 1 << 20;
    const char *const name[] = { "step" };
    char *big = malloc(n);
    assert_non_null(big);
    for (int k = 0; k < 3; k++) {
        tr_series s = { 0 };
        memset(big, k == 0 ? '[' : k == 1 ? 'x' : 0, n);
        memcpy(big, "{\"step\": 1}\n", 12);
        if (k == 1) memcpy(big + 12, "{\"step\": 2, \"t\": \"", 18), memcpy(big + n - 3, "\"}\n", 3);
        assert_int_equal(tr_file_write(path, big, n), TRESS_OK);
        tr_metrics_close(open_at(100));
        assert_int_equal(tr_metrics_read(path, name, 1, &s), TRESS_OK);
        assert_int_equal(s.n, 1);
        tr_series_fini(&s);
        if (k != 1) expect("{\"step\": 1}\n");
    }
    const tr_field f = tr_field_text("t", (memset(big, 'x', n), big[n - 1] = 0, big));
    tr_metrics *m = open_at(-1);
    assert_int_equal(tr_metrics_add(m, &f, 1), TRESS_E_ARG);
    tr_metrics_close(m);
    free(big);
}

static void reads_series(void **state)
{
    (void)state;
    const char *const name[] = { "loss", "lr" };
    tr_series s[2] = { { 0 }, { 0 } };
    assert_int_equal(tr_metrics_read(path, name, 2, s), TRESS_OK);               /* no such file */
    assert_int_equal(s[0].n, 0);
    put("{\"step\": 1, \"loss\": 0.5, \"lr\": 1}\n{\"step\": 2, \"loss\": null}\n{\"loss\": 3}\n{\"step\": 3, \"loss\": \"x\"}\n"
        "{\"step\": 4, \"lr\": 1e-4}\nx\n{\"step\": 5, \"loss\": 1e999}\n{\"step\": 6, \"loss\": 2}");
    assert_int_equal(tr_metrics_read(path, name, 2, s), TRESS_OK);
    assert_int_equal(s[0].n, 2);
    assert_true(s[0].step[0] == 1 && s[0].value[0] == 0.5 && s[0].step[1] == 6 && s[0].value[1] == 2);
    assert_int_equal(s[1].n, 2);
    assert_true(s[1].step[1] == 4 && s[1].value[1] == 1e-4);
    tr_series_fini(&s[0]);
    tr_series_fini(&s[1]);
}

static void add_step(tr_metrics *m, int i)
{
    const tr_field list[] = { tr_field_int("step", i), tr_field_double("loss", 1.0 / i) };
    (void)!tr_metrics_add(m, list, 2);
}

static void die(void) { _exit(137); }          /* as a shell calls a process that was killed */

/* Killed at every call of opening and of ten lines: what is there afterwards is lines 1 to k for some k, and goes on from 3 with 3. */
static void killed_at_every_call(void **state)
{
    (void)state;
    static const char start[] = "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n{\"step\": 4}\n";
    static const char three[] = "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n";
    int status = -1;
    for (int64_t k = 1; k < 100; k++) {
        put(start);
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            tr_metrics *m = NULL;
            tr_io_die_at(k, die);
            if (tr_metrics_open(&m, path, 3, NULL, NULL) != TRESS_OK) _exit(1);
            for (int i = 4; i <= 13; i++) add_step(m, i);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        n_said = 0;
        tr_metrics_close(open_at(3));
        assert_int_equal(n_said, 0);
        expect(three);
        if (WEXITSTATUS(status) == 0) break;
        assert_int_equal(WEXITSTATUS(status), 137);
        int n_swept = 0;
        assert_int_equal(tr_out_sweep(dir, &n_swept), TRESS_OK);
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void faults(void **state)
{
    (void)state;
    static const char start[] = "{\"step\": 1}\n{\"step\": 9}\n";
    int n_fail = 0;
    for (int memory = 0; memory < 2; memory++)
        for (int64_t k = 1; k < 60; k++) {
            tr_metrics *m = NULL;
            tr_series s = { 0 };
            const char *const name[] = { "step" };
            put(start);
            const int64_t bytes = tr_mem_now().bytes;
            if (memory) tr_mem_fail_at(k);
            else tr_io_fail_at(k, TR_IO_ERROR, ENOSPC);
            tress_status st = tr_metrics_open(&m, path, 3, NULL, NULL);
            const tr_field f = tr_field_text("a rather long name, so that the buffer grows", "value");
            if (st == TRESS_OK) st = tr_metrics_add(m, &f, 1);
            if (st == TRESS_OK) st = tr_metrics_sync(m);
            if (st == TRESS_OK) st = tr_metrics_read(path, name, 1, &s);
            const bool full = tr_disk_full();
            tr_mem_fail_at(0);
            tr_io_fail_at(0, TR_IO_ERROR, 0);
            tr_metrics_close(m);
            tr_series_fini(&s);
            assert_int_equal(tr_mem_now().bytes, bytes);
            if (st == TRESS_OK) continue;
            n_fail++;
            assert_int_equal(st, memory ? TRESS_E_OOM : TRESS_E_IO);
            if (!memory) assert_true(full);
            char *text = NULL;
            size_t n = 0;
            assert_int_equal(tr_file_read(&text, &n, path, 1000), TRESS_OK);
            assert_true(strncmp(text, "{\"step\": 1}\n", 12) == 0 && text[n - 1] == '\n');
            tr_free(text);
        }
    assert_true(n_fail > 15);
}

/* After the first, a line takes no memory. */
static void no_allocation(void **state)
{
    (void)state;
    tr_metrics *m = open_at(-1);
    add_step(m, 1000000);
    const int64_t n = tr_mem_now().n_alloc;
    for (int i = 1; i < 100; i++) add_step(m, i);
    assert_int_equal(tr_mem_now().n_alloc, n);
    tr_metrics_close(m);
}

#define TEST(f) cmocka_unit_test_setup(f, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_as_json), TEST(numbers_come_back), TEST(goes_on_from_a_step), TEST(hostile), TEST(reads_series), TEST(killed_at_every_call),
        TEST(faults), TEST(no_allocation),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
