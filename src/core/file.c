#include "core/file.h"

#include "core/mem.h"
#include "core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open a regular file for reading. O_NONBLOCK: a pipe under that name must be refused, not waited for. */
static tress_status open_regular(int *out, struct stat *info, const char *path)
{
    const int fd = tr_sys_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) return tr_fail_io(errno, "%s: cannot be opened", path);
    tress_status st = TRESS_OK;
    if (fstat(fd, info) != 0) st = tr_fail_io(errno, "%s", path);
    else if (S_ISDIR(info->st_mode)) st = tr_fail(TRESS_E_IO, "%s: is a folder, expected a file", path);
    else if (!S_ISREG(info->st_mode)) st = tr_fail(TRESS_E_IO, "%s: is not a regular file", path);
    if (st != TRESS_OK) return tr_sys_close(fd), st;
    *out = fd;
    return TRESS_OK;
}

tress_status tr_file_read(char **text, size_t *n, const char *path, size_t size_max)
{
    tress_status st = TRESS_OK;
    int fd = -1;
    void *buf = NULL;
    struct stat info;
    size_t got = 0;
    TR_TRY(open_regular(&fd, &info, path));
    if ((uintmax_t)info.st_size > size_max)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: has %jd bytes, expected at most %zu", path, (intmax_t)info.st_size, size_max));
    const size_t size = (size_t)info.st_size;
    TR_TRY(tr_alloc_raw(&buf, size + 1));
    while (got < size) {
        const ssize_t k = tr_sys_read(fd, (char *)buf + got, size - got);
        if (k < 0) TR_TRY(tr_fail_io(errno, "%s: cannot be read", path));
        if (k == 0) break;                          /* it became shorter meanwhile */
        got += (size_t)k;
    }
    ((char *)buf)[got] = 0;
    *text = buf;
    *n = got;
    buf = NULL;
done:
    if (fd >= 0) tr_sys_close(fd);
    tr_free(buf);
    return st;
}

bool tr_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, R_OK) == 0;
}

bool tr_dir_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

tress_status tr_dir_make(const char *path)
{
    tress_status st = TRESS_OK;
    char *p = NULL;
    TR_TRY(tr_strdup(&p, path));
    for (char *c = p; ; c++) {
        if ((*c != '/' && *c) || c == p) {
            if (!*c) break;
            continue;
        }
        const char keep = *c;
        *c = 0;
        if (tr_sys_mkdir(p, 0777) != 0 && !tr_dir_exists(p))
            TR_TRY(tr_fail_io(errno, "%s: the folder cannot be made", p));
        *c = keep;
        if (!keep) break;
    }
done:
    tr_free(p);
    return st;
}

#define NAMES_MAX (1 << 20)

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

tress_status tr_dir_list(char ***list, int *n_list, const char *path)
{
    tress_status st = TRESS_OK;
    void *names = NULL;
    int n = 0, cap = 0;
    const struct dirent *e = NULL;
    DIR *d = opendir(path);
    if (!d) TR_TRY(tr_fail_io(errno, "%s: the folder cannot be read", path));
    while (errno = 0, (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (n == NAMES_MAX) TR_TRY(tr_fail(TRESS_E_IO, "%s: more than %d names in the folder", path, NAMES_MAX));
        if (n == cap) {
            const int more = cap ? cap * 2 : 16;
            TR_TRY(tr_realloc(&names, (size_t)cap * sizeof(char *), (size_t)more * sizeof(char *)));
            cap = more;
        }
        TR_TRY(tr_strdup(&((char **)names)[n], e->d_name));
        n++;
    }
    if (errno) TR_TRY(tr_fail_io(errno, "%s: the folder cannot be read", path));
    if (n > 1) qsort(names, (size_t)n, sizeof(char *), by_bytes);
    *list = names;
    *n_list = n;
    names = NULL;
done:
    if (d) closedir(d);
    tr_names_free(names, n);
    return st;
}

void tr_names_free(char **list, int n)
{
    for (int i = 0; list && i < n; i++) tr_free(list[i]);
    tr_free(list);
}

tress_status tr_file_remove(const char *path)
{
    if (tr_sys_unlink(path) == 0 || errno == ENOENT) return TRESS_OK;
    return tr_fail_io(errno, "%s: cannot be removed", path);
}

tress_status tr_path_join(char **out, const char *dir, const char *name)
{
    const size_t n = strlen(dir);
    tr_str s = { 0 };
    tress_status st = tr_str_printf(&s, "%s%s%s", dir, n == 0 || dir[n - 1] == '/' ? "" : "/", name);
    if (st != TRESS_OK) return tr_str_fini(&s), st;
    *out = s.s;
    return TRESS_OK;
}

tress_status tr_map_open(tr_map *out, const char *path)
{
    tress_status st = TRESS_OK;
    int fd = -1;
    struct stat info;
    tr_map m = { 0 };
    TR_TRY(open_regular(&fd, &info, path));
    TR_TRY(tr_strdup(&m.path, path));
    if (info.st_size > 0) {
        if ((uintmax_t)info.st_size > SIZE_MAX) TR_TRY(tr_fail(TRESS_E_OOM, "%s: has more bytes than can be addressed", path));
        void *p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            TR_TRY(tr_fail(errno == ENOMEM ? TRESS_E_OOM : TRESS_E_IO, "%s: cannot be mapped: %s", path, strerror(errno)));
        m.bytes = p;
        m.n = (size_t)info.st_size;
    }
    *out = m;
    m = (tr_map){ 0 };
done:
    if (fd >= 0) tr_sys_close(fd);
    tr_map_close(&m);
    return st;
}

void tr_map_close(tr_map *m)
{
    if (m->bytes) munmap((void *)(uintptr_t)m->bytes, m->n);
    tr_free(m->path);
    *m = (tr_map){ 0 };
}
