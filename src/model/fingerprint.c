#include "model/lora.h"
#include "model/weights_int.h"

#include <math.h>
#include <string.h>

#define SAMPLES 64

tress_status tr_fingerprint(char hex[65], const tr_weights *w)
{
    tress_status st = TRESS_OK;
    tr_sha256 *h = NULL;
    TR_TRY(tr_sha256_new(&h));
    for (int i = 0; i < w->n_item; i++) {                                 /* sorted by name */
        const tr_tensor t = w->item[i].t;
        uint8_t buf[8 * TR_RANK_MAX + 2 * SAMPLES];
        size_t k = 0;
        if (t.dtype > TR_F8_E4M3) continue;
        const int64_t n = tr_count(t), m = n < SAMPLES ? n : SAMPLES;
        for (int d = 0; d < t.rank; d++)
            for (int b = 0; b < 8; b++) buf[k++] = (uint8_t)((uint64_t)t.shape[d] >> 8 * b);
        for (int64_t j = 0; j < m; j++) {
            const uint16_t v = tr_f32_to_bf16(tr_weights_value(t, n / m * j + n % m * j / m));        /* floor(j n / m) without overflow */
            const uint16_t bits = fabsf(tr_bf16_to_f32(v)) < 0x1p-14f ? 0 : v;
            buf[k++] = (uint8_t)(bits & 255);
            buf[k++] = (uint8_t)(bits >> 8);
        }
        TR_TRY(tr_sha256_add(h, w->item[i].name, strlen(w->item[i].name) + 1));
        TR_TRY(tr_sha256_add(h, buf, k));
    }
    TR_TRY(tr_sha256_hex(h, hex));
done:
    tr_sha256_free(h);
    return st;
}
