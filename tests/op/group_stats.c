#include "check.h"

#include <math.h>

/* The mean of row r and group g over (w, c / n_group), and the sum of squares about it. */
CHECK_OP(group_stats)
{
    static const int64_t sizes[][5] = { { 1, 1, 1, 1, 1 }, { 2, 3, 5, 32, 8 }, { 1, 7, 4, 130, 13 }, { 1, 4, 33, 256, 32 }, { 2, 5, 9, 64, 1 } };   /* b, h, w, c, groups */
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++) {
            const int64_t b = sizes[k][0], h = sizes[k][1], w = sizes[k][2], n = sizes[k][3], g = sizes[k][4], per = n / g;
            tr_tensor x = tr_slice(check_input(c, f, TR_DIMS(b, h + 2, w, n)), 1, 1, h);       /* a band of an image */
            tr_tensor stats = tr_slice(check_output_as(c, TR_F64, TR_DIMS(b, h + 3, g, 2)), 1, 3, h);
            double *want = check_room(c, b * h * g * 2), *mag = check_room(c, b * h * g * 2), *v = check_f64(c, x);
            for (int64_t r = 0; r < b * h; r++)
                for (int64_t i = 0; i < g; i++) {
                    double mean = 0, sq = 0, size = 0;
                    for (int64_t p = 0; p < w * per; p++) {
                        const double t = v[(r * w + p / per) * n + i * per + p % per];
                        mean += t / (double)(w * per);
                        size += fabs(t) / (double)(w * per);
                    }
                    for (int64_t p = 0; p < w * per; p++) sq += pow(v[(r * w + p / per) * n + i * per + p % per] - mean, 2);
                    want[(r * g + i) * 2] = mean;
                    want[(r * g + i) * 2 + 1] = sq;
                    mag[(r * g + i) * 2] = size;
                    mag[(r * g + i) * 2 + 1] = sq + 1e-15 * size * size;
                }
            check_ok(c, tr_group_stats(check_stream(c), stats, x));
            check_near(c, stats, want, mag, 0x1p-18);            /* float64: 2^-42 of the sum, 11 bits for additions in another order */
            check_release(c);
        }
}

BENCH_OP(group_stats)
{
    const int64_t n = check_is_host(c) ? 256 : 1024;
    for (bench_begin(c, "%d x %d x 128, 32 groups", (int)n, (int)n); bench_more(c);) {
        tr_tensor x = bench_input(c, TR_DIMS(1, n, n, 128)), stats = bench_tensor(c, TR_F64, TR_DIMS(1, n, 32, 2));
        BENCH_TIME(c, tr_group_stats(check_stream(c), stats, x));
    }
}
