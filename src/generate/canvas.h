/* canvas.h - photo, matte and sketch brought to one size by one map: what is drawn, where, and how it goes back.
 * Without a photo the canvas is the sketch's. With one it is a box of the photo round the region that may change. Nothing is
 * stretched, except by rounding each side to the multiple that the transformer needs. */
#ifndef TRESS_GENERATE_CANVAS_H
#define TRESS_GENERATE_CANVAS_H

#include "core/core.h"
#include "image/image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_canvas_rules {                /* what the model asks of sizes, in pixels */
    int  multiple;                              /* each side: 16 */
    int  side_max;                              /* P * patch * 8 */
    int  side_own;                              /* the size the model was made for: 1024 */
    int  cell;                                  /* pixels per latent pixel: 8 */
    bool needs_sketch;                          /* a ControlNet will read it */
    bool needs_reference;                       /* the photo will be referred to while drawing */
} tr_canvas_rules;

typedef struct tr_canvas {
    int width, height;                          /* drawn at */
    const tr_image *photo;                      /* borrowed, or NULL */
    tress_blend blend;
    int octaves;                                /* of blend BANDS: one for each doubling of the border's width */
    double landed;                              /* share of the sketch's strokes that place lays inside box; 1 without place */
    int box[4];                                 /* x0, y0, x1, y1: photo pixels drawn */
    tr_planes control;                          /* [3, height, width] the control picture, 0..1; no data: none */
    tr_planes colour, stroke;                   /* [3, height, width] the strokes' colours, [1, height, width] where they are; no data: not asked for */
    tr_planes rgb;                              /* [3, height, width] the photo there, 0..1 */
    tr_planes mask;                             /* [1, height / cell, width / cell] what may change, soft */
    tr_planes hair;                             /* [1, height, width] the soft matte of the new hair */
    tr_planes held;                             /* [3, height, width] the photo with the mattes themselves filled likewise, what a drawing that refers
                                                 * to it holds round the hair; no data unless needs_reference */
    tr_planes reference;                        /* [3, height, width] the photo with the region that may change filled from around it:
                                                 * nothing in it depends on a pixel of the region; no data unless needs_reference */
    tr_planes edited;                           /* [1, height / multiple, width / multiple] 1 where a token touches that region, else 0 */
    tr_planes soft;                             /* [1, the same] mean of hair in each token */
    tr_planes alpha;                            /* [1, photo height, photo width] of the composite */
} tr_canvas;
/* With place, a matte of the sketch's size goes by the sketch's map; one of the photo's size lies on it already.
 * Fails: ARG (a partner is missing; no sketch; place lands outside), SHAPE (sizes differ without place; a side beyond side_max), FORMAT (an empty matte,
 * a sketch without strokes), OOM. */
TR_CHECKED tress_status tr_canvas_make(tr_canvas *out, const tress_generate_args *a, const tr_canvas_rules *rules);
void tr_canvas_fini(tr_canvas *c);
/* The photo with the matte in red and the strokes in green, each where place puts it. *out is new. a needs a photo and a matte.
 * Fails: as tr_canvas_make. */
TR_CHECKED tress_status tr_canvas_overlay(tr_image **out, const tress_generate_args *a);
/* Drawn planes [3, height, width] in 0..1 (values outside are clamped) into the result: the photo with them pasted in, or they
 * alone as 8-bit RGB. *out is new. */
TR_CHECKED tress_status tr_canvas_finish(tr_image **out, const tr_canvas *c, tr_planes drawn);

#ifdef __cplusplus
}
#endif
#endif
