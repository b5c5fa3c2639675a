/* mmdit_int.h - inside of the transformer: what its forward and its training share. Stays inside model. */
#ifndef TRESS_MODEL_MMDIT_INT_H
#define TRESS_MODEL_MMDIT_INT_H

#include "model/block_int.h"
#include "model/embed_int.h"

struct tr_mmdit {
    tr_device      *device;
    tr_weights     *weights;                    /* borrowed: blocks that travel are called for */
    tr_mmdit_config config;
    tr_layer_list   layers;
    tr_patch_embed  patch;
    tr_time_text    time_text;
    tr_linear_layer *context_embedder;          /* [d, d_context] */
    tr_linear_layer *norm_out, *proj_out;       /* [2 d, d], [p p c_out, d] */
    tr_block *block;                            /* [n_block] */
    void    *pass;                              /* of mmdit_train.c; NULL: never trained */
};

typedef struct tr_mmdit_sizes { int64_t b, t, n, d; } tr_mmdit_sizes;      /* samples, image and text tokens, width */
/* The inputs are what they must be. */
TR_CHECKED tress_status tr_mmdit_check(tr_mmdit_sizes *z, const tr_mmdit *m, tr_stream *s, const tr_mmdit_args *a);
/* Which residual goes after block i, -1 for none. diffusers: int(i / (L / n)) in floating point, none after the last block;
 * the vendor's code: i / (L / n) in integers, the last block included, none after a skipped block. They part where n does
 * not divide L; there the vendor's rule runs past the end. */
TR_CHECKED tress_status tr_mmdit_residual(int *out, const tr_mmdit *m, const tr_mmdit_args *a, int i, bool skipped);
/* What enters the first block: io->image, io->text and silu_temb [b, d], given by the caller; io->text_logw takes scratch. */
TR_CHECKED tress_status tr_mmdit_begin(tr_mmdit *m, tr_stream *s, const tr_mmdit_args *a, tr_block_io *io, tr_tensor silu_temb);
/* out [b, c, h, w] = unpatchify(proj_out((scale; shift))) with mod = scratch [b, scale | shift]; place as in tr_mmdit_args. */
TR_CHECKED tress_status tr_mmdit_head_modulate(tr_tensor *mod, tr_mmdit *m, tr_stream *s, tr_tensor silu_temb);
TR_CHECKED tress_status tr_mmdit_head(tr_mmdit *m, tr_stream *s, tr_tensor out, tr_tensor image, const int32_t *place, tr_tensor mod, tr_probe probe);

#endif
