#include "synth/paint.h"

#include "synth/dice.h"
#include "synth/noise.h"

/* Rooms out of focus: soft boxes and discs over a gradient. */
typedef struct thing { float x, y, w, h; bool disc; vec3 colour; } thing;
#define THINGS 9

static void furnish(thing out[THINGS], const tr_backdrop *b)
{
    dice d = dice_new(b->seed, 5);
    for (int i = 0; i < THINGS; i++) {
        thing t = { dice_range(&d, -40, 552), dice_range(&d, -40, 552), dice_range(&d, 24, 150), dice_range(&d, 24, 190), false, { 0, 0, 0 } };
        const float bright = dice_range(&d, .35f, 1.7f);
        t.disc = dice_chance(&d, .4f);
        t.colour = v_scale(v_lerp(b->a, b->b, dice_unit(&d)), bright);
        out[i] = t;
    }
}

static vec3 room(const thing *t, float blur, float x, float y, vec3 c)
{
    for (int i = 0; i < THINGS; i++) {
        const float dx = fabsf(x - t[i].x), dy = fabsf(y - t[i].y);
        const float dist = t[i].disc ? sqrtf(dx * dx + dy * dy) - .5f * t[i].w : fmaxf(dx - .5f * t[i].w, dy - .5f * t[i].h);
        c = v_lerp(c, t[i].colour, .8f * f_step(blur, -blur, dist));
    }
    return c;
}

void tr_paint_backdrop(tr_plate *c, const tr_scene *s)
{
    const tr_backdrop *b = &s->backdrop;
    const float step = 512.0f / (float)c->n, ca = cosf(b->angle), sa = sinf(b->angle);
    thing things[THINGS];
    furnish(things, b);
    for (int y = 0; y < c->n; y++)
        for (int x = 0; x < c->n; x++) {
            const float px = ((float)x + .5f) * step, py = ((float)y + .5f) * step;
            const float along = f_clamp(.5f + (ca * (px - 256) + sa * (py - 256)) / 620, 0, 1);
            vec3 k = v_lerp(b->a, b->b, along);
            if (b->kind >= 4 && b->kind <= 6) k = v_scale(v_lerp(b->a, b->b, tr_fractal2(px * .009f, py * .009f, 5, (uint32_t)b->seed)), .7f + .6f * along);
            if (b->kind >= 7 && b->kind <= 8) k = room(things, b->blur, px, py, k);
            if (b->kind == 9) k = b->a;
            const float vx = (px - 256) / 362, vy = (py - 256) / 362;
            c->colour[(int64_t)y * c->n + x] = v_scale(k, 1.05f - .28f * (vx * vx + vy * vy));
        }
}
