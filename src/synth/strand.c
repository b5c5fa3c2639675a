#include "synth/strand.h"

#include "synth/noise.h"

#include <string.h>

#define GUIDE_MAX 1400
#define STEP 5.5f                               /* canvas units between points of a path */

tress_status tr_hair_add_segment(tr_hair *h, tr_segment g)
{
    if (h->n_segment == h->max_segment) {
        const int64_t n = h->max_segment ? h->max_segment * 2 : 1 << 18;
        void *p = h->segment;
        const tress_status st = tr_realloc(&p, (size_t)h->max_segment * sizeof g, (size_t)n * sizeof g);
        if (st != TRESS_OK) return st;
        h->segment = p;
        h->max_segment = n;
    }
    h->segment[h->n_segment++] = g;
    return TRESS_OK;
}

tress_status tr_hair_add_guide(tr_hair *h, const tr_guide_path *g)
{
    if (h->n_guide == h->max_guide) {
        const int n = h->max_guide ? h->max_guide * 2 : 256;
        void *p = h->guide;
        const tress_status st = tr_realloc(&p, (size_t)h->max_guide * sizeof *g, (size_t)n * sizeof *g);
        if (st != TRESS_OK) return st;
        h->guide = p;
        h->max_guide = n;
    }
    h->guide[h->n_guide++] = *g;
    return TRESS_OK;
}

void tr_hair_fini(tr_hair *h)
{
    tr_free(h->guide);
    tr_free(h->tube);
    tr_free(h->segment);
    memset(h, 0, sizeof *h);
}

tr_lock_look tr_lock_look_roll(const tr_scene *s, dice *d)
{
    float k = dice_range(d, .72f, 1.28f);
    vec3 root = s->hair, tip = s->hair_tip;
    if (s->highlight > 0 && dice_chance(d, s->highlight)) {
        root = v_lerp(root, v3(.62f, .45f, .25f), .30f);
        tip = v_lerp(tip, v3(.72f, .56f, .34f), .45f);
        k = dice_range(d, 1, 1.3f);
    }
    const vec3 warm = v3(dice_range(d, .95f, 1.06f), 1, dice_range(d, .92f, 1.05f));
    return (tr_lock_look){ v_scale(v_mul(root, warm), k), v_scale(v_mul(tip, warm), k) };
}

/* Push p out to `clear` from the body and take the inward part from v. */
static void keep_clear(const tr_scene *s, vec3 *p, vec3 *v, float clear)
{
    const float dist = tr_body_distance(s, *p);
    if (dist >= clear) return;
    const vec3 n = tr_body_normal(s, *p);
    *p = v_axpy(*p, clear - dist, n);
    const float inward = v_dot(*v, n);
    if (inward < 0) *v = v_axpy(*v, -inward, n);
    if (p->y > s->centre.y + 130 * s->scale) v->x *= .72f;      /* hair rests on a shoulder, it does not slide off */
    *v = v_unit(*v);
}

void tr_path_fall(tr_guide_path *g, const tr_scene *s, vec3 p, vec3 dir, float length, float stiffness, float clear, dice *d)
{
    vec3 v = v_unit(dir);
    const int n = (int)f_clamp(length / STEP, 3, TR_GUIDE_POINTS - 1);
    const uint32_t seed = dice_u32(d);
    g->n = 0;
    for (int i = 0; i < n; i++) {
        g->p[g->n++] = p;
        const float t = (float)i / (float)n;
        const float pull = f_lerp(.05f, .30f, f_step(0, .5f * stiffness + .05f, t));
        const vec3 curl = v3(tr_noise3(v_scale(p, .025f), seed) - .5f, .3f * (tr_noise3(v_scale(p, .025f), seed + 1) - .5f),
                             tr_noise3(v_scale(p, .025f), seed + 2) - .5f);
        v = v_unit(v_axpy(v_axpy(v, pull, v3(0, 1, 0)), .05f, curl));
        p = v_axpy(p, STEP, v);
        keep_clear(s, &p, &v, clear);
    }
}

/* The comb's direction at a root (head model space): away from the parting in front, away from the crown behind. */
static vec3 comb(const tr_scene *s, vec3 m)
{
    const float front = f_step(-40, 55, m.z);
    const float side = m.x >= s->part ? 1.0f : -1.0f;
    const vec3 sweep = v3(side, f_lerp(.34f, -.16f, f_step(30, 75, m.z)), -.70f);
    const vec3 whorl = v_sub(m, v3(s->part * .3f, -112, -46));
    return v_unit(v_lerp(v_unit(whorl), v_unit(sweep), front));
}

static vec3 tangential(vec3 v, vec3 n) { return v_unit(v_axpy(v, -v_dot(v, n), n)); }

/* What keeps hair out of the face: a push to the side it was combed to. */
static vec3 aside(const tr_scene *s, vec3 p, float side)
{
    const vec3 m = v_scale(m_to_model(&s->head, v_sub(p, s->centre)), 1 / s->scale);
    const float in_front = f_step(5, 50, m.z) * f_step(-100, -62, m.y) * f_step(150, 90, m.y);
    const float inner = f_step(84, 30, m.x * side);
    return m_to_world(&s->head, v3(side * 1.1f * in_front * inner, -.10f * in_front * inner, -.35f * in_front * inner));
}

/* Loose hair: along the comb while it lies on the head, then down. */
static void grow_loose(tr_guide_path *g, const tr_scene *s, dice *d, vec3 root, vec3 normal, vec3 model, float length, float layer)
{
    const bool fringe = s->fringe > 0 && model.z > 52 && fabsf(model.x - s->part * .4f) < 52 && model.y > -104;
    vec3 v = m_to_world(&s->head, fringe ? v3((model.x) * .006f, .55f, 1) : comb(s, model));
    v = v_unit(v_axpy(tangential(v, normal), .22f * s->volume, normal));
    vec3 p = root;
    if (fringe) length = s->fringe * dice_range(d, .9f, 1.12f) * s->scale;
    const int n = (int)f_clamp(length / STEP, 4, TR_GUIDE_POINTS - 1);
    const float clear = (fringe ? 3 : 2.5f) + layer * 13 * s->volume;
    const uint32_t seed = dice_u32(d);
    const float gravity = (fringe ? .10f : .25f) * dice_range(d, .85f, 1.15f);
    const float side = model.x >= s->part ? 1.0f : -1.0f, front = f_step(10, 70, model.z);
    g->n = 0;
    for (int i = 0; i < n; i++) {
        g->p[g->n++] = p;
        const vec3 q = v_scale(p, .018f);
        const vec3 curl = v3(tr_noise3(q, seed) - .5f, 0, tr_noise3(q, seed + 1) - .5f);
        /* Common to neighbours, so that the whole falls in soft waves rather than in wires. */
        const vec3 drift = v3(tr_noise3(v_scale(p, .012f), (uint32_t)s->seed) - .5f, 0, 0);
        const float pull = gravity * (fringe ? 1 : f_lerp(f_lerp(1, .22f, front), 1, f_step(2, 11, (float)i)));
        v = v_unit(v_axpy(v_axpy(v_axpy(v, pull, v3(0, 1, 0)), .05f, curl), .13f, drift));
        if (!fringe) v = v_unit(v_add(v, aside(s, p, side)));
        p = v_axpy(p, STEP, v);
        keep_clear(s, &p, &v, clear * f_step(0, 5, (float)i + 1.5f));
        if (s->style == TR_STYLE_BOB && p.y > s->centre.y + (s->length - 62 + 6 * layer) * s->scale && !fringe) break;
    }
}

/* Gathered hair: over the skull to the tie. */
static void grow_to_tie(tr_guide_path *g, const tr_scene *s, vec3 root, vec3 tie, float layer)
{
    vec3 p = root, v = v_unit(v_sub(tie, root));
    g->n = 0;
    for (int i = 0; i < TR_GUIDE_POINTS - 1; i++) {
        g->p[g->n++] = p;
        const vec3 to = v_sub(tie, p);
        const float left = v_len(to);
        if (left < 7) break;
        const float dist = tr_body_distance(s, p);
        vec3 want = v_unit(to);
        if (dist < 26) want = v_unit(v_lerp(tangential(want, tr_body_normal(s, p)), want, f_step(60, 10, left)));
        /* Back over the skull rather than across the face, sagging a little on the way. */
        const vec3 m = m_to_model(&s->head, v_sub(p, s->centre));
        want = v_axpy(want, .10f * f_step(20, 90, left), v3(0, 1, 0));
        want = v_axpy(want, 1.2f * f_step(-20, 50, m.z / s->scale), m_to_world(&s->head, v3(0, -.25f, -1)));
        v = v_unit(v_lerp(v, want, .42f));
        p = v_axpy(p, STEP < left ? STEP : left, v);
        keep_clear(s, &p, &v, 1.5f + layer * 5 * s->volume);
    }
}

float tr_hair_lit(const tr_scene *s, vec3 p) { return f_clamp(tr_body_distance(s, v_axpy(p, 16, s->to_light)) * .09f + .55f, 0, 1); }

tress_status tr_hair_children(tr_hair *h, const tr_scene *s, dice *d, const tr_guide_path *g, const tr_children *c, vec3 *mean)
{
    if (g->n < 3) return TRESS_OK;
    tress_status st = TRESS_OK;
    vec3 e1[TR_GUIDE_POINTS], e2[TR_GUIDE_POINTS];
    float lit[TR_GUIDE_POINTS];
    vec3 prev = fabsf(v_sub(g->p[1], g->p[0]).x) < .7f * v_len(v_sub(g->p[1], g->p[0])) ? v3(1, 0, 0) : v3(0, 0, 1);
    for (int i = 0; i < g->n; i++) {                            /* a frame carried along without twist */
        const vec3 t = v_unit(v_sub(g->p[i + 1 < g->n ? i + 1 : i], g->p[i > 0 ? i - 1 : 0]));
        e1[i] = tangential(prev, t);
        e2[i] = v_cross(t, e1[i]);
        prev = e1[i];
        lit[i] = tr_hair_lit(s, g->p[i]);
    }
    const tr_lock_look look = tr_lock_look_roll(s, d);
    const float psi = dice_range(d, 0, 6.2831853f), omega = 6.2831853f / c->wave_length * dice_range(d, .88f, 1.14f);
    const float amp = c->wave * dice_range(d, .75f, 1.2f);
    for (int i = 0; mean && i < g->n; i++) {
        const float u = (float)i / (float)(g->n - 1), w = omega * STEP * (float)i + psi, a = amp * f_clamp(u * 3.2f, 0, 1);
        mean[i] = v_axpy(v_axpy(g->p[i], a * sinf(w), e1[i]), .55f * a * cosf(w), e2[i]);
    }
    for (int k = 0; k < c->n; k++) {
        const bool fly = dice_chance(d, s->flyaway);
        const float rho = sqrtf(dice_unit(d)), angle = dice_range(d, 0, 6.2831853f);
        const float ox = rho * cosf(angle), oy = rho * sinf(angle);
        const float keep = s->clump * (fly ? .2f : dice_range(d, .75f, 1.2f));
        const float phase = psi + .55f * dice_normal(d), pitch = omega * dice_range(d, .94f, 1.06f), a = amp * (fly ? 1.6f : dice_range(d, .8f, 1.15f));
        const int last = (int)((float)(g->n - 1) * (fly ? dice_range(d, .6f, 1) : dice_range(d, .86f, 1)));
        const float kb = dice_range(d, .84f, 1.18f);
        const float thin = c->width * dice_range(d, .85f, 1.2f);
        const float fx = c->frizz * dice_normal(d) * (fly ? 3.2f : 1), fy = c->frizz * dice_normal(d) * (fly ? 3.2f : 1);
        vec3 from = { 0, 0, 0 };
        for (int i = 0; i <= last; i++) {
            const float u = (float)i / (float)(g->n - 1);
            const float r = f_lerp(c->radius, c->tip_radius, f_step(0, 1, u * keep + u * .3f));
            const float rise = f_clamp(u * 3.2f, 0, 1), w = pitch * STEP * (float)i + phase;
            vec3 p = v_axpy(v_axpy(g->p[i], r * ox + a * rise * sinf(w) + fx * u * u * 8, e1[i]),
                            r * oy + .55f * a * rise * cosf(w) + fy * u * u * 8, e2[i]);
            if (i > 0) {
                const vec3 base = v_scale(v_lerp(look.root, look.tip, u), kb);
                const float taper = f_lerp(1, .45f, f_step(.75f, 1, (float)i / (float)(last > 0 ? last : 1)));
                TR_TRY(tr_hair_add_segment(h, (tr_segment){ from, p, base, thin * taper, c->alpha * taper, f_lerp(c->u0, c->u1, u), 1, lit[i], (int16_t)c->lock }));
            }
            from = p;
        }
    }
done:
    return st;
}

/* Short hairs along the comb close the gaps through which skin would shine. */
static tress_status grow_cap(tr_hair *h, const tr_scene *s, dice *d, bool gathered, const vec3 *tie, int n_tie)
{
    tress_status st = TRESS_OK;
    const int n = 1500;
    for (int i = 0; i < n; i++) {
        vec3 root, normal, model;
        const float ju = dice_range(d, -.4f, .4f), jv = dice_range(d, -.4f, .4f);
        if (!tr_body_root(s, i, n, ju, jv, &root, &normal, &model)) continue;
        const vec3 to = n_tie == 2 ? tie[model.x < s->part ? 0 : 1] : tie[0];
        vec3 v = gathered ? v_sub(to, root) : m_to_world(&s->head, comb(s, model));
        v = tangential(v, normal);
        tr_guide_path g = { .tube = -1 };
        vec3 p = v_axpy(root, 1.2f, normal);
        const float length = dice_range(d, 22, 44);
        for (int k = 0; (float)k * STEP < length; k++) {
            g.p[g.n++] = p;
            p = v_axpy(p, STEP, v);
            keep_clear(s, &p, &v, 2);
        }
        const tr_children c = { 7, -1, 4.5f, 3.5f, 0, 60, .12f, 1.35f, .7f, 0, .35f };
        TR_TRY(tr_hair_children(h, s, d, &g, &c, NULL));
    }
done:
    return st;
}

static tress_status grow_tail(tr_hair *h, const tr_scene *s, dice *d, vec3 tie)
{
    tress_status st = TRESS_OK;
    const vec3 out = tr_body_normal(s, tie);
    const bool bun = s->style == TR_STYLE_BUN;
    const vec3 across = v_unit(v_cross(out, v3(.2f, 1, .1f))), along = v_cross(out, across);
    const int n = bun ? 34 : 46;
    for (int i = 0; i < n; i++) {
        tr_guide_path g = { .tube = -1, .draw = i % 2 == 0 };
        const float a = dice_range(d, 0, 6.2831853f), r = sqrtf(dice_unit(d));
        if (bun) {                                              /* a coil, wound outward from the tie */
            const float turns = dice_range(d, 1.1f, 2.0f), start = a, rr = dice_range(d, .35f, 1) * 40 * s->scale;
            const float lift = dice_range(d, 4, 42) * s->scale, tilt = dice_range(d, -.5f, .5f);
            const int m = (int)(turns * 24);
            for (int k = 0; k < m && g.n < TR_GUIDE_POINTS; k++) {
                const float w = start + 6.2831853f * turns * (float)k / (float)m;
                const float dome = lift * (1.15f - .5f * rr / (40 * s->scale));
                vec3 p = v_axpy(v_axpy(tie, rr * cosf(w), across), rr * .92f * sinf(w), along);
                g.p[g.n++] = v_axpy(p, dome + tilt * rr * sinf(w + 1), out);
            }
        } else {
            const vec3 from = v_axpy(v_axpy(tie, 9 * r * cosf(a), across), 9 * r * sinf(a), along);
            const vec3 dir = v_axpy(v_axpy(v_scale(out, 1.1f), .55f * r * cosf(a), across), .55f * r * sinf(a) - .25f, along);
            tr_path_fall(&g, s, from, dir, (s->length * .95f) * dice_range(d, .85f, 1.1f) * s->scale, .35f, 3 + 10 * r, d);
        }
        TR_TRY(tr_hair_add_guide(h, &g));
        const tr_children c = { bun ? 50 : 64, (int)h->n_guide - 1, bun ? 4.6f : 5.5f, bun ? 4.2f : 6.5f, s->wave * (bun ? .15f : .8f), s->wave_length,
                                .12f, 1.3f, .72f, .25f, bun ? .7f : 1 };
        TR_TRY(tr_hair_children(h, s, d, &g, &c, h->guide[c.lock].p));
    }
done:
    return st;
}

tress_status tr_hair_grow(tr_hair *out, const tr_scene *s)
{
    tress_status st = TRESS_OK;
    tr_hair h = { 0 };
    dice d = dice_new(s->seed, 2);
    const bool plait = tr_style_is_plait(s->style), gathered = plait || s->style == TR_STYLE_PONYTAIL || s->style == TR_STYLE_BUN;
    vec3 tie[2] = { tr_body_world(s, s->tie), tr_body_world(s, s->tie) };
    if (s->plaits == 2) {
        const float x = s->tie.x > 0 ? s->tie.x : -s->tie.x;
        tie[0] = tr_body_world(s, v3(-(x > 30 ? x : 52), s->tie.y, s->tie.z));
        tie[1] = tr_body_world(s, v3(x > 30 ? x : 52, s->tie.y, s->tie.z));
    }
    for (int i = 0; i < 2; i++) {                               /* the tie sits on the hair, not in the skull */
        const float dist = tr_body_distance(s, tie[i]);
        tie[i] = v_axpy(tie[i], 9 * s->scale - dist, tr_body_normal(s, tie[i]));
    }
    const int n = gathered ? 1000 : 1150;
    TR_TRY(grow_cap(&h, s, &d, gathered, tie, s->plaits));
    for (int i = 0; i < n; i++) {
        vec3 root, normal, model;
        const float ju = dice_range(&d, -.35f, .35f), jv = dice_range(&d, -.35f, .35f), layer = dice_unit(&d);
        const float length = s->length * dice_range(&d, .86f, 1.08f) * s->scale;
        if (!tr_body_root(s, i, n, ju, jv, &root, &normal, &model)) continue;
        tr_guide_path g = { .tube = -1, .draw = true };
        const bool strand_out = gathered && s->fringe > 0 && model.z > 52;
        if (gathered && !strand_out) grow_to_tie(&g, s, root, tie[s->plaits == 2 && model.x >= s->part ? 1 : 0], layer);
        else grow_loose(&g, s, &d, root, normal, model, gathered ? s->fringe : length, layer);
        TR_TRY(tr_hair_add_guide(&h, &g));
        tr_children c = { gathered ? 22 : 28, (int)h.n_guide - 1, 6.5f, 8, gathered ? 0 : s->wave, s->wave_length, .10f, 1.3f, .72f, 0, gathered ? .45f : 1 };
        if (s->style == TR_STYLE_CURLY) { c.frizz = .22f; c.tip_radius = 7; }
        if (gathered) c.tip_radius = 6;
        TR_TRY(tr_hair_children(&h, s, &d, &g, &c, h.guide[c.lock].p));
    }
    if (s->style == TR_STYLE_PONYTAIL || s->style == TR_STYLE_BUN) TR_TRY(grow_tail(&h, s, &d, tie[0]));
    if (plait)
        for (int i = 0; i < s->plaits; i++) TR_TRY(tr_hair_plait(&h, s, &d, tie[i], s->plaits == 2 ? (i ? 1.0f : -1.0f) : s->tie.x >= 0 ? 1.0f : -1.0f));
    *out = h;
    memset(&h, 0, sizeof h);
done:
    tr_hair_fini(&h);
    return st;
}
