#include "check.h"

CHECK_OP(set)
{
    static const int64_t sizes[][2] = { { 1, 1 }, { 3, 7 }, { 5, 33000 }, { 300, 65 } };
    static const float values[] = { 0, -1.5f, 1e30f };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 3; k++) {
            const int64_t n = sizes[i][0], d = sizes[i][1];
            tr_tensor y = tr_slice(check_output(c, TR_DIMS(n, d + k)), 1, k, d);        /* dense, then rows strided */
            double *want = check_room(c, n * d);
            for (int64_t j = 0; j < n * d; j++) want[j] = (double)values[k];
            check_ok(c, tr_set(check_stream(c), y, values[k]));
            check_equal(c, y, want);
            check_release(c);
        }
}

BENCH_OP(set)
{
    const int64_t n = check_is_host(c) ? 1024 : 16384;
    for (bench_begin(c, "%d x 2432", (int)n); bench_more(c);) {
        tr_tensor y = bench_input(c, TR_DIMS(n, 2432));
        BENCH_TIME(c, tr_set(check_stream(c), y, 0));
    }
}
