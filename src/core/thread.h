/* thread.h - one parallel loop. Work is cut into items whose size does not depend on the number of threads, so results
 * are the same bytes for any number of them. */
#ifndef TRESS_CORE_THREAD_H
#define TRESS_CORE_THREAD_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

int tr_thread_count(void);                      /* cores this process may use (affinity), at least 1 */
/* body(self, i, i_thread) for i = 0..n-1 on up to n_thread threads; i_thread < n_thread tells whose scratch to use.
 * The first failure by index wins and its message reaches the calling thread. */
TR_CHECKED tress_status tr_parallel(int n_thread, int64_t n, tress_status (*body)(void *self, int64_t i, int i_thread), void *self);

double tr_seconds(void);                        /* monotonic clock */

#ifdef __cplusplus
}
#endif
#endif
