#include "core/thread.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

int tr_thread_count(void)
{
    const int n = omp_get_num_procs();              /* honours the affinity mask */
    return n > 0 ? n : 1;
}

tress_status tr_parallel(int n_thread, int64_t n, tress_status (*body)(void *self, int64_t i, int i_thread), void *self)
{
    if (n_thread > n) n_thread = (int)n;
    if (n_thread <= 1 || omp_in_parallel()) {
        for (int64_t i = 0; i < n; i++) {
            tress_status st = body(self, i, 0);
            if (st != TRESS_OK) return st;
        }
        return TRESS_OK;
    }
    _Atomic int64_t i_failed = INT64_MAX;           /* items behind the first failure are not begun */
    tress_status first = TRESS_OK;
    char text[1024] = "";
#pragma omp parallel for num_threads(n_thread) schedule(dynamic, 1)
    for (int64_t i = 0; i < n; i++) {
        if (i > atomic_load_explicit(&i_failed, memory_order_relaxed)) continue;
        tress_status st = body(self, i, omp_get_thread_num());
        if (st == TRESS_OK) continue;
#pragma omp critical(tr_parallel_failed)
        if (i < atomic_load_explicit(&i_failed, memory_order_relaxed)) {
            atomic_store_explicit(&i_failed, i, memory_order_relaxed);
            first = st;
            snprintf(text, sizeof text, "%s", tr_message());
        }
    }
    return first == TRESS_OK ? TRESS_OK : tr_fail(first, "%s", text);
}

double tr_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
