/* scale.h - the dynamic loss scale of 16-bit training, as torch.cuda.amp.GradScaler: the loss is multiplied by it before the backward
 * pass so that small gradients do not vanish, and the gradients are divided by it afterwards. A step whose gradients are not finite is
 * skipped and halves it; 2000 good ones in a row double it. Without 16-bit numbers it is 1 and only counts bad steps. */
#ifndef TRESS_TRAIN_SCALE_H
#define TRESS_TRAIN_SCALE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_SCALE_FIRST  65536.0
#define TR_SCALE_GROWTH 2000                    /* good steps until it doubles */
#define TR_SCALE_MIN    1.0
#define TR_SCALE_BAD    20                      /* bad steps in a row end a run */

typedef struct tr_scale {                       /* all of it belongs into a checkpoint */
    double  scale;
    int64_t n_good;                             /* good steps since it last changed */
    int64_t n_bad;                              /* bad steps in a row */
    int64_t n_skipped;                          /* bad steps of the run */
    bool    dynamic;
} tr_scale;
void tr_scale_init(tr_scale *s, bool dynamic);

/* After a step: were its loss and gradients finite? False: the step is not to be taken.
 * Fails: NONFINITE: the 20th bad step in a row, or the scale would fall below 1. The caller adds which sample it was. */
TR_CHECKED tress_status tr_scale_update(tr_scale *s, bool finite);

#ifdef __cplusplus
}
#endif
#endif
