/* crossings.c - where strokes meet, as in a braid, the hair should go two ways too. */
#include "eval/eval_int.h"

#include <math.h>
#include <string.h>

#define BINS 36                                 /* of 5 degrees */
#define DISC 6                                  /* pixels round a meeting that are looked at */
#define COLOURS_APART (40.5f / 255)             /* strokes of different ids */

typedef struct place { double x, y; } place;
typedef struct places { place *at; int n; } places;

static bool meets(const eval_view *v, int x, int y)
{
    const int64_t i = (int64_t)y * v->w + x;
    if (v->skeleton.data[i] > 0) {
        int ways = 0;
        for (int u = -1; u <= 1; u++)
            for (int t = -1; t <= 1; t++)
                if ((u || t) && x + t >= 0 && x + t < v->w && y + u >= 0 && y + u < v->h) ways += v->skeleton.data[i + (int64_t)u * v->w + t] > 0;
        if (ways >= 3) return true;
    }
    if (!(v->strokes.data[i] > 0)) return false;
    for (int k = 0; k < 2; k++) {               /* its neighbour below or to the right is of another stroke */
        const int64_t j = i + (k ? 1 : v->w);
        if ((k ? x + 1 >= v->w : y + 1 >= v->h) || !(v->strokes.data[j] > 0)) continue;
        for (int c = 0; c < 3; c++)
            if (fabsf(tr_plane(v->stroke_rgb, c)[i] - tr_plane(v->stroke_rgb, c)[j]) > COLOURS_APART) return true;
    }
    return false;
}

/* Centres of the meetings; those within 2 steps of each other are one. */
static tress_status find(places *out, const eval_view *v)
{
    tress_status st = TRESS_OK;
    uint8_t *mark = NULL;                       /* 1 meets, 2 near one, 4 seen */
    int32_t *queue = NULL;
    place *at = NULL;
    int n = 0;
    const int w = v->w, h = v->h;
    TR_TRY(tr_alloc_array((void **)&mark, (int64_t)w * h, 1));
    TR_TRY(tr_alloc_array((void **)&queue, (int64_t)w * h, sizeof *queue));
    TR_TRY(tr_alloc_array((void **)&at, (int64_t)w * h / 4 + 1, sizeof *at));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            if (!meets(v, x, y)) continue;
            mark[(int64_t)y * w + x] |= 1;
            for (int u = -2; u <= 2; u++)
                for (int t = -2; t <= 2; t++)
                    if (abs(u) + abs(t) <= 2 && x + t >= 0 && x + t < w && y + u >= 0 && y + u < h) mark[(int64_t)(y + u) * w + x + t] |= 2;
        }
    for (int32_t s = 0; s < w * h; s++) {
        if ((mark[s] & 6) != 2) continue;
        int64_t head = 0, tail = 0;
        double sx = 0, sy = 0, mass = 0;
        mark[s] |= 4;
        queue[tail++] = s;
        while (head < tail) {
            const int32_t p = queue[head++];
            const int x = p % w, y = p / w;
            if (mark[p] & 1) sx += x, sy += y, mass++;
            const int32_t next[4] = { x > 0 ? p - 1 : p, x + 1 < w ? p + 1 : p, y > 0 ? p - w : p, y + 1 < h ? p + w : p };
            for (int k = 0; k < 4; k++)
                if ((mark[next[k]] & 6) == 2) mark[next[k]] |= 4, queue[tail++] = next[k];
        }
        at[n++] = (place){ nearbyint(sx / mass), nearbyint(sy / mass) };
    }
    *out = (places){ at, n };
    at = NULL;
done:
    tr_free(mark);
    tr_free(queue);
    tr_free(at);
    return st;
}

/* Two clear directions more than 30 degrees apart? mass: of the slopes by their direction, all together 1. */
static bool two_ways(const double mass[BINS])
{
    double mode[BINS];
    int strong[BINS], n = 0;
    for (int k = 0; k < BINS; k++) {
        mode[k] = 0;
        for (int t = -3; t <= 3; t++) mode[k] += mass[(k + t + BINS) % BINS];
    }
    for (int k = 0; k < BINS; k++) {
        bool top = mode[k] > 0.25;
        for (int t = -3; t <= 3 && top; t++) top = mode[k] >= mode[(k + t + BINS) % BINS];
        if (top) strong[n++] = k;
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) {
            const int apart = strong[i] - strong[k], round = apart < BINS - apart ? apart : BINS - apart;
            if (round > 30 * BINS / 180) return true;
        }
    return false;
}

/* Counts places that lie in hair (n_seen) and those where it goes two ways. */
static void cross(int64_t *n_seen, int64_t *n_cross, const eval_view *v, const eval_flow *f, tr_planes dx, tr_planes dy, double x0, double y0)
{
    double mass[BINS] = { 0 }, sum = 0;
    float least = 1;
    int n = 0;
    for (int y = (int)floor(y0 - DISC); y <= (int)ceil(y0 + DISC); y++)
        for (int x = (int)floor(x0 - DISC); x <= (int)ceil(x0 + DISC); x++) {
            const double far = hypot(x - x0, y - y0);
            if (x < 0 || y < 0 || x >= v->w || y >= v->h || far > DISC) continue;
            const int64_t i = (int64_t)y * v->w + x;
            if (!(v->matte.data[i] > 0.5f)) continue;
            const double slope = hypot((double)dx.data[i], (double)dy.data[i]), angle = atan2((double)dy.data[i], (double)dx.data[i]);
            const int bin = (int)floor((angle < 0 ? angle + M_PI : angle) * BINS / M_PI) % BINS;
            mass[bin] += slope;
            sum += slope;
            n++;
            if (far <= 4 && f->clear.data[i] < least) least = f->clear.data[i];
        }
    if (n < 40) return;
    for (int k = 0; k < BINS; k++) mass[k] /= fmax(sum, 1e-9);
    ++*n_seen;
    *n_cross += least < 0.3f || two_ways(mass);
}

tress_status eval_crossings(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    places all = { 0 };
    eval_flow flow = { 0 };
    tr_planes dx = { 0 }, dy = { 0 };
    int64_t n = 0, hit = 0, n_moved = 0, moved = 0;
    if (!v->skeleton.data) return TRESS_OK;
    TR_TRY(find(&all, v));
    TR_TRY(eval_flow_make(&flow, v->result.luma));
    TR_TRY(eval_slopes(&dx, &dy, v->result.luma, 1.2));
    for (int i = 0; i < all.n; i++) {
        cross(&n, &hit, v, &flow, dx, dy, all.at[i].x, all.at[i].y);
        for (int k = 0; k < EVAL_SHIFTS; k++) {
            double sx, sy;
            eval_shift(&sx, &sy, k, v->scale);
            cross(&n_moved, &moved, v, &flow, dx, dy, all.at[i].x + sx, all.at[i].y + sy);
        }
    }
    if (n) value[TR_METRIC_CROSSING] = (double)hit / (double)n;
    if (n && n_moved) value[TR_METRIC_CROSSING_CHANCE] = (double)moved / (double)n_moved;
done:
    tr_free(all.at);
    eval_flow_fini(&flow);
    tr_planes_fini(&dx);
    tr_planes_fini(&dy);
    return st;
}
