#include "synth/noise.h"

static uint32_t hash(int32_t x, int32_t y, int32_t z, uint32_t seed)
{
    uint32_t h = seed * 0x9e3779b1u ^ (uint32_t)x * 0x85ebca6bu ^ (uint32_t)y * 0xc2b2ae35u ^ (uint32_t)z * 0x27d4eb2fu;
    h ^= h >> 15;
    h *= 0x2c1b3c6du;
    h ^= h >> 12;
    h *= 0x297a2d39u;
    return h ^ h >> 15;
}

static float unit(int32_t x, int32_t y, int32_t z, uint32_t seed) { return (float)(hash(x, y, z, seed) >> 8) * 0x1p-24f; }

float tr_noise3(vec3 p, uint32_t seed)
{
    const float fx = floorf(p.x), fy = floorf(p.y), fz = floorf(p.z);
    const int32_t x = (int32_t)fx, y = (int32_t)fy, z = (int32_t)fz;
    const float u = f_step(0, 1, p.x - fx), v = f_step(0, 1, p.y - fy), w = f_step(0, 1, p.z - fz);
    float plane[2];
    for (int k = 0; k < 2; k++)
        plane[k] = f_lerp(f_lerp(unit(x, y, z + k, seed), unit(x + 1, y, z + k, seed), u),
                          f_lerp(unit(x, y + 1, z + k, seed), unit(x + 1, y + 1, z + k, seed), u), v);
    return f_lerp(plane[0], plane[1], w);
}

float tr_fractal2(float x, float y, int octaves, uint32_t seed)
{
    float sum = 0, gain = .5f;
    for (int i = 0; i < octaves; i++, gain *= .5f, x *= 2, y *= 2) sum += gain * tr_noise3(v3(x, y, .5f), seed + (uint32_t)i);
    return sum / (1 - 2 * gain);                                /* the gains sum to 1 - 2 gain */
}
