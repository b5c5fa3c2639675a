#include "train/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#define NAME ".lock"
#define TOLD_MAX 8                              /* names in the message */

struct tr_lock { int fd; };

tress_status tr_lock_open(tr_lock **out, const char *dir)
{
    tress_status st = TRESS_OK;
    char *path = NULL;
    void *p = NULL;
    tr_lock *l = NULL;
    TR_TRY(tr_alloc(&p, sizeof *l));
    l = p;
    l->fd = -1;
    TR_TRY(tr_path_join(&path, dir, NAME));
    l->fd = tr_sys_open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (l->fd < 0) TR_TRY(tr_fail_io(errno, "%s: cannot be written", path));
    int r;
    do r = flock(l->fd, LOCK_EX | LOCK_NB);
    while (r != 0 && errno == EINTR);
    if (r != 0 && errno == EWOULDBLOCK) TR_TRY(tr_fail(TRESS_E_IO, "%s: another process is training in this folder", dir));
    if (r != 0) TR_TRY(tr_fail_io(errno, "%s: cannot be locked", path));
    *out = l;
    l = NULL;
done:
    tr_lock_close(l);
    tr_free(path);
    return st;
}

void tr_lock_close(tr_lock *l)
{
    if (!l) return;
    if (l->fd >= 0) tr_sys_close(l->fd);        /* the file stays: removing it would let two processes hold two of that name */
    tr_free(l);
}

tress_status tr_lock_check_empty(const char *dir)
{
    tress_status st = TRESS_OK;
    char **list = NULL;
    int n = 0, n_told = 0, n_other = 0;
    tr_str told = { 0 };
    if (!tr_dir_exists(dir)) return TRESS_OK;
    TR_TRY(tr_dir_list(&list, &n, dir));
    for (int i = 0; i < n; i++) {
        if (strcmp(list[i], NAME) == 0) continue;
        if (n_told == TOLD_MAX) {
            n_other++;
            continue;
        }
        TR_TRY(tr_str_printf(&told, "%s%.64s", n_told ? ", " : "", list[i]));
        n_told++;
    }
    if (n_other) TR_TRY(tr_str_printf(&told, " and %d more", n_other));
    if (n_told)
        TR_TRY(tr_fail(TRESS_E_ARG, "%s: a new run needs an empty folder, this one holds %s: take another, or go on with --resume latest",
                       dir, told.s));
done:
    tr_str_fini(&told);
    tr_names_free(list, n);
    return st;
}
