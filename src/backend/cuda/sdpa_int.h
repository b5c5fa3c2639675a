/* sdpa_int.h - how attention's tensors look to cuDNN. Stays inside the CUDA back end. */
#ifndef TRESS_BACKEND_CUDA_SDPA_INT_H
#define TRESS_BACKEND_CUDA_SDPA_INT_H

#include "backend/cuda/dnn.h"

#define TR_SDPA_HEAD_MAX 128

enum { TR_SDPA_FORWARD = 16, TR_SDPA_BACK };    /* kinds of problems, first in their keys */

/* 16 bits, this type, rows that 16-byte moves can read. A step over an extent of 1 means nothing. */
static inline bool tr_sdpa_is_fit(tr_tensor t, tr_dtype type)
{
    if ((type != TR_F16 && type != TR_BF16) || t.dtype != type || (uintptr_t)t.data % 16) return false;
    if (t.shape[3] % 8 || t.shape[3] > TR_SDPA_HEAD_MAX || t.stride[3] != 1) return false;
    for (int i = 0; i < 3; i++)
        if (t.shape[i] > 1 && (t.stride[i] % 8 || t.stride[i] <= 0)) return false;
    return true;
}

/* cuDNN refuses, or once got wrong, single queries and keys. */
static inline bool tr_sdpa_is_fit_shape(tr_tensor q, tr_tensor k) { return q.shape[0] > 0 && q.shape[1] > 1 && q.shape[2] > 0 && k.shape[1] > 1; }

/* Extents and strides of [b, n, h, d] in cuDNN's order [b, h, n, d]. */
struct tr_sdpa_layout { int64_t dim[4], stride[4]; };

static inline tr_sdpa_layout tr_sdpa_layout_of(tr_tensor t)
{
    static const int order[] = { 0, 2, 1, 3 };
    tr_sdpa_layout l;
    for (int i = 0; i < 4; i++) {
        l.dim[i] = t.shape[order[i]];
        l.stride[i] = t.stride[order[i]];
    }
    for (int i = 2; i >= 0; i--)                /* one name for what is the same */
        if (l.dim[i] == 1) l.stride[i] = l.stride[i + 1] * l.dim[i + 1];
    return l;
}

static inline tr_dnn_desc tr_sdpa_tensor(tr_dnn_graph *g, int64_t uid, tr_tensor t)
{
    const tr_sdpa_layout l = tr_sdpa_layout_of(t);
    return tr_dnn_tensor(g, uid, tr_dnn_type((int)t.dtype), l.dim, l.stride, 16, TR_DNN_MEMORY);
}

/* A number for each query and head, F32 [b, h, n_q, 1]. */
static inline tr_dnn_desc tr_sdpa_list(tr_dnn_graph *g, int64_t uid, tr_tensor q)
{
    const int64_t h = q.shape[2], n = q.shape[1], dim[] = { q.shape[0], h, n, 1 }, stride[] = { h * n, n, 1, 1 };
    return tr_dnn_tensor(g, uid, CUDNN_DATA_FLOAT, dim, stride, 4, TR_DNN_MEMORY);
}

static inline tr_dnn_desc tr_sdpa_scalar(tr_dnn_graph *g, int64_t uid)
{
    const int64_t one[] = { 1, 1, 1, 1 };
    return tr_dnn_tensor(g, uid, CUDNN_DATA_FLOAT, one, one, 4, TR_DNN_BY_VALUE);
}

/* Rows and strides of one tensor more into the key; the next free place. */
static inline int tr_sdpa_key_add(tr_dnn_key *key, int n, tr_tensor t)
{
    const tr_sdpa_layout l = tr_sdpa_layout_of(t);
    TR_ASSERT(n + 4 <= TR_DNN_KEY);
    key->v[n++] = l.dim[2];
    for (int i = 0; i < 3; i++) key->v[n++] = l.stride[i];
    return n;
}

#endif
