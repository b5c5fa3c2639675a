#include "check.h"

#include <math.h>

/* x's dims are d permuted by `order` in memory, y's by `order_y`; both with `pad` more in the last direction of memory. */
static tr_tensor arranged(tr_tensor t, const int *order)
{
    int back[TR_RANK_MAX];
    for (int i = 0; i < t.rank; i++) back[order[i]] = i;
    return tr_permute(t, back);
}

static tr_dims permuted(tr_dims d, const int *order, int64_t pad)
{
    tr_dims p = { .rank = d.rank };
    for (int i = 0; i < d.rank; i++) p.n[i] = d.n[order[i]];
    p.n[d.rank - 1] += pad;
    return p;
}

CHECK_OP(copy)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    static const int orders[][4] = { { 0, 1, 2, 3 }, { 0, 2, 3, 1 }, { 0, 3, 1, 2 }, { 3, 2, 1, 0 }, { 2, 0, 3, 1 }, { 1, 0, 2, 3 } };
    static const tr_dims sizes[] = { { 4, { 1, 1, 1, 1 } }, { 4, { 2, 3, 5, 7 } }, { 4, { 1, 33, 3, 34 } }, { 4, { 1, 40, 9, 65 } } };
    for (int k = 0; k < 4; k++)
        for (int ox = 0; ox < 6; ox++)
            for (int oy = 0; oy < 6; oy++)
                for (int tx = 0; tx < 4; tx++)
                    for (int ty = 0; ty < 4; ty++) {
                        if (k >= 2 && (ox * 6 + oy + tx * 4 + ty) % 7) continue;      /* a seventh of the large ones */
                        const int64_t pad = (ox + oy + tx) % 2 ? 3 : 0;
                        tr_tensor x = check_input_as(c, (check_fill)((ox + oy) % FILL_N), types[tx], permuted(sizes[k], orders[ox], pad));
                        tr_tensor y = check_output_as(c, types[ty], permuted(sizes[k], orders[oy], pad));
                        x = arranged(tr_slice(x, 3, pad / 2, sizes[k].n[orders[ox][3]]), orders[ox]);
                        y = arranged(tr_slice(y, 3, pad, sizes[k].n[orders[oy][3]]), orders[oy]);
                        double *want = check_f64(c, x);
                        for (int64_t i = 0; i < tr_count(x); i++) {
                            const float v = (float)want[i];
                            want[i] = ty == 0 ? v : ty == 1 ? tr_f16_to_f32(tr_f32_to_f16(v)) : ty == 2 ? tr_bf16_to_f32(tr_f32_to_bf16(v)) : tr_f8e4m3_to_f32(tr_f32_to_f8e4m3(v));
                        }
                        check_ok(c, tr_copy(check_stream(c), y, x));
                        check_equal(c, y, want);
                        check_release(c);
                    }
    /* Every pattern of the small floats widens and comes back exactly, NaN and subnormals included. */
    uint16_t all[65536];
    uint8_t small[256];
    for (int i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    for (int i = 0; i < 256; i++) small[i] = (uint8_t)i;
    for (int t = 1; t < 4; t++) {
        const tr_dims d = t == 3 ? TR_DIMS(256) : TR_DIMS(65536);
        tr_tensor x = check_values(c, types[t], d, t == 3 ? (void *)small : (void *)all), wide = check_output_as(c, TR_F32, d), back = check_output_as(c, types[t], d);
        double *want = check_f64(c, x);
        check_ok(c, tr_copy(check_stream(c), wide, x));
        check_equal(c, wide, want);
        check_ok(c, tr_copy(check_stream(c), back, wide));
        check_equal(c, back, want);
        check_release(c);
    }
    /* Integers move unchanged, and a row can be spread by a step of 0. */
    int64_t ids[6] = { 1, -2, INT64_MAX, 4, 5, 6 };
    tr_tensor x = check_values(c, TR_F32, TR_DIMS(1, 3), (float[]){ 1, 2, 3 }), y = check_output(c, TR_DIMS(5, 3));
    x.shape[0] = 5;
    x.stride[0] = 0;
    check_ok(c, tr_copy(check_stream(c), y, x));
    check_equal(c, y, (double[]){ 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3 });
    tr_tensor a = check_values(c, TR_I64, TR_DIMS(2, 3), ids), b = check_values(c, TR_I64, TR_DIMS(3, 2), (int64_t[6]){ 0 });
    check_mutable(c, b);
    check_ok(c, tr_copy(check_stream(c), b, tr_permute(a, (int[]){ 1, 0 })));
    check_bytes(c, b, (int64_t[]){ 1, 4, -2, 5, INT64_MAX, 6 });
}

BENCH_OP(copy)
{
    static const int to_last[] = { 0, 2, 3, 1 };
    for (bench_begin(c, "[1, 128, 256, 256] to channels last"); bench_more(c);) {
        tr_tensor y = bench_tensor(c, TR_F32, TR_DIMS(1, 256, 256, 128)), x = bench_tensor(c, TR_F32, TR_DIMS(1, 128, 256, 256));
        BENCH_TIME(c, tr_copy(check_stream(c), y, tr_permute(x, to_last)));
    }
    for (bench_begin(c, "[1, 256, 256, 3] to planes"); bench_more(c);) {
        tr_tensor y = bench_tensor(c, TR_F32, TR_DIMS(1, 3, 256, 256)), x = bench_tensor(c, TR_F32, TR_DIMS(1, 256, 256, 3));
        BENCH_TIME(c, tr_copy(check_stream(c), tr_permute(y, to_last), x));
    }
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    for (int t = 0; t < 4; t++)
        for (bench_begin(c, "%s to F32, 4096 x 1536", tr_dtype_name(types[t])); bench_more(c);) {
            tr_tensor y = bench_tensor(c, TR_F32, TR_DIMS(4096, 1536)), x = bench_tensor(c, types[t], TR_DIMS(4096, 1536));
            BENCH_TIME(c, tr_copy(check_stream(c), y, x));
        }
}
