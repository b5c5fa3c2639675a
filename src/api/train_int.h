/* train_int.h - training as tress.h offers it: what its files share. Stays inside api. */
#ifndef TRESS_API_TRAIN_INT_H
#define TRESS_API_TRAIN_INT_H

#include "api/api_int.h"
#include "train/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Hooks of the data room for a stage, which is self: how far it is, and whether it is to end. In check.c. */
void tr_check_progress(void *self, int64_t i, int64_t n);
bool tr_check_cancelled(void *self);

/* The options as JSON text with the command line's names; *out is new. Fails: ARG (a name that is no UTF-8), OOM. */
TR_CHECKED tress_status tr_train_config(char **out, const tress_model_args *model, const tress_train_args *a);

/* Sheets drawn by the generation code: a row for each picture, with sketch, matte, photo, what the base draws from the sketch, what it draws with
 * the adapters, and that in the photo. */
typedef struct tr_train_sheets tr_train_sheets;
/* All borrowed. *out is new. */
TR_CHECKED tress_status tr_train_sheets_new(tr_train_sheets **out, tr_bundle *m, const tress_train_args *a, const tr_prepare_spec *spec);
void tr_train_sheets_free(tr_train_sheets *k);  /* NULL is welcome */
/* As tr_run_env's. */
TR_CHECKED tress_status tr_train_sheets_draw(tr_train_sheets *k, tr_image **out, const tr_data_item *const *item, int n, bool bare);

/* A GPU computes in the type that --mixed-precision names, until restore gives its own back; the CPU always in F32. Fails: ARG. */
TR_CHECKED tress_status tr_train_set_precision(tr_device *d, tress_precision p);
void tr_train_restore(tr_device *d, tr_dtype t);
/* Of the networks that train and, on a GPU, of the VAE, which stays there for latents and sheets. */
int64_t tr_train_weight_bytes(const tr_bundle *m);

/* What a step takes, with the networks opened on a device that computes nothing. */
TR_CHECKED tress_status tr_train_measure(tr_rehearsal *out, const tr_host *like, const tress_model_args *model, const tr_trainer_spec *spec,
                                         int64_t batch, int64_t h, int64_t w);

#ifdef __cplusplus
}
#endif
#endif
