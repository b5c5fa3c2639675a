/* Attention by cuDNN: one operation, forward or backward, of which cuDNN makes a kernel when it first sees a shape. */
#include "backend/cuda/dnn.h"
#include "backend/cuda/sdpa.h"

#include <stdio.h>
#include <string.h>

#define LEAST_FORWARD 91301                     /* the first with the operation */
#define LEAST_BACK 91900
#define WORKSPACE_MAX ((int64_t)512 << 20)
#define HEAD_MAX 128

enum { UID_Q = 1, UID_K, UID_V, UID_O, UID_LSE, UID_SCALE, UID_DO, UID_DQ, UID_DK, UID_DV };
enum { KIND_FORWARD = 16, KIND_BACK };

/* ---- what serves ----------------------------------------------------------------------------------------- */
/* 16 bits, this type, rows that 16-byte moves can read. A step over an extent of 1 means nothing. */
static bool is_fit(tr_tensor t, tr_dtype type)
{
    if (t.dtype != type || (uintptr_t)t.data % 16 || t.shape[3] % 8 || t.shape[3] > HEAD_MAX || t.stride[3] != 1) return false;
    for (int i = 0; i < 3; i++)
        if (t.shape[i] > 1 && (t.stride[i] % 8 || t.stride[i] <= 0)) return false;
    return true;
}

static bool is_fit_shape(tr_tensor q, tr_tensor k) { return q.shape[0] > 0 && q.shape[1] > 1 && q.shape[2] > 0 && k.shape[1] > 1; }

/* ---- graphs ---------------------------------------------------------------------------------------------- */
/* Extents and strides of [b, n, h, d] in cuDNN's order [b, h, n, d]. */
typedef struct layout { int64_t dim[4], stride[4]; } layout;

static layout layout_of(tr_tensor t)
{
    static const int order[] = { 0, 2, 1, 3 };
    layout l;
    for (int i = 0; i < 4; i++) {
        l.dim[i] = t.shape[order[i]];
        l.stride[i] = t.stride[order[i]];
    }
    for (int i = 2; i >= 0; i--)                /* one name for what is the same */
        if (l.dim[i] == 1) l.stride[i] = l.stride[i + 1] * l.dim[i + 1];
    return l;
}

static tr_dnn_desc tensor(tr_dnn_graph *g, int64_t uid, tr_tensor t)
{
    const layout l = layout_of(t);
    return tr_dnn_tensor(g, uid, tr_dnn_type((int)t.dtype), l.dim, l.stride, 16, TR_DNN_MEMORY);
}

/* [b, h, n_q, 1] F32. */
static tr_dnn_desc list(tr_dnn_graph *g, int64_t uid, tr_tensor q)
{
    const int64_t h = q.shape[2], n = q.shape[1], dim[] = { q.shape[0], h, n, 1 }, stride[] = { h * n, n, 1, 1 };
    return tr_dnn_tensor(g, uid, CUDNN_DATA_FLOAT, dim, stride, 4, TR_DNN_MEMORY);
}

static tr_dnn_desc scalar(tr_dnn_graph *g, int64_t uid)
{
    const int64_t one[] = { 1, 1, 1, 1 };
    return tr_dnn_tensor(g, uid, CUDNN_DATA_FLOAT, one, one, 4, TR_DNN_BY_VALUE);
}

static void build(tr_dnn_graph *g, const tr_attention_args *a)
{
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, tensor(g, UID_Q, a->q));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, tensor(g, UID_K, a->segment[0].k));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, tensor(g, UID_V, a->segment[0].v));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, tensor(g, UID_O, a->o));
    if (!tr_is_none(a->lse)) tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, list(g, UID_LSE, a->q));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scalar(g, UID_SCALE));
    tr_dnn_finish_op(g, op);
}

static void build_back(tr_dnn_graph *g, const tr_attention_back_args *a)
{
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_QDESC, tensor(g, UID_Q, a->q));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_KDESC, tensor(g, UID_K, a->k));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_VDESC, tensor(g, UID_V, a->v));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_ODESC, tensor(g, UID_O, a->o));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_DODDESC, tensor(g, UID_DO, a->d_o));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_STATSDESC, list(g, UID_LSE, a->q));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_SCALEDESC, scalar(g, UID_SCALE));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_DQDESC, tensor(g, UID_DQ, a->dq));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_DKDESC, tensor(g, UID_DK, a->dk));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_BWD_DVDESC, tensor(g, UID_DV, a->dv));
    tr_dnn_finish_op(g, op);
}

/* ---- the calls ------------------------------------------------------------------------------------------- */
/* Extents and strides of one tensor more. */
static int add(tr_dnn_key *key, int n, tr_tensor t)
{
    const layout l = layout_of(t);
    TR_ASSERT(n + 4 <= TR_DNN_KEY);
    key->v[n++] = l.dim[2];
    for (int i = 0; i < 3; i++) key->v[n++] = l.stride[i];
    return n;
}

static void words(char *to, size_t n, const char *op, tr_tensor q, tr_tensor k)
{
    snprintf(to, n, "%s [%lld, %lld, %lld, %lld] over %lld keys", op, (long long)q.shape[0], (long long)q.shape[1], (long long)q.shape[2],
             (long long)q.shape[3], (long long)k.shape[1]);
}

tress_status tr_cuda_sdpa(tr_cuda *c, const tr_attention_args *a, bool *done)
{
    tress_status st = TRESS_OK;
    const tr_attention_segment *g = &a->segment[0];
    const tr_dtype type = a->q.dtype;
    const bool has_lse = !tr_is_none(a->lse);
    tr_cuda_dnn *dnn;
    tr_dnn_key key;
    tr_dnn_plan *plan;
    void *workspace = nullptr;
    char what[128];
    *done = false;
    if (a->n_segment != 1 || !tr_is_none(g->bias) || !tr_is_none(g->key_logw) || !tr_is_none(g->query_logw) || g->causal) return TRESS_OK;
    if ((type != TR_F16 && type != TR_BF16) || !is_fit(a->q, type) || !is_fit(g->k, type) || !is_fit(g->v, type) || !is_fit(a->o, type) ||
        !is_fit_shape(a->q, g->k))
        return TRESS_OK;
    TR_TRY(tr_dnn_get(&dnn, c, LEAST_FORWARD));
    if (!dnn) return TRESS_OK;
    memset(&key, 0, sizeof key);
    key.v[0] = KIND_FORWARD, key.v[1] = (int64_t)type, key.v[2] = has_lse, key.v[3] = a->q.shape[0], key.v[4] = a->q.shape[2], key.v[5] = a->q.shape[3];
    (void)add(&key, add(&key, add(&key, add(&key, 6, a->q), g->k), g->v), a->o);
    plan = tr_dnn_find(dnn, &key);
    if (!plan) {
        tr_dnn_graph graph(dnn);
        const tr_dnn_wish wish = { .workspace_max = WORKSPACE_MAX, .may_compile = true };
        build(&graph, a);
        TR_TRY(tr_dnn_plan_make(&plan, &graph, &key, &wish));
    }
    if (!plan->served) return TRESS_OK;
    if (plan->workspace) TR_TRY(tr_cuda_room(c, &workspace, (size_t)plan->workspace));
    {
        float scale = a->scale;
        const int64_t uid[] = { UID_Q, UID_K, UID_V, UID_O, UID_SCALE, UID_LSE };
        void *const at[] = { a->q.data, g->k.data, g->v.data, a->o.data, &scale, a->lse.data };
        words(what, sizeof what, "attention", a->q, g->k);
        TR_TRY(tr_dnn_run(c, plan, what, uid, at, has_lse ? 6 : 5, workspace));
    }
    *done = true;
done:
    return st;
}

tress_status tr_cuda_sdpa_back(tr_cuda *c, const tr_attention_back_args *a, bool *done)
{
    tress_status st = TRESS_OK;
    const tr_dtype type = a->q.dtype;
    const tr_tensor all[] = { a->q, a->k, a->v, a->o, a->d_o, a->dq, a->dk, a->dv };
    tr_cuda_dnn *dnn;
    tr_dnn_key key;
    tr_dnn_plan *plan;
    void *workspace = nullptr;
    char what[128];
    *done = false;
    if (a->add_q || a->add_kv || !tr_is_none(a->key_logw) || !tr_is_none(a->query_logw) || tr_is_none(a->dq) || tr_is_none(a->dk)) return TRESS_OK;
    if ((type != TR_F16 && type != TR_BF16) || !is_fit_shape(a->q, a->k)) return TRESS_OK;
    for (int i = 0; i < 8; i++)
        if (!is_fit(all[i], type)) return TRESS_OK;
    TR_TRY(tr_dnn_get(&dnn, c, LEAST_BACK));
    if (!dnn) return TRESS_OK;
    memset(&key, 0, sizeof key);
    key.v[0] = KIND_BACK, key.v[1] = (int64_t)type, key.v[2] = a->q.shape[0], key.v[3] = a->q.shape[2], key.v[4] = a->q.shape[3];
    for (int i = 0, n = 5; i < 8; i++) n = add(&key, n, all[i]);
    plan = tr_dnn_find(dnn, &key);
    if (!plan) {
        tr_dnn_graph graph(dnn);
        const tr_dnn_wish wish = { .workspace_max = WORKSPACE_MAX, .may_compile = true };
        build_back(&graph, a);
        TR_TRY(tr_dnn_plan_make(&plan, &graph, &key, &wish));
    }
    if (!plan->served) return TRESS_OK;
    if (plan->workspace) TR_TRY(tr_cuda_room(c, &workspace, (size_t)plan->workspace));
    {
        float scale = a->scale;
        const int64_t uid[] = { UID_Q, UID_K, UID_V, UID_O, UID_LSE, UID_SCALE, UID_DO, UID_DQ, UID_DK, UID_DV };
        void *const at[] = { a->q.data, a->k.data, a->v.data, a->o.data, a->lse.data, &scale, a->d_o.data, a->dq.data, a->dk.data, a->dv.data };
        words(what, sizeof what, "attention_back", a->q, a->k);
        TR_TRY(tr_dnn_run(c, plan, what, uid, at, 10, workspace));
    }
    *done = true;
done:
    return st;
}
