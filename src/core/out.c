#include "core/file.h"

#include "core/mem.h"
#include "core/rng.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER ((size_t)1 << 16)
#define TEMP_BEGIN ".tress-"
#define TEMP_END   ".tmp"
#define TEMP_DIGITS 16

struct tr_out {
    int    fd;                      /* -1 once closed */
    bool   placed;                  /* the temporary exists and is ours to remove */
    char  *path, *dir, *temp;
    size_t n;                       /* bytes waiting in buffer */
    size_t n_written, n_reserved;
    char   buffer[BUFFER];
};

static tress_status fail_io(const tr_out *f, const char *what)
{
    return tr_fail_io(errno, "%s: %s", f->path, what);
}

/* Its own short name, so that a target name of the longest allowed length works too. */
static tress_status open_temp(tr_out *f, mode_t mode)
{
    for (int i = 0; i < 16; i++) {
        uint64_t r = 0;
        char name[48];
        tress_status st = tr_random_seed(&r);
        if (st != TRESS_OK) return st;
        snprintf(name, sizeof name, TEMP_BEGIN "%016" PRIx64 TEMP_END, r);
        tr_free(f->temp);
        f->temp = NULL;
        if ((st = tr_path_join(&f->temp, f->dir, name)) != TRESS_OK) return st;
        f->fd = tr_sys_open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (f->fd >= 0) return f->placed = true, TRESS_OK;
        if (errno != EEXIST) break;
    }
    return fail_io(f, "cannot be written");
}

tress_status tr_out_open(tr_out **out, const char *path)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_out *f = NULL;
    TR_TRY(tr_alloc(&p, sizeof *f));
    f = p;
    f->fd = -1;
    TR_TRY(tr_strdup(&f->path, path));
    TR_TRY(tr_strdup(&f->dir, path));
    char *slash = strrchr(f->dir, '/');
    if (!path[0] || (slash && !slash[1])) TR_TRY(tr_fail(TRESS_E_IO, "\"%s\" is not the name of a file to write", path));
    if (!slash) strcpy(f->dir, ".");                /* fits: path is not empty */
    else if (slash == f->dir) slash[1] = 0;
    else *slash = 0;
    struct stat old;
    const bool exists = stat(path, &old) == 0;
    if (exists && !S_ISREG(old.st_mode))
        TR_TRY(tr_fail(TRESS_E_IO, "%s: %s, and is not replaced", path, S_ISDIR(old.st_mode) ? "is a folder" : "is not a regular file"));
    TR_TRY(open_temp(f, 0666));
    if (exists && fchmod(f->fd, old.st_mode & 0777) != 0) TR_TRY(fail_io(f, "its mode cannot be kept"));
    *out = f;
    f = NULL;
done:
    tr_out_close(f);
    return st;
}

static tress_status write_all(tr_out *f, const char *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t k = tr_sys_write(f->fd, bytes, n < ((size_t)1 << 30) ? n : (size_t)1 << 30);
        if (k < 0) return fail_io(f, "cannot be written");
        bytes += k;
        n -= (size_t)k;
        f->n_written += (size_t)k;
    }
    return TRESS_OK;
}

static tress_status flush(tr_out *f)
{
    tress_status st = write_all(f, f->buffer, f->n);
    if (st == TRESS_OK) f->n = 0;
    return st;
}

tress_status tr_out_write(tr_out *f, const void *bytes, size_t n)
{
    if (n == 0) return TRESS_OK;
    if (n > BUFFER - f->n) {
        tress_status st = flush(f);
        if (st != TRESS_OK) return st;
    }
    if (n > BUFFER) return write_all(f, bytes, n);
    memcpy(f->buffer + f->n, bytes, n);
    f->n += n;
    return TRESS_OK;
}

tress_status tr_out_reserve(tr_out *f, size_t n)
{
    if (n > (size_t)INT64_MAX) return tr_fail(TRESS_E_ARG, "%s: %zu bytes are more than a file can have", f->path, n);
    if (n <= f->n_reserved) return TRESS_OK;
    if (tr_sys_reserve(f->fd, (off_t)n) != 0) return fail_io(f, "there is no room for it");
    f->n_reserved = n;
    return TRESS_OK;
}

tress_status tr_out_commit(tr_out *f) { return tr_out_commit_checked(f, NULL, NULL); }

tress_status tr_out_commit_checked(tr_out *f, tr_out_check check, void *self)
{
    tress_status st = TRESS_OK;
    int dir = -1;
    TR_TRY(flush(f));
    if (f->n_reserved > f->n_written && tr_sys_truncate(f->fd, (off_t)f->n_written) != 0) TR_TRY(fail_io(f, "cannot be cut to its size"));
    if (tr_sys_fsync(f->fd) != 0) TR_TRY(fail_io(f, "cannot be flushed"));
    if (check) (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);         /* advice: where it is not taken, the cache is read */
    const int fd = f->fd;
    f->fd = -1;
    if (tr_sys_close(fd) != 0) TR_TRY(fail_io(f, "cannot be closed"));
    if (check) TR_TRY(check(self, f->temp));
    if (tr_sys_rename(f->temp, f->path) != 0) TR_TRY(fail_io(f, "cannot be put in place"));
    f->placed = false;
    dir = tr_sys_open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0 && errno == EACCES) goto done;      /* a folder that may be written but not read: nothing to flush through */
    if (dir < 0) TR_TRY(fail_io(f, "its folder cannot be opened to be flushed"));
    if (tr_sys_fsync(dir) != 0 && errno != EINVAL && errno != EROFS) TR_TRY(fail_io(f, "its folder cannot be flushed"));
done:
    if (dir >= 0) tr_sys_close(dir);
    return st;
}

void tr_out_close(tr_out *f)
{
    if (!f) return;
    if (f->fd >= 0) tr_sys_close(f->fd);
    if (f->placed) tr_sys_unlink(f->temp);
    tr_free(f->path);
    tr_free(f->dir);
    tr_free(f->temp);
    tr_free(f);
}

tress_status tr_file_write(const char *path, const void *bytes, size_t n)
{
    tress_status st = TRESS_OK;
    tr_out *f = NULL;
    TR_TRY(tr_out_open(&f, path));
    TR_TRY(tr_out_write(f, bytes, n));
    TR_TRY(tr_out_commit(f));
done:
    tr_out_close(f);
    return st;
}

static bool is_temp(const char *name)
{
    const size_t n_begin = strlen(TEMP_BEGIN);
    if (strlen(name) != n_begin + TEMP_DIGITS + strlen(TEMP_END) || strncmp(name, TEMP_BEGIN, n_begin) != 0) return false;
    return strspn(name + n_begin, "0123456789abcdef") == TEMP_DIGITS && strcmp(name + n_begin + TEMP_DIGITS, TEMP_END) == 0;
}

tress_status tr_out_sweep(const char *dir, int *n)
{
    tress_status st = TRESS_OK;
    char **list = NULL, *path = NULL;
    int n_list = 0, n_gone = 0;
    TR_TRY(tr_dir_list(&list, &n_list, dir));
    for (int i = 0; i < n_list; i++) {
        if (!is_temp(list[i])) continue;
        tr_free(path);
        path = NULL;
        TR_TRY(tr_path_join(&path, dir, list[i]));
        TR_TRY(tr_file_remove(path));
        n_gone++;
    }
    *n = n_gone;
done:
    tr_free(path);
    tr_names_free(list, n_list);
    return st;
}
