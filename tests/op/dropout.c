#include "check.h"

#include <math.h>

CHECK_OP(dropout)
{
    static const int64_t size[][2] = { { 1, 1 }, { 3, 5 }, { 7, 64 }, { 9, 65 }, { 60, 1534 }, { 2, 20001 } };
    static const float rates[] = { 0, 0.05f, 0.5f, 0.1f, 0.99f, 0x1.fffffep-1f };
    static const uint64_t keys[] = { 0, 7, 0x123456789abcdef0u, 0xffffffffffffffffu },
                          streams[] = { 0, 0x1000000000001u, 0xffffffffffffffffu };
    for (int k = 0; k < 6; k++)
        for (int r = 0; r < 6; r++)
            for (int in_place = 0; in_place < 2; in_place++) {
                const int64_t n = size[k][0], d = size[k][1], pad = k % 2 ? 3 : 0;
                const uint64_t key = keys[(k + r) % 4], stream = streams[r % 3];
                tr_tensor x_all = check_input(c, r % 2 ? FILL_SPIKES : FILL_NORMAL, TR_DIMS(n, d + pad)),
                          y_all = in_place ? x_all : check_output(c, TR_DIMS(n, d + 2 * pad));
                tr_tensor x = tr_slice(x_all, 1, pad, d), y = in_place ? x : tr_slice(y_all, 1, pad, d);
                double *want = check_f64(c, x);
                const float scale = (float)(1 / (1 - (double)rates[r]));
                for (int64_t i = 0; i < n * d; i++)
                    want[i] = (double)((float)want[i] * (tr_philox_uniform(key, stream, (uint64_t)i) >= rates[r] ? scale : 0));
                if (in_place) check_mutable(c, x_all);
                check_ok(c, tr_dropout(check_stream(c), y, x, rates[r], key, stream));
                check_equal(c, y, want);
                check_release(c);
            }
    /* A rate that one of the numbers equals: not dropped. The next float above it, which is no multiple of 2^-24: dropped. */
    uint64_t at = 0;
    while (tr_philox_uniform(5, 6, at) >= 0.25f) at++;
    for (int above = 0; above < 2; above++) {
        const float u = tr_philox_uniform(5, 6, at), p = above ? nextafterf(u, 1) : u;
        const int64_t n = (int64_t)at + 1;
        tr_tensor x = check_input(c, FILL_MEAN_1000, TR_DIMS(1, n)), y = check_output(c, TR_DIMS(1, n));
        double *want = check_f64(c, x);
        for (int64_t i = 0; i < n; i++)
            want[i] = tr_philox_uniform(5, 6, (uint64_t)i) >= p ? (double)((float)want[i] * (float)(1 / (1 - (double)p))) : 0;
        check_ok(c, tr_dropout(check_stream(c), y, x, p, 5, 6));
        check_equal(c, y, want);
        check_int(c, "whether the number at the rate is kept", want[at] != 0, !above);
    }
}

BENCH_OP(dropout)
{
    const int64_t n = check_is_host(c) ? 4096 : 8192;
    for (bench_begin(c, "%d x 2432", (int)n); bench_more(c);) {
        tr_tensor y = bench_input(c, TR_DIMS(n, 2432)), x = bench_input(c, TR_DIMS(n, 2432));
        BENCH_TIME(c, tr_dropout(check_stream(c), y, x, 0.05f, 7, 3));
    }
}
