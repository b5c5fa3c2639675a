#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void remove_folder(void)
{
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", folder);
    if (system(cmd) != 0) fprintf(stderr, "%s stays\n", folder);
}

const char *fuzz_folder(void)
{
    if (folder[0]) return folder;
    strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-fuzz-XXXXXX" : "/tmp/tress-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    atexit(remove_folder);
    return folder;
}

void fuzz_put(const char *name, const void *data, size_t n)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(data, 1, n, f) != n) || fclose(f) != 0) abort();
}

void fuzz_copy(const char *name, const char *from)
{
    char *text = NULL;
    size_t n = 0;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", TRESS_SOURCE_DIR, from);
    if (tr_file_read(&text, &n, path, (size_t)1 << 28) != TRESS_OK) {
        fprintf(stderr, "%s\n", tr_message());
        abort();
    }
    fuzz_put(name, text, n);
    tr_free(text);
}

const char *fuzz_file(const uint8_t *data, size_t n)
{
    static char path[192];
    fuzz_put("input", data, n);
    snprintf(path, sizeof path, "%s/input", fuzz_folder());
    return path;
}

void fuzz_expect(tress_status st)
{
    if (st == TRESS_OK || st == TRESS_E_FORMAT || st == TRESS_E_SHAPE || st == TRESS_E_ARG || st == TRESS_E_OOM) {
        if (st != TRESS_OK && !tr_message()[0]) abort();        /* a failure without words */
        return;
    }
    fprintf(stderr, "unexpected status %d: %s\n", (int)st, tr_message());
    abort();
}
