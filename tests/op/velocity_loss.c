#include "slope.h"

#include <math.h>
#include <stdlib.h>

typedef struct sizes { int64_t b, c, plane; const double *x0, *noise, *mask; } sizes;

/* sum[b] of v */
static void forward(void *self, double *sum, const double *v)
{
    const sizes *k = self;
    for (int64_t i = 0; i < k->b; i++) {
        sum[i] = 0;
        for (int64_t j = 0; j < k->c * k->plane; j++) {
            const int64_t at = i * k->c * k->plane + j;
            const double e = v[at] - (k->noise[at] - k->x0[at]);
            sum[i] += k->mask[i * k->plane + j % k->plane] * e * e;
        }
    }
}

CHECK_OP(velocity_loss)
{
    static const int64_t size[][4] = { { 1, 1, 1, 1 }, { 2, 3, 3, 2 }, { 3, 16, 5, 7 }, { 2, 16, 32, 32 }, { 1, 2, 130, 150 } };
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int back = 0; back < 2; back++) {
                const int64_t b = size[k][0], ch = size[k][1], h = size[k][2], w = size[k][3], plane = h * w, n = b * ch * plane;
                const tr_dims d = TR_DIMS(b, ch, h, w);
                float *m = malloc((size_t)(b * plane) * sizeof *m);
                for (int64_t i = 0; i < b * plane; i++) m[i] = i % 5 == 0 ? 0 : i % 5 == 1 ? 1 : (float)(i % 17) / 17;
                tr_tensor v = check_input(c, f, d), x0 = check_input(c, FILL_NORMAL, d),
                          noise = check_input(c, f == FILL_MEAN_1000 ? f : FILL_NORMAL, d);
                tr_tensor mask = check_values(c, TR_F32, TR_DIMS(b, 1, h, w), m),
                          weight = back ? check_input_as(c, FILL_NORMAL, TR_F32, TR_DIMS(b)) : tr_none();
                tr_tensor sum = check_output_as(c, TR_F64, TR_DIMS(b)), dv = back ? check_output(c, d) : tr_none();
                free(m);
                double *v64 = check_f64(c, v), *x64 = check_f64(c, x0), *n64 = check_f64(c, noise), *m64 = check_f64(c, mask),
                       *w64 = back ? check_f64(c, weight) : NULL;
                double *total = check_room(c, b), *total_mag = check_room(c, b), *want = check_room(c, n),
                       *mag = check_room(c, n);
                sizes shape = { b, ch, plane, x64, n64, m64 };
                forward(&shape, total, v64);
                for (int64_t i = 0; i < n; i++) {
                    const int64_t of = i / (ch * plane);
                    const double mi = m64[of * plane + i % plane], e = v64[i] - (n64[i] - x64[i]),
                                 terms = fabs(v64[i]) + fabs(n64[i]) + fabs(x64[i]);
                    total_mag[of] += mi * terms * terms;
                    if (!back) continue;
                    want[i] = w64[of] * 2 * mi * e;
                    mag[i] = fabs(want[i]) + fabs(w64[of]) * mi * terms * 0x1p-24;      /* all in float64 but the last rounding */
                }
                if (back && k == 1 && f == FILL_NORMAL) check_slope(c, want, forward, &shape, v64, n, w64, b, 1);
                check_ok(c, tr_velocity_loss(check_stream(c), dv, sum, v, x0, noise, mask, weight));
                /* two sums of N = c h w terms in float64, each within N 2^-53 of the terms: 2 (N + 8) 2^-53 / 2^-24 */
                check_near(c, sum, total, total_mag, (double)(ch * plane + 8) * 0x1p-28);
                if (back) check_near(c, dv, want, mag, 1.01);
                check_release(c);
            }
    /* A NaN comes through, even where the mask is 0; the other sample is as it was. */
    static const float v[] = { 1, 2, NAN, 4 }, zero[] = { 0, 0, 0, 0 }, mask[] = { 1, 0.5f, 0, 1 };
    tr_tensor sum = check_output_as(c, TR_F64, TR_DIMS(2)), none = tr_none();
    tr_tensor tv = check_values(c, TR_F32, TR_DIMS(2, 1, 1, 2), v), tz = check_values(c, TR_F32, TR_DIMS(2, 1, 1, 2), zero);
    tr_tensor tm = check_values(c, TR_F32, TR_DIMS(2, 1, 1, 2), mask);
    check_ok(c, tr_velocity_loss(check_stream(c), none, sum, tv, tz, tz, tm, none));
    double want[] = { 3, NAN };
    check_equal(c, sum, want);
}

BENCH_OP(velocity_loss)
{
    for (bench_begin(c, "4 x 16 x 128 x 128"); bench_more(c);) {
        const tr_dims d = TR_DIMS(4, 16, 128, 128);
        tr_tensor dv = bench_input(c, d), v = bench_input(c, d), x0 = bench_input(c, d),
                  noise = bench_input(c, d);
        tr_tensor mask = bench_tensor(c, TR_F32, TR_DIMS(4, 1, 128, 128)), weight = bench_tensor(c, TR_F32, TR_DIMS(4)),
                  sum = bench_tensor(c, TR_F64, TR_DIMS(4));
        BENCH_TIME(c, tr_velocity_loss(check_stream(c), dv, sum, v, x0, noise, mask, weight));
    }
}
