#include "data/prepare_int.h"

#include <math.h>

/* ---- what may be asked for ------------------------------------------------------------------------------- */

#define RESOLUTION_MAX 8192

bool tr_augment_is_on(const tr_augment *a) { return a->flip || a->rotate > 0 || a->translate > 0 || a->scale > 0 || a->stroke_width > 0; }

static tress_status check_real(const char *option, double v, double max)
{
    return v >= 0 && v <= max ? TRESS_OK : tr_fail(TRESS_E_ARG, "%s %g, it must lie between 0 and %g", option, v, max);
}

tress_status tr_prepare_check(const tr_prepare_spec *s)
{
    tress_status st = TRESS_OK;
    TR_ASSERT(s->multiple > 0 && s->cell > 0 && s->multiple % s->cell == 0);
    const int least = 4 * s->multiple, most = s->side_max < RESOLUTION_MAX ? s->side_max : RESOLUTION_MAX;
    if (s->resolution < least || s->resolution > most)
        TR_TRY(tr_fail(TRESS_E_ARG, "--resolution %d, it must lie between %d and %d for this model", s->resolution, least, most));
    TR_TRY(check_real("--mask-grow", s->mask_grow, 256));
    TR_TRY(check_real("--mask-blur", s->mask_blur, 256));
    TR_TRY(check_real("--augment-rotate", s->augment.rotate, 45));
    TR_TRY(check_real("--augment-translate", s->augment.translate, 0.5));
    TR_TRY(check_real("--augment-scale", s->augment.scale, 1));
    TR_TRY(check_real("--augment-stroke-width", s->augment.stroke_width, 16));
    if (s->augment.stroke_width > 0 && s->control_image == TRESS_CONTROL_RAW)
        TR_TRY(tr_fail(TRESS_E_ARG, "--augment-stroke-width needs strokes, which --control-image raw does not tell from their canvas"));
done:
    return st;
}

/* ---- the frame ------------------------------------------------------------------------------------------- */

void tr_prepare_size(int *width, int *height, const tr_prepare_spec *s, int photo_width, int photo_height)
{
    const int m = s->multiple, side = s->resolution / m * m;
    *width = *height = side;
    if (!s->buckets) return;
    const int k = s->resolution / (16 * m), step = m * (k > 1 ? k : 1);          /* 64 at 1024: few shapes, so that batches fill */
    const double want = log((double)photo_width / photo_height);
    double best = INFINITY;
    for (int w = step; w <= s->side_max; w += step) {
        int h = (int)((int64_t)s->resolution * s->resolution / w) / step * step;
        if (h > s->side_max) h = s->side_max / step * step;
        if (w < s->resolution / 2 || h < s->resolution / 2) continue;
        const double off = fabs(log((double)w / h) - want);
        if (!(off < best - 1e-9) && !(off < best + 1e-9 && (int64_t)w * h > (int64_t)*width * *height)) continue;
        best = off;
        *width = w;
        *height = h;
    }
}

tr_affine tr_frame_map(const tr_frame *f, double w, double h)
{
    const double c = cos(f->turn), s = sin(f->turn), g = f->flip ? -1 : 1, kx = w / f->scaled_w, ky = h / f->scaled_h;
    const double cx = f->width / 2.0, cy = f->height / 2.0;
    return (tr_affine){ kx * g * c, kx * g * -s, kx * (f->x + cx - g * (c * cx - s * cy)), ky * s, ky * c, ky * (f->y + cy - s * cx - c * cy) };
}

/* The box x0, y0, x1, y1 round the hair in photo pixels; the whole photo where there is none. */
static void hair_box(double box[4], tr_planes matte)
{
    int x0 = matte.w, y0 = matte.h, x1 = 0, y1 = 0;
    for (int y = 0; y < matte.h; y++)
        for (int x = 0; x < matte.w; x++) {
            if (!(matte.data[(int64_t)y * matte.w + x] > 0.05f)) continue;       /* compression leaves grey dust */
            if (x < x0) x0 = x;
            if (x >= x1) x1 = x + 1;
            if (y < y0) y0 = y;
            y1 = y + 1;
        }
    if (x1 == 0) x0 = y0 = 0, x1 = matte.w, y1 = matte.h;
    box[0] = x0, box[1] = y0, box[2] = x1, box[3] = y1;
}

/* Where a frame of n pixels begins on a scaled photo of `scaled`, wanted round `centre`. */
static int place(int n, int scaled, double centre)
{
    if (scaled <= n) return -((n - scaled) / 2);
    const double at = round(centre - n / 2.0);
    return at < 0 ? 0 : at > scaled - n ? scaled - n : (int)at;
}

/* Even in -1..1 */
static double even(uint32_t w) { return ((double)w + 0.5) * 0x1p-31 - 1; }

typedef struct chance { bool flip; double turn, x, y, scale; int grow; } chance;

static chance draw_chance(const tr_prepare_spec *s, const char *name, uint64_t draw)
{
    const tr_augment *a = &s->augment;
    const uint64_t key = tr_data_key(name);
    uint32_t w[4], v[4];
    tr_philox(w, s->seed ^ UINT64_C(0x6175676d656e7430), key, draw);            /* "augment0", "augment1": streams of their own */
    tr_philox(v, s->seed ^ UINT64_C(0x6175676d656e7431), key, draw);
    const double width = a->stroke_width * s->resolution / 1024;
    return (chance){ a->flip && w[0] >> 31, even(w[1]) * a->rotate * (M_PI / 180), even(w[2]) * a->translate, even(w[3]) * a->translate,
                     exp(even(v[0]) * log1p(a->scale)), (int)floor(((double)v[1] + 0.5) * 0x1p-32 * (width + 1)) };
}

static tress_status make_frame(tr_frame *out, const tr_prepare_spec *s, tr_planes matte, const chance *c)
{
    tr_frame f = { .flip = c->flip, .turn = c->turn };
    double box[4];
    tr_prepare_size(&f.width, &f.height, s, matte.w, matte.h);
    hair_box(box, matte);
    const double fx = (double)f.width / matte.w, fy = (double)f.height / matte.h;
    double k = fmin(fx, fy);
    if (s->fit == TR_DATA_CROP) k = fmin(fmax(fx, fy), fmin(f.width / (box[2] - box[0]), f.height / (box[3] - box[1])));
    k *= c->scale;
    const double w = fmax(1, round(matte.w * k)), h = fmax(1, round(matte.h * k));
    if (w > TR_SIDE_MAX || h > TR_SIDE_MAX || w * h > (double)TR_PIXELS_MAX)
        return tr_fail(TRESS_E_SHAPE, "a photo of %d x %d is too long and thin: at this resolution it would be scaled to %.0f x %.0f", matte.w, matte.h, w, h);
    f.scaled_w = (int)w;
    f.scaled_h = (int)h;
    f.x = place(f.width, f.scaled_w, (box[0] + box[2]) / 2 * w / matte.w) - (int)round(c->x * f.width);
    f.y = place(f.height, f.scaled_h, (box[1] + box[3]) / 2 * h / matte.h) - (int)round(c->y * f.height);
    *out = f;
    return TRESS_OK;
}

/* ---- the mask -------------------------------------------------------------------------------------------- */

static tress_status grow(tr_planes m, double r)
{
    tress_status st = TRESS_OK;
    tr_planes sure = { 0 }, d = { 0 };
    const int64_t n = (int64_t)m.w * m.h;
    TR_TRY(tr_planes_new(&sure, 1, m.h, m.w));
    for (int64_t i = 0; i < n; i++) sure.data[i] = m.data[i] > 0.5f;
    TR_TRY(tr_distance(&d, sure));
    for (int64_t i = 0; i < n; i++)
        if ((double)d.data[i] <= r) m.data[i] = 1;
done:
    tr_planes_fini(&sure);
    tr_planes_fini(&d);
    return st;
}

static tress_status make_mask(tr_planes *out, const tr_prepare_spec *s, const tr_frame *f, tr_planes matte)
{
    tress_status st = TRESS_OK;
    tr_planes m = { 0 }, soft = { 0 };
    const double unit = s->resolution / 1024.0;
    const tr_affine to_photo = tr_frame_map(f, matte.w, matte.h);
    TR_TRY(tr_affine_apply(&m, matte, to_photo, f->width, f->height, TR_FILTER_BILINEAR, 0));
    if (s->mask_grow > 0) TR_TRY(grow(m, s->mask_grow * unit));
    if (s->mask_blur > 0) {
        TR_TRY(tr_gaussian(&soft, m, s->mask_blur * unit));
        tr_planes_fini(&m);
        m = soft;
        soft = (tr_planes){ 0 };
    }
    for (int y = 0; y < m.h; y++)               /* dilation and blur reach beyond the photo, where nothing is known */
        for (int x = 0; x < m.w; x++) {
            const double px = x + 0.5, py = y + 0.5;
            const double sx = to_photo.a * px + to_photo.b * py + to_photo.c, sy = to_photo.d * px + to_photo.e * py + to_photo.f;
            float *v = m.data + (int64_t)y * m.w + x;
            if (!(sx >= 0 && sx < matte.w && sy >= 0 && sy < matte.h)) *v = 0;
            else if (*v > 1) *v = 1;            /* a blur's weights add up to 1 but for rounding */
        }
    TR_TRY(tr_area_reduce(out, m, s->cell));
done:
    tr_planes_fini(&m);
    tr_planes_fini(&soft);
    return st;
}

/* ---- all three ------------------------------------------------------------------------------------------- */

tress_status tr_prepare(tr_prepared *out, const tr_prepare_spec *s, tr_image *const img[TR_DATA_KINDS], const char *name, bool augment, uint64_t draw)
{
    tress_status st = TRESS_OK;
    tr_prepared p = { 0 };
    tr_planes rgb = { 0 }, matte = { 0 };
    tr_frame f;
    const chance c = augment && tr_augment_is_on(&s->augment) ? draw_chance(s, name, draw) : (chance){ .scale = 1 };
    const tr_image *photo = img[TR_DATA_IMG];
    for (int k = 0; k < TR_DATA_KINDS; k++)
        if (img[k]->width != photo->width || img[k]->height != photo->height)
            TR_TRY(tr_fail(TRESS_E_SHAPE, "the %s is %d x %d, the photo %d x %d", tr_data_kind_name((tr_data_kind)k), img[k]->width, img[k]->height, photo->width, photo->height));
    TR_TRY(tr_matte_read(&matte, img[TR_DATA_MATTE], "the matte"));
    TR_TRY(make_frame(&f, s, matte, &c));
    p.width = f.width;
    p.height = f.height;
    p.map = tr_frame_map(&f, photo->width, photo->height);
    TR_TRY(make_mask(&p.mask, s, &f, matte));
    TR_TRY(tr_image_rgb(&rgb, photo));
    TR_TRY(tr_affine_apply(&p.photo, rgb, p.map, f.width, f.height, TR_FILTER_BICUBIC, 0.5f));
    TR_TRY(tr_frame_control(&p.control, &f, img[TR_DATA_SKETCH], s->control_image, c.grow));
    *out = p;
    p = (tr_prepared){ 0 };
done:
    tr_planes_fini(&rgb);
    tr_planes_fini(&matte);
    tr_prepared_fini(&p);
    return st == TRESS_OK ? st : tr_note(st, "picture %s", name);
}

void tr_prepared_fini(tr_prepared *p)
{
    tr_planes_fini(&p->photo);
    tr_planes_fini(&p->control);
    tr_planes_fini(&p->mask);
    *p = (tr_prepared){ 0 };
}
