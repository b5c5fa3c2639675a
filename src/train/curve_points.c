#include "train/curve_int.h"

#include <math.h>
#include <stdlib.h>

#define SAMPLE_MAX 1024                         /* values looked at for a quantile */
#define TAIL       0.005                        /* of the values that may lie outside at either end */

double tr_mean_add(tr_mean *m, double v)
{
    m->m = m->weight * m->m + (1 - m->weight) * v;
    m->left *= m->weight;                       /* weight^n: what the zero at the start still weighs */
    return m->m / (1 - m->left);
}

/* Larger ones than anybody draws would make sums and differences infinite. */
static double value_of(const tr_series *s, int64_t i) { return fmin(fmax(s->value[i], -1e30), 1e30); }

/* Does point i count? Steps rise. */
static bool rises(const tr_series *s, int64_t i, int64_t last) { return i == 0 || s->step[i] > last; }

static int column_of(const tr_series *s, int64_t i, double first, double span)
{
    const int c = span > 0 ? (int)(((double)s->step[i] - first) / span * TR_COLUMNS) : 0;
    return c < 0 ? 0 : c >= TR_COLUMNS ? TR_COLUMNS - 1 : c;
}

static double span_of(const tr_series *s)
{
    int64_t last = s->n ? s->step[0] : 0;
    for (int64_t i = 0; i < s->n; i++)
        if (s->step[i] > last) last = s->step[i];
    return s->n ? (double)last - (double)s->step[0] : 0;
}

static tress_status make(tr_points *out)
{
    void *p = NULL;
    tress_status st = tr_alloc_array(&p, 2 * TR_COLUMNS + 2, sizeof(tr_point));
    if (st != TRESS_OK) return st;
    *out = (tr_points){ p, 0 };
    return TRESS_OK;
}

tress_status tr_points_envelope(tr_points *out, const tr_series *s)
{
    tr_points r = { 0 };
    tress_status st = make(&r);
    if (st != TRESS_OK) return st;
    const double first = s->n ? (double)s->step[0] : 0, span = span_of(s);
    const bool few = s->n <= 2 * TR_COLUMNS;
    tr_point low = { 0 }, high = { 0 };
    int column = -1;
    int64_t last = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (!rises(s, i, last)) continue;
        last = s->step[i];
        const tr_point p = { (double)s->step[i], value_of(s, i) };
        if (few) {
            r.p[r.n++] = p;
            continue;
        }
        const int c = column_of(s, i, first, span);
        if (c != column && column >= 0) {
            r.p[r.n++] = low.x <= high.x ? low : high;
            if (low.x != high.x) r.p[r.n++] = low.x < high.x ? high : low;
        }
        if (c != column) low = high = p;
        else if (p.y < low.y) low = p;
        else if (p.y > high.y) high = p;
        column = c;
    }
    if (column >= 0) {
        r.p[r.n++] = low.x <= high.x ? low : high;
        if (low.x != high.x) r.p[r.n++] = low.x < high.x ? high : low;
    }
    *out = r;
    return TRESS_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* A column's values, thinned to what fits by leaving out every other one whenever it is full. */
typedef struct heap { double v[SAMPLE_MAX], low, high; int n; int64_t every, seen; } heap;

static void heap_add(heap *h, double v)
{
    h->low = h->seen ? fmin(h->low, v) : v;
    h->high = h->seen ? fmax(h->high, v) : v;
    if (h->seen++ % h->every != 0) return;
    if (h->n == SAMPLE_MAX) {
        for (int i = 0; i < SAMPLE_MAX / 2; i++) h->v[i] = h->v[2 * i];
        h->n = SAMPLE_MAX / 2;
        h->every *= 2;
    }
    h->v[h->n++] = v;
}

static void heap_flush(heap *h, tr_points out[TR_BANDS], double x)
{
    if (h->n == 0) return;
    qsort(h->v, (size_t)h->n, sizeof *h->v, by_value);
    const int cut = h->n / 10;
    const double y[TR_BANDS] = { h->low, h->v[cut], h->v[h->n - 1 - cut], h->high };
    for (int k = 0; k < TR_BANDS; k++) out[k].p[out[k].n++] = (tr_point){ x, y[k] };
    h->n = 0, h->seen = 0, h->every = 1;
}

tress_status tr_points_bands(tr_points out[TR_BANDS], const tr_series *s)
{
    tress_status st = TRESS_OK;
    tr_points r[TR_BANDS] = { { 0 }, { 0 }, { 0 }, { 0 } };
    heap h = { .every = 1 };
    for (int k = 0; k < TR_BANDS; k++) TR_TRY(make(&r[k]));
    const double first = s->n ? (double)s->step[0] : 0, span = span_of(s);
    int column = -1;
    int64_t last = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (!rises(s, i, last)) continue;
        last = s->step[i];
        const int c = column_of(s, i, first, span);
        if (c != column) heap_flush(&h, r, first + (column + 0.5) * span / TR_COLUMNS);
        heap_add(&h, value_of(s, i));
        column = c;
    }
    heap_flush(&h, r, first + (column + 0.5) * span / TR_COLUMNS);
    for (int k = 0; k < TR_BANDS; k++) out[k] = r[k], r[k].p = NULL;
done:
    for (int k = 0; k < TR_BANDS; k++) tr_free(r[k].p);
    return st;
}

tress_status tr_points_smooth(tr_points *out, const tr_series *s, double weight)
{
    tr_points r = { 0 };
    tress_status st = make(&r);
    if (st != TRESS_OK) return st;
    const double first = s->n ? (double)s->step[0] : 0, span = span_of(s);
    tr_mean mean = tr_mean_start(weight);
    int column = -1;
    int64_t last = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (!rises(s, i, last)) continue;
        last = s->step[i];
        const tr_point p = { (double)s->step[i], tr_mean_add(&mean, value_of(s, i)) };
        const int c = column_of(s, i, first, span);
        if (c != column) r.n++;
        r.p[r.n - 1] = p;                       /* the last of its column stays */
        column = c;
    }
    *out = r;
    return TRESS_OK;
}

void tr_series_range(const tr_series *s, double *least, double *most)
{
    double v[SAMPLE_MAX];
    int n = 0;
    const int64_t stride = s->n / SAMPLE_MAX + 1;
    for (int64_t i = 0; i < s->n; i += stride) v[n++] = value_of(s, i);
    if (n == 0) return;
    qsort(v, (size_t)n, sizeof *v, by_value);
    const int skip = (int)(TAIL * n);
    *least = fmin(*least, v[skip]);
    *most = fmax(*most, v[n - 1 - skip]);
}

double tr_axis_at(const tr_axis *a, double v)
{
    const double part = a->log ? (log(v) - log(a->v0)) / (log(a->v1) - log(a->v0)) : (v - a->v0) / (a->v1 - a->v0);
    return a->at0 + part * (a->at1 - a->at0);
}

int tr_decimals(double v)
{
    const int power = (int)floor(log10(v) + 1e-9);
    return power < 0 ? -power : 0;
}

/* The next distance of round ticks: 1, 2 or 5 times a power of ten. */
static double round_up(double v)
{
    const double unit = pow(10, floor(log10(v))), m = v / unit;
    return (m <= 1 + 1e-9 ? 1 : m <= 2 + 1e-9 ? 2 : m <= 5 + 1e-9 ? 5 : 10) * unit;
}

int tr_axis_ticks(const tr_axis *a, int n, bool whole, double tick[TR_TICKS], int *decimals)
{
    int count = 0;
    TR_ASSERT(n >= 2 && n < TR_TICKS && a->v1 > a->v0);
    if (a->log) {                               /* 1, 2, 5 in each decade, or only 1, or only some, where decades are many */
        const double decades = log10(a->v1) - log10(a->v0);       /* the quotient may overflow */
        const int from = (int)floor(log10(a->v0)), to = (int)ceil(log10(a->v1)), per = 3 * decades <= n ? 3 : 1;
        const int every = (int)(decades / n) + 1;
        for (int e = from; e <= to; e += every)
            for (int k = 0; k < per; k++) {
                const double v = (k == 0 ? 1 : k == 1 ? 2 : 5) * pow(10, e);
                if (v >= a->v0 && v <= a->v1 && count <= n) tick[count++] = v;
            }
        *decimals = -1;
        return count;
    }
    double step = round_up((a->v1 - a->v0) / n);
    if (whole && step < 1) step = 1;
    *decimals = tr_decimals(step);
    for (double k = ceil(a->v0 / step - 1e-9); k * step <= a->v1 + 1e-9 * step && count <= n; k++)
        tick[count++] = k * step + 0.0;         /* never -0 */
    return count;
}
