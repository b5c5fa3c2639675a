/* latents.h - the pictures of a data set as the transformer sees them, encoded once and kept on disk.
 * One safetensors file each (mean, std, control, mask; F32), named by the SHA-256 of all that it hangs on: the bytes of the three
 * files, what was done to them, and the VAE's fingerprint. So a folder may serve any number of runs and data sets. Each file holds the
 * digest of its tensors; one that is damaged or foreign is made anew, with a note. */
#ifndef TRESS_DATA_LATENTS_H
#define TRESS_DATA_LATENTS_H

#include "data/check.h"
#include "data/prepare.h"
#include "model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_latents_spec {
    tr_prepare_spec prepare;                    /* cell is the VAE's factor */
    tress_control_range control_range;
    bool control_shifted;                       /* the control latent with the VAE's shift; false for ControlNets of the InstantX kind */
    int  variants;                              /* K: kept of each picture when it is augmented; 0: nothing is kept, each is drawn afresh */
} tr_latents_spec;
#define TR_LATENTS_FILES_MAX 32768              /* all are mapped at once; a process may have 65530 maps */

typedef struct tr_latents_args {                /* all borrowed, until the close */
    const tr_check *check;                      /* of fit data */
    const bool     *held;                       /* [n_item] held out: never augmented, always kept. NULL: none */
    tr_vae         *vae;
    tr_weights     *weights;                    /* those vae was opened with */
    tr_stream      *stream;                     /* its cancel hook ends the making of files; those made stay */
    const char     *dir;                        /* of the files, made if need be */
    int64_t         memory_max;                 /* as tr_vae_choose_band; 0: no limit */
    int             n_thread;
    const tr_data_hooks *hooks;                 /* NULL: none */
} tr_latents_args;

typedef struct tr_latents tr_latents;
/* Makes what is missing; then every file is open, mapped and verified, and tr_latents_get allocates nothing (unless it draws afresh).
 * *out is new. Fails: FORMAT (unfit data, a file that has changed since the check), ARG (the spec; too many files), NONFINITE naming
 * the picture, IO, OOM, CANCELLED. */
TR_CHECKED tress_status tr_latents_open(tr_latents **out, const tr_latents_spec *spec, const tr_latents_args *args);
void tr_latents_close(tr_latents *l);

typedef struct tr_latents_item {
    const char *name;                           /* view */
    bool held;
    int  h, w;                                  /* latent cells */
    int  bucket;                                /* the same for items of the same size; from 0 */
} tr_latents_item;
int tr_latents_count(const tr_latents *l);
int tr_latents_channels(const tr_latents *l);
tr_latents_item tr_latents_at(const tr_latents *l, int i);
/* Item i: mean, std, control [c, h, w] and mask [1, h, w] are copied. draw picks one of the variants by chance keyed by the seed, or is
 * the number of a fresh drawing where nothing is kept. Fails (fresh drawings only): as open. */
TR_CHECKED tress_status tr_latents_get(tr_latents *l, int i, uint64_t draw, float *mean, float *std, float *control, float *mask);
/* SHA-256 over all names, file hashes, which are held out, the spec and the VAE: what a resumed run must find again. */
const char *tr_latents_digest(const tr_latents *l);

#ifdef __cplusplus
}
#endif
#endif
