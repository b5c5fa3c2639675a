/* replay.c - run a fuzz target over the files and folders named, each file as it is, cut short, and changed in `-n N` seeded ways
 * (24). What crashed once stays in the corpus and is run by every make test. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIZE_MAX_FILE ((size_t)1 << 24)
static int n_change = 24;
static long n_run;

static void one(const uint8_t *data, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);             /* so that a sanitizer sees the first byte beyond */
    if (!exact) abort();
    if (n) memcpy(exact, data, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    n_run++;
}

static void change(uint8_t *b, size_t *n, size_t cap, uint64_t key)
{
    static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', ']', '}', '-', '9', '\\', ',', ':' };
    uint32_t w[4];
    tr_philox(w, key, 0, 0);
    const int times = 1 + (int)(w[0] % 6);
    for (int i = 0; i < times && *n > 0; i++) {
        tr_philox(w, key, (uint64_t)i, 1);
        const size_t at = w[1] % *n, len = 1 + w[2] % (*n - at < 32 ? *n - at : 32);
        switch (w[0] % 7) {
        case 0: b[at] ^= (uint8_t)(1u << w[3] % 8); break;
        case 1: b[at] = odd[w[3] % sizeof odd]; break;
        case 2: b[at] = (uint8_t)w[3]; break;
        case 3: memmove(b + at, b + at + len, *n - at - len), *n -= len; break;                          /* leave out */
        case 4: if (*n + len <= cap) memmove(b + at + len, b + at, *n - at), *n += len; break;           /* twice */
        case 5: memset(b + at, odd[w[3] % sizeof odd], len); break;
        case 6: *n = at; break;                                                                          /* cut short */
        }
    }
}

static void run_file(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    void *copy = NULL;
    if (tr_file_read(&text, &n, path, SIZE_MAX_FILE) != TRESS_OK || tr_alloc_raw(&copy, 2 * n + 64) != TRESS_OK) {
        fprintf(stderr, "%s\n", tr_message());
        exit(1);
    }
    one((const uint8_t *)text, n);
    for (int i = 0; i < n_change; i++) {
        size_t m = n;
        memcpy(copy, text, n);
        change(copy, &m, 2 * n + 64, (uint64_t)i + 1000003 * n);
        one(copy, m);
    }
    tr_free(text);
    tr_free(copy);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void run_path(const char *path)
{
    struct stat info;
    char *names[4096];
    int n = 0;
    if (stat(path, &info) != 0) {
        fprintf(stderr, "%s: is not there\n", path);
        exit(1);
    }
    if (!S_ISDIR(info.st_mode)) {
        run_file(path);
        return;
    }
    DIR *d = opendir(path);
    if (!d) exit(1);
    for (struct dirent *e; (e = readdir(d)) && n < 4096;) {
        if (e->d_name[0] == '.') continue;
        char *p = NULL;
        if (tr_path_join(&p, path, e->d_name) != TRESS_OK) exit(1);
        names[n++] = p;
    }
    closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_text);
    for (int i = 0; i < n; i++) {
        if (stat(names[i], &info) == 0 && S_ISREG(info.st_mode)) run_file(names[i]);
        tr_free(names[i]);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) n_change = atoi(argv[++i]);
        else run_path(argv[i]);
    }
    printf("%ld inputs\n", n_run);
    return n_run > 0 ? 0 : 1;
}
