/* cuDNN: opened at run time, its descriptors, the choice of an engine, and the plans made so far. */
#include "backend/cuda/dnn.h"

#include <dlfcn.h>
#include <new>
#include <string.h>

#define ENGINE_MAX 32                           /* answers of the heuristics that are looked at */
#define NOTE_MAX 16

/* ---- the library ----------------------------------------------------------------------------------------- */
static bool load(tr_cuda_dnn *d, cudaStream_t stream)
{
    d->library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!d->library) return false;
#define F(name) \
    if (!(d->name = (decltype(d->name))dlsym(d->library, "cudnn" #name))) return false;
    TR_DNN_FUNCTIONS(F)
#undef F
    d->version = (int)d->GetVersion();
    if (d->version / 10000 != 9) return false;
    if (d->Create(&d->handle) != CUDNN_STATUS_SUCCESS) {
        d->handle = nullptr;
        return false;
    }
    return d->SetStream(d->handle, stream) == CUDNN_STATUS_SUCCESS;
}

static void unload(tr_cuda_dnn *d)
{
    if (d->handle) (void)d->Destroy(d->handle);
    d->handle = nullptr;
    if (d->library) (void)dlclose(d->library);
    d->library = nullptr;
}

tress_status tr_dnn_get(tr_cuda_dnn **out, tr_cuda *c, int least)
{
    *out = nullptr;
    if (!c->dnn) {
        tr_cuda_dnn *d = new (std::nothrow) tr_cuda_dnn();
        if (!d) return tr_fail(TRESS_E_OOM, "out of memory for the state of cuDNN");
        if (!load(d, c->stream)) unload(d);
        c->dnn = d;
    }
    if (c->dnn->library && c->dnn->version >= least) *out = c->dnn;
    return TRESS_OK;
}

static void destroy(tr_cuda_dnn *d, tr_dnn_desc *desc, int n)
{
    while (n > 0) (void)d->BackendDestroyDescriptor(desc[--n]);
}

void tr_cuda_dnn_free(tr_cuda_dnn *d)
{
    if (!d) return;
    for (int i = 0; i < TR_DNN_BUCKETS; i++)
        while (d->bucket[i]) {
            tr_dnn_plan *p = d->bucket[i];
            d->bucket[i] = p->next;
            destroy(d, p->desc, p->n_desc);
            delete p;
        }
    unload(d);
    delete d;
}

/* ---- graphs ---------------------------------------------------------------------------------------------- */
tr_dnn_graph::~tr_dnn_graph() { destroy(dnn, desc, n_desc); }

static void note(tr_dnn_graph *g, cudnnStatus_t s)
{
    if (g->fault == CUDNN_STATUS_SUCCESS) g->fault = s;
}

tr_dnn_desc tr_dnn_make(tr_dnn_graph *g, cudnnBackendDescriptorType_t type)
{
    tr_dnn_desc d = nullptr;
    if (g->fault != CUDNN_STATUS_SUCCESS) return nullptr;
    TR_ASSERT(g->n_desc < TR_DNN_DESC_MAX);
    note(g, g->dnn->BackendCreateDescriptor(type, &d));
    if (g->fault != CUDNN_STATUS_SUCCESS) return nullptr;
    return g->desc[g->n_desc++] = d;
}

void tr_dnn_set(tr_dnn_graph *g, tr_dnn_desc d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *v)
{
    if (g->fault == CUDNN_STATUS_SUCCESS) note(g, g->dnn->BackendSetAttribute(d, name, type, n, v));
}

void tr_dnn_set_desc(tr_dnn_graph *g, tr_dnn_desc d, cudnnBackendAttributeName_t name, tr_dnn_desc v)
{
    tr_dnn_set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &v);
}

void tr_dnn_finish(tr_dnn_graph *g, tr_dnn_desc d)
{
    if (g->fault == CUDNN_STATUS_SUCCESS) note(g, g->dnn->BackendFinalize(d));
}

void tr_dnn_finish_op(tr_dnn_graph *g, tr_dnn_desc op)
{
    tr_dnn_finish(g, op);
    TR_ASSERT(g->n_op < TR_DNN_OP_MAX);
    g->op[g->n_op++] = op;
}

tr_dnn_desc tr_dnn_tensor(tr_dnn_graph *g, int64_t uid, cudnnDataType_t type, const int64_t dim[4], const int64_t stride[4], int64_t align,
                          tr_dnn_kind kind)
{
    const tr_dnn_desc t = tr_dnn_make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const bool yes = true;
    if (!uid) uid = g->uid_next++;
    tr_dnn_set(g, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    tr_dnn_set(g, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim);
    tr_dnn_set(g, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    tr_dnn_set(g, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    tr_dnn_set(g, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    if (kind == TR_DNN_VIRTUAL) tr_dnn_set(g, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    if (kind == TR_DNN_BY_VALUE) tr_dnn_set(g, t, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    tr_dnn_finish(g, t);
    return t;
}

void tr_dnn_pointwise(tr_dnn_graph *g, cudnnPointwiseMode_t mode, tr_dnn_desc x, tr_dnn_desc b, tr_dnn_desc y)
{
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    const tr_dnn_desc p = tr_dnn_make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    tr_dnn_set(g, p, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    tr_dnn_set(g, p, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &f32);
    tr_dnn_finish(g, p);
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    tr_dnn_finish_op(g, op);
}

void tr_dnn_matmul(tr_dnn_graph *g, tr_dnn_desc a, tr_dnn_desc b, tr_dnn_desc c)
{
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    const tr_dnn_desc m = tr_dnn_make(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    tr_dnn_set(g, m, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32);
    tr_dnn_finish(g, m);
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, m);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    tr_dnn_finish_op(g, op);
}

void tr_dnn_sum(tr_dnn_graph *g, tr_dnn_desc x, tr_dnn_desc y)
{
    const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
    const cudnnReduceTensorOp_t add = CUDNN_REDUCE_TENSOR_ADD;
    const tr_dnn_desc r = tr_dnn_make(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    tr_dnn_set(g, r, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &add);
    tr_dnn_set(g, r, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32);
    tr_dnn_finish(g, r);
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, r);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    tr_dnn_finish_op(g, op);
}

void tr_dnn_reshape(tr_dnn_graph *g, tr_dnn_desc x, tr_dnn_desc y)
{
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    tr_dnn_finish_op(g, op);
}

cudnnDataType_t tr_dnn_type(int dtype)
{
    TR_ASSERT(dtype == TR_F32 || dtype == TR_F16 || dtype == TR_BF16);
    return dtype == TR_F16 ? CUDNN_DATA_HALF : dtype == TR_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* ---- plans ----------------------------------------------------------------------------------------------- */
static int bucket_of(const tr_dnn_key *key)
{
    uint64_t h = 1469598103934665603u;          /* FNV-1a over words */
    for (int i = 0; i < TR_DNN_KEY; i++) h = (h ^ (uint64_t)key->v[i]) * 1099511628211u;
    return (int)((h >> 32) % TR_DNN_BUCKETS);
}

tr_dnn_plan *tr_dnn_find(tr_cuda_dnn *dnn, const tr_dnn_key *key)
{
    tr_dnn_plan *p = dnn->bucket[bucket_of(key)];
    while (p && memcmp(&p->key, key, sizeof *key)) p = p->next;
    return p;
}

/* May results come from this engine? */
static bool is_welcome(tr_cuda_dnn *d, tr_dnn_desc config, const tr_dnn_wish *wish)
{
    static const cudnnBackendNumericalNote_t unwelcome[] = {
        CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
        CUDNN_NUMERICAL_NOTE_FFT, CUDNN_NUMERICAL_NOTE_WINOGRAD, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13 };
    tr_dnn_desc engine = nullptr;
    int64_t n = 0;
    cudnnBackendNumericalNote_t notes[NOTE_MAX];
    cudnnBackendBehaviorNote_t behaviour[NOTE_MAX];
    if (d->BackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) != CUDNN_STATUS_SUCCESS) return false;
    bool ok = d->BackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) == CUDNN_STATUS_SUCCESS &&
              d->BackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, NOTE_MAX, &n, notes) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; ok && i < n && i < NOTE_MAX; i++)
        for (size_t k = 0; k < sizeof unwelcome / sizeof *unwelcome; k++) ok = ok && notes[i] != unwelcome[k];
    ok = ok && d->BackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, NOTE_MAX, &n, behaviour) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; ok && i < n && i < NOTE_MAX; i++) ok = wish->may_compile || behaviour[i] != CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    (void)d->BackendDestroyDescriptor(engine);
    return ok;
}

/* A finished plan of this configuration, or NULL. */
static tr_dnn_desc try_config(tr_cuda_dnn *d, tr_dnn_desc config, const tr_dnn_wish *wish, int64_t *workspace)
{
    tr_dnn_desc plan = nullptr;
    int64_t n = 0;
    if (!is_welcome(d, config, wish) || d->BackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan) != CUDNN_STATUS_SUCCESS) return nullptr;
    *workspace = 0;
    if (d->BackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &d->handle) == CUDNN_STATUS_SUCCESS &&
        d->BackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config) == CUDNN_STATUS_SUCCESS &&
        d->BackendFinalize(plan) == CUDNN_STATUS_SUCCESS &&
        d->BackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, workspace) == CUDNN_STATUS_SUCCESS &&
        *workspace <= wish->workspace_max)
        return plan;
    (void)d->BackendDestroyDescriptor(plan);
    return nullptr;
}

/* Ask the heuristics in one mode; what comes of it is added to g and p. */
static void choose(tr_dnn_plan *p, tr_dnn_graph *g, tr_dnn_desc graph, cudnnBackendHeurMode_t mode, const tr_dnn_wish *wish)
{
    tr_cuda_dnn *d = g->dnn;
    tr_dnn_desc heuristic = nullptr, config[ENGINE_MAX];
    int64_t n = 0;
    int n_config = 0;
    if (d->BackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic) != CUDNN_STATUS_SUCCESS) return;
    while (n_config < ENGINE_MAX && d->BackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[n_config]) == CUDNN_STATUS_SUCCESS) n_config++;
    if (d->BackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph) == CUDNN_STATUS_SUCCESS &&
        d->BackendSetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode) == CUDNN_STATUS_SUCCESS &&
        d->BackendFinalize(heuristic) == CUDNN_STATUS_SUCCESS &&
        d->BackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n_config, &n, config) == CUDNN_STATUS_SUCCESS)
        for (int i = 0; i < n && i < n_config && !p->served; i++) {
            p->plan = try_config(d, config[i], wish, &p->workspace);
            if (!p->plan) continue;
            p->served = true;
            TR_ASSERT(g->n_desc + 3 <= TR_DNN_DESC_MAX);
            g->desc[g->n_desc++] = heuristic;
            g->desc[g->n_desc++] = config[i];
            g->desc[g->n_desc++] = p->plan;
            heuristic = nullptr;
            config[i] = nullptr;
        }
    for (int i = 0; i < n_config; i++)
        if (config[i]) (void)d->BackendDestroyDescriptor(config[i]);
    if (heuristic) (void)d->BackendDestroyDescriptor(heuristic);
}

tress_status tr_dnn_plan_make(tr_dnn_plan **out, tr_dnn_graph *g, const tr_dnn_key *key, const tr_dnn_wish *wish)
{
    tr_dnn_plan *p = new (std::nothrow) tr_dnn_plan();
    if (!p) return tr_fail(TRESS_E_OOM, "out of memory for a plan of cuDNN");
    p->key = *key;
    const tr_dnn_desc graph = tr_dnn_make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    tr_dnn_set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->dnn->handle);
    tr_dnn_set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_op, g->op);
    tr_dnn_finish(g, graph);
    if (g->fault == CUDNN_STATUS_SUCCESS) choose(p, g, graph, CUDNN_HEUR_MODE_A, wish);
    if (g->fault == CUDNN_STATUS_SUCCESS && !p->served) choose(p, g, graph, CUDNN_HEUR_MODE_FALLBACK, wish);
    if (p->served) {
        memcpy(p->desc, g->desc, sizeof p->desc);
        p->n_desc = g->n_desc;
    } else {
        destroy(g->dnn, g->desc, g->n_desc);
    }
    g->n_desc = g->n_op = 0;
    tr_dnn_plan **to = &g->dnn->bucket[bucket_of(key)];
    p->next = *to;
    *to = p;
    *out = p;
    return TRESS_OK;
}

tress_status tr_dnn_run(tr_cuda *c, const tr_dnn_plan *p, const char *what, const int64_t *uid, void *const *at, int n, void *workspace)
{
    tr_cuda_dnn *d = c->dnn;
    tr_dnn_desc pack = nullptr;
    char words[256] = "";
    cudnnStatus_t s = d->BackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (s == CUDNN_STATUS_SUCCESS) s = d->BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, uid);
    if (s == CUDNN_STATUS_SUCCESS) s = d->BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, at);
    if (s == CUDNN_STATUS_SUCCESS) s = d->BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (s == CUDNN_STATUS_SUCCESS) s = d->BackendFinalize(pack);
    if (s == CUDNN_STATUS_SUCCESS) s = d->BackendExecute(d->handle, p->plan, pack);
    if (s != CUDNN_STATUS_SUCCESS) d->GetLastErrorString(words, sizeof words);
    if (pack) (void)d->BackendDestroyDescriptor(pack);
    if (s == CUDNN_STATUS_SUCCESS) return TRESS_OK;
    return tr_fail(TRESS_E_GPU, "cuDNN %d.%d.%d, %s: %s (%s)", d->version / 10000, d->version / 100 % 100, d->version % 100, what, d->GetErrorString(s), words);
}
