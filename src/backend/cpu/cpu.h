/* cpu.h - what the ops of the CPU back end share: which instructions to use, memory per thread, rows to and from float.
 * Work is cut into items whose size does not depend on the number of threads: the same bytes for any number of them. */
#ifndef TRESS_BACKEND_CPU_CPU_H
#define TRESS_BACKEND_CPU_CPU_H

#include "tensor/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_cpu tr_cpu;
tr_simd tr_cpu_simd(const tr_stream *s);        /* NONE, AVX2 or AVX512 */
int     tr_cpu_threads(const tr_stream *s);
/* TR_CPU_ROOM bytes for each thread, 64-byte aligned, allocated with the device. i_thread < tr_cpu_threads. */
#define TR_CPU_ROOM ((size_t)4 << 20)
void   *tr_cpu_room(const tr_stream *s, int i_thread);

/* What the machine has, no more than `most` (AUTO: no bound). */
tr_simd tr_cpu_simd_detect(tr_simd most);

#ifdef __cplusplus
}
#endif
#endif
