/* The masked velocity loss and its gradient. Memory-bound: three tensors are read and one is written; the mask of a sample stays
 * in the cache. */
#include "backend/cpu/each.h"

tress_status tr_cpu_velocity_loss(tr_stream *s, tr_tensor dv, tr_tensor sum, tr_tensor v, tr_tensor x0, tr_tensor noise,
                                  tr_tensor mask, tr_tensor weight)
{
    const tr_rows *k = tr_cpu_rows(s);
    const int64_t b = v.shape[0], c = v.shape[1], plane = v.shape[2] * v.shape[3], n_piece = tr_pieces(plane),
                  n_item = b * c * n_piece;
    double *part = tr_cpu_room(s, 0);            /* [b, c, n_piece], added up in this order by one thread */
    TR_ASSERT((size_t)n_item * sizeof *part <= TR_CPU_ROOM);
#pragma omp parallel for num_threads(tr_cpu_threads(s)) schedule(static) if (tr_count(v) > TR_ITEM)
    for (int64_t item = 0; item < n_item; item++) {
        const int64_t at = item % n_piece * TR_ITEM, ch = item / n_piece, i = ch / c, from = ch * plane + at,
                      n = plane - at < TR_ITEM ? plane - at : TR_ITEM;
        const bool back = !tr_is_none(dv);
        part[item] =
            k->velocity(back ? (float *)dv.data + from : NULL, (const float *)v.data + from, (const float *)x0.data + from,
                        (const float *)noise.data + from, (const float *)mask.data + i * plane + at,
                        back ? 2 * (double)((const float *)weight.data)[i] : 0, n);
    }
    for (int64_t i = 0; i < b; i++) {
        double t = 0;
        for (int64_t j = 0; j < c * n_piece; j++) t += part[i * c * n_piece + j];
        ((double *)sum.data)[i] = t;
    }
    return TRESS_OK;
}
