/* metadata.h - what made a picture, in the words other tools read and in full. */
#ifndef TRESS_GENERATE_METADATA_H
#define TRESS_GENERATE_METADATA_H

#include "generate/draw.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The `parameters` text of stable-diffusion-webui, which ComfyUI and the picture sites read too: the prompt, a line "Negative prompt: ..",
 * a line "Steps: .., Sampler: .., CFG scale: .., Seed: .., Size: WxH, Model: ..". *out is new. */
TR_CHECKED tress_status tr_metadata_parameters(char **out, const tr_bundle *m, const tress_generate_args *a, const tr_result *r, int i);
/* Everything, as a JSON object with generate's option names as keys. reference: the policy that was followed. *out is new. */
TR_CHECKED tress_status tr_metadata_json(char **out, const tr_bundle *m, const tress_generate_args *a, tress_reference reference, const tr_result *r, int i);

#ifdef __cplusplus
}
#endif
#endif
