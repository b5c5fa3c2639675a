/* Files when the disk fails: every call of a write or an append fails, is interrupted, is cut short or is the process's last. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/core.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[96];
static char big[200000];
static const int errors[] = { EIO, ENOSPC, EDQUOT, EMFILE };

static int enter(void **state)
{
    (void)state;
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-fault-XXXXXX" : "/tmp/tress-fault-XXXXXX");      /* thousands of flushes */
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)('a' + i % 26);
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/file", dir);
    return 0;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    tr_io_fail_at(0, TR_IO_ERROR, 0);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static int names_in_dir(void)
{
    char **list = NULL;
    int n = 0;
    assert_int_equal(tr_dir_list(&list, &n, dir), TRESS_OK);
    tr_names_free(list, n);
    return n;
}

static void expect(const void *want, size_t n_want)
{
    char *s = NULL;
    size_t n = 0;
    assert_int_equal(tr_file_read(&s, &n, path, sizeof big), TRESS_OK);
    assert_int_equal(n, n_want);
    assert_memory_equal(s, want, n);
    tr_free(s);
}

static tress_status seen(void *self, const char *temp)          /* what is checked is whole, and not yet in place */
{
    char *s = NULL;
    size_t n = 0;
    if (self) return tr_fail(TRESS_E_FORMAT, "refused");
    tress_status st = tr_file_read(&s, &n, temp, sizeof big);
    if (st == TRESS_OK && (n != sizeof big || memcmp(s, big, n) != 0)) st = tr_fail(TRESS_E_FORMAT, "%s is not whole", temp);
    tr_free(s);
    return st;
}

static tress_status save(void *refuse)
{
    tress_status st = TRESS_OK;
    tr_out *f = NULL;
    TR_TRY(tr_out_open(&f, path));
    TR_TRY(tr_out_reserve(f, sizeof big + 1000));                /* more than is written: cut off again */
    for (size_t at = 0; at < sizeof big; at += 50000) TR_TRY(tr_out_write(f, big + at, 50000));
    TR_TRY(tr_out_commit_checked(f, seen, refuse));
done:
    tr_out_close(f);
    return st;
}

static void every_call_of_a_write_fails(void **state)
{
    (void)state;
    int n_fail = 0;
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
        for (int on = 0; on < 2; on++) {
            tress_status st = TRESS_E_IO;
            int64_t made = 0;
            for (int64_t k = 1; k <= 100; k++) {
                assert_int_equal(tr_file_write(path, "old", 3), TRESS_OK);
                const int64_t begin = tr_io_count();
                tr_io_fail_at(k, on ? TR_IO_ERROR_ON : TR_IO_ERROR, errors[e]);
                st = save(NULL);
                const bool full = tr_disk_full();
                tr_io_fail_at(0, TR_IO_ERROR, 0);
                made = tr_io_count() - begin;
                assert_int_equal(names_in_dir(), 1);
                if (st == TRESS_OK) {                            /* the fault fell on a call that did not matter, or behind the last */
                    expect(big, sizeof big);
                    if (k > made) break;
                    continue;
                }
                n_fail++;
                assert_int_equal(st, TRESS_E_IO);
                assert_non_null(strstr(tr_message(), strerror(errors[e])));
                assert_int_equal(full, errors[e] == ENOSPC || errors[e] == EDQUOT);
                struct stat info;
                assert_int_equal(stat(path, &info), 0);
                if (info.st_size == 3) expect("old", 3);
                else expect(big, sizeof big);                    /* only its folder could not be flushed */
            }
            assert_int_equal(st, TRESS_OK);
            assert_true(made > 10);
        }
    assert_true(n_fail > 60);
}

static void interrupted_or_short_is_no_failure(void **state)
{
    (void)state;
    for (int fault = 0; fault < 2; fault++)
        for (int64_t k = 1, made = 1; k <= made; k++) {
            assert_int_equal(tr_file_write(path, "old", 3), TRESS_OK);
            const int64_t begin = tr_io_count();
            tr_io_fail_at(k, fault ? TR_IO_SHORT : TR_IO_ERROR, EINTR);
            assert_int_equal(save(NULL), TRESS_OK);
            tr_io_fail_at(0, TR_IO_ERROR, 0);
            made = tr_io_count() - begin;
            expect(big, sizeof big);
            assert_int_equal(names_in_dir(), 1);
        }
}

static void die(void) { _exit(137); }          /* as a shell calls a process that was killed */

static void killed_at_every_call(void **state)
{
    (void)state;
    int status = 0, n_killed = 0;
    for (int64_t k = 1; k < 100; k++) {
        assert_int_equal(tr_file_write(path, "old", 3), TRESS_OK);
        fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0) {
            tr_io_die_at(k, die);
            _exit(save(NULL) == TRESS_OK ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        int n_swept = -1;
        assert_int_equal(tr_out_sweep(dir, &n_swept), TRESS_OK);
        assert_in_range(n_swept, 0, 1);
        assert_int_equal(names_in_dir(), 1);
        if (WEXITSTATUS(status) == 0) break;
        assert_int_equal(WEXITSTATUS(status), 137);
        struct stat info;
        assert_int_equal(stat(path, &info), 0);
        if (info.st_size == 3) expect("old", 3);
        else expect(big, sizeof big);
        n_killed++;
    }
    assert_true(n_killed > 10 && WEXITSTATUS(status) == 0);
    expect(big, sizeof big);
}

static void what_is_refused_gets_no_name(void **state)
{
    (void)state;
    assert_int_equal(tr_file_write(path, "old", 3), TRESS_OK);
    assert_int_equal(save(big), TRESS_E_FORMAT);
    assert_string_equal(tr_message(), "refused");
    expect("old", 3);
    assert_int_equal(names_in_dir(), 1);
}

/* A log of whole records, whatever single call fails; a record that could not be cut off at once goes before the next one. */
static void appends(void **state)
{
    (void)state;
    int n_fail = 0;
    for (int on = 0; on < 3; on++)
        for (int64_t k = 1; k < 40; k++) {
            tr_append *f = NULL;
            assert_int_equal(tr_file_remove(path), TRESS_OK);
            assert_int_equal(tr_append_open(&f, path, TR_APPEND_NEW), TRESS_OK);
            int n_in = 0;
            if (on == 2) tr_io_fail_at(k, TR_IO_SHORT, 0);       /* then the other half is written */
            else tr_io_fail_at(k, on ? TR_IO_ERROR_ON : TR_IO_ERROR, ENOSPC);
            for (int i = 0; i < 8; i++) {
                const tress_status st = tr_append_add(f, "record\n", 7);
                n_in += st == TRESS_OK;
                if (st == TRESS_OK) continue;
                n_fail++;
                assert_int_equal(st, TRESS_E_IO);
                assert_true(tr_disk_full());
            }
            tr_io_fail_at(0, TR_IO_ERROR, 0);
            if (on == 2) assert_int_equal(n_in, 8);
            assert_int_equal(tr_append_sync(f), TRESS_OK);
            tr_append_close(f);
            char *s = NULL;
            size_t n = 0;
            assert_int_equal(tr_file_read(&s, &n, path, 1000), TRESS_OK);
            assert_int_equal(n, 7 * n_in);
            for (int i = 0; i < n_in; i++) assert_memory_equal(s + 7 * i, "record\n", 7);
            tr_free(s);
        }
    assert_true(n_fail > 30);
    tr_append *f = NULL;
    assert_int_equal(tr_append_open(&f, path, TR_APPEND_NEW), TRESS_E_IO);
    assert_false(tr_disk_full());
    assert_int_equal(tr_append_open(&f, path, TR_APPEND_ANY), TRESS_OK);
    assert_int_equal(tr_append_add(f, "more", 4), TRESS_OK);
    tr_append_close(f);
    assert_int_equal(tr_append_open(&f, dir, TR_APPEND_ANY), TRESS_E_IO);
    char pipe[128];
    snprintf(pipe, sizeof pipe, "%s/pipe", dir);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    f = NULL;
    assert_int_equal(tr_append_open(&f, pipe, TR_APPEND_ANY), TRESS_E_IO);
    assert_null(f);
    assert_int_equal(unlink(pipe), 0);
}

/* Half a record fits, for real: the file may not grow beyond a limit. The half is cut off at once, or, where that fails, later. */
static void half_a_record_is_cut_off(void **state)
{
    (void)state;
    struct rlimit old, low = { 11, 11 };
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low.rlim_max = old.rlim_max;
    for (int cut_fails = 0; cut_fails < 2; cut_fails++) {
        tr_append *f = NULL;
        struct stat info;
        assert_int_equal(tr_file_remove(path), TRESS_OK);
        assert_int_equal(tr_append_open(&f, path, TR_APPEND_NEW), TRESS_OK);
        assert_int_equal(tr_append_add(f, "whole\n", 6), TRESS_OK);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        if (cut_fails) tr_io_fail_at(3, TR_IO_ERROR, EIO);       /* a short write, a failing one, the cut */
        const tress_status st = tr_append_add(f, "torn record\n", 12);
        tr_io_fail_at(0, TR_IO_ERROR, 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(st, TRESS_E_IO);
        assert_non_null(strstr(tr_message(), strerror(EFBIG)));
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_size, cut_fails ? 11 : 6);
        assert_int_equal(tr_append_add(f, "next\n", 5), TRESS_OK);
        tr_append_close(f);
        expect("whole\nnext\n", 11);
    }
}

/* Whether the disk is full belongs to the last failure alone. */
static void full_is_said_of_the_last_failure(void **state)
{
    (void)state;
    assert_int_equal(tr_fail_io(ENOSPC, "%s: no room", "a"), TRESS_E_IO);
    assert_true(tr_disk_full());
    assert_non_null(strstr(tr_message(), "a: no room: "));
    assert_int_equal(tr_note(TRESS_E_IO, "saving"), TRESS_E_IO);
    assert_true(tr_disk_full());                                 /* a clause more is the same failure */
    assert_int_equal(tr_fail(TRESS_E_ARG, "another"), TRESS_E_ARG);
    assert_false(tr_disk_full());
    (void)tr_fail_io(EDQUOT, "b");
    assert_true(tr_disk_full());
    (void)tr_fail_io(EIO, "c");
    assert_false(tr_disk_full());
}

static void sweeps_only_its_own(void **state)
{
    (void)state;
    static const char *const keep[] = { ".tress-0123456789abcdef.tmpx", ".tress-0123456789abcdeF.tmp", ".tress-0123456789abcde.tmp",
                                        "tress-0123456789abcdef.tmp", ".tress-.tmp", "file" };
    char p[160];
    int n = -1;
    for (int i = 0; i < 6; i++) {
        snprintf(p, sizeof p, "%s/%s", dir, keep[i]);
        assert_int_equal(tr_file_write(p, "", 0), TRESS_OK);
    }
    assert_int_equal(tr_out_sweep(dir, &n), TRESS_OK);
    assert_int_equal(n, 0);
    snprintf(p, sizeof p, "%s/.tress-0123456789abcdef.tmp", dir);
    assert_int_equal(tr_file_write(p, "", 0), TRESS_OK);
    assert_int_equal(tr_out_sweep(dir, &n), TRESS_OK);
    assert_int_equal(n, 1);
    assert_int_equal(names_in_dir(), 6);
    char **list = NULL;
    assert_int_equal(tr_dir_list(&list, &n, dir), TRESS_OK);
    assert_string_equal(list[0], ".tress-.tmp");                 /* sorted */
    assert_string_equal(list[5], "tress-0123456789abcdef.tmp");
    tr_names_free(list, n);
    for (int64_t k = 1, st = TRESS_E_OOM; st != TRESS_OK; k++) {
        const int64_t bytes = tr_mem_now().bytes;
        tr_mem_fail_at(k);
        st = tr_out_sweep(dir, &n);
        tr_mem_fail_at(0);
        assert_true(st == TRESS_OK || st == TRESS_E_OOM);
        assert_int_equal(tr_mem_now().bytes, bytes);
    }
    assert_int_equal(tr_out_sweep("/no/such/folder", &n), TRESS_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_a_write_fails), cmocka_unit_test(interrupted_or_short_is_no_failure),
        cmocka_unit_test(killed_at_every_call), cmocka_unit_test(what_is_refused_gets_no_name), cmocka_unit_test(appends),
        cmocka_unit_test(half_a_record_is_cut_off), cmocka_unit_test(sweeps_only_its_own), cmocka_unit_test(full_is_said_of_the_last_failure),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
