/* schedule.h - sigmas from 1 to 0 as diffusers' FlowMatchEulerDiscreteScheduler makes them: byte for byte the same fp32
 * table, the second shift included. */
#ifndef TRESS_DIFFUSION_SCHEDULE_H
#define TRESS_DIFFUSION_SCHEDULE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_STEP_MAX 1000
typedef struct tr_schedule {
    int   n_step;
    float sigma[TR_STEP_MAX + 1];               /* n_step + 1 values, falling, the last 0 */
} tr_schedule;

/* What scheduler/scheduler_config.json says. */
typedef enum tr_spacing { TR_SPACING_PLAIN, TR_SPACING_KARRAS, TR_SPACING_EXPONENTIAL } tr_spacing;
typedef struct tr_schedule_config {
    int        n_train;                         /* 1000 */
    double     shift;                           /* 3.0 */
    double     shift_terminal;                  /* the last sigma before 0; 0: not asked for */
    tr_spacing spacing;
} tr_schedule_config;
/* config may be NULL: SD3's own 1000 and 3.0. where names the file. Settings that tress does not reproduce (dynamic shift,
 * beta spacing, inverted sigmas, stochastic sampling, another scheduler) are refused by name. Fails: FORMAT. */
TR_CHECKED tress_status tr_schedule_config_read(tr_schedule_config *out, const json_t *config, const char *where);
/* shift > 0 takes the place of c->shift, as from_config(shift=...) does: in both shifts. strength < 1 keeps the last
 * n_step - int(n_step (1 - strength)) steps, as img2img does.
 * Fails: ARG (n_step outside 1..TR_STEP_MAX, strength outside 0..1, or no step left). */
TR_CHECKED tress_status tr_schedule_make(tr_schedule *out, const tr_schedule_config *c, int n_step, double shift, double strength);

#ifdef __cplusplus
}
#endif
#endif
