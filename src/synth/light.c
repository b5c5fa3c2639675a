/* light.c - deep opacity: how much hair lies between a place and a light (after Yuksel and Keyser 2008, on a regular grid). */
#include "synth/paint.h"

#define GRID_XY 72
#define GRID_Z 56
#define HALF 300.0f                             /* the grid covers this far from the canvas centre, in canvas units */

static void to_grid(const tr_light_grid *g, vec3 world, float *x, float *y, float *z)
{
    const vec3 q = m_to_model(&g->axes, v_sub(world, v3(256, 256, -20)));
    *x = f_clamp((q.x + HALF) * (GRID_XY / (2 * HALF)) - .5f, 0, GRID_XY - 1.001f);
    *y = f_clamp((q.y + HALF) * (GRID_XY / (2 * HALF)) - .5f, 0, GRID_XY - 1.001f);
    *z = f_clamp((HALF - q.z) * (GRID_Z / (2 * HALF)) - .5f, 0, GRID_Z - 1.001f);        /* 0 is nearest to the light */
}

tress_status tr_light_grid_make(tr_light_grid *out, const tr_hair *h, vec3 towards)
{
    tr_light_grid g = { 0 };
    const vec3 z = v_unit(towards), x = v_unit(v_cross(v3(.03f, 1, .02f), z));
    g.axes = (mat3){ { x, v_cross(z, x), z } };
    const tress_status st = tr_alloc_array((void **)&g.dark, (int64_t)GRID_XY * GRID_XY * GRID_Z, sizeof(float));
    if (st != TRESS_OK) return st;
    const float cell = 2 * HALF / GRID_XY;
    for (int64_t i = 0; i < h->n_segment; i++) {
        const tr_segment *e = &h->segment[i];
        float fx, fy, fz;
        to_grid(&g, v_lerp(e->a, e->b, .5f), &fx, &fy, &fz);
        const float w = e->alpha * e->width * v_len(v_sub(e->b, e->a)) / (cell * cell);
        const int ix = (int)fx, iy = (int)fy, iz = (int)(fz + .5f);
        const float ax = fx - (float)ix, ay = fy - (float)iy;
        float *p = g.dark + ((int64_t)iz * GRID_XY + iy) * GRID_XY + ix;
        p[0] += w * (1 - ax) * (1 - ay);
        p[1] += w * ax * (1 - ay);
        p[GRID_XY] += w * (1 - ax) * ay;
        p[GRID_XY + 1] += w * ax * ay;
    }
    for (int64_t i = (int64_t)GRID_XY * GRID_XY; i < (int64_t)GRID_XY * GRID_XY * GRID_Z; i++) g.dark[i] += g.dark[i - GRID_XY * GRID_XY];
    *out = g;
    return TRESS_OK;
}

float tr_light_grid_dark(const tr_light_grid *g, vec3 world)
{
    float fx, fy, fz;
    to_grid(g, world, &fx, &fy, &fz);
    fz = f_clamp(fz - 1.2f, 0, GRID_Z - 1.001f);                /* a hair does not shade itself */
    const int ix = (int)fx, iy = (int)fy, iz = (int)fz;
    const float ax = fx - (float)ix, ay = fy - (float)iy, az = fz - (float)iz;
    float sum = 0;
    for (int k = 0; k < 2; k++) {
        const float *p = g->dark + ((int64_t)(iz + k) * GRID_XY + iy) * GRID_XY + ix;
        sum += (k ? az : 1 - az) * f_lerp(f_lerp(p[0], p[1], ax), f_lerp(p[GRID_XY], p[GRID_XY + 1], ax), ay);
    }
    return sum;
}

float tr_light_grid_reach(const tr_light_grid *g, vec3 world, float strength) { return expf(-strength * tr_light_grid_dark(g, world)); }

void tr_light_grid_fini(tr_light_grid *g) { tr_free(g->dark); g->dark = NULL; }

float tr_body_reach(const tr_scene *s, vec3 p, vec3 towards)
{
    float open = 1, t = 7;
    for (int i = 0; i < 9 && t < 190; i++) {                    /* the nearest miss, seen from p, tells how soft: Quilez */
        const float d = tr_body_distance(s, v_axpy(p, t, towards));
        const float k = .5f + 6.0f * d / t;
        if (k < open) open = k;
        if (open <= 0) return 0;
        t += f_clamp(d, 7, 40);
    }
    return f_step(0, 1, open);
}
