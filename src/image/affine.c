/* affine.c - pictures turned, scaled and moved in one go. */
#include "image/affine.h"

#include <math.h>

/* Catmull-Rom: Keys 1981 with a = -1/2, as resize.c has it. */
static void cubic(float k[4], float t)
{
    k[0] = ((-0.5f * t + 1.0f) * t - 0.5f) * t;
    k[1] = (1.5f * t - 2.5f) * t * t + 1.0f;
    k[2] = ((-1.5f * t + 2.0f) * t + 0.5f) * t;
    k[3] = (0.5f * t - 0.5f) * t * t;
}

static int inside(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static float sample(const float *v, int w, int h, double x, double y, tr_filter filter)
{
    if (filter == TR_FILTER_NEAREST) return v[(int64_t)floor(y) * w + (int64_t)floor(x)];
    const double x0 = floor(x - 0.5), y0 = floor(y - 0.5);
    const float tx = (float)(x - 0.5 - x0), ty = (float)(y - 0.5 - y0);
    const int ix = (int)x0, iy = (int)y0;
    if (filter == TR_FILTER_BILINEAR) {
        const float *a = v + (int64_t)inside(iy, h) * w, *b = v + (int64_t)inside(iy + 1, h) * w;
        const int l = inside(ix, w), r = inside(ix + 1, w);
        const float top = a[l] + tx * (a[r] - a[l]), bottom = b[l] + tx * (b[r] - b[l]);
        return top + ty * (bottom - top);
    }
    float kx[4], ky[4], sum = 0;
    cubic(kx, tx);
    cubic(ky, ty);
    for (int j = 0; j < 4; j++) {
        const float *row = v + (int64_t)inside(iy - 1 + j, h) * w;
        float s = 0;
        for (int i = 0; i < 4; i++) s += kx[i] * row[inside(ix - 1 + i, w)];
        sum += ky[j] * s;
    }
    return sum < 0 ? 0 : sum > 1 ? 1 : sum;
}

#define ROWS 8

typedef struct job { tr_planes in, out; tr_affine m; tr_filter filter; float fill; } job;

static tress_status rows(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    const int y0 = (int)i * ROWS, y1 = y0 + ROWS < j->out.h ? y0 + ROWS : j->out.h;
    (void)i_thread;
    for (int y = y0; y < y1; y++)
        for (int x = 0; x < j->out.w; x++) {
            const double px = x + 0.5, py = y + 0.5;
            const double sx = j->m.a * px + j->m.b * py + j->m.c, sy = j->m.d * px + j->m.e * py + j->m.f;
            const bool in = sx >= 0 && sx < j->in.w && sy >= 0 && sy < j->in.h;
            for (int c = 0; c < j->out.c; c++)
                tr_plane(j->out, c)[(int64_t)y * j->out.w + x] = in ? sample(tr_plane(j->in, c), j->in.w, j->in.h, sx, sy, j->filter) : j->fill;
        }
    return TRESS_OK;
}

tress_status tr_affine_apply(tr_planes *out, tr_planes in, tr_affine m, int width, int height, tr_filter filter, float fill)
{
    tress_status st = TRESS_OK;
    tr_planes small = { 0 }, to = { 0 };
    const double all[6] = { m.a, m.b, m.c, m.d, m.e, m.f };
    if (filter != TR_FILTER_NEAREST && filter != TR_FILTER_BILINEAR && filter != TR_FILTER_BICUBIC)
        TR_TRY(tr_fail(TRESS_E_ARG, "an affine map samples by nearest, bilinear or bicubic, not by filter %d", (int)filter));
    for (int i = 0; i < 6; i++)
        if (!(fabs(all[i]) < 1e12)) TR_TRY(tr_fail(TRESS_E_ARG, "an affine map with the coefficient %g", all[i]));

    /* Input pixels that one output pixel spans across and down; beyond one the picture is first reduced by the resampler,
     * whose filters widen, and the rest of the map then shrinks no more. Exact for scaling and turning, near enough for shear. */
    const double span_x = hypot(m.a, m.b), span_y = hypot(m.d, m.e);
    if (filter != TR_FILTER_NEAREST && (span_x > 1.0 + 1e-9 || span_y > 1.0 + 1e-9)) {
        const int w = span_x > 1 ? (int)fmax(1, round(in.w / span_x)) : in.w, h = span_y > 1 ? (int)fmax(1, round(in.h / span_y)) : in.h;
        TR_TRY(tr_resize(&small, in, w, h, filter));
        const double rx = (double)w / in.w, ry = (double)h / in.h;
        m = (tr_affine){ m.a * rx, m.b * rx, m.c * rx, m.d * ry, m.e * ry, m.f * ry };
    }
    TR_TRY(tr_planes_new(&to, in.c, height, width));
    job j = { .in = small.data ? small : in, .out = to, .m = m, .filter = filter, .fill = fill };
    TR_TRY(tr_parallel(tr_thread_count(), (height + ROWS - 1) / ROWS, rows, &j));
    *out = to;
    to = (tr_planes){ 0 };
done:
    tr_planes_fini(&small);
    tr_planes_fini(&to);
    return st;
}

tr_affine tr_affine_place(int sw, int sh, double x, double y, double scale, double rotate, bool flip)
{
    const double t = rotate * (M_PI / 180), k = 1 / scale;
    const double a = (flip ? -k : k) * cos(t), b = (flip ? -k : k) * sin(t), d = -k * sin(t), e = k * cos(t);
    return (tr_affine){ a, b, sw / 2.0 - a * x - b * y, d, e, sh / 2.0 - d * x - e * y };
}
