/* background.c - what must not change. */
#include "eval/eval_int.h"

#include <math.h>

static double sample(const tr_image *img, int64_t i)
{
    return img->depth == 8 ? ((const uint8_t *)img->data)[i] : ((const uint16_t *)img->data)[i] * (255.0 / 65535);
}

tress_status eval_background(double *value, const eval_view *v)
{
    const tr_image *o = v->in->result, *p = v->in->photo;
    /* grey against colour: the grey is repeated, and alpha is compared where both have it */
    const int n_o = o->channels >= 3 ? 3 : 1, n_p = p->channels >= 3 ? 3 : 1, n_colour = n_o > n_p ? n_o : n_p;
    const bool clear = o->channels % 2 == 0 && p->channels % 2 == 0;
    double most = 0, sum = 0;
    int64_t n = 0, n_changed = 0;
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        if (v->alpha.data[i] > 0) continue;
        bool changed = false;
        for (int c = 0; c < n_colour + clear; c++) {
            const double a = sample(o, i * o->channels + (c < n_colour ? (n_o == 1 ? 0 : c) : o->channels - 1));
            const double b = sample(p, i * p->channels + (c < n_colour ? (n_p == 1 ? 0 : c) : p->channels - 1)), d = fabs(a - b);
            most = fmax(most, d);
            sum += d;
            n++;
            changed |= d > 0;
        }
        n_changed += changed;
    }
    if (n == 0) return TRESS_OK;
    value[TR_METRIC_BACKGROUND_MAX] = most;
    value[TR_METRIC_BACKGROUND_MEAN] = sum / (double)n;
    value[TR_METRIC_BACKGROUND_CHANGED] = (double)n_changed;
    return TRESS_OK;
}
