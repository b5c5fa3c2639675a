/* noise.h - smooth value noise in 0..1 from integer hashes: the same on every machine. */
#ifndef TRESS_SYNTH_NOISE_H
#define TRESS_SYNTH_NOISE_H

#include "synth/vec.h"

#include <stdint.h>

#ifndef __cplusplus
float tr_noise3(vec3 p, uint32_t seed);                         /* one octave, features of size 1 */
float tr_fractal2(float x, float y, int octaves, uint32_t seed);
#endif
#endif
