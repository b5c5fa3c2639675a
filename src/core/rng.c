#include "core/rng.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

#define TAU 6.283185307179586476925

/* ---- mt19937: Matsumoto and Nishimura 1998 ---------------------------------------------------------------- */
#define MT_N 624
#define MT_M 397

void tr_mt19937_init(tr_mt19937 *g, uint64_t seed)
{
    g->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < MT_N; i++) g->state[i] = 1812433253u * (g->state[i - 1] ^ (g->state[i - 1] >> 30)) + i;
    g->next = MT_N;
    g->has_cached = false;
    g->cached = 0;
}

static void twist(uint32_t s[MT_N])
{
    for (int i = 0; i < MT_N; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % MT_N] & 0x7fffffffu);
        s[i] = s[(i + MT_M) % MT_N] ^ (y >> 1) ^ (0x9908b0dfu & (0u - (y & 1u)));
    }
}

uint32_t tr_mt19937_u32(tr_mt19937 *g)
{
    if (g->next >= MT_N) {
        twist(g->state);
        g->next = 0;
    }
    uint32_t y = g->state[g->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static double uniform53(tr_mt19937 *g)
{
    const uint64_t hi = tr_mt19937_u32(g), lo = tr_mt19937_u32(g);
    return (double)(((hi << 32) | lo) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* A block of 16 uniforms becomes 16 normals in place. The angle is rounded to float as torch does; the rest is done in
 * double and rounded once, so the bytes do not hang on a vector library. */
static void box_muller_16(float u[16])
{
    for (int j = 0; j < 8; j++) {
        const float u1 = 1.0f - u[j], theta = (float)TAU * u[j + 8];
        const double r = sqrt(-2.0 * log((double)u1));
        u[j] = (float)(r * cos((double)theta));
        u[j + 8] = (float)(r * sin((double)theta));
    }
}

void tr_mt19937_normal(tr_mt19937 *g, float *out, int64_t n)
{
    if (n < 16) {
        for (int64_t i = 0; i < n; i++) {
            if (g->has_cached) {
                out[i] = (float)g->cached;
                g->has_cached = false;
                continue;
            }
            const double u1 = uniform53(g), u2 = uniform53(g);
            const double r = sqrt(-2.0 * log1p(-u2)), theta = TAU * u1;
            g->cached = r * sin(theta);
            g->has_cached = true;
            out[i] = (float)(r * cos(theta));
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) out[i] = (float)(tr_mt19937_u32(g) & 0xffffffu) * 0x1p-24f;
    for (int64_t i = 0; i + 16 <= n; i += 16) box_muller_16(out + i);
    if (n % 16 != 0) {                              /* the last 16 are drawn anew, over those just made */
        float *tail = out + n - 16;
        for (int j = 0; j < 16; j++) tail[j] = (float)(tr_mt19937_u32(g) & 0xffffffu) * 0x1p-24f;
        box_muller_16(tail);
    }
}

/* ---- Philox 4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" ---------------------- */
void tr_philox(uint32_t out[4], uint64_t key, uint64_t counter_lo, uint64_t counter_hi)
{
    uint32_t c0 = (uint32_t)counter_lo, c1 = (uint32_t)(counter_lo >> 32);
    uint32_t c2 = (uint32_t)counter_hi, c3 = (uint32_t)(counter_hi >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

float tr_philox_uniform(uint64_t key, uint64_t stream, uint64_t i)
{
    uint32_t w[4];
    tr_philox(w, key, i / 4, stream);
    return (float)(w[i % 4] >> 8) * 0x1p-24f;
}

void tr_philox_normal(float *out, int64_t n, uint64_t key, uint64_t stream)
{
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t w[4];
        float z[4];
        tr_philox(w, key, (uint64_t)i / 4, stream);
        for (int k = 0; k < 4; k += 2) {
            const double r = sqrt(-2.0 * log(((double)w[k] + 0.5) * 0x1p-32));      /* never log 0 */
            const double theta = TAU * ((double)w[k + 1] * 0x1p-32);
            z[k] = (float)(r * cos(theta));
            z[k + 1] = (float)(r * sin(theta));
        }
        memcpy(out + i, z, sizeof(float) * (size_t)(n - i < 4 ? n - i : 4));
    }
}

tress_status tr_random_seed(uint64_t *out)
{
    uint64_t seed = 0;
    ssize_t n;
    do n = getrandom(&seed, sizeof seed, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof seed) return tr_fail(TRESS_E_IO, "the system gives no random seed: %s", strerror(errno));
    *out = seed;
    return TRESS_OK;
}
