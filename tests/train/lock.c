/* One process in a folder, and no run over another one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/lock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static int enter(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tress-lock-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static void one_at_a_time(void **state)
{
    (void)state;
    tr_lock *a = NULL, *b = NULL;
    assert_int_equal(tr_lock_open(&a, dir), TRESS_OK);
    assert_int_equal(tr_lock_open(&b, dir), TRESS_E_IO);
    assert_null(b);
    assert_non_null(strstr(tr_message(), dir));
    assert_non_null(strstr(tr_message(), "another process"));
    tr_lock_close(a);
    assert_int_equal(tr_lock_open(&a, dir), TRESS_OK);
    tr_lock_close(a);
    assert_int_equal(tr_lock_open(&a, "/no/such/folder"), TRESS_E_IO);
    tr_lock_close(NULL);
}

/* A process that is killed leaves no lock. */
static void killed(void **state)
{
    (void)state;
    int ready[2], status = 0;
    char c = 0;
    tr_lock *l = NULL;
    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        if (tr_lock_open(&l, dir) != TRESS_OK || write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(tr_lock_open(&l, dir), TRESS_E_IO);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(tr_lock_open(&l, dir), TRESS_OK);
    tr_lock_close(l);
    close(ready[0]), close(ready[1]);
}

static void empty(void **state)
{
    (void)state;
    char p[160];
    assert_int_equal(tr_lock_check_empty("/no/such/folder"), TRESS_OK);
    assert_int_equal(tr_lock_check_empty(dir), TRESS_OK);        /* .lock is there, from before */
    for (int i = 0; i < 10; i++) {
        snprintf(p, sizeof p, "%s/%c", dir, 'a' + i);
        assert_int_equal(tr_file_write(p, "x", 1), TRESS_OK);
        assert_int_equal(tr_lock_check_empty(dir), TRESS_E_ARG);
        if (i == 1) assert_non_null(strstr(tr_message(), "holds a, b: "));
    }
    assert_non_null(strstr(tr_message(), "g, h and 2 more"));
    assert_non_null(strstr(tr_message(), "--resume"));
}

static void without_memory(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        tress_status st = TRESS_E_OOM;
        int k = 1;
        for (; k < 50 && st == TRESS_E_OOM; k++) {
            tr_lock *l = NULL;
            const int64_t bytes = tr_mem_now().bytes;
            tr_mem_fail_at(k);
            st = what ? tr_lock_check_empty(dir) : tr_lock_open(&l, dir);
            tr_mem_fail_at(0);
            tr_lock_close(l);
            assert_int_equal(tr_mem_now().bytes, bytes);
        }
        assert_int_equal(st, what ? TRESS_E_ARG : TRESS_OK);
        assert_true(k > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_at_a_time), cmocka_unit_test(killed), cmocka_unit_test(empty), cmocka_unit_test(without_memory) };
    return cmocka_run_group_tests(tests, enter, leave);
}
