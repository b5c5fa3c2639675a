/* Adapters on a model: stacked by layer for the run, or added into copies of the weights. */
#include "model/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct stacked {
    tr_linear_layer *layer;
    int     rank;                               /* of all adapters on this layer together */
    int     used;                               /* rows filled so far */
    float  *a, *up;                             /* host: [rank, d_in], [d_out, rank]; dropped once used */
    tr_tensor w_own;                            /* the weight as the file has it, while a copy stands in; or none */
} stacked;

struct tr_lora_stack {
    tr_device *device;
    stacked   *at;                              /* [n], one for each layer of the model, in its order */
    int        n;
};

/* ---- matching -------------------------------------------------------------------------------------------- */
typedef struct slot { const char *name; int i; } slot;

static int by_name(const void *a, const void *b) { return strcmp(((const slot *)a)->name, ((const slot *)b)->name); }

/* The fault lies in this adapter's file. */
static tress_status of_file(tress_status st, const tr_lora *l)
{
    return tr_lora_path(l)[0] ? tr_note(st, "%s", tr_lora_path(l)) : st;
}

/* For every pair of every adapter, in order: the layer it sits on. *out is new, [pairs of all]. */
static tress_status match(int **out, tr_lora_stack *k, const tr_lora *const *list, int n)
{
    tress_status st = TRESS_OK;
    slot *index = NULL;
    int *place = NULL;
    void *p = NULL;
    int64_t n_pair = 0;
    for (int i = 0; i < n; i++) n_pair += tr_lora_count(list[i]);
    TR_TRY(tr_alloc_array(&p, k->n, sizeof *index));
    index = p;
    TR_TRY(tr_alloc_array(&p, n_pair, sizeof *place));
    place = p;
    for (int i = 0; i < k->n; i++) index[i] = (slot){ k->at[i].layer->name, i };
    qsort(index, (size_t)k->n, sizeof *index, by_name);
    int64_t at = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < tr_lora_count(list[i]); j++) {
            const tr_lora_pair *pair = tr_lora_at(list[i], j);
            const slot *found = bsearch(&(slot){ pair->layer, 0 }, index, (size_t)k->n, sizeof *index, by_name);
            if (!found) TR_TRY(of_file(tr_fail(TRESS_E_CONTRACT, "LoRA key %s matches no layer of the transformer", pair->layer), list[i]));
            const stacked *s = &k->at[found->i];
            const tr_tensor w = s->layer->w;
            if (pair->rank < 1 || pair->rank > 4096 || !tr_has_dims(pair->a, TR_DIMS(pair->rank, w.shape[1])) ||
                !tr_has_dims(pair->up, TR_DIMS(w.shape[0], pair->rank))) {
                char a[TR_DIMS_TEXT], up[TR_DIMS_TEXT];
                TR_TRY(of_file(tr_fail(TRESS_E_SHAPE, "LoRA on %s has A %s and B %s of rank %d, the layer takes [r, %" PRId64
                                              "] and [%" PRId64 ", r]",
                               pair->layer, tr_dims_text(a, pair->a.rank, pair->a.shape),
                               tr_dims_text(up, pair->up.rank, pair->up.shape), pair->rank, w.shape[1], w.shape[0]),
                               list[i]));
            }
            place[at++] = found->i;
        }
    *out = place;
    place = NULL;
done:
    tr_free(index);
    tr_free(place);
    return st;
}

/* A on rows, B on columns with its factor. */
static tress_status put(stacked *s, const tr_lora_pair *pair, float weight)
{
    const int64_t d_in = s->layer->w.shape[1], d_out = s->layer->w.shape[0], r = pair->rank;
    const float *a = pair->a.data, *up = pair->up.data;                   /* [r, d_in], [d_out, r] */
    memcpy(s->a + (int64_t)s->used * d_in, a, (size_t)(r * d_in) * sizeof *a);
    for (int64_t i = 0; i < d_out; i++)
        for (int64_t j = 0; j < r; j++) {
            const float v = weight * up[i * r + j];
            if (!isfinite(v)) return tr_fail(TRESS_E_ARG, "LoRA on %s times its weight %g is not finite", pair->layer, (double)weight);
            s->up[i * s->rank + s->used + j] = v;
        }
    s->used += pair->rank;
    return TRESS_OK;
}

/* The adapters gathered by layer in host memory. */
static tress_status gather(tr_lora_stack **out, tr_mmdit *m, const tr_lora *const *list, const float *weight, int n)
{
    tress_status st = TRESS_OK;
    tr_lora_stack *k = NULL;
    int *place = NULL;
    void *p = NULL;
    for (int i = 0; i < n; i++)
        if (!isfinite(weight[i]))
            TR_TRY(tr_fail(TRESS_E_ARG, "the weight of LoRA %d is %g, expected a finite number", i + 1, (double)weight[i]));
    TR_TRY(tr_alloc(&p, sizeof *k));
    k = p;
    k->device = tr_mmdit_device(m);
    TR_TRY(tr_alloc_array(&p, tr_mmdit_layer_count(m), sizeof *k->at));
    k->at = p;
    k->n = tr_mmdit_layer_count(m);
    for (int i = 0; i < k->n; i++) k->at[i].layer = tr_mmdit_layer(m, i);
    TR_TRY(match(&place, k, list, n));

    int64_t at = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < tr_lora_count(list[i]); j++) {
            stacked *s = &k->at[place[at++]];
            s->rank += tr_lora_at(list[i], j)->rank;
            if (s->rank > 65536)
                TR_TRY(tr_fail(TRESS_E_SHAPE, "LoRAs on %s have rank %d together, expected at most 65536", s->layer->name, s->rank));
        }
    for (int i = 0; i < k->n; i++) {
        stacked *s = &k->at[i];
        if (!s->rank) continue;
        TR_ASSERT(tr_is_none(s->layer->a));     /* one stack on a model at a time */
        TR_TRY(tr_alloc_array(&p, s->rank * s->layer->w.shape[1], sizeof *s->a));
        s->a = p;
        TR_TRY(tr_alloc_array(&p, s->rank * s->layer->w.shape[0], sizeof *s->up));
        s->up = p;
    }
    at = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < tr_lora_count(list[i]); j++) TR_TRY(put(&k->at[place[at++]], tr_lora_at(list[i], j), weight[i]));
    *out = k;
    k = NULL;
done:
    tr_free(place);
    tr_lora_stack_free(k);
    return st;
}

static void drop_host(stacked *s)
{
    tr_free(s->a);
    tr_free(s->up);
    s->a = s->up = NULL;
}

/* ---- beside the weights ---------------------------------------------------------------------------------- */
tress_status tr_lora_stack_new(tr_lora_stack **out, tr_mmdit *m, const tr_lora *const *list, const float *weight, int n)
{
    tress_status st = TRESS_OK;
    tr_lora_stack *k = NULL;
    tr_stream *stream = NULL;
    TR_TRY(gather(&k, m, list, weight, n));
    TR_TRY(tr_stream_new(&stream, k->device));
    for (int i = 0; i < k->n; i++) {
        stacked *s = &k->at[i];
        tr_linear_layer *l = s->layer;
        if (!s->rank) continue;
        TR_TRY(tr_device_take(k->device, &l->a, TR_F32, TR_DIMS(s->rank, l->w.shape[1])));
        TR_TRY(tr_device_take(k->device, &l->up, TR_F32, TR_DIMS(l->w.shape[0], s->rank)));
        TR_TRY(tr_upload(stream, l->a, s->a));
        TR_TRY(tr_upload(stream, l->up, s->up));
        TR_TRY(tr_stream_sync(stream));
        drop_host(s);
    }
    *out = k;
    k = NULL;
done:
    tr_stream_free(stream);
    tr_lora_stack_free(k);
    return st;
}

/* ---- into copies of the weights -------------------------------------------------------------------------- */
/* copy = W + up a, in F32 by bands of rows, rounded once to W's type. a_t [d_in, r] is A turned, up [d_out, r]: host. */
static tress_status merge_layer(tr_stream *stream, tr_tensor copy, const stacked *s, const float *a_t)
{
    enum { BAND = 256 };                        /* rows: the F32 band stays small beside the weight */
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(stream);
    const tr_tensor w = s->w_own;
    const int64_t d_out = w.shape[0], d_in = w.shape[1];
    int64_t bad = 0;
    tr_tensor band, up, turned;
    TR_TRY(tr_scratch(stream, &band, TR_F32, TR_DIMS(d_out < BAND ? d_out : BAND, d_in)));
    TR_TRY(tr_scratch(stream, &up, TR_F32, TR_DIMS(d_out, s->rank)));
    TR_TRY(tr_scratch(stream, &turned, TR_F32, TR_DIMS(d_in, s->rank)));
    TR_TRY(tr_upload(stream, up, s->up));
    TR_TRY(tr_upload(stream, turned, a_t));
    for (int64_t i = 0; i < d_out; i += BAND) {
        const int64_t n = d_out - i < BAND ? d_out - i : BAND;
        const tr_tensor sum = tr_slice(band, 0, 0, n);
        TR_TRY(tr_copy(stream, sum, tr_slice(w, 0, i, n)));
        TR_TRY(tr_linear(stream, sum, tr_slice(up, 0, i, n), turned, tr_none(), tr_none(), tr_none(),
                         &(tr_epilogue){ .residual = sum }));
        TR_TRY(tr_copy(stream, tr_slice(copy, 0, i, n), sum));
    }
    TR_TRY(tr_count_nonfinite(stream, copy, &bad));
    if (bad)
        TR_TRY(tr_fail(TRESS_E_NONFINITE, "merging into %s gives %" PRId64 " values beyond %s", s->layer->name, bad,
                       tr_dtype_name(w.dtype)));
done:
    tr_scratch_pop(stream, mark);
    return st;
}

tress_status tr_lora_stack_merge(tr_lora_stack **out, tr_mmdit *m, const tr_lora *const *list, const float *weight, int n)
{
    tress_status st = TRESS_OK;
    tr_lora_stack *k = NULL;
    tr_stream *stream = NULL;
    float *a_t = NULL;
    TR_TRY(gather(&k, m, list, weight, n));
    TR_TRY(tr_stream_new(&stream, k->device));
    for (int i = 0; i < k->n; i++) {
        stacked *s = &k->at[i];
        tr_linear_layer *l = s->layer;
        if (!s->rank) continue;
        const int64_t d_in = l->w.shape[1], d_out = l->w.shape[0];
        void *p = NULL;
        TR_TRY(tr_alloc_array(&p, s->rank * d_in, sizeof *a_t));
        a_t = p;
        for (int64_t r = 0; r < s->rank; r++)
            for (int64_t j = 0; j < d_in; j++) a_t[j * s->rank + r] = s->a[r * d_in + j];
        tr_tensor copy;
        TR_TRY(tr_device_take(k->device, &copy, l->w.dtype, TR_DIMS(d_out, d_in)));
        s->w_own = l->w;
        l->w = copy;                            /* from here on tr_lora_stack_free puts things back */
        TR_TRY(merge_layer(stream, copy, s, a_t));
        TR_TRY(tr_stream_sync(stream));
        tr_free(a_t);
        a_t = NULL;
        drop_host(s);
    }
    *out = k;
    k = NULL;
done:
    tr_free(a_t);
    tr_stream_free(stream);
    tr_lora_stack_free(k);
    return st;
}

void tr_lora_stack_free(tr_lora_stack *k)
{
    if (!k) return;
    for (int i = 0; i < k->n; i++) {
        stacked *s = &k->at[i];
        if (!s->rank) continue;
        drop_host(s);
        if (!tr_is_none(s->w_own)) {
            tr_device_give(k->device, s->layer->w);
            s->layer->w = s->w_own;
        }
        tr_device_give(k->device, s->layer->a);
        tr_device_give(k->device, s->layer->up);
        s->layer->a = s->layer->up = tr_none();
    }
    tr_free(k->at);
    tr_free(k);
}
