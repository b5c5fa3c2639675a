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

/* ---- several segments ------------------------------------------------------------------------------------ */
/* cuDNN takes one list of keys: those of all segments are laid side by side, [b, n_all, h, d]. Reads and writes k and v once: 170 MB for
 * 2 x 4429 rows of 38 x 64, 50 us of the 1000 that the attention itself takes on an H100. */
struct joint {
    const char *from[2][TR_SEGMENT_MAX];        /* k, v */
    int64_t     b[2][TR_SEGMENT_MAX], n[2][TR_SEGMENT_MAX], h[2][TR_SEGMENT_MAX];       /* bytes */
    char       *to[2];
    int         n_key[TR_SEGMENT_MAX], n_all, n_head, n_piece;                          /* pieces of 16 bytes in a head */
};

static __global__ void join_kernel(const __grid_constant__ joint j)
{
    int row = (int)blockIdx.x, i = 0;
    const int which = (int)blockIdx.y & 1, b = (int)blockIdx.y >> 1, n = j.n_head * j.n_piece;
    uint4 *to = (uint4 *)j.to[which] + ((int64_t)b * j.n_all + row) * n;
    while (row >= j.n_key[i]) row -= j.n_key[i++];
    const char *from = j.from[which][i] + b * j.b[which][i] + row * j.n[which][i];
    for (int k = (int)threadIdx.x; k < n; k += (int)blockDim.x)
        to[k] = *(const uint4 *)(from + k / j.n_piece * j.h[which][i] + k % j.n_piece * 16);
}

static tress_status join(tr_cuda *c, const tr_attention_args *a, tr_tensor k, tr_tensor v)
{
    joint j = { .to = { (char *)k.data, (char *)v.data }, .n_all = (int)k.shape[1], .n_head = (int)k.shape[2], .n_piece = (int)(k.shape[3] / 8) };
    for (int i = 0; i < a->n_segment; i++) {
        const tr_tensor t[] = { a->segment[i].k, a->segment[i].v };
        j.n_key[i] = (int)t[0].shape[1];
        for (int w = 0; w < 2; w++) {
            j.from[w][i] = (const char *)t[w].data;
            j.b[w][i] = 2 * t[w].stride[0];
            j.n[w][i] = 2 * t[w].stride[1];
            j.h[w][i] = 2 * t[w].stride[2];
        }
    }
    const int n = j.n_head * j.n_piece, threads = n >= 256 ? 256 : (n + 31) / 32 * 32;
    join_kernel<<<dim3((unsigned)j.n_all, (unsigned)(2 * k.shape[0])), threads, 0, c->stream>>>(j);
    return tr_cuda_launched("laying keys side by side");
}

/* The keys as cuDNN is to see them: those of the one segment, or of all side by side, at data that is not known yet. */
static tr_tensor all_keys(const tr_attention_args *a, tr_tensor first)
{
    if (a->n_segment == 1) return first;
    tr_tensor t = first;
    t.data = (void *)256;
    for (int i = 1; i < a->n_segment; i++) t.shape[1] += a->segment[i].k.shape[1];
    t.stride[2] = t.shape[3];
    t.stride[1] = t.shape[2] * t.stride[2];
    t.stride[0] = t.shape[1] * t.stride[1];
    return t;
}

#define JOIN_MIN 512                            /* queries below which joining costs more than our own kernel, which needs it not */

tress_status tr_cuda_sdpa(tr_cuda *c, const tr_attention_args *given, bool *done)
{
    tress_status st = TRESS_OK;
    tr_attention_args joined = *given, *a = &joined;
    tr_attention_segment *g = &a->segment[0];
    const tr_dtype type = a->q.dtype;
    const bool has_lse = !tr_is_none(a->lse);
    tr_cuda_dnn *dnn;
    tr_dnn_key key;
    tr_dnn_plan *plan;
    char what[128];
    *done = false;
    for (int i = 0; i < given->n_segment; i++) {
        const tr_attention_segment *p = &given->segment[i];
        if (!tr_is_none(p->bias) || !tr_is_none(p->key_logw) || !tr_is_none(p->query_logw) || p->causal) return TRESS_OK;
        if (!is_fit(p->k, type) || !is_fit(p->v, type) || p->k.shape[1] > INT32_MAX / 8) return TRESS_OK;
    }
    if (given->n_segment > 1 && (a->q.shape[1] < JOIN_MIN || a->q.shape[0] > 32767)) return TRESS_OK;
    g->k = all_keys(given, g->k);
    g->v = all_keys(given, g->v);
    a->n_segment = 1;
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
    {
        const size_t n_keys = given->n_segment == 1 ? 0 : ((size_t)tr_count(g->k) * 2 + 255) / 256 * 256;
        char *room = nullptr;
        if (plan->workspace || n_keys) TR_TRY(tr_cuda_room(c, (void **)&room, 2 * n_keys + (size_t)plan->workspace));
        if (n_keys) {
            g->k.data = room;
            g->v.data = room + n_keys;
            TR_TRY(join(c, given, g->k, g->v));
        }
        void *workspace = room + 2 * n_keys;
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
