/* dice.h - random numbers of a scene: a counter over Philox, so any machine rolls the same. */
#ifndef TRESS_SYNTH_DICE_H
#define TRESS_SYNTH_DICE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dice { uint64_t key, stream, i; uint32_t word[4]; int left; } dice;
static inline dice dice_new(uint64_t seed, uint64_t stream) { dice d = { seed, stream, 0, { 0, 0, 0, 0 }, 0 }; return d; }
static inline uint32_t dice_u32(dice *d)
{
    if (d->left == 0) { tr_philox(d->word, d->key, d->i++, d->stream); d->left = 4; }
    return d->word[--d->left];
}
static inline float dice_unit(dice *d) { return (float)(dice_u32(d) >> 8) * 0x1p-24f; }          /* [0, 1) */
static inline float dice_range(dice *d, float lo, float hi) { return lo + (hi - lo) * dice_unit(d); }
static inline bool  dice_chance(dice *d, float p) { return dice_unit(d) < p; }
static inline int   dice_pick(dice *d, int n) { return (int)(((uint64_t)dice_u32(d) * (uint32_t)n) >> 32); }
/* Nearly normal with mean 0 and deviation 1, between -3.5 and 3.5: four uniforms. */
static inline float dice_normal(dice *d)
{
    return (dice_unit(d) + dice_unit(d) + dice_unit(d) + dice_unit(d) - 2) * 1.7320508f;
}

#ifdef __cplusplus
}
#endif
#endif
