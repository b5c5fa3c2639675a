/* state.h - a run on disk: checkpoints that a later process goes on from with the same bytes. */
#ifndef TRESS_TRAIN_STATE_H
#define TRESS_TRAIN_STATE_H

#include "train/checkpoint.h"
#include "train/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What must be the same for a run to go on: names as a person knows them, values as texts. Zero-initialise; tr_identity_fini. */
typedef struct tr_identity_field { char *name, *value; } tr_identity_field;
typedef struct tr_identity { tr_identity_field *at; int n, cap; } tr_identity;
TR_CHECKED tress_status tr_identity_add(tr_identity *d, const char *name, const char *format, ...) TR_PRINTF(3, 4);
/* A number, in as few digits as give it back. */
TR_CHECKED tress_status tr_identity_add_number(tr_identity *d, const char *name, double value);
void tr_identity_fini(tr_identity *d);
/* Is c of a run with these fields? Fails: FORMAT naming the first that differs. */
TR_CHECKED tress_status tr_identity_check(const tr_identity *d, const tr_checkpoint *c);

/* Write DIR/step-%09d.safetensors: adapters, moments, average, loss scale, steps, identity, config. Room for the state is kept in *room between
 * calls (tr_trainer_state_fini). Fails: as tr_checkpoint_save. */
TR_CHECKED tress_status tr_state_save(const char *dir, int64_t step, tr_trainer *t, tr_stream *s, tr_trainer_state *room, const tr_identity *identity,
                                      const char *config);
/* Set the trainer to what c holds; *step is how many steps the run has done. Fails: FORMAT naming the field that differs, or what is wrong
 * with the file; then the trainer is spent. */
TR_CHECKED tress_status tr_state_load(const tr_checkpoint *c, tr_trainer *t, tr_stream *s, tr_trainer_state *room, const tr_identity *identity,
                                      int64_t *step);

#ifdef __cplusplus
}
#endif
#endif
