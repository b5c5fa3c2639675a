/* row.c - all metrics of one picture. */
#include "eval/eval_int.h"

#include <math.h>

static const tr_metric_info infos[] = {
#define METRIC(name, key, better, text) { key, text, TR_BETTER_##better },
#include "eval/metrics.def"
#undef METRIC
};

const tr_metric_info *tr_metric_get(tr_metric m)
{
    TR_ASSERT((unsigned)m < TR_METRICS);
    return &infos[m];
}

static tress_status same_size(const char *what, const tr_image *img, const tr_image *photo)
{
    if (!img || (img->width == photo->width && img->height == photo->height)) return TRESS_OK;
    return tr_fail(TRESS_E_SHAPE, "the %s is %d x %d, the photo %d x %d", what, img->width, img->height, photo->width, photo->height);
}

static tress_status face_make(eval_face *out, const tr_image *img)
{
    tress_status st = TRESS_OK;
    tr_planes rgb = { 0 };
    eval_face f = { 0 };
    const int64_t n = (int64_t)img->width * img->height;
    TR_TRY(tr_image_rgb(&rgb, img));
    TR_TRY(tr_planes_new(&f.lab, 3, img->height, img->width));
    TR_TRY(tr_planes_new(&f.luma, 1, img->height, img->width));
    TR_TRY(tr_planes_new(&f.light, 1, img->height, img->width));
    for (int64_t i = 0; i < n; i++) {
        const double c[3] = { (double)rgb.data[i], (double)rgb.data[n + i], (double)rgb.data[2 * n + i] };
        const tr_lab lab = tr_lab_of(c);
        f.lab.data[i] = (float)lab.l;
        f.lab.data[n + i] = (float)lab.a;
        f.lab.data[2 * n + i] = (float)lab.b;
        f.luma.data[i] = (float)(255 * (0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]));
        f.light.data[i] = (float)(0.2126 * tr_srgb_linear(c[0]) + 0.7152 * tr_srgb_linear(c[1]) + 0.0722 * tr_srgb_linear(c[2]));
    }
    *out = f;
    f = (eval_face){ 0 };
done:
    tr_planes_fini(&rgb);
    tr_planes_fini(&f.lab);
    tr_planes_fini(&f.luma);
    tr_planes_fini(&f.light);
    return st;
}

static tress_status make_alpha(eval_view *v)
{
    tress_status st = TRESS_OK;
    tr_planes old = { 0 };
    const tr_eval_input *in = v->in;
    if (in->alpha) return tr_image_grey(&v->alpha, in->alpha);
    if (in->old_matte) TR_TRY(tr_matte_read(&old, in->old_matte, "the old matte"));
    TR_TRY(tr_composite_alpha(&v->alpha, v->matte, old, tr_edit_radius(v->w, v->h, in->edit_grow)));
done:
    tr_planes_fini(&old);
    return st;
}

static tress_status view_make(eval_view *v)
{
    tress_status st = TRESS_OK;
    tr_strokes strokes = { 0 };
    const tr_eval_input *in = v->in;
    TR_TRY(same_size("result", in->result, in->photo));
    TR_TRY(same_size("truth", in->truth, in->photo));
    TR_TRY(same_size("sketch", in->sketch, in->photo));
    TR_TRY(same_size("matte", in->matte, in->photo));
    TR_TRY(same_size("old matte", in->old_matte, in->photo));
    TR_TRY(same_size("alpha", in->alpha, in->photo));
    v->w = in->photo->width;
    v->h = in->photo->height;
    v->scale = (v->w > v->h ? v->w : v->h) / 1024.0;
    TR_TRY(tr_matte_read(&v->matte, in->matte, "the matte"));
    TR_TRY(make_alpha(v));
    TR_TRY(tr_distance(&v->far, v->matte));
    TR_TRY(face_make(&v->photo, in->photo));
    TR_TRY(face_make(&v->result, in->result));
    if (in->truth) TR_TRY(face_make(&v->truth, in->truth));
    if (in->sketch) {
        TR_TRY(tr_strokes_read(&strokes, in->sketch));
        v->strokes = strokes.mask;
        v->stroke_rgb = strokes.rgb;
        strokes = (tr_strokes){ 0 };
        TR_TRY(tr_planes_new(&v->skeleton, 1, v->h, v->w));
        for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) v->skeleton.data[i] = v->strokes.data[i];
        TR_TRY(tr_mask_thin(v->skeleton, (tr_planes){ 0 }));
    }
done:
    tr_strokes_fini(&strokes);
    return st;
}

static void face_fini(eval_face *f)
{
    tr_planes_fini(&f->lab);
    tr_planes_fini(&f->luma);
    tr_planes_fini(&f->light);
}

static void view_fini(eval_view *v)
{
    face_fini(&v->photo);
    face_fini(&v->result);
    face_fini(&v->truth);
    tr_planes_fini(&v->matte);
    tr_planes_fini(&v->alpha);
    tr_planes_fini(&v->far);
    tr_planes_fini(&v->strokes);
    tr_planes_fini(&v->skeleton);
    tr_planes_fini(&v->stroke_rgb);
}

tress_status tr_eval_row(double value[TR_METRICS], const tr_eval_input *in)
{
    static tress_status (*const measure[])(double *, const eval_view *) = { eval_background, eval_border, eval_strokes, eval_directions, eval_crossings,
                                                                             eval_colour, eval_matte, eval_truth, eval_light };
    tress_status st = TRESS_OK;
    eval_view v = { .in = in };
    for (int i = 0; i < TR_METRICS; i++) value[i] = NAN;
    TR_TRY(view_make(&v));
    for (size_t k = 0; k < sizeof measure / sizeof *measure; k++) TR_TRY(measure[k](value, &v));
    for (int i = 0; i < TR_METRICS; i++)
        if (isinf(value[i])) TR_TRY(tr_fail(TRESS_E_NONFINITE, "%s is infinite", infos[i].key));
done:
    view_fini(&v);
    return st;
}
