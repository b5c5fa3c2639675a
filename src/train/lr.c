#include "train/lr.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

static const char *const names[TR_LR_N] = { "constant", "linear", "cosine", "polynomial" };

const char *tr_lr_name(tr_lr_kind kind)
{
    TR_ASSERT(kind >= 0 && kind < TR_LR_N);
    return names[kind];
}

bool tr_lr_parse(tr_lr_kind *out, const char *name)
{
    for (int i = 0; i < TR_LR_N; i++)
        if (strcmp(names[i], name) == 0) return *out = (tr_lr_kind)i, true;
    return false;
}

tress_status tr_lr_check(const tr_lr *lr)
{
    TR_ASSERT(lr->kind >= 0 && lr->kind < TR_LR_N);
    if (!(lr->base >= 0 && lr->base <= 1)) return tr_fail(TRESS_E_ARG, "--learning-rate %g: expected 0 to 1", lr->base);
    if (lr->kind == TR_LR_POLYNOMIAL && !(lr->base > TR_LR_END))
        return tr_fail(TRESS_E_ARG, "--learning-rate %g: expected more than %g, where --lr-schedule polynomial ends", lr->base, TR_LR_END);
    if (lr->total < 1) return tr_fail(TRESS_E_ARG, "--steps %" PRId64 ": expected at least 1", lr->total);
    if (lr->warmup < 0 || lr->warmup > lr->total)
        return tr_fail(TRESS_E_ARG, "--warmup-steps %" PRId64 ": expected 0 to %" PRId64 ", the number of steps", lr->warmup, lr->total);
    return TRESS_OK;
}

double tr_lr_at(const tr_lr *lr, int64_t done)
{
    TR_ASSERT(done >= 0);
    if (done < lr->warmup) return lr->base * ((double)done / (double)lr->warmup);
    const int64_t n = lr->total - lr->warmup;
    const double part = n > 0 && done < lr->total ? (double)(done - lr->warmup) / (double)n : 1;      /* of the way down */
    switch (lr->kind) {
    case TR_LR_LINEAR: return lr->base * (1 - part);
    case TR_LR_COSINE: return lr->base * (0.5 * (1 + cos(PI * part)));
    case TR_LR_POLYNOMIAL: return (lr->base - TR_LR_END) * (1 - part) + TR_LR_END;
    default: return lr->base;
    }
}
