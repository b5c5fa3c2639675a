/* matte_int.h - shared by matte.c and composite.c. */
#ifndef TRESS_IMAGE_MATTE_INT_H
#define TRESS_IMAGE_MATTE_INT_H

#include "image/matte.h"

/* Distance to matte > 0 or old > 0 (old.data NULL: none). Fails: SHAPE. */
TR_CHECKED tress_status tr_union_distance(tr_planes *out, tr_planes matte, tr_planes old);

#endif
