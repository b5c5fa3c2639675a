#include "check.h"

#include <math.h>

CHECK_OP(embed)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    static const int64_t sizes[][3] = { { 1, 1, 1 }, { 77, 33, 64 }, { 5, 300, 65 }, { 256, 50, 130 } };      /* n, v, d */
    for (int k = 0; k < 4; k++)
        for (int t = 0; t < 4; t++)
            for (check_fill f = 0; f < FILL_N; f++) {
                const int64_t n = sizes[k][0], v = sizes[k][1], d = sizes[k][2];
                int32_t ids[256];
                for (int64_t i = 0; i < n; i++) ids[i] = i == 0 ? (int32_t)v - 1 : (int32_t)(i * 7919 % v);
                tr_tensor table = check_weight(c, f, types[t], TR_DIMS(v, d)), y = tr_slice(check_output(c, TR_DIMS(n, d + 2)), 1, 0, d);
                double *want = check_room(c, n * d), *from = check_f64(c, table);
                for (int64_t i = 0; i < n * d; i++) want[i] = from[ids[i / d] * d + i % d];
                check_ok(c, tr_embed(check_stream(c), y, table, tr_view(ids, TR_I32, TR_DIMS(n))));
                check_equal(c, y, want);
                check_release(c);
            }
}

BENCH_OP(embed)
{
    for (bench_begin(c, "256 of 32128 x 4096 F16"); bench_more(c);) {
        int32_t ids[256];
        for (int i = 0; i < 256; i++) ids[i] = i * 7919 % 16000;
        tr_tensor y = bench_input(c, TR_DIMS(256, 4096)), table = bench_tensor(c, TR_F16, TR_DIMS(16000, 4096));
        BENCH_TIME(c, tr_embed(check_stream(c), y, table, tr_view(ids, TR_I32, TR_DIMS(256))));
    }
}
