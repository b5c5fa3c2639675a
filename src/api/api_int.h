/* api_int.h - what the public handles are made of. Stays inside api. */
#ifndef TRESS_API_API_INT_H
#define TRESS_API_API_INT_H

#include "generate/generate.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tress {
    tr_host host;                               /* device, hooks, memory limit */
    tress_options options;                      /* as given, for hosts of plans */
};

/* Draw on a device that computes nothing: every check, every count (ledger may be NULL). *out is new and holds no pictures. */
TR_CHECKED tress_status tr_rehearse(tr_ledger *ledger, tr_result **out, const tr_host *like, const tress_model_args *model,
                                    const tress_generate_args *args, bool aloud);
/* Weights and work of the hungriest part; *which is a view of it (which may be NULL). */
int64_t tr_ledger_peak(const tr_ledger *l, const tr_part **which);

#ifdef __cplusplus
}
#endif
#endif
