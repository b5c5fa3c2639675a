/* sketch_int.h - shared by the files behind image/sketch.h. */
#ifndef TRESS_IMAGE_SKETCH_INT_H
#define TRESS_IMAGE_SKETCH_INT_H

#include "image/sketch.h"

/* Thin a mask [1, h, w] of 0 and 1 in place to lines one pixel wide, with the same pieces, holes and line ends: pixels go
 * in the order of their distance to the ground, each only if its going changes no connection. Pixels of `keep` (data NULL: none) stay. Pudney 1998. */
TR_CHECKED tress_status tr_mask_thin(tr_planes mask, tr_planes keep);
/* A stroke mask at another size: strokes keep their width in pixels when the picture grows, never vanish when it shrinks. */
TR_CHECKED tress_status tr_mask_resize(tr_planes *out, tr_planes mask, int width, int height);

#endif
