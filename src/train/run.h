/* run.h - a training run: data into batches, step after step, with what it shows and what it keeps. The networks come open from the floor
 * above, which also draws the sheets, so that they are made by the very code that users draw with. */
#ifndef TRESS_TRAIN_RUN_H
#define TRESS_TRAIN_RUN_H

#include "data/data.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_rehearsal {                   /* of a step */
    int64_t bytes;                              /* the most taken beside the weights, */
    size_t  scratch;                            /* so much of it scratch of the stream */
    double  flops;
} tr_rehearsal;

typedef struct tr_run_env {                     /* all borrowed */
    tr_device     *device;
    tress_hooks    hooks;
    const tr_check *check;                      /* of the data, which are fit */
    int64_t        memory_max;                  /* bytes for weights and work, 0: no limit; a GPU has one */
    tr_mmdit      *transformer;
    tr_controlnet *controlnet;
    tr_vae        *vae;
    tr_weights    *vae_weights;
    const tr_contract *contract;                /* what lora.safetensors says it was trained under; base and control are filled */
    const char    *config;                      /* the options as JSON: RUN/config.json */
    int64_t        weight_bytes;                /* of the networks that train, for words about memory */
    /* What a step takes, by tr_run_rehearse on networks that are open on a dry device. */
    tress_status (*measure)(void *self, tr_rehearsal *out, const tr_trainer_spec *spec, int64_t batch, int64_t h, int64_t w);
    /* Draw a sheet of n pictures with the model as it is now; *out is new. bare: draw the base's own pictures, the adapters are off; called
     * once, before the first sheet. NULL: no sheets. */
    tress_status (*sheet)(void *self, tr_image **out, const tr_data_item *const *item, int n, bool bare);
    void          *self;                        /* of measure and sheet */
} tr_run_env;

/* What the options mean to the trainer and the data. keep is left as it is. Fails: ARG naming the option. */
typedef struct tr_run_specs { tr_trainer_spec trainer; tr_latents_spec latents; } tr_run_specs;
/* The type that activations have on d. A GPU's device has it before networks are opened there (tr_device_set_dtype); the CPU emulates it. */
tr_dtype tr_run_precision(tress_precision p, const tr_device *d);
TR_CHECKED tress_status tr_run_trainer_spec(tr_trainer_spec *out, const tress_train_args *a, const tr_mmdit *m);
TR_CHECKED tress_status tr_run_specs_make(tr_run_specs *out, const tress_train_args *a, const tr_mmdit *m, const tr_controlnet *controlnet, const tr_vae *vae);

/* One step at its largest, run on a stream of a dry device, where the networks are open. */
TR_CHECKED tress_status tr_run_rehearse(tr_rehearsal *out, tr_stream *dry, tr_mmdit *m, tr_controlnet *controlnet, const tr_trainer_spec *spec,
                                        int64_t batch, int64_t h, int64_t w);

/* Fails as tress_train. */
TR_CHECKED tress_status tr_run(const tr_run_env *env, const tress_train_args *args, const tr_run_specs *specs);

#ifdef __cplusplus
}
#endif
#endif
