/* around.h - the photo as a drawing refers to it: its tokens outside the region that may change, and how strongly each token of the
 * drawing looks at them. With the filled photo of the canvas, no pixel of that region reaches its keys and values. */
#ifndef TRESS_GENERATE_AROUND_H
#define TRESS_GENERATE_AROUND_H

#include "generate/bundle.h"
#include "generate/canvas.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_AROUND_ROWS_MIN 16                   /* fewer tokens tell nothing: the reference is left off */
typedef struct tr_around {
    int32_t  *row;                              /* [n_row] rising: the photo's tokens that are seen */
    int64_t   n_row;
    int32_t  *drawn;                            /* [n_drawn] rising: tokens that reach into the region that may change */
    int64_t   n_drawn;
} tr_around;
/* rows: the most to keep, nearest to the region first. Fails: OOM. */
TR_CHECKED tress_status tr_around_make(tr_around *out, const tr_canvas *c, int rows);
void tr_around_fini(tr_around *s);

/* The policy that a drawing follows: never AUTO. */
TR_CHECKED tress_status tr_around_policy(tress_reference *out, const tr_bundle *m, const tress_generate_args *a);
/* The weight of a reference's keys at a token of soft matte hair, at strength p in 0..1:
 *     min(p / (1 - p), 32) (1 - 0.4 m + 0.6 4 m (1 - m))       most at the border of hair, less within it */
float tr_around_weight(float p, float hair);
/* Blocks begin .. end - 1 that see the reference: as asked for, or the default of a transformer of n_block. Fails: ARG. */
TR_CHECKED tress_status tr_around_window(int *begin, int *end, const tress_generate_args *a, int n_block);

#ifdef __cplusplus
}
#endif
#endif
