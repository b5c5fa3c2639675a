#include "data/split.h"

/* In 0..1, of the name alone. The key is the split's own, so that augmentation of a picture tells nothing about its being held out. */
static double lot(const char *name)
{
    return (double)tr_philox_uniform(0x73706c6974u /* "split" */, tr_data_key(name), 0);
}

static void by_hash(bool *held, int *n_held, const tr_dataset *d, double fraction)
{
    int lowest = 0, highest = 0;
    for (int i = 0; i < d->n_item; i++) {
        held[i] = lot(d->item[i].name) < fraction;
        *n_held += held[i];
        if (lot(d->item[i].name) < lot(d->item[lowest].name)) lowest = i;
        if (lot(d->item[i].name) > lot(d->item[highest].name)) highest = i;
    }
    if (*n_held == 0) {
        held[lowest] = true;
        *n_held = 1;
    } else if (*n_held == d->n_item) {
        held[highest] = false;
        (*n_held)--;
    }
}

tress_status tr_split_make(bool *held, int *n_held, tr_split_reason *reason, const tr_dataset *d, double fraction)
{
    tress_status st = TRESS_OK;
    int n = 0;
    if (!(fraction >= 0 && fraction <= 0.5)) TR_TRY(tr_fail(TRESS_E_ARG, "--validation-split %g, it must lie between 0 and 0.5", fraction));
    for (int i = 0; i < d->n_item; i++) held[i] = false;
    if (d->n_test > 0) {
        for (int i = 0; i < d->n_item; i++) held[i] = d->item[i].test;
        n = d->n_test;
        *reason = TR_SPLIT_TEST;
    } else if (fraction == 0) {
        *reason = TR_SPLIT_OFF;
    } else if (d->n_item < TR_SPLIT_LEAST) {
        *reason = TR_SPLIT_FEW;
    } else {
        by_hash(held, &n, d, fraction);
        *reason = TR_SPLIT_HASH;
    }
    if (n == d->n_item) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: no picture to train on: %s", d->dir, d->n_item ? "all of them lie in test/" : "there is none"));
    *n_held = n;
done:
    return st;
}
