#include "synth/body.h"

#include "synth/noise.h"

/* Model space: origin between the ears, y down, z out of the face; about 230 from crown to chin. */
static float ellipsoid(vec3 p, vec3 c, vec3 r)
{
    const vec3 q = v_sub(p, c);
    const vec3 a = v3(q.x / r.x, q.y / r.y, q.z / r.z), b = v3(a.x / r.x, a.y / r.y, a.z / r.z);
    const float k0 = v_len(a), k1 = v_len(b);
    return k1 > 1e-9f ? k0 * (k0 - 1) / k1 : -r.x;
}

static float capsule(vec3 p, vec3 a, vec3 b, float ra, float rb)
{
    const vec3 pa = v_sub(p, a), ba = v_sub(b, a);
    const float h = f_clamp(v_dot(pa, ba) / v_dot(ba, ba), 0, 1);
    return v_len(v_axpy(pa, -h, ba)) - f_lerp(ra, rb, h);
}

/* Smooth minimum, quadratic: Quilez. */
static float join(float a, float b, float k)
{
    const float h = f_clamp(k - fabsf(a - b), 0, k) / k;
    return (a < b ? a : b) - h * h * k * .25f;
}
static float carve(float a, float b, float k) { return -join(-a, b, k); }

static const vec3 skull_c = { 0, -22, -8 }, skull_r = { 80, 92, 98 };

static float head_distance(const tr_scene *s, vec3 p)
{
    const float far = ellipsoid(p, v3(0, 5, 5), v3(104, 128, 120));
    if (far > 24) return far;                                   /* features do not reach out here */
    const float w = s->head_width, j = s->jaw_width;
    const vec3 m = v3(fabsf(p.x), p.y, p.z);
    float d = ellipsoid(m, skull_c, v3(skull_r.x * w, skull_r.y, skull_r.z));
    d = join(d, ellipsoid(m, v3(0, 34, 20), v3(61 * j, 78, 68)), 38);
    d = join(d, capsule(m, v3(0, 88, 52), v3(14, 86, 50), 20, 17), 30);         /* chin */
    d = join(d, ellipsoid(m, v3(42 * j, 34, 52), v3(26, 24, 24)), 26);          /* cheek */
    d = join(d, capsule(m, v3(12, -25, 82), v3(42, -25, 66), 8, 8), 22);       /* brow */
    d = carve(d, v_len(v_sub(m, v3(31, -4, 98))) - 15, 15);                     /* eye socket */
    d = join(d, ellipsoid(m, v3(30, -4, 76), v3(16, 11, 11)), 5);               /* eyeball and lids */
    d = join(d, capsule(m, v3(0, -10, 86), v3(0, 32, 100 + 6 * s->nose), 7, 9.5f * s->nose), 13);
    d = join(d, ellipsoid(m, v3(9 * s->nose, 36, 94), v3(7, 6, 9)), 7);         /* wing of the nose */
    d = join(d, ellipsoid(m, v3(0, 59, 84), v3(22, 6 * s->lip, 11)), 8);        /* upper lip */
    d = join(d, ellipsoid(m, v3(0, 68, 82), v3(18, 6.5f * s->lip, 11)), 6);     /* lower lip */
    d = join(d, ellipsoid(m, v3(81 * w, 8, -12), v3(7, 26, 15)), 6);            /* ear */
    return d;
}

static float torso_distance(vec3 p)
{
    const vec3 m = v3(fabsf(p.x), p.y, p.z);
    float d = capsule(p, v3(0, 50, -24), v3(0, 168, -36), 43, 50);              /* neck */
    d = join(d, capsule(m, v3(0, 184, -42), v3(140, 230, -42), 40, 58), 46);    /* shoulders */
    return join(d, ellipsoid(p, v3(0, 318, -38), v3(172, 150, 84)), 40);
}

static vec3 to_model(const tr_scene *s, const mat3 *m, vec3 world) { return v_scale(m_to_model(m, v_sub(world, s->centre)), 1 / s->scale); }

float tr_body_distance(const tr_scene *s, vec3 world)
{
    const vec3 h = to_model(s, &s->head, world);
    const float dh = h.y < 190 ? head_distance(s, h) : 1e3f;
    if (h.y < 20) return dh * s->scale;                         /* far above the neck's reach */
    return join(dh, torso_distance(to_model(s, &s->body, world)), 18) * s->scale;
}

vec3 tr_body_normal(const tr_scene *s, vec3 p)
{
    const float e = .7f;                                        /* four taps of a tetrahedron */
    const float a = tr_body_distance(s, v3(p.x + e, p.y - e, p.z - e)), b = tr_body_distance(s, v3(p.x - e, p.y - e, p.z + e));
    const float c = tr_body_distance(s, v3(p.x - e, p.y + e, p.z - e)), d = tr_body_distance(s, v3(p.x + e, p.y + e, p.z + e));
    return v_unit(v3(a - b - c + d, -a - b + c + d, -a + b - c + d));
}

vec3 tr_body_world(const tr_scene *s, vec3 m) { return v_add(s->centre, v_scale(m_to_world(&s->head, m), s->scale)); }

float tr_body_hairline(float azimuth)
{
    static const float y[7] = { -62, -60, -40, 2, 42, 56, 60 }; /* each 30 degrees from the front to the nape */
    const float t = f_clamp(fabsf(azimuth) / 3.14159265f, 0, 1) * 6;
    const int i = t >= 6 ? 5 : (int)t;
    return f_lerp(y[i], y[i + 1], f_step(0, 1, t - (float)i));
}

bool tr_body_root(const tr_scene *s, int i, int n, float ju, float jv, vec3 *root, vec3 *normal, vec3 *model)
{
    /* Fibonacci sphere: even spacing without a grid's rows. */
    const float v = f_clamp(((float)i + .5f + jv) / (float)n, 0, 1), phi = 2.3999632f * ((float)i + ju);
    const float cy = 2 * v - 1, ring = sqrtf(1 - cy * cy);
    const vec3 dir = v3(ring * sinf(phi), cy, ring * cosf(phi));
    const vec3 r = v3(skull_r.x * s->head_width, skull_r.y, skull_r.z);
    const vec3 p = v_add(skull_c, v_mul(dir, r));
    if (p.y > tr_body_hairline(atan2f(p.x, p.z))) return false;
    *model = p;
    *root = tr_body_world(s, p);
    *normal = v_unit(m_to_world(&s->head, v3(dir.x / r.x, dir.y / r.y, dir.z / r.z)));
    return true;
}

static float hill(float x, float y, float rx, float ry) { return 1 - f_step(.72f, 1.12f, sqrtf(x * x / (rx * rx) + y * y / (ry * ry))); }

/* Skin, eyes, brows and lips by model position, cloth below the neckline. */
static void paint(const tr_scene *s, vec3 head, vec3 body, vec3 *albedo, float *gloss, float *scalp)
{
    const float blotch = tr_noise3(v_scale(head, .045f), 11) - .5f, fine = tr_noise3(v_scale(head, .5f), 12) - .5f;
    vec3 c = v_mul(s->skin, v3(1 + .10f * blotch + .05f * fine, 1 - .06f * blotch + .05f * fine, 1 - .08f * blotch + .05f * fine));
    *gloss = .11f;
    *scalp = 0;
    if (head.z > 20 && head.y < 130) {
        const float ax = fabsf(head.x), y = head.y;
        const float flush = hill(ax - 40, y - 34, 26, 20) + .8f * hill(head.x, y - 36, 12, 12);
        c = v_mul(c, v3(1 + .10f * flush, 1 - .16f * flush, 1 - .14f * flush));
        if (s->freckle > 0) c = v_scale(c, 1 - s->freckle * .35f * f_step(.64f, .74f, tr_noise3(v_scale(head, .28f), 13)) * hill(ax - 30, y - 22, 40, 30));
        const float smile = .0035f * head.x * head.x, ly = y + smile;
        const float lips = hill(head.x, ly - 64, 27, 9.5f * s->lip) * f_step(66, 78, head.z);
        c = v_lerp(c, s->lips, .85f * lips);
        c = v_scale(c, 1 - .55f * hill(head.x, ly - 64.5f, 25, 1.4f) * f_step(66, 78, head.z));      /* the line between */
        *gloss += .16f * lips;
        const float ex = (ax - 30) / s->eye, ey = (y + 5) / s->eye;
        const float lid = ey + .010f * ex * ex;                 /* the upper lid arches */
        const float open = hill(ex, lid - .5f, 15, 6.8f);
        const float look = head.x > 0 ? ex - 1 : ex + 1;
        vec3 eye = v_lerp(v3(.72f, .69f, .66f), s->iris, hill(look, ey, 6.6f, 6.6f));
        eye = v_lerp(eye, v3(.004f, .004f, .005f), hill(look, ey, 3, 3));
        eye = v_lerp(eye, v3(1.6f, 1.6f, 1.6f), hill(look + 2, ey + 2.2f, 1.5f, 1.5f));
        c = v_lerp(c, eye, open);
        const float lash = hill(ex, lid + 6.2f, 16.5f, 2.1f) + .45f * hill(ex, lid - 7.2f, 14, 1.2f);
        c = v_lerp(c, v3(.02f, .014f, .012f), f_clamp(.9f * lash, 0, 1));
        c = v_scale(c, 1 - .22f * hill(ex, ey + 11, 17, 4));    /* crease above the lid */
        const float arch = y + 29 - .010f * (ax - 42) * (ax - 42) + .12f * (ax - 33);
        const float hairy = .55f + .9f * (tr_noise3(v3(head.x * .9f, y * .35f, 3), 14) - .5f);
        const vec3 brow = v_lerp(v_scale(s->hair, .6f), v3(.03f, .02f, .015f), .5f);
        c = v_lerp(c, brow, f_clamp(s->brow * hairy * hill(ax - 33, arch, 19, 4), 0, .9f));
        c = v_scale(c, 1 - .5f * hill(ax - 7, y - 42, 4, 2.4f) * f_step(86, 96, head.z));           /* nostrils */
    }
    if (head.y < 70) {
        const float line = tr_body_hairline(atan2f(head.x, head.z)) + 5 * (tr_noise3(v_scale(head, .16f), 15) - .5f);
        *scalp = f_step(6, -8, head.y - line);
        if (fabsf(head.x) > 84 * s->head_width) *scalp = 0;     /* ears */
    }
    const float edge = s->neckline + .0016f * body.x * body.x * (s->neckline > 172 ? -.6f : .5f);
    if (body.y > edge) {
        float k = 0;
        if (s->cloth_pattern == 1) k = f_step(-.15f, .15f, sinf(body.y * .32f));
        if (s->cloth_pattern == 2) k = f_step(.35f, .65f, tr_noise3(v_scale(body, .035f), 16));
        c = v_scale(v_lerp(s->cloth_a, s->cloth_b, k), .9f + .2f * tr_noise3(v_scale(body, .8f), 17));
        c = v_scale(c, f_lerp(.6f, 1, f_step(0, 6, body.y - edge)));
        *gloss = .015f;
        *scalp = 0;
    }
    *albedo = c;
}

/* March from `z` towards the back; false when the body is missed. */
static bool march(const tr_scene *s, float x, float y, float z, vec3 *hit)
{
    vec3 p = v3(x, y, z);
    float d = tr_body_distance(s, p);
    if (d < 0) { p.z = 150 * s->scale; d = tr_body_distance(s, p); }
    for (int k = 0; k < 40 && d > .05f && p.z > -170 * s->scale; k++) {
        p.z -= d * .92f;
        d = tr_body_distance(s, p);
    }
    *hit = p;
    return d <= .6f;
}

static void trace_coarse(tr_body_view *v, const tr_scene *s)
{
    const int n = v->n;
    const float step = 512.0f / (float)n;
    for (int y = 0; y < n; y += 2)
        for (int x = 0; x < n; x += 2) {
            const int64_t i = (int64_t)y * n + x;
            float z = 150 * s->scale;
            vec3 p;                                             /* neighbours are near: start there */
            if (x > 0 && v->depth[i - 2] > TR_NO_DEPTH) z = v->depth[i - 2] + 18;
            if (y > 0 && v->depth[i - 2 * n] > TR_NO_DEPTH) z = fmaxf(z < 150 * s->scale ? z : 0, v->depth[i - 2 * n] + 18);
            v->depth[i] = TR_NO_DEPTH;
            if (!march(s, ((float)x + .5f) * step, ((float)y + .5f) * step, z, &p)) continue;
            v->depth[i] = p.z;
            v->normal[i] = tr_body_normal(s, p);
        }
}

/* Between traced pixels of one smooth surface depth and normal are means; at edges they are traced too. */
static void trace_between(tr_body_view *v, const tr_scene *s, int x, int y)
{
    const int n = v->n;
    const float step = 512.0f / (float)n;
    const int64_t i = (int64_t)y * n + x;
    const int x0 = x & ~1, y0 = y & ~1, x1 = x0 + 2 < n && x != x0 ? x0 + 2 : x0, y1 = y0 + 2 < n && y != y0 ? y0 + 2 : y0;
    const int64_t at[4] = { (int64_t)y0 * n + x0, (int64_t)y0 * n + x1, (int64_t)y1 * n + x0, (int64_t)y1 * n + x1 };
    float lo = v->depth[at[0]], hi = lo, sum = 0;
    vec3 normal = { 0, 0, 0 };
    for (int k = 0; k < 4; k++) {
        lo = fminf(lo, v->depth[at[k]]);
        hi = fmaxf(hi, v->depth[at[k]]);
        sum += v->depth[at[k]];
        normal = v_add(normal, v->normal[at[k]]);
    }
    v->depth[i] = TR_NO_DEPTH;
    if (hi <= TR_NO_DEPTH) return;
    if (lo > TR_NO_DEPTH && hi - lo < 5 * step) {
        v->depth[i] = .25f * sum;
        v->normal[i] = v_unit(normal);
        return;
    }
    vec3 p;
    if (!march(s, ((float)x + .5f) * step, ((float)y + .5f) * step, hi + 18, &p)) return;
    v->depth[i] = p.z;
    v->normal[i] = tr_body_normal(s, p);
}

tress_status tr_body_trace(tr_body_view *out, const tr_scene *s, int n)
{
    tress_status st = TRESS_OK;
    tr_body_view v = { .n = n };
    const int64_t count = (int64_t)n * n;
    const float step = 512.0f / (float)n;
    TR_TRY(tr_alloc_array((void **)&v.depth, count, sizeof(float)));
    TR_TRY(tr_alloc_array((void **)&v.normal, count, sizeof(vec3)));
    TR_TRY(tr_alloc_array((void **)&v.albedo, count, sizeof(vec3)));
    TR_TRY(tr_alloc_array((void **)&v.gloss, count, sizeof(float)));
    TR_TRY(tr_alloc_array((void **)&v.scalp, count, sizeof(float)));
    trace_coarse(&v, s);
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++) {
            const int64_t i = (int64_t)y * n + x;
            if ((x | y) & 1) trace_between(&v, s, x, y);
            if (v.depth[i] <= TR_NO_DEPTH) continue;
            const vec3 p = v3(((float)x + .5f) * step, ((float)y + .5f) * step, v.depth[i]);
            paint(s, to_model(s, &s->head, p), to_model(s, &s->body, p), &v.albedo[i], &v.gloss[i], &v.scalp[i]);
        }
    *out = v;
    v = (tr_body_view){ 0 };
done:
    tr_body_view_fini(&v);
    return st;
}

void tr_body_view_fini(tr_body_view *v)
{
    tr_free(v->depth);
    tr_free(v->normal);
    tr_free(v->albedo);
    tr_free(v->gloss);
    tr_free(v->scalp);
    *v = (tr_body_view){ 0 };
}
