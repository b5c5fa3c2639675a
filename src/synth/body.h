/* body.h - head, neck and shoulders as one smooth signed distance, and what it looks like without hair. */
#ifndef TRESS_SYNTH_BODY_H
#define TRESS_SYNTH_BODY_H

#include "image/pixels.h"
#include "synth/scene.h"

#ifndef __cplusplus

/* World distance to the body, positive outside, in canvas units; near the surface within 10 % of true. */
float tr_body_distance(const tr_scene *s, vec3 world);
vec3  tr_body_normal(const tr_scene *s, vec3 world);            /* outward, unit */
/* The skull, where hair grows: root i of n, spread evenly; false where no hair grows. Root and normal in world. */
bool  tr_body_root(const tr_scene *s, int i, int n, float jitter_u, float jitter_v, vec3 *root, vec3 *normal, vec3 *model);
vec3  tr_body_world(const tr_scene *s, vec3 head_model);        /* head model space to world */
float tr_body_hairline(float azimuth);                          /* model y below which no hair grows; azimuth 0 at the front */

#define TR_NO_DEPTH (-1e9f)
typedef struct tr_body_view {                                   /* planes of n x n canvas pixels; owned */
    int    n;
    float *depth;                                               /* world z, TR_NO_DEPTH where there is no body */
    vec3  *normal, *albedo;
    float *gloss;                                               /* specular gain */
    float *scalp;                                               /* 0..1: where hair grows */
} tr_body_view;
TR_CHECKED tress_status tr_body_trace(tr_body_view *out, const tr_scene *s, int n);
void tr_body_view_fini(tr_body_view *v);

#endif
#endif
