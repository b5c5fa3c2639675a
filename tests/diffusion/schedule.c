/* The sigma table is diffusers' own, byte for byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diffusion/schedule.h"
#include "io/io.h"

#define GOLDEN TRESS_SOURCE_DIR "/tests/golden/diffusion/schedule.safetensors"

static tr_safetensors *golden;

static int setup(void **state)
{
    (void)state;
    return tr_safetensors_open(&golden, GOLDEN) == TRESS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tr_safetensors_close(golden);
    return 0;
}

static tr_schedule_config read_config(const char *text)
{
    json_t *o = NULL;
    tr_schedule_config c = { 0 };
    assert_int_equal(tr_json_parse(&o, text, strlen(text), 16, "test"), TRESS_OK);
    const tress_status st = tr_schedule_config_read(&c, o, "test");
    json_decref(o);
    assert_int_equal(st, TRESS_OK);
    return c;
}

static void hold(const char *name, const tr_schedule_config *c, double shift, int n_min)
{
    tr_tensor t;
    assert_true(tr_safetensors_find(golden, name, &t));
    assert_int_equal(t.dtype, TR_F32);
    const char *want = t.data;
    for (int n = 1; n <= 100; n++) {
        tr_schedule s;
        assert_int_equal(tr_schedule_make(&s, c, n, shift, 1.0), TRESS_OK);
        assert_int_equal(s.n_step, n);
        const size_t bytes = sizeof(float) * (size_t)(n + 1);
        if (n >= n_min && memcmp(s.sigma, want, bytes) != 0) fail_msg("%s, n = %d: not the bytes of diffusers", name, n);
        want += bytes;
    }
    assert_ptr_equal(want, (const char *)t.data + sizeof(float) * (size_t)tr_count(t));
}

static void tables_are_byte_exact(void **state)
{
    (void)state;
    tr_schedule_config c;
    assert_int_equal(tr_schedule_config_read(&c, NULL, "default"), TRESS_OK);
    hold("shift_3", &c, 0, 1);
    hold("shift_1", &c, 1.0, 1);                                       /* an override changes both shifts */
    c = read_config("{\"shift\": 1.0}");
    hold("shift_1", &c, 0, 1);
    hold("shift_3", &c, 3.0, 1);
    c = read_config("{\"shift\": 3.0, \"shift_terminal\": 0.1}");
    hold("terminal", &c, 0, 2);                                     /* of one step diffusers makes NaN */
    tr_schedule one;
    assert_int_equal(tr_schedule_make(&one, &c, 1, 0, 1.0), TRESS_OK);
    assert_true(one.sigma[0] == 1.0f && one.sigma[1] == 0.0f);
}

/* Through pow and exp, whose last bit is the mathematical library's own: one unit of the fp32 result is allowed. */
static void curved_spacings(void **state)
{
    (void)state;
    static const char *const kinds[][2] = { { "karras", "{\"shift\": 3.0, \"use_karras_sigmas\": true}" },
                                            { "exponential", "{\"shift\": 3.0, \"use_exponential_sigmas\": true}" } };
    for (int k = 0; k < 2; k++) {
        tr_tensor t;
        tr_schedule_config c = read_config(kinds[k][1]);
        assert_true(tr_safetensors_find(golden, kinds[k][0], &t));
        const char *want = t.data;
        for (int n = 1; n <= 100; n++) {
            tr_schedule s;
            assert_int_equal(tr_schedule_make(&s, &c, n, 0, 1.0), TRESS_OK);
            for (int i = 0; i <= n; i++, want += sizeof(float)) {
                float w;
                memcpy(&w, want, sizeof w);
                if (!(fabsf(s.sigma[i] - w) <= 0x1p-23f * w)) fail_msg("%s, n = %d, i = %d: %.9g, expected %.9g", kinds[k][0], n, i, (double)s.sigma[i], (double)w);
            }
        }
    }
}

static void strength_keeps_the_tail(void **state)
{
    (void)state;
    tr_tensor tn, ts, tb;
    assert_true(tr_safetensors_find(golden, "img2img.n", &tn) && tr_safetensors_find(golden, "img2img.strength", &ts) &&
                tr_safetensors_find(golden, "img2img.begin", &tb));
    tr_schedule_config c;
    assert_int_equal(tr_schedule_config_read(&c, NULL, "default"), TRESS_OK);
    for (int64_t i = 0; i < tr_count(tn); i++) {
        int32_t n, begin;
        double strength;
        memcpy(&n, (const char *)tn.data + 4 * i, 4);
        memcpy(&begin, (const char *)tb.data + 4 * i, 4);
        memcpy(&strength, (const char *)ts.data + 8 * i, 8);
        tr_schedule s, whole;
        const tress_status st = tr_schedule_make(&s, &c, n, 0, strength);
        if (begin == n) {
            assert_int_equal(st, TRESS_E_ARG);
            continue;
        }
        assert_int_equal(st, TRESS_OK);
        assert_int_equal(tr_schedule_make(&whole, &c, n, 0, 1.0), TRESS_OK);
        assert_int_equal(s.n_step, n - begin);
        assert_memory_equal(s.sigma, whole.sigma + begin, sizeof(float) * (size_t)(s.n_step + 1));
    }
}

static void bad_input_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "{\"use_dynamic_shifting\": true}", "use_dynamic_shifting" }, { "{\"use_beta_sigmas\": true}", "use_beta_sigmas" },
        { "{\"invert_sigmas\": true}", "invert_sigmas" }, { "{\"stochastic_sampling\": true}", "stochastic_sampling" },
        { "{\"_class_name\": \"DDIMScheduler\"}", "DDIMScheduler" }, { "{\"shift\": \"3\"}", "shift" }, { "{\"shift\": 0}", "shift" },
        { "{\"num_train_timesteps\": 0}", "num_train_timesteps" },
        { "{\"use_karras_sigmas\": true, \"use_exponential_sigmas\": true}", "use_karras_sigmas" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *o = NULL;
        tr_schedule_config c = { .n_train = -1 };
        assert_int_equal(tr_json_parse(&o, bad[i][0], strlen(bad[i][0]), 16, "test"), TRESS_OK);
        assert_int_equal(tr_schedule_config_read(&c, o, "scheduler_config.json"), TRESS_E_FORMAT);
        assert_non_null(strstr(tr_message(), bad[i][1]));
        assert_non_null(strstr(tr_message(), "scheduler_config.json"));
        assert_int_equal(c.n_train, -1);
        json_decref(o);
    }
    tr_schedule_config c;
    tr_schedule s;
    assert_int_equal(tr_schedule_config_read(&c, NULL, "default"), TRESS_OK);
    assert_int_equal(tr_schedule_make(&s, &c, 0, 0, 1), TRESS_E_ARG);
    assert_int_equal(tr_schedule_make(&s, &c, TR_STEP_MAX + 1, 0, 1), TRESS_E_ARG);
    assert_int_equal(tr_schedule_make(&s, &c, 28, -1, 1), TRESS_E_ARG);
    assert_int_equal(tr_schedule_make(&s, &c, 28, (double)NAN, 1), TRESS_E_ARG);
    assert_int_equal(tr_schedule_make(&s, &c, 28, 0, (double)NAN), TRESS_E_ARG);
    assert_int_equal(tr_schedule_make(&s, &c, 28, 0, 1.01), TRESS_E_ARG);
    assert_int_equal(tr_schedule_make(&s, &c, TR_STEP_MAX, 0, 1), TRESS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_byte_exact),
        cmocka_unit_test(curved_spacings),
        cmocka_unit_test(strength_keeps_the_tail),
        cmocka_unit_test(bad_input_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
