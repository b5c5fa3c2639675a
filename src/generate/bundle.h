/* bundle.h - an open model: its networks on a device, the adapters on them, where its text encoders and tokenizers lie.
 * Opening maps files and checks shapes; values are scanned when a part is first used. */
#ifndef TRESS_GENERATE_BUNDLE_H
#define TRESS_GENERATE_BUNDLE_H

#include "diffusion/diffusion.h"
#include "generate/host.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_word_entry {                  /* an encoding kept in memory */
    char *text;
    int   n_t5;
    tr_tensor context, pooled;                  /* [1, n, d_context], [1, d_pooled], on the device */
} tr_word_entry;
#define TR_WORD_ENTRIES 4

/* What stays where while a drawing is made on a GPU. */
typedef struct tr_residency {
    int       keep;                             /* parts (tr_want) that stay on the device while others are at work */
    tr_groups group[TR_MODULE_N];               /* which of a network's matrices come from host memory at each pass */
} tr_residency;

struct tress_model {
    tr_host *host;                              /* borrowed */
    tress_model_args args;                      /* its texts are owned; lora too */
    char *model;                                /* the folder or file, found */
    tr_weights *weights[TR_MODULE_N];           /* by tr_module; transformer, controlnet, vae stay open */
    bool scanned[TR_MODULE_N];
    tr_mmdit_config transformer_config;         /* of the parts that are wanted, from the beginning */
    tr_controlnet_config controlnet_config;
    tr_vae_config vae_config;
    tr_mmdit *transformer;                      /* NULL where not wanted, or not on the device now */
    tr_controlnet *controlnet;
    tr_vae *vae;
    tr_residency residency;
    tr_schedule_config schedule;
    tr_lora **lora;                             /* [args.n_lora] */
    tr_lora_stack *stack;
    tr_word_entry word[TR_WORD_ENTRIES];
    int i_word;                                 /* the entry that is replaced next */
};
typedef struct tress_model tr_bundle;

/* Which parts to open. */
typedef enum tr_want { TR_WANT_TRANSFORMER = 1, TR_WANT_CONTROLNET = 2, TR_WANT_VAE = 4, TR_WANT_ALL = 7,
                       TR_WANT_LATER = 8 } tr_want;             /* on a GPU: their networks are opened by tr_bundle_use */
/* *out is new. Everything in args is copied. Fails: IO, FORMAT (also: no ControlNet and none named), SHAPE, CONTRACT, OOM. */
TR_CHECKED tress_status tr_bundle_open(tr_bundle **out, tr_host *h, const tress_model_args *args, int want);
void tr_bundle_close(tr_bundle *m);
/* These parts (of the wanted ones) are on the device, scanned; others leave it unless they are to stay. Fails: as open, GPU, CANCELLED. */
TR_CHECKED tress_status tr_bundle_use(tr_bundle *m, int parts);
/* From now on. What is on the device otherwise leaves it. */
void tr_bundle_reside(tr_bundle *m, const tr_residency *r);
/* Text encoders come to the device one at a time: place w there, as the residency says, before it is opened. */
TR_CHECKED tress_status tr_bundle_place(tr_bundle *m, tr_weights *w);
/* And after it is opened. */
TR_CHECKED tress_status tr_bundle_placed(tr_bundle *m, tr_weights *w);
/* Every value of the opened parts is scanned once, for NaN and for tensors that no part reads. Fails: FORMAT. */
TR_CHECKED tress_status tr_bundle_scan(tr_bundle *m);

/* Where the model is: `name`, or the installed models/mini, or ./models/mini. *out is new. Fails: IO naming --model. */
TR_CHECKED tress_status tr_bundle_find(char **out, const char *name);
/* The weights of a text encoder, opened (the caller closes), or NULL in *out when the model has none of that kind. */
TR_CHECKED tress_status tr_bundle_encoder(tr_weights **out, const tr_bundle *m, tr_module module);

#ifdef __cplusplus
}
#endif
#endif
