#include "model/adapters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct adapter {
    tr_linear_layer *layer;
    int     block;
    int64_t at_a, at_b;                         /* in the flat tensors */
    char   *name[2];                            /* of A and B in files */
} adapter;

struct tr_adapters {
    tr_device *device;
    int        rank;
    float      scale;                           /* alpha / r */
    tr_tensor  params, grads;                   /* F32 [n] */
    tr_tensor  shown;                           /* what the model computes with: params, or somebody's */
    tr_tensor  narrow;                          /* [n] shown in the type of the activations, where that is not F32; else none */
    adapter   *at;
    int        n;
    bool       on;
};

/* ---- which layers ---------------------------------------------------------------------------------------- */
static const struct { int target; const char *name; } targets[] = {
    { TR_TARGET_TO_Q, "attn.to_q" }, { TR_TARGET_TO_K, "attn.to_k" }, { TR_TARGET_TO_V, "attn.to_v" }, { TR_TARGET_TO_OUT, "attn.to_out.0" },
    { TR_TARGET_TO_Q, "attn2.to_q" }, { TR_TARGET_TO_K, "attn2.to_k" }, { TR_TARGET_TO_V, "attn2.to_v" }, { TR_TARGET_TO_OUT, "attn2.to_out.0" },
    { TR_TARGET_ADD_Q, "attn.add_q_proj" }, { TR_TARGET_ADD_K, "attn.add_k_proj" }, { TR_TARGET_ADD_V, "attn.add_v_proj" },
    { TR_TARGET_TO_ADD_OUT, "attn.to_add_out" },
};

/* "transformer_blocks.3.attn.to_q": its block and target, 0 for a layer that cannot learn. */
static int target_of(int *block, const char *name)
{
    int n = 0;
    if (sscanf(name, "transformer_blocks.%d.%n", block, &n) != 1 || n == 0) return 0;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (strcmp(name + n, targets[i].name) == 0) return targets[i].target;
    return 0;
}

/* Text of the last block gives keys and values alone: its queries are never asked and would never learn. */
static bool is_dead(const tr_mmdit *m, int block, int target) { return target == TR_TARGET_ADD_Q && block == tr_mmdit_get_config(m)->n_block - 1; }

static bool wanted(const tr_adapter_spec *c, int block)
{
    for (int i = 0; i < c->n_block; i++)
        if (c->block[i] == block) return true;
    return c->n_block == 0;
}

/* alpha / r must neither vanish nor take B to infinity, in a product or in the quotient of tr_adapters_load. */
#define ALPHA_MIN 1e-6
#define ALPHA_MAX 1e6
static tress_status check_spec(const tr_mmdit *m, const tr_adapter_spec *c)
{
    const int n_block = tr_mmdit_get_config(m)->n_block;
    if (c->rank < 1 || c->rank > TR_LORA_RANK_MAX) return tr_fail(TRESS_E_ARG, "rank %d, expected 1 to %d", c->rank, TR_LORA_RANK_MAX);
    if (!(c->alpha >= ALPHA_MIN && c->alpha <= ALPHA_MAX))
        return tr_fail(TRESS_E_ARG, "alpha %g, expected %g to %g", (double)c->alpha, ALPHA_MIN, ALPHA_MAX);
    for (int i = 0; i < c->n_block; i++)
        if (c->block[i] < 0 || c->block[i] >= n_block)
            return tr_fail(TRESS_E_ARG, "block %d is to learn, the transformer has blocks 0 to %d", c->block[i], n_block - 1);
    return TRESS_OK;
}

static tress_status choose(tr_adapters *k, tr_mmdit *m, const tr_adapter_spec *c)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    int64_t at = 0;
    TR_TRY(tr_alloc_array(&p, tr_mmdit_layer_count(m), sizeof *k->at));
    k->at = p;
    for (int i = 0; i < tr_mmdit_layer_count(m); i++) {
        tr_linear_layer *l = tr_mmdit_layer(m, i);
        int block = -1;
        const int target = target_of(&block, l->name);
        if (!(target & c->targets) || !wanted(c, block) || is_dead(m, block, target)) continue;
        TR_ASSERT(tr_is_none(l->a));            /* one set of adapters on a model at a time */
        adapter *a = &k->at[k->n++];
        *a = (adapter){ .layer = l, .block = block, .at_a = at, .at_b = at + c->rank * l->w.shape[1] };
        at = a->at_b + c->rank * l->w.shape[0];
        for (int j = 0; j < 2; j++) {
            char name[256];
            snprintf(name, sizeof name, "transformer.%s.lora_%c.weight", l->name, "AB"[j]);
            TR_TRY(tr_strdup(&a->name[j], name));
        }
    }
    if (k->n == 0) TR_TRY(tr_fail(TRESS_E_ARG, "no layer is left to learn: targets and blocks leave none"));
    TR_TRY(tr_device_take(k->device, &k->params, TR_F32, TR_DIMS(at)));
    TR_TRY(tr_device_take(k->device, &k->grads, TR_F32, TR_DIMS(at)));
    if (tr_device_dtype(k->device) != TR_F32) TR_TRY(tr_device_take(k->device, &k->narrow, tr_device_dtype(k->device), TR_DIMS(at)));
done:
    return st;
}

static uint64_t name_hash(const char *s)        /* FNV-1a */
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return h;
}

static tress_status fill(tr_adapters *k, tr_stream *s, uint64_t seed)
{
    tress_status st = TRESS_OK;
    void *host = NULL;
    const int64_t n = tr_count(k->params);
    if (tr_device_is_dry(k->device)) return TRESS_OK;
    TR_TRY(tr_alloc_array(&host, n, sizeof(float)));
    TR_TRY(tr_upload(s, k->grads, host));
    for (int i = 0; i < k->n; i++) {
        const adapter *a = &k->at[i];
        const float bound = 1 / sqrtf((float)a->layer->w.shape[1]);
        const uint64_t stream = name_hash(a->layer->name);      /* a layer's A does not depend on which others learn */
        for (int64_t j = a->at_a; j < a->at_b; j++)
            ((float *)host)[j] = bound * (2 * tr_philox_uniform(seed, stream, (uint64_t)(j - a->at_a)) - 1);
    }
    TR_TRY(tr_upload(s, k->params, host));
    TR_TRY(tr_stream_sync(s));
done:
    tr_free(host);
    return st;
}

static tr_tensor part(const tr_adapters *k, tr_tensor flat, int i, bool b)
{
    const adapter *a = &k->at[i];
    const int64_t at = b ? a->at_b : a->at_a, d = a->layer->w.shape[b ? 0 : 1];
    return tr_reshape(tr_slice(flat, 0, at, k->rank * d), b ? TR_DIMS(d, k->rank) : TR_DIMS(k->rank, d));
}

tress_status tr_adapters_new(tr_adapters **out, tr_mmdit *m, const tr_adapter_spec *c)
{
    tress_status st = TRESS_OK;
    tr_adapters *k = NULL;
    tr_stream *s = NULL;
    void *p = NULL;
    TR_TRY(check_spec(m, c));
    TR_TRY(tr_alloc(&p, sizeof *k));
    k = p;
    k->device = tr_mmdit_device(m);
    k->rank = c->rank;
    k->scale = c->alpha / (float)c->rank;
    TR_TRY(choose(k, m, c));
    TR_TRY(tr_stream_new(&s, k->device));
    TR_TRY(fill(k, s, c->seed));
    TR_TRY(tr_adapters_show(k, s, k->params));
    TR_TRY(tr_stream_sync(s));
    tr_adapters_attach(k, true);
    *out = k;
    k = NULL;
done:
    tr_stream_free(s);
    tr_adapters_free(k);
    return st;
}

void tr_adapters_free(tr_adapters *k)
{
    if (!k) return;
    if (k->on) tr_adapters_attach(k, false);
    for (int i = 0; i < k->n; i++)
        for (int j = 0; j < 2; j++) tr_free(k->at[i].name[j]);
    if (!tr_is_none(k->params)) tr_device_give(k->device, k->params);
    if (!tr_is_none(k->grads)) tr_device_give(k->device, k->grads);
    if (!tr_is_none(k->narrow)) tr_device_give(k->device, k->narrow);
    tr_free(k->at);
    tr_free(k);
}

void tr_adapters_attach(tr_adapters *k, bool on)
{
    const tr_tensor from = tr_is_none(k->narrow) ? k->shown : k->narrow;
    for (int i = 0; i < k->n; i++) {
        tr_linear_layer *l = k->at[i].layer;
        l->a = on ? part(k, from, i, false) : tr_none();
        l->up = on ? part(k, from, i, true) : tr_none();
        l->da = on ? part(k, k->grads, i, false) : tr_none();
        l->dup = on ? part(k, k->grads, i, true) : tr_none();
        l->low_scale = on ? k->scale : 0;
    }
    k->on = on;
}

tress_status tr_adapters_show(tr_adapters *k, tr_stream *s, tr_tensor params)
{
    tress_status st = TRESS_OK;
    if (!tr_is_none(k->narrow)) TR_TRY(tr_copy(s, k->narrow, params));
    k->shown = params;
    if (k->on) tr_adapters_attach(k, true);
done:
    return st;
}

/* ---- looking --------------------------------------------------------------------------------------------- */
tr_tensor   tr_adapters_params(const tr_adapters *k) { return k->params; }
tr_tensor   tr_adapters_grads(const tr_adapters *k) { return k->grads; }
int         tr_adapters_count(const tr_adapters *k) { return 2 * k->n; }
const char *tr_adapters_name(const tr_adapters *k, int i) { return k->at[i / 2].name[i % 2]; }
tr_tensor   tr_adapters_param(const tr_adapters *k, int i) { return part(k, k->params, i / 2, i % 2); }
tr_tensor   tr_adapters_grad(const tr_adapters *k, int i) { return part(k, k->grads, i / 2, i % 2); }
int         tr_adapters_block(const tr_adapters *k, int i) { return k->at[i / 2].block; }

/* ---- from and to files ------------------------------------------------------------------------------------- */
/* The adapter that a pair of a file goes to. */
static tress_status match(int *at, const tr_adapters *k, const tr_lora *from, const tr_lora_pair *pair)
{
    int i = 0;
    while (i < k->n && strcmp(k->at[i].layer->name, pair->layer) != 0) i++;
    if (i == k->n) return tr_fail(TRESS_E_CONTRACT, "%s: %s is not among the layers that learn", tr_lora_path(from), pair->layer);
    if (pair->rank != k->rank)
        return tr_fail(TRESS_E_SHAPE, "%s: %s has rank %d, the adapters that learn %d", tr_lora_path(from), pair->layer, pair->rank, k->rank);
    const tr_tensor w = k->at[i].layer->w;
    if (!tr_has_dims(pair->a, TR_DIMS(k->rank, w.shape[1])) || !tr_has_dims(pair->up, TR_DIMS(w.shape[0], k->rank)))
        return tr_fail(TRESS_E_SHAPE, "%s: %s is for a layer from %" PRId64 " to %" PRId64 ", the transformer's is from %" PRId64 " to %" PRId64,
                       tr_lora_path(from), pair->layer, pair->a.shape[1], pair->up.shape[0], w.shape[1], w.shape[0]);
    *at = i;
    return TRESS_OK;
}

tress_status tr_adapters_load(tr_adapters *k, tr_stream *s, const tr_lora *from)
{
    tress_status st = TRESS_OK;
    void *up = NULL;
    int64_t most = 0;
    int i;
    for (int j = 0; j < tr_lora_count(from); j++) {          /* all of the file fits, or nothing is changed */
        TR_TRY(match(&i, k, from, tr_lora_at(from, j)));
        const int64_t n = k->at[i].layer->w.shape[0] * k->rank;
        if (n > most) most = n;
    }
    TR_TRY(tr_alloc_array(&up, most, sizeof(float)));
    for (int j = 0; j < tr_lora_count(from); j++) {
        const tr_lora_pair *pair = tr_lora_at(from, j);
        TR_TRY(match(&i, k, from, pair));
        for (int64_t e = 0; e < tr_count(pair->up); e++) ((float *)up)[e] = ((const float *)pair->up.data)[e] / k->scale;
        TR_TRY(tr_upload(s, part(k, k->params, i, false), pair->a.data));
        TR_TRY(tr_upload(s, part(k, k->params, i, true), up));
        TR_TRY(tr_stream_sync(s));
    }
    TR_TRY(tr_adapters_show(k, s, k->shown));
done:
    tr_free(up);
    return st;
}

tress_status tr_adapters_lora(tr_lora **out, const tr_adapters *k, tr_stream *s, tr_tensor params)
{
    tress_status st = TRESS_OK;
    tr_lora *l = NULL;
    TR_TRY(tr_lora_new(&l));
    for (int i = 0; i < k->n; i++) {
        const adapter *a = &k->at[i];
        const tr_lora_pair *pair;
        TR_TRY(tr_lora_add(l, &pair, a->layer->name, k->rank, a->layer->w.shape[0], a->layer->w.shape[1]));
        TR_TRY(tr_download(s, pair->a.data, part(k, params, i, false)));
        TR_TRY(tr_download(s, pair->up.data, part(k, params, i, true)));
        TR_TRY(tr_stream_sync(s));
        float *up = pair->up.data;
        for (int64_t e = 0; e < tr_count(pair->up); e++) up[e] *= k->scale;
    }
    *out = l;
    l = NULL;
done:
    tr_lora_close(l);
    return st;
}
