/* matte.h - the hair matte and the region round it that may change. */
#ifndef TRESS_IMAGE_MATTE_H
#define TRESS_IMAGE_MATTE_H

#include "image/pixels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* [1, h, w] 0..1, grey or luma, times alpha if there is one, not thresholded. Fails: FORMAT when it is empty (no value over 0) or full (all over 0.99). */
TR_CHECKED tress_status tr_matte_read(tr_planes *out, const tr_image *img, const char *where);
TR_CHECKED tress_status tr_gaussian(tr_planes *out, tr_planes in, double sigma);     /* separable, border mirrored (1 0 | 0 1), radius ceil(4 sigma) */
/* Exact Euclidean distance in pixels to the nearest pixel with value > 0 (0 there); w + h everywhere when there is none.
 * Felzenszwalb and Huttenlocher 2012. */
TR_CHECKED tress_status tr_distance(tr_planes *out, tr_planes matte);
/* E = pixels whose distance to matte > 0 (or old > 0, if old.data) is at most r. out [1, h, w] 0 or 1. */
TR_CHECKED tress_status tr_edit_region(tr_planes *out, tr_planes matte, tr_planes old, double r);
/* Soft mask: max(M, Gaussian(dilate(M > 0.5))), a disc of 15 pixels (odd sizes rounded up) and sigma 10 at 1024, both scaled
 * by max(w, h) / 1024. */
TR_CHECKED tress_status tr_matte_soft(tr_planes *out, tr_planes matte);
/* The region seen by cells: a grid of w x h laid over the pixels box = {x0, y0, x1, y1}, 1 where a cell touches a pixel of the
 * region (value > 0), else 0. Fails: ARG (a box that is not inside the region's picture; w or h below 1). */
TR_CHECKED tress_status tr_region_cells(tr_planes *out, tr_planes region, const int box[4], int w, int h);
/* Mean over cells of k x k: to latent (8) or token (16) size. h and w are multiples of k. */
TR_CHECKED tress_status tr_area_reduce(tr_planes *out, tr_planes in, int k);
/* Push-pull: photo [3, h, w] with the region (values > 0) filled from around it, smooth and deterministic; mid grey where
 * there is no around. Outside the region every value is the photo's own. */
TR_CHECKED tress_status tr_fill(tr_planes *out, tr_planes photo, tr_planes region);

#ifdef __cplusplus
}
#endif
#endif
