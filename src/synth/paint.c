#include "synth/paint.h"

#include <string.h>

tress_status tr_plate_new(tr_plate *out, int n)
{
    tress_status st = TRESS_OK;
    tr_plate c = { .n = n };
    const int64_t count = (int64_t)n * n;
    TR_TRY(tr_alloc_array((void **)&c.colour, count, sizeof(vec3)));
    TR_TRY(tr_alloc_array((void **)&c.through, count, sizeof(float)));
    TR_TRY(tr_alloc_array((void **)&c.front, count, sizeof(float)));
    TR_TRY(tr_alloc_array((void **)&c.lock, count, sizeof(int16_t)));
    for (int64_t i = 0; i < count; i++) { c.through[i] = 1; c.front[i] = TR_NO_DEPTH; c.lock[i] = -1; }
    *out = c;
    c = (tr_plate){ 0 };
done:
    tr_plate_fini(&c);
    return st;
}

void tr_plate_fini(tr_plate *c)
{
    tr_free(c->colour);
    tr_free(c->through);
    tr_free(c->front);
    tr_free(c->lock);
    *c = (tr_plate){ 0 };
}

void tr_paint_body(tr_plate *c, const tr_scene *s, const tr_body_view *v, const float *body_reach, const tr_light_grid *grid)
{
    const int n = c->n;
    const float step = 512.0f / (float)n;
    const vec3 half = v_unit(v_add(s->to_light, v3(0, 0, 1)));
    for (int64_t i = 0; i < (int64_t)n * n; i++) {
        if (v->depth[i] <= TR_NO_DEPTH) continue;
        const vec3 p = v3(((float)(i % n) + .5f) * step, ((float)(i / n) + .5f) * step, v->depth[i]);
        const vec3 normal = v->normal[i];
        vec3 albedo = v->albedo[i];
        float reach = body_reach[i], sky = .55f - .45f * normal.y;          /* more from above */
        if (grid) {
            const float h = tr_light_grid_reach(grid, v_axpy(p, 4, s->to_light), .55f);
            reach *= h;
            sky *= .45f + .55f * h;
            albedo = v_lerp(albedo, v_scale(s->hair, .8f), .85f * v->scalp[i]);
        }
        const float lambert = v_dot(normal, s->to_light), wrap = f_clamp((lambert + .28f) / 1.28f, 0, 1);
        const float lit = wrap * f_lerp(.12f, 1, reach);
        const float soft = f_clamp(wrap - f_clamp(lambert, 0, 1), 0, 1);    /* light through skin near the terminator */
        vec3 light = v_axpy(v_scale(s->ambient, sky * f_lerp(.75f, 1, reach)), lit, s->key);
        light = v_mul(light, v3(1 + .55f * soft, 1 - .05f * soft, 1 - .1f * soft));
        vec3 colour = v_mul(albedo, light);
        const float spec = v->gloss[i] * reach * powf(f_clamp(v_dot(normal, half), 0, 1), 22);
        const float edge = powf(1 - f_clamp(normal.z, 0, 1), 3);
        colour = v_axpy(colour, spec, s->key);
        if (s->rim > 0) colour = v_axpy(colour, .5f * s->rim * edge * (v->gloss[i] > .05f ? 1 : .4f), v_mul(albedo, s->key));
        c->colour[i] = colour;
    }
}

/* One hair's colour: diffuse and two shifted highlights. Kajiya and Kay 1989; the shifts of Marschner et al. 2003. */
static vec3 shade(const tr_scene *s, const tr_segment *e, const tr_light_grid *key, const tr_light_grid *sky)
{
    const vec3 p = v_lerp(e->a, e->b, .5f), t = v_unit(v_sub(e->b, e->a));
    const float sin_l = v_dot(t, s->to_light), sin_v = t.z;
    const float cos_l = sqrtf(f_clamp(1 - sin_l * sin_l, 0, 1));
    const float h = asinf(f_clamp(sin_l, -1, 1)) + asinf(f_clamp(sin_v, -1, 1));
    const float reach = tr_light_grid_reach(key, p, .85f) * e->lit * f_lerp(.35f, 1, e->inner);
    const float open = tr_light_grid_reach(sky, p, .60f) * f_lerp(.35f, 1, e->inner);
    const float root = f_lerp(.62f, 1, f_step(0, .22f, e->u));
    const float r = expf(-((h + .20f) / .17f) * ((h + .20f) / .17f)), trt = expf(-((h - .30f) / .30f) * ((h - .30f) / .30f));
    const vec3 tint = v3(sqrtf(e->base.x), sqrtf(e->base.y), sqrtf(e->base.z));
    vec3 c = v_mul(e->base, v_axpy(v_scale(s->ambient, (.25f + .95f * open) * root), reach * root * (.30f + .80f * cos_l), s->key));
    c = v_axpy(c, s->gloss * reach * root * .085f * r, s->key);
    c = v_axpy(c, s->gloss * reach * root * .22f * trt, v_mul(v_mul(tint, e->base), s->key));
    c = v_axpy(c, s->gloss * .030f * open * expf(-(sin_v / .4f) * (sin_v / .4f)) * root, s->ambient);
    if (s->rim > 0) {                                           /* light from behind shines through the outermost hairs */
        const float thin = tr_light_grid_reach(sky, v3(p.x, p.y, p.z - 60), 1.1f);
        c = v_axpy(c, s->rim * .9f * thin, v_mul(v_mul(tint, tint), s->key));
    }
    return c;
}

typedef struct piece { float x0, y0, x1, y1, z; vec3 colour; float half, alpha; int16_t lock; } piece;

static void blend(tr_plate *c, const tr_body_view *v, const piece *e, int x, int y, float cover)
{
    const int64_t i = (int64_t)y * c->n + x;
    if (e->z < v->depth[i] - 1.5f) return;                      /* behind the body */
    const float a = e->alpha * cover;
    c->colour[i] = v_lerp(c->colour[i], e->colour, a);
    c->through[i] *= 1 - a;
    if (cover > .45f) { c->front[i] = e->z; c->lock[i] = e->lock; }
}

/* A short line of some width, one column (or row) at a time along its longer side. Half open, so neighbours do not overlap. */
static void draw(tr_plate *c, const tr_body_view *v, const piece *e)
{
    const int n = c->n;
    const float dx = e->x1 - e->x0, dy = e->y1 - e->y0;
    const bool steep = fabsf(dy) > fabsf(dx);
    float a0 = steep ? e->y0 : e->x0, a1 = steep ? e->y1 : e->x1, b0 = steep ? e->x0 : e->y0, b1 = steep ? e->x1 : e->y1;
    if (a0 > a1) { float k = a0; a0 = a1; a1 = k; k = b0; b0 = b1; b1 = k; }
    const float run = a1 - a0;
    if (run < 1e-4f) return;
    const float slope = (b1 - b0) / run, cosine = 1 / sqrtf(1 + slope * slope), reach = (e->half + .5f) / cosine;
    const int from = (int)ceilf(a0 - .5f), to = (int)ceilf(a1 - .5f);
    for (int a = from; a < to; a++) {
        if (a < 0 || a >= n) continue;
        const float mid = b0 + slope * ((float)a + .5f - a0);
        int lo = (int)floorf(mid - reach), hi = (int)floorf(mid + reach);
        if (lo < 0) lo = 0;
        if (hi >= n) hi = n - 1;
        for (int b = lo; b <= hi; b++) {
            const float cover = f_clamp(e->half + .5f - fabsf((float)b + .5f - mid) * cosine, 0, f_clamp(2 * e->half, 0, 1));
            if (cover > 0) blend(c, v, e, steep ? b : a, steep ? a : b, cover);
        }
    }
}

tress_status tr_paint_hair(tr_plate *c, const tr_scene *s, const tr_hair *h, const tr_body_view *v,
                           const tr_light_grid *key, const tr_light_grid *sky, const tr_light_grid *view)
{
    tress_status st = TRESS_OK;
    uint32_t *order = NULL, *count = NULL;
    const int64_t n = h->n_segment;
    const float k = (float)c->n / 512;
    enum { BUCKETS = 1 << 14 };
    TR_TRY(tr_alloc_array((void **)&order, n, sizeof *order));
    TR_TRY(tr_alloc_array((void **)&count, BUCKETS + 1, sizeof *count));
    for (int pass = 0; pass < 2; pass++) {                      /* far to near: counting sort by depth */
        for (int64_t i = 0; i < n; i++) {
            const float z = .5f * (h->segment[i].a.z + h->segment[i].b.z);
            const int b = (int)f_clamp((z + 320) * (BUCKETS / 640.0f), 0, BUCKETS - 1);
            if (pass == 0) count[b + 1]++;
            else order[count[b]++] = (uint32_t)i;
        }
        if (pass == 0)
            for (int b = 0; b < BUCKETS; b++) count[b + 1] += count[b];
    }
    for (int64_t i = 0; i < n; i++) {
        const tr_segment *e = &h->segment[order[i]];
        piece q = { e->a.x * k, e->a.y * k, e->b.x * k, e->b.y * k, .5f * (e->a.z + e->b.z), { 0, 0, 0 }, .5f * e->width * k, e->alpha, e->lock };
        if ((q.x0 < -4 && q.x1 < -4) || (q.y0 < -4 && q.y1 < -4)) continue;
        if ((q.x0 > (float)c->n + 4 && q.x1 > (float)c->n + 4) || (q.y0 > (float)c->n + 4 && q.y1 > (float)c->n + 4)) continue;
        const int mx = (int)f_clamp(.5f * (q.x0 + q.x1), 0, (float)c->n - 1), my = (int)f_clamp(.5f * (q.y0 + q.y1), 0, (float)c->n - 1);
        if (q.z < v->depth[(int64_t)my * c->n + mx] - 12) continue;         /* well hidden: not worth shading */
        if (tr_light_grid_dark(view, v3(.5f * (e->a.x + e->b.x), .5f * (e->a.y + e->b.y), q.z)) > 7) continue;     /* e^-7 of it would show */
        q.colour = shade(s, e, key, sky);
        draw(c, v, &q);
    }
done:
    tr_free(order);
    tr_free(count);
    return st;
}
