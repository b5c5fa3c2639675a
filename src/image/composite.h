/* composite.h - the drawn picture back into the photo. */
#ifndef TRESS_IMAGE_COMPOSITE_H
#define TRESS_IMAGE_COMPOSITE_H

#include "image/matte.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Composite alpha [1, h, w]: 1 on matte > 0 and old > 0 (old.data NULL: none), 0 from the distance r to them on, smoothstep
 * between. Fails: ARG (r), SHAPE (old of another size), OOM. */
TR_CHECKED tress_status tr_composite_alpha(tr_planes *out, tr_planes matte, tr_planes old, double r);
/* How far, in pixels, the composite reaches round the mattes of a photo of that size: `grow`, or 24 at 1024, rounded up, if that is < 0. */
double tr_edit_radius(int width, int height, int grow);
/* The box {x0, y0, x1, y1} of photo pixels to draw: the square round the edit region's box times 1.6, moved and cut to lie
 * inside the photo; the whole photo when the square is larger than it, or the region is empty. */
void tr_edit_box(int box[4], tr_planes region);
/* *out is new: the photo with `drawn` [3, h, w] (the size of box, 0..1) pasted by alpha (of the photo's size). It has the
 * photo's size, depth, channels and profile; where alpha is 0 every byte is the photo's own.
 * A grey photo gets luma; an alpha channel stays as it is. Fails: SHAPE, NONFINITE, OOM. */
TR_CHECKED tress_status tr_composite(tr_image **out, const tr_image *photo, tr_planes drawn, const int box[4], tr_planes alpha);
/* Join by octaves, for a border without a step in tone: what drawn [c, h, w] differs from photo [c, h, w] by is taken apart into
 * n_level octaves and a rest, and each enters by an alpha as soft as itself (Burt and Adelson 1983, A multiresolution spline).
 * drawn becomes the joined picture, to be pasted by the same alpha [1, h, w]: the photo's bytes stay where that is 0. Fewer levels
 * where the picture is too small for them. Fails: SHAPE, OOM. */
TR_CHECKED tress_status tr_join_bands(tr_planes drawn, tr_planes photo, tr_planes alpha, int n_level);
/* To look at: over rgb [3, h, w], in place, 0.4 of red where the matte [1, h, w] is and green where strokes [1, h, w] are, by their
 * values. Either may have no data. Fails: SHAPE. */
TR_CHECKED tress_status tr_overlay(tr_planes rgb, tr_planes matte, tr_planes strokes);

#ifdef __cplusplus
}
#endif
#endif
