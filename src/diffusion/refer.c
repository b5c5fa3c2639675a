#include "diffusion/refer.h"

#include <math.h>
#include <string.h>

#define STAIR_MOST 0.6f                         /* sigma: above it the photo tells little */
#define LOGW_MOST 8.0f

struct tr_refer {
    tr_refer_args a;                            /* row and weight point to what is owned */
    tr_device *device;
    tr_reference *kept;
    int32_t  *row;
    float    *weight, *logw, *timestep;         /* [n_token] twice, [b] */
    tr_tensor seen;                             /* F32 [n_token] logw on the device */
    tr_tensor context, pooled;                  /* [b, 1, d_context], [b, d_pooled] of zeros */
    int64_t   b;                                /* of the reference: 1 where nothing tells samples apart */
    int       stair;                            /* the one that kept stands on; -1: none yet */
    float     sigma;                            /* kept is of it */
    float     fade;                             /* seen is of it; < 0: not made yet */
};

tress_status tr_refer_new(tr_refer **out, tr_stream *s, const tr_refer_args *a)
{
    tress_status st = TRESS_OK;
    tr_refer *r = NULL;
    void *p = NULL;
    tr_device *device = tr_stream_device(s);
    const tr_mmdit_config *c = tr_mmdit_get_config(a->transformer);
    TR_ASSERT(a->policy == TRESS_REFERENCE_CLEAN || a->policy == TRESS_REFERENCE_STAIRCASE || a->policy == TRESS_REFERENCE_NOISED);
    TR_TRY(tr_alloc(&p, sizeof *r));
    r = p;
    *r = (tr_refer){ .a = *a, .device = device, .b = a->policy == TRESS_REFERENCE_CLEAN ? 1 : a->noise.shape[0], .stair = -1, .fade = -1 };
    TR_TRY(tr_alloc_array(&p, a->n_row, sizeof *r->row));
    r->a.row = r->row = p;
    memcpy(p, a->row, (size_t)a->n_row * sizeof *r->row);
    TR_TRY(tr_alloc_array(&p, a->n_token, sizeof *r->weight));
    r->a.weight = r->weight = p;
    memcpy(p, a->weight, (size_t)a->n_token * sizeof *r->weight);
    TR_TRY(tr_alloc_array(&p, a->n_token, sizeof *r->logw));
    r->logw = p;
    TR_TRY(tr_alloc_array(&p, r->b, sizeof *r->timestep));
    r->timestep = p;
    TR_TRY(tr_reference_new(&r->kept, a->transformer, r->b, a->n_row, a->begin, a->end));
    TR_TRY(tr_device_take(device, &r->seen, TR_F32, TR_DIMS(a->n_token)));
    TR_TRY(tr_device_take(device, &r->context, tr_device_dtype(device), TR_DIMS(r->b, 1, c->d_context)));
    TR_TRY(tr_device_take(device, &r->pooled, tr_device_dtype(device), TR_DIMS(r->b, c->d_pooled)));
    TR_TRY(tr_set(s, r->context, 0));
    TR_TRY(tr_set(s, r->pooled, 0));
    *out = r;
    r = NULL;
done:
    tr_refer_free(r);
    return st;
}

void tr_refer_free(tr_refer *r)
{
    if (!r) return;
    const tr_tensor own[] = { r->seen, r->context, r->pooled };
    for (int i = 0; i < 3; i++)
        if (!tr_is_none(own[i])) tr_device_give(r->device, own[i]);
    tr_reference_free(r->kept);
    tr_free(r->row);
    tr_free(r->weight);
    tr_free(r->logw);
    tr_free(r->timestep);
    tr_free(r);
}

static float fade_of(tr_refer_fade kind, float sigma)
{
    if (kind == TR_FADE_COLOUR) return sigma >= 0.35f ? 1 : 0;
    return sigma <= 0.9f ? 1 : 1 - (sigma - 0.9f) * 5;
}

/* Keys and values of the rows at this noise. */
static tress_status make(tr_refer *r, tr_stream *s, float sigma)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const tr_mmdit_config *c = tr_mmdit_get_config(r->a.transformer);
    const int64_t h = r->a.picture.shape[2], w = r->a.picture.shape[3], d = (int64_t)c->n_head * c->d_head;
    tr_tensor x, all, rows;
    TR_TRY(tr_scratch(s, &x, TR_F32, TR_DIMS(r->b, c->channels_in, h, w)));
    TR_TRY(tr_scratch(s, &all, tr_stream_dtype(s), TR_DIMS(r->b, h * w / (c->patch * c->patch), d)));
    TR_TRY(tr_scratch(s, &rows, tr_stream_dtype(s), TR_DIMS(r->b, r->a.n_row, d)));
    for (int64_t i = 0; i < r->b; i++) {
        r->timestep[i] = 1000.0f * sigma;
        if (sigma > 0) TR_TRY(tr_axpby(s, tr_slice(x, 0, i, 1), 1 - sigma, r->a.picture, sigma, tr_slice(r->a.noise, 0, i, 1)));
        else TR_TRY(tr_copy(s, tr_slice(x, 0, i, 1), r->a.picture));
    }
    TR_TRY(tr_mmdit_embed(r->a.transformer, s, all, x));
    TR_TRY(tr_mmdit_gather(s, rows, all, r->row));
    TR_TRY(tr_reference_make(r->kept, r->a.transformer, s, &(tr_reference_args){
        .rows = rows, .context = r->context, .context_logw = logf((float)r->a.zero_rows), .pooled = r->pooled, .timestep = tr_view(r->timestep, TR_F32, TR_DIMS(r->b)) }));
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* The noise that this step wants kept to be of, if another. */
static bool wants(const tr_refer *r, float *sigma, int *stair, float now, int step)
{
    switch (r->a.policy) {
    case TRESS_REFERENCE_CLEAN: *sigma = 0, *stair = 0; break;
    case TRESS_REFERENCE_NOISED: *sigma = now, *stair = step; break;
    default:
        *sigma = now < STAIR_MOST ? now : STAIR_MOST;
        *stair = (int)((int64_t)step * TR_REFER_STAIRS / r->a.n_step);
    }
    return r->stair < 0 || (*stair != r->stair && *sigma != r->sigma);
}

static tress_status weigh(tr_refer *r, tr_stream *s, float fade)
{
    tress_status st = TRESS_OK;
    for (int64_t i = 0; i < r->a.n_token; i++) {
        const float v = logf(r->weight[i] * fade);
        r->logw[i] = v == -INFINITY ? v : v < -LOGW_MOST ? -LOGW_MOST : v > LOGW_MOST ? LOGW_MOST : v;
    }
    TR_TRY(tr_upload(s, r->seen, r->logw));
    TR_TRY(tr_stream_sync(s));                  /* logw is written again at another step */
    r->fade = fade;
done:
    return st;
}

tress_status tr_refer_step(tr_refer *r, tr_stream *s, float sigma, int step, tr_mmdit_see *see, bool *on)
{
    tress_status st = TRESS_OK;
    const float fade = fade_of(r->a.fade, sigma);
    float wanted;
    int stair;
    *on = fade > 0;
    if (!*on) return TRESS_OK;
    if (wants(r, &wanted, &stair, sigma, step)) {
        TR_TRY(make(r, s, wanted));
        r->sigma = wanted;
        r->stair = stair;
    }
    if (fade != r->fade) TR_TRY(weigh(r, s, fade));
    *see = (tr_mmdit_see){ r->kept, r->seen };
done:
    return st;
}
