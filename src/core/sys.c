#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The torturer's trip wire, beside that of memory. */
static _Atomic int64_t n_call;
static _Atomic int64_t fail_at = INT64_MAX;
static _Atomic int fail_error, fail_fault;
static void (*_Atomic fail_die)(void);

#define DYING (TR_IO_WRONG + 1)                 /* a fault beside those of tr_io_fault */

typedef enum need { NO_ROOM, ROOM } need;       /* can the call need room on the disk? */
typedef enum trip { GO, FAIL, HALF, SPOIL, DIE } trip;

/* What is to happen to this call; on FAIL errno is set. */
static trip step(need room)
{
    const int64_t i = atomic_fetch_add_explicit(&n_call, 1, memory_order_relaxed) + 1;
    const int64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (i < at) return GO;
    const int fault = atomic_load_explicit(&fail_fault, memory_order_relaxed);
    if (i > at && !(fault == TR_IO_ERROR_ON && room == ROOM)) return GO;
    if (fault == TR_IO_SHORT) return HALF;
    if (fault == TR_IO_WRONG) return SPOIL;
    if (fault == DYING) return DIE;
    if (fault == TR_IO_ERROR_ON && room == NO_ROOM) return GO;
    errno = atomic_load_explicit(&fail_error, memory_order_relaxed);
    return FAIL;
}

/* For a call of which there is no half. */
static bool fails(need room)
{
    const trip t = step(room);
    if (t == DIE) atomic_load(&fail_die)();
    return t == FAIL;
}

void tr_io_fail_at(int64_t n, tr_io_fault fault, int error)
{
    const int64_t now = atomic_load_explicit(&n_call, memory_order_relaxed);
    atomic_store_explicit(&fail_fault, (int)fault, memory_order_relaxed);
    atomic_store_explicit(&fail_error, error, memory_order_relaxed);
    atomic_store_explicit(&fail_at, n > 0 ? now + n : INT64_MAX, memory_order_relaxed);
}

void tr_io_die_at(int64_t n, void (*die)(void))
{
    atomic_store(&fail_die, die);
    tr_io_fail_at(n, (tr_io_fault)DYING, 0);
}

int64_t tr_io_count(void) { return atomic_load_explicit(&n_call, memory_order_relaxed); }

int tr_sys_open(const char *path, int flags, mode_t mode)
{
    int fd;
    do fd = fails(flags & O_CREAT ? ROOM : NO_ROOM) ? -1 : open(path, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

ssize_t tr_sys_read(int fd, void *bytes, size_t n)
{
    ssize_t k;
    do k = fails(NO_ROOM) ? -1 : read(fd, bytes, n);
    while (k < 0 && errno == EINTR);
    return k;
}

ssize_t tr_sys_write(int fd, const void *bytes, size_t n)
{
    ssize_t k;
    do {
        const trip t = step(ROOM);
        if (t == FAIL) {
            k = -1;
            continue;
        }
        const unsigned char wrong = n > 0 ? *(const unsigned char *)bytes ^ 1 : 0;
        if (t == SPOIL && n > 0) k = write(fd, &wrong, 1);
        else k = write(fd, bytes, t != GO && n > 1 ? n / 2 : n);
        if (t == DIE) atomic_load(&fail_die)();
    } while (k < 0 && errno == EINTR);
    if (k == 0 && n > 0) return errno = EIO, -1;         /* no file should; a caller that goes on until all is written would never end */
    return k;
}

int tr_sys_reserve(int fd, off_t n)
{
    int e;
    do e = fails(ROOM) ? errno : posix_fallocate(fd, 0, n);
    while (e == EINTR);
    if (e == 0 || e == EOPNOTSUPP || e == ENOSYS || e == EINVAL) return 0;
    return errno = e, -1;
}

int tr_sys_truncate(int fd, off_t n)
{
    int r;
    do r = fails(NO_ROOM) ? -1 : ftruncate(fd, n);
    while (r != 0 && errno == EINTR);
    return r;
}

int tr_sys_fsync(int fd)
{
    int r;
    do r = fails(ROOM) ? -1 : fsync(fd);
    while (r != 0 && errno == EINTR);
    return r;
}

int tr_sys_close(int fd)
{
    const bool broken = fails(NO_ROOM);
    const int e = errno;
    const int r = close(fd);                             /* never again: after EINTR the number may already be another thread's file */
    if (broken) errno = e;
    if (!broken && r == 0) return 0;
    return errno == EINTR ? 0 : -1;
}

int tr_sys_rename(const char *from, const char *to)
{
    int r;
    do r = fails(ROOM) ? -1 : rename(from, to);
    while (r != 0 && errno == EINTR);
    return r;
}

int tr_sys_unlink(const char *path)
{
    int r;
    do r = fails(NO_ROOM) ? -1 : unlink(path);
    while (r != 0 && errno == EINTR);
    return r;
}

int tr_sys_mkdir(const char *path, mode_t mode)
{
    int r;
    do r = fails(ROOM) ? -1 : mkdir(path, mode);
    while (r != 0 && errno == EINTR);
    return r;
}
