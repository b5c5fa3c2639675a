#include "generate/canvas.h"
#include "generate/dye.h"

#include <math.h>
#include <string.h>

/* ---- sizes ----------------------------------------------------------------------------------------------- */

static int rounded(double v, const tr_canvas_rules *r)
{
    const double n = floor(v / r->multiple + 0.5);
    return (n < 1 ? 1 : (int)n) * r->multiple;
}

/* Without a photo: --size, else the sketch's, else the model's own. */
static tress_status choose_size(tr_canvas *c, const tress_generate_args *a, const tr_canvas_rules *r)
{
    double w = r->side_own, h = r->side_own;
    if (a->width > 0) w = a->width, h = a->height;
    else if (a->sketch) w = a->sketch->width, h = a->sketch->height;
    if (w > r->side_max + r->multiple / 2 || h > r->side_max + r->multiple / 2)
        return tr_fail(TRESS_E_SHAPE, "--size %.0fx%.0f: this model draws at most %d pixels a side", w, h, r->side_max);
    c->width = rounded(w, r);
    c->height = rounded(h, r);
    return TRESS_OK;
}

/* With a photo: the box's shape, fitted into --size, else with the area of the model's own square. */
static tress_status choose_size_of_box(tr_canvas *c, const tress_generate_args *a, const tr_canvas_rules *r)
{
    const double w = c->box[2] - c->box[0], h = c->box[3] - c->box[1];
    double scale = r->side_own / sqrt(w * h);
    if (a->width > 0) scale = fmin(a->width / w, a->height / h);
    else scale = fmin(scale, r->side_max / fmax(w, h));
    if (w * scale > r->side_max + r->multiple / 2 || h * scale > r->side_max + r->multiple / 2)
        return tr_fail(TRESS_E_SHAPE, "--size %dx%d: this model draws at most %d pixels a side", a->width, a->height, r->side_max);
    c->width = rounded(w * scale, r);
    c->height = rounded(h * scale, r);
    return TRESS_OK;
}

/* ---- the sketch ------------------------------------------------------------------------------------------ */

/* The part of img in box, samples as they are. */
static tress_status crop(tr_image **out, const tr_image *img, const int box[4])
{
    tress_status st = TRESS_OK;
    tr_image *part = NULL;
    const size_t pixel = (size_t)img->channels * (size_t)(img->depth / 8);
    TR_TRY(tr_image_new(&part, box[2] - box[0], box[3] - box[1], img->channels, img->depth));
    for (int y = 0; y < part->height; y++)
        memcpy((char *)part->data + (size_t)y * (size_t)part->width * pixel,
               (const char *)img->data + ((size_t)(box[1] + y) * (size_t)img->width + (size_t)box[0]) * pixel, (size_t)part->width * pixel);
    *out = part;
    part = NULL;
done:
    tr_image_free(part);
    return st;
}

/* Median of one plane's border: the canvas colour. */
static float border_median(tr_planes p, int i)
{
    int count[256] = { 0 }, n = 0;
    const float *x = tr_plane(p, i);
    for (int y = 0; y < p.h; y++)
        for (int k = 0; k < p.w; k++) {
            if (y > 0 && y < p.h - 1 && k > 0 && k < p.w - 1) continue;
            const float v = x[(int64_t)y * p.w + k];
            count[v <= 0 ? 0 : v >= 1 ? 255 : (int)(v * 255 + 0.5f)]++;
            n++;
        }
    int seen = 0, level = 0;
    while (seen + count[level] <= n / 2) seen += count[level++];
    return (float)level / 255;
}

/* The sketch as RGBA on the box of the photo, at the photo's scale: its strokes as alpha, told from the whole sketch, because
 * the border of a part may be all hair. map reads the sketch from the box's pixels. */
static tress_status place_sketch(tr_image **out, const tr_image *sketch, tr_affine map, int width, int height, bool strokes_only)
{
    tress_status st = TRESS_OK;
    tr_strokes strokes = { 0 };
    tr_planes rgb = { 0 }, one = { 0 }, moved = { 0 }, all = { 0 };
    TR_TRY(tr_image_rgb(&rgb, sketch));
    TR_TRY(tr_planes_new(&all, 4, height, width));
    TR_TRY(tr_planes_new(&one, 1, sketch->height, sketch->width));
    if (strokes_only) TR_TRY(tr_strokes_read(&strokes, sketch));
    for (int i = 0; i < 4; i++) {
        const size_t n = sizeof(float) * (size_t)sketch->width * (size_t)sketch->height;
        const float ground = i < 3 ? border_median(rgb, i) : 0;
        if (i == 3 && !strokes_only) break;
        memcpy(one.data, i < 3 ? tr_plane(rgb, i) : strokes.mask.data, n);
        TR_TRY(tr_affine_apply(&moved, one, map, width, height, TR_FILTER_BILINEAR, ground));
        memcpy(tr_plane(all, i), moved.data, sizeof(float) * (size_t)width * (size_t)height);
        tr_planes_fini(&moved);
    }
    const int channels = strokes_only ? 4 : 3;
    TR_TRY(tr_image_new(out, width, height, channels, 8));
    uint8_t *to = (*out)->data;
    for (int64_t k = 0; k < (int64_t)width * height; k++)
        for (int i = 0; i < channels; i++) {
            const float v = tr_plane(all, i)[k];
            to[k * channels + i] = (uint8_t)lrintf(255 * (v < 0 ? 0 : v > 1 ? 1 : v));
        }
done:
    tr_strokes_fini(&strokes);
    tr_planes_fini(&rgb);
    tr_planes_fini(&one);
    tr_planes_fini(&moved);
    tr_planes_fini(&all);
    return st;
}

/* The share of the strokes that m, from photo to sketch pixels, lays into box, and the place of all of them on the photo. */
static tress_status land(double *share, double span[4], const tr_image *sketch, tr_affine m, const int box[4])
{
    tress_status st = TRESS_OK;
    tr_strokes strokes = { 0 };
    int64_t n = 0, n_in = 0;
    const double det = m.a * m.e - m.b * m.d;
    TR_TRY(tr_strokes_read(&strokes, sketch));
    span[0] = span[1] = INFINITY;
    span[2] = span[3] = -INFINITY;
    for (int j = 0; j < sketch->height; j++)
        for (int i = 0; i < sketch->width; i++) {
            if (!(strokes.mask.data[(int64_t)j * sketch->width + i] > 0)) continue;
            const double u = i + 0.5 - m.c, v = j + 0.5 - m.f, x = (m.e * u - m.b * v) / det, y = (m.a * v - m.d * u) / det;
            n++;
            n_in += x >= box[0] && x < box[2] && y >= box[1] && y < box[3];
            span[0] = fmin(span[0], x);
            span[1] = fmin(span[1], y);
            span[2] = fmax(span[2], x);
            span[3] = fmax(span[3], y);
        }
    *share = n ? (double)n_in / (double)n : 1;  /* a picture without strokes: RAW takes it as it is, others say so */
done:
    tr_strokes_fini(&strokes);
    return st;
}

static tr_affine map_of(const tress_generate_args *a)
{
    const tress_place *p = &a->place;
    return p->on ? tr_affine_place(a->sketch->width, a->sketch->height, p->x, p->y, p->scale, p->rotate, p->flip) : (tr_affine){ 1, 0, 0, 0, 1, 0 };
}

/* The strokes' colours, and where they are. */
static tress_status render_colours(tr_canvas *c, const tr_image *sketch)
{
    tress_status st = TRESS_OK;
    tr_planes lines = { 0 };
    TR_TRY(tr_sketch_render(&c->colour, sketch, c->width, c->height, TRESS_CONTROL_COLOUR));
    TR_TRY(tr_sketch_render(&lines, sketch, c->width, c->height, TRESS_CONTROL_LINES));
    TR_TRY(tr_planes_new(&c->stroke, 1, c->height, c->width));
    memcpy(c->stroke.data, lines.data, sizeof(float) * (size_t)c->height * (size_t)c->width);
done:
    tr_planes_fini(&lines);
    return st;
}

static tress_status render(tr_canvas *c, const tress_generate_args *a, bool control)
{
    tress_status st = TRESS_OK;
    tr_image *part = NULL;
    const tr_image *sketch = a->sketch;
    const bool strokes_only = a->control_image == TRESS_CONTROL_LINES || a->control_image == TRESS_CONTROL_COLOUR;
    const int *b = c->box, w = b[2] - b[0], h = b[3] - b[1];
    const bool whole = !c->photo || (b[0] == 0 && b[1] == 0 && b[2] == c->photo->width && b[3] == c->photo->height);
    const tress_place *p = &a->place;
    if (p->on) {
        tr_affine m = map_of(a);
        double span[4];
        TR_TRY(land(&c->landed, span, sketch, m, b));
        if (!(c->landed > 0))
            TR_TRY(tr_fail(TRESS_E_ARG, "--place %g,%g,%g,%g,%d lays the strokes over pixels %.0f to %.0f across and %.0f to %.0f down; drawn are %d to %d and %d to %d",
                           p->x, p->y, p->scale, p->rotate, p->flip, floor(span[0]), floor(span[2]), floor(span[1]), floor(span[3]), b[0], b[2], b[1], b[3]));
        m.c += m.a * b[0] + m.b * b[1];                             /* box pixels instead of photo pixels */
        m.f += m.d * b[0] + m.e * b[1];
        TR_TRY(place_sketch(&part, sketch, m, w, h, strokes_only));
    } else if (!whole && strokes_only) {
        TR_TRY(place_sketch(&part, sketch, (tr_affine){ 1, 0, b[0], 0, 1, b[1] }, w, h, true));
    } else if (!whole) {
        TR_TRY(crop(&part, sketch, b));
    }
    if (control) TR_TRY(tr_sketch_render(&c->control, part ? part : sketch, c->width, c->height, a->control_image));
    if (tr_dye_wanted(a)) TR_TRY(render_colours(c, part ? part : sketch));
done:
    tr_image_free(part);
    return st == TRESS_OK ? st : tr_note(st, "the sketch");
}

/* ---- the photo ------------------------------------------------------------------------------------------- */

static tress_status same_size(const char *what, const tr_image *img, const tr_image *photo)
{
    if (img->width == photo->width && img->height == photo->height) return TRESS_OK;
    return tr_fail(TRESS_E_SHAPE, "the %s is %d x %d, the photo %d x %d%s", what, img->width, img->height, photo->width, photo->height,
                   strcmp(what, "sketch") == 0 ? "; --place puts a sketch of another size on the photo" : "");
}

/* The matte on the photo. */
static tress_status read_matte(tr_planes *out, const tress_generate_args *a)
{
    tress_status st = TRESS_OK;
    tr_planes m = { 0 };
    const tr_image *photo = a->photo, *sketch = a->sketch;
    const bool moves = a->place.on && a->matte->width == sketch->width && a->matte->height == sketch->height;
    if (a->place.on && !moves && (a->matte->width != photo->width || a->matte->height != photo->height))
        return tr_fail(TRESS_E_SHAPE, "the matte is %d x %d; with --place it is as large as the sketch, %d x %d, or as the photo, %d x %d", a->matte->width,
                       a->matte->height, sketch->width, sketch->height, photo->width, photo->height);
    if (!moves) TR_TRY(same_size("matte", a->matte, photo));
    TR_TRY(tr_matte_read(&m, a->matte, "the matte"));
    if (!moves) {
        *out = m;
        return TRESS_OK;
    }
    TR_TRY(tr_affine_apply(out, m, map_of(a), photo->width, photo->height, TR_FILTER_BILINEAR, 0));
    float most = 0;
    for (int64_t i = 0; i < (int64_t)photo->width * photo->height; i++) most = fmaxf(most, out->data[i]);
    if (most <= 0) {
        const tress_place *p = &a->place;
        tr_planes_fini(out);
        TR_TRY(tr_fail(TRESS_E_ARG, "--place %g,%g,%g,%g,%d lays the matte outside the photo of %d x %d", p->x, p->y, p->scale, p->rotate, p->flip, photo->width, photo->height));
    }
done:
    tr_planes_fini(&m);
    return st;
}

static tress_status read_photo(tr_canvas *c, const tress_generate_args *a, const tr_canvas_rules *r)
{
    tress_status st = TRESS_OK;
    tr_planes matte = { 0 }, old = { 0 }, region = { 0 }, photo = { 0 }, part = { 0 }, soft = { 0 }, old_part = { 0 }, old_soft = { 0 },
              filled = { 0 };
    const tr_image *p = a->photo;
    const double grow = tr_edit_radius(p->width, p->height, a->edit_grow);
    if (a->old_matte) TR_TRY(same_size("old matte", a->old_matte, p));
    if (a->sketch && !a->place.on) TR_TRY(same_size("sketch", a->sketch, p));
    TR_TRY(read_matte(&matte, a));
    if (a->old_matte) TR_TRY(tr_matte_read(&old, a->old_matte, "the old matte"));
    TR_TRY(tr_edit_region(&region, matte, old, grow));
    tr_edit_box(c->box, region);
    TR_TRY(choose_size_of_box(c, a, r));
    TR_TRY(tr_composite_alpha(&c->alpha, matte, old, grow));
    while (1 << c->octaves < grow) c->octaves++;

    const double box[4] = { c->box[0], c->box[1], c->box[2], c->box[3] };
    TR_TRY(tr_image_rgb(&photo, p));
    TR_TRY(tr_resize_box(&c->rgb, photo, box, c->width, c->height, TR_FILTER_LANCZOS));
    TR_TRY(tr_resize_box(&part, matte, box, c->width, c->height, TR_FILTER_BILINEAR));
    TR_TRY(tr_matte_soft(&c->hair, part));
    TR_TRY(tr_planes_new(&soft, 1, part.h, part.w));
    memcpy(soft.data, c->hair.data, sizeof(float) * (size_t)part.h * (size_t)part.w);
    if (old.data) {
        TR_TRY(tr_resize_box(&old_part, old, box, c->width, c->height, TR_FILTER_BILINEAR));
        TR_TRY(tr_matte_soft(&old_soft, old_part));
        for (int64_t i = 0; i < (int64_t)soft.h * soft.w; i++) soft.data[i] = fmaxf(soft.data[i], old_soft.data[i]);
    }
    TR_TRY(tr_area_reduce(&c->mask, soft, r->cell));
    TR_TRY(tr_area_reduce(&c->soft, c->hair, r->multiple));
    TR_TRY(tr_region_cells(&c->edited, region, c->box, c->width / r->multiple, c->height / r->multiple));
    if (r->needs_reference) {                   /* filled before it is scaled: the filter would carry the region over its border */
        TR_TRY(tr_fill(&filled, photo, region));
        TR_TRY(tr_resize_box(&c->reference, filled, box, c->width, c->height, TR_FILTER_LANCZOS));
        tr_planes_fini(&region);
        tr_planes_fini(&filled);
        TR_TRY(tr_edit_region(&region, matte, old, 0));
        TR_TRY(tr_fill(&filled, photo, region));
        TR_TRY(tr_resize_box(&c->held, filled, box, c->width, c->height, TR_FILTER_LANCZOS));
    }
done:
    tr_planes_fini(&filled);
    tr_planes_fini(&matte);
    tr_planes_fini(&old);
    tr_planes_fini(&region);
    tr_planes_fini(&photo);
    tr_planes_fini(&part);
    tr_planes_fini(&soft);
    tr_planes_fini(&old_part);
    tr_planes_fini(&old_soft);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static tress_status check(const tress_generate_args *a, const tr_canvas_rules *r)
{
    const tress_place *p = &a->place;
    if (!a->photo != !a->matte)
        return tr_fail(TRESS_E_ARG, "--%s needs --%s: the matte says which part of the photo is hair", a->photo ? "photo" : "matte", a->photo ? "matte" : "photo");
    if (!a->photo && a->old_matte) return tr_fail(TRESS_E_ARG, "--old-matte needs --photo");
    if (!a->photo && a->overlay) return tr_fail(TRESS_E_ARG, "an overlay needs --photo: it shows the sketch on it");
    if (!a->photo && a->inpaint) return tr_fail(TRESS_E_ARG, "--inpaint needs --photo");
    if (!a->photo && p->on) return tr_fail(TRESS_E_ARG, "--place needs --photo: it names a pixel of it");
    if (tr_dye_wanted(a) && (!a->photo || !a->sketch))
        return tr_fail(TRESS_E_ARG, "--colour-start, --colour-guide and --colour-reference need --sketch, whose colours they take, and --photo with its matte, where they go");
    if (p->on && !a->sketch) return tr_fail(TRESS_E_ARG, "--place needs --sketch");
    if (p->on && !(p->scale >= 1e-3 && p->scale <= 1e3 && fabs(p->x) <= 1e6 && fabs(p->y) <= 1e6 && fabs(p->rotate) <= 1e6))
        return tr_fail(TRESS_E_ARG, "--place %g,%g,%g,%g: the scale must lie between 0.001 and 1000", p->x, p->y, p->scale, p->rotate);
    if ((a->width > 0) != (a->height > 0) || a->width < 0 || a->height < 0)
        return tr_fail(TRESS_E_ARG, "--size %dx%d: both sides must be given, in pixels", a->width, a->height);
    if (r->needs_sketch && !a->sketch)
        return tr_fail(TRESS_E_ARG, "--sketch is missing: the ControlNet reads it (--control-strength 0 draws without)");
    return TRESS_OK;
}

tress_status tr_canvas_make(tr_canvas *out, const tress_generate_args *a, const tr_canvas_rules *r)
{
    tress_status st = TRESS_OK;
    tr_canvas c = { .photo = a->photo, .blend = a->blend, .landed = 1 };
    TR_TRY(check(a, r));
    if (a->photo) TR_TRY(read_photo(&c, a, r));
    else TR_TRY(choose_size(&c, a, r));
    if (a->sketch && (r->needs_sketch || tr_dye_wanted(a))) TR_TRY(render(&c, a, r->needs_sketch));
    *out = c;
    memset(&c, 0, sizeof c);
done:
    tr_canvas_fini(&c);
    return st;
}

void tr_canvas_fini(tr_canvas *c)
{
    tr_planes_fini(&c->control);
    tr_planes_fini(&c->colour);
    tr_planes_fini(&c->stroke);
    tr_planes_fini(&c->rgb);
    tr_planes_fini(&c->mask);
    tr_planes_fini(&c->hair);
    tr_planes_fini(&c->held);
    tr_planes_fini(&c->reference);
    tr_planes_fini(&c->edited);
    tr_planes_fini(&c->soft);
    tr_planes_fini(&c->alpha);
    memset(c, 0, sizeof *c);
}

tress_status tr_canvas_overlay(tr_image **out, const tress_generate_args *a)
{
    tress_status st = TRESS_OK;
    tr_planes rgb = { 0 }, matte = { 0 }, strokes = { 0 };
    tr_image *placed = NULL;
    TR_ASSERT(a->photo && a->matte);
    TR_TRY(tr_image_rgb(&rgb, a->photo));
    TR_TRY(read_matte(&matte, a));
    if (a->sketch) {
        TR_TRY(place_sketch(&placed, a->sketch, map_of(a), rgb.w, rgb.h, true));
        TR_TRY(tr_image_alpha(&strokes, placed));
    }
    TR_TRY(tr_overlay(rgb, matte, strokes));
    TR_TRY(tr_planes_image(out, rgb, 8));
done:
    tr_planes_fini(&rgb);
    tr_planes_fini(&matte);
    tr_planes_fini(&strokes);
    tr_image_free(placed);
    return st;
}

/* The part of planes in box. */
static tress_status part_of(tr_planes *out, tr_planes from, const int b[4])
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_planes_new(out, from.c, b[3] - b[1], b[2] - b[0]));
    for (int c = 0; c < from.c; c++)
        for (int y = 0; y < out->h; y++)
            memcpy(tr_plane(*out, c) + (int64_t)y * out->w, tr_plane(from, c) + (int64_t)(b[1] + y) * from.w + b[0], sizeof(float) * (size_t)out->w);
done:
    return st;
}

tress_status tr_canvas_finish(tr_image **out, const tr_canvas *c, tr_planes drawn)
{
    tress_status st = TRESS_OK;
    tr_planes fit = { 0 }, photo = { 0 }, part = { 0 }, weight = { 0 };
    const int *b = c->box;
    if (!c->photo) return tr_planes_image(out, drawn, 8);
    TR_TRY(tr_resize(&fit, drawn, b[2] - b[0], b[3] - b[1], TR_FILTER_LANCZOS));
    if (c->blend == TRESS_BLEND_BANDS) {
        TR_TRY(tr_image_rgb(&photo, c->photo));
        TR_TRY(part_of(&part, photo, b));
        TR_TRY(part_of(&weight, c->alpha, b));
        TR_TRY(tr_join_bands(fit, part, weight, c->octaves));
    }
    TR_TRY(tr_composite(out, c->photo, fit, b, c->alpha));
done:
    tr_planes_fini(&fit);
    tr_planes_fini(&photo);
    tr_planes_fini(&part);
    tr_planes_fini(&weight);
    return st;
}
