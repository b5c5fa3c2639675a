#include "check.h"

CHECK_OP(unpatchify)
{
    static const int64_t sizes[][5] = { { 1, 1, 1, 1, 1 }, { 2, 16, 10, 6, 2 }, { 1, 4, 6, 9, 3 }, { 3, 5, 4, 4, 4 }, { 2, 16, 32, 34, 2 } };      /* b, c, h, w, p */
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++) {
            const int64_t b = sizes[k][0], n = sizes[k][1], h = sizes[k][2], w = sizes[k][3], p = sizes[k][4], rows = h / p, cols = w / p;
            tr_tensor from = check_input(c, f, TR_DIMS(b, rows * cols, n * p * p)), to = check_output(c, TR_DIMS(b, n, h, w));
            double *want = check_room(c, b * n * h * w), *v = check_f64(c, from);
            for (int64_t i = 0; i < b; i++)
                for (int64_t ch = 0; ch < n; ch++)
                    for (int64_t y = 0; y < h; y++)
                        for (int64_t x = 0; x < w; x++)
                            want[((i * n + ch) * h + y) * w + x] = v[(((i * rows + y / p) * cols + x / p) * p * p + y % p * p + x % p) * n + ch];
            check_ok(c, tr_unpatchify(check_stream(c), to, from, (int)p));
            check_equal(c, to, want);
            check_release(c);
        }
}

BENCH_OP(unpatchify)
{
    for (bench_begin(c, "2 x 16 x 128 x 128, patches of 2"); bench_more(c);) {
        tr_tensor image = bench_input(c, TR_DIMS(2, 16, 128, 128)), tokens = bench_input(c, TR_DIMS(2, 4096, 64));
        BENCH_TIME(c, tr_unpatchify(check_stream(c), image, tokens, 2));
    }
}
