/* Attention by cuDNN: one operation, of which cuDNN makes a kernel when it first sees a shape. 4 b h n_q n_k d operations: 440
 * TFLOP/s of them were measured for cuDNN on an H200 at 2 x 38 heads of 64 and 4096 rows. */
#include "backend/cuda/sdpa.h"
#include "backend/cuda/sdpa_int.h"

#include <stdio.h>
#include <string.h>

#define LEAST 91301                             /* the first cuDNN with the operation */
#define WORKSPACE_MAX ((int64_t)256 << 20)

enum { UID_Q = 1, UID_K, UID_V, UID_O, UID_LSE, UID_SCALE };

static void build(tr_dnn_graph *g, const tr_attention_args *a)
{
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, tr_sdpa_tensor(g, UID_Q, a->q));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, tr_sdpa_tensor(g, UID_K, a->segment[0].k));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, tr_sdpa_tensor(g, UID_V, a->segment[0].v));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, tr_sdpa_tensor(g, UID_O, a->o));
    if (!tr_is_none(a->lse)) tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, tr_sdpa_list(g, UID_LSE, a->q));
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, tr_sdpa_scalar(g, UID_SCALE));
    tr_dnn_finish_op(g, op);
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

/* Keys or values of all segments side by side, at data that is not known yet. */
static tr_tensor side_by_side(const tr_attention_args *a, tr_tensor first)
{
    tr_tensor t = first;
    t.data = (void *)256;
    for (int i = 1; i < a->n_segment; i++) t.shape[1] += a->segment[i].k.shape[1];
    t.stride[2] = t.shape[3];
    t.stride[1] = t.shape[2] * t.stride[2];
    t.stride[0] = t.shape[1] * t.stride[1];
    return t;
}

/* ---- the call -------------------------------------------------------------------------------------------- */
#define JOIN_MIN 512                            /* queries below which joining costs more than our own kernel, which needs it not */

static bool serves(const tr_attention_args *a)
{
    const tr_dtype type = a->q.dtype;
    int64_t n_key = 0;
    for (int i = 0; i < a->n_segment; i++) {
        const tr_attention_segment *g = &a->segment[i];
        if (!tr_is_none(g->bias) || !tr_is_none(g->key_logw) || !tr_is_none(g->query_logw) || g->causal) return false;
        if (!tr_sdpa_is_fit(g->k, type) || !tr_sdpa_is_fit(g->v, type)) return false;
        n_key += g->k.shape[1];
    }
    if (a->n_segment > 1 && (a->q.shape[1] < JOIN_MIN || a->q.shape[0] > 32767 || n_key > INT32_MAX)) return false;
    return tr_sdpa_is_fit(a->q, type) && tr_sdpa_is_fit(a->o, type) && tr_sdpa_is_fit_shape(a->q, a->segment[0].k);
}

static tress_status plan_of(tr_dnn_plan **out, tr_cuda_dnn *dnn, const tr_attention_args *a)
{
    const tr_attention_segment *s = &a->segment[0];
    tr_dnn_key key;
    memset(&key, 0, sizeof key);
    key.v[0] = TR_SDPA_FORWARD, key.v[1] = (int64_t)a->q.dtype, key.v[2] = !tr_is_none(a->lse);
    key.v[3] = a->q.shape[0], key.v[4] = a->q.shape[2], key.v[5] = a->q.shape[3];
    (void)tr_sdpa_key_add(&key, tr_sdpa_key_add(&key, tr_sdpa_key_add(&key, tr_sdpa_key_add(&key, 6, a->q), s->k), s->v), a->o);
    *out = tr_dnn_find(dnn, &key);
    if (*out) return TRESS_OK;
    tr_dnn_graph g(dnn);
    const tr_dnn_wish wish = { .workspace_max = WORKSPACE_MAX, .may_compile = true };
    build(&g, a);
    return tr_dnn_plan_make(out, &g, &key, &wish);
}

tress_status tr_cuda_sdpa(tr_cuda *c, const tr_attention_args *given, bool *done)
{
    tress_status st = TRESS_OK;
    tr_attention_args a = *given;
    tr_tensor *k = &a.segment[0].k, *v = &a.segment[0].v;
    const bool several = given->n_segment > 1;
    tr_cuda_dnn *dnn;
    tr_dnn_plan *plan;
    size_t n_keys = 0;
    char *room = nullptr, what[128];
    *done = false;
    if (!serves(given)) return TRESS_OK;
    TR_TRY(tr_dnn_get(&dnn, c, LEAST));
    if (!dnn) return TRESS_OK;
    if (several) {
        *k = side_by_side(given, *k);
        *v = side_by_side(given, *v);
        a.n_segment = 1;
        n_keys = ((size_t)tr_count(*k) * 2 + 255) / 256 * 256;
    }
    TR_TRY(plan_of(&plan, dnn, &a));
    if (!plan->served) return TRESS_OK;
    if (plan->workspace || n_keys) TR_TRY(tr_cuda_room(c, (void **)&room, 2 * n_keys + (size_t)plan->workspace));
    if (several) {
        k->data = room;
        v->data = room + n_keys;
        TR_TRY(join(c, given, *k, *v));
    }
    {
        float scale = a.scale;
        const int64_t uid[] = { UID_Q, UID_K, UID_V, UID_O, UID_SCALE, UID_LSE };
        void *const at[] = { a.q.data, k->data, v->data, a.o.data, &scale, a.lse.data };
        snprintf(what, sizeof what, "attention [%lld, %lld, %lld, %lld] over %lld keys", (long long)a.q.shape[0], (long long)a.q.shape[1],
                 (long long)a.q.shape[2], (long long)a.q.shape[3], (long long)k->shape[1]);
        TR_TRY(tr_dnn_run(c, plan, what, uid, at, tr_is_none(a.lse) ? 5 : 6, room + 2 * n_keys));
    }
    *done = true;
done:
    return st;
}
