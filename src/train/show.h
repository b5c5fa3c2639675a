/* show.h - what a run tells while it goes: metrics.jsonl, TensorBoard's events, loss.svg, sheets, the progress hook. */
#ifndef TRESS_TRAIN_SHOW_H
#define TRESS_TRAIN_SHOW_H

#include "image/image.h"
#include "train/curve.h"
#include "train/events.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Noise levels that validation is measured at. */
#define TR_VALIDATION_N 5
extern const float tr_validation_sigma[TR_VALIDATION_N];        /* .1 .3 .5 .7 .9 */

typedef struct tr_show tr_show;
/* Of the run in folder dir, whose sub-folders are there, after `step` steps. total: the last step. resumed: a process before this one wrote
 * to the folder; what it said of later steps is taken back. hooks are copied. Fails: IO, OOM. */
TR_CHECKED tress_status tr_show_open(tr_show **out, const char *dir, int64_t step, int64_t total, bool resumed, const tress_hooks *hooks);
void tr_show_close(tr_show *w);                 /* NULL is welcome */

typedef struct tr_show_step {
    int64_t step;                               /* from 1 */
    double  loss, learning_rate, grad_norm, scale, epoch;
    int64_t n_image, n_skipped;                 /* pictures of this step; steps skipped in all */
} tr_show_step;
/* These write, each one record in one place, so that a full disk can be waited for and the call made again. */
TR_CHECKED tress_status tr_show_step_metrics(tr_show *w, const tr_show_step *s);
TR_CHECKED tress_status tr_show_step_events(tr_show *w, const tr_show_step *s);
/* loss[i] at tr_validation_sigma[i]; mean of them. */
TR_CHECKED tress_status tr_show_validation_metrics(tr_show *w, int64_t step, const double loss[TR_VALIDATION_N], double mean);
TR_CHECKED tress_status tr_show_validation_events(tr_show *w, int64_t step, const double loss[TR_VALIDATION_N], double mean);
/* samples/step-%06d.png, and in TensorBoard. */
TR_CHECKED tress_status tr_show_sheet_file(tr_show *w, int64_t step, const tr_image *sheet);
TR_CHECKED tress_status tr_show_sheet_events(tr_show *w, int64_t step, const tr_image *sheet);
TR_CHECKED tress_status tr_show_curve(tr_show *w);               /* loss.svg anew */
TR_CHECKED tress_status tr_show_sync(tr_show *w);                /* logs on the disk */
/* Is there a validation, or a sheet, after that step already? */
bool tr_show_has_validation(const tr_show *w, int64_t step);
bool tr_show_has_sheet(const tr_show *w, int64_t step);
bool tr_show_curve_is_old(const tr_show *w);                     /* half a minute has passed since it was drawn */

/* No writing: remember the step and tell the progress hook. */
TR_CHECKED tress_status tr_show_step_done(tr_show *w, const tr_show_step *s);

#ifdef __cplusplus
}
#endif
#endif
