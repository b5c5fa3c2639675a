/* rng.h - random numbers with a written definition: the same seed gives the same numbers on any machine. */
#ifndef TRESS_CORE_RNG_H
#define TRESS_CORE_RNG_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* mt19937 as torch.manual_seed(seed) sets it up for a CPU generator: only the low 32 bits of seed matter.
 * Matsumoto and Nishimura 1998; the normal transform is that of ATen/native/cpu/DistributionTemplates.h. */
typedef struct tr_mt19937 { uint32_t state[624]; int next; bool has_cached; double cached; } tr_mt19937;
void     tr_mt19937_init(tr_mt19937 *g, uint64_t seed);
uint32_t tr_mt19937_u32(tr_mt19937 *g);
/* out[n] as torch.randn(n, generator=g) in fp32 on the CPU: blocks of 16 for n >= 16, double Box-Muller below.
 * Equal within 1e-6 relative; torch's own SIMD builds differ from its scalar builds in the last bits. */
void tr_mt19937_normal(tr_mt19937 *g, float *out, int64_t n);

/* Philox 4x32-10: a pure function of key and counter. Random access, so resuming needs no state. */
void  tr_philox(uint32_t out[4], uint64_t key, uint64_t counter_lo, uint64_t counter_hi);
float tr_philox_uniform(uint64_t key, uint64_t stream, uint64_t i);       /* [0, 1), 24 bits */
void  tr_philox_normal(float *out, int64_t n, uint64_t key, uint64_t stream);

/* Seed from the operating system. */
TR_CHECKED tress_status tr_random_seed(uint64_t *out);

#ifdef __cplusplus
}
#endif
#endif
