/* prepare.h - photo, matte and sketch of an item brought to the size they are trained at, by one affine map for all three.
 * Nothing is squashed, except by rounding the scaled picture to whole pixels. What lies outside the photo has weight 0 in the mask. */
#ifndef TRESS_DATA_PREPARE_H
#define TRESS_DATA_PREPARE_H

#include "data/load.h"

#ifdef __cplusplus
extern "C" {
#endif

/* CROP: the frame is filled, centred on the hair as far as the photo reaches; hair that is larger than the frame would be cut, so then
 * the photo is made smaller until it fits, and what is left over is padding. LETTERBOX: the whole photo, centred, the rest padding.
 * Padding is mid grey in the photo and without strokes in the control picture. */
typedef enum tr_data_fit { TR_DATA_CROP, TR_DATA_LETTERBOX } tr_data_fit;

/* The most of each change; 0 is none. Drawn evenly, each by itself. */
typedef struct tr_augment {
    bool   flip;                                /* mirrored half of the times */
    double rotate;                              /* degrees to either side, at most 45 */
    double translate;                           /* of each side of the frame, to either side, at most 0.5 */
    double scale;                               /* larger by up to 1 + scale, smaller by up to 1 / (1 + scale); at most 1 */
    double stroke_width;                        /* pixels at 1024 that strokes of the control picture grow by, at most 16 */
} tr_augment;
bool tr_augment_is_on(const tr_augment *a);

typedef struct tr_prepare_spec {
    int         resolution;                     /* the frame has at most resolution^2 pixels */
    int         multiple;                       /* of each side: 16 */
    int         side_max;                       /* the longest side that the model takes */
    int         cell;                           /* pixels per latent cell: 8; divides multiple */
    tr_data_fit fit;
    bool        buckets;                        /* frames of several shapes, the nearest to the photo's; else all are square */
    tress_control_image control_image;
    double      mask_grow, mask_blur;           /* pixels at 1024: a disc's radius, then the sigma of one Gaussian; 0: none */
    tr_augment  augment;
    uint64_t    seed;
} tr_prepare_spec;
/* Fails: ARG naming the option that is out of its bounds. */
TR_CHECKED tress_status tr_prepare_check(const tr_prepare_spec *s);

/* The frame of a photo: a multiple of `multiple` (and, from 512 on, of a sixteenth of the resolution) a side, at least half the
 * resolution, of the shape nearest to the photo's. */
void tr_prepare_size(int *width, int *height, const tr_prepare_spec *s, int photo_width, int photo_height);

typedef struct tr_prepared {
    int       width, height;
    tr_planes photo;                            /* [3, height, width] 0..1 */
    tr_planes control;                          /* [3, height, width] 0..1 */
    tr_planes mask;                             /* [1, height / cell, width / cell] 0..1: the soft matte's mean over each cell */
    tr_affine map;                              /* from the frame's pixels to the photo's */
} tr_prepared;
/* img as tr_data_load_item gives them. augment: changed by chance, a pure function of (seed, name, draw); draw is the variant, or a
 * step's own number. Fails: SHAPE (a photo too long and thin to be scaled), FORMAT, OOM. */
TR_CHECKED tress_status tr_prepare(tr_prepared *out, const tr_prepare_spec *s, tr_image *const img[TR_DATA_KINDS], const char *name, bool augment,
                                   uint64_t draw);
void tr_prepared_fini(tr_prepared *p);

#ifdef __cplusplus
}
#endif
#endif
