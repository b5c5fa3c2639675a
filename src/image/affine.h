/* affine.h - one affine map for photo, matte and sketch together, and the placing of a sketch on a photo. */
#ifndef TRESS_IMAGE_AFFINE_H
#define TRESS_IMAGE_AFFINE_H

#include "image/resize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Output pixel centre (x, y) reads the input at (a x + b y + c, d x + e y + f); pixel centres are at +0.5. */
typedef struct tr_affine { double a, b, c, d, e, f; } tr_affine;
/* out is new, [in.c, height, width]; outside the input the value is `fill`. NEAREST, BILINEAR or BICUBIC; a map that
 * shrinks is prefiltered so that thin strokes survive (not NEAREST: labels stay labels). Values 0..1, as in resize.h.
 * Fails: ARG (another filter, a coefficient that is not finite). */
TR_CHECKED tress_status tr_affine_apply(tr_planes *out, tr_planes in, tr_affine m, int width, int height, tr_filter filter, float fill);
/* --place x,y,scale,rotate[,flip]: the map by which a sketch of sw x sh is read when drawn on the photo's canvas: its centre
 * (sw/2, sh/2) lands on the photo's point (x, y), where pixel i spans i to i + 1; `scale` photo pixels per sketch pixel,
 * `rotate` degrees clockwise, mirrored first if flip. */
tr_affine tr_affine_place(int sw, int sh, double x, double y, double scale, double rotate, bool flip);

#ifdef __cplusplus
}
#endif
#endif
