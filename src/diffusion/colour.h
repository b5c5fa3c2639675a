/* colour.h - hair towards the colours of a picture, without training: a start from it, and guidance of what is coarse.
 *     start   at the first step that ends at or below that sigma, within the matte:  x = (1 - sigma) z + sigma noise
 *     guide   while sigma > 0.4:  x0 += guide m G(m (z - x0)) / G(m), and x as if the step had gone to it
 * z is the picture's latent, m the matte, G a Gaussian of 6 latent pixels at 128. Strands are finer than G, so they stay the model's own. */
#ifndef TRESS_DIFFUSION_COLOUR_H
#define TRESS_DIFFUSION_COLOUR_H

#include "tensor/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_colour_args {
    tr_tensor    picture;                       /* [1, c, h, w] F32 z */
    tr_tensor    noise;                         /* [b, c, h, w] F32 that the drawing starts from */
    const float *hair;                          /* [h, w] host: m in 0..1, copied */
    float        start;                         /* in 0..1; 0: no start */
    float        guide;                         /* in 0..1; 0: no guidance */
} tr_colour_args;

typedef struct tr_colour tr_colour;
/* *out is new; tensors are borrowed. Fails: OOM. */
TR_CHECKED tress_status tr_colour_new(tr_colour **out, tr_stream *s, const tr_colour_args *a);
void tr_colour_free(tr_colour *c);
/* After the step from sigma to next: x [b, c, h, w] as it left it, x0 what it took for the clean latent; both change. */
TR_CHECKED tress_status tr_colour_after(tr_colour *c, tr_stream *s, tr_tensor x, tr_tensor x0, float sigma, float next);

#ifdef __cplusplus
}
#endif
#endif
