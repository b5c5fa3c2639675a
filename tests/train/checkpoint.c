/* Checkpoints: what goes in comes out; one wrong bit or a missing byte is found; no fault of the disk costs the one before. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/checkpoint.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[128], older[128];
static float a[3 * 40], b[40 * 2];
static uint16_t half[5] = { 0, 0x3c00, 0xfbff, 1, 0x8000 };
static int64_t counts[2] = { 7, INT64_C(-9000000000) };
static const char *meta[] = { "tress.step", "250", "config", "{\"name\": \"h\303\244r\",\n\"x\": 1}", "empty", "", NULL };

static tr_named *tensors(int *n)
{
    static tr_named list[5];
    list[0] = (tr_named){ "lora.b", tr_view(b, TR_F32, TR_DIMS(40, 2)) };
    list[1] = (tr_named){ "lora.a", tr_view(a, TR_F32, TR_DIMS(3, 40)) };
    list[2] = (tr_named){ "half", tr_view(half, TR_F16, TR_DIMS(5)) };
    list[3] = (tr_named){ "counts", tr_view(counts, TR_I64, TR_DIMS(2)) };
    list[4] = (tr_named){ "nothing", tr_view(a, TR_F32, TR_DIMS(0, 3)) };
    *n = 5;
    return list;
}

static tress_status save(const char *to)
{
    int n = 0;
    const tr_named *list = tensors(&n);
    return tr_checkpoint_save(to, list, n, meta);
}

static int enter(void **state)
{
    (void)state;
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-ckpt-XXXXXX" : "/tmp/tress-ckpt-XXXXXX");
    for (int i = 0; i < 120; i++) a[i] = sinf((float)i);
    for (int i = 0; i < 80; i++) b[i] = 1e-30f * cosf((float)i);
    return mkdtemp(dir) ? 0 : -1;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

/* Each test begins with an empty folder and the names of two checkpoints in it. */
static int clear(void **state)
{
    char cmd[160], *p = NULL;
    (void)state;
    tr_io_fail_at(0, TR_IO_ERROR, 0);
    tr_mem_fail_at(0);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'/* '%s'/.tress*", dir, dir);
    if (system(cmd) != 0 || tr_checkpoint_path(&p, dir, 250) != TRESS_OK) return -1;
    strcpy(path, p);
    tr_free(p);
    if (tr_checkpoint_path(&p, dir, 9) != TRESS_OK) return -1;
    strcpy(older, p);
    tr_free(p);
    return 0;
}

static int names_in_dir(void)
{
    char **list = NULL;
    int n = 0;
    assert_int_equal(tr_dir_list(&list, &n, dir), TRESS_OK);
    tr_names_free(list, n);
    return n;
}

static void write_raw(const char *to, const void *bytes, size_t n)
{
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static tress_status try_open(const char *from)
{
    tr_checkpoint *c = NULL;
    const int64_t bytes = tr_mem_now().bytes;
    const tress_status st = tr_checkpoint_open(&c, from);
    assert_int_equal(c != NULL, st == TRESS_OK);
    tr_checkpoint_close(c);
    assert_int_equal(tr_mem_now().bytes, bytes);
    return st;
}

static void comes_back(void **state)
{
    (void)state;
    tr_checkpoint *c = NULL;
    float x[120], y[80];
    uint16_t h[5];
    int64_t k[2], step = 0;
    assert_int_equal(save(path), TRESS_OK);
    assert_int_equal(names_in_dir(), 1);
    assert_int_equal(tr_checkpoint_open(&c, path), TRESS_OK);
    assert_string_equal(tr_checkpoint_file(c), path);
    assert_int_equal(tr_checkpoint_count(c), 5);
    assert_int_equal(tr_checkpoint_read(c, "lora.a", tr_view(x, TR_F32, TR_DIMS(3, 40))), TRESS_OK);
    assert_memory_equal(x, a, sizeof a);
    assert_int_equal(tr_checkpoint_read(c, "lora.b", tr_view(y, TR_F32, TR_DIMS(40, 2))), TRESS_OK);
    assert_memory_equal(y, b, sizeof b);
    assert_int_equal(tr_checkpoint_read(c, "half", tr_view(h, TR_F16, TR_DIMS(5))), TRESS_OK);
    assert_memory_equal(h, half, sizeof half);
    assert_int_equal(tr_checkpoint_read(c, "counts", tr_view(k, TR_I64, TR_DIMS(2))), TRESS_OK);
    assert_memory_equal(k, counts, sizeof counts);
    assert_int_equal(tr_checkpoint_read(c, "nothing", tr_view(x, TR_F32, TR_DIMS(0, 3))), TRESS_OK);
    for (int i = 0; meta[i]; i += 2) assert_string_equal(tr_checkpoint_meta(c, meta[i]), meta[i + 1]);
    assert_int_equal(tr_checkpoint_int(c, "tress.step", 0, 250, &step), TRESS_OK);
    assert_int_equal(step, 250);
    assert_int_equal(tr_checkpoint_int(c, "tress.step", 0, 249, &step), TRESS_E_FORMAT);
    assert_int_equal(tr_checkpoint_int(c, "tress.step", 251, 999, &step), TRESS_E_FORMAT);
    assert_int_equal(tr_checkpoint_int(c, "config", 0, 249, &step), TRESS_E_FORMAT);
    assert_int_equal(tr_checkpoint_int(c, "empty", 0, 249, &step), TRESS_E_FORMAT);
    assert_int_equal(tr_checkpoint_int(c, "absent", 0, 249, &step), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "absent"));

    assert_true(tr_checkpoint_has(c, "half"));
    assert_false(tr_checkpoint_has(c, "hal"));
    assert_null(tr_checkpoint_meta(c, "absent"));
    assert_int_equal(tr_checkpoint_read(c, "lora.c", tr_view(x, TR_F32, TR_DIMS(3, 40))), TRESS_E_FORMAT);
    assert_int_equal(tr_checkpoint_read(c, "lora.a", tr_view(x, TR_F32, TR_DIMS(40, 3))), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "lora.a is [3, 40], expected [40, 3]"));
    assert_int_equal(tr_checkpoint_read(c, "lora.a", tr_view(x, TR_F32, TR_DIMS(120))), TRESS_E_SHAPE);
    assert_int_equal(tr_checkpoint_read(c, "half", tr_view(h, TR_BF16, TR_DIMS(5))), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "half is F16, expected BF16"));
    tr_checkpoint_close(c);
}

/* The digest hangs on the contents alone: not on the order in which they are given. */
static void order_does_not_matter(void **state)
{
    (void)state;
    int n = 0;
    const tr_named *list = tensors(&n);
    tr_named back[5];
    const char *meta_back[] = { meta[4], meta[5], meta[2], meta[3], meta[0], meta[1], NULL };
    for (int i = 0; i < n; i++) back[i] = list[n - 1 - i];
    assert_int_equal(save(path), TRESS_OK);
    assert_int_equal(tr_checkpoint_save(older, back, n, meta_back), TRESS_OK);
    tr_checkpoint *c = NULL, *d = NULL;
    assert_int_equal(tr_checkpoint_open(&c, path), TRESS_OK);
    assert_int_equal(tr_checkpoint_open(&d, older), TRESS_OK);
    assert_string_equal(tr_checkpoint_meta(c, TR_CHECKPOINT_DIGEST), tr_checkpoint_meta(d, TR_CHECKPOINT_DIGEST));
    assert_int_equal(strlen(tr_checkpoint_meta(c, TR_CHECKPOINT_DIGEST)), 64);
    tr_checkpoint_close(c);
    tr_checkpoint_close(d);
    assert_int_equal(tr_checkpoint_save(older, NULL, 0, NULL), TRESS_OK);       /* as empty as can be */
    assert_int_equal(try_open(older), TRESS_OK);
}

static void every_bit_counts(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(save(path), TRESS_OK);
    assert_int_equal(tr_file_read(&text, &n, path, 1 << 20), TRESS_OK);
    assert_in_range(n, 1000, 5000);
    for (size_t i = 0; i < 8 * n; i++) {
        text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
        write_raw(path, text, n);
        text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
        const tress_status st = try_open(path);
        if (st != TRESS_E_FORMAT) fail_msg("bit %zu of byte %zu: %s", i % 8, i / 8, tress_status_name(st));
        assert_non_null(strstr(tr_message(), path));
    }
    for (size_t k = 0; k < n; k++) {
        write_raw(path, text, k);
        if (try_open(path) != TRESS_E_FORMAT) fail_msg("cut to %zu bytes", k);
    }
    write_raw(path, text, n + 1);                               /* a NUL more */
    assert_int_equal(try_open(path), TRESS_E_FORMAT);
    write_raw(path, text, n);
    assert_int_equal(try_open(path), TRESS_OK);
    tr_free(text);
}

/* Swapped tensors, a renamed one, another shape of the same bytes: each a well-formed file. */
static void contents_exchanged(void **state)
{
    (void)state;
    int n = 0;
    char digest[65];
    tr_checkpoint *c = NULL;
    assert_int_equal(save(path), TRESS_OK);
    assert_int_equal(tr_checkpoint_open(&c, path), TRESS_OK);
    strcpy(digest, tr_checkpoint_meta(c, TR_CHECKPOINT_DIGEST));
    tr_checkpoint_close(c);
    const char *forged[] = { TR_CHECKPOINT_DIGEST, digest, meta[0], meta[1], meta[2], meta[3], meta[4], meta[5], NULL };
    for (int k = 0; k < 7; k++) {
        tr_named list[5];
        memcpy(list, tensors(&n), sizeof list);
        if (k == 1) list[0].name = "lora.a", list[1].name = "lora.b";
        if (k == 2) list[3].name = "count";
        if (k == 3) list[1].t = tr_view(a, TR_F32, TR_DIMS(40, 3));
        if (k == 4) list[2].t = tr_view(half, TR_BF16, TR_DIMS(5));
        if (k == 5) list[4].t = tr_view(a, TR_F32, TR_DIMS(0, 4));
        forged[3] = k == 6 ? "251" : meta[1];
        assert_int_equal(tr_safetensors_write(path, list, n, forged), TRESS_OK);
        assert_int_equal(try_open(path), k == 0 ? TRESS_OK : TRESS_E_FORMAT);
        if (k) assert_non_null(strstr(tr_message(), "its digest does not match"));
    }
    assert_int_equal(tr_safetensors_write(path, tensors(&n), n, meta), TRESS_OK);
    assert_int_equal(try_open(path), TRESS_E_FORMAT);
    assert_non_null(strstr(tr_message(), "no tress.digest"));
}

static void nothing_but_numbers(void **state)
{
    (void)state;
    const float keep = a[77];
    const uint16_t keep_half = half[3];
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        a[77] = bad[i];
        assert_int_equal(save(path), TRESS_E_NONFINITE);
        assert_non_null(strstr(tr_message(), "lora.a"));
        assert_non_null(strstr(tr_message(), "77"));
    }
    a[77] = keep;
    half[3] = 0xfc00;
    assert_int_equal(save(path), TRESS_E_NONFINITE);
    half[3] = keep_half;
    assert_int_equal(names_in_dir(), 0);

    tr_named twice[2] = { { "x", tr_view(a, TR_F32, TR_DIMS(2)) }, { "x", tr_view(a, TR_F32, TR_DIMS(2)) } };
    static const char *const meta_twice[] = { "k", "1", "k", "1", NULL };
    assert_int_equal(tr_checkpoint_save(path, twice, 2, NULL), TRESS_E_ARG);
    assert_int_equal(tr_checkpoint_save(path, twice, 1, meta_twice), TRESS_E_ARG);
    assert_int_equal(names_in_dir(), 0);
}

/* Larger than the buffer, so that data are written and not only buffered. */
static float large[50000];
static tress_status save_large(const char *to, float value)
{
    for (int i = 0; i < 50000; i++) large[i] = value;
    const tr_named list = { "large", tr_view(large, TR_F32, TR_DIMS(50000)) };
    return tr_checkpoint_save(to, &list, 1, meta);
}

static int64_t calls_of_a_save(void)
{
    const int64_t begin = tr_io_count();
    assert_int_equal(save_large(path, 1), TRESS_OK);
    const int64_t n = tr_io_count() - begin;
    assert_int_equal(tr_file_remove(path), TRESS_OK);
    assert_in_range(n, 11, 30);
    return n;
}

static void expect_large(const char *from, float value)
{
    tr_checkpoint *c = NULL;
    if (tr_checkpoint_open(&c, from) != TRESS_OK) fail_msg("%s", tr_message());
    assert_int_equal(tr_checkpoint_read(c, "large", tr_view(large, TR_F32, TR_DIMS(50000))), TRESS_OK);
    for (int i = 0; i < 50000; i++) assert_true(large[i] == value);
    tr_checkpoint_close(c);
}

static void expect_latest(float value)
{
    tr_checkpoint *c = NULL;
    assert_int_equal(tr_checkpoint_latest(&c, dir, NULL, NULL), TRESS_OK);
    assert_non_null(c);
    char p[128];
    strcpy(p, tr_checkpoint_file(c));
    tr_checkpoint_close(c);
    expect_large(p, value);
}

static void no_fault_costs_the_one_before(void **state)
{
    (void)state;
    static const int errors[] = { EIO, ENOSPC, EDQUOT, EMFILE, EINTR };
    const int64_t n_call = calls_of_a_save();
    int n_fail = 0;
    assert_int_equal(save_large(older, 1), TRESS_OK);
    for (int e = 0; e < 5; e++)
        for (int fault = 0; fault < 3; fault++) {                /* one error, errors from there on, a short write */
            if (fault == 1 && errors[e] == EINTR) continue;      /* for ever: that is no fault of a disk */
            int n_fine = 0;
            for (int64_t k = 1; k <= n_call; k++) {
                const int64_t bytes = tr_mem_now().bytes;
                tr_io_fail_at(k, fault == 0 ? TR_IO_ERROR : fault == 1 ? TR_IO_ERROR_ON : TR_IO_SHORT, errors[e]);
                const tress_status st = save_large(path, 2);
                const bool full = tr_disk_full();
                tr_io_fail_at(0, TR_IO_ERROR, 0);
                assert_int_equal(tr_mem_now().bytes, bytes);
                assert_int_equal(names_in_dir(), tr_file_exists(path) ? 2 : 1);
                if (fault == 2 || errors[e] == EINTR) assert_int_equal(st, TRESS_OK);
                n_fine += st == TRESS_OK;
                if (st != TRESS_OK) {
                    n_fail++;
                    assert_int_equal(st, TRESS_E_IO);
                    assert_int_equal(full, errors[e] == ENOSPC || errors[e] == EDQUOT);
                }
                /* in place although it failed: only the flush of its folder did */
                expect_latest(st == TRESS_OK || tr_file_exists(path) ? 2 : 1);
                expect_large(older, 1);
                assert_int_equal(tr_file_remove(path), TRESS_OK);
            }
            /* nothing hangs on closing what was only read: the file that is checked, the folder */
            if (fault == 0 && errors[e] != EINTR) assert_int_equal(n_fine, 2);
        }
    assert_true(n_fail > 70);
}

/* The same when the file is there already: it is the old or the new one, never a mixture. */
static void a_file_of_the_same_name(void **state)
{
    (void)state;
    const int64_t n_call = calls_of_a_save();
    for (int64_t k = 1; k <= n_call; k++) {
        assert_int_equal(save_large(path, 1), TRESS_OK);
        tr_io_fail_at(k, TR_IO_ERROR, EIO);
        const tress_status st = save_large(path, 2);
        tr_io_fail_at(0, TR_IO_ERROR, 0);
        assert_int_equal(names_in_dir(), 1);
        tr_checkpoint *c = NULL;
        assert_int_equal(tr_checkpoint_open(&c, path), TRESS_OK);
        assert_int_equal(tr_checkpoint_read(c, "large", tr_view(large, TR_F32, TR_DIMS(50000))), TRESS_OK);
        tr_checkpoint_close(c);
        assert_true(large[0] == 2 || (st != TRESS_OK && large[0] == 1));
        for (int i = 0; i < 50000; i++) assert_true(large[i] == large[0]);
    }
}

/* A byte goes wrong between memory and disk: found before the file has its name. */
static void written_wrong(void **state)
{
    (void)state;
    int n_found = 0;
    const int64_t n_call = calls_of_a_save();
    assert_int_equal(save_large(older, 1), TRESS_OK);
    for (int64_t k = 1; k <= n_call; k++) {
        tr_io_fail_at(k, TR_IO_WRONG, 0);
        const tress_status st = save_large(path, 2);
        tr_io_fail_at(0, TR_IO_ERROR, 0);
        if (st == TRESS_OK) {                                    /* the call was no write */
            expect_large(path, 2);
            assert_int_equal(tr_file_remove(path), TRESS_OK);
            continue;
        }
        n_found++;
        assert_int_equal(st, TRESS_E_FORMAT);
        assert_int_equal(names_in_dir(), 1);
        expect_large(older, 1);
    }
    assert_true(n_found >= 2);
}

static void die(void) { _exit(137); }          /* as a shell calls a process that was killed */

static void killed_at_every_call(void **state)
{
    (void)state;
    int status = -1, n_killed = 0;
    assert_int_equal(save_large(older, 1), TRESS_OK);
    for (int64_t k = 1; k < 200; k++) {
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            tr_io_die_at(k, die);
            _exit(save_large(path, 2) == TRESS_OK ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        const bool there = tr_file_exists(path);
        expect_latest(there ? 2 : 1);
        assert_int_equal(tr_checkpoint_clean(dir, NULL, NULL), TRESS_OK);
        assert_int_equal(names_in_dir(), there ? 2 : 1);
        if (WEXITSTATUS(status) == 0) break;
        assert_int_equal(WEXITSTATUS(status), 137);
        n_killed++;
        assert_int_equal(tr_file_remove(path), TRESS_OK);
    }
    assert_true(n_killed > 10 && WEXITSTATUS(status) == 0);
}

static void without_memory(void **state)
{
    (void)state;
    assert_int_equal(save(older), TRESS_OK);
    int n_fail = 0;
    tr_checkpoint *c = NULL;
    for (int what = 0; what < 5; what++) {
        tress_status st = TRESS_E_OOM;
        for (int64_t k = 1; k < 300 && st != TRESS_OK; k++) {
            const int64_t bytes = tr_mem_now().bytes;
            tr_mem_fail_at(k);
            st = what == 0 ? save(path) : what == 1 ? tr_checkpoint_open(&c, path) : what == 2 ? tr_checkpoint_latest(&c, dir, NULL, NULL)
               : what == 3 ? tr_checkpoint_clean(dir, NULL, NULL) : tr_checkpoint_prune(dir, 1, NULL, NULL);
            tr_mem_fail_at(0);
            assert_true(st == TRESS_OK || st == TRESS_E_OOM);
            n_fail += st != TRESS_OK;
            if (what == 0) assert_int_equal(names_in_dir(), st == TRESS_OK ? 2 : 1);
            else if (st != TRESS_OK) assert_int_equal(names_in_dir(), 2);
            if (st == TRESS_OK) tr_checkpoint_close(c);
            c = NULL;
            assert_int_equal(tr_mem_now().bytes, bytes);
            assert_int_equal(try_open(older), what == 4 && st == TRESS_OK ? TRESS_E_IO : TRESS_OK);
        }
        assert_int_equal(st, TRESS_OK);
    }
    assert_true(n_fail > 30);
}

/* ---- the folder -------------------------------------------------------------------------------------------- */
static char said[4096];
static int n_said;

static void hear(void *self, const char *text)
{
    (void)self;
    n_said++;
    snprintf(said, sizeof said, "%s", text);
}

static void damage(const char *which)
{
    FILE *f = fopen(which, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -3, SEEK_END), 0);
    const int c = fgetc(f);
    assert_int_equal(fseek(f, -3, SEEK_END), 0);
    fputc(c ^ 4, f);
    assert_int_equal(fclose(f), 0);
}

static const char *at_step(int64_t step)
{
    static char p[128];
    char *q = NULL;
    assert_int_equal(tr_checkpoint_path(&q, dir, step), TRESS_OK);
    strcpy(p, q);
    tr_free(q);
    return p;
}

static void names(void **state)
{
    (void)state;
    char *p = NULL;
    assert_int_equal(tr_checkpoint_path(&p, "run/checkpoints", 250), TRESS_OK);
    assert_string_equal(p, "run/checkpoints/step-000000250.safetensors");
    assert_int_equal(tr_checkpoint_step(p), 250);
    tr_free(p);
    assert_int_equal(tr_checkpoint_step("step-999999999.safetensors"), TR_RUN_STEP_MAX);
    assert_int_equal(tr_checkpoint_step("step-000000000.safetensors"), 0);
    static const char *const no[] = { "step-00000250.safetensors", "step-0000000250.safetensors", "step-000000250.safetensors.tmp", "step-+00000250.safetensors",
                                      "step-00000025x.safetensors", "Step-000000250.safetensors", "step-000000250.pt", "step-000000250.safetensors/x", "step-", "" };
    for (int i = 0; i < 10; i++) assert_int_equal(tr_checkpoint_step(no[i]), -1);
}

static void latest_is_the_newest_intact(void **state)
{
    (void)state;
    tr_checkpoint *c = NULL;
    char p[200];
    n_said = 0;
    assert_int_equal(tr_checkpoint_latest(&c, dir, hear, NULL), TRESS_OK);
    assert_null(c);
    assert_int_equal(tr_checkpoint_latest(&c, "/no/such/folder", hear, NULL), TRESS_E_IO);
    for (int64_t step = 100; step <= 400; step += 100) assert_int_equal(save_large(at_step(step), (float)step), TRESS_OK);
    snprintf(p, sizeof p, "%s/step-000000900.safetensors.tmp", dir);     /* sorts last, and is no checkpoint */
    assert_int_equal(tr_file_write(p, "x", 1), TRESS_OK);
    expect_latest(400);
    damage(at_step(400));
    assert_int_equal(tr_file_write(at_step(300), "torn", 4), TRESS_OK);
    assert_int_equal(tr_checkpoint_latest(&c, dir, hear, NULL), TRESS_OK);
    assert_string_equal(tr_checkpoint_file(c), at_step(200));
    tr_checkpoint_close(c);
    assert_int_equal(n_said, 2);
    assert_non_null(strstr(said, at_step(300)));
    assert_int_equal(mkdir(at_step(500), 0700), 0);                      /* a folder of that name is none either */
    expect_latest(200);
    damage(at_step(200));
    damage(at_step(100));
    c = NULL;
    assert_int_equal(tr_checkpoint_latest(&c, dir, NULL, NULL), TRESS_E_FORMAT);
    assert_null(c);
    assert_non_null(strstr(tr_message(), "none of the 5"));
}

static void pruned(void **state)
{
    (void)state;
    char p[200];
    for (int64_t step = 1; step <= 6; step++) assert_int_equal(save_large(at_step(step), (float)step), TRESS_OK);
    snprintf(p, sizeof p, "%s/step-1.safetensors", dir);
    assert_int_equal(tr_file_write(p, "x", 1), TRESS_OK);
    assert_int_equal(tr_checkpoint_prune(dir, 7, hear, NULL), TRESS_OK);
    assert_int_equal(names_in_dir(), 7);
    assert_int_equal(tr_checkpoint_prune(dir, 4, hear, NULL), TRESS_OK);
    assert_int_equal(names_in_dir(), 5);
    for (int64_t step = 1; step <= 6; step++) assert_int_equal(tr_file_exists(at_step(step)), step > 2);
    assert_true(tr_file_exists(p));

    /* none of the two that stay is intact: the newest intact one stays too */
    damage(at_step(6));
    damage(at_step(5));
    assert_int_equal(tr_checkpoint_prune(dir, 2, hear, NULL), TRESS_OK);
    for (int64_t step = 1; step <= 6; step++) assert_int_equal(tr_file_exists(at_step(step)), step > 3);
    expect_latest(4);

    /* nothing intact: nothing is removed */
    damage(at_step(4));
    n_said = 0;
    assert_int_equal(tr_checkpoint_prune(dir, 1, hear, NULL), TRESS_OK);
    assert_int_equal(n_said, 1);
    assert_int_equal(names_in_dir(), 4);

    /* what cannot be removed is said, and the rest goes */
    assert_int_equal(save_large(at_step(7), 7), TRESS_OK);
    int n_left = 0;
    for (int64_t k = 1; n_left == 0 && k < 100; k++) {           /* the calls before the removals only open and close */
        for (int64_t step = 4; step <= 6; step++) assert_int_equal(save_large(at_step(step), (float)step), TRESS_OK);
        n_said = 0;
        tr_io_fail_at(k, TR_IO_ERROR, EIO);
        assert_int_equal(tr_checkpoint_prune(dir, 1, hear, NULL), TRESS_OK);
        tr_io_fail_at(0, TR_IO_ERROR, 0);
        assert_true(tr_file_exists(at_step(7)));
        for (int64_t step = 4; step <= 6; step++) n_left += n_said > 0 && tr_file_exists(at_step(step));
    }
    assert_int_equal(n_left, 1);
    assert_int_equal(n_said, 1);
    assert_non_null(strstr(said, "cannot be removed"));
}

static void cleaned(void **state)
{
    (void)state;
    char p[200];
    n_said = 0;
    assert_int_equal(save(path), TRESS_OK);
    snprintf(p, sizeof p, "%s/.tress-00000000000000ff.tmp", dir);
    assert_int_equal(tr_checkpoint_clean(dir, hear, NULL), TRESS_OK);
    assert_int_equal(n_said, 0);
    assert_int_equal(tr_file_write(p, "x", 1), TRESS_OK);
    assert_int_equal(tr_checkpoint_clean(dir, hear, NULL), TRESS_OK);
    assert_int_equal(n_said, 1);
    assert_int_equal(names_in_dir(), 1);
    assert_int_equal(try_open(path), TRESS_OK);
}

#define TEST(f) cmocka_unit_test_setup(f, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(comes_back), TEST(order_does_not_matter), TEST(every_bit_counts), TEST(contents_exchanged), TEST(nothing_but_numbers),
        TEST(no_fault_costs_the_one_before), TEST(a_file_of_the_same_name), TEST(killed_at_every_call),
        TEST(written_wrong), TEST(without_memory), TEST(names), TEST(latest_is_the_newest_intact), TEST(pruned), TEST(cleaned),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
