/* The nth allocation fails, and every one after it: each function says so, leaves nothing behind, and the data set on disk is as it was. */
#include "data/draw.h"
#include "seeded.h"

static tress_status look_through(bool json)
{
    tress_status st = TRESS_OK;
    tr_dataset *d = NULL;
    tr_check *c = NULL;
    tr_image *sheet = NULL;
    tr_str text = { 0 };
    bool held[64];
    int n_held = 0;
    tr_split_reason why;
    tr_order *o = NULL;
    TR_TRY(tr_dataset_list(&d, draw_dir));
    TR_TRY(tr_check_run(&c, d, 2, NULL));
    TR_TRY(tr_check_report(&text, c, json, "sheet.png"));
    TR_TRY(tr_check_sheet(&sheet, c, 2));
    TR_TRY(tr_split_make(held, &n_held, &why, d, 0.1));
    TR_TRY(tr_order_new(&o, 1, 2, (const int[]){ 0, 1, 0 }, 3));
done:
    tr_order_free(o);
    tr_image_free(sheet);
    tr_str_fini(&text);
    tr_check_free(c);
    tr_dataset_free(d);
    return st;
}

static tress_status prepare_all(tress_control_image kind)
{
    tress_status st = TRESS_OK;
    tr_image *img[TR_DATA_KINDS] = { NULL };
    tr_prepared p = { 0 };
    const tr_prepare_spec s = { .resolution = 64, .multiple = 16, .side_max = 512, .cell = 8, .control_image = kind, .mask_grow = 20, .mask_blur = 20,
                                .augment = { true, 10, 0.1, 0.1, kind == TRESS_CONTROL_RAW ? 0 : 16 } };
    TR_TRY(tr_image_read(&img[0], in_dir("img/a.png")));
    TR_TRY(tr_image_read(&img[1], in_dir("matte/a.png")));
    TR_TRY(tr_image_read(&img[2], in_dir("sketch/a.png")));
    TR_TRY(tr_prepare(&p, &s, img, "a", true, 3));
done:
    for (int k = 0; k < TR_DATA_KINDS; k++) tr_image_free(img[k]);
    tr_prepared_fini(&p);
    return st;
}

/* Until it succeeds without having met the failing one. */
#define SWEEP(call, step)                                                                                                           \
    do {                                                                                                                            \
        int n_fail = 0;                                                                                                             \
        ok(call);                                                                                                                   \
        for (int64_t n = 1;; n += (step)) {                                                                                         \
            const int64_t bytes = tr_mem_now().bytes;                                                                               \
            tr_mem_fail_at(n);                                                                                                      \
            const tress_status got = call;                                                                                          \
            tr_mem_fail_at(0);                                                                                                      \
            assert_int_equal(tr_mem_now().bytes, bytes);                                                                            \
            if (got == TRESS_OK) break;                                                                                             \
            if (got != TRESS_E_OOM) fail_msg("allocation %d failed, and it says %s: %s", (int)n, tress_status_name(got), tr_message()); \
            n_fail++;                                                                                                               \
        }                                                                                                                           \
        assert_true(n_fail > 10);                                                                                                   \
    } while (0)

static void test_looking(void **state)
{
    (void)state;
    make_folders();
    put_item("a", 32, 32, 5);
    put_item("b", 32, 48, 25);
    put_item("c", 32, 32, 45);
    put_bytes(in_dir("img/d.png"), "x", 1);
    put_bytes(in_dir("img/e.txt"), "x", 1);
    unlink(in_dir("matte/b.png"));
    put_image(draw_matte(32, 32, 16, 16, 8, 0, 255), in_dir("matte/c.png"));
    SWEEP(look_through(false), 1);
    SWEEP(look_through(true), 1);
}

static void test_preparing(void **state)
{
    (void)state;
    make_folders();
    put_item("a", 48, 80, 5);
    for (int kind = 0; kind <= TRESS_CONTROL_RAW; kind++) SWEEP(prepare_all((tress_control_image)kind), 1);
}

typedef struct net { tr_stream *stream; tr_weights *weights; tr_vae *vae; const tr_check *check; } net;

static tress_status keep(const net *x)
{
    tr_latents *z = NULL;
    const tr_latents_spec s = { .prepare = { .resolution = 64, .multiple = 16, .side_max = 512, .cell = 8, .augment = { .flip = true } }, .variants = 2 };
    const tr_latents_args a = { .check = x->check, .vae = x->vae, .weights = x->weights, .stream = x->stream, .dir = in_dir("cache"), .n_thread = 2 };
    const tress_status st = tr_latents_open(&z, &s, &a);
    tr_latents_close(z);
    return st;
}

static tress_status keep_new(const net *x)
{
    char cmd[200];
    snprintf(cmd, sizeof cmd, "rm -rf '%s/cache'", draw_dir);
    return system(cmd) == 0 ? keep(x) : TRESS_E_IO;
}

static void test_keeping(void **state)
{
    (void)state;
    net x = { NULL, NULL, NULL, NULL };
    tr_device *device = NULL;
    tr_vae_config c;
    make_folders();
    put_item("a", 32, 32, 5);
    looked l = look(1);
    x.check = l.c;
    ok(seeded_folder(TRESS_SOURCE_DIR "/tests/golden/model/vae_sd3.json", in_dir("vae"), "diffusion_pytorch_model.safetensors", TR_F32));
    ok(tr_device_open(&device, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = 1 }));
    ok(tr_stream_new(&x.stream, device));
    ok(tr_weights_open(&x.weights, in_dir("vae"), TR_MODULE_VAE, NULL));
    ok(tr_vae_config_read(&c, x.weights));
    ok(tr_vae_open(&x.vae, device, x.weights, &c));
    ok(keep_new(&x));
    SWEEP(keep(&x), 1);                         /* all files are there */
    tr_stream_free(x.stream);                   /* its scratch grows as needed and is kept: a sweep over it must begin anew each time */
    int n_fail = 0;
    for (int64_t n = 1;; n += 7) {
        ok(tr_stream_new(&x.stream, device));
        tr_mem_fail_at(n);
        const tress_status got = keep_new(&x);
        tr_mem_fail_at(0);
        tr_stream_free(x.stream);
        if (got == TRESS_OK) break;
        if (got != TRESS_E_OOM) fail_msg("allocation %d failed, and it says %s: %s", (int)n, tress_status_name(got), tr_message());
        n_fail++;
    }
    assert_true(n_fail > 10);
    tr_vae_close(x.vae);
    tr_weights_close(x.weights);
    tr_device_close(device);
    look_end(&l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, draw_enter, draw_leave)

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(test_looking), TEST(test_preparing), TEST(test_keeping) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
