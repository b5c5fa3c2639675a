/* Euler and DPM++ 2M against float64, on a velocity with a known formula; what goes wrong in a step names the step. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/sampler.h"

#define N (2 * 3 * 4 * 5)

typedef struct run {
    int n_velocity, n_after, nan_at, cancel_at;
    bool replace;                               /* after adds 0.25 to x */
    float sigma[64], sigma_next[64];
    double guess_sum;
    int64_t n_alloc;                            /* allocations so far when step 1 was over */
} run;

/* v = 0.3 x + sigma^2 - 0.5 x sigma, by element */
static tress_status velocity(void *self, tr_stream *s, tr_tensor v, tr_tensor x, float sigma, int step)
{
    run *r = self;
    (void)s;
    if (step == 1) r->n_alloc = tr_mem_now().n_alloc;
    r->sigma[step] = sigma;
    r->n_velocity++;
    for (int i = 0; i < N; i++) {
        const float xi = ((const float *)x.data)[i];
        ((float *)v.data)[i] = step == r->nan_at && i == 7 ? (float)NAN : 0.3f * xi + sigma * sigma - 0.5f * xi * sigma;
    }
    return TRESS_OK;
}

static tress_status after(void *self, tr_stream *s, tr_tensor x, tr_tensor x0, float sigma_next, int step)
{
    run *r = self;
    (void)s;
    r->sigma_next[step] = sigma_next;
    r->n_after++;
    for (int i = 0; i < N; i++) {
        r->guess_sum += (double)((const float *)x0.data)[i];
        if (r->replace) ((float *)x.data)[i] += 0.25f;
    }
    return TRESS_OK;
}

static bool cancelled(void *self)
{
    const run *r = self;
    return r->cancel_at >= 0 && r->n_velocity >= r->cancel_at;
}

static void reference(double *x, const tr_schedule *c, tress_sampler kind, bool replace, double *guess_sum)
{
    for (int i = 0; i < N; i++) {
        double old = 0, xi = x[i];
        for (int k = 0; k < c->n_step; k++) {
            const double s = c->sigma[k], next = c->sigma[k + 1], v = 0.3 * xi + s * s - 0.5 * xi * s, x0 = xi - s * v;
            *guess_sum += x0;
            if (kind == TRESS_SAMPLER_EULER) xi += (next - s) * v;
            else if (next == 0) xi = x0;
            else {
                const double t = -log(s), h = -log(next) - t;
                double d = x0;
                if (k > 0) {
                    const double ratio = (t + log((double)c->sigma[k - 1])) / h;
                    d = (1 + 1 / (2 * ratio)) * x0 - 1 / (2 * ratio) * old;
                }
                xi = next / s * xi - expm1(-h) * d;
            }
            old = x0;
            if (replace) xi += 0.25;
        }
        x[i] = xi;
    }
}

static tress_status sample(run *r, float *x, tress_sampler kind, int n_step, bool with_after, tr_schedule *c)
{
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_schedule_config config;
    assert_int_equal(tr_schedule_config_read(&config, NULL, "default"), TRESS_OK);
    assert_int_equal(tr_schedule_make(c, &config, n_step, 0, 1), TRESS_OK);
    assert_int_equal(tr_device_open(&d, &(tr_device_spec){ .n_thread = 2 }), TRESS_OK);
    assert_int_equal(tr_stream_new(&s, d), TRESS_OK);
    tr_stream_set_cancel(s, cancelled, r);
    for (int i = 0; i < N; i++) x[i] = (float)(i % 11) / 5 - 1;
    const tr_sampler_args a = { .kind = kind, .schedule = c, .velocity = velocity, .velocity_self = r, .after = with_after ? after : NULL, .after_self = r };
    const tress_status st = tr_sample(s, tr_view(x, TR_F32, TR_DIMS(2, 3, 4, 5)), &a);
    if (n_step > 1 && st == TRESS_OK) assert_int_equal(tr_mem_now().n_alloc, r->n_alloc);
    tr_stream_free(s);
    tr_device_close(d);
    return st;
}

static void both_samplers(void **state)
{
    (void)state;
    static const int steps[] = { 1, 2, 28 };
    for (int kind = 0; kind < 2; kind++)
        for (int k = 0; k < 3; k++)
            for (int mode = 0; mode < 3; mode++) {                  /* no after; after; after that replaces x */
                run r = { .nan_at = -1, .cancel_at = -1, .replace = mode == 2 };
                tr_schedule c;
                float x[N];
                double want[N], sum = 0, diff = 0, norm = 0;
                assert_int_equal(sample(&r, x, (tress_sampler)kind, steps[k], mode > 0, &c), TRESS_OK);
                for (int i = 0; i < N; i++) want[i] = (float)(i % 11) / 5 - 1;
                reference(want, &c, (tress_sampler)kind, mode == 2, &sum);
                for (int i = 0; i < N; i++) {
                    diff += (x[i] - want[i]) * (x[i] - want[i]);
                    norm += want[i] * want[i];
                }
                /* each step rounds a few times at 2^-24 of values about as large as the result; 28 steps: below 1e-5 by far */
                if (!(sqrt(diff / norm) <= 1e-6 * (1 + steps[k] / 4.0))) fail_msg("sampler %d, %d steps, mode %d: relative error %g", kind, steps[k], mode, sqrt(diff / norm));
                if (mode > 0 && !(fabs(r.guess_sum - sum) <= 1e-4 * fabs(sum))) fail_msg("the guesses of x0 sum to %g, expected %g", r.guess_sum, sum);
                assert_int_equal(r.n_velocity, steps[k]);
                assert_int_equal(r.n_after, mode > 0 ? steps[k] : 0);
                for (int i = 0; i < steps[k]; i++) {
                    assert_true(r.sigma[i] == c.sigma[i]);
                    if (mode > 0) assert_true(r.sigma_next[i] == c.sigma[i + 1]);
                }
            }
}

static void nan_names_its_step(void **state)
{
    (void)state;
    run r = { .nan_at = 2, .cancel_at = -1 };
    tr_schedule c;
    float x[N];
    assert_int_equal(sample(&r, x, TRESS_SAMPLER_EULER, 8, false, &c), TRESS_E_NONFINITE);
    assert_non_null(strstr(tr_message(), "step 3 of 8"));
    assert_non_null(strstr(tr_message(), "1 of 120"));
    assert_int_equal(r.n_velocity, 3);
}

static void cancel_stops_before_the_next_step(void **state)
{
    (void)state;
    run r = { .nan_at = -1, .cancel_at = 3 };
    tr_schedule c;
    float x[N];
    assert_int_equal(sample(&r, x, TRESS_SAMPLER_DPMPP_2M, 8, true, &c), TRESS_E_CANCELLED);
    assert_int_equal(r.n_velocity, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_samplers),
        cmocka_unit_test(nan_names_its_step),
        cmocka_unit_test(cancel_stops_before_the_next_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
