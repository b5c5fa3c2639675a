/* sketch.h - from a drawing to what a Canny ControlNet reads. */
#ifndef TRESS_IMAGE_SKETCH_H
#define TRESS_IMAGE_SKETCH_H

#include "image/pixels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Strokes of a drawing. If the picture has an alpha channel that is not all opaque, a stroke is alpha > 10/255. Else the
 * border's median luma tells: over 127/255 the canvas is light and a stroke is luma < 240/255 (and 15/255 below the canvas,
 * for paper that is not white); else a stroke differs from the canvas colour by > 10/255 in a channel. */
typedef struct tr_strokes {
    tr_planes mask;                             /* [1, h, w] 0 or 1 */
    tr_planes rgb;                              /* [3, h, w] stroke colours on black */
    bool      light;                            /* the canvas was light */
    double    coverage;                         /* share of stroke pixels */
} tr_strokes;
TR_CHECKED tress_status tr_strokes_read(tr_strokes *out, const tr_image *sketch);
void tr_strokes_fini(tr_strokes *s);

/* OpenCV's Canny on 8-bit grey (Sobel 3x3, L1 norm, hysteresis) after a Gaussian of sigma (0: none). out [1, h, w] 0 or 1. */
TR_CHECKED tress_status tr_canny(tr_planes *out, tr_planes grey, double sigma, int low, int high);

/* Thin a mask [1, h, w] of 0 and 1 in place to lines one pixel wide, with the same pieces, holes and line ends: pixels go
 * in the order of their distance to the ground, each only if its going changes no connection. Pixels of `keep` (data NULL: none) stay. Pudney 1998. */
TR_CHECKED tress_status tr_mask_thin(tr_planes mask, tr_planes keep);

/* The control picture, RGB [3, height, width] in 0..1, from a sketch:
 *   LINES   strokes 1 on 0 at working size; a pure 0/255 picture of that size passes unchanged (a light canvas still turns
 *           dark). At another size strokes keep their width in pixels when growing and never vanish when shrinking.
 *   CANNY   tr_canny of the luma (of the coverage, on a clear canvas), sigma 1.4, 100 / 200, at working size
 *   COLOUR  strokes in colour on black
 *   RAW     the file's pixels, resized (Lanczos) if they must be
 * Fails: ARG (size), FORMAT when no stroke is found (not for RAW), OOM. */
TR_CHECKED tress_status tr_sketch_render(tr_planes *out, const tr_image *sketch, int width, int height, tress_control_image kind);
/* 0..1 to what the VAE encodes: VENDOR 127.5 p + 0.5, SIGNED 2 p - 1. In place. */
void tr_control_range_apply(tr_planes p, tress_control_range range);

#ifdef __cplusplus
}
#endif
#endif
