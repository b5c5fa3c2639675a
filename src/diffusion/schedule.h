/* schedule.h - sigmas from 1 to 0 as FlowMatchEulerDiscreteScheduler makes them, double shift included. */
#ifndef TRESS_DIFFUSION_SCHEDULE_H
#define TRESS_DIFFUSION_SCHEDULE_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_STEP_MAX 1000
typedef struct tr_schedule { int n_step; float sigma[TR_STEP_MAX + 1]; /* n_step + 1 values, the last 0 */ } tr_schedule;
/* What scheduler/scheduler_config.json says, checked; what tress cannot reproduce is refused by name. */
typedef struct tr_schedule_config { int n_train; double shift; double shift_terminal; bool karras, exponential, beta, dynamic; } tr_schedule_config;
TR_CHECKED tress_status tr_schedule_config_read(tr_schedule_config *out, const json_t *config /* NULL: 1000, 3.0 */, const char *where);
/* strength < 1 keeps the last part, as img2img does. Fails: ARG (n_step outside 1..TR_STEP_MAX, strength outside 0..1, or no step left). */
TR_CHECKED tress_status tr_schedule_make(tr_schedule *out, const tr_schedule_config *c, int n_step, double strength);

#ifdef __cplusplus
}
#endif
#endif
