/* portrait.c - a head, neck and shoulders out of smoothly joined solids, seen from the front. Distances to solids and their
 * smooth union: Quilez, iquilezles.org/articles/distfunctions and smin. Shading: wrapped diffuse light (a cheap stand-in for light
 * that travels in skin), ambient light with occlusion, two highlights, a rim. */
#include "make_examples/examples.h"

#include <math.h>

static vec v3(double x, double y, double z) { return (vec){ x, y, z }; }
static vec add(vec a, vec b) { return v3(a.x + b.x, a.y + b.y, a.z + b.z); }
static vec sub(vec a, vec b) { return v3(a.x - b.x, a.y - b.y, a.z - b.z); }
static vec mul(vec a, double k) { return v3(a.x * k, a.y * k, a.z * k); }
static vec times(vec a, vec b) { return v3(a.x * b.x, a.y * b.y, a.z * b.z); }
static double dot(vec a, vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static double length(vec a) { return sqrt(dot(a, a)); }
static vec unit(vec a) { return mul(a, 1 / length(a)); }
static double clamp(double v, double lo, double hi) { return v < lo ? lo : v > hi ? hi : v; }
static double ramp(double lo, double hi, double v)                               /* smoothstep */
{
    const double t = clamp((v - lo) / (hi - lo), 0, 1);
    return t * t * (3 - 2 * t);
}
static vec blend(vec a, vec b, double t) { return add(mul(a, 1 - t), mul(b, t)); }

static double join(double a, double b, double k)                                 /* union with a fillet of about k */
{
    const double h = fmax(k - fabs(a - b), 0) / k;
    return fmin(a, b) - h * h * k / 4;
}
static double carve(double a, double b, double k) { return -join(-a, b, k); }    /* a less b */
static double ball(vec p, vec c, double r) { return length(sub(p, c)) - r; }
static double egg(vec p, vec c, vec r)
{
    const vec d = sub(p, c);
    const double k0 = length(v3(d.x / r.x, d.y / r.y, d.z / r.z)), k1 = length(v3(d.x / r.x / r.x, d.y / r.y / r.y, d.z / r.z / r.z));
    return k1 > 0 ? k0 * (k0 - 1) / k1 : -fmin(r.x, fmin(r.y, r.z));
}
static double mirror(double x) { return sqrt(x * x + 0.0004) - 0.001; }         /* |x|, round at 0: no crease in the middle */
static double rod(vec p, vec a, vec b, double ra, double rb)
{
    const vec pa = sub(p, a), ba = sub(b, a);
    const double t = clamp(dot(pa, ba) / dot(ba, ba), 0, 1);
    return length(sub(pa, mul(ba, t))) - (ra + (rb - ra) * t);
}

enum { NOTHING, SKIN, EYE, CLOTH };
typedef struct scene {
    const portrait *p;
    double cy, sy, cp, sp;                      /* cosines and sines of yaw and pitch */
    vec pivot;
} scene;

static vec to_head(const scene *s, vec p)
{
    const vec d = sub(p, s->pivot);
    const vec q = v3(s->cy * d.x - s->sy * d.z, d.y, s->sy * d.x + s->cy * d.z);
    return add(v3(q.x, s->cp * q.y + s->sp * q.z, -s->sp * q.y + s->cp * q.z), s->pivot);
}

#define EYE_X 0.285
#define EYE_Y 0.055
#define EYE_Z 0.53
#define LIP_Y -0.480

static double head_at(const portrait *s, vec q)
{
    const double far = ball(q, v3(0, 0.15, 0), 1.25);
    if (far > 0.4) return far;                  /* no nearer than that: spare the details */
    const vec m = v3(mirror(q.x) / s->face_width, q.y, q.z);                     /* both sides alike */
    double d = egg(m, v3(0, 0.37, -0.16), v3(0.755, 0.86, 0.92));
    d = join(d, egg(m, v3(0, -0.15, 0.10), v3(0.60, 0.76, 0.66)), 0.25);
    d = join(d, egg(m, v3(0, -0.755, 0.40), v3(0.19, 0.15, 0.15)), 0.26);        /* chin */
    d = join(d, rod(m, v3(0.375 * s->jaw, -0.40, 0.00), v3(0.12, -0.775, 0.34), 0.19, 0.135), 0.28);
    d = join(d, ball(m, v3(0.36, -0.13, 0.42), 0.21), 0.25);                     /* cheek */
    d = join(d, rod(m, v3(0, 0.27, 0.67), v3(0.42, 0.24, 0.50), 0.08, 0.07), 0.20);
    d = carve(d, ball(m, v3(EYE_X, 0.06, 0.87), 0.20), 0.16);                    /* socket */
    /* nose */
    d = join(d, rod(m, v3(0, 0.20, 0.67), v3(0, -0.18, 0.85 + 0.03 * s->nose), 0.045, 0.070), 0.11);
    d = join(d, ball(m, v3(0, -0.215, 0.845 + 0.04 * s->nose), 0.085), 0.05);
    d = join(d, ball(m, v3(0.088, -0.245, 0.775), 0.056), 0.05);
    d = carve(d, egg(m, v3(0.047, -0.302, 0.82), v3(0.026, 0.022, 0.045)), 0.03);
    /* mouth */
    d = join(d, egg(m, v3(0, -0.47, 0.50), v3(0.27, 0.25, 0.22)), 0.15);
    d = carve(d, rod(m, v3(0, -0.33, 0.79), v3(0, -0.40, 0.77), 0.018, 0.022), 0.06);
    d = join(d, egg(m, v3(0, LIP_Y + 0.034, 0.685), v3(0.200, 0.040 * s->lips, 0.070)), 0.035);
    d = join(d, egg(m, v3(0, LIP_Y - 0.050, 0.690), v3(0.175, 0.056 * s->lips, 0.072)), 0.035);
    d = carve(d, rod(m, v3(0, LIP_Y, 0.770), v3(0.215, LIP_Y + 0.008, 0.66), 0.013, 0.006), 0.03);
    d = carve(d, ball(m, v3(0, -0.640, 0.80), 0.09), 0.10);                      /* under the lip */
    /* lids round the eye, open along an almond */
    double lid = ball(m, v3(EYE_X, EYE_Y, EYE_Z), 0.178);
    const double slit = egg(m, v3(EYE_X + 0.004, EYE_Y - 0.004, EYE_Z + 0.17), v3(0.142, 0.060, 0.16));
    d = join(d, lid, 0.06);
    d = carve(d, slit, 0.02);
    /* ear */
    double ear = egg(v3(m.x, m.y - 0.25 * m.z, m.z), v3(0.765, 0.00, -0.12), v3(0.072, 0.190, 0.125));
    ear = carve(ear, egg(v3(m.x, m.y - 0.25 * m.z, m.z), v3(0.822, 0.025, -0.03), v3(0.045, 0.115, 0.065)), 0.05);
    return join(d, ear, 0.05);
}

static double eye_at(const portrait *s, vec q)
{
    return ball(v3(fabs(q.x) / s->face_width, q.y, q.z), v3(EYE_X, EYE_Y, EYE_Z), 0.160);
}

static double body_at(vec p)
{
    if (p.y > 0.3) return p.y + 0.15;
    const vec m = v3(mirror(p.x), p.y, p.z);
    double d = rod(m, v3(0, -0.55, -0.20), v3(0, -1.60, -0.34), 0.37, 0.38);
    d = join(d, rod(m, v3(0.05, -1.40, -0.42), v3(1.02, -1.93, -0.45), 0.22, 0.26), 0.30);
    d = join(d, egg(m, v3(0, -2.75, -0.42), v3(1.16, 1.12, 0.60)), 0.25);
    d = join(d, ball(m, v3(1.13, -2.16, -0.44), 0.33), 0.30);
    d = join(d, rod(m, v3(0.11, -1.77, 0.03), v3(0.80, -1.66, -0.24), 0.045, 0.04), 0.14);   /* collar bone */
    d = join(d, rod(m, v3(0.30, -0.72, -0.16), v3(0.06, -1.72, 0.02), 0.06, 0.055), 0.22);   /* neck muscle */
    return carve(d, ball(m, v3(0, -1.72, 0.14), 0.07), 0.12);
}

static double cloth_edge(const scene *s, vec p)                                  /* < 0: clothed */
{
    return fmax(p.y + 1.42, 0.62 * s->p->neckline - length(v3(p.x * 0.82, p.y + 1.30, (p.z + 0.3) * 0.8)));
}

static double scene_at(const scene *s, vec p, int *material)
{
    const vec q = to_head(s, p);
    const double head = head_at(s->p, q), body = body_at(p), eye = eye_at(s->p, q);
    double d = join(head, body, 0.16);
    int what = SKIN;
    const double folds = 0.010 * sin(7 * p.x + 3 * p.y + 2 * sin(3 * p.y)) * ramp(-1.6, -2.4, p.y);
    const double cloth = fmax(body - 0.035 - folds, cloth_edge(s, p));
    if (cloth < d) {
        d = cloth;
        what = CLOTH;
    }
    if (eye < d) {
        d = eye;
        what = EYE;
    }
    *material = what;
    return d;
}

static vec normal_at(const scene *s, vec p)
{
    static const double k[4][3] = { { 1, -1, -1 }, { -1, -1, 1 }, { -1, 1, -1 }, { 1, 1, 1 } };
    const double e = 0.002;
    vec n = v3(0, 0, 0);
    int m;
    for (int i = 0; i < 4; i++) {
        const vec o = v3(k[i][0], k[i][1], k[i][2]);
        n = add(n, mul(o, scene_at(s, add(p, mul(o, e)), &m)));
    }
    return unit(n);
}

static double hash(int64_t x, int64_t y, uint64_t seed)                          /* 0..1; the finaliser of splitmix64 */
{
    uint64_t h = seed * 0x9e3779b97f4a7c15u ^ (uint64_t)x * 0xbf58476d1ce4e5b9u ^ (uint64_t)y * 0x94d049bb133111ebu;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return (double)((h ^ h >> 31) >> 40) / 16777216.0;
}

static double noise(double x, double y, uint64_t seed)                           /* smooth value noise, 0..1 */
{
    const double fx = floor(x), fy = floor(y), tx = ramp(0, 1, x - fx), ty = ramp(0, 1, y - fy);
    const int64_t ix = (int64_t)fx, iy = (int64_t)fy;
    return (hash(ix, iy, seed) * (1 - tx) + hash(ix + 1, iy, seed) * tx) * (1 - ty) + (hash(ix, iy + 1, seed) * (1 - tx) + hash(ix + 1, iy + 1, seed) * tx) * ty;
}

/* How much of a pixel of skin is brow: hairs leaning outwards in a tapering arc. */
static double brow_at(const portrait *s, vec q)
{
    const double x = fabs(q.x) / s->face_width, t = (x - 0.115) / 0.365;
    if (t < -0.05 || t > 1.05 || q.z < 0.2) return 0;
    const double mid = 0.262 + 0.075 * sin(clamp(t, 0, 1) * 2.1) - 0.035 * t;
    const double half = (0.034 - 0.022 * t * t) * s->brow;
    const double across = (q.y - mid) / half;
    const double body = ramp(1.25, 0.45, fabs(across)) * ramp(-0.05, 0.12, t) * ramp(1.05, 0.8, t);
    const double lean = x * 62 - q.y * (34 - 26 * t);
    return body * (0.50 + 0.50 * noise(lean, q.y * 16, s->seed + 5));
}

/* 1 where short hair grows. */
static double scalp_at(const portrait *s, vec q)
{
    const double x = fabs(q.x) / s->face_width;
    double line = 0.80 - 0.16 * x * x + 0.03 * noise(q.x * 9, 3, s->seed + 9);   /* forehead */
    line -= ramp(0.42, 0.66, x) * 0.55 + ramp(0.60, 0.72, x) * 0.35;             /* temples, down to the ear */
    line -= ramp(0.10, -0.30, q.z) * 0.35;
    const double ear = ramp(0.24, 0.34, length(v3(0, (q.y - 0.02) * 0.9, (q.z + 0.10) * 1.2)));
    return ramp(-0.05, 0.10, q.y - line) * (x > 0.70 ? ear : 1);
}

typedef struct paint { vec albedo; double gloss, tight, hair; } paint;

static paint paint_skin(const portrait *s, vec q)
{
    paint c = { s->skin, 0.17, 22, 0 };
    const double x = fabs(q.x) / s->face_width;
    const vec flush = times(s->skin, v3(1.10, 0.70, 0.66)), shade = times(s->skin, v3(0.78, 0.70, 0.70));
    double red = 0.75 * exp(-(pow((x - 0.40) / 0.20, 2) + pow((q.y + 0.18) / 0.15, 2)));        /* cheeks, nose, ears, chin */
    red += 0.50 * exp(-(pow(q.x / 0.11, 2) + pow((q.y + 0.23) / 0.09, 2)));
    red += 0.55 * ramp(0.72, 0.82, x) + 0.25 * exp(-(pow(q.x / 0.2, 2) + pow((q.y + 0.78) / 0.12, 2)));
    if (q.z < -0.35) red = 0;
    c.albedo = blend(c.albedo, flush, clamp(red, 0, 1) * 0.75);
    c.albedo = blend(c.albedo, shade, 0.55 * exp(-(pow((x - EYE_X) / 0.20, 2) + pow((q.y - 0.045) / 0.13, 2))));
    c.albedo = mul(c.albedo, 0.965 + 0.07 * noise(q.x * 11, q.y * 11, s->seed) * noise(q.x * 29, q.y * 29, s->seed + 1));
    if (q.z > 0.3) {
        /* lips: an upper bow and a lower ellipse */
        const double bow = LIP_Y + 0.066 * s->lips * (1 - pow(x / 0.225, 2)) - 0.016 * exp(-pow(x / 0.035, 2));
        const double low = LIP_Y - 0.100 * s->lips * (1 - pow(x / 0.195, 2));
        const double in = ramp(0.016, -0.008, q.y - bow) * ramp(0.018, -0.010, low - q.y) * ramp(0.232, 0.185, x);
        c.albedo = blend(c.albedo, s->lip, 0.80 * in);
        c.albedo = blend(c.albedo, mul(s->lip, 0.20), 0.85 * ramp(0.24, 0.20, x) * exp(-pow((q.y - LIP_Y - 0.03 * x) / 0.010, 2)));
        c.gloss += 0.14 * in;
        c.tight += 18 * in;
        /* lashes along the upper lid, a shadow in its fold */
        const double ex = (x - EYE_X - 0.004) / 0.150, ey = (q.y - EYE_Y + 0.004) / 0.064, rim = sqrt(ex * ex + ey * ey);
        const double upper = ramp(-0.25, 0.25, ey + 0.3 * ex);
        c.albedo = blend(c.albedo, v3(0.012, 0.009, 0.008), 0.92 * upper * ramp(1.30, 1.08, rim) + 0.30 * (1 - upper) * ramp(1.22, 1.05, rim));
        c.albedo = blend(c.albedo, shade, 0.7 * exp(-pow((rim - 1.75) / 0.16, 2)) * ramp(0.2, 0.6, ey));
        c.gloss *= 1 - 0.8 * ramp(1.4, 1.1, rim);
    }
    const double brow = brow_at(s, q);
    c.albedo = blend(c.albedo, s->hair, 0.9 * brow);
    c.gloss *= 1 - 0.7 * brow;
    if (s->cropped) {
        const double grow = scalp_at(s, q);
        const double a = atan2(q.x, q.z + 0.3), streak = noise(a * 46, q.y * 9 + q.z * 6, s->seed + 3) * 0.6 + noise(a * 110, q.y * 14 + q.z * 9, s->seed + 4) * 0.4;
        const double cover = clamp(grow * (0.70 + 0.55 * streak), 0, 1) * (grow > 0 ? 1 : 0);
        c.albedo = blend(c.albedo, mul(s->hair, 0.55 + 0.9 * streak), cover);
        c.gloss = c.gloss * (1 - cover) + 0.20 * cover * streak;
        c.hair = cover;
    }
    return c;
}

static paint paint_eye(const portrait *s, vec q)
{
    const double side = q.x < 0 ? -1 : 1, x = q.x - side * EYE_X * s->face_width, y = q.y - EYE_Y + 0.002, r = sqrt(x * x + y * y);
    paint c = { v3(0.70, 0.67, 0.64), 0.55, 130, 0 };
    c.albedo = blend(c.albedo, v3(0.62, 0.40, 0.36), 0.5 * ramp(0.07, 0.14, fabs(x)));
    const double a = atan2(y, x), fibre = noise(a * 9 + 40, r * 40, s->seed + 7);
    vec iris = mul(s->iris, 0.55 + 0.8 * fibre + 0.5 * ramp(0.02, -0.06, y));
    iris = blend(iris, mul(s->iris, 0.15), ramp(0.056, 0.074, r));
    c.albedo = blend(c.albedo, iris, ramp(0.080, 0.070, r));
    c.albedo = blend(c.albedo, v3(0.004, 0.004, 0.004), ramp(0.036, 0.030, r));
    c.albedo = mul(c.albedo, 1 - 0.62 * ramp(0.015, 0.062, y));                  /* the upper lid's shadow */
    const double glint = ramp(0.020, 0.011, hypot(x + 0.026, y - 0.026)) + 0.35 * ramp(0.012, 0.006, hypot(x - 0.024, y + 0.022));
    c.albedo = add(c.albedo, mul(v3(1.6, 1.6, 1.6), glint));
    return c;
}

static double shadow(const scene *s, vec p, vec n, vec light)
{
    double lit = 1, t = 0.05;
    int m;
    p = add(p, mul(n, 0.02));
    for (int i = 0; i < 16 && t < 1.6; i++) {
        const double d = scene_at(s, add(p, mul(light, t)), &m);
        lit = fmin(lit, 0.5 + 0.5 * d / (0.10 * t));
        if (lit < 0) break;
        t += clamp(d, 0.05, 0.20);
    }
    lit = clamp(lit, 0, 1);
    return lit * lit * (3 - 2 * lit);
}

static double open_sky(const scene *s, vec p, vec n)                             /* ambient occlusion */
{
    double shut = 0, w = 1;
    int m;
    for (int i = 1; i <= 5; i++) {
        const double h = 0.055 * i;
        shut += w * fmax(0, h - scene_at(s, add(p, mul(n, h)), &m));
        w *= 0.75;
    }
    return clamp(1 - 1.9 * shut, 0, 1);
}

static vec background(const portrait *p, double px, double py)
{
    const double u = px / SIZE, v = py / SIZE;
    vec c = blend(p->ground[0], p->ground[1], ramp(-0.1, 1.1, v + 0.12 * sin(3 * u + 1)));
    for (uint64_t i = 0; i < 7; i++) {          /* lights far out of focus */
        const double x = tr_philox_uniform(p->seed, 90, 3 * i), y = tr_philox_uniform(p->seed, 90, 3 * i + 1) * 0.8, r = 0.07 + 0.13 * tr_philox_uniform(p->seed, 90, 3 * i + 2);
        c = add(c, mul(p->glow, 0.30 * ramp(r, 0.75 * r, hypot(u - x, v - y))));
    }
    const double halo = exp(-(pow((u - 0.5) / 0.42, 2) + pow((v - 0.42) / 0.45, 2)));
    return mul(c, 0.62 + 0.50 * halo);
}

typedef struct hit { vec p; int material; } hit;

static hit march(const scene *s, double x, double y, double z)
{
    hit h = { v3(x, y, z), NOTHING };
    for (int i = 0; i < 96 && h.p.z > -1.2; i++) {
        int m;
        const double d = scene_at(s, h.p, &m);
        if (d < 0.0008) {
            h.material = m;
            return h;
        }
        h.p.z -= d * 0.9;
    }
    return h;
}

static vec shade(const scene *s, hit h, double px, double py, double occlusion, double lit)
{
    const portrait *p = s->p;
    if (h.material == NOTHING) return background(p, px, py);
    const vec n = normal_at(s, h.p), q = to_head(s, h.p), eye = v3(0, 0, 1), key = unit(p->key);
    paint c;
    if (h.material == EYE) c = paint_eye(p, q);
    else if (h.material == CLOTH) c = (paint){ mul(p->cloth, 0.93 + 0.10 * noise(h.p.x * 150, h.p.y * 150, p->seed + 8)), 0.03, 8, 0 };
    else c = paint_skin(p, q);
    const bool skin = h.material == SKIN;
    const double nl = dot(n, key), wrap[3] = { skin ? 0.42 : 0.1, skin ? 0.22 : 0.1, skin ? 0.15 : 0.1 };
    const vec sun = v3(1.00, 0.93, 0.84);
    double direct[3];
    for (int i = 0; i < 3; i++) {
        const double soft = clamp((nl + wrap[i]) / (1 + wrap[i]), 0, 1);
        direct[i] = soft * (lit + (skin ? wrap[i] * 0.35 : 0) * (1 - lit));
    }
    const vec half = unit(add(key, eye));
    const double spec = c.gloss * pow(fmax(0, dot(n, half)), c.tight) * lit, edge = pow(1 - fmax(0, n.z), 3);
    const vec sky = blend(mul(p->ground[1], 0.8), mul(p->ground[0], 1.2), 0.5 + 0.5 * n.y);
    vec out = times(c.albedo, v3(1.55 * direct[0] * sun.x, 1.55 * direct[1] * sun.y, 1.55 * direct[2] * sun.z));
    out = add(out, times(c.albedo, mul(add(mul(sky, 0.55), v3(0.20, 0.19, 0.20)), 0.35 + 0.65 * occlusion)));
    const double fill = clamp(dot(n, unit(v3(-key.x * 1.2, 0.1, 0.6))), 0, 1);
    out = add(out, mul(times(c.albedo, v3(0.75, 0.82, 1.0)), 0.24 * fill * occlusion));
    out = add(out, mul(sun, spec));
    out = add(out, mul(add(p->glow, v3(0.25, 0.25, 0.28)), 0.20 * edge * occlusion * (1 - 0.6 * c.hair) * ramp(-0.55, 0.15, n.y)));
    if (skin) out = times(out, v3(1, 0.80 + 0.20 * occlusion, 0.76 + 0.24 * occlusion));    /* light between skin and skin is red */
    return out;
}

static double tone(double v)                                                     /* a soft shoulder, then the sRGB curve */
{
    v = v < 0 ? 0 : v;
    v = v * (1 + v / 6.0) / (1 + v * 0.72);
    return v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;
}

typedef struct job {
    scene  s;
    hit   *hits;                                /* [SIZE, SIZE] */
    vec   *light;                               /* [SIZE, SIZE]: x occlusion, y key light */
    tr_planes out;
} job;

static tress_status first(void *self, int64_t y, int i_thread)
{
    const job *j = self;
    (void)i_thread;
    for (int x = 0; x < SIZE; x++) {
        const hit h = march(&j->s, (x + 0.5 - CENTRE_X) / SCALE, (CENTRE_Y - (double)y - 0.5) / SCALE, 1.35);
        vec light = v3(1, 1, 0);
        if (h.material != NOTHING) {
            const vec n = normal_at(&j->s, h.p);
            light.x = open_sky(&j->s, h.p, n);
            light.y = shadow(&j->s, h.p, n, unit(j->s.p->key));
        }
        j->hits[y * SIZE + x] = h;
        j->light[y * SIZE + x] = light;
    }
    return TRESS_OK;
}

static tress_status second(void *self, int64_t y, int i_thread)
{
    enum { FINE = 3 };
    const job *j = self;
    (void)i_thread;
    for (int x = 0; x < SIZE; x++) {
        const hit h = j->hits[y * SIZE + x];
        const vec l = j->light[y * SIZE + x];
        bool edge = h.material == EYE;
        double front = h.p.z;
        for (int64_t v = y - 1; v <= y + 1; v++)
            for (int u = x - 1; u <= x + 1; u++) {
                if (u < 0 || v < 0 || u >= SIZE || v >= SIZE) continue;
                const hit o = j->hits[v * SIZE + u];
                edge |= o.material != h.material || fabs(o.p.z - h.p.z) > 0.05;
                front = fmax(front, o.p.z);
            }
        edge |= h.material == SKIN && to_head(&j->s, h.p).z > 0.35;              /* the face has fine lines */
        double sum[3] = { 0, 0, 0 };
        const int n = edge ? FINE : 1;
        for (int k = 0; k < n * n; k++) {
            const double px = x + (k % n + 0.5) / n, py = (double)y + (k / n + 0.5) / n;
            const hit at = n == 1 ? h : march(&j->s, (px - CENTRE_X) / SCALE, (CENTRE_Y - py) / SCALE, front + 0.08);
            const vec c = shade(&j->s, at, px, py, l.x, l.y);
            sum[0] += tone(c.x) / (n * n);
            sum[1] += tone(c.y) / (n * n);
            sum[2] += tone(c.z) / (n * n);
        }
        for (int c = 0; c < 3; c++) tr_plane(j->out, c)[y * SIZE + x] = (float)sum[c];
    }
    return TRESS_OK;
}

tress_status portrait_draw(tr_image **out, const portrait *p)
{
    tress_status st = TRESS_OK;
    job j = { .s = { p, cos(p->yaw), sin(p->yaw), cos(p->pitch), sin(p->pitch), { 0, -0.6, -0.2 } } };
    TR_TRY(tr_alloc_array((void **)&j.hits, SIZE * SIZE, sizeof *j.hits));
    TR_TRY(tr_alloc_array((void **)&j.light, SIZE * SIZE, sizeof *j.light));
    TR_TRY(tr_planes_new(&j.out, 3, SIZE, SIZE));
    TR_TRY(tr_parallel(tr_thread_count(), SIZE, first, &j));
    TR_TRY(tr_parallel(tr_thread_count(), SIZE, second, &j));
    TR_TRY(tr_planes_image(out, j.out, 8));
done:
    tr_free(j.hits);
    tr_free(j.light);
    tr_planes_fini(&j.out);
    return st;
}
