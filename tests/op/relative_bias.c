#include "check.h"

#include <math.h>

/* The buckets of 32 and 128 as a table: no rounding of logarithms. The first distance of each bucket of one side. */
static const int first_of[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91 };

static int64_t bucket_table(int64_t a)
{
    int b = 15;
    while (first_of[b] > a) b--;
    return b;
}

/* The general formula by exact comparison of powers: the bucket is e + the largest k with (a / e)^e >= (most / e)^k. */
static int64_t bucket_exact(int64_t a, int64_t side, int64_t most)
{
    const int64_t e = side / 2;
    int64_t k = 0;
    if (a < e) return a;
    while (k < e - 1 && powl((long double)a / (long double)e, (long double)e) * (1 + 1e-15L) >= powl((long double)most / (long double)e, (long double)(k + 1))) k++;
    return e + k;
}

CHECK_OP(relative_bias)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    static const int64_t sizes[][5] = { { 2, 1, 1, 32, 128 }, { 3, 7, 5, 32, 128 }, { 2, 256, 256, 32, 128 }, { 1, 60, 77, 8, 20 }, { 2, 33, 70, 16, 64 } };   /* heads, n_q, n_k, buckets, most */
    for (int k = 0; k < 5; k++)
        for (int t = 0; t < 4; t++) {
            const int64_t heads = sizes[k][0], n_q = sizes[k][1], n_k = sizes[k][2], n_bucket = sizes[k][3], most = sizes[k][4], side = n_bucket / 2;
            tr_tensor table = check_weight(c, FILL_NORMAL, types[t], TR_DIMS(n_bucket, heads)), y = check_output_as(c, TR_F32, TR_DIMS(heads, n_q, n_k));
            double *want = check_room(c, heads * n_q * n_k), *v = check_f64(c, table);
            for (int64_t h = 0; h < heads; h++)
                for (int64_t i = 0; i < n_q; i++)
                    for (int64_t j = 0; j < n_k; j++) {
                        const int64_t a = j > i ? j - i : i - j, b = n_bucket == 32 ? bucket_table(a) : bucket_exact(a, side, most);
                        want[(h * n_q + i) * n_k + j] = v[((j > i ? side : 0) + b) * heads + h];
                    }
            check_ok(c, tr_relative_bias(check_stream(c), y, table, (int)most));
            check_equal(c, y, want);
            check_release(c);
        }
    for (int64_t a = 0; a < 300; a++) check_int(c, "the bucket of the table", bucket_table(a), bucket_exact(a, 16, 128));
}

BENCH_OP(relative_bias)
{
    for (bench_begin(c, "64 x 256 x 256"); bench_more(c);) {
        tr_tensor y = bench_tensor(c, TR_F32, TR_DIMS(64, 256, 256)), table = bench_tensor(c, TR_F16, TR_DIMS(32, 64));
        BENCH_TIME(c, tr_relative_bias(check_stream(c), y, table, 128));
    }
}
