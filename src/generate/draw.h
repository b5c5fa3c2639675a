/* draw.h - the whole way: sketch, words and photo into pictures. */
#ifndef TRESS_GENERATE_DRAW_H
#define TRESS_GENERATE_DRAW_H

#include "generate/bundle.h"
#include "image/image.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tress_result {
    int        n;                               /* pictures wanted; on a device that computes nothing there are none */
    tr_image **image;                           /* [n] owned, NULL where there is none */
    tr_image  *control, *alpha, *overlay;       /* owned; NULL: none */
    uint64_t   seed;
    int        width, height;                   /* drawn at */
    char     **parameters, **json;              /* [n] owned */
};
typedef struct tress_result tr_result;

/* *out is new. m is opened with what a asks for. On a dry device every check is made and every network's work is counted into
 * the host's ledger, but nothing is drawn. Fails as tress_generate. */
TR_CHECKED tress_status tr_draw(tr_result **out, tr_bundle *m, const tress_generate_args *a);
void tr_result_free(tr_result *r);

/* Does this drawing run the ControlNet? */
bool tr_draw_controls(const tr_bundle *m, const tress_generate_args *a);
/* Of the networks alone, for probes: x [b, c, h, w] from noise to latent in place. condition may be none. after may be NULL. */
struct tr_words;
typedef struct tr_draw_more {                   /* what a photo adds; members as in tr_guide_args */
    tr_refer *refer[TR_SEE_MAX];
    int       n_refer;
    const int32_t *row;
    int64_t   n_row;
    const float *control_row;
} tr_draw_more;
TR_CHECKED tress_status tr_draw_latents(tr_bundle *m, tr_stream *s, tr_tensor x, const tress_generate_args *a, const tr_schedule *schedule,
                                        const struct tr_words *words, tr_tensor condition, const tr_draw_more *more /* NULL: nothing */,
                                        tress_status (*after)(void *self, tr_stream *s, tr_tensor x, tr_tensor x0_guess, float sigma_next, int step),
                                        void *after_self);

#ifdef __cplusplus
}
#endif
#endif
