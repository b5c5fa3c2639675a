#include "core/file.h"

#include "core/mem.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct tr_append {
    int   fd;
    off_t torn_at;                  /* >= 0: behind this lies a piece of a record that could not be cut off yet */
    char *path;
};

tress_status tr_append_open(tr_append **out, const char *path, tr_append_mode mode)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_append *f = NULL;
    struct stat info;
    TR_TRY(tr_alloc(&p, sizeof *f));
    f = p;
    f->fd = -1;
    f->torn_at = -1;
    TR_TRY(tr_strdup(&f->path, path));
    /* O_NONBLOCK: a pipe under that name must be refused, not waited for */
    f->fd = tr_sys_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (mode == TR_APPEND_NEW ? O_EXCL : 0), 0666);
    if (f->fd < 0) TR_TRY(tr_fail_io(errno, "%s: cannot be written", path));
    if (fstat(f->fd, &info) != 0) TR_TRY(tr_fail_io(errno, "%s", path));
    if (!S_ISREG(info.st_mode)) TR_TRY(tr_fail(TRESS_E_IO, "%s: is not a regular file", path));
    *out = f;
    f = NULL;
done:
    tr_append_close(f);
    return st;
}

static tress_status cut(tr_append *f)
{
    if (f->torn_at < 0) return TRESS_OK;
    if (tr_sys_truncate(f->fd, f->torn_at) != 0) return tr_fail_io(errno, "%s: a torn record cannot be cut off", f->path);
    f->torn_at = -1;
    return TRESS_OK;
}

tress_status tr_append_add(tr_append *f, const void *bytes, size_t n)
{
    struct stat info;
    size_t got = 0;
    tress_status st = cut(f);
    if (st != TRESS_OK) return st;
    if (fstat(f->fd, &info) != 0) return tr_fail_io(errno, "%s", f->path);
    while (got < n) {
        const ssize_t k = tr_sys_write(f->fd, (const char *)bytes + got, n - got);
        if (k < 0) {
            const int error = errno;
            if (got > 0) {
                f->torn_at = info.st_size;
                (void)cut(f);                            /* else before the next record */
            }
            return tr_fail_io(error, "%s: cannot be written", f->path);
        }
        got += (size_t)k;
    }
    return TRESS_OK;
}

tress_status tr_append_sync(tr_append *f)
{
    if (tr_sys_fsync(f->fd) != 0) return tr_fail_io(errno, "%s: cannot be flushed", f->path);
    return TRESS_OK;
}

void tr_append_close(tr_append *f)
{
    if (!f) return;
    if (f->fd >= 0) {
        (void)cut(f);
        tr_sys_close(f->fd);
    }
    tr_free(f->path);
    tr_free(f);
}
