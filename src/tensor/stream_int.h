/* stream_int.h - what front doors see of a device and a stream. Stays inside tensor. */
#ifndef TRESS_TENSOR_STREAM_INT_H
#define TRESS_TENSOR_STREAM_INT_H

#include "tensor/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tr_device {
    const tr_backend *backend;
    tress_backend kind;                         /* CPU or CUDA */
    void   *self;                               /* the back end's; NULL when dry */
    bool    dry, is_host;                       /* is_host: or stands for a device that is */
    int     n_thread;
    tr_dtype dtype;
    int64_t bytes_max, bytes, peak, peak_ever, bytes_weight, bytes_pinned, peak_pinned;
    uintptr_t next;                             /* dry: the next address that stands for nothing */
    char    name[96];
};

struct tr_stream {
    tr_device *device;
    tr_arena  *arena;
    tr_stream_stats stats;
    bool       recording;
    tr_stream_stats stats_before;               /* of what is being recorded */
    bool     (*cancelled)(void *self);
    void      *cancelled_self;
};

/* The back end in a shared object of this name, where the driver that it needs is installed. Fails: GPU (not there, needs what is not
 * there, another version). */
TR_CHECKED tress_status tr_backend_load(const tr_backend **out, const char *file, const char *driver);

/* A source of memory for arenas; self is the device. Counted and limited. */
TR_CHECKED tress_status tr_device_take_bytes(void *self, void **out, size_t n);
void tr_device_give_bytes(void *self, void *p, size_t n);

/* Count an op's work: multiply-adds count two; bytes are operands read and written once. */
void tr_stream_count_op(tr_stream *s, double flops, double bytes);
double tr_tensor_bytes(tr_tensor t);            /* of its elements; 0 for no tensor */

/* Run an op that its front door has checked and counted. */
#define TR_RUN(s, op, args)                                                                                   \
    ((s)->device->dry ? TRESS_OK                                                                              \
     : (s)->device->backend->op ? (s)->device->backend->op args                                               \
     : tr_fail(TRESS_E_GPU, "the back end %s has no op %s", (s)->device->backend->name, #op))

/* ---- what front doors check ------------------------------------------------------------------------------ */
static inline bool tr_is_weight_type(tr_dtype t) { return t == TR_F32 || t == TR_F16 || t == TR_BF16 || t == TR_F8_E4M3; }
/* An activation: of the stream's dtype or F32, of this rank, its last dimension dense. */
static inline bool tr_is_activation(const tr_stream *s, tr_tensor t, int rank)
{
    return !tr_is_none(t) && t.rank == rank && (t.dtype == tr_stream_dtype(s) || t.dtype == TR_F32) && (t.shape[rank - 1] <= 1 || t.stride[rank - 1] == 1);
}
/* An activation [n, m] whose rows may be strided. */
static inline bool tr_is_rows(const tr_stream *s, tr_tensor t, int64_t n, int64_t m)
{
    return tr_is_activation(s, t, 2) && t.shape[0] == n && t.shape[1] == m;
}
/* The operands of an epilogue on [n, m] are what they must be; their bytes. */
double tr_check_epilogue(const tr_stream *s, const tr_epilogue *e, int64_t n, int64_t m);
static inline bool tr_is_f32_or_none(tr_tensor t, tr_dims d)
{
    return tr_is_none(t) || (t.dtype == TR_F32 && tr_has_dims(t, d) && tr_is_contiguous(t));
}
/* A weight as stored: a float type, contiguous, these dims. */
static inline bool tr_is_weight(tr_tensor t, tr_dims d)
{
    return !tr_is_none(t) && tr_is_weight_type(t.dtype) && tr_has_dims(t, d) && tr_is_contiguous(t);
}
/* [n] of this type, contiguous. */
static inline bool tr_is_list(tr_tensor t, tr_dtype type, int64_t n)
{
    return !tr_is_none(t) && t.dtype == type && tr_has_dims(t, TR_DIMS(n)) && tr_is_contiguous(t);
}
static inline bool tr_same_dims(tr_tensor a, tr_tensor b)
{
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.shape[i] != b.shape[i]) return false;
    return true;
}
/* [b, h, w, c], dense within an image row. */
static inline bool tr_is_image(const tr_stream *s, tr_tensor t)
{
    return tr_is_activation(s, t, 4) && (t.shape[2] <= 1 || t.stride[2] == t.shape[3]);
}
/* F64 [b, H, n_group, 2] for x [b, h, w, c]. */
static inline bool tr_is_group_stats(tr_tensor t, tr_tensor x)
{
    return !tr_is_none(t) && t.dtype == TR_F64 && t.rank == 4 && t.shape[0] == x.shape[0] && t.shape[1] > 0 && t.shape[2] > 0 &&
           x.shape[3] % t.shape[2] == 0 && t.shape[3] == 2 && t.stride[3] == 1 && (t.shape[2] == 1 || t.stride[2] == 2);
}

#ifdef __cplusplus
}
#endif
#endif
