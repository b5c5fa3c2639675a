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

/* Draw on a device that computes nothing: every check, every count (ledger may be NULL). *out is new and holds no pictures; out may be
 * NULL. r: what stays where on a GPU; NULL: everything stays. Hooks are told only if `aloud`. */
TR_CHECKED tress_status tr_rehearse(tr_ledger *ledger, tr_result **out, const tr_host *like, const tress_model_args *model,
                                    const tress_generate_args *args, const tr_residency *r, bool aloud);
/* residency.c: what stays on the GPU of `like` for this drawing, and what that counts to (ledger may be NULL). Fails: OOM where it cannot be
 * made within card_max, telling what would do; and as tr_rehearse. */
TR_CHECKED tress_status tr_residency_choose(tr_residency *out, tr_ledger *ledger, const tr_host *like, const tress_model_args *model,
                                            const tress_generate_args *args);
/* At least `less` bytes of transformer and ControlNet come from host memory, if so many can. r->group: their bytes. */
void tr_residency_lighten(tr_residency *r, int64_t less);
/* For people. *out is new; tr_free. */
TR_CHECKED tress_status tr_residency_text(char **out, const tr_residency *r);
/* Weights and work of the hungriest part; *which is a view of it (which may be NULL). */
int64_t tr_ledger_peak(const tr_ledger *l, const tr_part **which);

#ifdef __cplusplus
}
#endif
#endif
