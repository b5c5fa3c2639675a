/* Convolution by cuDNN: one graph of convolution + residual + bias, sums in F32 until the result is rounded once; where no engine
 * takes all of it, the convolution alone. In this order, with the bias and the residual of the type of x, 9.19 has engines compiled
 * beforehand; for any other, and for F32 results, only such as it compiles on the spot, 0.2 to 0.8 s each, some 16 for a picture:
 * these are not used. */
#include "backend/cuda/conv_int.h"
#include "backend/cuda/dnn.h"

#include <stdio.h>
#include <string.h>

#define WORKSPACE_MAX ((int64_t)256 << 20)
#define LEAST 90000

enum { UID_Y = 1, UID_X, UID_W, UID_BIAS, UID_RESIDUAL };
enum { KIND_FUSED = 1, KIND_ALONE = 2 };

static tr_dnn_key key_of(const tr_conv_problem *p, bool fused)
{
    tr_dnn_key k;
    memset(&k, 0, sizeof k);
    const int64_t v[] = { fused ? KIND_FUSED : KIND_ALONE, p->type, fused ? p->y_type : p->type, fused ? p->residual_type : -1, fused && p->bias, p->b, p->h,
                          p->w, p->c, p->oh, p->ow, p->m, p->kh, p->kw, p->stride, p->top, p->left, p->bottom, p->right };
    static_assert(sizeof v <= sizeof k.v, "a key holds a problem");
    memcpy(k.v, v, sizeof v);
    return k;
}

/* [b, c, h, w] over channels last. */
static tr_dnn_desc image(tr_dnn_graph *g, int64_t uid, cudnnDataType_t t, int64_t b, int64_t c, int64_t h, int64_t w, tr_dnn_kind kind)
{
    const int64_t dim[] = { b, c, h, w }, stride[] = { h * w * c, 1, w * c, c };
    return tr_dnn_tensor(g, uid, t, dim, stride, 16, kind);
}

static void build(tr_dnn_graph *g, const tr_conv_problem *p, bool fused)
{
    const cudnnDataType_t t = tr_dnn_type(p->type), f32 = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t n_dim = 2, stride[] = { p->stride, p->stride }, one[] = { 1, 1 }, before[] = { p->top, p->left }, after[] = { p->bottom, p->right };
    const float alpha = 1, beta = 0;            /* of double 1 an engine for the convolution alone reads the lower half, which is 0 */
    const bool bias = fused && p->bias, residual = fused && p->residual_type >= 0;
    const tr_dnn_desc x = image(g, UID_X, t, p->b, p->c, p->h, p->w, TR_DNN_MEMORY), w = image(g, UID_W, t, p->m, p->c, p->kh, p->kw, TR_DNN_MEMORY);
    const tr_dnn_desc y = image(g, UID_Y, fused ? tr_dnn_type(p->y_type) : t, p->b, p->m, p->oh, p->ow, TR_DNN_MEMORY);
    tr_dnn_desc last = bias || residual ? image(g, 0, f32, p->b, p->m, p->oh, p->ow, TR_DNN_VIRTUAL) : y;
    const tr_dnn_desc conv = tr_dnn_make(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    tr_dnn_set(g, conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &f32);
    tr_dnn_set(g, conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    tr_dnn_set(g, conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n_dim);
    tr_dnn_set(g, conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    tr_dnn_set(g, conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    tr_dnn_set(g, conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    tr_dnn_set(g, conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    tr_dnn_finish(g, conv);
    const tr_dnn_desc op = tr_dnn_make(g, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    tr_dnn_set_desc(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, last);
    tr_dnn_set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &alpha);
    tr_dnn_set(g, op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &beta);
    tr_dnn_finish_op(g, op);
    if (residual) {
        const tr_dnn_desc to = bias ? image(g, 0, f32, p->b, p->m, p->oh, p->ow, TR_DNN_VIRTUAL) : y;
        tr_dnn_pointwise(g, CUDNN_POINTWISE_ADD, last, image(g, UID_RESIDUAL, tr_dnn_type(p->residual_type), p->b, p->m, p->oh, p->ow, TR_DNN_MEMORY), to);
        last = to;
    }
    if (bias) tr_dnn_pointwise(g, CUDNN_POINTWISE_ADD, last, image(g, UID_BIAS, t, 1, p->m, 1, 1, TR_DNN_MEMORY), y);
}

static tress_status plan_of(tr_dnn_plan **out, tr_cuda_dnn *dnn, const tr_conv_problem *p, bool fused)
{
    const tr_dnn_key key = key_of(p, fused);
    *out = tr_dnn_find(dnn, &key);
    if (*out) return TRESS_OK;
    tr_dnn_graph g(dnn);
    build(&g, p, fused);
    const tr_dnn_wish wish = { .workspace_max = WORKSPACE_MAX, .may_compile = false };
    return tr_dnn_plan_make(out, &g, &key, &wish);
}

tress_status tr_conv_dnn_plan(const tr_dnn_plan **out, bool *fused, size_t *workspace, tr_cuda *c, const tr_conv_problem *p)
{
    tress_status st = TRESS_OK;
    tr_cuda_dnn *dnn;
    tr_dnn_plan *plan;
    *out = nullptr;
    TR_TRY(tr_dnn_get(&dnn, c, LEAST));
    if (!dnn) return TRESS_OK;
    *fused = true;
    TR_TRY(plan_of(&plan, dnn, p, true));
    if (!plan->served && p->y_type == p->type) {
        *fused = false;
        TR_TRY(plan_of(&plan, dnn, p, false));
    }
    if (!plan->served) return TRESS_OK;
    *workspace = (size_t)plan->workspace;
    *out = plan;
done:
    return st;
}

tress_status tr_conv_dnn_run(tr_cuda *c, const tr_dnn_plan *plan, bool fused, const tr_conv_problem *p, void *y, const void *x, const void *w,
                             const void *bias, const void *residual, void *workspace)
{
    char what[160];
    int64_t uid[5] = { UID_Y, UID_X, UID_W };
    void *at[5] = { y, (void *)x, (void *)w };
    int n = 3;
    if (fused && p->bias) uid[n] = UID_BIAS, at[n++] = (void *)bias;
    if (fused && p->residual_type >= 0) uid[n] = UID_RESIDUAL, at[n++] = (void *)residual;
    snprintf(what, sizeof what, "conv2d [%lld, %lld, %lld, %lld], weights [%lld, %lld, %lld, %lld]", (long long)p->b, (long long)p->h, (long long)p->w,
             (long long)p->c, (long long)p->m, (long long)p->c, (long long)p->kh, (long long)p->kw);
    return tr_dnn_run(c, plan, what, uid, at, n, workspace);
}
