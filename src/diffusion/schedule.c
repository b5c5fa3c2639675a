#include "diffusion/schedule.h"

#include <math.h>
#include <string.h>

/* Settings of the scheduler that change its numbers in ways an SD3 model has no use for. */
static const char *const refused[] = { "use_dynamic_shifting", "use_beta_sigmas", "invert_sigmas", "stochastic_sampling" };

tress_status tr_schedule_config_read(tr_schedule_config *out, const json_t *config, const char *where)
{
    tress_status st = TRESS_OK;
    tr_schedule_config c = { .n_train = 1000, .shift = 3.0 };
    if (config) {
        const char *class_name = NULL;
        TR_TRY(tr_json_string(&class_name, config, "_class_name", "FlowMatchEulerDiscreteScheduler", where));
        if (strcmp(class_name, "FlowMatchEulerDiscreteScheduler") != 0)
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: the scheduler is %s, tress knows FlowMatchEulerDiscreteScheduler", where, class_name));
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            bool on = false;
            TR_TRY(tr_json_bool(&on, config, refused[i], false, where));
            if (on) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: %s is true, tress samples without it", where, refused[i]));
        }
        int64_t n_train = 0;
        bool karras = false, exponential = false;
        TR_TRY(tr_json_int(&n_train, config, "num_train_timesteps", 1, 1000000, 1000, where));
        TR_TRY(tr_json_double(&c.shift, config, "shift", 1e-3, 1e3, 1.0, where));        /* the class's own default is 1 */
        const json_t *terminal = json_object_get(config, "shift_terminal");
        if (terminal && !json_is_null(terminal))
            TR_TRY(tr_json_double(&c.shift_terminal, config, "shift_terminal", 0.0, 0.999, 0.0, where));
        TR_TRY(tr_json_bool(&karras, config, "use_karras_sigmas", false, where));
        TR_TRY(tr_json_bool(&exponential, config, "use_exponential_sigmas", false, where));
        if (karras && exponential)
            TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: use_karras_sigmas and use_exponential_sigmas are both true, only one may be", where));
        c.n_train = (int)n_train;
        c.spacing = karras ? TR_SPACING_KARRAS : exponential ? TR_SPACING_EXPONENTIAL : TR_SPACING_PLAIN;
    }
    *out = c;
done:
    return st;
}

static double shifted(double shift, double sigma) { return shift * sigma / (1 + (shift - 1) * sigma); }

/* The ends of the training table: fp32 all the way, as torch computes it. */
static float table_end(double shift, int n_train, float timestep)
{
    const float sigma = timestep / (float)n_train;
    return (float)shift * sigma / (1.0f + (float)(shift - 1) * sigma);
}

/* numpy's linspace: i step + start, the last one exact. */
static void line(double *out, double start, double stop, int n)
{
    const double delta = stop - start, step = n > 1 ? delta / (n - 1) : 0;
    for (int i = 0; i < n; i++) {
        const double along = i * step;
        out[i] = along + start;
    }
    if (n > 1) out[n - 1] = stop;
}

tress_status tr_schedule_make(tr_schedule *out, const tr_schedule_config *c, int n_step, double shift, double strength)
{
    if (n_step < 1 || n_step > TR_STEP_MAX)
        return tr_fail(TRESS_E_ARG, "%d steps asked for, 1 to %d can be made", n_step, TR_STEP_MAX);
    if (!(strength >= 0 && strength <= 1))
        return tr_fail(TRESS_E_ARG, "a strength of %g, it must lie between 0 and 1", strength);
    if (!(shift >= 0 && shift <= 1e3)) return tr_fail(TRESS_E_ARG, "a shift of %g, it must lie between 0 and 1000", shift);

    /* Casts in diffusers' order: the ends come from an fp32 table that is shifted already, the list is shifted a second
     * time in float64, and only the result is rounded to fp32. */
    double sigma[TR_STEP_MAX];
    const double n_train = c->n_train, s = shift > 0 ? shift : c->shift;
    line(sigma, (double)table_end(s, c->n_train, (float)c->n_train) * n_train, (double)table_end(s, c->n_train, 1.0f) * n_train, n_step);
    for (int i = 0; i < n_step; i++) sigma[i] = shifted(s, sigma[i] / n_train);
    if (c->shift_terminal > 0 && sigma[n_step - 1] < 1) {           /* one step alone is sigma 1 and cannot be stretched */
        const double stretch = (1 - sigma[n_step - 1]) / (1 - c->shift_terminal);
        for (int i = 0; i < n_step; i++) sigma[i] = 1 - (1 - sigma[i]) / stretch;
    }
    const double first = sigma[0], last = sigma[n_step - 1];
    if (c->spacing == TR_SPACING_KARRAS) {                          /* Karras et al. 2022, arXiv:2206.00364, rho = 7 */
        const double lo = pow(last, 1 / 7.0), hi = pow(first, 1 / 7.0);
        line(sigma, 0, 1, n_step);
        for (int i = 0; i < n_step; i++) sigma[i] = pow(hi + sigma[i] * (lo - hi), 7.0);
    } else if (c->spacing == TR_SPACING_EXPONENTIAL) {
        line(sigma, log(first), log(last), n_step);
        for (int i = 0; i < n_step; i++) sigma[i] = exp(sigma[i]);
    }

    double kept = n_step * strength;
    if (kept > n_step) kept = n_step;
    const int begin = (int)(n_step - kept);
    if (begin >= n_step)
        return tr_fail(TRESS_E_ARG, "a strength of %g leaves none of %d steps to do", strength, n_step);
    memset(out, 0, sizeof *out);
    out->n_step = n_step - begin;
    for (int i = begin; i < n_step; i++) out->sigma[i - begin] = (float)sigma[i];
    return TRESS_OK;
}
