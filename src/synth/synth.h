/* synth.h - procedural portraits with strand hair: photo, the same person bald, matte, sketch. The door of synth. Floor 4.
 * Everything follows from one seed: the same scene on any machine, pixels within 2/255. */
#ifndef TRESS_SYNTH_SYNTH_H
#define TRESS_SYNTH_SYNTH_H

#include "image/image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_synth_picture {               /* owned */
    tr_planes photo, bald;                      /* [3, size, size] sRGB 0..1 */
    tr_planes matte;                            /* [1, size, size] */
    tr_planes sketch;                           /* [3, size, size]: each stroke its own colour on black */
    char      caption[128], style[32], colour[32];
    float     light[3];                         /* unit vector towards the key light: x right, y down, z to the viewer */
    float     hair[3];                          /* sRGB of the hair's base colour */
    int       n_stroke;
} tr_synth_picture;

int         tr_synth_style_count(void);
const char *tr_synth_style_name(int style);     /* "straight", "bob", "three-strand braid" ... */
bool        tr_synth_style_is_plait(int style);
/* size: 64..2048, even. style: -1 for any. Painted at twice the size. Fails: ARG, OOM. */
TR_CHECKED tress_status tr_synth_draw(tr_synth_picture *out, uint64_t seed, int style, int size);
void tr_synth_picture_fini(tr_synth_picture *p);

#ifdef __cplusplus
}
#endif
#endif
