#include "diffusion/sampler.h"

#include <math.h>

/* x = (sigma_next / sigma) x - expm1(-h) d, d extrapolated from this guess of x0 and the last one, t = -ln sigma. */
static tress_status step_dpmpp_2m(tr_stream *s, tr_tensor x, tr_tensor x0, tr_tensor x0_old, tr_tensor d, const float *sigma, int i)
{
    tress_status st = TRESS_OK;
    const double now = sigma[i], next = sigma[i + 1];
    if (next == 0) return tr_copy(s, x, x0);                        /* h = infinity */
    const double h = log(now) - log(next), take = -expm1(-h);
    tr_tensor guess = x0;
    if (i > 0) {
        const double r = (log((double)sigma[i - 1]) - log(now)) / h;
        TR_TRY(tr_axpby(s, d, (float)(1 + 1 / (2 * r)), x0, (float)(-1 / (2 * r)), x0_old));
        guess = d;
    }
    TR_TRY(tr_axpby(s, x, (float)(next / now), x, (float)take, guess));
done:
    return st;
}

tress_status tr_sample(tr_stream *s, tr_tensor x, const tr_sampler_args *a)
{
    tress_status st = TRESS_OK;
    const float *sigma = a->schedule->sigma;
    const int n = a->schedule->n_step;
    const bool multi = a->kind == TRESS_SAMPLER_DPMPP_2M;
    const tr_dims dims = { x.rank, { x.shape[0], x.shape[1], x.shape[2], x.shape[3] } };
    tr_tensor v = tr_none(), x0 = tr_none(), x0_old = tr_none(), d = tr_none();
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_ASSERT(x.rank == 4 && x.dtype == TR_F32 && tr_is_contiguous(x) && n >= 1);

    TR_TRY(tr_scratch(s, &v, TR_F32, dims));
    if (multi || a->after) TR_TRY(tr_scratch(s, &x0, TR_F32, dims));
    if (multi) {
        TR_TRY(tr_scratch(s, &x0_old, TR_F32, dims));
        TR_TRY(tr_scratch(s, &d, TR_F32, dims));
    }
    for (int i = 0; i < n; i++) {
        TR_TRY(tr_stream_poll(s));
        st = a->velocity(a->velocity_self, s, v, x, sigma[i], i);
        if (st != TRESS_OK) {
            if (st != TRESS_E_CANCELLED) st = tr_note(st, "step %d of %d", i + 1, n);
            goto done;
        }
        if (!tr_is_none(x0)) TR_TRY(tr_axpby(s, x0, 1.0f, x, -sigma[i], v));
        if (multi) {
            TR_TRY(step_dpmpp_2m(s, x, x0, x0_old, d, sigma, i));
        } else {
            TR_TRY(tr_axpby(s, x, 1.0f, x, sigma[i + 1] - sigma[i], v));
        }
        int64_t bad = 0;
        TR_TRY(tr_count_nonfinite(s, x, &bad));
        if (bad > 0)
            TR_TRY(tr_fail(TRESS_E_NONFINITE, "step %d of %d (sigma %g): %" PRId64 " of %" PRId64 " latent values are NaN or infinite",
                           i + 1, n, (double)sigma[i], bad, tr_count(x)));
        if (a->after) TR_TRY(a->after(a->after_self, s, x, x0, sigma[i + 1], i));
        if (multi) {
            const tr_tensor swap = x0_old;
            x0_old = x0;
            x0 = swap;
        }
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}
