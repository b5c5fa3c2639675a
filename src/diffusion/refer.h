/* refer.h - Reference Attention while a drawing is sampled: a picture's rows go through the transformer with zero text, at a noise level
 * that the policy names, and each token of the drawing attends to them by a weight of its own.
 *     clean       sigma 0, once: keys and values serve all steps, both branches of guidance and every sample
 *     staircase   min(sigma, 0.6), made anew at no more than TR_REFER_STAIRS steps, with the drawing's own noise
 *     noised      sigma, at every step, with the drawing's own noise
 * w_i(sigma) = weight_i fade(sigma): SCENE 1 up to sigma 0.9, falling to 1/2 at 1, so that the sketch lays out first;
 * COLOUR 1 above sigma 0.35, else 0: colour is decided early, and later would flatten strands. log w is held within 8. */
#ifndef TRESS_DIFFUSION_REFER_H
#define TRESS_DIFFUSION_REFER_H

#include "model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_REFER_STAIRS 4
typedef enum tr_refer_fade { TR_FADE_SCENE, TR_FADE_COLOUR } tr_refer_fade;
typedef struct tr_refer_args {
    tr_mmdit       *transformer;
    tress_reference policy;                     /* CLEAN, STAIRCASE or NOISED */
    tr_refer_fade   fade;
    tr_tensor       picture;                    /* [1, 16, h, w] its latent */
    tr_tensor       noise;                      /* [b, 16, h, w] that the drawing starts from; not read by CLEAN */
    const int32_t  *row;                        /* [n_row] host, copied: its tokens that are seen */
    int64_t         n_row;
    const float    *weight;                     /* [n_token] host, copied: of the drawing's tokens in their order, 0: looks not */
    int64_t         n_token;
    int             begin, end;                 /* blocks begin .. end - 1 see it */
    int             n_step;
    int             zero_rows;                  /* how many zero rows of text the rows are run with */
} tr_refer_args;

typedef struct tr_refer tr_refer;
/* *out is new; tensors are borrowed. Fails: OOM. */
TR_CHECKED tress_status tr_refer_new(tr_refer **out, tr_stream *s, const tr_refer_args *a);
void tr_refer_free(tr_refer *r);
/* Bring it to this step: *on says whether any token looks; then *see is what it looks at, good until the next step. Steps go up. */
TR_CHECKED tress_status tr_refer_step(tr_refer *r, tr_stream *s, float sigma, int step, tr_mmdit_see *see, bool *on);

#ifdef __cplusplus
}
#endif
#endif
