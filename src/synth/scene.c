#include "synth/scene.h"

#include "synth/dice.h"

#include <stdio.h>

#define RAD 0.017453293f

/* Linear RGB. The named natural tones go from almost black to nearly white; the last are dyes. */
const tr_hair_colour tr_hair_colours[] = {
    { "black",       { .016f, .012f, .011f } }, { "dark brown",  { .050f, .028f, .017f } }, { "brown",    { .125f, .064f, .032f } },
    { "auburn",      { .185f, .062f, .027f } }, { "red",         { .340f, .085f, .030f } }, { "blonde",   { .560f, .400f, .195f } },
    { "dark blonde", { .330f, .210f, .102f } }, { "platinum blonde", { .760f, .690f, .560f } }, { "grey", { .420f, .415f, .405f } },
    { "pink",        { .620f, .130f, .260f } }, { "blue",        { .045f, .110f, .400f } }, { "purple",   { .190f, .050f, .330f } },
    { "green",       { .050f, .240f, .090f } },
};
const int tr_hair_colour_count = (int)(sizeof tr_hair_colours / sizeof *tr_hair_colours);
#define N_NATURAL 9

const char *tr_style_name(tr_style s)
{
    static const char *const name[TR_STYLE_N] = { "straight", "wavy", "curly", "bob", "ponytail", "bun", "three-strand braid",
                                                  "rope braid", "fishtail braid", "four-strand braid", "five-strand braid" };
    return name[s];
}

bool tr_style_is_plait(tr_style s) { return s >= TR_STYLE_BRAID; }

static vec3 rgb(const float c[3]) { return v3(c[0], c[1], c[2]); }

/* A black body's colour, roughly: Planck's curve by two straight lines, green at 1. */
static vec3 temperature(float kelvin)
{
    const float t = f_clamp((kelvin - 3000) / 6000, 0, 1);
    return v3(f_lerp(1.45f, .86f, t), 1, f_lerp(.48f, 1.28f, t));
}

static void roll_view(tr_scene *s, dice *d, bool want_back)
{
    s->back = want_back;
    s->yaw = (want_back ? dice_range(d, 150, 210) : dice_range(d, -38, 38)) * RAD;
    const float pitch = dice_range(d, -9, 9) * RAD, roll = dice_range(d, -7, 7) * RAD;
    s->head = m_turn(s->yaw, pitch, roll);
    s->body = m_turn((want_back ? 180 * RAD : 0) + (s->yaw - (want_back ? 180 * RAD : 0)) * .45f, 0, 0);
    s->scale = dice_range(d, .88f, 1.2f);
    s->centre = v3(256 + dice_range(d, -26, 26), 218 + dice_range(d, -18, 22), 0);
}

static void roll_light(tr_scene *s, dice *d)
{
    const float azimuth = dice_range(d, -75, 75) * RAD, elevation = dice_range(d, 12, 62) * RAD;
    s->to_light = v3(sinf(azimuth) * cosf(elevation), -sinf(elevation), cosf(azimuth) * cosf(elevation));
    s->key = v_scale(temperature(dice_range(d, 3200, 8500)), dice_range(d, .85f, 1.5f));
    /* The room lights the person: ambient takes the backdrop's tint, which is what Reference Attention has to read. */
    const vec3 mean = v_lerp(s->backdrop.a, s->backdrop.b, .5f);
    const float luma = .2126f * mean.x + .7152f * mean.y + .0722f * mean.z;
    const vec3 tint = v_lerp(v3(1, 1, 1), v_scale(mean, 1 / (luma + .05f)), .55f);
    s->ambient = v_scale(tint, dice_range(d, .22f, .5f));
    s->rim = dice_chance(d, .3f) ? dice_range(d, .3f, .9f) : 0;
}

static vec3 muted(dice *d, float dark, float light)
{
    const float l = dice_range(d, dark, light), h = dice_range(d, 0, 6.2831853f), c = dice_range(d, 0, .55f);
    return v3(l * (1 + c * cosf(h)), l * (1 + c * cosf(h - 2.094f)), l * (1 + c * cosf(h + 2.094f)));
}

static void roll_person(tr_scene *s, dice *d)
{
    const float melanin = powf(dice_unit(d), 1.3f);
    s->skin = v_lerp(v3(.80f, .53f, .42f), v3(.115f, .055f, .034f), melanin);
    s->skin = v_mul(s->skin, v3(1, dice_range(d, .93f, 1.06f), dice_range(d, .90f, 1.10f)));
    s->lips = v_lerp(v_mul(s->skin, v3(.85f, .42f, .42f)), v3(.45f, .05f, .07f), dice_chance(d, .35f) ? dice_range(d, .3f, .9f) : 0);
    static const float iris[4][3] = { { .05f, .025f, .012f }, { .10f, .20f, .34f }, { .08f, .17f, .08f }, { .16f, .09f, .03f } };
    s->iris = rgb(iris[dice_pick(d, 4)]);
    s->cloth_a = muted(d, .02f, .7f);
    s->cloth_b = muted(d, .02f, .7f);
    s->cloth_pattern = dice_pick(d, 4) % 3;
    s->neckline = dice_range(d, 150, 196);
    s->head_width = dice_range(d, .93f, 1.06f);
    s->jaw_width = dice_range(d, .86f, 1.12f);
    s->nose = dice_range(d, .8f, 1.2f);
    s->lip = dice_range(d, .8f, 1.25f);
    s->eye = dice_range(d, .9f, 1.12f);
    s->brow = dice_range(d, .6f, 1.3f);
    s->freckle = dice_chance(d, .2f) ? dice_range(d, .2f, .7f) : 0;
}

static void roll_hair(tr_scene *s, dice *d)
{
    s->colour = dice_chance(d, .84f) ? dice_pick(d, N_NATURAL) : N_NATURAL + dice_pick(d, tr_hair_colour_count - N_NATURAL);
    s->hair = v_scale(rgb(tr_hair_colours[s->colour].rgb), dice_range(d, .85f, 1.15f));
    s->hair_tip = s->hair;
    if (dice_chance(d, .15f)) s->hair_tip = v_lerp(s->hair, v3(.62f, .46f, .26f), dice_range(d, .3f, .6f));
    s->highlight = dice_chance(d, .2f) ? dice_range(d, .08f, .2f) : 0;
    s->part = dice_range(d, -.5f, .5f) * 80;
    s->fringe = dice_chance(d, .25f) ? dice_range(d, 52, 76) : 0;
    s->volume = dice_range(d, .6f, 1.6f);
    s->clump = dice_range(d, .25f, .7f);
    s->flyaway = dice_range(d, .02f, .07f);
    s->gloss = dice_range(d, .7f, 1.3f);
    s->length = dice_range(d, 250, 430);
    s->wave = dice_range(d, 0, 1.6f);
    s->wave_length = dice_range(d, 80, 140);
    if (s->style == TR_STYLE_WAVY) { s->wave = dice_range(d, 6, 12); s->wave_length = dice_range(d, 62, 120); }
    if (s->style == TR_STYLE_CURLY) { s->wave = dice_range(d, 9, 16); s->wave_length = dice_range(d, 40, 72); s->volume *= 1.5f; }
    if (s->style == TR_STYLE_BOB) { s->length = dice_range(d, 150, 200); s->wave = dice_range(d, 0, 4); s->wave_length = dice_range(d, 70, 110); }
    s->plaits = tr_style_is_plait(s->style) && dice_chance(d, s->back ? .3f : .45f) ? 2 : 1;
    s->plait_width = dice_range(d, 15, 24) * (s->plaits == 2 ? .82f : 1);
    s->plait_rate = dice_range(d, .85f, 1.35f);
    s->plait_front = !s->back || dice_chance(d, .15f);
    const float side = dice_chance(d, .5f) ? 1 : -1;
    const float low = dice_range(d, .2f, .75f);
    switch (s->style) {
    case TR_STYLE_PONYTAIL: s->tie = v3(side * dice_range(d, 0, 30), f_lerp(-70, 20, dice_unit(d)), -105); break;
    case TR_STYLE_BUN: s->tie = v3(side * dice_range(d, 0, 14), dice_range(d, -104, -62), s->back ? -78 : dice_range(d, -48, -8)); break;
    default: s->tie = s->plait_front ? v3(side * 62, 38 + 26 * low, -52) : v3(side * dice_range(d, 0, 10), 10 + 40 * low, -96); break;
    }
}

void tr_scene_make(tr_scene *out, uint64_t seed, int style)
{
    dice d = dice_new(seed, 1);
    tr_scene s = { .seed = seed };
    static const unsigned char share[TR_STYLE_N] = { 20, 22, 14, 10, 7, 6, 8, 3, 4, 3, 3 };      /* of 100 */
    int roll = dice_pick(&d, 100);
    int any = 0;
    while (roll >= share[any]) roll -= share[any++];
    s.style = (tr_style)(style >= 0 ? style : any);
    const bool gathered = s.style == TR_STYLE_PONYTAIL || s.style == TR_STYLE_BUN || tr_style_is_plait(s.style);
    s.backdrop = (tr_backdrop){ dice_pick(&d, 10), muted(&d, .03f, .8f), muted(&d, .03f, .8f), dice_range(&d, 0, 6.2831853f),
                                ((uint64_t)dice_u32(&d) << 32) | 1, dice_range(&d, 6, 20) };
    if (dice_chance(&d, .45f)) s.backdrop.b = v_lerp(s.backdrop.a, s.backdrop.b, .3f);
    const bool back = dice_chance(&d, gathered ? .5f : .13f);
    roll_view(&s, &d, back);
    roll_light(&s, &d);
    roll_person(&s, &d);
    roll_hair(&s, &d);
    s.exposure = dice_range(&d, .85f, 1.2f);
    s.noise = dice_range(&d, 0, .008f);
    s.blur = dice_chance(&d, .3f) ? dice_range(&d, 0, .6f) : 0;
    *out = s;
}

void tr_scene_caption(char *buf, size_t n, const tr_scene *s)
{
    const char *colour = tr_hair_colours[s->colour].word;
    switch (s->style) {
    case TR_STYLE_STRAIGHT: case TR_STYLE_WAVY: case TR_STYLE_CURLY:
        snprintf(buf, n, "%s %s %s hair%s", s->length > 320 ? "long" : "shoulder length", tr_style_name(s->style), colour, s->fringe > 0 ? " with a fringe" : "");
        break;
    case TR_STYLE_BOB: case TR_STYLE_PONYTAIL: case TR_STYLE_BUN:
        snprintf(buf, n, "%s hair, %s", colour, tr_style_name(s->style));
        break;
    default:
        snprintf(buf, n, "%s hair, %s%s", colour, s->plaits == 2 ? "two plaits, " : "", tr_style_name(s->style));
    }
}
