/* What stands for cuDNN where its header was not there to build with: nothing is served. */
#include "backend/cuda/conv_int.h"
#include "backend/cuda/sdpa.h"

void tr_cuda_dnn_free(tr_cuda_dnn *) {}

tress_status tr_conv_dnn_plan(const tr_dnn_plan **out, bool *, size_t *, tr_cuda *, const tr_conv_problem *)
{
    *out = nullptr;
    return TRESS_OK;
}

tress_status tr_conv_dnn_run(tr_cuda *, const tr_dnn_plan *, bool, const tr_conv_problem *, void *, const void *, const void *, const void *, const void *, void *)
{
    return tr_fail(TRESS_E_GPU, "conv2d: found a plan of cuDNN, expected none in a build without it");
}

tress_status tr_cuda_sdpa(tr_cuda *, const tr_attention_args *, bool *done)
{
    *done = false;
    return TRESS_OK;
}

tress_status tr_cuda_sdpa_back(tr_cuda *, const tr_attention_back_args *, bool *done)
{
    *done = false;
    return TRESS_OK;
}
