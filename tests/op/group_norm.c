#include "check.h"

#include <math.h>

static double silu(double v) { return v / (1 + exp(-v)); }

/* Over (h, w, c / n_group) of each image; the statistics come from tr_group_stats, as in use. */
static void ref_group_norm(double *want, double *mag, const double *x, const double *w, const double *b, int64_t n_image, int64_t n_pix, int64_t n, int64_t g,
                           double eps, tr_act act)
{
    const int64_t per = n / g, m = n_pix * per;
    for (int64_t i = 0; i < n_image * g; i++) {
        const double *xi = x + i / g * n_pix * n + i % g * per;
        double mean = 0, var = 0;
        for (int64_t p = 0; p < m; p++) mean += xi[p / per * n + p % per] / (double)m;
        for (int64_t p = 0; p < m; p++) var += pow(xi[p / per * n + p % per] - mean, 2) / (double)m;
        const double rstd = 1 / sqrt(var + eps);
        for (int64_t p = 0; p < m; p++) {
            const int64_t at = p / per * n + p % per, ch = i % g * per + p % per;
            const double v = (xi[at] - mean) * rstd * w[ch] + b[ch], size = (fabs(xi[at]) + fabs(mean)) * rstd * fabs(w[ch]) + fabs(b[ch]);
            const int64_t o = i / g * n_pix * n + i % g * per + at;
            want[o] = act == TR_ACT_SILU ? silu(v) : v;
            mag[o] = act == TR_ACT_SILU ? 1.1 * size : size;      /* |silu'| <= 1.1 */
        }
    }
}

CHECK_OP(group_norm)
{
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3, TR_F32 };
    static const int64_t sizes[][5] = { { 1, 1, 2, 1, 1 }, { 2, 3, 5, 32, 8 }, { 1, 7, 4, 130, 13 }, { 1, 4, 33, 256, 32 }, { 2, 5, 9, 64, 1 } };   /* b, h, w, c, groups */
    for (int k = 0; k < 5; k++)
        for (check_fill f = 0; f < FILL_N; f++)
            for (int kind = 0; kind < 4; kind++) {            /* plain, silu, in place, a band with the statistics of the whole */
                const int64_t b = sizes[k][0], h = sizes[k][1], w = sizes[k][2], n = sizes[k][3], g = sizes[k][4];
                const tr_act act = kind ? TR_ACT_SILU : TR_ACT_NONE;
                tr_tensor x = check_input(c, f, TR_DIMS(b, h, w, n)), stats = check_output_as(c, TR_F64, TR_DIMS(b, h, g, 2));
                tr_tensor wt = check_weight(c, FILL_NORMAL, types[k], TR_DIMS(n)), bs = check_weight(c, FILL_NORMAL, types[k], TR_DIMS(n));
                tr_tensor y = kind == 2 ? x : check_output(c, TR_DIMS(b, h, w, n));
                double *want = check_room(c, b * h * w * n), *mag = check_room(c, b * h * w * n);
                ref_group_norm(want, mag, check_f64(c, x), check_f64(c, wt), check_f64(c, bs), b, h * w, n, g, 1e-6f, act);
                if (kind == 2) check_mutable(c, x);
                check_ok(c, tr_group_stats(check_stream(c), stats, x));
                double *keep = check_f64(c, stats), *room = check_room(c, tr_count(stats));
                for (int64_t i = 0; i < tr_count(stats); i++) room[i] = fabs(keep[i]);
                check_near(c, stats, keep, room, 1);
                if (kind == 3 && h > 1) {
                    check_ok(c, tr_group_norm(check_stream(c), tr_slice(y, 1, 0, 1), tr_slice(x, 1, 0, 1), stats, wt, bs, 1e-6f, act));
                    check_ok(c, tr_group_norm(check_stream(c), tr_slice(y, 1, 1, h - 1), tr_slice(x, 1, 1, h - 1), stats, wt, bs, 1e-6f, act));
                } else {
                    check_ok(c, tr_group_norm(check_stream(c), y, x, stats, wt, bs, 1e-6f, act));
                }
                check_near(c, y, want, mag, 8);
                check_release(c);
            }
}

BENCH_OP(group_norm)
{
    const int64_t n = check_is_host(c) ? 256 : 1024;
    static const tr_act acts[] = { TR_ACT_NONE, TR_ACT_SILU };
    for (int k = 0; k < 2; k++)
        for (bench_begin(c, "%d x %d x 128, 32 groups%s", (int)n, (int)n, k ? ", silu" : ""); bench_more(c);) {
            tr_tensor x = bench_input(c, TR_DIMS(1, n, n, 128)), y = bench_input(c, TR_DIMS(1, n, n, 128));
            tr_tensor stats = bench_tensor(c, TR_F64, TR_DIMS(1, n, 32, 2)), w = bench_tensor(c, TR_F32, TR_DIMS(128)), b = bench_tensor(c, TR_F32, TR_DIMS(128));
            BENCH_TIME(c, tr_group_norm(check_stream(c), y, x, stats, w, b, 1e-6f, acts[k]));
        }
}
