/* eval_int.h - what the files of eval share: the pictures of a row as planes, slopes and directions. */
#ifndef TRESS_EVAL_EVAL_INT_H
#define TRESS_EVAL_EVAL_INT_H

#include "eval/eval.h"

typedef struct eval_face {                      /* one picture of a row */
    tr_planes lab;                              /* [3, h, w] */
    tr_planes luma;                             /* [1, h, w] of the coded values, 0..255: what edges and directions are told from */
    tr_planes light;                            /* [1, h, w] linear luminance: what the eye adds up */
} eval_face;

typedef struct eval_view {
    const tr_eval_input *in;
    int       w, h;
    double    scale;                            /* max(w, h) / 1024 */
    eval_face photo, result, truth;             /* truth without data: none */
    tr_planes matte, alpha;                     /* [1, h, w] */
    tr_planes far;                              /* [1, h, w] distance to matte > 0 */
    tr_planes strokes, skeleton;                /* [1, h, w] 0 or 1; no data: no sketch */
    tr_planes stroke_rgb;                       /* [3, h, w] */
} eval_view;

/* Each fills its metrics of value, which begin as NaN. Fails: OOM. */
TR_CHECKED tress_status eval_background(double *value, const eval_view *v);
TR_CHECKED tress_status eval_border(double *value, const eval_view *v);
TR_CHECKED tress_status eval_strokes(double *value, const eval_view *v);
TR_CHECKED tress_status eval_directions(double *value, const eval_view *v);
TR_CHECKED tress_status eval_crossings(double *value, const eval_view *v);
TR_CHECKED tress_status eval_colour(double *value, const eval_view *v);
TR_CHECKED tress_status eval_matte(double *value, const eval_view *v);
TR_CHECKED tress_status eval_truth(double *value, const eval_view *v);
TR_CHECKED tress_status eval_light(double *value, const eval_view *v);

/* Slopes of grey [1, h, w]: its derivatives under a Gaussian of sigma, kernels cut at 4 sigma, the border mirrored (1 0 | 0 1). Either new. */
TR_CHECKED tress_status eval_slopes(tr_planes *dx, tr_planes *dy, tr_planes grey, double sigma);
/* The direction along which hair runs, angle [1, h, w] in radians, and how clear it is, 0..1: the structure tensor of slopes of sigma
 * 1.2 gathered over sigma 3; ((l1 - l2) / (l1 + l2))^2. Bigun and Granlund 1987. */
typedef struct eval_flow { tr_planes angle, clear; } eval_flow;
TR_CHECKED tress_status eval_flow_make(eval_flow *out, tr_planes luma);
void eval_flow_fini(eval_flow *f);
/* The i-th of EVAL_SHIFTS ways by which strokes are moved to see what chance gives: all round, 12 to 24 whole pixels, farther in pictures over 1024. */
#define EVAL_SHIFTS 16
void eval_shift(double *dx, double *dy, int i, double scale);
/* The median, coordinate by coordinate, of lab where the matte is over 0.9; *there is false where that is less than 21 pixels. */
TR_CHECKED tress_status eval_hair_colour(tr_lab *out, bool *there, const eval_view *v, tr_planes lab);
void eval_sort(double *v, int64_t n);
/* The middle of n values, which it sorts; of an even number the mean of the two. NaN of none. */
double eval_median(double *v, int64_t n);
static inline tr_lab eval_lab(tr_planes lab, int64_t i)
{
    const int64_t n = (int64_t)lab.w * lab.h;
    return (tr_lab){ (double)lab.data[i], (double)lab.data[n + i], (double)lab.data[2 * n + i] };
}

#endif
