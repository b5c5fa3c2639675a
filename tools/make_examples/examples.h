/* examples.h - the small generator of the example pictures: portraits by ray marching, hair as flowing strokes. */
#ifndef TRESS_TOOLS_EXAMPLES_H
#define TRESS_TOOLS_EXAMPLES_H

#include "image/image.h"

#define SIZE 512
/* Head units to pixels: the eyes are near y = 0, the head about 0.8 to either side, the chin at -1.05, the crown at 1.25. */
#define SCALE 118.0
#define CENTRE_X 256.0
#define CENTRE_Y 244.0

typedef struct vec { double x, y, z; } vec;

typedef struct portrait {
    const char *name;
    double yaw, pitch;                          /* of the head, radians: right and down are positive */
    double face_width, jaw, nose, lips, brow;   /* 1: average */
    vec    skin, lip, iris, cloth, hair;        /* linear RGB; hair: brows and, where cropped, the scalp */
    bool   cropped;                             /* short hair in place of a bald head */
    vec    ground[2], glow;                     /* background: top, bottom, light patches */
    vec    key;                                 /* towards the main light */
    double neckline;                            /* lower is more open */
    uint64_t seed;
} portrait;

/* *out is new: the picture, 8-bit RGB. */
TR_CHECKED tress_status portrait_draw(tr_image **out, const portrait *p);

typedef struct hairstyle { const char *name; uint64_t seed; } hairstyle;
/* Sketch (8-bit RGB, strokes in colour on black) and soft matte (8-bit grey) of a style; both new. */
TR_CHECKED tress_status hair_draw(tr_image **sketch, tr_image **matte, const hairstyle *h);

#endif
