/* sys.h - the system calls by which files are opened, written, flushed, put in place and removed: as POSIX has them, except that an
 * interrupted call is made again. core's files and everybody who must touch a descriptor call these, so that tests can fail, shorten,
 * spoil or die at the nth one. */
#ifndef TRESS_CORE_SYS_H
#define TRESS_CORE_SYS_H

#include "core/status.h"

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -1 and errno on failure. */
int     tr_sys_open(const char *path, int flags, mode_t mode);
ssize_t tr_sys_read(int fd, void *bytes, size_t n);
ssize_t tr_sys_write(int fd, const void *bytes, size_t n);      /* at least one byte of n > 0, or -1 */
int     tr_sys_reserve(int fd, off_t n);                        /* 0 too where the file system cannot reserve */
int     tr_sys_truncate(int fd, off_t n);
int     tr_sys_fsync(int fd);
int     tr_sys_close(int fd);                                   /* the descriptor is gone, whatever it returns */
int     tr_sys_rename(const char *from, const char *to);
int     tr_sys_unlink(const char *path);
int     tr_sys_mkdir(const char *path, mode_t mode);

/* For tests. What happens at the nth call from now on (1: the next):
 *   ERROR       it fails with `error`
 *   ERROR_ON    it and all later ones that can need room on the disk fail with `error`
 *   SHORT       a write takes only half its bytes
 *   WRONG       a write takes one byte, and stores another
 * n <= 0 ends that. */
typedef enum tr_io_fault { TR_IO_ERROR, TR_IO_ERROR_ON, TR_IO_SHORT, TR_IO_WRONG } tr_io_fault;
void    tr_io_fail_at(int64_t n, tr_io_fault fault, int error);
/* At the nth call `die` is called, which ends the process: with half the bytes written at a write, before any other call. (The library
 * itself never ends one.) tr_io_fail_at(0, ..) ends that too. */
void    tr_io_die_at(int64_t n, void (*die)(void));
int64_t tr_io_count(void);                                      /* calls of the process so far */

#ifdef __cplusplus
}
#endif
#endif
