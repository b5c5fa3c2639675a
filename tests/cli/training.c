/* tress train as a person uses it, on a tiny model and data drawn for it: trained, looked at, interrupted, resumed, repeated. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/run.h"

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char cmd[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(cmd, sizeof cmd, format, ap);
    va_end(ap);
    if (system(cmd) != 0) abort();
}

static int enter(void **state)
{
    if (run_enter(state) != 0) return -1;
    shell("'%s/make_model' --preset tiny --seed 3 '%s/model' >/dev/null", TRESS_BINARY_DIR, run_dir);
    shell("'%s/tress' synth -q -o '%s/data' -n 10 --size 64 >/dev/null", TRESS_BINARY_DIR, run_dir);
    return 0;
}

#define TRAIN(...) RUN("train", "--threads", "2", "-m", "model", "--latent-cache", "latents", __VA_ARGS__)

/* The files a and b of run_dir have the same bytes. */
static void same(const char *a, const char *b)
{
    char cmd[512];
    snprintf(cmd, sizeof cmd, "cmp '%s/%s' '%s/%s'", run_dir, a, run_dir, b);
    if (system(cmd) != 0) fail_msg("%s and %s differ", a, b);
}

static void trains(void **state)
{
    (void)state;
    RUN("check", "--data", "data", "--sheet", "sheet.png");
    run_expect(0, "verdict   fit", "pictures  10");
    assert_true(run_there("sheet.png"));
    TRAIN("--data", "data", "-o", "a", "--resolution", "64", "--steps", "6", "--rank", "2", "--alpha", "2", "--validate-every", "3", "--sample-every", "3", "--save-every", "2",
          "--sample-steps", "2", "--sample-count", "2");
    run_expect(0, NULL, NULL);
    assert_string_equal(ran.out, "a/lora.safetensors\n");
    static const char *const told[] = { "memory: ", "train 1 of 6, loss ", "train 6 of 6, loss ", "sheet 6 of 6", "sheet 4 of 4" };
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (!strstr(ran.err, told[i])) fail_msg("does not say \"%s\": %s", told[i], ran.err);
    static const char *const made[] = { "a/loss.svg", "a/metrics.jsonl", "a/config.json", "a/samples/step-000003.png", "a/samples/step-000006.png" };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (!run_there(made[i])) fail_msg("%s is not there", made[i]);
    RUN("lora", "info", "a/lora.safetensors");
    run_expect(0, "ranks       2 ", "tress.steps = 6");
    RUN("generate", "-q", "--threads", "2", "-m", "model", "--sketch", "data/sketch/00000001.png", "--lora", "a/lora.safetensors", "--steps", "1", "-o", "x.png");
    run_expect(0, NULL, NULL);
}

/* Without a size of one's own it is the model's. */
static void size_of_the_model(void **state)
{
    (void)state;
    RUN("plan", "train", "-m", "model", "--json");
    run_expect(0, "\"parts\"", NULL);
    char plan[256];
    snprintf(plan, sizeof plan, "%.*s", (int)strcspn(ran.out, ","), ran.out);
    RUN("plan", "generate", "-m", "model", "--json");
    run_expect(0, plan, NULL);
    RUN("plan", "train", "-m", "model");
    run_expect(0, "size trained at", NULL);
}

/* What a GPU would take is told without one: in half precision half, but for adapters and moments; the back end's own share is left to it. */
static void plans_for_a_gpu(void **state)
{
    (void)state;
    double half = 0, whole = 0;
    RUN("plan", "train", "-m", "model", "--backend", "cuda", "--json");
    run_expect(0, "\"parts\"", NULL);
    assert_int_equal(sscanf(strstr(ran.out, "\"peak_bytes\""), "\"peak_bytes\": %lf", &half), 1);
    RUN("plan", "train", "-m", "model", "--backend", "cuda", "--mixed-precision", "no", "--json");
    run_expect(0, "\"parts\"", NULL);
    assert_int_equal(sscanf(strstr(ran.out, "\"peak_bytes\""), "\"peak_bytes\": %lf", &whole), 1);
    if (!(half > 0.45 * whole && half < 0.75 * whole)) fail_msg("%g bytes in half precision, %g in whole", half, whole);
    RUN("plan", "train", "-m", "model", "--backend", "cuda", "--max-vram", "1.001", "--gradient-checkpointing", "on");
    run_expect(4, "--max-vram", NULL);
    RUN("plan", "-m", "model", "--backend", "cuda");
    run_expect(0, "size drawn at", NULL);
}

static void repeated_by_its_config(void **state)
{
    (void)state;
    RUN("train", "-q", "--config", "a/config.json", "-m", "model", "--latent-cache", "latents", "-o", "b", "--sample-every", "0", "--validate-every", "0");
    run_expect(0, NULL, NULL);
    same("a/lora.safetensors", "b/lora.safetensors");
}

static void resumed(void **state)
{
    (void)state;
    char path[160], text[65536];
    TRAIN("--data", "data", "-o", "a", "--steps", "6");
    run_expect(2, "a: ", "--resume latest");
    RUN("train", "-q", "-o", "a", "--resume", "latest", "--rank", "4");
    run_expect(3, "rank 2", "now it is 4");
    TRAIN("-q", "--data", "data", "-o", "c", "--resolution", "64", "--steps", "100000000", "--rank", "2", "--alpha", "2", "--validate-every", "0", "--sample-every", "0",
          "--learning-rate", "nan");
    run_expect(2, "--learning-rate", NULL);
    run_argv((const char *const[]){ "train", "--threads", "2", "-m", "model", "--latent-cache", "latents", "--data", "data", "-o", "c", "--resolution", "64", "--steps", "100000000", "--rank",
                                    "2", "--alpha", "2", "--validate-every", "0", "--sample-every", "0", NULL }, 5.0);
    run_expect(8, "saved", "--resume latest");
    if (!strstr(ran.err, "note: interrupted")) fail_msg("does not say that it was told to stop: %s", ran.err);
    /* To a step that was not reached, there and in one go. */
    snprintf(path, sizeof path, "%s/c/metrics.jsonl", run_dir);
    shell("tail -n 1 '%s' > '%s/last'", path, run_dir);
    snprintf(path, sizeof path, "%s/last", run_dir);
    run_slurp(path, text, sizeof text);
    long last = 0;
    if (sscanf(text, "{\"step\": %ld,", &last) != 1) fail_msg("no step in %s", text);
    char steps[32];
    snprintf(steps, sizeof steps, "%ld", last + 3);
    RUN("train", "-q", "-o", "c", "--resume", "latest", "--steps", steps);
    run_expect(0, NULL, NULL);
    TRAIN("-q", "--data", "data", "-o", "d", "--resolution", "64", "--steps", steps, "--rank", "2", "--alpha", "2", "--validate-every", "0", "--sample-every", "0");
    run_expect(0, NULL, NULL);
    same("c/lora.safetensors", "d/lora.safetensors");
}

static void unfit(void **state)
{
    (void)state;
    shell("rm '%s/data/matte/00000004.png'", run_dir);
    RUN("check", "--data", "data");
    if (ran.code != 3 || !strstr(ran.out, "verdict   unfit") || !strstr(ran.out, "00000004")) fail_msg("code %d: %s", ran.code, ran.out);
    TRAIN("-q", "--data", "data", "-o", "e");
    run_expect(3, "unfit", "00000004");
    assert_false(run_there("e"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trains), cmocka_unit_test(size_of_the_model), cmocka_unit_test(plans_for_a_gpu), cmocka_unit_test(repeated_by_its_config), cmocka_unit_test(resumed), cmocka_unit_test(unfit),
    };
    return cmocka_run_group_tests(tests, enter, run_leave);
}
