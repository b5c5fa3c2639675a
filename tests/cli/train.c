/* tress train as a person meets it: options that cannot be, data that are unfit, folders in use, memory that does not do, each with its
 * exit code and one line; and a run that goes on from its own configuration. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/run.h"

static void shell(const char *format, ...)
{
    char cmd[2048];
    va_list ap;
    const int at = snprintf(cmd, sizeof cmd, "cd '%s' && ", run_dir);
    va_start(ap, format);
    vsnprintf(cmd + at, sizeof cmd - (size_t)at, format, ap);
    va_end(ap);
    if (system(cmd) != 0) fail_msg("%s", cmd);
}

static int enter(void **state)
{
    char cmd[512];
    if (run_enter(state)) return -1;
    snprintf(cmd, sizeof cmd, "'%s/make_model' --preset tiny --dtype f32 --seed 3 '%s/model' >/dev/null", TRESS_BINARY_DIR, run_dir);
    if (system(cmd) != 0) return -1;
    RUN("synth", "-q", "-o", "data", "-n", "4", "--size", "64", "--style", "bob");
    return ran.code;
}

#define TRAIN(...) \
    RUN("train", "-q", "--data", "data", "-o", "run", "-m", "model", "--resolution", "64", "--rank", "4", "--steps", "4", "--sample-every", "0", "--threads", "1", __VA_ARGS__)

static void options(void **state)
{
    (void)state;
    static const struct { const char *a, *b, *say_a, *say_b; } c[] = {
        { "--targets", "to_x", "--targets", "expected some of to_q" },       { "--targets", "", "--targets", NULL },
        { "--rank", "0", "--rank", "1 to 4096" },                            { "--rank", "four", "--rank", "four" },
        { "--blocks", "2", "block", "2" },                                   { "--blocks", "0,x", "--blocks", NULL },
        { "--steps", "0", "--steps", NULL },                                 { "--batch", "0", "--batch", NULL },
        { "--learning-rate", "-1", "--learning-rate", NULL },                { "--learning-rate", "nan", "--learning-rate", NULL },
        { "--lr-schedule", "cos", "--lr-schedule", "cosine" },               { "--optimizer", "adam", "--optimizer", "adamw" },
        { "--ema", "1", "--ema", NULL },                                     { "--lora-dropout", "1", "--lora-dropout", NULL },
        { "--sketch-dropout", "1", "--sketch-dropout", NULL },               { "--keep-checkpoints", "0", "--keep-checkpoints", NULL },
        { "--warmup-steps", "-1", "--warmup-steps", NULL },                  { "--augment-rotate", "90", "--augment-rotate", NULL },
        { "--resolution", "9000", "--resolution", NULL },                    { "--validation-split", "0.9", "--validation-split", NULL },
        { "--gradient-checkpointing", "some", "--gradient-checkpointing", "attention" }, { "--sample", "1", "--sample", NULL },
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        TRAIN(c[i].a, c[i].b);
        run_expect(2, c[i].say_a, c[i].say_b);
        if (run_there("run/checkpoints")) fail_msg("%s %s has begun a run", c[i].a, c[i].b);
    }
    RUN("train", "--data", "data", "-m", "model");
    run_expect(2, "--output", NULL);
    RUN("train", "-o", "run", "-m", "model");
    run_expect(2, "--data", NULL);
}

static void what_is_not_there(void **state)
{
    (void)state;
    RUN("train", "-q", "--data", "nothing", "-o", "run", "-m", "model", "--resolution", "64");
    run_expect(6, "nothing", NULL);
    RUN("train", "-q", "--data", "data", "-o", "run", "-m", "nothing");
    run_expect(6, "--model nothing", NULL);
    TRAIN("--control-net", "nothing");
    run_expect(6, "nothing", NULL);
    TRAIN("--resume", "nothing.safetensors");
    run_expect(6, "nothing.safetensors", NULL);
    shell("rm -rf run");
    RUN("train", "-q", "-o", "run", "--resume", "latest");      /* no run, so no configuration of one */
    run_expect(2, "--data", NULL);
    TRAIN("--sample-every", "2", "--sample-embeds", "nothing.safetensors");
    run_expect(6, "nothing.safetensors", NULL);
    shell("rm -rf run");
}

/* Exit 3, the file named, before a weight is read: of the model only names and headers are right here. */
static void unfit(void **state)
{
    (void)state;
    static const struct { const char *spoil, *a, *b; } c[] = {
        { "rm bad/sketch/00000002.png", "00000002", NULL },
        { "head -c 300 data/img/00000003.png >bad/img/00000003.png", "00000003", NULL },
        { "cp model/model_index.json bad/matte/00000001.png", "00000001", NULL },
        { "rm -r bad/matte", "matte", NULL },
        { "rm bad/*/*", "bad", NULL },
    };
    shell("cp -r model zero && f=zero/transformer/diffusion_pytorch_model.safetensors && n=$(stat -c %%s $f) && tail -c 4000 $f >tail && "
          "truncate -s $((n - 4000)) $f && tr '\\000-\\377' '\\377' <tail >>$f && test $(stat -c %%s $f) = $n");
    RUN("train", "-q", "--data", "data", "-o", "run", "-m", "zero", "--resolution", "64");
    run_expect(3, "zero/transformer", NULL);                    /* so it is told where the data are fit */
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        shell("rm -rf bad && cp -r data bad && %s", c[i].spoil);
        RUN("train", "-q", "--data", "bad", "-o", "run", "-m", "zero", "--resolution", "64");
        run_expect(3, c[i].a, c[i].b);
        if (strstr(ran.err, "transformer")) fail_msg("the weights came first: %s", ran.err);
        if (run_there("run")) fail_msg("a run has begun");
    }
    RUN("train", "--data", "bad", "-o", "run", "-m", "nothing");  /* both are wrong: what is found at once is told first */
    run_expect(6, "nothing", NULL);
    shell("rm -rf bad zero tail");
}

static void memory(void **state)
{
    (void)state;
    TRAIN("--max-vram", "0.0001");
    run_expect(4, "--max-vram leaves 0.00", "training at 64 x 64 pixels, batch 1, takes ");
    if (run_there("run")) fail_msg("a run has begun");
    TRAIN("--max-vram", "1");
    run_expect(0, NULL, NULL);
    shell("rm -rf run");
}

static void goes_on(void **state)
{
    (void)state;
    shell("mkdir full && touch full/notes.txt");
    RUN("train", "-q", "--data", "data", "-o", "full", "-m", "model", "--resolution", "64");
    run_expect(2, "notes.txt", "--resume latest");
    TRAIN("--learning-rate", "0.00012345678901234567", "-s", "18446744073709551615", "--blocks", "1", "--warmup-steps", "2", "--augment-flip");
    run_expect(0, "run/lora.safetensors", NULL);
    TRAIN("--steps", "8");
    run_expect(2, "lora.safetensors", "--resume latest");
    RUN("train", "-q", "-o", "run", "--resume", "latest", "--steps", "6");      /* all else comes from the run */
    run_expect(0, "run/lora.safetensors", NULL);
    if (!run_there("run/checkpoints/step-000000006.safetensors")) fail_msg("6 steps are not saved");
    RUN("train", "-o", "run", "--resume", "latest", "--rank", "5");
    run_expect(3, "rank 4, now it is 5", NULL);
    RUN("train", "-q", "-o", "again", "--config", "run/config.json");           /* the command line wins over its "output" */
    run_expect(0, "again/lora.safetensors", NULL);
    shell("cmp run/lora.safetensors again/lora.safetensors");
    shell("printf x >>run/checkpoints/step-000000006.safetensors");             /* a damaged one is passed over, and told */
    RUN("train", "-o", "run", "--resume", "latest");
    run_expect(0, NULL, NULL);
    if (!strstr(ran.err, "passed over") || !strstr(ran.err, "going on after step 4")) fail_msg("%s", ran.err);
    shell("cmp run/lora.safetensors again/lora.safetensors");
    RUN("generate", "-q", "--sketch", "data/sketch/00000001.png", "--lora", "run/lora.safetensors", "-m", "model", "--zero-text", "--steps", "1", "-o", "out.png");
    run_expect(0, NULL, NULL);
    shell("rm -rf run again full");
}

/* Ctrl-C in the middle, then on. */
static void interrupted(void **state)
{
    (void)state;
    const char *const argv[] = { "train", "-q", "--data", "data", "-o", "run", "-m", "model", "--resolution", "64", "--rank", "4", "--steps", "100000000",
                                 "--sample-every", "0", "--threads", "1", NULL };
    double seconds = 1;
    for (int i = 0; i < 6; i++, seconds *= 2) {                 /* a slow machine may not have begun */
        run_argv(argv, seconds);
        if (ran.code == 8) break;
        run_expect(130, NULL, NULL);
        shell("rm -rf run");
    }
    run_expect(8, "interrupted after step ", "saved, go on with --resume latest");
    shell("ls run/checkpoints | grep -q step- && test -f run/lora.safetensors && test -f run/loss.svg && rm -rf run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options), cmocka_unit_test(what_is_not_there), cmocka_unit_test(unfit), cmocka_unit_test(memory), cmocka_unit_test(goes_on),
        cmocka_unit_test(interrupted),
    };
    return cmocka_run_group_tests(tests, enter, run_leave);
}
