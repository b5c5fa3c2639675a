/* Attention: which kernel takes it. */
#include "backend/cuda/attention_int.h"
#include "backend/cuda/sdpa.h"

tress_status tr_cuda_attention(tr_stream *s, const tr_attention_args *a)
{
    tr_cuda *c = tr_cuda_of(s);
    if (a->q.shape[0] * a->q.shape[1] * a->q.shape[2] * a->q.shape[3] == 0) return TRESS_OK;
    bool done = false;
    const tress_status st = tr_cuda_sdpa(c, a, &done);
    if (st != TRESS_OK || done) return st;
    if (tr_cuda_attention_sm90_takes(c, a)) return tr_cuda_attention_sm90(c, a);
    return tr_cuda_attention_mma_takes(c, a) ? tr_cuda_attention_mma(c, a) : tr_cuda_attention_plain(c, a);
}
