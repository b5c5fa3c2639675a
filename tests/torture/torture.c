/* torture.c - the command line's own main, with its nth allocation failing and every one after it, for n sampled over the run:
 *     torture MAX OUT -- ARGS...
 * runs `tress ARGS` once to count the allocations, then at most MAX times more. Each run must end by itself with exit code 4 (or 0,
 * where the failing ones were not needed), say so in one line, and leave no OUT that is not whole and no temporary beside it. */
#include "core/core.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int cli_main(int argc, char **argv);            /* src/cli/main.c */

static volatile int64_t *counted;               /* shared with the child */
static char err_path[64];

/* The exit code of one run, or -1 when a signal ended it. */
static int run(int argc, char **argv, int64_t fail_at)
{
    int status = 0;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen(err_path, "w", stderr)) _exit(99);
        const int64_t before = tr_mem_now().n_alloc;
        if (fail_at) tr_mem_fail_at(fail_at);
        const int code = cli_main(argc, argv);
        *counted = tr_mem_now().n_alloc - before;
        exit(code);                             /* through atexit, so that a leak sanitizer looks */
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int n_error_lines(char *buf, size_t size)
{
    FILE *f = fopen(err_path, "r");
    const size_t len = f ? fread(buf, 1, size - 1, f) : 0;
    int n = 0;
    if (f) fclose(f);
    buf[len] = 0;
    for (const char *s = buf; (s = strstr(s, "tress: ")); s += 7) n += s == buf || s[-1] == '\n';
    return n;
}

static bool temporaries_beside(const char *out)
{
    char dir[512];
    bool found = false;
    snprintf(dir, sizeof dir, "%s", out);
    char *slash = strrchr(dir, '/');
    if (slash) *slash = 0;
    DIR *d = opendir(slash ? dir : ".");
    for (struct dirent *e; d && (e = readdir(d));) found = found || strstr(e->d_name, ".tmp");
    if (d) closedir(d);
    return found;
}

int main(int argc, char **argv)
{
    if (argc < 5 || strcmp(argv[3], "--") != 0) return fprintf(stderr, "usage: torture MAX OUT -- ARGS...\n"), 2;
    const long max = atol(argv[1]);
    const char *out = argv[2];
    char text[4096];
    argv[3] = argv[0];
    counted = mmap(NULL, sizeof *counted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counted == MAP_FAILED) return 1;
    snprintf(err_path, sizeof err_path, "/tmp/tress-torture-%d", (int)getpid());
    unlink(out);
    int code = run(argc - 3, argv + 3, 0);
    if (code != 0) {
        n_error_lines(text, sizeof text);
        return fprintf(stderr, "the run without failures ends with %d: %s\n", code, text), 1;
    }
    const int64_t total = *counted;
    int64_t n_run = 0, n_bad = 0, n_fine = 0;
    /* the first ones all, where objects are made; then evenly */
    const int64_t dense = max / 3 < total ? max / 3 : total, step = (total - dense) / (max - dense > 0 ? max - dense : 1) + 1;
    for (int64_t n = 1; n <= total; n += n < dense ? 1 : step) {
        unlink(out);
        code = run(argc - 3, argv + 3, n);
        const int lines = n_error_lines(text, sizeof text);
        const bool there = access(out, F_OK) == 0, temp = temporaries_beside(out);
        n_run++;
        n_fine += code == 0;
        const char *why = code != 4 && code != 0 ? "exit code" : code == 4 && lines != 1 ? "not one error line" : code == 4 && there ? "an output" :
                          code == 0 && !there ? "no output" : temp ? "a temporary file stays" : NULL;
        if (!why) continue;
        n_bad++;
        fprintf(stderr, "allocation %" PRId64 " of %" PRId64 " fails: %s; code %d, %s\n", n, total, why, code, text);
        if (n_bad > 20) break;
    }
    unlink(err_path);
    printf("%" PRId64 " allocations; %" PRId64 " runs with one failing: %" PRId64 " bad, %" PRId64 " went on without it\n", total, n_run, n_bad, n_fine);
    return n_bad > 0;
}
