#include "data/order.h"

#include <string.h>

#define BUCKET_MAX (1 << 20)

struct tr_order {
    uint64_t seed, epoch;                       /* the epoch at hand */
    int      batch, n_item, n_bucket;
    int64_t  n_batch;                           /* of an epoch */
    int     *item;                              /* [n_item] by bucket, each bucket in the epoch's order */
    int     *begin;                             /* [n_bucket + 1] into item */
    int     *home;                              /* [n_item] by bucket, in the order given */
    struct { int bucket, at; } *cut;            /* [n_batch] in the epoch's order: which bucket, from which of its items on */
};

/* A uniform number below n: the high half of a product. The bias is at most n / 2^32. */
static int below(int n, uint64_t seed, uint64_t epoch, uint64_t purpose, uint64_t i)
{
    uint32_t w[4];
    tr_philox(w, seed ^ UINT64_C(0x6f72646572), epoch, purpose << 48 | i);      /* "order" */
    return (int)((uint64_t)w[0] * (uint64_t)n >> 32);
}

static void make_epoch(tr_order *o, uint64_t epoch)
{
    int64_t n = 0;
    memcpy(o->item, o->home, (size_t)o->n_item * sizeof *o->item);
    for (int b = 0; b < o->n_bucket; b++) {
        int *v = o->item + o->begin[b];
        const int size = o->begin[b + 1] - o->begin[b];
        for (int i = size - 1; i > 0; i--) {                                    /* Fisher and Yates */
            const int k = below(i + 1, o->seed, epoch, 1, (uint64_t)(o->begin[b] + i)), t = v[i];
            v[i] = v[k];
            v[k] = t;
        }
        for (int at = 0; at < size; at += o->batch, n++) {
            o->cut[n].bucket = b;
            o->cut[n].at = at;
        }
    }
    TR_ASSERT(n == o->n_batch);
    for (int64_t i = n - 1; i > 0; i--) {
        const int k = below((int)i + 1, o->seed, epoch, 2, (uint64_t)i), b = o->cut[i].bucket, at = o->cut[i].at;
        o->cut[i] = o->cut[k];
        o->cut[k].bucket = b;
        o->cut[k].at = at;
    }
    o->epoch = epoch;
}

tress_status tr_order_new(tr_order **out, uint64_t seed, int batch, const int *bucket, int n_item)
{
    tress_status st = TRESS_OK;
    tr_order *o = NULL;
    if (n_item < 1) TR_TRY(tr_fail(TRESS_E_ARG, "there is no picture to train on"));
    if (batch < 1 || batch > 4096) TR_TRY(tr_fail(TRESS_E_ARG, "--batch %d, it must lie between 1 and 4096", batch));
    TR_TRY(tr_alloc((void **)&o, sizeof *o));
    o->seed = seed;
    o->batch = batch;
    o->n_item = n_item;
    for (int i = 0; i < n_item; i++) {
        TR_ASSERT(bucket[i] >= 0 && bucket[i] < BUCKET_MAX);
        if (bucket[i] >= o->n_bucket) o->n_bucket = bucket[i] + 1;
    }
    TR_TRY(tr_alloc_array((void **)&o->item, n_item, sizeof *o->item));
    TR_TRY(tr_alloc_array((void **)&o->home, n_item, sizeof *o->home));
    TR_TRY(tr_alloc_array((void **)&o->begin, (int64_t)o->n_bucket + 1, sizeof *o->begin));
    for (int i = 0; i < n_item; i++) o->begin[bucket[i] + 1]++;                 /* a counting sort */
    for (int b = 0; b < o->n_bucket; b++) {
        o->n_batch += (o->begin[b + 1] + batch - 1) / batch;
        o->begin[b + 1] += o->begin[b];
    }
    for (int i = 0; i < n_item; i++) o->home[o->begin[bucket[i]]++] = i;
    for (int b = o->n_bucket; b > 0; b--) o->begin[b] = o->begin[b - 1];        /* each ended where the next began */
    o->begin[0] = 0;
    TR_TRY(tr_alloc_array((void **)&o->cut, o->n_batch, sizeof *o->cut));
    make_epoch(o, 0);
    *out = o;
    o = NULL;
done:
    tr_order_free(o);
    return st;
}

void tr_order_free(tr_order *o)
{
    if (!o) return;
    tr_free(o->item);
    tr_free(o->home);
    tr_free(o->begin);
    tr_free(o->cut);
    tr_free(o);
}

int64_t tr_order_epoch_batches(const tr_order *o) { return o->n_batch; }

void tr_order_batch(tr_order *o, uint64_t n, int *index)
{
    const uint64_t epoch = n / (uint64_t)o->n_batch;
    if (epoch != o->epoch) make_epoch(o, epoch);
    const int64_t i = (int64_t)(n % (uint64_t)o->n_batch);
    const int b = o->cut[i].bucket, size = o->begin[b + 1] - o->begin[b];
    for (int k = 0; k < o->batch; k++) index[k] = o->item[o->begin[b] + (o->cut[i].at + k) % size];
}
