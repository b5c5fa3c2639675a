/* preset.h - the shapes of known models, for benches and plans without a file. */
#ifndef TRESS_MODEL_PRESET_H
#define TRESS_MODEL_PRESET_H

#include "model/controlnet.h"
#include "model/encoder.h"
#include "model/mmdit.h"
#include "model/vae.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_preset {
    const char          *name;                  /* "sd35-large" */
    tr_mmdit_config      transformer;
    tr_controlnet_config controlnet;
    tr_vae_config        vae;
    tr_clip_config       clip_l, clip_g;
    tr_t5_config         t5;
} tr_preset;
/* "sd35-large", its 8B ControlNet and its text encoders; "sd35-medium", with a ControlNet of half its blocks; "mini". Fails: ARG. */
TR_CHECKED tress_status tr_preset_get(tr_preset *out, const char *name);

#ifdef __cplusplus
}
#endif
#endif
