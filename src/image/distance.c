/* distance.c - exact Euclidean distance: down the columns in whole pixels, then along the rows the lower envelope of
 * parabolas. Felzenszwalb and Huttenlocher 2012. Linear time; squares stay exact in double. */
#include "image/matte.h"

#include <math.h>

#define ROWS 32

typedef struct job {
    tr_planes in;
    float    *out;                              /* [h, w]: first distances down the column, then the result */
    float     none;                             /* farther than any pixel */
    double   *scratch;                          /* [n_thread, w] squares, [n_thread, w + 1] borders */
    int32_t  *site;                             /* [n_thread, w] */
} job;

/* Distance to the nearest set pixel of the same column, 64 columns a time so that rows are read in whole cache lines. */
static tress_status columns(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    const int w = j->in.w, h = j->in.h, x0 = (int)i * 64, x1 = x0 + 64 < w ? x0 + 64 : w;
    (void)i_thread;
    for (int y = 0; y < h; y++) {
        const float *in = j->in.data + (int64_t)y * w;
        float *out = j->out + (int64_t)y * w;
        for (int x = x0; x < x1; x++) {
            const float above = y ? out[x - w] + 1 : j->none;
            out[x] = in[x] > 0 ? 0 : above < j->none ? above : j->none;
        }
    }
    for (int y = h - 2; y >= 0; y--) {
        float *out = j->out + (int64_t)y * w;
        for (int x = x0; x < x1; x++) {
            const float below = out[x + w] + 1;
            out[x] = below < out[x] ? below : out[x];
        }
    }
    return TRESS_OK;
}

static tress_status rows(void *self, int64_t i, int i_thread)
{
    const job *j = self;
    const int w = j->in.w, y0 = (int)i * ROWS, y1 = y0 + ROWS < j->in.h ? y0 + ROWS : j->in.h;
    double *square = j->scratch + (int64_t)i_thread * (2 * w + 1), *border = square + w;
    int32_t *site = j->site + (int64_t)i_thread * w;
    for (int y = y0; y < y1; y++) {
        float *row = j->out + (int64_t)y * w;
        int n = 0;                              /* parabolas in the envelope so far; parabola k rules from border[k] */
        for (int x = 0; x < w; x++) {
            if (row[x] >= j->none) continue;    /* nothing in this column */
            square[x] = (double)row[x] * row[x] + (double)x * x;
            double from = -INFINITY;
            while (n) {
                const int32_t s = site[n - 1];
                from = (square[x] - square[s]) / (2.0 * (x - s));
                if (from > border[n - 1]) break;
                n--;
                from = -INFINITY;
            }
            site[n] = x;
            border[n++] = from;
        }
        if (!n) {
            for (int x = 0; x < w; x++) row[x] = j->none;
            continue;
        }
        for (int x = 0, k = 0; x < w; x++) {
            while (k + 1 < n && border[k + 1] < x) k++;
            const double d2 = square[site[k]] + (double)x * x - 2.0 * x * site[k];
            row[x] = (float)sqrt(d2);
        }
    }
    return TRESS_OK;
}

tress_status tr_distance(tr_planes *out, tr_planes matte)
{
    tress_status st = TRESS_OK;
    tr_planes d = { 0 };
    const int n_thread = tr_thread_count();
    job j = { .in = matte, .none = (float)(matte.w + matte.h) };
    if (matte.c != 1) TR_TRY(tr_fail(TRESS_E_ARG, "the distance to %d planes; expected 1", matte.c));
    TR_TRY(tr_planes_new(&d, 1, matte.h, matte.w));
    TR_TRY(tr_alloc_array((void **)&j.scratch, (int64_t)n_thread * (2 * matte.w + 1), sizeof *j.scratch));
    TR_TRY(tr_alloc_array((void **)&j.site, (int64_t)n_thread * matte.w, sizeof *j.site));
    j.out = d.data;
    TR_TRY(tr_parallel(n_thread, (matte.w + 63) / 64, columns, &j));
    TR_TRY(tr_parallel(n_thread, (matte.h + ROWS - 1) / ROWS, rows, &j));
    *out = d;
    d = (tr_planes){ 0 };
done:
    tr_planes_fini(&d);
    tr_free(j.scratch);
    tr_free(j.site);
    return st;
}
