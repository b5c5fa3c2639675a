/* sigma.h - the noise level of one training sample: 1 is pure noise, 0 the picture. A pure function of seed, step and sample.
 *   logit-normal   1 / (1 + exp(-N(mean, std)))                    Esser et al. 2024, arXiv:2403.03206, sec. 3.1
 *   uniform        u
 *   mode           1 - u - k (cos^2(pi u / 2) - 1 + u)             k > 0 favours the middle, 1.29 in diffusers
 *   cosmap         density 2 / (pi (1 - 2 t + 2 t^2)): 1 - 1 / (tan(pi u / 2) + 1)
 * and then shifted: s sigma / (1 + (s - 1) sigma). Continuous: trainers with a table of 1000 levels draw an index in it. */
#ifndef TRESS_TRAIN_SIGMA_H
#define TRESS_TRAIN_SIGMA_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_sigma_kind { TR_SIGMA_LOGIT_NORMAL, TR_SIGMA_UNIFORM, TR_SIGMA_MODE, TR_SIGMA_COSMAP, TR_SIGMA_N } tr_sigma_kind;
const char *tr_sigma_name(tr_sigma_kind kind);                  /* "logit-normal" */
bool        tr_sigma_parse(tr_sigma_kind *out, const char *name);

/* The smallest level of the base model's own training, timestep 1 of 1000: below it the model was never asked anything. */
#define TR_SIGMA_MIN 1e-3

typedef struct tr_sigma {
    tr_sigma_kind kind;
    double mean, std;                                           /* logit-normal: 0, 1 */
    double mode_scale;                                          /* mode: 1.29 */
    double shift;                                               /* 1 changes nothing; 3 is that of the sampler */
} tr_sigma;
#define TR_SIGMA_DEFAULT { TR_SIGMA_LOGIT_NORMAL, 0, 1, 1.29, 1 }

/* Fails: ARG: mean outside -10 .. 10, std outside 0.01 .. 10, mode_scale outside -1 .. 1.75 (where sigma falls as u grows), shift
 * outside 0.01 .. 100. */
TR_CHECKED tress_status tr_sigma_check(const tr_sigma *spec);
/* In TR_SIGMA_MIN .. 1. step, sample >= 0. Philox stream: counter (sample, 1 << 56 | step), key seed: noise and other draws of the
 * same seed use other top bytes. */
double tr_sigma_draw(const tr_sigma *spec, uint64_t seed, int64_t step, int64_t sample);

#ifdef __cplusplus
}
#endif
#endif
