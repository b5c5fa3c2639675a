/* border.c - whether one sees where the drawing was pasted: a line, or a step in tone. Both are measured where alpha passes 0.02, which lies
 * on skin and ground; at the hair's own outline a strong edge is right. */
#include "eval/eval_int.h"

#include <math.h>

#define CONTOUR 0.02f
#define REACH 8                                 /* pixels to both sides */

typedef struct border {
    tr_planes d;                                /* [1, h, w] signed distance to the contour, > 0 outside */
    tr_planes nx, ny;                           /* its slope, of length 1; 0 at the picture's edge */
} border;

static void border_fini(border *b)
{
    tr_planes_fini(&b->d);
    tr_planes_fini(&b->nx);
    tr_planes_fini(&b->ny);
}

static tress_status border_make(border *out, tr_planes alpha)
{
    tress_status st = TRESS_OK;
    border b = { 0 };
    tr_planes in = { 0 }, to_in = { 0 }, to_out = { 0 };
    const int w = alpha.w, h = alpha.h;
    TR_TRY(tr_planes_new(&in, 1, h, w));
    for (int64_t i = 0; i < (int64_t)w * h; i++) in.data[i] = alpha.data[i] >= CONTOUR;
    TR_TRY(tr_distance(&to_in, in));
    for (int64_t i = 0; i < (int64_t)w * h; i++) in.data[i] = 1 - in.data[i];
    TR_TRY(tr_distance(&to_out, in));
    TR_TRY(tr_planes_new(&b.d, 1, h, w));
    TR_TRY(tr_planes_new(&b.nx, 1, h, w));
    TR_TRY(tr_planes_new(&b.ny, 1, h, w));
    for (int64_t i = 0; i < (int64_t)w * h; i++) b.d.data[i] = to_in.data[i] > 0 ? to_in.data[i] - 0.5f : 0.5f - to_out.data[i];
    for (int y = 1; y < h - 1; y++)
        for (int x = 1; x < w - 1; x++) {
            const int64_t i = (int64_t)y * w + x;
            const float dx = b.d.data[i + 1] - b.d.data[i - 1], dy = b.d.data[i + w] - b.d.data[i - w], length = hypotf(dx, dy);
            if (length > 0) b.nx.data[i] = dx / length, b.ny.data[i] = dy / length;
        }
    *out = b;
    b = (border){ 0 };
done:
    border_fini(&b);
    tr_planes_fini(&in);
    tr_planes_fini(&to_in);
    tr_planes_fini(&to_out);
    return st;
}

/* ---- the line -------------------------------------------------------------------------------------------- */

/* Slopes of light across the border at whole distances -8 to 8; NaN where fewer than 16 pixels are there. */
static tress_status seam(double mean[2 * REACH + 1], double p95[2 * REACH + 1], const eval_view *v, const border *b, tr_planes light)
{
    tress_status st = TRESS_OK;
    double *all = NULL;
    int64_t n[2 * REACH + 1] = { 0 }, from[2 * REACH + 2] = { 0 };
    for (int pass = 0; pass < 2; pass++) {
        int64_t at[2 * REACH + 1];
        for (int k = 0; k < 2 * REACH + 1; k++) at[k] = from[k];
        for (int y = 1; y < v->h - 1; y++)
            for (int x = 1; x < v->w - 1; x++) {
                const int64_t i = (int64_t)y * v->w + x;
                const double d = (double)b->d.data[i];
                if (v->far.data[i] < 2 || fabs(d) > REACH + 0.5 || (b->nx.data[i] == 0 && b->ny.data[i] == 0)) continue;    /* hair has edges of its own */
                for (int k = (int)ceil(d - 0.5); k <= (int)floor(d + 0.5); k++) {
                    if (abs(k) > REACH) continue;
                    const float *l = light.data + i;
                    if (pass) all[at[k + REACH]++] = fabs((double)(l[1] - l[-1]) / 2 * (double)b->nx.data[i] + (double)(l[v->w] - l[-v->w]) / 2 * (double)b->ny.data[i]);
                    else n[k + REACH]++;
                }
            }
        if (pass) break;
        for (int k = 0; k < 2 * REACH + 1; k++) from[k + 1] = from[k] + n[k];
        TR_TRY(tr_alloc_array((void **)&all, from[2 * REACH + 1] + 1, sizeof *all));
    }
    for (int k = 0; k < 2 * REACH + 1; k++) {
        double sum = 0;
        for (int64_t i = from[k]; i < from[k + 1]; i++) sum += all[i];
        mean[k] = n[k] >= 16 ? sum / (double)n[k] : NAN;
        p95[k] = NAN;
        if (n[k] < 16) continue;
        eval_median(all + from[k], n[k]);       /* sorts */
        p95[k] = all[from[k] + (int64_t)(0.95 * (double)(n[k] - 1))];
    }
done:
    tr_free(all);
    return st;
}

/* v at the border over its mean beside it; how many deviations it lies above. NaN where too little is left of either. */
static void beside(double *ratio, double *z, const double v[2 * REACH + 1])
{
    double sum = 0, square = 0;
    int n = 0;
    for (int k = 0; k < 2 * REACH + 1; k++) {
        if (abs(k - REACH) < 3 || isnan(v[k])) continue;
        sum += v[k];
        square += v[k] * v[k];
        n++;
    }
    const double mean = sum / n, deviation = n > 1 ? sqrt(fmax(0, (square - sum * mean) / (n - 1))) : NAN;
    *ratio = n >= 4 && mean > 1e-6 ? v[REACH] / mean : NAN;                  /* on perfectly even ground there is nothing to compare with */
    if (z) *z = n >= 4 && deviation > 1e-9 ? (v[REACH] - mean) / deviation : NAN;
}

/* ---- the tone -------------------------------------------------------------------------------------------- */

/* The mean colour of what is not hair in a disc; false where that is less than half of it. */
static bool disc(tr_lab *out, const eval_view *v, tr_planes lab, double cx, double cy, double r)
{
    tr_lab sum = { 0 };
    int n = 0, n_all = 0;
    for (int y = (int)floor(cy - r); y <= (int)ceil(cy + r); y++)
        for (int x = (int)floor(cx - r); x <= (int)ceil(cx + r); x++) {
            if (hypot(x - cx, y - cy) > r) continue;
            n_all++;
            if (x < 0 || y < 0 || x >= v->w || y >= v->h) continue;
            const int64_t i = (int64_t)y * v->w + x;
            if (v->matte.data[i] >= 0.05f) continue;
            const tr_lab c = eval_lab(lab, i);
            sum.l += c.l;
            sum.a += c.a;
            sum.b += c.b;
            n++;
        }
    if (2 * n < n_all || n == 0) return false;
    *out = (tr_lab){ sum.l / n, sum.a / n, sum.b / n };
    return true;
}

static tress_status tone(double *result, double *photo, const eval_view *v, const border *b)
{
    tress_status st = TRESS_OK;
    tr_planes taken = { 0 };
    double *de[2] = { NULL, NULL };
    int64_t n = 0;
    const double reach = fmax(2, 8 * v->scale), r = fmax(1.5, 6 * v->scale);
    const int step = (int)fmax(2, round(4 * v->scale));
    TR_TRY(tr_planes_new(&taken, 1, v->h, v->w));
    for (int k = 0; k < 2; k++) TR_TRY(tr_alloc_array((void **)&de[k], (int64_t)v->w * v->h, sizeof *de[k]));
    for (int y = 0; y < v->h; y++)
        for (int x = 0; x < v->w; x++) {
            const int64_t i = (int64_t)y * v->w + x;
            if (fabsf(b->d.data[i]) > 0.5f || taken.data[i] > 0 || (b->nx.data[i] == 0 && b->ny.data[i] == 0)) continue;
            for (int u = y; u <= y + step - 1 && u < v->h; u++)              /* none nearer than step from here on */
                for (int t = x - step + 1; t <= x + step - 1; t++)
                    if (t >= 0 && t < v->w) taken.data[(int64_t)u * v->w + t] = 1;
            const double dx = reach * (double)b->nx.data[i], dy = reach * (double)b->ny.data[i];
            tr_lab in[2], out[2];
            bool there = true;
            for (int k = 0; k < 2; k++) {
                const tr_planes lab = k ? v->photo.lab : v->result.lab;
                there = there && disc(&in[k], v, lab, x - dx, y - dy, r) && disc(&out[k], v, lab, x + dx, y + dy, r);
            }
            if (!there) continue;
            for (int k = 0; k < 2; k++) de[k][n] = tr_de00(in[k], out[k]);
            n++;
        }
    *result = eval_median(de[0], n);
    *photo = eval_median(de[1], n);
done:
    tr_planes_fini(&taken);
    for (int k = 0; k < 2; k++) tr_free(de[k]);
    return st;
}

/* Mean difference where the composite may change and no hair is. */
static double ring(const eval_view *v, tr_planes to)
{
    double sum = 0;
    int64_t n = 0;
    if (!to.data) return NAN;
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        if (!(v->alpha.data[i] > 0) || v->matte.data[i] >= 0.05f) continue;
        sum += tr_de00(eval_lab(v->result.lab, i), eval_lab(to, i));
        n++;
    }
    return n ? sum / (double)n : NAN;
}

tress_status eval_border(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    border b = { 0 };
    double mean[2 * REACH + 1], p95[2 * REACH + 1];
    TR_TRY(border_make(&b, v->alpha));
    TR_TRY(seam(mean, p95, v, &b, v->result.light));
    beside(&value[TR_METRIC_SEAM_RATIO], &value[TR_METRIC_SEAM_Z], mean);
    beside(&value[TR_METRIC_SEAM_P95], NULL, p95);
    TR_TRY(seam(mean, p95, v, &b, v->photo.light));
    beside(&value[TR_METRIC_SEAM_PHOTO], NULL, mean);
    TR_TRY(tone(&value[TR_METRIC_TONE], &value[TR_METRIC_TONE_PHOTO], v, &b));
    value[TR_METRIC_RING] = ring(v, v->photo.lab);
    value[TR_METRIC_RING_TRUTH] = ring(v, v->truth.lab);
done:
    border_fini(&b);
    return st;
}
