/* vae_int.h - the layers of an AutoencoderKL, and planes: pictures of activations that are stored, or computed by bands of
 * rows when somebody asks for them. Stays inside model. */
#ifndef TRESS_MODEL_VAE_INT_H
#define TRESS_MODEL_VAE_INT_H

#include "model/vae.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_vae_conv { tr_tensor w, b; } tr_vae_conv;          /* [m, c, k, k], [m]; also a linear layer [m, c] */
typedef struct tr_vae_norm { tr_tensor w, b; } tr_vae_norm;          /* [c] each */
typedef struct tr_vae_resnet {
    tr_vae_norm norm1, norm2;
    tr_vae_conv conv1, conv2, shortcut;                              /* the shortcut's w is none where channels stay */
} tr_vae_resnet;

typedef struct tr_vae_half {
    tr_vae_conv    in, out, sample[TR_LEVEL_MAX];                    /* sample: of the level to the next; none in the last */
    int            n_res;                                            /* of each level */
    tr_vae_resnet *res;                                              /* [n_level][n_res], owned */
    tr_vae_resnet  mid[2];
    tr_vae_norm    attention_norm, norm_out;
    tr_vae_conv    q, k, v, o;                                       /* none without attention */
} tr_vae_half;

/* Tests look at the stages: "encoder.conv_in", "decoder.mid_block", "decoder.level.2", .. as [1, h, w, c], where they are stored. */
typedef struct tr_vae_watch { void *self; void (*stage)(void *self, const char *name, int level, tr_tensor x); } tr_vae_watch;

struct tr_vae {
    tr_vae_config config;
    tr_vae_watch  watch;
    tr_device    *device;                                            /* borrowed */
    tr_vae_half   encoder, decoder;
    tr_vae_conv   quant, post_quant;                                 /* none where the config has none */
};
#define TR_VAE_EPS 1e-6f                                             /* of every group norm */

/* ---- memory of one picture ------------------------------------------------------------------------------- */
/* Two pools hold the outputs of the levels in turn; whatever else is needed for a while takes the rest of a pool, where
 * there is room, and else scratch. */
typedef struct tr_vae_run {
    const tr_vae_config *config;
    tr_stream *s;
    int64_t    band;                                                 /* rows at the current level; 0: everything is stored */
    tr_tensor  pool[2];                                              /* [n] of the stream's type */
    int64_t    used[2];
} tr_vae_run;

typedef struct tr_vae_mark { int64_t used[2]; tr_arena_mark scratch; } tr_vae_mark;
tr_vae_mark tr_vae_push(tr_vae_run *r);
void tr_vae_pop(tr_vae_run *r, tr_vae_mark m);
TR_CHECKED tress_status tr_vae_take(tr_vae_run *r, tr_tensor *out, tr_dtype t, tr_dims d);
/* All of pool i for a level's output [1, h, w, c]: what was in it is over. */
tr_tensor tr_vae_claim(tr_vae_run *r, int i, int64_t h, int64_t w, int64_t c);
bool tr_vae_has_room(const tr_vae_run *r, int64_t n);               /* n elements in the rest of a pool */

/* ---- planes ---------------------------------------------------------------------------------------------- */
/* [1, h, w, c] = conv(silu(norm(from))) + shortcut(plus); norm, plus and shortcut may be absent. */
typedef struct tr_plane tr_plane;
struct tr_plane {
    int64_t   h, w, c;
    tr_tensor stored;                           /* none: virtual, computed from the recipe below */
    tr_plane *from;
    const tr_vae_conv *conv;
    int       stride, upsample;                 /* 0 stands for 1 */
    const tr_vae_norm *norm;
    tr_tensor stats;                            /* of from: F64 [1, h, groups, 2] */
    tr_plane *plus;
    const tr_vae_conv *shortcut;
    tr_tensor window;                           /* rows begin .. of a virtual plane, at hand for now; or none */
    int64_t   begin;
};
/* The statistics of p by rows, taken before. */
TR_CHECKED tress_status tr_plane_stats(tr_vae_run *r, tr_plane *p, tr_tensor stats);
/* Compute all of p into `to`, which becomes its storage. to may be the storage of p->plus, when the shortcut is absent. */
TR_CHECKED tress_status tr_plane_store(tr_vae_run *r, tr_plane *p, tr_tensor to);
/* As store, over the storage of p->plus while virtual planes between still read it: the rows that later bands need are carried. */
TR_CHECKED tress_status tr_plane_store_over(tr_vae_run *r, tr_plane *p);
/* Compute all of p into to [1, c, h, w]. */
TR_CHECKED tress_status tr_plane_store_turned(tr_vae_run *r, tr_plane *p, tr_tensor to);
/* q = q's recipe and, in the same bands, y = shortcut(p), both stored; p = q->from. */
TR_CHECKED tress_status tr_plane_store_both(tr_vae_run *r, tr_plane *q, tr_tensor to_q, const tr_vae_conv *shortcut, tr_tensor to_y);

#ifdef __cplusplus
}
#endif
#endif
