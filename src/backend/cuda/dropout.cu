/* y = x / (1 - p) where a number of Philox 4x32-10 is p or more, else 0 x: the bits of core/rng.c. Two rounds of the generator
 * for 8 elements, about 25 instructions for one, beside 4 bytes at 16 bits: near the edge between memory and arithmetic. */
#include "backend/cuda/each.h"

#include <math.h>

struct philox_keep {
    float    scale;
    uint32_t least;
    uint64_t key, stream;

    __device__ uint4 numbers(uint64_t block) const
    {
        uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma unroll
        for (int round = 0; round < 10; round++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
            c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
            c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
            c1 = (uint32_t)p1;
            c3 = (uint32_t)p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        return make_uint4(c0, c1, c2, c3);
    }

    __device__ void operator()(float (&y)[8], const float (&x)[1][8], int64_t first) const
    {
        uint4 w = {};
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const uint64_t i = (uint64_t)first + (uint64_t)j;
            const unsigned at = (unsigned)i & 3;
            if (j == 0 || at == 0) w = numbers(i >> 2);
            const uint32_t v = at & 2 ? at & 1 ? w.w : w.z : at & 1 ? w.y : w.x;
            y[j] = x[0][j] * (v >= least ? scale : 0.0f);
        }
    }
};

tress_status tr_cuda_dropout(tr_stream *s, tr_tensor y, tr_tensor x, float p, uint64_t key, uint64_t stream)
{
    /* (w >> 8) 2^-24 >= p for a number w of 32 bits; the product is exact. */
    const uint32_t least = (uint32_t)ceil((double)p * 0x1p24) << 8;
    return tr_each_run(s, tr_each_of<2>({ y, x }, false), philox_keep{ (float)(1 / (1 - (double)p)), least, key, stream }, "dropout");
}
