/* A drawing within the memory of a GPU: what is planned where there is none, and the same picture however little there is. The drawing
 * runs on the CPU with memory set apart, where weights are copied, leave and come again as on a GPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/api_int.h"

#define MINI TRESS_SOURCE_DIR "/models/mini"
#define GIB ((int64_t)1 << 30)
#define OK(call) do { if ((call) != TRESS_OK) fail_msg("%s: %s", #call, tress_last_error()); } while (0)

static tress_generate_args drawing(tress *t, tress_image **sketch)
{
    static unsigned char page[128 * 128];
    tress_generate_args g;
    memset(page, 255, sizeof page);
    memset(page + 64 * 128 + 20, 0, 80);
    OK(tress_image_new(t, sketch, &(tress_image_info){ .width = 128, .height = 128, .channels = 1, .depth = 8 }, page));
    tress_generate_defaults(&g);
    g.sketch = *sketch;
    g.prompt = "long red hair";
    g.n_step = 3;
    g.seed = 5;
    return g;
}

/* Without a card, in the types of a GPU; what --max-vram allows is kept, and what it does not is told. */
static void test_plan(void **state)
{
    (void)state;
    static const char *const types[] = { "f32", "f16" };
    int64_t weights[2] = { 0 }, whole = 0;
    for (int i = 0; i < 2; i++) {
        tress *t = NULL;
        tress_plan *p = NULL;
        tress_image *sketch = NULL;
        OK(tress_new(&t, &(tress_options){ .backend = TRESS_BACKEND_CUDA, .dtype = types[i], .plan_only = true }));
        tress_generate_args g = drawing(t, &sketch);
        OK(tress_plan_generate(t, &(tress_model_args){ .model = MINI }, &g, &p));
        const tress_plan_card c = tress_plan_get_card(p);
        assert_true(c.residency && strstr(c.residency, "every network stays"));
        assert_int_equal(c.pinned_bytes, 0);
        for (int k = 0; k < tress_plan_count(p); k++)
            if (strcmp(tress_plan_at(p, k).name, "sample") == 0) weights[i] = tress_plan_at(p, k).weight_bytes;
        whole = tress_plan_peak_bytes(p);
        tress_plan_free(p);
        tress_image_free(sketch);
        tress_free(t);
    }
    assert_true(weights[0] > 0 && weights[1] > weights[0] * 49 / 100 && weights[1] < weights[0] * 51 / 100);

    int n_less = 0, n_travel = 0, n_fail = 0;
    for (int64_t most = whole; most > 1 << 20; most -= most / 8) {
        tress *t = NULL;
        tress_plan *p = NULL;
        tress_image *sketch = NULL;
        OK(tress_new(&t, &(tress_options){ .backend = TRESS_BACKEND_CUDA, .max_vram = GIB + most, .plan_only = true }));
        tress_generate_args g = drawing(t, &sketch);
        const tress_status st = tress_plan_generate(t, &(tress_model_args){ .model = MINI }, &g, &p);
        if (st == TRESS_OK) {
            const tress_plan_card c = tress_plan_get_card(p);
            assert_int_equal(n_fail, 0);
            assert_int_equal(c.most_bytes, most);
            assert_true(tress_plan_peak_bytes(p) <= most);
            n_less += strstr(c.residency, "leave the GPU") != NULL;
            n_travel += c.pinned_bytes > 0;
        } else {
            assert_int_equal(st, TRESS_E_OOM);
            assert_int_equal(tress_exit_code(st), 4);
            assert_non_null(strstr(tress_last_error(), "would do"));
            n_fail++;
        }
        tress_plan_free(p);
        tress_image_free(sketch);
        tress_free(t);
    }
    assert_true(n_less > 0 && n_travel > 0 && n_fail > 0);
    tress *t = NULL;
    assert_int_equal(tress_new(&t, &(tress_options){ .backend = TRESS_BACKEND_CUDA, .max_vram = GIB, .plan_only = true }), TRESS_E_OOM);
    assert_int_equal(tress_new(&t, &(tress_options){ .backend = TRESS_BACKEND_CPU, .max_vram = -1 }), TRESS_E_ARG);
}

/* A plan's handle draws nothing. */
static void test_plan_only(void **state)
{
    (void)state;
    tress *t = NULL;
    tress_model *m = NULL;
    tress_result *r = NULL;
    tress_image *sketch = NULL;
    OK(tress_new(&t, &(tress_options){ .backend = TRESS_BACKEND_CUDA, .plan_only = true }));
    if (tr_device_is_dry(t->host.device)) {
        tress_generate_args g = drawing(t, &sketch);
        OK(tress_model_open(t, &m, &(tress_model_args){ .model = MINI }));
        assert_int_equal(tress_generate(m, &g, &r), TRESS_E_ARG);
        assert_null(r);
    }
    tress_model_close(m);
    tress_image_free(sketch);
    tress_free(t);
}

static void apart(tress *t, int64_t most)
{
    *t = (tress){ .host = { .card_max = most } };
    OK(tr_device_open(&t->host.device, &(tr_device_spec){ .n_thread = 2, .apart = true, .bytes_max = most }));
}

/* of_photo: drawn into a photo, to which the drawing refers. */
static void same_picture(bool of_photo)
{
    tress t;
    tress_image *photo = NULL, *matte = NULL;
    static unsigned char dark[128 * 128 * 3], left[128 * 128];
    tress_image *sketch = NULL;
    unsigned char want[128 * 128 * 3];
    int64_t whole = 0;
    int n_drawn = 0, n_travel = 0, n_fail = 0;
    apart(&t, 0);
    tress_generate_args g = drawing(&t, &sketch);
    if (of_photo) {
        memset(dark, 90, sizeof dark);
        for (int y = 0; y < 128; y++) memset(left + y * 128, 255, 64);
        OK(tress_image_new(&t, &photo, &(tress_image_info){ .width = 128, .height = 128, .channels = 3, .depth = 8 }, dark));
        OK(tress_image_new(&t, &matte, &(tress_image_info){ .width = 128, .height = 128, .channels = 1, .depth = 8 }, left));
        g.photo = photo;
        g.matte = matte;
        g.reference = TRESS_REFERENCE_NOISED;
    }
    tr_host_fini(&t.host);
    for (int64_t most = 0; n_fail == 0; most = (most ? most : whole) * 3 / 4) {
        tress_model *m = NULL;
        apart(&t, most);
        OK(tress_model_open(&t, &m, &(tress_model_args){ .model = MINI }));
        for (int i = 0; i < 2 && n_fail == 0; i++) {            /* again, with what is there already */
            tress_result *r = NULL;
            const tress_status st = tress_generate(m, &g, &r);
            if (st != TRESS_OK) {
                assert_int_equal(st, TRESS_E_OOM);
                assert_non_null(strstr(tress_last_error(), "would do"));
                n_fail++;
                continue;
            }
            const void *pixels = tress_image_pixels(tress_result_image(r, 0));
            if (most == 0) memcpy(want, pixels, sizeof want);
            assert_memory_equal(pixels, want, sizeof want);
            tress_result_free(r);
            n_drawn++;
        }
        const int64_t peak = tr_device_peak_ever(t.host.device);
        if (n_fail == 0) {                                      /* the plan knew */
            tr_residency r;
            tr_ledger l;
            OK(tr_residency_choose(&r, &l, &t.host, &(tress_model_args){ .model = MINI }, &g));
            assert_true(peak <= l.peak && peak > l.peak * 99 / 100);
        }
        if (most == 0) whole = peak;
        assert_true(most == 0 || peak <= most);
        n_travel += tr_device_pinned_peak(t.host.device) > 0;
        tress_model_close(m);
        assert_int_equal(tr_device_bytes(t.host.device), 0);
        assert_int_equal(tr_device_pinned_bytes(t.host.device), 0);
        tr_host_fini(&t.host);
    }
    assert_true(n_drawn >= 6 && n_travel > 0);
    tress_image_free(sketch);
    tress_image_free(photo);
    tress_image_free(matte);
}

static void test_same_picture(void **state) { (void)state, same_picture(false); }
static void test_same_picture_of_photo(void **state) { (void)state, same_picture(true); }

static void count_line(void *self, const char *json)
{
    assert_non_null(strstr(json, "\"what\": \"step\""));
    ++*(int *)self;
}

/* A bench of random weights that do not fit, and of none that cannot. */
static void test_bench(void **state)
{
    (void)state;
    tress t;
    int64_t whole = 0;
    int n_line = 0, n_travel = 0, n_fail = 0;
    tress_bench_args a;
    tress_bench_defaults(&a);
    a.preset = "mini";
    a.n_repeat = 1;
    a.text_rows = 9;
    a.width = a.height = 64;
    for (int64_t most = 0; n_fail == 0; most = (most ? most : whole) * 7 / 8) {
        apart(&t, most);
        const tress_status st = tress_bench(&t, NULL, &a, count_line, &n_line);
        if (st != TRESS_OK) assert_int_equal(st, TRESS_E_OOM);
        n_fail += st != TRESS_OK;
        n_travel += st == TRESS_OK && tr_device_pinned_peak(t.host.device) > 0;
        if (most == 0) whole = tr_device_peak_ever(t.host.device);
        assert_true(most == 0 || tr_device_peak_ever(t.host.device) <= most);
        assert_int_equal(tr_device_bytes(t.host.device), 0);
        tr_host_fini(&t.host);
    }
    assert_true(n_line >= 2 && n_travel > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_plan), cmocka_unit_test(test_plan_only), cmocka_unit_test(test_same_picture),
                                        cmocka_unit_test(test_same_picture_of_photo), cmocka_unit_test(test_bench) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
