#include "train/scale.h"

#include <float.h>

void tr_scale_init(tr_scale *s, bool dynamic) { *s = (tr_scale){ .scale = dynamic ? TR_SCALE_FIRST : 1, .dynamic = dynamic }; }

tress_status tr_scale_update(tr_scale *s, bool finite)
{
    if (finite) {
        s->n_bad = 0;
        if (!s->dynamic || ++s->n_good < TR_SCALE_GROWTH) return TRESS_OK;
        s->n_good = 0;
        if (s->scale <= (double)FLT_MAX / 2) s->scale *= 2;      /* as torch: never to infinity */
        return TRESS_OK;
    }
    s->n_good = 0;
    s->n_bad++;
    s->n_skipped++;
    if (s->n_bad >= TR_SCALE_BAD)
        return tr_fail(TRESS_E_NONFINITE, "%d steps in a row gave NaN or infinity", TR_SCALE_BAD);
    if (!s->dynamic) return TRESS_OK;
    if (s->scale / 2 < TR_SCALE_MIN)
        return tr_fail(TRESS_E_NONFINITE, "gradients are NaN or infinity even with a loss scale of %g", s->scale);
    s->scale /= 2;
    return TRESS_OK;
}
