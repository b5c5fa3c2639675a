/* Sinusoids of the timestep. A few hundred values: no time at all. The frequencies and angles are rounded to float exactly
 * where the reference implementation rounds them: an angle near 1000 has only 3e-5 of precision left. */
#include "backend/cpu/cpu.h"

#include <math.h>

tress_status tr_cpu_timestep_embed(tr_stream *s, tr_tensor y, tr_tensor t)
{
    const int64_t half = y.shape[1] / 2;
    (void)s;
    for (int64_t b = 0; b < y.shape[0]; b++) {
        float *out = (float *)y.data + b * y.stride[0];                                            /* [cos | sin] */
        for (int64_t i = 0; i < half; i++) {
            const float exponent = -9.210340371976184f * (float)i / (float)half;                   /* -ln 10000 */
            const float angle = ((const float *)t.data)[b] * (float)exp((double)exponent);
            out[i] = (float)cos((double)angle);
            out[half + i] = (float)sin((double)angle);
        }
    }
    return TRESS_OK;
}
