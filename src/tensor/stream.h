/* stream.h - a device with its back end, and an ordered queue of ops on it with scratch memory.
 * Model code is written once over streams: on a real one the ops run; on a dry one they only check shapes and count,
 * so `plan` runs the very code that draws and reads off peak bytes and operations. */
#ifndef TRESS_TENSOR_STREAM_H
#define TRESS_TENSOR_STREAM_H

#include "tensor/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_device tr_device;
typedef struct tr_stream tr_stream;
struct tr_backend;                              /* ops.h */

/* Instruction sets of the CPU back end; each contains the ones before. */
typedef enum tr_simd { TR_SIMD_AUTO, TR_SIMD_NONE, TR_SIMD_AVX2, TR_SIMD_AVX512 } tr_simd;

typedef struct tr_device_spec {
    tress_backend kind;                         /* AUTO: the CPU here; who would rather have a GPU tries CUDA first */
    int     n_thread;                           /* CPU: 0 = tr_thread_count(); at most TR_THREAD_MAX */
    int64_t bytes_max;                          /* 0: no limit */
    bool    dry;                                /* nothing is computed, memory is counted and never touched */
    bool    apart;                              /* CPU: its tensors count as out of the host's reach, as a GPU's are: weights are copied */
    tr_simd simd;                               /* CPU: the most to use. AUTO: what the machine has */
    tr_dtype dtype;                             /* of activations: F32 (0); on a GPU F16 and BF16 too */
} tr_device_spec;
#define TR_THREAD_MAX 1024
TR_CHECKED tress_status tr_device_open(tr_device **out, const tr_device_spec *spec);     /* Fails: GPU, OOM, ARG */
tr_device_spec tr_device_dry_spec(const tr_device *d);          /* of one like d that computes nothing */
void tr_device_close(tr_device *d);
bool tr_device_is_host(const tr_device *d);     /* tensors of it can be read by the CPU; of a dry one: could be */
tr_dtype tr_device_dtype(const tr_device *d);   /* of activations */
/* From now on; what is there already keeps its own. Fails: ARG (as open). */
TR_CHECKED tress_status tr_device_set_dtype(tr_device *d, tr_dtype t);
bool tr_device_is_dry(const tr_device *d);
int  tr_device_threads(const tr_device *d);
const char *tr_device_name(const tr_device *d); /* "CPU, 2 threads, AVX-512" */
int64_t tr_device_bytes(const tr_device *d);    /* in use now, the streams' scratch included */
int64_t tr_device_peak(const tr_device *d);     /* the most so far */
int64_t tr_device_peak_reset(tr_device *d);     /* the same, and counts anew from what is in use now */
int64_t tr_device_peak_ever(const tr_device *d);                /* the most since it was opened */
void tr_device_limit(tr_device *d, int64_t bytes_max);          /* bytes_max from now on; 0: no limit */
/* *out = bytes of a GPU that nobody uses now; 0: unknown, as on the CPU and where nothing is computed. Fails: GPU. */
TR_CHECKED tress_status tr_device_free_bytes(const tr_device *d, int64_t *out);
int64_t tr_device_own_bytes(const tr_device *d);                /* at most so many are used by a GPU's back end itself and not counted above */
/* Host memory out of which a device fetches at full speed (page-locked, on a GPU). Fails: OOM, GPU. */
TR_CHECKED tress_status tr_device_pin(tr_device *d, void **out, int64_t n);
void tr_device_unpin(tr_device *d, void *p, int64_t n);
int64_t tr_device_pinned_bytes(const tr_device *d);             /* in use now */
int64_t tr_device_pinned_peak(const tr_device *d);
/* Memory of the device that lives until tr_device_give. */
TR_CHECKED tress_status tr_device_take(tr_device *d, tr_tensor *out, tr_dtype t, tr_dims dims);
void tr_device_give(tr_device *d, tr_tensor t);
/* The same for weights that are copied to a device: counted with the rest, and told apart here. */
TR_CHECKED tress_status tr_device_take_weight(tr_device *d, tr_tensor *out, tr_dtype t, tr_dims dims);
void tr_device_give_weight(tr_device *d, tr_tensor t);
int64_t tr_device_weight_bytes(const tr_device *d);
/* Host to device and back; on a host device plain copies between contiguous tensors of one dtype. */
TR_CHECKED tress_status tr_upload(tr_stream *s, tr_tensor to, const void *from);
TR_CHECKED tress_status tr_download(tr_stream *s, void *to, tr_tensor from);

/* to = from, which is pinned, beside the ops of s: begins when those given so far are done, which may read `to`, and while it runs
 * others go on. Ops given after tr_fetch_wait(s, lane) find the bytes of that lane's last fetch in place. */
#define TR_FETCH_LANES 12
TR_CHECKED tress_status tr_fetch(tr_stream *s, int lane, tr_tensor to, const void *from);
TR_CHECKED tress_status tr_fetch_wait(tr_stream *s, int lane);

TR_CHECKED tress_status tr_stream_new(tr_stream **out, tr_device *d);
void tr_stream_free(tr_stream *s);
tr_device *tr_stream_device(const tr_stream *s);
/* The type activations are kept in: F32 on the CPU, F32, F16 or BF16 on a GPU. */
tr_dtype tr_stream_dtype(const tr_stream *s);
TR_CHECKED tress_status tr_stream_sync(tr_stream *s);
/* A poll between ops: TRESS_E_CANCELLED once the hook says so. NULL hook: never. */
void tr_stream_set_cancel(tr_stream *s, bool (*cancelled)(void *self), void *self);
TR_CHECKED tress_status tr_stream_poll(tr_stream *s);

/* Scratch until the matching pop; contiguous, not zeroed. */
tr_arena_mark tr_scratch_push(tr_stream *s);
void tr_scratch_pop(tr_stream *s, tr_arena_mark m);
TR_CHECKED tress_status tr_scratch(tr_stream *s, tr_tensor *out, tr_dtype t, tr_dims d);
/* Nothing is pushed: n bytes are taken of the device in one piece, as many as tr_stream_count's scratch_peak told. Fails: OOM. */
TR_CHECKED tress_status tr_scratch_reserve(tr_stream *s, size_t n);
/* What scratch has taken of the device goes back, for others to use; nothing is pushed. */
void tr_scratch_trim(tr_stream *s);

/* Ops recorded once and queued again as a whole: on a GPU one call in place of thousands. What is recorded keeps its addresses: tensors and
 * scratch must lie where they lay as long as it runs, and what ops read from host memory is read once. Begin when the same ops have run
 * before, twice where scratch was empty around them: nothing may be taken from the device while recording. No upload, download or sync
 * inside. A begin that succeeded needs its end, with out NULL after a failure. */
typedef struct tr_record tr_record;
bool tr_stream_records(const tr_stream *s);     /* worth it and possible here */
TR_CHECKED tress_status tr_record_begin(tr_stream *s);
TR_CHECKED tress_status tr_record_end(tr_stream *s, tr_record **out);
TR_CHECKED tress_status tr_record_run(tr_record *r);
void tr_record_free(tr_record *r);

typedef struct tr_stream_stats { double flops, bytes; int64_t n_op; size_t scratch_peak; } tr_stream_stats;
tr_stream_stats tr_stream_count(const tr_stream *s);     /* multiply-adds count two; bytes: operands read and written once */

#ifdef __cplusplus
}
#endif
#endif
