/* Number types: sizes, names, and the small floats, rounded to nearest even without the help of hardware, so that every
 * machine and every SIMD path has one truth to be equal to. */
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static const struct { const char *name; uint8_t size; bool is_float; } types[TR_DTYPE_N] = {
    [TR_F32]     = { "F32",     4, true  }, [TR_F16]  = { "F16",  2, true  }, [TR_BF16] = { "BF16", 2, true  },
    [TR_F8_E4M3] = { "F8_E4M3", 1, true  }, [TR_F64]  = { "F64",  8, true  }, [TR_I8]   = { "I8",   1, false },
    [TR_U8]      = { "U8",      1, false }, [TR_I16]  = { "I16",  2, false }, [TR_U16]  = { "U16",  2, false },
    [TR_I32]     = { "I32",     4, false }, [TR_U32]  = { "U32",  4, false }, [TR_I64]  = { "I64",  8, false },
    [TR_U64]     = { "U64",     8, false }, [TR_BOOL] = { "BOOL", 1, false }, [TR_F8_E5M2] = { "F8_E5M2", 1, true },
};

static bool is_known(tr_dtype t) { return (unsigned)t < TR_DTYPE_N; }

size_t tr_dtype_size(tr_dtype t)
{
    TR_ASSERT(is_known(t));
    return types[t].size;
}

const char *tr_dtype_name(tr_dtype t)
{
    return is_known(t) ? types[t].name : "?";
}

bool tr_dtype_is_float(tr_dtype t)
{
    return is_known(t) && types[t].is_float;
}

bool tr_dtype_parse(tr_dtype *out, const char *name)
{
    for (int i = 0; i < TR_DTYPE_N; i++)
        if (strcmp(name, types[i].name) == 0) {
            *out = (tr_dtype)i;
            return true;
        }
    return false;
}

static float of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* ---- half: 1 sign, 5 exponent (bias 15), 10 fraction ----------------------------------------------------- */
float tr_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 1023u;
    if (e == 31) return of_bits(sign | 0x7f800000u | m << 13 | (m ? 0x400000u : 0));    /* a NaN comes out quiet, as from VCVTPH2PS */
    if (e == 0) return of_bits(sign | to_bits((float)m * 0x1p-24f));                    /* zero and subnormals: exact */
    return of_bits(sign | (e + 112) << 23 | m << 13);
}

/* Drop the low n bits of u, to nearest, ties to even. */
static uint32_t round_off(uint32_t u, unsigned n)
{
    const uint32_t half = 1u << (n - 1), odd = u >> n & 1u;
    return (u + half - 1 + odd) >> n;
}

uint16_t tr_f32_to_f16(float f)
{
    const uint32_t u = to_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);                            /* 65536 and beyond */
    if (a >= 0x38800000u) return (uint16_t)(sign | (round_off(a, 13) - (112u << 10)));  /* a carry runs on into the exponent, and to infinity */
    if (a < 0x33000000u) return (uint16_t)sign;                                         /* below half the least subnormal */
    const unsigned e = a >> 23;                                                         /* 102..112 */
    return (uint16_t)(sign | round_off((a & 0x7fffffu) | 0x800000u, 126 - e));
}

/* ---- bfloat16: the upper half of a float ----------------------------------------------------------------- */
float tr_bf16_to_f32(uint16_t h)
{
    return of_bits((uint32_t)h << 16);
}

uint16_t tr_f32_to_bf16(float f)
{
    const uint32_t u = to_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)round_off(u, 16);
}

/* ---- float8 e4m3fn: 1 sign, 4 exponent (bias 7), 3 fraction; no infinity, 0x7f is NaN.  arXiv:2209.05433, table 1 --- */
float tr_f8e4m3_to_f32(uint8_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x80u) << 24, e = h >> 3 & 15u, m = h & 7u;
    if (e == 15 && m == 7) return of_bits(sign | 0x7fc00000u);
    if (e == 0) return of_bits(sign | to_bits((float)m * 0x1p-9f));
    return of_bits(sign | (e + 120) << 23 | m << 20);
}

uint8_t tr_f32_to_f8e4m3(float f)
{
    const uint32_t u = to_bits(f), sign = u >> 24 & 0x80u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint8_t)(sign | 0x7fu);
    if (a >= 0x43e00000u) return (uint8_t)(sign | 0x7eu);                               /* 448 and beyond */
    if (a >= 0x3c800000u) return (uint8_t)(sign | (round_off(a, 20) - (120u << 3)));    /* from 2^-6 */
    if (a < 0x3a800000u) return (uint8_t)sign;                                          /* below 2^-10, half the least subnormal */
    const unsigned e = a >> 23;                                                         /* 117..120 */
    return (uint8_t)(sign | round_off((a & 0x7fffffu) | 0x800000u, 141 - e));
}
