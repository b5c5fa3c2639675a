/* lr.h - learning rate schedules, as diffusers.optimization.get_scheduler: pure functions of the step.
 * With k steps done of n, w of them warm-up, the next step takes base times
 *   k < w        k / w: the very first step of a warm-up moves nothing, there as here
 *   constant     1
 *   linear       (n - k) / (n - w)
 *   cosine       (1 + cos(pi (k - w) / (n - w))) / 2
 *   polynomial   e + (1 - e) (1 - (k - w) / (n - w)), e = 1e-7 / base: power 1
 * and from n on what stands at n: diffusers' cosine would rise again there. */
#ifndef TRESS_TRAIN_LR_H
#define TRESS_TRAIN_LR_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_lr_kind { TR_LR_CONSTANT, TR_LR_LINEAR, TR_LR_COSINE, TR_LR_POLYNOMIAL, TR_LR_N } tr_lr_kind;
const char *tr_lr_name(tr_lr_kind kind);                        /* "constant" */
bool        tr_lr_parse(tr_lr_kind *out, const char *name);

#define TR_LR_END 1e-7                                          /* where polynomial ends, as in diffusers */

typedef struct tr_lr {
    tr_lr_kind kind;
    double     base;
    int64_t    warmup, total;                                   /* steps of the optimiser */
} tr_lr;

/* Fails: ARG naming --learning-rate (not finite, negative, above 1, or not above TR_LR_END with polynomial), --warmup-steps (negative,
 * or more than total), --steps (below 1). */
TR_CHECKED tress_status tr_lr_check(const tr_lr *lr);
/* The rate of the step after `done` steps, done >= 0; 0 <= it <= base. */
double tr_lr_at(const tr_lr *lr, int64_t done);

#ifdef __cplusplus
}
#endif
#endif
