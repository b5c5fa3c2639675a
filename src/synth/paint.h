/* paint.h - light on body and hair, and hair painted over the body, back to front. */
#ifndef TRESS_SYNTH_PAINT_H
#define TRESS_SYNTH_PAINT_H

#include "synth/strand.h"

#ifndef __cplusplus

/* How much light reaches a place: opacity of hair between it and the light, in a box round the person. */
typedef struct tr_light_grid {
    mat3   axes;                                /* z row: towards the light */
    float *dark;                                /* [GRID_Z][GRID_XY][GRID_XY] summed opacity from the light inwards; owned */
} tr_light_grid;
TR_CHECKED tress_status tr_light_grid_make(tr_light_grid *out, const tr_hair *h, vec3 towards);
float tr_light_grid_dark(const tr_light_grid *g, vec3 world);                   /* summed opacity between a place and the light */
float tr_light_grid_reach(const tr_light_grid *g, vec3 world, float strength);  /* exp(-strength dark): 1 lit .. 0 dark */
void  tr_light_grid_fini(tr_light_grid *g);

/* How the body itself shades: distance to the body along the light, soft. */
float tr_body_reach(const tr_scene *s, vec3 world, vec3 towards);

typedef struct tr_plate {                      /* n x n, owned */
    int    n;
    vec3  *colour;                              /* linear */
    float *through;                             /* what is left of the background: 1 - hair alpha */
    float *front;                               /* world z of the front-most hair, TR_NO_DEPTH */
    int16_t *lock;                              /* whose it is, -1: nobody's */
} tr_plate;
TR_CHECKED tress_status tr_plate_new(tr_plate *out, int n);
void tr_plate_fini(tr_plate *c);

/* The person without hair over the backdrop; with `grid`, hair darkens the skin below it and tints the scalp. */
void tr_paint_body(tr_plate *c, const tr_scene *s, const tr_body_view *v, const float *body_reach, const tr_light_grid *grid);
TR_CHECKED tress_status tr_paint_hair(tr_plate *c, const tr_scene *s, const tr_hair *h, const tr_body_view *v,
                                      const tr_light_grid *key, const tr_light_grid *sky, const tr_light_grid *view);
void tr_paint_backdrop(tr_plate *c, const tr_scene *s);
/* Deepen the shade between locks, for which the grids are too coarse; relief.c. Nothing at 0. Fails: OOM. */
TR_CHECKED tress_status tr_paint_relief(tr_plate *c, float amount);

#endif
#endif
