/* prepare_int.h - the frame that photo, matte and sketch are read into: shared by prepare.c and control.c. */
#ifndef TRESS_DATA_PREPARE_INT_H
#define TRESS_DATA_PREPARE_INT_H

#include "data/prepare.h"

/* The photo is scaled to whole pixels; the frame's pixels read it turned about the frame's centre, mirrored, and moved by whole pixels,
 * so that unless it is turned every pixel of the frame is one of the scaled photo's. */
typedef struct tr_frame {
    int    width, height;
    int    scaled_w, scaled_h;                  /* of the whole photo */
    int    x, y;                                /* the scaled photo's pixel in the frame's corner, before turning; may be outside */
    bool   flip;
    double turn;                                /* radians; 0: not turned */
} tr_frame;
/* From the frame's pixels to those of a picture of w x h that shows what the photo shows. */
tr_affine tr_frame_map(const tr_frame *f, double w, double h);

/* The control picture [3, height, width]. grow: whole pixels that strokes get wider by. */
TR_CHECKED tress_status tr_frame_control(tr_planes *out, const tr_frame *f, const tr_image *sketch, tress_control_image kind, int grow);

#endif
