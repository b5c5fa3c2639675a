#include "train/feed.h"

#include <math.h>

/* Top bytes of Philox streams: each purpose has numbers of its own. sigma.h uses 1; dropout of adapters 0. */
enum { NOISE = 2, LATENT = 3, SKETCH = 4, VARIANT = 5, FIXED = 6 };

struct tr_feed {
    tr_latents  *latents;                       /* borrowed */
    tr_feed_spec spec;
    tr_order    *order;
    int         *item;                          /* [n_item] pictures to train on, indices into latents */
    int          n_item;
    int         *index;                         /* [batch] of the micro-step at hand */
    bool        *no_sketch;                     /* [batch] */
    float       *z, *std, *control, *noise, *mask;      /* [batch, c, h, w] of the largest picture; std [c, h, w] */
    float       *sigma;
    int64_t      n_cell;                        /* h w of the largest */
    int          channels;
    uint64_t     loaded;                        /* 1 + the number of the micro-step that is in the arrays; 0: none */
};

static uint64_t stream_of(int purpose, int64_t step, int64_t sample) { return (uint64_t)purpose << 56 | (uint64_t)step << 16 | (uint64_t)sample; }

tress_status tr_feed_new(tr_feed **out, tr_latents *l, const tr_feed_spec *spec)
{
    tress_status st = TRESS_OK;
    tr_feed *f = NULL;
    int *bucket = NULL;
    void *p = NULL;
    if (spec->batch < 1 || spec->batch > TR_TRAIN_BATCH_MAX) TR_TRY(tr_fail(TRESS_E_ARG, "batch %d, expected 1 to %d", spec->batch, TR_TRAIN_BATCH_MAX));
    if (spec->accumulation < 1 || spec->accumulation > 256) TR_TRY(tr_fail(TRESS_E_ARG, "gradient-accumulation %d, expected 1 to 256", spec->accumulation));
    if (!(spec->sketch_dropout >= 0 && spec->sketch_dropout < 1)) TR_TRY(tr_fail(TRESS_E_ARG, "sketch-dropout %g, expected at least 0 and below 1", (double)spec->sketch_dropout));
    TR_TRY(tr_sigma_check(&spec->sigma));
    TR_TRY(tr_alloc(&p, sizeof *f));
    f = p;
    f->latents = l;
    f->spec = *spec;
    f->channels = tr_latents_channels(l);
    TR_TRY(tr_alloc_array(&p, tr_latents_count(l), sizeof *f->item));
    f->item = p;
    TR_TRY(tr_alloc_array(&p, tr_latents_count(l), sizeof *bucket));
    bucket = p;
    for (int i = 0; i < tr_latents_count(l); i++) {
        const tr_latents_item x = tr_latents_at(l, i);
        if ((int64_t)x.h * x.w > f->n_cell) f->n_cell = (int64_t)x.h * x.w;
        if (x.held) continue;
        bucket[f->n_item] = x.bucket;
        f->item[f->n_item++] = i;
    }
    TR_TRY(tr_order_new(&f->order, spec->seed, spec->batch, bucket, f->n_item));
    const int64_t one = f->channels * f->n_cell, all = spec->batch * one;
    const struct { float **to; int64_t n; } part[] = { { &f->z, all }, { &f->std, one }, { &f->control, all }, { &f->noise, all },
                                                       { &f->mask, spec->batch * f->n_cell }, { &f->sigma, spec->batch } };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        TR_TRY(tr_alloc_array(&p, part[i].n, sizeof(float)));
        *part[i].to = p;
    }
    TR_TRY(tr_alloc_array(&p, spec->batch, sizeof *f->index));
    f->index = p;
    TR_TRY(tr_alloc_array(&p, spec->batch, sizeof *f->no_sketch));
    f->no_sketch = p;
    *out = f;
    f = NULL;
done:
    tr_free(bucket);
    tr_feed_free(f);
    return st;
}

void tr_feed_free(tr_feed *f)
{
    if (!f) return;
    void *const own[] = { f->item, f->index, f->no_sketch, f->z, f->std, f->control, f->noise, f->mask, f->sigma };
    tr_order_free(f->order);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) tr_free(own[i]);
    tr_free(f);
}

int64_t tr_feed_epoch_steps(const tr_feed *f)
{
    return (tr_order_epoch_batches(f->order) + f->spec.accumulation - 1) / f->spec.accumulation;
}

const char *tr_feed_name(const tr_feed *f, int i) { return tr_latents_at(f->latents, f->index[i]).name; }

/* Picture i into place `at` of the batch: z = mean + std eps of noise stream `eps`, or the mean alone. */
static tress_status load(tr_feed *f, int i, int at, uint64_t draw, bool sampled, uint64_t eps)
{
    tress_status st = TRESS_OK;
    const tr_latents_item x = tr_latents_at(f->latents, i);
    const int64_t cells = (int64_t)x.h * x.w, n = f->channels * cells;
    float *z = f->z + at * n, *scratch = f->noise + at * n;             /* the noise comes later */
    TR_TRY(tr_latents_get(f->latents, i, draw, z, f->std, f->control + at * n, f->mask + at * cells));
    if (!sampled) goto done;
    tr_philox_normal(scratch, n, f->spec.seed, eps);
    for (int64_t j = 0; j < n; j++) z[j] += f->std[j] * scratch[j];
done:
    return st;
}

static tr_train_batch view(tr_feed *f, int64_t b, tr_latents_item x, uint64_t draw)
{
    return (tr_train_batch){ .b = b, .h = x.h, .w = x.w, .latents = f->z, .control = f->control, .noise = f->noise, .mask = f->mask, .sigma = f->sigma,
                             .draw = draw };
}

tress_status tr_feed_next(tr_feed *f, int64_t step, int micro, tr_train_batch *out)
{
    tress_status st = TRESS_OK;
    const int b = f->spec.batch;
    const uint64_t number = (uint64_t)step * (uint64_t)f->spec.accumulation + (uint64_t)micro;
    TR_ASSERT(step >= 0 && step < INT64_C(1) << 40 && micro >= 0 && micro < f->spec.accumulation);
    if (f->loaded == number + 1) goto loaded;
    f->loaded = 0;
    tr_order_batch(f->order, number, f->index);
    for (int i = 0; i < b; i++) {
        const int64_t sample = (int64_t)micro * b + i;
        f->index[i] = f->item[f->index[i]];
        const tr_latents_item x = tr_latents_at(f->latents, f->index[i]);
        const int64_t n = (int64_t)f->channels * x.h * x.w;
        TR_TRY(load(f, f->index[i], i, stream_of(VARIANT, step, sample), true, stream_of(LATENT, step, sample)));
        tr_philox_normal(f->noise + i * n, n, f->spec.seed, stream_of(NOISE, step, sample));
        f->sigma[i] = (float)tr_sigma_draw(&f->spec.sigma, f->spec.seed, step, sample);
        f->no_sketch[i] = f->spec.sketch_dropout > 0 && tr_philox_uniform(f->spec.seed, stream_of(SKETCH, step, 0), (uint64_t)sample) < f->spec.sketch_dropout;
    }
    f->loaded = number + 1;
loaded:
    *out = view(f, b, tr_latents_at(f->latents, f->index[0]), number);
    if (f->spec.sketch_dropout > 0) out->no_sketch = f->no_sketch;
done:
    return st;
}

tress_status tr_feed_fixed(tr_feed *f, int i, float sigma, tr_train_batch *out)
{
    tress_status st = TRESS_OK;
    const tr_latents_item x = tr_latents_at(f->latents, i);
    const int64_t n = (int64_t)f->channels * x.h * x.w;
    f->loaded = 0;
    f->index[0] = i;
    TR_TRY(load(f, i, 0, 0, false, 0));
    /* Not of the run's seed: two runs on the same data are measured by the same noise. */
    tr_philox_normal(f->noise, n, tr_data_key(x.name), stream_of(FIXED, (int64_t)lrintf(sigma * 1000), 0));
    f->sigma[0] = sigma;
    *out = view(f, 1, x, 0);
done:
    return st;
}
