/* resize.c - the separable resampler. Across first, then down, as PIL does it: the clamp between the passes makes the order
 * visible. Limit: memory. A 12-megapixel picture is 144 MB of floats read once, about 0.3 G multiply-adds on the way to 1024. */
#include "image/resize.h"

#include <math.h>
#include <string.h>

/* Output element i is the sum of k[i * n_max + j] * in[first[i] + j], j < n[i]. */
typedef struct taps {
    int    n_out, n_max;
    int   *first, *n;
    float *k;                                   /* [n_out, n_max] */
} taps;

static void taps_fini(taps *t)
{
    tr_free(t->first);
    tr_free(t->n);
    tr_free(t->k);
    *t = (taps){ 0 };
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

static double weight(tr_filter filter, double x)
{
    switch (filter) {
    case TR_FILTER_BOX:
        return x > -0.5 && x <= 0.5;
    case TR_FILTER_BILINEAR:
        x = fabs(x);
        return x < 1 ? 1 - x : 0;
    case TR_FILTER_BICUBIC:                     /* Keys 1981 with a = -1/2 */
        x = fabs(x);
        return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
    default:                                    /* Lanczos, a = 3 */
        return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    }
}

static const double support_of[] = { [TR_FILTER_NEAREST] = 0, [TR_FILTER_BOX] = 0.5, [TR_FILTER_BILINEAR] = 1, [TR_FILTER_BICUBIC] = 2, [TR_FILTER_LANCZOS] = 3 };

/* The part in0..in1 of n_in elements onto n_out. */
static tress_status make_taps(taps *out, int n_in, double in0, double in1, int n_out, tr_filter filter)
{
    tress_status st = TRESS_OK;
    double *w = NULL;
    const double scale = (in1 - in0) / n_out, wide = scale > 1 ? scale : 1;     /* filters widen when shrinking */
    const double support = support_of[filter] * wide;
    taps t = { .n_out = n_out, .n_max = filter == TR_FILTER_NEAREST ? 1 : (int)ceil(support) * 2 + 1 };
    TR_TRY(tr_alloc_array((void **)&t.first, n_out, sizeof(int)));
    TR_TRY(tr_alloc_array((void **)&t.n, n_out, sizeof(int)));
    TR_TRY(tr_alloc_array((void **)&t.k, (int64_t)n_out * t.n_max, sizeof(float)));
    TR_TRY(tr_alloc_array((void **)&w, t.n_max, sizeof(double)));
    double nearest = in0 + scale * 0.5;
    for (int i = 0; i < n_out; i++) {
        float *k = t.k + (int64_t)i * t.n_max;
        if (filter == TR_FILTER_NEAREST) {
            const int at = (int)floor(nearest);
            t.first[i] = at < 0 ? 0 : at >= n_in ? n_in - 1 : at;
            t.n[i] = 1;
            k[0] = 1;
            nearest += scale;                   /* summed, as PIL does it: half-way cases fall alike */
            continue;
        }
        const double centre = in0 + (i + 0.5) * scale;
        int lo = (int)(centre - support + 0.5), hi = (int)(centre + support + 0.5);
        if (lo < 0) lo = 0;
        if (hi > n_in) hi = n_in;
        double sum = 0;
        for (int j = lo; j < hi; j++) sum += w[j - lo] = weight(filter, (j - centre + 0.5) / wide);
        for (int j = lo; j < hi; j++) k[j - lo] = (float)(sum != 0 ? w[j - lo] / sum : w[j - lo]);
        t.first[i] = lo;
        t.n[i] = hi - lo;
    }
    *out = t;
    t = (taps){ 0 };
done:
    tr_free(w);
    taps_fini(&t);
    return st;
}

static float clamp01(float v)
{
    return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;                                /* NaN stays to be seen */
}

#define ROWS 16                                 /* rows per item */
#define COLUMNS 512                             /* columns of one accumulator strip: 2 KiB stay in the first cache */

typedef struct pass {
    const taps *t;
    const float *in;                            /* plane of the first row */
    float *out;
    int    w_in, w_out, h_out, n_block;
    int64_t in_plane, out_plane;                /* elements from plane to plane */
    int    row0;                                /* down: input rows begin at this row of the picture */
} pass;

static tress_status across(void *self, int64_t i, int i_thread)
{
    const pass *p = self;
    const int64_t plane = i / p->n_block;
    const int y0 = (int)(i % p->n_block) * ROWS, y1 = y0 + ROWS < p->h_out ? y0 + ROWS : p->h_out;
    (void)i_thread;
    for (int y = y0; y < y1; y++) {
        const float *in = p->in + plane * p->in_plane + (int64_t)y * p->w_in;
        float *out = p->out + plane * p->out_plane + (int64_t)y * p->w_out;
        for (int x = 0; x < p->w_out; x++) {
            const float *k = p->t->k + (int64_t)x * p->t->n_max, *v = in + p->t->first[x];
            const int n = p->t->n[x];
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int j = 0; j < n; j++) sum += k[j] * v[j];
            out[x] = clamp01(sum);
        }
    }
    return TRESS_OK;
}

static tress_status down(void *self, int64_t i, int i_thread)
{
    const pass *p = self;
    const int64_t plane = i / p->n_block;
    const int y0 = (int)(i % p->n_block) * ROWS, y1 = y0 + ROWS < p->h_out ? y0 + ROWS : p->h_out;
    float sum[COLUMNS];
    (void)i_thread;
    for (int x0 = 0; x0 < p->w_out; x0 += COLUMNS) {
        const int n = p->w_out - x0 < COLUMNS ? p->w_out - x0 : COLUMNS;
        for (int y = y0; y < y1; y++) {
            const float *in = p->in + plane * p->in_plane + (int64_t)(p->t->first[y] - p->row0) * p->w_in + x0;
            const float *k = p->t->k + (int64_t)y * p->t->n_max;
            float *out = p->out + plane * p->out_plane + (int64_t)y * p->w_out + x0;
            for (int x = 0; x < n; x++) sum[x] = 0;
            for (int j = 0; j < p->t->n[y]; j++, in += p->w_in)
                for (int x = 0; x < n; x++) sum[x] += k[j] * in[x];
            for (int x = 0; x < n; x++) out[x] = clamp01(sum[x]);
        }
    }
    return TRESS_OK;
}

tress_status tr_resize_box(tr_planes *out, tr_planes in, const double box[4], int width, int height, tr_filter filter)
{
    tress_status st = TRESS_OK;
    tr_planes half = { 0 }, whole = { 0 };
    taps tx = { 0 }, ty = { 0 };
    if (width < 1 || height < 1) TR_TRY(tr_fail(TRESS_E_ARG, "a picture cannot be scaled to %d x %d", width, height));
    if (!(box[0] >= 0 && box[1] >= 0 && box[2] <= in.w && box[3] <= in.h && box[0] < box[2] && box[1] < box[3]))
        TR_TRY(tr_fail(TRESS_E_ARG, "the box %g %g %g %g is not inside the picture of %d x %d", box[0], box[1], box[2], box[3], in.w, in.h));
    TR_TRY(make_taps(&tx, in.w, box[0], box[2], width, filter));
    TR_TRY(make_taps(&ty, in.h, box[1], box[3], height, filter));

    int row0 = in.h, row1 = 0;                  /* the rows that the second pass reads */
    for (int y = 0; y < height; y++) {
        if (ty.first[y] < row0) row0 = ty.first[y];
        if (ty.first[y] + ty.n[y] > row1) row1 = ty.first[y] + ty.n[y];
    }
    TR_TRY(tr_planes_new(&half, in.c, row1 - row0, width));
    pass p = { .t = &tx, .in = in.data + (int64_t)row0 * in.w, .out = half.data, .w_in = in.w, .w_out = width, .h_out = half.h,
               .n_block = (half.h + ROWS - 1) / ROWS, .in_plane = (int64_t)in.h * in.w, .out_plane = (int64_t)half.h * width };
    TR_TRY(tr_parallel(tr_thread_count(), (int64_t)in.c * p.n_block, across, &p));
    TR_TRY(tr_planes_new(&whole, in.c, height, width));
    p = (pass){ .t = &ty, .in = half.data, .out = whole.data, .w_in = width, .w_out = width, .h_out = height,
                .n_block = (height + ROWS - 1) / ROWS, .in_plane = (int64_t)half.h * width, .out_plane = (int64_t)height * width, .row0 = row0 };
    TR_TRY(tr_parallel(tr_thread_count(), (int64_t)in.c * p.n_block, down, &p));
    *out = whole;
    whole = (tr_planes){ 0 };
done:
    taps_fini(&tx);
    taps_fini(&ty);
    tr_planes_fini(&half);
    tr_planes_fini(&whole);
    return st;
}

tress_status tr_resize(tr_planes *out, tr_planes in, int width, int height, tr_filter filter)
{
    if (width == in.w && height == in.h) {      /* every filter is 1 at 0 and 0 at the other pixel centres */
        tress_status st = TRESS_OK;
        tr_planes copy = { 0 };
        TR_TRY(tr_planes_new(&copy, in.c, in.h, in.w));
        memcpy(copy.data, in.data, (size_t)in.c * (size_t)in.h * (size_t)in.w * sizeof(float));
        *out = copy;
    done:
        return st;
    }
    return tr_resize_box(out, in, (double[4]){ 0, 0, in.w, in.h }, width, height, filter);
}
