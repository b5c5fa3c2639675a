/* sketch_int.h - shared by the files behind image/sketch.h. */
#ifndef TRESS_IMAGE_SKETCH_INT_H
#define TRESS_IMAGE_SKETCH_INT_H

#include "image/sketch.h"

/* A stroke mask at another size: strokes keep their width in pixels when the picture grows, never vanish when it shrinks. */
TR_CHECKED tress_status tr_mask_resize(tr_planes *out, tr_planes mask, int width, int height);

#endif
