/* plait.c - plaits as tubes that cross. Strand i of n runs at phase 2 pi i / n across (x) and in depth (z) of the centreline:
 * three strands and fishtail z = b sin 2w, rope z = b cos w, four flat z alternates, five flat z = b sin 4w. */
#include "synth/strand.h"

#include "synth/noise.h"

#define TWO_PI 6.2831853f
#define SAMPLES (TR_GUIDE_POINTS * 2)

static void weave(tr_style style, float w, float a, float b, float *x, float *z)
{
    switch (style) {
    case TR_STYLE_ROPE: *x = a * sinf(w); *z = b * cosf(w); break;
    case TR_STYLE_BRAID4: *x = a * sinf(w); *z = b * sinf(3 * w + .6f); break;
    case TR_STYLE_BRAID5: *x = a * sinf(w); *z = .8f * b * sinf(4 * w); break;
    default: *x = a * sinf(w); *z = b * sinf(2 * w); break;
    }
}

static int strand_count(tr_style style)
{
    switch (style) {
    case TR_STYLE_ROPE: return 2;
    case TR_STYLE_BRAID4: return 4;
    case TR_STYLE_BRAID5: case TR_STYLE_FISHTAIL: return 5;
    default: return 3;
    }
}

/* The point of the path at arc position t in 0..1 with its frame: tangent, across, out of the body. */
static void path_at(const tr_guide_path *g, const vec3 *out, float t, vec3 *p, vec3 *across, vec3 *outward)
{
    const float f = f_clamp(t, 0, 1) * (float)(g->n - 1);
    const int i = (int)f < g->n - 2 ? (int)f : g->n - 2;
    const vec3 tangent = v_unit(v_sub(g->p[i + 1], g->p[i]));
    const vec3 o = v_lerp(out[i], out[i + 1], f - (float)i);
    *p = v_lerp(g->p[i], g->p[i + 1], f - (float)i);
    *outward = v_unit(v_axpy(o, -v_dot(o, tangent), tangent));
    *across = v_cross(tangent, *outward);
}

static tress_status fill_tube(tr_hair *h, const tr_scene *s, dice *d, const tr_tube *t, const vec3 *across, const vec3 *outward, int lock)
{
    tress_status st = TRESS_OK;
    const int n_hair = 210;
    float lit[SAMPLES];
    for (int i = 0; i < t->n; i++) lit[i] = tr_hair_lit(s, t->p[i]);
    for (int part = 0; part < 3; part++) {                      /* locks of different tone lie side by side in a strand */
        const tr_lock_look look = tr_lock_look_roll(s, d);
        for (int k = 0; k < n_hair / 3; k++) {
            const bool fly = dice_chance(d, .5f * s->flyaway);
            const float rho = sqrtf(dice_unit(d)) * (fly ? 1.22f : 1), angle0 = dice_range(d, 0, TWO_PI) / 3 + TWO_PI * (float)part / 3;
            const float twist = dice_range(d, .02f, .05f), kb = dice_range(d, .84f, 1.18f), width = 1.3f * dice_range(d, .85f, 1.2f);
            const int first = dice_chance(d, .12f) ? dice_pick(d, t->n / 2) : 0;
            const int last = dice_chance(d, .15f) ? first + (t->n - first) * 3 / 4 : t->n;
            vec3 from = { 0, 0, 0 };
            for (int i = first; i < last; i++) {
                const float angle = angle0 + twist * (float)i, r = t->r[i] * rho;
                const float wob = fly ? 2.2f * (tr_noise3(v3((float)i * .16f, (float)k, 0), 21) - .5f) : 0;
                const vec3 p = v_axpy(v_axpy(t->p[i], r * cosf(angle) + wob, across[i]), r * sinf(angle) + wob, outward[i]);
                if (i > first) {
                    const float u = (float)i / (float)t->n;
                    /* how far out of the plait this piece lies: crossings are dark where a strand dives */
                    const float depth = v_dot(v_sub(p, t->p[i]), outward[i]) / (t->r[i] + 1e-6f);
                    const float rim = f_clamp(.55f + .45f * depth, .12f, 1);
                    TR_TRY(tr_hair_add_segment(h, (tr_segment){ from, p, v_scale(v_lerp(look.root, look.tip, u), kb), width, .78f, .3f + .6f * u, rim, lit[i], (int16_t)lock }));
                }
                from = p;
            }
        }
    }
done:
    return st;
}

tress_status tr_hair_plait(tr_hair *h, const tr_scene *s, dice *d, vec3 tie, float side)
{
    tress_status st = TRESS_OK;
    tr_guide_path spine = { .tube = -1, .draw = false };
    vec3 spine_out[TR_GUIDE_POINTS];
    const float a0 = s->plait_width * s->scale, length = dice_range(d, 150, 285) * s->scale;
    const vec3 normal = tr_body_normal(s, tie);
    const vec3 forward = s->plait_front ? m_to_world(&s->head, v3(side * .55f, .7f, .85f)) : v_add(v_scale(normal, .35f), v3(0, 1, 0));
    tr_path_fall(&spine, s, tie, forward, length, .5f, a0 * .62f, d);
    for (int i = 0; i < spine.n; i++) {
        const vec3 o = tr_body_normal(s, spine.p[i]);
        const vec3 view = v3(0, 0, 1);
        spine_out[i] = v_unit(v_lerp(o, view, .45f));           /* people lay a plait flat to where it is seen */
    }
    const int n = strand_count(s->style), n_sample = (int)f_clamp((float)spine.n * 1.9f, 24, SAMPLES);
    const float lambda = (n >= 4 ? 4.4f : n == 2 ? 3.4f : 3.3f) * a0 / s->plait_rate;
    const float whole = (float)(spine.n - 1) * 5.5f;
    for (int k = 0; k < n; k++) {
        if (h->n_tube == h->max_tube) {
            void *p = h->tube;
            TR_TRY(tr_realloc(&p, (size_t)h->max_tube * sizeof(tr_tube), (size_t)(h->max_tube + 8) * sizeof(tr_tube)));
            h->tube = p;
            h->max_tube += 8;
        }
        tr_tube *t = &h->tube[h->n_tube];
        vec3 across[SAMPLES], outward[SAMPLES];
        *t = (tr_tube){ .plait = side > 0 };
        for (int i = 0; i < n_sample; i++) {
            const float q = (float)i / (float)(n_sample - 1);
            vec3 c;
            float x, z;
            path_at(&spine, spine_out, q, &c, &across[i], &outward[i]);
            /* gathers at the tie, swells, thins to the end */
            const float taper = f_lerp(.62f, 1, f_step(0, .12f, q)) * f_lerp(1, .5f, f_step(.35f, 1, q));
            const float a = a0 * taper, w = TWO_PI * (q * whole / lambda) + TWO_PI * (float)k / (float)n;
            weave(s->style, w, a / 1.3f, .50f * a, &x, &z);
            t->r[i] = a * (n >= 4 ? .40f : n == 2 ? .62f : .54f);
            t->p[i] = v_axpy(v_axpy(c, x, across[i]), z, outward[i]);
            t->n = i + 1;
        }
        const int lock = 20000 + h->n_tube++;
        TR_TRY(fill_tube(h, s, d, t, across, outward, lock));
    }
    /* below the band a brush of loose ends */
    vec3 c, across, outward;
    path_at(&spine, spine_out, 1, &c, &across, &outward);
    const vec3 down = v_unit(v_sub(spine.p[spine.n - 1], spine.p[spine.n - 3]));
    for (int k = 0; k < 12; k++) {
        tr_guide_path g = { .tube = -1, .draw = k < 4 };
        const float x = dice_range(d, -1, 1), z = dice_range(d, -1, 1), r = a0 * .42f;
        tr_path_fall(&g, s, v_axpy(v_axpy(c, r * x, across), r * z, outward), v_axpy(down, .22f * x, across), dice_range(d, 34, 62) * s->scale, .6f, 3, d);
        TR_TRY(tr_hair_add_guide(h, &g));
        const tr_children ch = { 20, h->n_guide - 1, 3.2f, 2.2f, s->wave * .3f, s->wave_length, .18f, 1.25f, .72f, .8f, 1 };
        TR_TRY(tr_hair_children(h, s, d, &g, &ch, h->guide[ch.lock].p));
    }
done:
    return st;
}
