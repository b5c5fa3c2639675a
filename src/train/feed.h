/* feed.h - the samples of step number n: pictures, noise and noise levels, all a pure function of the seed and n. */
#ifndef TRESS_TRAIN_FEED_H
#define TRESS_TRAIN_FEED_H

#include "data/data.h"
#include "train/sigma.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_feed_spec {
    int      batch, accumulation;
    float    sketch_dropout;
    tr_sigma sigma;
    uint64_t seed;
} tr_feed_spec;

typedef struct tr_feed tr_feed;
/* Of all pictures of l that are not held out. l is borrowed. Fails: ARG, OOM. */
TR_CHECKED tress_status tr_feed_new(tr_feed **out, tr_latents *l, const tr_feed_spec *spec);
void tr_feed_free(tr_feed *f);
int64_t tr_feed_epoch_steps(const tr_feed *f);          /* steps until every picture was seen, rounded up */
/* Micro-step `micro` of step `step` (from 0). *out is a view until the next call; asked for once more it is there already. Fails (fresh drawings only): as tr_latents_get. */
TR_CHECKED tress_status tr_feed_next(tr_feed *f, int64_t step, int micro, tr_train_batch *out);
const char *tr_feed_name(const tr_feed *f, int i);      /* sample i of the last micro-step: the picture's name, view */

/* Held-out picture i of l alone at noise level sigma, with noise that depends on the picture and the level only. */
TR_CHECKED tress_status tr_feed_fixed(tr_feed *f, int i, float sigma, tr_train_batch *out);

#ifdef __cplusplus
}
#endif
#endif
