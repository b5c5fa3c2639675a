/* host.h - where work happens and who is told about it: a device, the caller's hooks, the ledger of a plan. */
#ifndef TRESS_GENERATE_HOST_H
#define TRESS_GENERATE_HOST_H

#include "model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What each part of the work took, in its order. */
#define TR_PART_MAX 16
typedef struct tr_part { char name[24]; int64_t weight_bytes, work_bytes; double flops; } tr_part;
typedef struct tr_ledger {
    tr_part part[TR_PART_MAX];
    int     n;
    tr_groups group[TR_MODULE_N];               /* of networks that were on a GPU: what could travel */
    int64_t peak, pinned;                       /* at the hungriest moment: of the device, on a GPU loading included; of host memory */
} tr_ledger;

typedef struct tr_host {
    tr_device  *device;                         /* owned */
    tress_hooks hooks;
    int64_t     memory_max;                     /* host memory; 0: no limit */
    int64_t     card_max;                       /* of a GPU's memory, all that its device counts; 0: no limit */
    int64_t     card_free;                      /* on it when it was opened; 0: unknown */
    bool        previews;                       /* somebody looks at them; on a device that computes nothing, somebody would */
    tr_ledger  *ledger;                         /* borrowed; NULL: nobody asks */
} tr_host;
/* *out = what max_vram bytes leave beside what the GPU's back end takes for itself. Fails: OOM (nothing). */
TR_CHECKED tress_status tr_host_leave(int64_t *out, const tr_device *d, int64_t max_vram);
/* Backend AUTO: the GPU where one can be used, else the CPU. plan_only: CUDA without a usable GPU is a device that computes nothing. */
TR_CHECKED tress_status tr_host_init(tr_host *out, const tress_options *opt /* NULL: defaults */);
/* One that computes nothing, with a device like that of `like`. It has no hooks and no ledger. */
TR_CHECKED tress_status tr_host_init_dry(tr_host *out, const tr_host *like);
void tr_host_fini(tr_host *h);

/* A stage of work has a stream of its own, so that its scratch goes back when it ends. */
typedef struct tr_stage {
    tr_host   *host;                            /* borrowed */
    tr_stream *stream;
    const char *name;                           /* as in tress_progress.stage */
    double     begin;
    int64_t    n;                               /* units of work; 0: unknown */
} tr_stage;
TR_CHECKED tress_status tr_stage_begin(tr_stage *out, tr_host *h, const char *name, int64_t n);
void tr_stage_done(const tr_stage *s, int64_t i);               /* i of n units are done: tells the progress hook */
/* Enter the part in the ledger: its peak of memory beside `weight_bytes` (on a GPU: beside all weights that are there), its operations. */
void tr_stage_book(const tr_stage *s, const char *part, int64_t weight_bytes);
void tr_stage_end(tr_stage *s);

void tr_host_note(const tr_host *h, const char *format, ...) TR_PRINTF(2, 3);   /* one line for a person */

#ifdef __cplusplus
}
#endif
#endif
