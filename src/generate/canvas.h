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
} tr_canvas_rules;

typedef struct tr_canvas {
    int width, height;                          /* drawn at */
    const tr_image *photo;                      /* borrowed, or NULL */
    int box[4];                                 /* x0, y0, x1, y1: photo pixels drawn */
    tr_planes control;                          /* [3, height, width] the control picture, 0..1; no data: none */
    tr_planes colour, stroke;                   /* [3, height, width] the strokes' colours, [1, height, width] where they are; no data: not asked for */
    tr_planes rgb;                              /* [3, height, width] the photo there, 0..1 */
    tr_planes mask;                             /* [1, height / cell, width / cell] what may change, soft */
    tr_planes hair;                             /* [1, height, width] the soft matte of the new hair */
    tr_planes region;                           /* [1, photo height, photo width] 1 where the photo may change */
    tr_planes alpha;                            /* [1, photo height, photo width] of the composite */
} tr_canvas;
/* Fails: ARG (a partner is missing; no sketch), SHAPE (sizes differ without place; a side beyond side_max), FORMAT (an empty matte,
 * a sketch without strokes), OOM. */
TR_CHECKED tress_status tr_canvas_make(tr_canvas *out, const tress_generate_args *a, const tr_canvas_rules *rules);
void tr_canvas_fini(tr_canvas *c);
/* Drawn planes [3, height, width] in 0..1 (values outside are clamped) into the result: the photo with them pasted in, or they
 * alone as 8-bit RGB. *out is new. */
TR_CHECKED tress_status tr_canvas_finish(tr_image **out, const tr_canvas *c, tr_planes drawn);

#ifdef __cplusplus
}
#endif
#endif
