/* diffusion.h - the door of diffusion: schedules, samplers, guidance. Floor 4. */
#ifndef TRESS_DIFFUSION_DIFFUSION_H
#define TRESS_DIFFUSION_DIFFUSION_H
#include "diffusion/colour.h"
#include "diffusion/guide.h"
#include "diffusion/refer.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#endif
