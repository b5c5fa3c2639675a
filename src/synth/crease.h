/* crease.h - the lines that one sees in painted hair: where locks part, lit against unlit, followed along the hair. */
#ifndef TRESS_SYNTH_CREASE_H
#define TRESS_SYNTH_CREASE_H

#include "synth/paint.h"

#ifndef __cplusplus

#define TR_CREASE_POINTS 160
typedef struct tr_crease { int n; float x[TR_CREASE_POINTS], y[TR_CREASE_POINTS], clear; } tr_crease;   /* canvas units; clear: mean contrast */
typedef struct tr_creases { tr_crease *crease; int n, max; } tr_creases;                               /* owned */

/* Clearest first seen, none beside another. Strands of plaits from lock `plait` on are left out. Fails: OOM. */
TR_CHECKED tress_status tr_creases_find(tr_creases *out, const tr_plate *c, float exposure, int plait);
void tr_creases_fini(tr_creases *c);

#endif
#endif
