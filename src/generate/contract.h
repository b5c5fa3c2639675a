/* contract.h - does this drawing keep to what its LoRAs were trained under? */
#ifndef TRESS_GENERATE_CONTRACT_H
#define TRESS_GENERATE_CONTRACT_H

#include "generate/bundle.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As tress.h, options and metadata write them. */
const char *tr_control_image_name(tress_control_image v);       /* "lines" */
const char *tr_control_range_name(tress_control_range v);       /* "vendor" */
const char *tr_control_last_name(tress_control_last v);
const char *tr_control_pooled_name(tress_control_pooled v);
const char *tr_reference_name(tress_reference v);               /* "staircase" */
const char *tr_sampler_name(tress_sampler v);                   /* "euler" */

/* Refused: another control rendering or range, last-block rule, reference policy (with a photo, of a LoRA trained with a reference),
 * VAE shift, base or ControlNet. reference: the policy that is followed. Told as notes:
 * another resolution or number of zero-text rows, a file without a contract. m->args.ignore_contract tells all and refuses none.
 * Fails: CONTRACT naming the file, what it was trained under and what is asked for. */
TR_CHECKED tress_status tr_contract_keep(const tr_bundle *m, const tress_generate_args *a, tress_reference reference, int width, int height);

#ifdef __cplusplus
}
#endif
#endif
