#include "synth/stroke.h"

#include "synth/crease.h"
#include "synth/noise.h"

#include <stdlib.h>
#include <string.h>

#define LINE_POINTS (TR_GUIDE_POINTS * 2)
enum { OUTLINE, CREASE, LOCK };                                /* what is drawn first */
typedef struct line { int n; float x[LINE_POINTS], y[LINE_POINTS], length, weight; int kind; } line;      /* canvas units */

typedef struct book { line *line; int n, max; } book;

static tress_status add_line(book *b, const line *l)
{
    if (b->n == b->max) {
        void *p = b->line;
        const int max = b->max ? 2 * b->max : 128;
        const tress_status st = tr_realloc(&p, (size_t)b->max * sizeof(line), (size_t)max * sizeof(line));
        if (st != TRESS_OK) return st;
        b->line = p;
        b->max = max;
    }
    b->line[b->n++] = *l;
    return TRESS_OK;
}

static bool pixel_of(const tr_plate *c, vec3 p, int64_t *i)
{
    const float k = (float)c->n / 512;
    const int x = (int)floorf(p.x * k), y = (int)floorf(p.y * k);
    if (x < 0 || y < 0 || x >= c->n || y >= c->n) return false;
    *i = (int64_t)y * c->n + x;
    return true;
}

/* Cut a path into its visible runs, bridging gaps a person would draw through. */
static tress_status add_runs(book *b, const vec3 *p, const bool *seen, int n, float min_length, int kind)
{
    tress_status st = TRESS_OK;
    line l = { .kind = kind };
    int gap = 0;
    for (int i = 0; i <= n; i++) {
        if (i < n && seen[i]) gap = 0;
        else gap++;
        if (i < n && gap <= 2 && (l.n > 0 || seen[i])) {
            if (l.n > 0) l.length += hypotf(p[i].x - l.x[l.n - 1], p[i].y - l.y[l.n - 1]);
            l.x[l.n] = p[i].x;
            l.y[l.n] = p[i].y;
            l.n++;
        }
        if ((gap > 2 || i == n) && l.n > 0) {
            l.weight = l.length;
            if (l.length >= min_length) TR_TRY(add_line(b, &l));
            l = (line){ .kind = kind };
        }
    }
done:
    return st;
}

static tress_status trace_locks(book *b, const tr_hair *h, const tr_plate *c, const tr_body_view *v)
{
    tress_status st = TRESS_OK;
    for (int g = 0; g < h->n_guide; g++) {
        const tr_guide_path *path = &h->guide[g];
        bool seen[TR_GUIDE_POINTS];
        if (!path->draw) continue;
        for (int i = 0; i < path->n; i++) {
            int64_t at;
            seen[i] = pixel_of(c, path->p[i], &at) && c->through[at] < .5f && path->p[i].z > c->front[at] - 24 && path->p[i].z > v->depth[at] - 2;
        }
        TR_TRY(add_runs(b, path->p, seen, path->n, 30, LOCK));
    }
done:
    return st;
}

/* The rim of a plait's strand, where the strand itself is front-most just inside of it. */
static tress_status trace_tubes(book *b, const tr_hair *h, const tr_plate *c)
{
    tress_status st = TRESS_OK;
    for (int k = 0; k < h->n_tube; k++) {
        const tr_tube *t = &h->tube[k];
        for (int side = -1; side <= 1; side += 2) {
            vec3 rim[LINE_POINTS];
            bool seen[LINE_POINTS];
            for (int i = 0; i < t->n; i++) {
                const vec3 d = v_sub(t->p[i + 1 < t->n ? i + 1 : i], t->p[i > 0 ? i - 1 : 0]);
                const float n = hypotf(d.x, d.y) + 1e-6f;
                const vec3 across = v3(-d.y / n, d.x / n, 0);
                int64_t at;
                rim[i] = v_axpy(t->p[i], .96f * (float)side * t->r[i], across);
                seen[i] = pixel_of(c, v_axpy(t->p[i], .70f * (float)side * t->r[i], across), &at) && c->lock[at] == 20000 + k;
            }
            TR_TRY(add_runs(b, rim, seen, t->n, 13, OUTLINE));
        }
    }
done:
    return st;
}

/* Lines one sees: long ones of strong contrast first. */
static tress_status trace_creases(book *b, const tr_scene *s, const tr_plate *c)
{
    tress_status st = TRESS_OK;
    tr_creases found = { 0 };
    TR_TRY(tr_creases_find(&found, c, s->exposure, 20000));
    for (int k = 0; k < found.n; k++) {
        const tr_crease *e = &found.crease[k];
        line l = { .n = e->n, .kind = CREASE };
        for (int i = 0; i < e->n; i++) {
            l.x[i] = e->x[i];
            l.y[i] = e->y[i];
            if (i > 0) l.length += hypotf(l.x[i] - l.x[i - 1], l.y[i] - l.y[i - 1]);
        }
        l.weight = e->clear * sqrtf(l.length);
        TR_TRY(add_line(b, &l));
    }
done:
    tr_creases_fini(&found);
    return st;
}

static int by_weight(const void *a, const void *b)
{
    const line *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;   /* a plait's outline first: it is what one sees */
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return x->x[0] < y->x[0] ? -1 : x->x[0] > y->x[0];
}

/* How a hand strays: slow drift, ends cut short. */
static void humanise(line *l, dice *d, float amount)
{
    const int cut0 = (int)((float)l->n * dice_range(d, 0, l->kind == LOCK ? .13f : .05f)), cut1 = (int)((float)l->n * dice_range(d, 0, l->kind == LOCK ? .13f : .05f));
    const uint32_t seed = dice_u32(d);
    int n = 0;
    float at = 0;
    for (int i = cut0; i < l->n - cut1; i++) {
        if (i > cut0) at += hypotf(l->x[i] - l->x[i - 1], l->y[i] - l->y[i - 1]);
        const float sx = i > 0 && i + 1 < l->n ? (l->x[i - 1] + 2 * l->x[i] + l->x[i + 1]) / 4 : l->x[i];
        const float sy = i > 0 && i + 1 < l->n ? (l->y[i - 1] + 2 * l->y[i] + l->y[i + 1]) / 4 : l->y[i];
        l->x[n] = sx + amount * (l->kind == CREASE ? 1.6f : 3.4f) * (tr_noise3(v3(at / 30, 0, 0), seed) - .5f);
        l->y[n] = sy + amount * (l->kind == CREASE ? 1.6f : 3.4f) * (tr_noise3(v3(at / 30, 7, 0), seed) - .5f);
        n++;
    }
    l->n = n;
}

static void stamp(tr_planes out, const line *l, float width, const float colour[3])
{
    const int size = out.w;
    const float k = (float)size / 512, r = .5f * width * k > .71f ? .5f * width * k : .71f;
    for (int i = 0; i + 1 < l->n; i++) {
        const float x0 = l->x[i] * k, y0 = l->y[i] * k, x1 = l->x[i + 1] * k, y1 = l->y[i + 1] * k, dx = x1 - x0, dy = y1 - y0;
        const float len2 = dx * dx + dy * dy + 1e-9f;
        const int xa = (int)floorf(fminf(x0, x1) - r), xb = (int)ceilf(fmaxf(x0, x1) + r), ya = (int)floorf(fminf(y0, y1) - r), yb = (int)ceilf(fmaxf(y0, y1) + r);
        for (int y = ya < 0 ? 0 : ya; y <= yb && y < size; y++)
            for (int x = xa < 0 ? 0 : xa; x <= xb && x < size; x++) {
                const float px = (float)x + .5f - x0, py = (float)y + .5f - y0, t = f_clamp((px * dx + py * dy) / len2, 0, 1);
                const float ex = px - t * dx, ey = py - t * dy;
                if (ex * ex + ey * ey > r * r) continue;
                for (int q = 0; q < 3; q++) tr_plane(out, q)[(int64_t)y * size + x] = colour[q];
            }
    }
}

/* Coarse map of where strokes are: 128 x 128 cells of 4 canvas units. */
#define CELLS 128
static bool crowded(const uint8_t *map, const line *l, float spacing)
{
    const int r = (int)(spacing / 4 + .5f);
    int hit = 0;
    for (int i = 0; i < l->n; i++) {
        const int cx = (int)(l->x[i] / 4), cy = (int)(l->y[i] / 4);
        bool near = false;
        for (int y = cy - r; y <= cy + r && !near; y++)
            for (int x = cx - r; x <= cx + r && !near; x++)
                near = x >= 0 && y >= 0 && x < CELLS && y < CELLS && map[y * CELLS + x];
        hit += near;
    }
    return (float)hit > .22f * (float)l->n;
}

static void occupy(uint8_t *map, const line *l)
{
    for (int i = 0; i < l->n; i++) {
        const int cx = (int)(l->x[i] / 4), cy = (int)(l->y[i] / 4);
        if (cx >= 0 && cy >= 0 && cx < CELLS && cy < CELLS) map[cy * CELLS + cx] = 1;
    }
}

/* A colour at least 40 levels from black in some channel and unlike the last few. */
static void roll_colour(dice *d, float colour[3])
{
    const float h = dice_range(d, 0, 6), v = dice_range(d, .55f, 1), sat = dice_range(d, .45f, 1);
    for (int q = 0; q < 3; q++) {
        const float k = fmodf(h + 2 * (float)q, 6), t = f_clamp(2 - fabsf(k - 3), 0, 1);
        colour[q] = v * (1 - sat * (1 - t));
    }
}

tress_status tr_stroke_sketch(tr_planes *out, int *n_stroke, const tr_scene *s, const tr_hair *h, const tr_plate *c, const tr_body_view *v, int size)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    book b = { 0 };
    uint8_t *map = NULL;
    int used = 0;
    dice d = dice_new(s->seed, 3);
    TR_TRY(tr_planes_new(&p, 3, size, size));
    TR_TRY(tr_alloc((void **)&map, CELLS * CELLS));
    TR_TRY(trace_tubes(&b, h, c));
    TR_TRY(trace_creases(&b, s, c));
    TR_TRY(trace_locks(&b, h, c, v));
    if (b.n > 0) qsort(b.line, (size_t)b.n, sizeof(line), by_weight);
    const float spacing = dice_range(&d, 7, 12.5f), amount = dice_range(&d, .5f, 1.2f), width = dice_range(&d, 3, 4.6f), drop = dice_range(&d, 0, .2f);
    float budget = .034f * 512 * 512 / width;                   /* stroke length that covers about 3.4 % of the picture */
    const float plenty = .5f * budget;                          /* locks without a line of their own: only where else little is drawn */
    for (int i = 0; i < b.n && budget > 0; i++) {
        line *l = &b.line[i];
        if (l->kind == LOCK && budget < plenty) break;
        float colour[3];
        if (crowded(map, l, l->kind == OUTLINE ? 2 : spacing) || (l->kind != OUTLINE && dice_chance(&d, drop))) continue;
        occupy(map, l);
        budget -= l->length;
        humanise(l, &d, amount);
        roll_colour(&d, colour);
        stamp(p, l, width, colour);
        used++;
    }
    *n_stroke = used;
    *out = p;
    p = (tr_planes){ 0 };
done:
    tr_planes_fini(&p);
    tr_free(b.line);
    tr_free(map);
    return st;
}
