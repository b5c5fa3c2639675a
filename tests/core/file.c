/* Files in and out: whole or not at all, whatever the disk says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/core.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char *at(char *buf, const char *name) { return snprintf(buf, 128, "%s/%s", dir, name), buf; }

static int files_in(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

static int enter(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tress-file-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int leave(void **state)
{
    char cmd[128];
    (void)state;
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static void expect(const char *path, const char *want)
{
    char *s = NULL;
    size_t n = 0;
    assert_int_equal(tr_file_read(&s, &n, path, 1000), TRESS_OK);
    assert_string_equal(s, want);
    assert_int_equal(n, strlen(want));
    tr_free(s);
}

static void write_and_read(void **state)
{
    char p[128];
    struct stat info;
    (void)state;
    const mode_t mask = umask(022);
    assert_int_equal(tr_file_write(at(p, "a"), "one", 3), TRESS_OK);
    expect(p, "one");
    assert_int_equal(stat(p, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
    assert_int_equal(chmod(p, 0600), 0);
    assert_int_equal(tr_file_write(p, "two", 3), TRESS_OK);
    expect(p, "two");
    assert_int_equal(stat(p, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);                 /* the old file's mode is kept */
    umask(mask);
    assert_int_equal(files_in(dir), 1);
}

static void read_refuses(void **state)
{
    char p[128], *s = NULL;
    size_t n = 0;
    (void)state;
    assert_int_equal(tr_file_read(&s, &n, at(p, "missing"), 10), TRESS_E_IO);
    assert_non_null(strstr(tr_message(), "missing"));
    assert_int_equal(tr_file_read(&s, &n, dir, 10), TRESS_E_IO);
    assert_non_null(strstr(tr_message(), "folder"));
    assert_int_equal(mkfifo(at(p, "pipe"), 0600), 0);
    assert_int_equal(tr_file_read(&s, &n, p, 10), TRESS_E_IO);   /* at once: it does not wait for a writer */
    tr_map m = { 0 };
    assert_int_equal(tr_map_open(&m, p), TRESS_E_IO);
    assert_int_equal(tr_file_write(p, "x", 1), TRESS_E_IO);      /* and is not replaced by a file */
    assert_int_equal(tr_file_write("/dev/full", "x", 1), TRESS_E_IO);
    unlink(p);
    assert_int_equal(tr_file_write(at(p, "b"), "12345678901", 11), TRESS_OK);
    assert_int_equal(tr_file_read(&s, &n, p, 10), TRESS_E_FORMAT);
    assert_null(s);
    unlink(p);
}

static void maps(void **state)
{
    char p[128];
    tr_map m = { 0 };
    (void)state;
    assert_int_equal(tr_file_write(at(p, "m"), "", 0), TRESS_OK);
    assert_int_equal(tr_map_open(&m, p), TRESS_OK);
    assert_int_equal(m.n, 0);
    tr_map_close(&m);
    assert_int_equal(tr_file_write(p, "abc", 3), TRESS_OK);
    assert_int_equal(tr_map_open(&m, p), TRESS_OK);
    assert_int_equal(m.n, 3);
    assert_memory_equal(m.bytes, "abc", 3);
    assert_string_equal(m.path, p);
    tr_map_close(&m);
    tr_map_close(&m);
    unlink(p);
}

/* The disk fills up: the old file stays, no temporary stays. */
static void disk_full(void **state)
{
    char p[128], q[128];
    static char big[300000];
    struct rlimit old, low = { 100000, 100000 };
    (void)state;
    assert_int_equal(tr_file_write(at(p, "keep"), "old", 3), TRESS_OK);
    const int n = files_in(dir);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    const tress_status st = tr_file_write(p, big, sizeof big), st_new = tr_file_write(at(q, "new"), big, sizeof big);
    tr_out *f = NULL;                                            /* and in small pieces, through the buffer */
    tress_status st_small = tr_out_open(&f, p);
    for (int i = 0; st_small == TRESS_OK && i < 300000; i += 100) st_small = tr_out_write(f, big, 100);
    tr_out_close(f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(st, TRESS_E_IO);
    assert_int_equal(st_new, TRESS_E_IO);
    assert_int_equal(st_small, TRESS_E_IO);
    assert_false(tr_file_exists(q));
    expect(p, "old");
    assert_int_equal(files_in(dir), n);
}

static void close_without_commit(void **state)
{
    char p[128];
    tr_out *f = NULL;
    (void)state;
    const int n = files_in(dir);
    assert_int_equal(tr_out_open(&f, at(p, "half")), TRESS_OK);
    assert_int_equal(files_in(dir), n + 1);
    assert_int_equal(tr_out_write(f, "half", 4), TRESS_OK);
    tr_out_close(f);
    assert_int_equal(files_in(dir), n);
    assert_false(tr_file_exists(p));
}

static void write_refuses(void **state)
{
    char p[128];
    tr_out *f = NULL;
    (void)state;
    assert_int_equal(tr_out_open(&f, at(p, "no/such/folder")), TRESS_E_IO);
    assert_int_equal(tr_out_open(&f, ""), TRESS_E_IO);
    assert_int_equal(tr_out_open(&f, dir), TRESS_E_IO);
    assert_int_equal(tr_out_open(&f, at(p, "slash/")), TRESS_E_IO);
    assert_null(f);
    char long_name[300];
    memset(long_name, 'n', sizeof long_name);
    long_name[255] = 0;
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(tr_file_write(long_name, "x", 1), TRESS_OK);        /* the longest name: the temporary's is its own */
    expect(long_name, "x");
    assert_int_equal(unlink(long_name), 0);
    long_name[255] = 'n', long_name[256] = 0;
    const int n = files_in(".");
    assert_int_equal(tr_file_write(long_name, "x", 1), TRESS_E_IO);
    assert_int_equal(files_in("."), n);
}

static void folders(void **state)
{
    char p[128], q[128], *j = NULL;
    (void)state;
    assert_int_equal(tr_dir_make(at(p, "d/e//f/")), TRESS_OK);
    assert_true(tr_dir_exists(at(q, "d/e/f")));
    assert_int_equal(tr_dir_make(p), TRESS_OK);
    assert_int_equal(tr_file_write(at(q, "d/file"), "x", 1), TRESS_OK);
    assert_int_equal(tr_dir_make(at(p, "d/file/g")), TRESS_E_IO);
    assert_true(tr_file_exists(q));
    assert_false(tr_file_exists(dir));
    assert_false(tr_dir_exists(q));
    static const char *const join[][3] = { { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "/", "b", "/b" }, { "", "b", "b" } };
    for (int i = 0; i < 4; i++) {
        assert_int_equal(tr_path_join(&j, join[i][0], join[i][1]), TRESS_OK);
        assert_string_equal(j, join[i][2]);
        tr_free(j);
    }
}

/* Every allocation of a write fails once: no damage, nothing left behind. */
static void out_of_memory(void **state)
{
    char p[128];
    (void)state;
    assert_int_equal(tr_file_write(at(p, "oom"), "old", 3), TRESS_OK);
    const int n = files_in(dir);
    const int64_t bytes = tr_mem_now().bytes;
    tress_status st = TRESS_E_OOM;
    int k = 1;
    for (; k < 50 && st != TRESS_OK; k++) {
        tr_mem_fail_at(k);
        st = tr_file_write(p, "new", 3);
        tr_mem_fail_at(0);
        if (st == TRESS_OK) break;
        assert_int_equal(st, TRESS_E_OOM);
        expect(p, "old");
        assert_int_equal(files_in(dir), n);
        assert_int_equal(tr_mem_now().bytes, bytes);
    }
    assert_true(k > 2 && st == TRESS_OK);
    expect(p, "new");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_read), cmocka_unit_test(read_refuses), cmocka_unit_test(maps), cmocka_unit_test(disk_full),
        cmocka_unit_test(close_without_commit), cmocka_unit_test(write_refuses), cmocka_unit_test(folders), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
