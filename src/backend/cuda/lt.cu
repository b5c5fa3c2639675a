/* cuBLASLt's handle, its workspace, and the kinds of products met so far. */
#include "backend/cuda/lt.h"

#include <cublasLt.h>

#include <new>
#include <string.h>

#define WORKSPACE ((size_t)32 << 20)            /* what cuBLAS itself takes on Hopper */
#define N_CANDIDATE 8

struct tr_lt_plan {
    tr_lt_plan            *next;                /* of the same slot */
    tr_lt_shape            shape;
    bool                   none;                /* cuBLASLt has no way */
    cublasLtMatmulDesc_t   op;
    cublasLtMatrixLayout_t a, b, c, d;
    cublasLtMatmulAlgo_t   algo;
    size_t                 n_workspace;
};

#define N_SLOT 1024                             /* a model has some tens of kinds */
struct tr_cuda_lt {
    cublasLtHandle_t handle;
    void            *workspace;
    tr_lt_plan      *slot[N_SLOT];
};

static tress_status check(cublasStatus_t st, const char *what)
{
    return st == CUBLAS_STATUS_SUCCESS ? TRESS_OK
                                       : tr_fail(st == CUBLAS_STATUS_ALLOC_FAILED ? TRESS_E_OOM : TRESS_E_GPU, "cuBLASLt, %s: %s (%s)", what,
                                                 cublasLtGetStatusString(st), cublasLtGetStatusName(st));
}

static void plan_free(tr_lt_plan *p)
{
    if (!p) return;
    if (p->a) (void)cublasLtMatrixLayoutDestroy(p->a);
    if (p->b) (void)cublasLtMatrixLayoutDestroy(p->b);
    if (p->c) (void)cublasLtMatrixLayoutDestroy(p->c);
    if (p->d) (void)cublasLtMatrixLayoutDestroy(p->d);
    if (p->op) (void)cublasLtMatmulDescDestroy(p->op);
    delete p;
}

void tr_cuda_lt_free(tr_cuda_lt *lt)
{
    if (!lt) return;
    for (int i = 0; i < N_SLOT; i++)
        while (lt->slot[i]) {
            tr_lt_plan *p = lt->slot[i];
            lt->slot[i] = p->next;
            plan_free(p);
        }
    (void)cudaFree(lt->workspace);
    if (lt->handle) (void)cublasLtDestroy(lt->handle);
    delete lt;
}

static tress_status lt_get(tr_cuda_lt **out, tr_cuda *c)
{
    tress_status st = TRESS_OK;
    tr_cuda_lt *lt = nullptr;
    if (c->lt) return *out = c->lt, TRESS_OK;
    lt = new (std::nothrow) tr_cuda_lt();
    if (!lt) return tr_fail(TRESS_E_OOM, "out of memory for the state of cuBLASLt");
    TR_TRY(check(cublasLtCreate(&lt->handle), "starting"));
    TR_TRY(tr_cuda_check(cudaMalloc(&lt->workspace, WORKSPACE), "taking cuBLASLt's workspace"));
    *out = c->lt = lt;
    lt = nullptr;
done:
    tr_cuda_lt_free(lt);
    return st;
}

/* ---- a kind of product ----------------------------------------------------------------------------------- */
static cudaDataType_t type_of(int32_t t) { return t == TR_F16 ? CUDA_R_16F : t == TR_BF16 ? CUDA_R_16BF : CUDA_R_32F; }

static tress_status layout(cublasLtMatrixLayout_t *out, int32_t type, int64_t rows, int64_t cols, int64_t ld, int32_t n_batch, int64_t step)
{
    tress_status st = TRESS_OK;
    TR_TRY(check(cublasLtMatrixLayoutCreate(out, type_of(type), (uint64_t)rows, (uint64_t)cols, ld), "describing a matrix"));
    if (n_batch > 1) {
        TR_TRY(check(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n_batch, sizeof n_batch), "describing a batch"));
        TR_TRY(check(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step), "describing a batch"));
    }
done:
    return st;
}

static tress_status set_op(cublasLtMatmulDesc_t op, cublasLtMatmulDescAttributes_t what, const void *value, size_t n)
{
    return check(cublasLtMatmulDescSetAttribute(op, what, value, n), "describing a product");
}

static tress_status describe(tr_lt_plan *p)
{
    const tr_lt_shape *s = &p->shape;
    const cublasOperation_t turn = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = s->epilogue == (TR_LT_BIAS | TR_LT_GELU) ? CUBLASLT_EPILOGUE_GELU_BIAS
                                        : s->epilogue == TR_LT_GELU              ? CUBLASLT_EPILOGUE_GELU
                                                                                 : CUBLASLT_EPILOGUE_BIAS;
    tress_status st = TRESS_OK;
    TR_TRY(check(cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product"));
    if (s->turn_a) TR_TRY(set_op(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &turn, sizeof turn));
    if (s->turn_b) TR_TRY(set_op(p->op, CUBLASLT_MATMUL_DESC_TRANSB, &turn, sizeof turn));
    if (s->epilogue) TR_TRY(set_op(p->op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (s->vector) {
        const int32_t mode = CUBLASLT_POINTER_MODE_ALPHA_DEVICE_VECTOR_BETA_HOST;
        TR_TRY(set_op(p->op, CUBLASLT_MATMUL_DESC_POINTER_MODE, &mode, sizeof mode));
        if (s->n_batch > 1) TR_TRY(set_op(p->op, CUBLASLT_MATMUL_DESC_ALPHA_VECTOR_BATCH_STRIDE, &s->m, sizeof s->m));
    }
    if (s->n_batch > 1 && (s->epilogue & TR_LT_BIAS)) TR_TRY(set_op(p->op, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, &s->m, sizeof s->m));
    TR_TRY(layout(&p->a, s->ab, s->turn_a ? s->k : s->m, s->turn_a ? s->m : s->k, s->lda, s->n_batch, 0));
    TR_TRY(layout(&p->b, s->ab, s->turn_b ? s->n : s->k, s->turn_b ? s->k : s->n, s->ldb, s->n_batch, s->step_b));
    TR_TRY(layout(&p->c, s->cd, s->m, s->n, s->add ? s->ldc : s->ldd, s->n_batch, s->add ? s->step_c : s->step_d));
    TR_TRY(layout(&p->d, s->cd, s->m, s->n, s->ldd, s->n_batch, s->step_d));
done:
    return st;
}

static tress_status set_wish(cublasLtMatmulPreference_t wish, cublasLtMatmulPreferenceAttributes_t what, const void *value, size_t n)
{
    return check(cublasLtMatmulPreferenceSetAttribute(wish, what, value, n), "describing what an algorithm may use");
}

static tress_status choose(tr_cuda_lt *lt, tr_lt_plan *p)
{
    static const cublasLtMatmulPreferenceAttributes_t align[] = { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                                                  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES };
    const uint32_t n_align = TR_LT_ALIGN, schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const size_t n_workspace = WORKSPACE;
    tress_status st = TRESS_OK;
    cublasLtMatmulPreference_t wish = nullptr;
    cublasLtMatmulHeuristicResult_t found[N_CANDIDATE];
    cublasStatus_t answer;
    int n = 0, i = 0;
    TR_TRY(check(cublasLtMatmulPreferenceCreate(&wish), "describing what an algorithm may use"));
    TR_TRY(set_wish(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &n_workspace, sizeof n_workspace));
    TR_TRY(set_wish(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes));
    if (p->shape.epilogue & TR_LT_BIAS) TR_TRY(set_op(p->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &lt->workspace, sizeof lt->workspace));      /* any, until one runs */
    for (int k = 0; k < 4; k++) TR_TRY(set_wish(wish, align[k], &n_align, sizeof n_align));
    answer = cublasLtMatmulAlgoGetHeuristic(lt->handle, p->op, p->a, p->b, p->c, p->d, wish, N_CANDIDATE, found, &n);
    if (answer == CUBLAS_STATUS_NOT_SUPPORTED || answer == CUBLAS_STATUS_INVALID_VALUE) n = 0;
    else TR_TRY(check(answer, "looking for an algorithm"));
    while (i < n && (found[i].state != CUBLAS_STATUS_SUCCESS || found[i].workspaceSize > WORKSPACE)) i++;
    p->none = i >= n;
    if (!p->none) {
        p->algo = found[i].algo;
        p->n_workspace = found[i].workspaceSize;
    }
done:
    if (wish) (void)cublasLtMatmulPreferenceDestroy(wish);
    return st;
}

/* FNV-1a over the bytes. */
static uint32_t slot_of(const tr_lt_shape *s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof *s; i++) h = (h ^ ((const unsigned char *)s)[i]) * 16777619u;
    return h % N_SLOT;
}

tress_status tr_lt_find(const tr_lt_plan **out, tr_cuda *c, const tr_lt_shape *shape)
{
    tress_status st = TRESS_OK;
    tr_cuda_lt *lt = nullptr;
    tr_lt_plan *p = nullptr, **head = nullptr, *known = nullptr;
    static_assert(sizeof(tr_lt_shape) == 8 * sizeof(int32_t) + 10 * sizeof(int64_t), "compared by its bytes: no padding");
    TR_TRY(lt_get(&lt, c));
    head = &lt->slot[slot_of(shape)];
    for (known = *head; known && memcmp(&known->shape, shape, sizeof *shape); known = known->next) {}
    if (!known) {
        p = new (std::nothrow) tr_lt_plan();
        if (!p) TR_TRY(tr_fail(TRESS_E_OOM, "out of memory for a kind of product"));
        p->shape = *shape;
        TR_TRY(describe(p));
        TR_TRY(choose(lt, p));
        p->next = *head;
        known = *head = p;
        p = nullptr;
    }
    *out = known->none ? nullptr : known;
done:
    plan_free(p);
    return st;
}

tress_status tr_lt_run(tr_cuda *c, const tr_lt_plan *plan, const tr_lt_product *p)
{
    tress_status st = TRESS_OK;
    const float beta = p->shape.add ? 1.0f : 0.0f;
    const void *alpha = p->shape.vector ? (const void *)p->alphas : &p->alpha;
    TR_ASSERT(!memcmp(&plan->shape, &p->shape, sizeof p->shape));
    if (p->shape.epilogue & TR_LT_BIAS) TR_TRY(set_op(plan->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias));
    TR_TRY(check(cublasLtMatmul(c->lt->handle, plan->op, alpha, p->a, plan->a, p->b, plan->b, &beta, p->shape.add ? p->c : p->d, plan->c, p->d, plan->d,
                                &plan->algo, c->lt->workspace, plan->n_workspace, c->stream),
                 "queueing a product"));
done:
    return st;
}
