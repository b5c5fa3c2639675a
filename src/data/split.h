/* split.h - which pictures are held out to validate on. */
#ifndef TRESS_DATA_SPLIT_H
#define TRESS_DATA_SPLIT_H

#include "data/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_split_reason {
    TR_SPLIT_TEST,                              /* those of the test/ half */
    TR_SPLIT_HASH,                              /* about `fraction` of them, by their names */
    TR_SPLIT_FEW,                               /* none: fewer than TR_SPLIT_LEAST pictures */
    TR_SPLIT_OFF                                /* none: fraction is 0 */
} tr_split_reason;
#define TR_SPLIT_LEAST 10

/* held[n_item]. Without a test/ half a picture is held out when a hash of its name falls below fraction (0 to 0.5): a picture's own
 * doing, whatever the others and their order. Only where that holds out none, or all, the nearest one is moved over.
 * *reason tells why, *n_held how many. Fails: ARG (fraction), FORMAT (nothing is left to train on). */
TR_CHECKED tress_status tr_split_make(bool *held, int *n_held, tr_split_reason *reason, const tr_dataset *d, double fraction);

#ifdef __cplusplus
}
#endif
#endif
