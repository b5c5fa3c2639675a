/* hair.c - hairstyles as families of flowing strands in the plane of the picture. A family lies between a few key curves; a
 * person's sketch is some of its strands with an unsteady hand, the matte is all of them, drawn thick. */
#include "make_examples/examples.h"

#include <math.h>
#include <string.h>

typedef struct dot { double x, y; } dot;

enum { KEY_MAX = 5, POINT_MAX = 8, STRAND = 72 };                                /* key curves, their points, points of a strand */
typedef struct family {
    int    n_key, n_point;
    dot    key[KEY_MAX][POINT_MAX];             /* head units, y up */
    double wave, length, rise;                  /* amplitude and wavelength of waves; they grow from this share of the strand on */
    int    n_sketch;                            /* strands that a sketch shows */
    double thick, flyaway;                      /* of the matte's strands in pixels; share of stray ones */
} family;

static const family centre_part[] = {
    { 2, 7, { { { 0.02, 0.82 }, { 0.34, 0.70 }, { 0.62, 0.30 }, { 0.68, -0.15 }, { 0.58, -0.75 }, { 0.52, -1.40 }, { 0.58, -2.00 } },
              { { 0.02, 1.37 }, { 0.50, 1.25 }, { 0.88, 0.80 }, { 0.99, 0.15 }, { 1.05, -0.70 }, { 1.10, -1.45 }, { 1.04, -2.08 } } }, 0.010, 1.2, 0.3, 6, 5, 0.06 },
    { 2, 7, { { { -0.02, 0.82 }, { -0.34, 0.70 }, { -0.62, 0.30 }, { -0.68, -0.15 }, { -0.58, -0.75 }, { -0.52, -1.40 }, { -0.58, -2.00 } },
              { { -0.02, 1.37 }, { -0.50, 1.25 }, { -0.88, 0.80 }, { -0.99, 0.15 }, { -1.05, -0.70 }, { -1.10, -1.45 }, { -1.04, -2.08 } } }, 0.010, 1.2, 0.3, 6, 5, 0.06 },
};
static const family waves[] = {
    { 2, 7, { { { -0.26, 0.82 }, { 0.22, 0.78 }, { 0.62, 0.34 }, { 0.68, -0.15 }, { 0.58, -0.75 }, { 0.50, -1.30 }, { 0.56, -1.85 } },
              { { -0.26, 1.37 }, { 0.48, 1.32 }, { 0.94, 0.82 }, { 1.08, 0.15 }, { 1.22, -0.60 }, { 1.30, -1.25 }, { 1.16, -1.90 } } }, 0.062, 0.62, 0.20, 6, 6, 0.08 },
    { 2, 7, { { { -0.28, 0.82 }, { -0.46, 0.68 }, { -0.65, 0.30 }, { -0.69, -0.15 }, { -0.58, -0.75 }, { -0.50, -1.30 }, { -0.56, -1.85 } },
              { { -0.28, 1.36 }, { -0.68, 1.18 }, { -0.98, 0.75 }, { -1.08, 0.15 }, { -1.20, -0.60 }, { -1.26, -1.25 }, { -1.12, -1.90 } } }, 0.062, 0.62, 0.20, 5, 6, 0.08 },
};
static const family bob[] = {
    { 2, 6, { { { 0.40, 0.98 }, { 0.62, 0.62 }, { 0.70, 0.20 }, { 0.69, -0.20 }, { 0.62, -0.55 }, { 0.46, -0.82 } },
              { { 0.03, 1.38 }, { 0.60, 1.24 }, { 0.95, 0.70 }, { 1.05, 0.05 }, { 1.00, -0.52 }, { 0.70, -0.98 } } }, 0.008, 1.0, 0.3, 6, 5, 0.05 },
    { 2, 6, { { { -0.40, 0.98 }, { -0.62, 0.62 }, { -0.70, 0.20 }, { -0.69, -0.20 }, { -0.62, -0.55 }, { -0.46, -0.82 } },
              { { -0.03, 1.38 }, { -0.60, 1.24 }, { -0.95, 0.70 }, { -1.05, 0.05 }, { -1.00, -0.52 }, { -0.70, -0.98 } } }, 0.008, 1.0, 0.3, 6, 5, 0.05 },
    { 3, 4, { { { -0.22, 1.35 }, { -0.50, 1.02 }, { -0.63, 0.66 }, { -0.62, 0.33 } },
              { { 0.00, 1.38 }, { -0.02, 1.05 }, { 0.00, 0.70 }, { 0.01, 0.37 } },
              { { 0.22, 1.35 }, { 0.50, 1.02 }, { 0.63, 0.66 }, { 0.62, 0.33 } } }, 0.006, 0.8, 0.3, 9, 5, 0.02 },
};
static const family ponytail[] = {
    { 5, 4, { { { -0.74, 0.16 }, { -0.84, 0.62 }, { -0.60, 1.12 }, { 0.00, 1.35 } },
              { { -0.57, 0.60 }, { -0.50, 0.88 }, { -0.29, 1.13 }, { 0.03, 1.33 } },
              { { 0.00, 0.81 }, { 0.01, 0.98 }, { 0.03, 1.16 }, { 0.06, 1.32 } },
              { { 0.57, 0.60 }, { 0.51, 0.88 }, { 0.31, 1.13 }, { 0.09, 1.33 } },
              { { 0.74, 0.16 }, { 0.84, 0.62 }, { 0.62, 1.12 }, { 0.12, 1.35 } } }, 0.004, 0.9, 0.3, 11, 6, 0.03 },
    { 2, 7, { { { 0.10, 1.30 }, { 0.46, 1.44 }, { 0.84, 1.08 }, { 0.93, 0.35 }, { 0.94, -0.50 }, { 0.92, -1.25 }, { 1.02, -1.85 } },
              { { 0.04, 1.38 }, { 0.56, 1.74 }, { 1.22, 1.36 }, { 1.42, 0.45 }, { 1.44, -0.50 }, { 1.32, -1.30 }, { 1.10, -1.95 } } }, 0.030, 0.95, 0.15, 7, 5, 0.07 },
};
static const family braid[] = {
    { 2, 5, { { { -0.30, 0.82 }, { 0.20, 0.84 }, { 0.60, 0.46 }, { 0.72, 0.00 }, { 0.76, -0.42 } },
              { { -0.28, 1.36 }, { 0.44, 1.34 }, { 0.93, 0.78 }, { 1.02, 0.10 }, { 0.90, -0.44 } } }, 0.008, 0.9, 0.3, 7, 5, 0.05 },
    { 2, 4, { { { -0.32, 0.82 }, { -0.54, 0.60 }, { -0.68, 0.25 }, { -0.68, -0.20 } },
              { { -0.30, 1.36 }, { -0.78, 1.08 }, { -0.96, 0.45 }, { -0.78, -0.30 } } }, 0.006, 0.9, 0.3, 6, 5, 0.04 },
};
static const dot plait_line[] = { { 0.84, -0.30 }, { 0.89, -0.78 }, { 0.80, -1.22 }, { 0.68, -1.62 }, { 0.63, -1.86 } };
static const family plait_tip[] = {
    { 2, 3, { { { 0.61, -1.86 }, { 0.58, -1.98 }, { 0.59, -2.14 } }, { { 0.65, -1.86 }, { 0.70, -1.98 }, { 0.68, -2.12 } } }, 0.004, 0.5, 0.2, 3, 3, 0.05 },
};
static const family bun[] = {
    { 5, 4, { { { -0.75, 0.12 }, { -0.85, 0.62 }, { -0.60, 1.10 }, { -0.16, 1.33 } },
              { { -0.57, 0.58 }, { -0.51, 0.86 }, { -0.32, 1.10 }, { -0.08, 1.28 } },
              { { 0.00, 0.80 }, { 0.01, 0.96 }, { 0.02, 1.12 }, { 0.02, 1.26 } },
              { { 0.57, 0.58 }, { 0.52, 0.86 }, { 0.34, 1.10 }, { 0.12, 1.28 } },
              { { 0.75, 0.12 }, { 0.85, 0.62 }, { 0.60, 1.10 }, { 0.20, 1.33 } } }, 0.004, 0.9, 0.3, 13, 6, 0.03 },
    { 2, 4, { { { 0.70, 0.30 }, { 0.74, -0.05 }, { 0.70, -0.40 }, { 0.73, -0.78 } }, { { 0.73, 0.30 }, { 0.79, -0.05 }, { 0.77, -0.40 }, { 0.76, -0.80 } } }, 0.018, 0.45, 0.1, 2, 2.4, 0.10 },
    { 2, 4, { { { -0.70, 0.30 }, { -0.74, -0.05 }, { -0.70, -0.40 }, { -0.73, -0.70 } }, { { -0.73, 0.30 }, { -0.79, -0.05 }, { -0.77, -0.40 }, { -0.76, -0.72 } } }, 0.018, 0.45, 0.1, 2, 2.4, 0.10 },
};

/* Catmull-Rom through p[0..n-1], t in 0..1. */
static dot spline(const dot *p, int n, double t)
{
    const double at = t * (n - 1);
    const int i = at >= n - 1 ? n - 2 : (int)at;
    const double u = at - i;
    const dot b = p[i], c = p[i + 1];
    const dot a = i ? p[i - 1] : (dot){ 2 * b.x - c.x, 2 * b.y - c.y }, d = i + 2 < n ? p[i + 2] : (dot){ 2 * c.x - b.x, 2 * c.y - b.y };
    const double k0 = ((-0.5 * u + 1) * u - 0.5) * u, k1 = (1.5 * u - 2.5) * u * u + 1, k2 = ((-1.5 * u + 2) * u + 0.5) * u, k3 = (0.5 * u - 0.5) * u * u;
    return (dot){ k0 * a.x + k1 * b.x + k2 * c.x + k3 * d.x, k0 * a.y + k1 * b.y + k2 * c.y + k3 * d.y };
}

typedef struct canvas {
    tr_planes rgb, cover, matte;                /* sketch colours, its strokes, the matte */
    uint64_t  seed, n;                          /* random numbers drawn so far */
} canvas;

static double draw(canvas *c) { return tr_philox_uniform(c->seed, 1, c->n++); }
static double spread(canvas *c, double k) { return k * (draw(c) + draw(c) + draw(c) - 1.5) / 0.5; }  /* about normal, deviation k */

/* Strand s in 0..1 of a family, from `begin` to `end` of its length. */
static void make_strand(dot out[STRAND], const family *f, double s, double begin, double end, double phase)
{
    double run = 0;
    dot last = { 0, 0 };
    for (int i = 0; i < STRAND; i++) {
        const double t = begin + (end - begin) * i / (STRAND - 1);
        dot across[KEY_MAX];
        for (int k = 0; k < f->n_key; k++) across[k] = spline(f->key[k], f->n_point, t);
        dot p = spline(across, f->n_key, s);
        if (i) run += hypot(p.x - last.x, p.y - last.y);
        const dot dir = i ? (dot){ p.x - last.x, p.y - last.y } : (dot){ 0, -1 };
        const double n = hypot(dir.x, dir.y) + 1e-9;
        last = p;
        const double grow = t < f->rise ? 0 : (t - f->rise) / (1 - f->rise), a = f->wave * sqrt(grow) * sin(2 * M_PI * run / f->length + phase + 2.2 * s);
        out[i] = (dot){ p.x - a * dir.y / n, p.y + a * dir.x / n };
    }
}

static double to_segment(dot p, dot a, dot b)
{
    const double dx = b.x - a.x, dy = b.y - a.y, n = dx * dx + dy * dy;
    double t = n > 0 ? ((p.x - a.x) * dx + (p.y - a.y) * dy) / n : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

static dot to_pixel(dot p) { return (dot){ CENTRE_X + p.x * SCALE, CENTRE_Y - p.y * SCALE }; }

/* A stroke of the pen: opaque, with an even width in pixels. */
static void pen(canvas *c, const dot *strand, int n, double width, const float colour[3])
{
    for (int i = 0; i + 1 < n; i++) {
        const dot a = to_pixel(strand[i]), b = to_pixel(strand[i + 1]);
        const int x0 = (int)fmax(0, fmin(a.x, b.x) - width), x1 = (int)fmin(SIZE - 1, fmax(a.x, b.x) + width);
        const int y0 = (int)fmax(0, fmin(a.y, b.y) - width), y1 = (int)fmin(SIZE - 1, fmax(a.y, b.y) + width);
        for (int y = y0; y <= y1; y++)
            for (int x = x0; x <= x1; x++)
                if (to_segment((dot){ x + 0.5, y + 0.5 }, a, b) <= width / 2)
                    for (int k = 0; k < 3; k++) tr_plane(c->rgb, k)[y * SIZE + x] = colour[k];
    }
}

/* A strand of the matte: soft-edged, tapered to its tip. */
static void hair(canvas *c, const dot *strand, int n, double width, double opacity)
{
    float *cover = c->cover.data;               /* of this strand: its segments overlap */
    int left = SIZE, right = -1, top = SIZE, bottom = -1;
    for (int i = 0; i + 1 < n; i++) {
        const dot a = to_pixel(strand[i]), b = to_pixel(strand[i + 1]);
        const double t = (double)i / n, r = width / 2 * (t < 0.75 ? 1 : 1 - 0.8 * (t - 0.75) / 0.25);
        const int x0 = (int)fmax(0, fmin(a.x, b.x) - r - 2), x1 = (int)fmin(SIZE - 1, fmax(a.x, b.x) + r + 2);
        const int y0 = (int)fmax(0, fmin(a.y, b.y) - r - 2), y1 = (int)fmin(SIZE - 1, fmax(a.y, b.y) + r + 2);
        for (int y = y0; y <= y1; y++)
            for (int x = x0; x <= x1; x++) {
                const double v = fmin(1, fmax(0, (r + 0.9 - to_segment((dot){ x + 0.5, y + 0.5 }, a, b)) / 1.8)) * opacity;
                if (v > cover[y * SIZE + x]) cover[y * SIZE + x] = (float)v;
            }
        left = x0 < left ? x0 : left;
        right = x1 > right ? x1 : right;
        top = y0 < top ? y0 : top;
        bottom = y1 > bottom ? y1 : bottom;
    }
    for (int y = top; y <= bottom; y++)
        for (int x = left; x <= right; x++) {
            float *m = c->matte.data + y * SIZE + x, *v = cover + y * SIZE + x;
            *m += (1 - *m) * *v;
            *v = 0;
        }
}

/* A bright colour; neighbours differ. */
static void any_colour(canvas *c, float out[3])
{
    const double h = 6 * draw(c), s = 0.35 + 0.65 * draw(c), v = 0.55 + 0.45 * draw(c);
    for (int k = 0; k < 3; k++) {
        double d = fmod(h + 6 - 2 * k, 6);
        d = fabs(d > 3 ? 6 - d : d);
        out[k] = (float)(v * (1 - s * fmin(1, fmax(0, d - 1))));
    }
}

/* An unsteady hand: the stroke drifts by a slow wave of a pixel or so. */
static void sketch_strand(canvas *c, dot *strand, int n)
{
    const double ax = spread(c, 0.008), ay = spread(c, 0.008), px = 6 * draw(c), py = 6 * draw(c), k = 2 + 3 * draw(c);
    float colour[3];
    for (int i = 0; i < n; i++) {
        strand[i].x += ax * sin(px + k * i / n);
        strand[i].y += ay * sin(py + k * i / n);
    }
    any_colour(c, colour);
    pen(c, strand, n, 2.1 + 0.5 * draw(c), colour);
}

static void draw_family(canvas *c, const family *f)
{
    enum { N = 260 };
    dot strand[STRAND];
    for (int i = 0; i < N; i++) {
        const double s = (i + 0.5) / N, stray = draw(c) < f->flyaway ? 1 : 0;
        make_strand(strand, f, fmin(1.02, fmax(-0.02, s + spread(c, 0.02 + 0.05 * stray))), 0, 0.90 + 0.10 * draw(c) + 0.03 * stray, spread(c, 0.15 + 0.5 * stray));
        hair(c, strand, STRAND, stray > 0 ? 1.2 : f->thick, stray > 0 ? 0.55 : 0.75);
    }
    for (int i = 0; i < f->n_sketch; i++) {
        const double s = (i + 0.5 + 0.25 * (2 * draw(c) - 1)) / f->n_sketch, begin = 0.22 * draw(c) * draw(c), end = 1 - 0.42 * draw(c) * draw(c);
        make_strand(strand, f, s, begin, end, spread(c, 0.1));
        sketch_strand(c, strand, STRAND);
    }
}

/* Three strands woven: x = a sin, z = -b sin of twice the phase, so each comes over from the edge to the middle. The tubes go
 * through a depth buffer; a sketch shows where one ends at the next or at the ground. */
static tress_status draw_plait(canvas *c, const dot *line, int n_line, double width, double pitch)
{
    enum { STEP = 6000, LOBE_MAX = 256 };
    tress_status st = TRESS_OK;
    float *depth = NULL, colour[LOBE_MAX][3];
    int16_t *lobe = NULL;                       /* which lobe is in front; 0 none */
    double s = 0;
    dot last = line[0];
    TR_TRY(tr_alloc_array((void **)&depth, SIZE * SIZE, sizeof *depth));
    TR_TRY(tr_alloc_array((void **)&lobe, SIZE * SIZE, sizeof *lobe));
    for (int i = 0; i < LOBE_MAX; i++) any_colour(c, colour[i]);
    for (int i = 0; i < STEP; i++) {
        const double t = (double)i / (STEP - 1), a = width / 1.7 * (1 - 0.38 * t) * (t < 0.04 ? 0.75 + 6.25 * t : 1), r = 0.63 * a;
        const dot p = spline(line, n_line, t), q = spline(line, n_line, fmin(1, t + 0.004)), o = spline(line, n_line, fmax(0, t - 0.004));
        const double n = hypot(q.x - o.x, q.y - o.y) + 1e-9;
        s += hypot(p.x - last.x, p.y - last.y) / a;                              /* knots shrink with the width */
        last = p;
        for (int k = 0; k < 3; k++) {
            const double phase = 2 * M_PI * (s / pitch + k / 3.0) + 12 * M_PI, x = a * sin(phase), z = -0.55 * a * sin(2 * phase);
            const int id = 1 + (int)(floor((phase - M_PI / 4) / M_PI) * 3 + k) % (LOBE_MAX - 1);
            const dot m = to_pixel((dot){ p.x - x * (q.y - o.y) / n, p.y + x * (q.x - o.x) / n });
            const double rp = r * SCALE;
            for (int v = (int)fmax(0, m.y - rp - 2); v <= fmin(SIZE - 1, m.y + rp + 2); v++)
                for (int u = (int)fmax(0, m.x - rp - 2); u <= fmin(SIZE - 1, m.x + rp + 2); u++) {
                    const double d = hypot(u + 0.5 - m.x, v + 0.5 - m.y);
                    float *cover = c->matte.data + v * SIZE + u;
                    *cover = (float)fmax(*cover, fmin(1, fmax(0, (rp + 0.9 - d) / 1.8)));
                    if (d >= rp) continue;
                    const double front = 10 + z * SCALE + sqrt(rp * rp - d * d);
                    if (front <= depth[v * SIZE + u]) continue;
                    depth[v * SIZE + u] = (float)front;
                    lobe[v * SIZE + u] = (int16_t)id;
                }
        }
    }
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
            int front = 0;                      /* the nearest of the lobes that meet within a pen's radius */
            float nearest = 0;
            bool edge = false;
            for (int v = -1; v <= 1; v++)
                for (int u = -1; u <= 1; u++) {
                    if (x + u < 0 || y + v < 0 || x + u >= SIZE || y + v >= SIZE || (u && v)) continue;
                    const int i = (y + v) * SIZE + x + u;
                    edge |= lobe[i] != lobe[y * SIZE + x];
                    if (lobe[i] && depth[i] > nearest) {
                        nearest = depth[i];
                        front = lobe[i];
                    }
                }
            if (edge && front)
                for (int k = 0; k < 3; k++) tr_plane(c->rgb, k)[y * SIZE + x] = colour[front][k];
        }
done:
    tr_free(depth);
    tr_free(lobe);
    return st;
}

static void draw_knot(canvas *c, dot middle, double radius)
{
    dot curve[STRAND];
    for (int i = 0; i < 90; i++) {
        const double r = radius * (0.05 + 0.95 * (i + 0.5) / 90), turn = 6.28 * draw(c), squash = 0.86 + spread(c, 0.01);
        for (int k = 0; k < STRAND; k++) {
            const double a = turn + 5.0 * k / STRAND;
            curve[k] = (dot){ middle.x + r * cos(a), middle.y + r * squash * sin(a) };
        }
        hair(c, curve, STRAND, i > 84 ? 1.2 : 7, i > 84 ? 0.4 : 0.85);
    }
    for (int i = 0; i < 9; i++) {               /* coils, seen from the front: arcs that wind inwards */
        const double turn = 2 * M_PI * i / 9 + spread(c, 0.1), r0 = radius * (0.97 - 0.06 * (i % 3)), r1 = radius * (0.42 + 0.16 * draw(c));
        for (int k = 0; k < STRAND; k++) {
            const double u = (double)k / (STRAND - 1), a = turn - 1.9 * u, r = r0 + (r1 - r0) * u * u;
            curve[k] = (dot){ middle.x + r * cos(a), middle.y + 0.86 * r * sin(a) };
        }
        sketch_strand(c, curve, STRAND);
    }
}

tress_status hair_draw(tr_image **sketch, tr_image **matte, const hairstyle *h)
{
    static const struct { const char *name; const family *f; int n; } all[] = {
        { "straight", centre_part, 2 }, { "wavy", waves, 2 }, { "bob", bob, 3 }, { "ponytail", ponytail, 2 }, { "braid", braid, 2 }, { "bun", bun, 3 },
    };
    tress_status st = TRESS_OK;
    tr_image *a = NULL, *b = NULL;
    tr_planes soft = { 0 };
    canvas c = { .seed = h->seed };
    TR_TRY(tr_planes_new(&c.rgb, 3, SIZE, SIZE));
    TR_TRY(tr_planes_new(&c.cover, 1, SIZE, SIZE));
    TR_TRY(tr_planes_new(&c.matte, 1, SIZE, SIZE));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, h->name)) continue;
        if (!strcmp(h->name, "bun")) draw_knot(&c, (dot){ 0.02, 1.50 }, 0.36);
        for (int k = 0; k < all[i].n; k++) draw_family(&c, &all[i].f[k]);
        if (!strcmp(h->name, "braid")) {
            draw_family(&c, plait_tip);
            TR_TRY(draw_plait(&c, plait_line, sizeof plait_line / sizeof plait_line[0], 0.215, 4.5));
        }
    }
    TR_TRY(tr_gaussian(&soft, c.matte, 0.8));
    for (int i = 0; i < SIZE * SIZE; i++) soft.data[i] = soft.data[i] < 0.012f ? 0 : soft.data[i];      /* no haze */
    TR_TRY(tr_planes_image(&a, c.rgb, 8));
    TR_TRY(tr_planes_image(&b, soft, 8));
    *sketch = a;
    *matte = b;
    a = b = NULL;
done:
    tr_image_free(a);
    tr_image_free(b);
    tr_planes_fini(&soft);
    tr_planes_fini(&c.rgb);
    tr_planes_fini(&c.cover);
    tr_planes_fini(&c.matte);
    return st;
}
