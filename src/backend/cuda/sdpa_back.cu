/* Backward of attention by cuDNN, as the graph of products and pointwise steps that it takes for one kernel. cuDNN's usual way adds
 * dq up with atomics, in any order. Where the graph gives dq straight from its product, it keeps dS, 16 bits a pair, in its
 * workspace and multiplies once more: the same bytes every time. The workspace is n_q n_k pairs a head, so that heads go in groups
 * of as many as fill the machine and its share of memory. 10 b h n_q n_k d operations, and dS written and read once:
 * 2 x 38 heads of 64 at 4096 rows are 0.82 TFLOP and 5.1 GB, 1.9 ms at 420 TFLOP/s and 1.5 ms at 3.35 TB/s on an H100. */
#include "backend/cuda/sdpa.h"
#include "backend/cuda/sdpa_int.h"

#include <stdio.h>
#include <string.h>

#define LEAST 91002                             /* 9.10.0 and 9.10.1 are known to be wrong here */
#define GROUP_BYTES ((int64_t)192 << 20)        /* of a group's dS */
#define WORKSPACE_MAX ((int64_t)512 << 20)
#define KEYS 128                                /* of a block of the kernel, as we guess: only the size of groups depends on it */
#define ALIGN 256

enum { UID_Q = 1, UID_K, UID_V, UID_O, UID_LSE, UID_SCALE, UID_DO, UID_DQ, UID_DK, UID_DV, UID_DELTA, UID_ONE };

/* ---- the graph ------------------------------------------------------------------------------------------- */
/* k or v under the extents [b, h, d, n]. */
static tr_dnn_desc turned(tr_dnn_graph *g, int64_t uid, tr_tensor t)
{
    const tr_sdpa_layout l = tr_sdpa_layout_of(t);
    const int64_t dim[] = { l.dim[0], l.dim[1], l.dim[3], l.dim[2] }, stride[] = { l.stride[0], l.stride[1], l.stride[3], l.stride[2] };
    return tr_dnn_tensor(g, uid, tr_dnn_type((int)t.dtype), dim, stride, 16, TR_DNN_MEMORY);
}

static void build(tr_dnn_graph *g, const tr_attention_back_args *a)
{
    const int64_t b = a->q.shape[0], n = a->q.shape[1], h = a->q.shape[2], d = a->q.shape[3], n_k = a->k.shape[1];
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT, type = tr_dnn_type((int)a->q.dtype);
    const int64_t row[] = { b, h, n, d }, row_step[] = { h * n * d, n * d, d, 1 }, one[] = { b, h, n, 1 }, one_step[] = { h * n, n, 1, 1 };
    const int64_t pair[] = { b, h, n, n_k }, pair_step[] = { h * n * n_k, n * n_k, n_k, 1 };
    const int64_t across[] = { b, h, n_k, n }, across_step[] = { h * n * n_k, n * n_k, 1, n_k };
    auto pairs = [&] { return tr_dnn_tensor(g, 0, f32, pair, pair_step, 16, TR_DNN_VIRTUAL); };                  /* [n_q, n_k] */
    auto pairs_across = [&] { return tr_dnn_tensor(g, 0, type, across, across_step, 16, TR_DNN_VIRTUAL); };      /* [n_k, n_q] */
    const tr_dnn_desc q = tr_sdpa_tensor(g, UID_Q, a->q), k = turned(g, UID_K, a->k), v = turned(g, UID_V, a->v), o = tr_sdpa_tensor(g, UID_O, a->o);
    const tr_dnn_desc d_o = tr_sdpa_tensor(g, UID_DO, a->d_o), lse = tr_sdpa_list(g, UID_LSE, a->q), scale = tr_sdpa_scalar(g, UID_SCALE);

    /* delta = the sum of do o over the head; kept in memory */
    const tr_dnn_desc products = tr_dnn_tensor(g, 0, f32, row, row_step, 16, TR_DNN_VIRTUAL), sum = tr_dnn_tensor(g, 0, f32, one, one_step, 16, TR_DNN_VIRTUAL);
    const tr_dnn_desc delta = tr_sdpa_list(g, UID_DELTA, a->q);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_MUL, d_o, o, products);
    tr_dnn_sum(g, products, sum);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_MUL, sum, tr_sdpa_scalar(g, UID_ONE), delta);      /* cuDNN knows the pattern with this step alone */

    /* p = exp(scale q k^T - lse), dv = p^T do */
    const tr_dnn_desc s = pairs(), scaled = pairs(), less = pairs(), p = pairs(), p_across = pairs_across();
    tr_dnn_matmul(g, q, k, s);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_MUL, s, scale, scaled);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_SUB, scaled, lse, less);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_EXP, less, nullptr, p);
    tr_dnn_reshape(g, p, p_across);
    tr_dnn_matmul(g, p_across, d_o, tr_sdpa_tensor(g, UID_DV, a->dv));

    /* ds = scale p (do v^T - delta), dk = ds^T q, dq = ds k */
    const tr_dnn_desc dp = pairs(), centred = pairs(), weighted = pairs(), ds = pairs(), ds_across = pairs_across();
    tr_dnn_matmul(g, d_o, v, dp);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_SUB, dp, delta, centred);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_MUL, centred, p, weighted);
    tr_dnn_pointwise(g, CUDNN_POINTWISE_MUL, weighted, scale, ds);
    tr_dnn_reshape(g, ds, ds_across);
    tr_dnn_matmul(g, ds_across, q, tr_sdpa_tensor(g, UID_DK, a->dk));
    const tr_sdpa_layout l = tr_sdpa_layout_of(a->k);
    const tr_dnn_desc k_back = tr_dnn_tensor(g, 0, type, l.dim, l.stride, 16, TR_DNN_VIRTUAL);
    tr_dnn_reshape(g, k, k_back);
    tr_dnn_matmul(g, ds, k_back, tr_sdpa_tensor(g, UID_DQ, a->dq));
}

/* ---- groups of heads ------------------------------------------------------------------------------------- */
static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to; }

/* Heads in a group: of those that memory allows, the number with the fewest rounds of blocks over the machine; 0: none. */
static int64_t group_of(const tr_cuda *c, int64_t h, int64_t n_q, int64_t n_k)
{
    const int64_t bytes = up(n_q, 64) * up(n_k, 64) * 64 * 64 * 2, blocks = up(n_k, KEYS);
    int64_t best = 0, least = 0;
    for (int64_t n = 1; n <= h && n * bytes <= GROUP_BYTES; n++) {
        const int64_t rounds = h / n * up(n * blocks, c->n_sm) + up(h % n * blocks, c->n_sm);
        if (!best || rounds <= least) best = n, least = rounds;
    }
    return best;
}

/* Heads begin .. begin + n of one sample of t. */
static tr_tensor heads_of(tr_tensor t, int64_t sample, int64_t begin, int64_t n)
{
    t.data = (char *)t.data + (sample * t.stride[0] + begin * t.stride[2]) * (int64_t)tr_dtype_size(t.dtype);
    t.shape[0] = 1;
    t.shape[2] = n;
    return t;
}

static tr_attention_back_args part_of(const tr_attention_back_args *a, int64_t sample, int64_t begin, int64_t n)
{
    tr_attention_back_args p = *a;
    tr_tensor *const t[] = { &p.q, &p.k, &p.v, &p.o, &p.d_o, &p.dq, &p.dk, &p.dv };
    for (int i = 0; i < 8; i++) *t[i] = heads_of(*t[i], sample, begin, n);
    p.lse.data = (float *)a->lse.data + (sample * a->q.shape[2] + begin) * a->q.shape[1];
    return p;
}

/* ---- the call -------------------------------------------------------------------------------------------- */
static bool serves(const tr_attention_back_args *a)
{
    const tr_tensor all[] = { a->q, a->k, a->v, a->o, a->d_o, a->dq, a->dk, a->dv };
    if (a->add_q || a->add_kv || !tr_is_none(a->key_logw) || !tr_is_none(a->query_logw) || tr_is_none(a->dq) || tr_is_none(a->dk)) return false;
    for (int i = 0; i < 8; i++)
        if (!tr_sdpa_is_fit(all[i], a->q.dtype)) return false;
    return tr_sdpa_is_fit_shape(a->q, a->k);
}

static tress_status plan_of(tr_dnn_plan **out, tr_cuda_dnn *dnn, const tr_attention_back_args *a)
{
    const tr_tensor all[] = { a->q, a->k, a->v, a->o, a->d_o, a->dq, a->dk, a->dv };
    tr_dnn_key key;
    memset(&key, 0, sizeof key);
    key.v[0] = TR_SDPA_BACK, key.v[1] = (int64_t)a->q.dtype, key.v[2] = a->q.shape[2], key.v[3] = a->q.shape[3];
    for (int i = 0, n = 4; i < 8; i++) n = tr_sdpa_key_add(&key, n, all[i]);
    *out = tr_dnn_find(dnn, &key);
    if (*out) return TRESS_OK;
    tr_dnn_graph g(dnn);
    const tr_dnn_wish wish = { .workspace_max = WORKSPACE_MAX, .may_compile = true };
    build(&g, a);
    return tr_dnn_plan_make(out, &g, &key, &wish);
}

static tress_status run(tr_cuda *c, const tr_dnn_plan *plan, const tr_attention_back_args *a, void *delta, void *workspace)
{
    float scale = a->scale, one = 1;
    char what[128];
    const int64_t uid[] = { UID_Q, UID_K, UID_V, UID_O, UID_LSE, UID_SCALE, UID_DO, UID_DQ, UID_DK, UID_DV, UID_DELTA, UID_ONE };
    void *const at[] = { a->q.data, a->k.data, a->v.data, a->o.data, a->lse.data, &scale, a->d_o.data, a->dq.data, a->dk.data, a->dv.data, delta, &one };
    snprintf(what, sizeof what, "attention_back [1, %lld, %lld, %lld] over %lld keys", (long long)a->q.shape[1], (long long)a->q.shape[2],
             (long long)a->q.shape[3], (long long)a->k.shape[1]);
    return tr_dnn_run(c, plan, what, uid, at, 12, workspace);
}

tress_status tr_cuda_sdpa_back(tr_cuda *c, const tr_attention_back_args *a, bool *done)
{
    tress_status st = TRESS_OK;
    const int64_t b = a->q.shape[0], n_q = a->q.shape[1], h = a->q.shape[2];
    tr_cuda_dnn *dnn;
    tr_dnn_plan *plan, *last;                   /* of a whole group, and of what is left over */
    void *room;
    *done = false;
    if (!serves(a)) return TRESS_OK;
    TR_TRY(tr_dnn_get(&dnn, c, LEAST));
    if (!dnn) return TRESS_OK;
    {
        const int64_t group = group_of(c, h, n_q, a->k.shape[1]);
        if (group == 0) return TRESS_OK;
        const tr_attention_back_args whole = part_of(a, 0, 0, group), rest = part_of(a, 0, 0, h % group ? h % group : group);
        TR_TRY(plan_of(&plan, dnn, &whole));
        TR_TRY(plan_of(&last, dnn, &rest));
        if (!plan->served || !last->served) return TRESS_OK;
        const int64_t n_delta = up(group * n_q * (int64_t)sizeof(float), ALIGN) * ALIGN;
        TR_TRY(tr_cuda_room(c, &room, (size_t)(n_delta + (plan->workspace > last->workspace ? plan->workspace : last->workspace))));
        for (int64_t i = 0; i < b; i++)
            for (int64_t k = 0; k < h; k += group) {
                const int64_t n = h - k < group ? h - k : group;
                const tr_attention_back_args part = part_of(a, i, k, n);
                TR_TRY(run(c, n == group ? plan : last, &part, room, (char *)room + n_delta));
            }
    }
    *done = true;
done:
    return st;
}
