/* run.h - run the built tress as a person would and look at what came out. */
#ifndef TRESS_TEST_CLI_RUN_H
#define TRESS_TEST_CLI_RUN_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct run_result {
    int  code;                      /* exit code; -signal when killed */
    char out[65536], err[65536];
} run_result;

static char run_dir[64];            /* a fresh folder, the working directory of every run */
static run_result ran;

static inline int run_enter(void **state)
{
    (void)state;
    strcpy(run_dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-cli-XXXXXX" : "/tmp/tress-cli-XXXXXX");
    return mkdtemp(run_dir) ? 0 : -1;
}

static inline int run_leave(void **state)
{
    char cmd[256];
    (void)state;
    snprintf(cmd, sizeof cmd, "chmod -R u+w '%s'; rm -rf '%s'", run_dir, run_dir);
    return system(cmd);
}

static inline void run_slurp(const char *path, char *buf, size_t size)
{
    FILE *f = fopen(path, "rb");
    size_t n = 0;
    if (f) {
        n = fread(buf, 1, size - 1, f);
        fclose(f);
    }
    buf[n] = 0;
}

/* argv without "tress", ending in NULL. interrupt: seconds after which SIGINT is sent; 0: never. */
static inline int run_argv(const char *const *argv, double interrupt)
{
    char *all[256] = { (char *)(uintptr_t)"tress" }, out[128], err[128];
    int status = 0;
    for (int i = 0; argv[i] && i < 254; i++) all[i + 1] = (char *)(uintptr_t)argv[i];
    snprintf(out, sizeof out, "%s/.stdout", run_dir);
    snprintf(err, sizeof err, "%s/.stderr", run_dir);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        if (chdir(run_dir) != 0 || !freopen("/dev/null", "r", stdin) || !freopen(out, "w", stdout) || !freopen(err, "w", stderr)) _exit(99);
        execv(TRESS_BINARY_DIR "/tress", all);
        _exit(98);
    }
    if (interrupt > 0) {
        nanosleep(&(struct timespec){ (time_t)interrupt, (long)((interrupt - (double)(time_t)interrupt) * 1e9) }, NULL);
        kill(pid, SIGINT);
    }
    waitpid(pid, &status, 0);
    run_slurp(out, ran.out, sizeof ran.out);
    run_slurp(err, ran.err, sizeof ran.err);
    unlink(out);
    unlink(err);
    return ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define RUN(...) run_argv((const char *const[]){ __VA_ARGS__, NULL }, 0)

static inline bool run_there(const char *name)
{
    char path[1024];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", run_dir, name);
    return lstat(path, &info) == 0;
}

/* name with these bytes, in run_dir */
static inline void run_put(const char *name, const void *bytes, size_t n)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", run_dir, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) abort();
}

/* The code, and on failure one clear line on stderr, which says each of the words. */
static inline void run_expect(int code, const char *a, const char *b)
{
    if (ran.code != code) fail_msg("exit code %d, expected %d; stderr: %s", ran.code, code, ran.err);
    if (code != 0) {
        const char *last = ran.err, *nl;
        int n = 0;
        for (const char *s = ran.err; (nl = strchr(s, '\n')); s = nl + 1)
            if (strncmp(s, "tress: ", 7) == 0) last = s, n++;
        if (n != 1) fail_msg("%d error lines, expected one: %s", n, ran.err);
        if (strchr(last, '\n')[1]) fail_msg("words behind the error: %s", last);
    }
    if (a && !strstr(code ? ran.err : ran.out, a)) fail_msg("does not say \"%s\": %s", a, code ? ran.err : ran.out);
    if (b && !strstr(code ? ran.err : ran.out, b)) fail_msg("does not say \"%s\": %s", b, code ? ran.err : ran.out);
}

#endif
