#include "sampling.h"

bool sampling_into(tress_generate_args *g, const sampling_args *s)
{
    if (s->control_start > s->control_end) {
        cli_fail(TRESS_E_ARG, "--control-start %g lies behind --control-end %g", s->control_start, s->control_end);
        return false;
    }
    if (s->skip.n && s->skip_start > s->skip_end) {
        cli_fail(TRESS_E_ARG, "--skip-layer-start %g lies behind --skip-layer-end %g", s->skip_start, s->skip_end);
        return false;
    }
    g->n_step = s->steps;
    g->cfg_scale = (float)s->cfg_scale;
    g->seed = s->seed.value;
    g->seed_random = s->seed.random;
    g->sampler = (tress_sampler)s->sampler;
    g->shift = (float)s->shift;
    g->skip_layer = s->skip.n ? s->skip.item : NULL;
    g->n_skip_layer = s->skip.n;
    g->skip_layer_scale = (float)s->skip_scale;
    g->skip_layer_start = (float)s->skip_start;
    g->skip_layer_end = (float)s->skip_end;
    g->control_strength = (float)s->control_strength;
    g->control_start = (float)s->control_start;
    g->control_end = (float)s->control_end;
    g->control_range = (tress_control_range)s->control_range;
    g->control_last = (tress_control_last)s->control_last;
    g->control_pooled = (tress_control_pooled)s->control_pooled;
    return true;
}
