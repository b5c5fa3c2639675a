#include "synth/crease.h"

#include <stdlib.h>
#include <string.h>

#define G 256                                                   /* cells a side, whatever the plate's size: 2 canvas units each */
#define N (G * G)

typedef struct field {
    float *light, *dx, *dy, *xx, *xy, *yy;                      /* tone, its slopes, their smoothed products */
    float *clear;                                               /* contrast across the hair, averaged along it */
    float *spare;
    uint8_t *hair, *taken;
} field;

/* The picture's tone per cell, and where loose hair is. */
static void take(field *f, const tr_plate *c, float exposure, int plait)
{
    for (int i = 0; i < N; i++) {
        const int x0 = (i % G) * c->n / G, y0 = (i / G) * c->n / G, x1 = (i % G + 1) * c->n / G, y1 = (i / G + 1) * c->n / G;
        float sum = 0, through = 0;
        int n = 0;
        bool tube = false;
        for (int y = y0; y < (y1 > y0 ? y1 : y0 + 1); y++)
            for (int x = x0; x < (x1 > x0 ? x1 : x0 + 1); x++, n++) {
                const int64_t at = (int64_t)y * c->n + x;
                sum += v_dot(c->colour[at], v3(.30f, .59f, .11f));
                through += c->through[at];
                tube |= c->lock[at] >= plait;
            }
        f->light[i] = sqrtf(f_clamp(sum / (float)n * exposure, 0, 4));      /* near enough to how a screen spaces tones */
        f->hair[i] = through < .4f * (float)n && !tube;
    }
}

static void box(float *x, float *spare, int r)
{
    for (int pass = 0; pass < 2; pass++) {                      /* along rows, then along columns */
        const int step = pass == 0 ? 1 : G, line = pass == 0 ? G : 1;
        for (int j = 0; j < G; j++)
            for (int i = 0; i < G; i++) {
                float sum = 0;
                for (int k = -r; k <= r; k++) sum += x[j * line + (i + k < 0 ? 0 : i + k >= G ? G - 1 : i + k) * step];
                spare[j * line + i * step] = sum / (float)(2 * r + 1);
            }
        memcpy(x, spare, N * sizeof *x);
    }
}

/* The way the hair runs at a place, as a unit vector of either sign; false: no clear way. */
static bool way(const field *f, float x, float y, float *tx, float *ty)
{
    const int i = (int)f_clamp(y, 0, G - 1) * G + (int)f_clamp(x, 0, G - 1);
    const float d = f->xx[i] - f->yy[i], o = 2 * f->xy[i], spread = sqrtf(d * d + o * o);
    if (spread < .18f * (f->xx[i] + f->yy[i]) || spread < 1e-9f) return false;
    const float angle = .5f * atan2f(o, d);                     /* across the hair */
    *tx = -sinf(angle);
    *ty = cosf(angle);
    return true;
}

static float at(const float *m, float x, float y)
{
    x = f_clamp(x, 0, G - 1.001f);
    y = f_clamp(y, 0, G - 1.001f);
    const int i = (int)x, j = (int)y;
    const float u = x - (float)i, v = y - (float)j, *p = m + j * G + i;
    return f_lerp(f_lerp(p[0], p[1], u), f_lerp(p[G], p[G + 1], u), v);
}

static bool is_hair(const field *f, float x, float y) { return x >= 1 && y >= 1 && x < G - 1 && y < G - 1 && f->hair[(int)y * G + (int)x]; }

static void measure(field *f)
{
    box(f->light, f->spare, 1);
    for (int i = 0; i < N; i++) {
        const int x = i % G, y = i / G;
        bool inside = x > 1 && y > 1 && x < G - 2 && y < G - 2;
        for (int k = 0; inside && k < 25; k++) inside = f->hair[i + (k / 5 - 2) * G + k % 5 - 2];          /* not the rim against the backdrop */
        f->dx[i] = inside ? .5f * (f->light[i + 1] - f->light[i - 1]) : 0;
        f->dy[i] = inside ? .5f * (f->light[i + G] - f->light[i - G]) : 0;
        f->xx[i] = f->dx[i] * f->dx[i];
        f->yy[i] = f->dy[i] * f->dy[i];
        f->xy[i] = f->dx[i] * f->dy[i];
    }
    float *const smooth[] = { f->xx, f->yy, f->xy };
    for (int k = 0; k < 3; k++) { box(smooth[k], f->spare, 2); box(smooth[k], f->spare, 2); }
    for (int i = 0; i < N; i++) {
        float tx, ty, sum = 0;
        f->clear[i] = 0;
        if (!f->hair[i] || !way(f, (float)(i % G), (float)(i / G), &tx, &ty)) continue;
        for (int k = -3; k <= 3; k++) {
            const float x = (float)(i % G) + (float)k * tx, y = (float)(i / G) + (float)k * ty;
            sum += at(f->dx, x, y) * ty - at(f->dy, x, y) * tx;             /* one sign along a crease; noise cancels */
        }
        f->clear[i] = fabsf(sum) / 7;
    }
}

/* From a seed one way: along the hair, and sideways towards where the contrast is highest. Returns how many points. */
static int follow(const field *f, float x, float y, float tx, float ty, float least, float *px, float *py, int most, float *sum)
{
    int n = 0, weak = 0;
    for (int step = 0; n < most; step++) {
        float wx, wy;
        if (!way(f, x, y, &wx, &wy)) break;
        if (wx * tx + wy * ty < 0) { wx = -wx; wy = -wy; }
        if (wx * tx + wy * ty < .80f) break;                    /* nobody draws such a corner in one go */
        tx = wx;
        ty = wy;
        x += tx;
        y += ty;
        const float here = at(f->clear, x, y), left = at(f->clear, x + ty, y - tx), right = at(f->clear, x - ty, y + tx);
        const float aside = left > here && left > right ? .4f : right > here && right > left ? -.4f : 0;
        x += aside * ty;
        y -= aside * tx;
        if (!is_hair(f, x, y) || f->taken[(int)y * G + (int)x]) break;
        weak = here < least ? weak + 1 : 0;
        if (weak > 6) break;
        if (step % 2 == 1) { px[n] = x; py[n] = y; *sum += here; n++; }
    }
    return weak / 2 < n ? n - weak / 2 : 0;
}

typedef struct seed { int value, cell; } seed;

static int clearest(const void *a, const void *b)
{
    const seed *p = a, *q = b;
    return p->value != q->value ? (p->value > q->value ? -1 : 1) : p->cell < q->cell ? -1 : p->cell > q->cell;
}

static void take_place(field *f, const tr_crease *c)
{
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < 25; k++) {
            const int x = (int)(c->x[i] * .5f) + k % 5 - 2, y = (int)(c->y[i] * .5f) + k / 5 - 2;
            if (x >= 0 && y >= 0 && x < G && y < G) f->taken[y * G + x] = 1;
        }
}

static tress_status trace(tr_creases *out, field *f, const seed *from, int n_seed)
{
    tress_status st = TRESS_OK;
    for (int k = 0; k < n_seed; k++) {
        const int cell = from[k].cell;
        if (f->taken[cell]) continue;
        const float x = (float)(cell % G) + .5f, y = (float)(cell / G) + .5f, least = .45f * f->clear[cell];
        float tx, ty, ax[TR_CREASE_POINTS / 2], ay[TR_CREASE_POINTS / 2], bx[TR_CREASE_POINTS / 2], by[TR_CREASE_POINTS / 2], sum = 0;
        if (!way(f, x, y, &tx, &ty)) continue;
        const int a = follow(f, x, y, tx, ty, least, ax, ay, TR_CREASE_POINTS / 2, &sum), b = follow(f, x, y, -tx, -ty, least, bx, by, TR_CREASE_POINTS / 2, &sum);
        if (a + b < 7) continue;                                /* shorter than some 28 units: no stroke */
        tr_crease c = { .n = a + b, .clear = sum / (float)(a + b) };
        for (int i = 0; i < b; i++) { c.x[i] = 2 * bx[b - 1 - i]; c.y[i] = 2 * by[b - 1 - i]; }
        for (int i = 0; i < a; i++) { c.x[b + i] = 2 * ax[i]; c.y[b + i] = 2 * ay[i]; }
        take_place(f, &c);
        if (out->n == out->max) {
            void *p = out->crease;
            const int max = out->max ? 2 * out->max : 64;
            TR_TRY(tr_realloc(&p, (size_t)out->max * sizeof c, (size_t)max * sizeof c));
            out->crease = p;
            out->max = max;
        }
        out->crease[out->n++] = c;
    }
done:
    return st;
}

/* The contrast that one place in ten exceeds, of those that have any; at least what an eye sees. */
static float top(const float *clear)
{
    int count[512] = { 0 }, n = 0, above = 0, k = 511;
    for (int i = 0; i < N; i++)
        if (clear[i] > .003f) { count[(int)f_clamp(clear[i] * 1024, 0, 511)]++; n++; }
    while (k > 0 && (above += count[k]) * 10 < n) k--;
    return f_clamp((float)k / 1024, .01f, .5f);
}

tress_status tr_creases_find(tr_creases *out, const tr_plate *c, float exposure, int plait)
{
    tress_status st = TRESS_OK;
    field f = { 0 };
    tr_creases found = { 0 };
    seed *from = NULL;
    int n = 0;
    float **const map[] = { &f.light, &f.dx, &f.dy, &f.xx, &f.xy, &f.yy, &f.clear, &f.spare };
    for (size_t k = 0; k < sizeof map / sizeof *map; k++) TR_TRY(tr_alloc_array((void **)map[k], N, sizeof(float)));
    TR_TRY(tr_alloc((void **)&f.hair, N));
    TR_TRY(tr_alloc((void **)&f.taken, N));
    TR_TRY(tr_alloc_array((void **)&from, N, sizeof *from));
    take(&f, c, exposure, plait);
    measure(&f);
    const float least = .6f * top(f.clear);
    for (int i = 0; i < N; i++)                                 /* steps of 1/2048 of tone: rounding does not change the order */
        if (f.clear[i] > least) from[n++] = (seed){ (int)(f.clear[i] * 2048), i };
    qsort(from, (size_t)n, sizeof *from, clearest);
    TR_TRY(trace(&found, &f, from, n));
    *out = found;
    found = (tr_creases){ 0 };
done:
    tr_creases_fini(&found);
    for (size_t k = 0; k < sizeof map / sizeof *map; k++) tr_free(*map[k]);
    tr_free(f.hair);
    tr_free(f.taken);
    tr_free(from);
    return st;
}

void tr_creases_fini(tr_creases *c)
{
    tr_free(c->crease);
    *c = (tr_creases){ 0 };
}
