/* matte.c - where the hair is, and where the picture may change. reference: hair editing notes, 3.4 and 3.5. */
#include "image/matte_int.h"

#include <math.h>
#include <string.h>

tress_status tr_matte_read(tr_planes *out, const tr_image *img, const char *where)
{
    tress_status st = TRESS_OK;
    tr_planes m = { 0 }, alpha = { 0 };
    const int64_t n = (int64_t)img->width * img->height;
    float least = 1, most = 0;
    TR_TRY(tr_image_grey(&m, img));
    TR_TRY(tr_image_alpha(&alpha, img));
    for (int64_t i = 0; i < n; i++) {
        const float v = m.data[i] * alpha.data[i];
        m.data[i] = v;
        if (v < least) least = v;
        if (v > most) most = v;
    }
    if (most <= 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the matte is empty: all %d x %d pixels are black; hair is white", where, m.w, m.h));
    if (least > 0.99f) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the matte is full: all %d x %d pixels are white; only the hair should be", where, m.w, m.h));
    *out = m;
    m = (tr_planes){ 0 };
done:
    tr_planes_fini(&m);
    tr_planes_fini(&alpha);
    return st;
}

static int mirrored(int64_t i, int n)           /* the edge repeated: 1 0 0 1 2 */
{
    i %= 2 * (int64_t)n;
    if (i < 0) i += 2 * (int64_t)n;
    return (int)(i < n ? i : 2 * (int64_t)n - 1 - i);
}

#define ROWS 16
#define COLUMNS 512

typedef struct blur {
    tr_planes    in, out;
    int          radius, n_block;
    const float *k;                             /* [radius + 1], the centre first */
    float       *line;                          /* [n_thread, w + 2 radius] */
} blur;

static tress_status across(void *self, int64_t i, int i_thread)
{
    const blur *b = self;
    const int w = b->in.w, y0 = (int)(i % b->n_block) * ROWS, y1 = y0 + ROWS < b->in.h ? y0 + ROWS : b->in.h;
    float *line = b->line + (int64_t)i_thread * (w + 2 * (int64_t)b->radius) + b->radius;
    for (int y = y0; y < y1; y++) {
        const float *in = tr_plane(b->in, (int)(i / b->n_block)) + (int64_t)y * w;
        float *out = tr_plane(b->out, (int)(i / b->n_block)) + (int64_t)y * w;
        memcpy(line, in, (size_t)w * sizeof *line);
        for (int t = 1; t <= b->radius; t++) {
            line[-t] = in[mirrored(-t, w)];
            line[w - 1 + t] = in[mirrored((int64_t)w - 1 + t, w)];
        }
        for (int x0 = 0; x0 < w; x0 += COLUMNS) {
            const int n = w - x0 < COLUMNS ? w - x0 : COLUMNS;
            float sum[COLUMNS];
            for (int x = 0; x < n; x++) sum[x] = b->k[0] * line[x0 + x];
            for (int t = 1; t <= b->radius; t++)
                for (int x = 0; x < n; x++) sum[x] += b->k[t] * (line[x0 + x - t] + line[x0 + x + t]);
            memcpy(out + x0, sum, (size_t)n * sizeof *sum);
        }
    }
    return TRESS_OK;
}

static tress_status down(void *self, int64_t i, int i_thread)
{
    const blur *b = self;
    const int w = b->in.w, h = b->in.h, y0 = (int)(i % b->n_block) * ROWS, y1 = y0 + ROWS < h ? y0 + ROWS : h;
    const float *in = tr_plane(b->in, (int)(i / b->n_block));
    float sum[COLUMNS];
    (void)i_thread;
    for (int y = y0; y < y1; y++)
        for (int x0 = 0; x0 < w; x0 += COLUMNS) {
            const int n = w - x0 < COLUMNS ? w - x0 : COLUMNS;
            const float *c = in + (int64_t)y * w + x0;
            for (int x = 0; x < n; x++) sum[x] = b->k[0] * c[x];
            for (int t = 1; t <= b->radius; t++) {
                const float *p = in + (int64_t)mirrored(y - t, h) * w + x0, *q = in + (int64_t)mirrored(y + t, h) * w + x0;
                for (int x = 0; x < n; x++) sum[x] += b->k[t] * (p[x] + q[x]);
            }
            memcpy(tr_plane(b->out, (int)(i / b->n_block)) + (int64_t)y * w + x0, sum, (size_t)n * sizeof *sum);
        }
    return TRESS_OK;
}

tress_status tr_gaussian(tr_planes *out, tr_planes in, double sigma)
{
    tress_status st = TRESS_OK;
    tr_planes half = { 0 }, whole = { 0 };
    float *k = NULL;
    double sum = 0;
    const int n_thread = tr_thread_count();
    blur b = { .in = in, .n_block = (in.h + ROWS - 1) / ROWS };
    if (!(sigma >= 0 && sigma <= 4096)) TR_TRY(tr_fail(TRESS_E_ARG, "a Gaussian of sigma %g; expected 0 to 4096", sigma));
    b.radius = (int)ceil(4 * sigma);
    TR_TRY(tr_alloc_array((void **)&k, b.radius + 1, sizeof *k));
    for (int t = 0; t <= b.radius; t++) sum += (t ? 2 : 1) * (sigma > 0 ? exp(-0.5 * t * t / (sigma * sigma)) : 1);
    for (int t = 0; t <= b.radius; t++) k[t] = (float)((sigma > 0 ? exp(-0.5 * t * t / (sigma * sigma)) : 1) / sum);
    b.k = k;
    TR_TRY(tr_alloc_array((void **)&b.line, n_thread * (in.w + 2 * (int64_t)b.radius), sizeof *b.line));
    TR_TRY(tr_planes_new(&half, in.c, in.h, in.w));
    TR_TRY(tr_planes_new(&whole, in.c, in.h, in.w));
    b.out = half;
    TR_TRY(tr_parallel(n_thread, (int64_t)in.c * b.n_block, across, &b));
    b.in = half;
    b.out = whole;
    TR_TRY(tr_parallel(n_thread, (int64_t)in.c * b.n_block, down, &b));
    *out = whole;
    whole = (tr_planes){ 0 };
done:
    tr_free(k);
    tr_free(b.line);
    tr_planes_fini(&half);
    tr_planes_fini(&whole);
    return st;
}

tress_status tr_union_distance(tr_planes *out, tr_planes matte, tr_planes old)
{
    tress_status st = TRESS_OK;
    tr_planes both = { 0 };
    const int64_t n = (int64_t)matte.w * matte.h;
    if (!old.data) return tr_distance(out, matte);
    if (old.w != matte.w || old.h != matte.h || old.c != 1 || matte.c != 1)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "the old matte has %d x %d pixels, the matte %d x %d", old.w, old.h, matte.w, matte.h));
    TR_TRY(tr_planes_new(&both, 1, matte.h, matte.w));
    for (int64_t i = 0; i < n; i++) both.data[i] = matte.data[i] > 0 || old.data[i] > 0;
    TR_TRY(tr_distance(out, both));
done:
    tr_planes_fini(&both);
    return st;
}

tress_status tr_edit_region(tr_planes *out, tr_planes matte, tr_planes old, double r)
{
    tress_status st = TRESS_OK;
    tr_planes d = { 0 };
    if (!(r >= 0)) TR_TRY(tr_fail(TRESS_E_ARG, "an edit region of %g pixels; expected 0 or more", r));
    TR_TRY(tr_union_distance(&d, matte, old));
    const int64_t n = (int64_t)d.w * d.h;
    const float none = (float)(d.w + d.h);
    for (int64_t i = 0; i < n; i++) d.data[i] = d.data[i] < none && d.data[i] <= r;
    *out = d;
    d = (tr_planes){ 0 };
done:
    tr_planes_fini(&d);
    return st;
}

tress_status tr_matte_soft(tr_planes *out, tr_planes matte)
{
    tress_status st = TRESS_OK;
    tr_planes sure = { 0 }, d = { 0 }, soft = { 0 };
    const int64_t n = (int64_t)matte.w * matte.h;
    const double s = (matte.w > matte.h ? matte.w : matte.h) / 1024.0;
    const int kernel = (int)ceil(15 * s) | 1, r = (kernel - 1) / 2;              /* 15 pixels at 1024, odd sizes rounded up */
    if (matte.c != 1) TR_TRY(tr_fail(TRESS_E_ARG, "a matte of %d planes; expected 1", matte.c));
    TR_TRY(tr_planes_new(&sure, 1, matte.h, matte.w));
    for (int64_t i = 0; i < n; i++) sure.data[i] = matte.data[i] > 0.5f;
    TR_TRY(tr_distance(&d, sure));
    for (int64_t i = 0; i < n; i++) sure.data[i] = d.data[i] <= (float)r;
    TR_TRY(tr_gaussian(&soft, sure, 10 * s));
    for (int64_t i = 0; i < n; i++) soft.data[i] = fmaxf(matte.data[i], fminf(1.0f, soft.data[i]));
    *out = soft;
    soft = (tr_planes){ 0 };
done:
    tr_planes_fini(&sure);
    tr_planes_fini(&d);
    tr_planes_fini(&soft);
    return st;
}

tress_status tr_region_cells(tr_planes *out, tr_planes region, const int box[4], int w, int h)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    if (region.c != 1 || box[0] < 0 || box[1] < 0 || box[0] >= box[2] || box[1] >= box[3] || box[2] > region.w || box[3] > region.h || w < 1 || h < 1)
        TR_TRY(tr_fail(TRESS_E_ARG, "%d x %d cells over the box %d %d %d %d of a region of %d x %d", w, h, box[0], box[1], box[2], box[3], region.w, region.h));
    TR_TRY(tr_planes_new(&p, 1, h, w));
    const int64_t n_x = box[2] - box[0], n_y = box[3] - box[1];
    for (int64_t y = 0; y < n_y; y++)
        for (int64_t x = 0; x < n_x; x++) {
            if (!(region.data[(box[1] + y) * region.w + box[0] + x] > 0)) continue;
            /* pixel x spans x to x + 1, cell i spans i n / w to (i + 1) n / w */
            const int64_t i0 = x * w / n_x, i1 = ((x + 1) * w - 1) / n_x, j0 = y * h / n_y, j1 = ((y + 1) * h - 1) / n_y;
            for (int64_t j = j0; j <= j1; j++)
                for (int64_t i = i0; i <= i1; i++) p.data[j * w + i] = 1;
        }
    *out = p;
done:
    return st;
}

tress_status tr_area_reduce(tr_planes *out, tr_planes in, int k)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    if (k < 1 || in.w % k || in.h % k)
        TR_TRY(tr_fail(TRESS_E_SHAPE, "%d x %d pixels do not divide into cells of %d", in.w, in.h, k));
    TR_TRY(tr_planes_new(&p, in.c, in.h / k, in.w / k));
    for (int c = 0; c < in.c; c++)
        for (int y = 0; y < p.h; y++)
            for (int x = 0; x < p.w; x++) {
                const float *cell = tr_plane(in, c) + (int64_t)y * k * in.w + (int64_t)x * k;
                double sum = 0;
                for (int v = 0; v < k; v++)
                    for (int u = 0; u < k; u++) sum += cell[(int64_t)v * in.w + u];
                tr_plane(p, c)[(int64_t)y * p.w + x] = (float)(sum / ((double)k * k));
            }
    *out = p;
done:
    return st;
}
