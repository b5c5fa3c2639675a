/* order.h - which pictures make up batch number n: a pure function of (seed, batch size, the pictures' buckets, n), so that a resumed
 * run needs no history. Each epoch has a permutation of its own, cut into batches of one bucket each, which are shuffled in turn.
 * A bucket's last batch is filled up from the beginning of its own order, so every epoch has the same number of batches and shows every
 * picture at least once. */
#ifndef TRESS_DATA_ORDER_H
#define TRESS_DATA_ORDER_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_order tr_order;
/* bucket[n_item] of each picture to train on: small numbers from 0, gaps allowed; copied. *out is new. Fails: ARG (no picture; batch below 1 or above 4096), OOM. */
TR_CHECKED tress_status tr_order_new(tr_order **out, uint64_t seed, int batch, const int *bucket, int n_item);
void tr_order_free(tr_order *o);
int64_t tr_order_epoch_batches(const tr_order *o);
/* index[batch]: the pictures of batch n, indices into bucket. The epoch it keeps at hand is remade when n lies in another; nothing is
 * allocated. */
void tr_order_batch(tr_order *o, uint64_t n, int *index);

#ifdef __cplusplus
}
#endif
#endif
