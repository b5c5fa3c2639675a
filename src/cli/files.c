#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_so(const char *path, const char *endings)
{
    const char *dot = strrchr(path, '.');
    if (!dot || strchr(dot, '/')) return false;
    for (const char *e = endings; *e;) {
        const size_t n = strcspn(e, "|");
        if (strlen(dot + 1) == n && strncasecmp(dot + 1, e, n) == 0) return true;
        e += n + (e[n] == '|');
    }
    return false;
}

tress_status cli_check_out(const char *option, const char *path, const char *endings)
{
    struct stat info;
    if (endings && !ends_so(path, endings)) {
        char *list = cli_copy(endings, strlen(endings));
        for (char *c = list; *c; c++)
            if (*c == '|') *c = ' ';
        return cli_fail(TRESS_E_ARG, "%s %s: the name must end in one of: %s", option, path, list);
    }
    const char *slash = strrchr(path, '/');
    const char *dir = !slash ? "." : slash == path ? "/" : cli_copy(path, (size_t)(slash - path));
    if (stat(dir, &info) != 0) return cli_fail(TRESS_E_IO, "%s %s: the folder %s cannot be used: %s", option, path, dir, strerror(errno));
    if (!S_ISDIR(info.st_mode)) return cli_fail(TRESS_E_IO, "%s %s: %s is not a folder", option, path, dir);
    if (access(dir, W_OK | X_OK) != 0) return cli_fail(TRESS_E_IO, "%s %s: the folder %s cannot be written to: %s", option, path, dir, strerror(errno));
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return cli_fail(TRESS_E_IO, "%s %s: %s", option, path, S_ISDIR(info.st_mode) ? "is a folder" : "is not a regular file and is not replaced");
    return TRESS_OK;
}

tress_status cli_check_in(const char *option, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) return cli_fail(TRESS_E_IO, "%s %s: cannot be opened: %s", option, path, strerror(errno));
    if (S_ISDIR(info.st_mode)) return cli_fail(TRESS_E_IO, "%s %s: is a folder, expected a file", option, path);
    if (access(path, R_OK) != 0) return cli_fail(TRESS_E_IO, "%s %s: cannot be read: %s", option, path, strerror(errno));
    return TRESS_OK;
}

char *cli_numbered(const char *path, int i, int n)
{
    const char *dot = strrchr(path, '.');
    if (n <= 1 || !dot || strchr(dot, '/')) return cli_copy(path, strlen(path));
    return cli_format("%.*s-%d%s", (int)(dot - path), path, i + 1, dot);
}
