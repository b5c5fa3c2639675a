#include "check.h"

CHECK_OP(gate)
{
    static const int64_t size[][3] = { { 1, 1, 1 }, { 3, 64, 1 }, { 8, 65, 2 }, { 6, 130, 6 }, { 40, 1536, 2 } }; /* n, d, g */
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int in_place = 0; in_place < 2; in_place++) {
                const int64_t n = size[k][0], d = size[k][1], g = size[k][2], pad = k % 2 ? 3 : 0;
                tr_tensor x_all = check_input(c, f, TR_DIMS(n, d + pad)),
                          y_all = in_place ? x_all : check_output(c, TR_DIMS(n, d + 2 * pad));
                tr_tensor x = tr_slice(x_all, 1, pad, d), y = in_place ? x : tr_slice(y_all, 1, 1 * (pad > 0), d);
                tr_tensor gate = tr_slice(check_input(c, FILL_SPIKES, TR_DIMS(g, d + pad)), 1, pad, d);
                double *want = check_f64(c, x), *a = check_f64(c, gate);
                for (int64_t i = 0; i < n * d; i++)
                    want[i] = (double)(float)(want[i] * a[i / d / (n / g) * d + i % d]); /* one rounding */
                if (in_place) check_mutable(c, x_all);
                check_ok(c, tr_gate(check_stream(c), y, x, gate));
                check_equal(c, y, want);
                check_release(c);
            }
}

BENCH_OP(gate)
{
    const int64_t n = check_is_host(c) ? 4096 : 8192;
    for (bench_begin(c, "%d x 2432", (int)n); bench_more(c);) {
        tr_tensor y = bench_input(c, TR_DIMS(n, 2432)), x = bench_input(c, TR_DIMS(n, 2432)),
                  g = bench_input(c, TR_DIMS(1, 2432));
        BENCH_TIME(c, tr_gate(check_stream(c), y, x, g));
    }
}
