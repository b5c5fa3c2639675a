/* strand.h - hair as polylines: guides grown from the skull, children round them, plaits as tubes of hair. */
#ifndef TRESS_SYNTH_STRAND_H
#define TRESS_SYNTH_STRAND_H

#include "synth/body.h"
#include "synth/dice.h"

#ifndef __cplusplus

#define TR_GUIDE_POINTS 120
/* A lock's path: what children follow and what a person would draw. */
typedef struct tr_guide_path {
    int   n;
    vec3  p[TR_GUIDE_POINTS];
    float radius;                               /* of the lock at its root */
    int   tube;                                 /* plait tube it belongs to, or -1 */
    bool  draw;                                 /* a stroke may follow it */
} tr_guide_path;

/* A tube of a plait: centreline and radius, for its outline. */
typedef struct tr_tube { int n; vec3 p[TR_GUIDE_POINTS * 2]; float r[TR_GUIDE_POINTS * 2]; int plait; } tr_tube;

/* One painted piece: a short capsule. */
typedef struct tr_segment {
    vec3    a, b;                               /* world */
    vec3    base;                               /* linear colour of the hair itself */
    float   width, alpha;                       /* canvas units; opacity */
    float   u;                                  /* 0 root .. 1 tip */
    float   inner;                              /* 1 on a plait's rim, less inside a tube */
    float   lit;                                /* 0 where the body stands before the light */
    int16_t lock;                               /* guide or tube: what is front-most where */
} tr_segment;

typedef struct tr_hair {                        /* owned arrays */
    tr_guide_path *guide; int n_guide, max_guide;
    tr_tube       *tube;  int n_tube, max_tube;
    tr_segment    *segment; int64_t n_segment, max_segment;
} tr_hair;

/* Grow it all. Fails: OOM. */
TR_CHECKED tress_status tr_hair_grow(tr_hair *out, const tr_scene *s);
void tr_hair_fini(tr_hair *h);

/* Shared by the two growers. */
TR_CHECKED tress_status tr_hair_add_segment(tr_hair *h, tr_segment g);
TR_CHECKED tress_status tr_hair_add_guide(tr_hair *h, const tr_guide_path *g);
/* How much one lock differs from another, one hair from the next. */
typedef struct tr_lock_look { vec3 root, tip; } tr_lock_look;
tr_lock_look tr_lock_look_roll(const tr_scene *s, dice *d);
float tr_hair_lit(const tr_scene *s, vec3 world);            /* for tr_segment.lit */
/* n hairs along a path: frame-offset within `radius`, waved, tapering. */
typedef struct tr_children {
    int   n, lock;
    float radius, tip_radius, wave, wave_length, frizz, width, alpha, u0, u1;
} tr_children;
TR_CHECKED tress_status tr_hair_children(tr_hair *h, const tr_scene *s, dice *d, const tr_guide_path *g, const tr_children *c,
                                         vec3 *mean /* [g->n] or NULL: the waved path of the lock's middle, as one would draw it */);
/* Plaits from the tie points down; plait.c. */
TR_CHECKED tress_status tr_hair_plait(tr_hair *h, const tr_scene *s, dice *d, vec3 tie, float side);
/* A path from `from`, falling: first along `dir`, then by gravity, kept `clear` from the body. */
void tr_path_fall(tr_guide_path *g, const tr_scene *s, vec3 from, vec3 dir, float length, float stiffness, float clear, dice *d);

#endif
#endif
