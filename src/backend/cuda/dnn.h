/* dnn.h - cuDNN's graphs, for what it does better than we: convolutions and attention. Inside the CUDA back end.
 *
 * The library is opened at run time, never linked: where it is not installed, callers use their own kernels. A graph is built once
 * for a problem (its key), cuDNN's heuristics name engines for it, the first that is deterministic and exact enough is kept as a
 * plan, and later calls of that problem search nothing. A problem that no engine serves is remembered too.
 *
 *     tr_dnn_graph g(dnn);                             descriptors of g are made and set without looking; the first fault stays
 *     x = tr_dnn_tensor(&g, UID_X, ...); ...
 *     TR_TRY(tr_dnn_plan_make(&plan, &g, key, &wish)); plan->served: is there an engine?
 *     TR_TRY(tr_dnn_run(c, plan, "conv2d", uid, pointer, n, workspace));          https://docs.nvidia.com/deeplearning/cudnn */
#ifndef TRESS_BACKEND_CUDA_DNN_H
#define TRESS_BACKEND_CUDA_DNN_H

#include "backend/cuda/cuda.h"

#include <cudnn_graph.h>

typedef cudnnBackendDescriptor_t tr_dnn_desc;

/* ---- the library ----------------------------------------------------------------------------------------- */
/* The functions that are used, under their names without "cudnn". */
#define TR_DNN_FUNCTIONS(F)                                                                                                  \
    F(GetVersion) F(GetErrorString) F(GetLastErrorString) F(Create) F(Destroy) F(SetStream) F(BackendCreateDescriptor)       \
    F(BackendDestroyDescriptor) F(BackendSetAttribute) F(BackendGetAttribute) F(BackendFinalize) F(BackendExecute)

#define TR_DNN_KEY 56
typedef struct tr_dnn_key { int64_t v[TR_DNN_KEY]; } tr_dnn_key;         /* a problem: its kind, then extents, strides, types; else 0 */

#define TR_DNN_DESC_MAX 96
struct tr_dnn_plan {                            /* one problem and the engine for it */
    tr_dnn_key   key;
    bool         served;                        /* false: no engine */
    tr_dnn_desc  plan;
    int64_t      workspace;                     /* bytes */
    tr_dnn_desc  desc[TR_DNN_DESC_MAX];         /* everything that it stands on, the first made first */
    int          n_desc;
    tr_dnn_plan *next;
};

#define TR_DNN_BUCKETS 256
struct tr_cuda_dnn {
    void         *library;                      /* NULL: not installed, or cannot be used */
    cudnnHandle_t handle;
    int           version;                      /* 91900 is 9.19.0 */
    tr_dnn_plan  *bucket[TR_DNN_BUCKETS];
#define F(name) decltype(&cudnn##name) name;
    TR_DNN_FUNCTIONS(F)
#undef F
};

/* *out = cuDNN, opened on the first call; NULL where there is none of version `least` or later. Fails: OOM. */
tress_status tr_dnn_get(tr_cuda_dnn **out, tr_cuda *c, int least);

/* ---- graphs ---------------------------------------------------------------------------------------------- */
#define TR_DNN_OP_MAX 24
struct tr_dnn_graph {
    tr_cuda_dnn  *dnn;
    tr_dnn_desc   desc[TR_DNN_DESC_MAX];
    int           n_desc;
    tr_dnn_desc   op[TR_DNN_OP_MAX];
    int           n_op;
    int64_t       uid_next;                     /* of virtual tensors */
    cudnnStatus_t fault;                        /* the first; what follows is then left out */
    explicit tr_dnn_graph(tr_cuda_dnn *d) : dnn(d), n_desc(0), n_op(0), uid_next(1000), fault(CUDNN_STATUS_SUCCESS) {}
    ~tr_dnn_graph();
    tr_dnn_graph(const tr_dnn_graph &) = delete;
    tr_dnn_graph &operator=(const tr_dnn_graph &) = delete;
};

tr_dnn_desc tr_dnn_make(tr_dnn_graph *g, cudnnBackendDescriptorType_t type);
void tr_dnn_set(tr_dnn_graph *g, tr_dnn_desc d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *v);
void tr_dnn_set_desc(tr_dnn_graph *g, tr_dnn_desc d, cudnnBackendAttributeName_t name, tr_dnn_desc v);
void tr_dnn_finish(tr_dnn_graph *g, tr_dnn_desc d);
void tr_dnn_finish_op(tr_dnn_graph *g, tr_dnn_desc op);                  /* and it becomes part of the graph */

typedef enum tr_dnn_kind { TR_DNN_MEMORY, TR_DNN_VIRTUAL, TR_DNN_BY_VALUE } tr_dnn_kind;
/* A tensor of rank 4, strides in elements. uid 0: one of its own (virtual tensors). align: bytes that its address is a multiple of. */
tr_dnn_desc tr_dnn_tensor(tr_dnn_graph *g, int64_t uid, cudnnDataType_t type, const int64_t dim[4], const int64_t stride[4], int64_t align,
                          tr_dnn_kind kind);
/* y = mode(x), or mode(x, b) where b is not NULL, in F32. */
void tr_dnn_pointwise(tr_dnn_graph *g, cudnnPointwiseMode_t mode, tr_dnn_desc x, tr_dnn_desc b, tr_dnn_desc y);
/* c = a b, sums in F32. */
void tr_dnn_matmul(tr_dnn_graph *g, tr_dnn_desc a, tr_dnn_desc b, tr_dnn_desc c);
/* y = the sum of x over the dimensions where y has 1. */
void tr_dnn_sum(tr_dnn_graph *g, tr_dnn_desc x, tr_dnn_desc y);
/* y = x under other extents. */
void tr_dnn_reshape(tr_dnn_graph *g, tr_dnn_desc x, tr_dnn_desc y);

cudnnDataType_t tr_dnn_type(int dtype);         /* of F32, F16 and BF16 */

/* ---- plans ----------------------------------------------------------------------------------------------- */
/* The plan of a problem, or NULL when none was made so far. */
tr_dnn_plan *tr_dnn_find(tr_cuda_dnn *dnn, const tr_dnn_key *key);

typedef struct tr_dnn_wish {
    int64_t workspace_max;                      /* bytes */
    bool    may_compile;                        /* engines that are compiled when the plan is made: a second or so */
} tr_dnn_wish;

/* Choose an engine for the graph and keep the plan under the key; what an engine may not be: nondeterministic, of Winograd's or
 * Fourier's way, of narrower sums or operands than asked for. *out: borrowed, the back end's; not `served` where no engine
 * qualifies. The graph is empty afterwards. Fails: OOM. */
tress_status tr_dnn_plan_make(tr_dnn_plan **out, tr_dnn_graph *g, const tr_dnn_key *key, const tr_dnn_wish *wish);

/* Run a plan on the back end's stream. Fails: GPU, naming `what` and cuDNN's words. */
tress_status tr_dnn_run(tr_cuda *c, const tr_dnn_plan *p, const char *what, const int64_t *uid, void *const *at, int n, void *workspace);

#endif
