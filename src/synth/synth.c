#include "synth/synth.h"

#include "synth/paint.h"
#include "synth/stroke.h"

#include <stdio.h>
#include <string.h>

#define RELIEF 1.8f                             /* of lock against lock; at 2.5 hair looks like wire */

int tr_synth_style_count(void) { return TR_STYLE_N; }
const char *tr_synth_style_name(int style) { return tr_style_name((tr_style)style); }
bool tr_synth_style_is_plait(int style) { return tr_style_is_plait((tr_style)style); }

static float to_srgb(float x) { return x <= .0031308f ? 12.92f * x : 1.055f * powf(x, 1 / 2.4f) - .055f; }

/* A camera's shoulder: linear below, bending towards white. */
static float expose(float x) { return x < .6f ? x : .6f + .4f * (1 - expf(-(x - .6f) / .4f)); }

static void develop(tr_planes out, const tr_plate *c, const tr_scene *s, uint64_t stream)
{
    const int size = out.w, n = c->n;
    dice d = dice_new(s->seed, stream);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            const vec3 *p = c->colour + (int64_t)(2 * y) * n + 2 * x;
            const vec3 sum = v_scale(v_add(v_add(p[0], p[1]), v_add(p[n], p[n + 1])), .25f * s->exposure);
            const float grain = s->noise > 0 ? s->noise * dice_normal(&d) : 0;
            const float rgb[3] = { sum.x, sum.y, sum.z };
            for (int k = 0; k < 3; k++) tr_plane(out, k)[(int64_t)y * size + x] = f_clamp(to_srgb(expose(rgb[k])) + grain, 0, 1);
        }
}

static void halve(tr_planes out, const float *through, int n)
{
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++) {
            const float *p = through + (int64_t)(2 * y) * n + 2 * x;
            out.data[(int64_t)y * out.w + x] = 1 - .25f * (p[0] + p[1] + p[n] + p[n + 1]);
        }
}

/* The body's own shade at half resolution, spread to full: it is soft. */
static void trace_reach(float *reach, const tr_scene *s, const tr_body_view *v)
{
    const int n = v->n;
    const float step = 512.0f / (float)n;
    for (int y = 0; y < n; y += 2)
        for (int x = 0; x < n; x += 2) {
            float r = 1;
            for (int k = 0; k < 4; k++) {
                const int64_t i = (int64_t)(y + k / 2) * n + x + k % 2;
                if (v->depth[i] <= TR_NO_DEPTH) continue;
                const vec3 p = v3(((float)(x + k % 2) + .5f) * step, ((float)(y + k / 2) + .5f) * step, v->depth[i]);
                r = tr_body_reach(s, v_axpy(p, 2.5f, v->normal[i]), s->to_light);
                break;
            }
            for (int k = 0; k < 4; k++) reach[(int64_t)(y + k / 2) * n + x + k % 2] = r;
        }
}

tress_status tr_synth_draw(tr_synth_picture *out, uint64_t seed, int style, int size)
{
    if (size < 64 || size > 2048 || size % 2) return tr_fail(TRESS_E_ARG, "size %d, expected an even number from 64 to 2048", size);
    if (style < -1 || style >= TR_STYLE_N) return tr_fail(TRESS_E_ARG, "style %d, expected -1 to %d", style, TR_STYLE_N - 1);
    tress_status st = TRESS_OK;
    tr_synth_picture p = { 0 };
    tr_scene s;
    tr_body_view view = { 0 };
    tr_plate plate = { 0 };
    tr_hair hair = { 0 };
    tr_light_grid key = { 0 }, sky = { 0 }, front = { 0 };
    float *reach = NULL;
    const int n = 2 * size;
    tr_scene_make(&s, seed, style);
    TR_TRY(tr_planes_new(&p.photo, 3, size, size));
    TR_TRY(tr_planes_new(&p.bald, 3, size, size));
    TR_TRY(tr_planes_new(&p.matte, 1, size, size));
    TR_TRY(tr_plate_new(&plate, n));
    TR_TRY(tr_alloc_array((void **)&reach, (int64_t)n * n, sizeof *reach));
    TR_TRY(tr_body_trace(&view, &s, n));
    trace_reach(reach, &s, &view);
    TR_TRY(tr_hair_grow(&hair, &s));
    TR_TRY(tr_light_grid_make(&key, &hair, s.to_light));
    TR_TRY(tr_light_grid_make(&sky, &hair, v3(0, -.55f, .84f)));
    TR_TRY(tr_light_grid_make(&front, &hair, v3(0, 0, 1)));
    tr_paint_backdrop(&plate, &s);
    tr_paint_body(&plate, &s, &view, reach, NULL);
    develop(p.bald, &plate, &s, 7);                            /* the body is repainted over itself, the backdrop stays */
    tr_paint_body(&plate, &s, &view, reach, &key);
    TR_TRY(tr_paint_hair(&plate, &s, &hair, &view, &key, &sky, &front));
    TR_TRY(tr_paint_relief(&plate, RELIEF));
    develop(p.photo, &plate, &s, 7);
    halve(p.matte, plate.through, n);
    TR_TRY(tr_stroke_sketch(&p.sketch, &p.n_stroke, &s, &hair, &plate, &view, size));
    tr_scene_caption(p.caption, sizeof p.caption, &s);
    snprintf(p.style, sizeof p.style, "%s", tr_style_name(s.style));
    snprintf(p.colour, sizeof p.colour, "%s", tr_hair_colours[s.colour].word);
    memcpy(p.light, (float[3]){ s.to_light.x, s.to_light.y, s.to_light.z }, sizeof p.light);
    memcpy(p.hair, (float[3]){ to_srgb(s.hair.x), to_srgb(s.hair.y), to_srgb(s.hair.z) }, sizeof p.hair);
    *out = p;
    p = (tr_synth_picture){ 0 };
done:
    tr_synth_picture_fini(&p);
    tr_body_view_fini(&view);
    tr_plate_fini(&plate);
    tr_hair_fini(&hair);
    tr_light_grid_fini(&key);
    tr_light_grid_fini(&sky);
    tr_light_grid_fini(&front);
    tr_free(reach);
    return st;
}

void tr_synth_picture_fini(tr_synth_picture *p)
{
    tr_planes_fini(&p->photo);
    tr_planes_fini(&p->bald);
    tr_planes_fini(&p->matte);
    tr_planes_fini(&p->sketch);
    memset(p, 0, sizeof *p);
}
