/* stroke.h - the sketch a person would draw of this hair: visible locks, spaced out, and the outlines of plait strands. */
#ifndef TRESS_SYNTH_STROKE_H
#define TRESS_SYNTH_STROKE_H

#include "image/pixels.h"
#include "synth/paint.h"

#ifndef __cplusplus
/* out new [3, size, size]; every stroke has a colour of its own on black, no anti-aliasing. */
TR_CHECKED tress_status tr_stroke_sketch(tr_planes *out, int *n_stroke, const tr_scene *s, const tr_hair *h, const tr_plate *c,
                                         const tr_body_view *v, int size);
#endif
#endif
