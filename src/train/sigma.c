#include "train/sigma.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846
#define PURPOSE (UINT64_C(1) << 56)

static const char *const names[TR_SIGMA_N] = { "logit-normal", "uniform", "mode", "cosmap" };

const char *tr_sigma_name(tr_sigma_kind kind)
{
    TR_ASSERT(kind >= 0 && kind < TR_SIGMA_N);
    return names[kind];
}

bool tr_sigma_parse(tr_sigma_kind *out, const char *name)
{
    for (int i = 0; i < TR_SIGMA_N; i++)
        if (strcmp(names[i], name) == 0) return *out = (tr_sigma_kind)i, true;
    return false;
}

static tress_status check_range(const char *what, double v, double min, double max)
{
    if (v >= min && v <= max) return TRESS_OK;      /* NaN is not */
    return tr_fail(TRESS_E_ARG, "%s of the noise levels is %g, expected %g to %g", what, v, min, max);
}

tress_status tr_sigma_check(const tr_sigma *s)
{
    tress_status st = TRESS_OK;
    TR_ASSERT(s->kind >= 0 && s->kind < TR_SIGMA_N);
    TR_TRY(check_range("the mean", s->mean, -10, 10));
    TR_TRY(check_range("the standard deviation", s->std, 0.01, 10));
    /* sigma must not rise: its slope is -1 - k at the ends and k (pi / 2 - 1) - 1 in the middle */
    TR_TRY(check_range("the mode scale", s->mode_scale, -1, 1.75));
    TR_TRY(check_range("the shift", s->shift, 0.01, 100));
done:
    return st;
}

/* Strictly inside 0 .. 1: 52 bits and a half. */
static double open_unit(uint32_t hi, uint32_t lo)
{
    const uint64_t x = (uint64_t)hi << 32 | lo;
    return ((double)(x >> 12) + 0.5) * 0x1p-52;
}

double tr_sigma_draw(const tr_sigma *s, uint64_t seed, int64_t step, int64_t sample)
{
    uint32_t w[4];
    TR_ASSERT(step >= 0 && step < INT64_C(1) << 48 && sample >= 0);
    tr_philox(w, seed, (uint64_t)sample, PURPOSE | (uint64_t)step);
    const double u = open_unit(w[0], w[1]);
    double sigma = u;
    if (s->kind == TR_SIGMA_LOGIT_NORMAL) {
        const double z = sqrt(-2 * log(u)) * cos(2 * PI * open_unit(w[2], w[3]));
        sigma = 1 / (1 + exp(-(s->mean + s->std * z)));
    } else if (s->kind == TR_SIGMA_MODE) {
        const double c = cos(PI * u / 2);
        sigma = 1 - u - s->mode_scale * (c * c - 1 + u);
    } else if (s->kind == TR_SIGMA_COSMAP) {
        sigma = 1 - 1 / (tan(PI * u / 2) + 1);
    }
    sigma = s->shift * sigma / (1 + (s->shift - 1) * sigma);
    return sigma < TR_SIGMA_MIN ? TR_SIGMA_MIN : sigma > 1 ? 1 : sigma;
}
