#include "check.h"

#include <string.h>

CHECK_OP(count_nonfinite)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    static const int64_t sizes[] = { 1, 63, 1000, 70001 };
    static const uint32_t bad_f32[] = { 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff };
    static const uint16_t bad_f16[] = { 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff }, bad_bf16[] = { 0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff };
    static const uint8_t bad_f8[] = { 0x7f, 0xff };
    for (int k = 0; k < 4; k++)
        for (int t = 0; t < 4; t++)
            for (int n_bad = 0; n_bad < 4; n_bad++) {
                const int64_t n = sizes[k];
                const size_t size = tr_dtype_size(types[t]);
                if (n_bad > n) continue;
                tr_tensor good = check_weight(c, n_bad ? FILL_SPIKES : FILL_NORMAL, types[t], TR_DIMS(n));
                uint8_t *bytes = (uint8_t *)check_room(c, n);
                tr_tensor x = good;
                int64_t bad = -1, want = 0;
                check_ok(c, tr_download(check_stream(c), bytes, good));
                for (int i = 0; i < n_bad; i++) {            /* the last, the first, one that begins another thread's work */
                    uint8_t *at = bytes + (size_t)(i == 0 ? n - 1 : i == 1 ? 0 : n > 65536 ? 16384 * (1 + t) : n / 2) * size;
                    const int which = (k + i) % 5;
                    memcpy(at, t == 0 ? (const void *)&bad_f32[which] : t == 1 ? (const void *)&bad_f16[which] : t == 2 ? (const void *)&bad_bf16[which] : (const void *)&bad_f8[which % 2], size);
                    want++;
                }
                if (n_bad) x = check_values(c, types[t], TR_DIMS(n), bytes);
                check_ok(c, tr_count_nonfinite(check_stream(c), x, &bad));
                check_int(c, "the count", bad, want);
                check_release(c);
            }
}

BENCH_OP(count_nonfinite)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_F8_E4M3 };
    for (int t = 0; t < 3; t++)
        for (bench_begin(c, "4096 x 4096 %s", tr_dtype_name(types[t])); bench_more(c);) {
            tr_tensor x = bench_tensor(c, types[t], TR_DIMS(4096, 4096));
            int64_t bad;
            BENCH_TIME(c, tr_count_nonfinite(check_stream(c), x, &bad));
        }
}
