/* resize.h - resampling as PIL does it (Pillow, libImaging/Resample.c): separable, filters widened when shrinking,
 * coefficients normalised, across first and then down. In floats, within 1/255 of PIL's 8-bit result after rounding. Planes are
 * colours or coverage in 0..1: overshoot is clamped after each pass, as it is in an 8-bit picture. */
#ifndef TRESS_IMAGE_RESIZE_H
#define TRESS_IMAGE_RESIZE_H

#include "image/pixels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_filter { TR_FILTER_NEAREST, TR_FILTER_BOX, TR_FILTER_BILINEAR, TR_FILTER_BICUBIC, TR_FILTER_LANCZOS } tr_filter;
/* out is new, [in.c, height, width]. */
TR_CHECKED tress_status tr_resize(tr_planes *out, tr_planes in, int width, int height, tr_filter filter);
/* The part box = {x0, y0, x1, y1} (in pixels of in, fractions allowed, inside it) scaled to width x height. */
TR_CHECKED tress_status tr_resize_box(tr_planes *out, tr_planes in, const double box[4], int width, int height, tr_filter filter);

#ifdef __cplusplus
}
#endif
#endif
