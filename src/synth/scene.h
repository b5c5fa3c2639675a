/* scene.h - everything that makes one picture, drawn from one seed. Units: a canvas of 512 x 512, whatever size is rendered. */
#ifndef TRESS_SYNTH_SCENE_H
#define TRESS_SYNTH_SCENE_H

#include "core/core.h"
#include "synth/vec.h"

#ifndef __cplusplus

typedef enum tr_style {
    TR_STYLE_STRAIGHT, TR_STYLE_WAVY, TR_STYLE_CURLY, TR_STYLE_BOB, TR_STYLE_PONYTAIL, TR_STYLE_BUN,
    TR_STYLE_BRAID, TR_STYLE_ROPE, TR_STYLE_FISHTAIL, TR_STYLE_BRAID4, TR_STYLE_BRAID5, TR_STYLE_N
} tr_style;
const char *tr_style_name(tr_style s);          /* "straight", "three-strand braid" */
bool tr_style_is_plait(tr_style s);

typedef struct tr_hair_colour { const char *word; float rgb[3]; /* linear */ } tr_hair_colour;
extern const tr_hair_colour tr_hair_colours[];
extern const int tr_hair_colour_count;

typedef struct tr_backdrop { int kind; vec3 a, b; float angle; uint64_t seed; float blur; } tr_backdrop;

typedef struct tr_scene {
    uint64_t seed;
    /* view */
    vec3  centre;                               /* of the head on the canvas */
    float scale;
    mat3  head, body;                           /* model axes in world */
    float yaw;                                  /* radians; pi seen from behind */
    bool  back;
    /* light */
    vec3  to_light, key, ambient;               /* unit vector; linear RGB */
    float rim;                                  /* from behind, 0: none */
    tr_backdrop backdrop;
    /* person */
    vec3  skin, lips, iris, cloth_a, cloth_b;
    int   cloth_pattern;                        /* 0 plain, 1 stripes, 2 noise */
    float neckline;                             /* model y where cloth begins */
    float head_width, jaw_width, nose, lip, eye, brow;   /* shape factors near 1 */
    float freckle;
    /* hair */
    tr_style style;
    int   colour;                               /* index into tr_hair_colours */
    vec3  hair, hair_tip;                       /* linear base at root and tip */
    float highlight;                            /* share of lightened locks */
    float length, wave, wave_length, volume, clump, flyaway, part, fringe, gloss;
    int   plaits;                               /* 1 or 2 */
    vec3  tie;                                  /* head model space: where gathered hair meets */
    float plait_width, plait_rate;
    bool  plait_front;                          /* it falls in front of the shoulder */
    /* picture */
    float exposure, noise, blur;
} tr_scene;

/* style < 0: any. The same seed and style give the same scene anywhere. */
void tr_scene_make(tr_scene *out, uint64_t seed, int style);
/* "long wavy red hair", into buf of n bytes. */
void tr_scene_caption(char *buf, size_t n, const tr_scene *s);

#endif
#endif
