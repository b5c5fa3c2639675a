#include "check.h"

#include <math.h>

typedef struct shape { int64_t b, h, w, c, m, k; int stride, up, top, left, bottom, right; } shape;

static int64_t out_size(int64_t n, int up, int before, int after, int64_t k, int stride) { return (n * up + before + after - k) / stride + 1; }

static void ref_conv(double *want, double *mag, const double *x, const double *w, const double *b, const double *residual, shape s, int64_t oh, int64_t ow)
{
    for (int64_t i = 0; i < s.b * oh * ow; i++)
        for (int64_t o = 0; o < s.m; o++) {
            const int64_t col = i % ow, row = i / ow % oh, n = i / ow / oh;
            double v = b ? b[o] : 0, a = fabs(v);
            for (int64_t t = 0; t < s.k * s.k; t++) {
                const int64_t r = row * s.stride + t / s.k - s.top, l = col * s.stride + t % s.k - s.left;
                if (r < 0 || l < 0 || r >= s.h * s.up || l >= s.w * s.up) continue;
                for (int64_t c = 0; c < s.c; c++) {
                    const double term = x[((n * s.h + r / s.up) * s.w + l / s.up) * s.c + c] * w[(o * s.c + c) * s.k * s.k + t];
                    v += term;
                    a += fabs(term);
                }
            }
            if (residual) v += residual[i * s.m + o], a += fabs(residual[i * s.m + o]);
            want[i * s.m + o] = v;
            mag[i * s.m + o] = a;
        }
}

/* Winograd's way rounds at the size of its intermediates: |A| [ (|G| |w| |G|^T) (|B| |x| |B|^T) ] |A|^T over a tile of 6 x 6
 * pixels. The one-dimensional sums of |A| |G| |B| over the points 0, +-3/4, +-3/2, infinity: how often the pixel under tile row r
 * and the weight k come into result i. Zero where only cancelling terms meet would be exact arithmetic; in floats they count. */
static void spread_of(double spread[4][3][6])
{
    static const double a = 0.75, b = 1.5, p = 0.5625, q = 2.25;
    const double at[4][6] = { { 1, 1, 1, 1, 1, 0 }, { 0, a, a, b, b, 0 }, { 0, p, p, q, q, 0 }, { 0, a * p, a * p, b * q, b * q, 1 } };
    const double fa = 1 / fabs(2 * p * (p - q)), fb = 1 / fabs(2 * q * (q - p));
    const double g[6][3] = { { 1 / (p * q), 0, 0 }, { fa, a * fa, p * fa }, { fa, a * fa, p * fa }, { fb, b * fb, q * fb }, { fb, b * fb, q * fb }, { 0, 0, 1 } };
    const double bt[6][6] = { { p * q, 0, p + q, 0, 1, 0 }, { 0, a * q, q, a, 1, 0 }, { 0, a * q, q, a, 1, 0 }, { 0, b * p, p, b, 1, 0 },
                              { 0, b * p, p, b, 1, 0 }, { 0, p * q, 0, p + q, 0, 1 } };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 3; k++)
            for (int r = 0; r < 6; r++) {
                spread[i][k][r] = 0;
                for (int l = 0; l < 6; l++) spread[i][k][r] += at[i][l] * g[l][k] * bt[l][r];
            }
}

static void winograd_mag(double *mag, const double *x, const double *w, shape s, int64_t oh, int64_t ow)
{
    double spread[4][3][6];
    spread_of(spread);
    for (int64_t i = 0; i < s.b * oh * ow; i++)
        for (int64_t o = 0; o < s.m; o++) {
            const int64_t col = i % ow, row = i / ow % oh, n = i / ow / oh;
            double a = 0;
            for (int64_t t = 0; t < 36; t++) {
                const int64_t r = row / 4 * 4 + t / 6 - s.top, l = col / 4 * 4 + t % 6 - s.left;
                if (r < 0 || l < 0 || r >= s.h * s.up || l >= s.w * s.up) continue;
                for (int64_t k = 0; k < 9; k++) {
                    const double often = spread[row % 4][k / 3][t / 6] * spread[col % 4][k % 3][t % 6];
                    for (int64_t c = 0; c < s.c; c++)
                        a += often * fabs(x[((n * s.h + r / s.up) * s.w + l / s.up) * s.c + c] * w[(o * s.c + c) * 9 + k]);
                }
            }
            mag[i * s.m + o] += a;
        }
}

static bool by_winograd(shape s, int64_t ow) { return s.k == 3 && s.stride == 1 && s.c >= 16 && s.m >= 16 && ow >= 16; }

static tr_conv_args args_of(shape s)
{
    return (tr_conv_args){ .stride = s.stride, .upsample = s.up, .pad_top = s.top, .pad_left = s.left, .pad_bottom = s.bottom, .pad_right = s.right };
}

static void one(check *c, check_fill f, tr_dtype t, shape s, bool bias, bool residual, bool in_place, bool inside)
{
    const int64_t oh = out_size(s.h, s.up, s.top, s.bottom, s.k, s.stride), ow = out_size(s.w, s.up, s.left, s.right, s.k, s.stride), n = s.b * oh * ow * s.m;
    tr_tensor x = inside ? tr_slice(tr_slice(check_input(c, f, TR_DIMS(s.b, s.h + 2, s.w, s.c + 4)), 3, 2, s.c), 1, 1, s.h)
                         : check_input(c, f, TR_DIMS(s.b, s.h, s.w, s.c));
    tr_tensor w = check_weight(c, FILL_NORMAL, t, TR_DIMS(s.m, s.c, s.k, s.k)), b = bias ? check_weight(c, FILL_NORMAL, t, TR_DIMS(s.m)) : tr_none();
    tr_conv_args a = args_of(s);
    if (residual) a.residual = check_input(c, f, TR_DIMS(s.b, oh, ow, s.m));
    tr_tensor y = residual && in_place ? a.residual : inside ? tr_slice(check_output(c, TR_DIMS(s.b, oh + 3, ow, s.m)), 1, 2, oh) : check_output(c, TR_DIMS(s.b, oh, ow, s.m));
    double *want = check_room(c, n), *mag = check_room(c, n);
    const double *vx = check_f64(c, x), *vw = check_f64(c, w);
    ref_conv(want, mag, vx, vw, bias ? check_f64(c, b) : NULL, residual ? check_f64(c, a.residual) : NULL, s, oh, ow);
    if (check_is_host(c) && by_winograd(s, ow)) winograd_mag(mag, vx, vw, s, oh, ow);
    /* weights come in the stream's type, mixed also x; the result may be kept in it before the residual is added */
    const tr_dtype kept = tr_stream_dtype(check_stream(c));
    check_rounds(c, (t != kept) + (x.dtype != kept) + residual, 2 * check_largest(f));
    if (residual && in_place) check_mutable(c, y);
    check_ok(c, tr_conv2d(check_stream(c), y, x, w, b, &a));
    check_near(c, y, want, mag, 8 + sqrt((double)(s.c * s.k * s.k)));
    check_release(c);
}

/* The whole is held to a relative error too, of the kind that models are held to: 5e-7 at 32 channels was measured for these
 * points in float32 with numpy, 1.2e-6 for the usual ones. */
static void precise(check *c)
{
    const shape s = { 1, 16, 16, 32, 32, 3, 1, 1, 1, 1, 1, 1 };
    const int64_t n = 16 * 16 * 32;
    tr_tensor x = check_input(c, FILL_NORMAL, TR_DIMS(1, 16, 16, 32)), w = check_weight(c, FILL_NORMAL, TR_F32, TR_DIMS(32, 32, 3, 3));
    tr_tensor y = check_output(c, TR_DIMS(1, 16, 16, 32));
    tr_conv_args a = args_of(s);
    double *want = check_room(c, n), *mag = check_room(c, n), off = 0, all = 0;
    ref_conv(want, mag, check_f64(c, x), check_f64(c, w), NULL, NULL, s, 16, 16);
    if (check_is_host(c)) winograd_mag(mag, check_f64(c, x), check_f64(c, w), s, 16, 16);
    const tr_dtype kept = tr_stream_dtype(check_stream(c));
    check_rounds(c, (kept != TR_F32) + (x.dtype != kept), 2 * check_largest(FILL_NORMAL));
    check_ok(c, tr_conv2d(check_stream(c), y, x, w, tr_none(), &a));
    check_near(c, y, want, mag, 26);
    const double *got = check_f64(c, y);
    for (int64_t i = 0; i < n; i++) off += (got[i] - want[i]) * (got[i] - want[i]), all += want[i] * want[i];
    const double most = kept == TR_F32 ? 1e-6 : kept == TR_F16 ? 0x1p-10 : 0x1p-7;      /* narrow: 2 u, a rounding is u / sqrt(3) at the most */
    check_int(c, "a relative error of at most 1e-6, or of 2 u", off <= most * most * all, 1);
    check_release(c);
}

/* Bands that begin and end at multiples of 4 rows give the bytes of the whole. In an enlarged picture the row above such a band
 * is the second of its pair: the first is left out by a negative pad. */
static void bands(check *c, int64_t n_c, int64_t m, int up)
{
    const int64_t h = 14, w = 17, oh = h * up, ow = w * up;
    tr_tensor x = check_input(c, FILL_NORMAL, TR_DIMS(1, h, w, n_c)), k = check_weight(c, FILL_NORMAL, TR_F16, TR_DIMS(m, n_c, 3, 3));
    tr_tensor b = check_weight(c, FILL_NORMAL, TR_F32, TR_DIMS(m)), y = check_output(c, TR_DIMS(1, oh, ow, m)), part = check_output(c, TR_DIMS(1, oh, ow, m));
    tr_conv_args a = { .stride = 1, .upsample = up, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1 };
    check_ok(c, tr_conv2d(check_stream(c), y, x, k, b, &a));
    for (int64_t r = 0; r < oh; r += 8) {
        const int64_t n = oh - r < 8 ? oh - r : 8, first = r == 0 ? 0 : r / up - 1, end = r + n == oh ? h : (r + n) / up + 1;
        a.pad_top = r == 0 ? 1 : 1 - up;
        a.pad_bottom = r + n == oh ? 1 : 1 - up;
        check_ok(c, tr_conv2d(check_stream(c), tr_slice(part, 1, r, n), tr_slice(x, 1, first, end - first), k, b, &a));
    }
    if (tr_stream_dtype(check_stream(c)) == TR_F32) {
        check_equal(c, part, check_f64(c, y));
        check_equal(c, y, check_f64(c, y));
    } else {                                    /* two results, each of its own kernel and rounded once: ops.h */
        const shape s = { 1, h, w, n_c, m, 3, 1, up, 1, 1, 1, 1 };
        const int64_t n = oh * ow * m;
        double *want = check_room(c, n), *mag = check_room(c, n);
        ref_conv(want, mag, check_f64(c, x), check_f64(c, k), check_f64(c, b), NULL, s, oh, ow);
        check_rounds(c, 1, 2 * check_largest(FILL_NORMAL));
        check_near(c, part, want, mag, 8 + sqrt((double)(n_c * 9)));
        check_near(c, y, want, mag, 8 + sqrt((double)(n_c * 9)));
    }
    check_release(c);
}

CHECK_OP(conv2d)
{
    static const shape shapes[] = {
        { 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 },         { 2, 5, 6, 3, 7, 3, 1, 1, 1, 1, 1, 1 },   { 1, 8, 10, 5, 33, 3, 2, 1, 0, 0, 1, 1 },
        { 1, 7, 9, 17, 21, 1, 1, 1, 0, 0, 0, 0 },       { 1, 9, 8, 35, 3, 3, 1, 1, 1, 1, 1, 1 },  { 2, 4, 5, 9, 6, 3, 1, 2, 1, 1, 1, 1 },
        { 1, 6, 6, 300, 5, 3, 1, 1, 1, 1, 1, 1 },       { 1, 6, 4, 16, 4, 2, 2, 1, 0, 0, 0, 0 },  { 2, 6, 18, 18, 17, 3, 1, 1, 1, 1, 1, 1 },
        { 1, 4, 16, 17, 34, 3, 1, 1, 0, 1, 0, 1 },      { 1, 6, 9, 16, 35, 3, 1, 2, 1, 1, 1, 1 }, { 1, 1, 16, 258, 16, 3, 1, 1, 1, 1, 1, 1 },
        { 1, 5, 3, 8, 2, 3, 1, 1, 0, 2, 1, 0 },         { 1, 3, 4, 4, 4, 3, 1, 2, 1, 1, 1, 1 },
    };
    static const tr_dtype types[] = { TR_F32, TR_F16, TR_BF16, TR_F8_E4M3 };
    for (int i = 0; i < 14; i++)
        for (check_fill f = 0; f < FILL_N; f++)
            one(c, f, types[(i + (int)f) % 4], shapes[i], f != FILL_TINY, f % 2, f == FILL_SPIKES, (i + (int)f) % 3 == 1);
    precise(c);
    bands(c, 16, 32, 1);
    bands(c, 24, 3, 1);
    bands(c, 8, 24, 1);
    bands(c, 16, 16, 2);
    bands(c, 8, 24, 2);
    if (!check_is_host(c)) {                    /* an enlargement beyond 32 MiB goes by bands there */
        one(c, FILL_NORMAL, tr_stream_dtype(check_stream(c)), (shape){ 1, 18, 1024, 256, 8, 3, 1, 2, 1, 1, 1, 1 }, true, true, true, false);
        one(c, FILL_NORMAL, tr_stream_dtype(check_stream(c)), (shape){ 2, 18, 1024, 256, 8, 3, 2, 2, 1, 1, 0, 1 }, true, false, false, false);
    }
}

BENCH_OP(conv2d)
{
    static const int64_t sizes[][5] = { { 32, 32, 256, 3, 1 }, { 64, 32, 256, 3, 1 }, { 64, 64, 128, 3, 1 }, { 64, 64, 256, 3, 2 }, { 128, 128, 64, 3, 1 },
                                        { 128, 128, 256, 3, 1 }, { 256, 256, 128, 3, 1 }, { 512, 512, 64, 3, 1 }, { 32, 3, 256, 3, 1 }, { 64, 32, 256, 1, 1 },
                                        { 512, 512, 128, 3, 1 }, { 512, 512, 256, 3, 1 }, { 512, 256, 512, 3, 1 }, { 512, 512, 512, 3, 2 }, { 256, 256, 512, 3, 1 },
                                        { 256, 128, 1024, 3, 1 }, { 128, 128, 1024, 3, 1 }, { 128, 3, 1024, 3, 1 }, { 3, 128, 1024, 3, 1 } };
    const tr_dtype weight = tr_stream_dtype(check_stream(c));
    for (int i = 0; i < (check_is_host(c) ? 10 : 19); i++) {                      /* c, m, size of y, k, upsample */
        const int64_t n_c = sizes[i][0], m = sizes[i][1], n = sizes[i][2], k = sizes[i][3], up = sizes[i][4];
        const int pad = k == 3;
        const tr_conv_args a = { .stride = 1, .upsample = (int)up, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad };
        for (bench_begin(c, "%d -> %d at %d x %d, %d x %d, from 1 / %d", (int)n_c, (int)m, (int)n, (int)n, (int)k, (int)k, (int)up); bench_more(c);) {
            tr_tensor x = bench_input(c, TR_DIMS(1, n / up, n / up, n_c)), w = bench_tensor(c, weight, TR_DIMS(m, n_c, k, k));
            tr_tensor b = bench_tensor(c, weight, TR_DIMS(m)), y = bench_input(c, TR_DIMS(1, n, n, m));
            BENCH_TIME(c, tr_conv2d(check_stream(c), y, x, w, b, &a));
        }
    }
}
