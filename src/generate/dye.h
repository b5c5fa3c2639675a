/* dye.h - the colours of a sketch's strokes as a picture: the photo, filled, with hair of those colours where the matte is. */
#ifndef TRESS_GENERATE_DYE_H
#define TRESS_GENERATE_DYE_H

#include "generate/canvas.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_dye {
    tr_planes picture;                          /* [3, height, width] 0..1 */
    tr_planes hair;                             /* [1, height / cell, width / cell] the soft matte */
    int32_t  *row;                              /* [n_row] rising: tokens within the matte, those at its border not */
    int64_t   n_row;
} tr_dye;
/* Between strokes colours pass into each other (push-pull), then a Gaussian of 12 pixels at 1024 within the matte smooths them.
 * Fails: FORMAT (no stroke of the sketch lies on the canvas), OOM. */
TR_CHECKED tress_status tr_dye_make(tr_dye *out, const tr_canvas *c, const tr_canvas_rules *rules);
void tr_dye_fini(tr_dye *d);
/* Does this drawing take colours from the sketch? */
bool tr_dye_wanted(const tress_generate_args *a);

#ifdef __cplusplus
}
#endif
#endif
