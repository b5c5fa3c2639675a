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
        tr_affine m = tr_affine_place(sketch->width, sketch->height, p->x, p->y, p->scale, p->rotate, p->flip);
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

static tress_status read_photo(tr_canvas *c, const tress_generate_args *a, const tr_canvas_rules *r)
{
    tress_status st = TRESS_OK;
    tr_planes matte = { 0 }, old = { 0 }, photo = { 0 }, part = { 0 }, soft = { 0 }, old_part = { 0 }, old_soft = { 0 };
    const tr_image *p = a->photo;
    const int side = p->width > p->height ? p->width : p->height;
    const double grow = a->edit_grow >= 0 ? a->edit_grow : ceil(24.0 * side / 1024);
    TR_TRY(same_size("matte", a->matte, p));
    if (a->old_matte) TR_TRY(same_size("old matte", a->old_matte, p));
    if (a->sketch && !a->place.on) TR_TRY(same_size("sketch", a->sketch, p));
    TR_TRY(tr_matte_read(&matte, a->matte, "the matte"));
    if (a->old_matte) TR_TRY(tr_matte_read(&old, a->old_matte, "the old matte"));
    TR_TRY(tr_edit_region(&c->region, matte, old, grow));
    tr_edit_box(c->box, c->region);
    TR_TRY(choose_size_of_box(c, a, r));
    TR_TRY(tr_composite_alpha(&c->alpha, matte, old, grow));

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
done:
    tr_planes_fini(&matte);
    tr_planes_fini(&old);
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
    tr_canvas c = { .photo = a->photo };
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
    tr_planes_fini(&c->region);
    tr_planes_fini(&c->alpha);
    memset(c, 0, sizeof *c);
}

tress_status tr_canvas_finish(tr_image **out, const tr_canvas *c, tr_planes drawn)
{
    tress_status st = TRESS_OK;
    tr_planes fit = { 0 };
    if (!c->photo) return tr_planes_image(out, drawn, 8);
    TR_TRY(tr_resize(&fit, drawn, c->box[2] - c->box[0], c->box[3] - c->box[1], TR_FILTER_LANCZOS));
    TR_TRY(tr_composite(out, c->photo, fit, c->box, c->alpha));
done:
    tr_planes_fini(&fit);
    return st;
}
