/* lock.h - a run's folder belongs to one process at a time, and to one run. */
#ifndef TRESS_TRAIN_LOCK_H
#define TRESS_TRAIN_LOCK_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_lock tr_lock;
/* Hold DIR/.lock, whose folder exists, until the lock is closed or the process ends, however it ends.
 * Fails: IO (another process holds it: named; the folder cannot be written), OOM. */
TR_CHECKED tress_status tr_lock_open(tr_lock **out, const char *dir);
void tr_lock_close(tr_lock *l);                 /* NULL is welcome */

/* A new run needs a folder that is empty but for .lock, or absent. Fails: ARG naming what is there, IO, OOM. */
TR_CHECKED tress_status tr_lock_check_empty(const char *dir);

#ifdef __cplusplus
}
#endif
#endif
