/* Attention: which kernel takes it. Measured on an H100, TFLOP/s, 2 x 38 heads of 64, bf16 (bench/log.md):
 *     rows and keys      4096    4097    4429    1357
 *     cuDNN 9.19          487     410     409     335
 *     own, Hopper         463     445     450     313      and segments as they lie: nothing is laid side by side
 *     own, mma.sync       269     263     265     186 */
#include "backend/cuda/attention_int.h"
#include "backend/cuda/sdpa.h"

#define TILE 128                                /* cuDNN is ahead where rows and keys fill its tiles */

static bool fills_tiles(const tr_attention_args *a)
{
    return a->n_segment == 1 && tr_is_none(a->q2) && a->q.shape[1] % TILE == 0 && a->segment[0].k.shape[1] % TILE == 0;
}

static tress_status attend(tr_cuda *c, const tr_attention_args *a)
{
    if (a->q.shape[0] * a->q.shape[1] * a->q.shape[2] * a->q.shape[3] == 0) return TRESS_OK;
    const bool hopper = tr_cuda_attention_sm90_takes(c, a);
    if (!hopper || fills_tiles(a)) {
        bool done = false;
        const tress_status st = tr_cuda_sdpa(c, a, &done);
        if (st != TRESS_OK || done) return st;
    }
    if (hopper) return tr_cuda_attention_sm90(c, a);
    return tr_cuda_attention_mma_takes(c, a) ? tr_cuda_attention_mma(c, a) : tr_cuda_attention_plain(c, a);
}

/* Both streams' queries by the Hopper kernel at once: 333 of text fill two rounds of a card's blocks by themselves, with 4096 of an image
 * a third of one. */
tress_status tr_cuda_attention(tr_stream *s, const tr_attention_args *a)
{
    tr_cuda *c = tr_cuda_of(s);
    if (tr_is_none(a->q2) || (tr_count(a->q) > 0 && tr_cuda_attention_sm90_takes(c, a))) return attend(c, a);
    tr_attention_args first = *a, second = *a;
    first.q2 = first.o2 = tr_none();
    second.q = a->q2;
    second.o = a->o2;
    second.lse = second.q2 = second.o2 = tr_none();
    const tress_status st = attend(c, &first);
    return st != TRESS_OK ? st : attend(c, &second);
}
