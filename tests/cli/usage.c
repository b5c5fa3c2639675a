/* The command line as a person types it: help, mistakes, ranges, partners, --config, outputs that cannot be. Nothing here
 * needs a model. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/run.h"

static const char *const commands[][2] = {
    { "generate", NULL }, { "train", NULL }, { "check", NULL }, { "plan", NULL }, { "plan", "train" }, { "synth", NULL }, { "pull", NULL }, { "info", NULL }, { "convert", NULL }, { "lora", "info" }, { "lora", "convert" }, { "lora", "merge" },
    { "probe", NULL }, { "completions", NULL },
};

static void help(void **state)
{
    (void)state;
    RUN("--help");
    run_expect(0, "usage: tress COMMAND", "Exit codes");
    RUN("help");
    run_expect(0, "usage: tress COMMAND", NULL);
    RUN("--version");
    run_expect(0, "tress " TRESS_VERSION "\n", NULL);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char usage[64];
        snprintf(usage, sizeof usage, "usage: tress %s%s%s", commands[i][0], commands[i][1] ? " " : "", commands[i][1] ? commands[i][1] : "");
        if (commands[i][1]) RUN(commands[i][0], commands[i][1], "--help");
        else RUN(commands[i][0], "--help");
        run_expect(0, usage, "--help");
        assert_string_equal(ran.err, "");
        for (const char *s = ran.out; *s; s = strchr(s, '\n') + 1)
            if (strcspn(s, "\n") > 130) fail_msg("a line of help has %zu columns: %.130s", strcspn(s, "\n"), s);
        if (commands[i][1]) RUN("help", commands[i][0], commands[i][1]);
        else RUN("help", commands[i][0]);
        run_expect(0, usage, NULL);
    }
    RUN("generate", "--steps", "nonsense", "--help");                    /* help wins while options are only read */
    run_expect(0, "usage: tress generate", NULL);
}

static void mistakes(void **state)
{
    (void)state;
    run_argv((const char *const[]){ NULL }, 0);
    run_expect(2, "a command is missing", NULL);
    RUN("genrate");
    run_expect(2, "genrate", "did you mean generate?");
    RUN("xyzzy");
    run_expect(2, "xyzzy", "tress --help");
    RUN("lora");
    run_expect(2, "tress lora info", "tress lora merge");
    RUN("lora", "inf");
    run_expect(2, "\"inf\"", "tress lora info");
    RUN("generate", "--stpes", "4");
    run_expect(2, "--stpes", "did you mean --steps?");
    RUN("generate", "--step", "4");
    run_expect(2, "--step", "did you mean --steps?");
    RUN("generate", "--xyzzy");
    run_expect(2, "--xyzzy", "tress generate --help");
    RUN("generate", "-z");
    run_expect(2, "-z", "tress generate --help");
    RUN("generate", "--sketch");
    run_expect(2, "--sketch needs a value", NULL);
    RUN("generate", "--sketch", "--steps", "3");
    run_expect(2, "--sketch needs a value", NULL);
    RUN("generate", "--inpaint=yes");
    run_expect(2, "--inpaint takes no value", NULL);
    RUN("generate", "extra", "-o", "x.png");
    run_expect(2, "\"extra\"", "too many");
    RUN("generate", "--sketch", "s.png");
    run_expect(2, "--out is missing", NULL);
    RUN("probe");
    run_expect(2, "MODULE is missing", NULL);
    RUN("probe", "vea-decode", "-o", "x.safetensors");
    run_expect(2, "vea-decode", "vae-decode");
    RUN("completions", "tcsh");
    run_expect(2, "tcsh", "bash, zsh or fish");
    RUN("pull", "not a repo");
    run_expect(2, "not a repo", NULL);
    RUN("lora", "merge", "a", "b");
    run_expect(2, "--lora is missing", NULL);
}

static void ranges(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        { "--steps", "0", "from 1 to 1000" }, { "--steps", "1001", "from 1 to 1000" }, { "--steps", "4.0", "whole number" }, { "--steps", "4x", "whole number" },
        { "--steps", " 4", "whole number" }, { "--steps", "+4", "whole number" }, { "--steps", "0x4", "whole number" }, { "--steps", "", "whole number" },
        { "--steps", "99999999999999999999", "whole number" }, { "--cfg-scale", "nan", "a number from 0 to 100" }, { "--cfg-scale", "inf", "a number" },
        { "--cfg-scale", "1e999", "a number" }, { "--cfg-scale", "0x1p3", "a number" }, { "--cfg-scale", "-1", "a number from" }, { "--cfg-scale", "1,5", "a number" },
        { "--seed", "-1", "random or a whole number" }, { "--seed", "18446744073709551616", "random or" }, { "--size", "512", "WIDTHxHEIGHT" },
        { "--size", "512x", "WIDTHxHEIGHT" }, { "--size", "512x512x3", "WIDTHxHEIGHT" }, { "--size", "0x512", "WIDTHxHEIGHT" }, { "--size", "99999x16", "WIDTHxHEIGHT" },
        { "--backend", "gpu", "auto, cpu or cuda" }, { "--sampler", "", "euler or dpmpp-2m" }, { "--control-image", "Lines", "lines, canny, colour or raw" },
        { "--place", "1,2,3", "x,y,scale" }, { "--place", "1,2,0,0", "x,y,scale" }, { "--place", "1,2,1,0,2", "x,y,scale" }, { "--place", "1,2,1,0,1,1", "x,y,scale" },
        { "--place", "a,2,1,0", "x,y,scale" }, { "--skip-layers", "7,,9", "whole numbers" }, { "--skip-layers", "7.5", "whole numbers" }, { "--lora", ":0.5", "FILE" },
        { "--lora", "a:99", "weight from -16 to 16" }, { "--memory-max", "24 GiB", "24GiB" }, { "--memory-max", "-1", "24GiB" }, { "--batch", "65", "from 1 to 64" },
        { "--strength", "1.1", "from 0 to 1" }, { "--threads", "-2", "from 0 to" }, { "--model", "", "a name" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        RUN("generate", "--sketch", "s.png", "-o", "x.png", bad[i][0], bad[i][1]);
        run_expect(2, bad[i][0], bad[i][2]);
        if (!strstr(ran.err, bad[i][1])) fail_msg("does not show \"%s\": %s", bad[i][1], ran.err);
    }
    assert_false(run_there("x.png"));
}

static void partners(void **state)
{
    (void)state;
    RUN("generate", "-o", "x.png");
    run_expect(2, "--sketch is missing", NULL);
    RUN("generate", "--sketch", "s.png", "--photo", "p.png", "-o", "x.png");
    run_expect(2, "--photo needs --matte", NULL);
    RUN("generate", "--sketch", "s.png", "--matte", "m.png", "-o", "x.png");
    run_expect(2, "--matte needs --photo", NULL);
    RUN("generate", "--sketch", "s.png", "--strength", "0.5", "-o", "x.png");
    run_expect(2, "--strength", "needs --photo");
    RUN("eval", "--photo", "p.png", "--matte", "m.png");
    run_expect(2, "--photo, --matte and --result are needed", NULL);
    RUN("eval", "--data", ".");
    run_expect(2, "--results", NULL);
    RUN("eval", "--photo", "p.png", "--matte", "m.png", "--result", "r.png", "--light", "1,2");
    run_expect(2, "expected x,y,z", NULL);
    RUN("generate", "--sketch", "s.png", "--overlay-out", "y.png", "-o", "x.png");
    run_expect(2, "--overlay-out needs --photo", NULL);
    RUN("generate", "--sketch", "s.png", "--photo", "p.png", "--matte", "m.png", "--overlay-out", "x.png", "-o", "x.png");
    run_expect(2, "-o and --overlay-out are both x.png", NULL);
    RUN("generate", "--sketch", "s.png", "--inpaint", "-o", "x.png");
    run_expect(2, "--inpaint needs --photo", NULL);
    RUN("generate", "--sketch", "s.png", "--place", "1,2,1,0", "-o", "x.png");
    run_expect(2, "--place needs --photo", NULL);
    RUN("generate", "--sketch", "s.png", "--old-matte", "m.png", "-o", "x.png");
    run_expect(2, "--old-matte needs --photo", NULL);
    RUN("generate", "--sketch", "s.png", "--alpha-out", "a.png", "-o", "x.png");
    run_expect(2, "--alpha-out needs --photo", NULL);
    RUN("generate", "--control-strength", "0", "--control-out", "a.png", "-o", "x.png");
    run_expect(2, "--control-out needs --sketch", NULL);
    RUN("generate", "--sketch", "s.png", "--control-start", "0.9", "--control-end", "0.1", "-o", "x.png");
    run_expect(2, "--control-start", "--control-end");
    RUN("generate", "--sketch", "s.png", "-o", "x.png", "--control-out", "x.png");
    run_expect(2, "x.png", "--control-out");
    RUN("probe", "transformer", "-o", "x.safetensors");
    run_expect(2, "--in is missing", "transformer");
}

/* Everything that will be written is tried before any work begins. */
static void outputs(void **state)
{
    (void)state;
    char sub[96];
    RUN("generate", "--sketch", "s.png", "-o", "x.bmp");
    run_expect(2, "x.bmp", "png jpg jpeg webp");
    RUN("generate", "--sketch", "s.png", "-o", "x");
    run_expect(2, "-o x", "png");
    RUN("generate", "--sketch", "s.png", "-o", "no/such/x.png");
    run_expect(6, "no/such/x.png", "no/such");
    snprintf(sub, sizeof sub, "%s/dir.png", run_dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    RUN("generate", "--sketch", "s.png", "-o", "dir.png");
    run_expect(6, "dir.png", "is a folder");
    RUN("generate", "--sketch", "s.png", "-o", "dir.png/x.png", "--control-out", "dir.png/no/c.png");
    run_expect(6, "--control-out", "dir.png/no");
    RUN("generate", "--sketch", "s.png", "-o", "/dev/null.png");
    assert_true(ran.code == 6);
    RUN("generate", "--sketch", "s.png", "-o", "x.png", "--latents-out", "x.txt");
    run_expect(2, "--latents-out x.txt", "safetensors");
    if (geteuid() != 0) {
        assert_int_equal(chmod(sub, 0500), 0);
        RUN("generate", "--sketch", "s.png", "-o", "dir.png/x.png");
        run_expect(6, "dir.png", "cannot be written");
        assert_int_equal(chmod(sub, 0700), 0);
    }
    RUN("generate", "--sketch", "missing.png", "-o", "x.png");
    run_expect(6, "--sketch", "missing.png");
    assert_false(run_there("x.png"));
}

static void config(void **state)
{
    (void)state;
    static const struct { const char *json; int code; const char *a, *b; } c[] = {
        { "{\"stpes\": 4}", 2, "\"stpes\"", "did you mean \"steps\"" },
        { "{\"config\": \"x\"}", 2, "\"config\"", NULL },
        { "{\"steps\": \"4\"}", 2, "\"steps\"", "whole number" },
        { "{\"steps\": 4.5}", 2, "\"steps\"", "whole number" },
        { "{\"steps\": 0}", 2, "\"steps\"", "from 1 to 1000" },
        { "{\"inpaint\": 1}", 2, "\"inpaint\"", "true or false" },
        { "{\"lora\": {}}", 2, "\"lora\"", "array" },
        { "{\"skip-layers\": [1, \"2\"]}", 2, "\"skip-layers\"", "array of whole numbers" },
        { "{\"prompt\": null}", 2, "\"prompt\"", "a string" },
        { "{\"steps\": 4, \"steps\": 5}", 3, "c.json", "duplicate" },
        { "[]", 3, "c.json", "JSON" },
        { "{\"steps\": 4", 3, "c.json", "JSON" },
        { "", 3, "c.json", "JSON" },
        /* what is right goes on to the next mistake: the sketch that is not there */
        { "{\"steps\": 4, \"cfg-scale\": 5, \"prompt\": \"a\", \"inpaint\": false, \"lora\": [\"a:0.5\", \"b\"], \"skip-layers\": [7, 8], \"seed\": 7, \"size\": \"64x64\"}", 6,
          "missing.png", NULL },
        { "{\"lora\": \"a\", \"seed\": \"random\"}", 6, "missing.png", NULL },
        { "{\"inpaint\": true}", 2, "--inpaint needs --photo", NULL },
        { "{\"sketch\": \"other.png\"}", 6, "missing.png", NULL },            /* the command line wins */
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        run_put("c.json", c[i].json, strlen(c[i].json));
        RUN("generate", "--config", "c.json", "--sketch", "missing.png", "-o", "x.png");
        run_expect(c[i].code, c[i].a, c[i].b);
    }
    run_put("c.json", "{\"inpaint\": true}", 17);
    RUN("generate", "--config", "c.json", "--no-inpaint", "--sketch", "missing.png", "-o", "x.png");
    run_expect(6, "missing.png", NULL);
    RUN("generate", "--config", "none.json", "-o", "x.png");
    run_expect(6, "none.json", NULL);
    char *bomb = malloc(1 << 20);
    memset(bomb, '[', 1 << 20);
    run_put("c.json", bomb, 1 << 20);
    free(bomb);
    RUN("generate", "--config", "c.json", "-o", "x.png");
    run_expect(3, "c.json", "JSON");
}

/* A name may hold anything; the terminal gets one line and no control characters. */
static void harmless_words(void **state)
{
    (void)state;
    RUN("generate", "--sketch", "a\n\033[31mb.png", "-o", "x.png");
    run_expect(6, "a  [31mb.png", NULL);
    assert_null(strchr(ran.err, '\033'));
}

static void closed_stdout(void **state)
{
    (void)state;
    char cmd[256];
    snprintf(cmd, sizeof cmd, "'%s/tress' --help >/dev/full 2>/dev/null", TRESS_BINARY_DIR);
    const int status = system(cmd);
    assert_int_equal(WEXITSTATUS(status), 6);
}

static void info(void **state)
{
    (void)state;
    RUN("info");
    run_expect(0, "CPU", TRESS_VERSION);
    RUN("info", "--json");
    run_expect(0, "{", "}");
    RUN("info", "--backend", "cuda");
    run_expect(5, NULL, NULL);
}

/* What a run needs is looked for on the command line, then in RUN/config.json. */
static void training(void **state)
{
    (void)state;
    char sub[96];
    RUN("train", "--help");
    run_expect(0, "--[no-]buckets ", "(on)");
    RUN("train", "-o", "r");
    run_expect(2, "--data is missing", NULL);
    RUN("train", "-o", "r", "--resume", "latest");
    run_expect(2, "--data is missing", "r/config.json");
    RUN("train", "--data", "nosuch", "-o", "r", "--resume", "lates");
    run_expect(6, "--resume lates", "\"latest\"");
    assert_false(run_there("r"));
    snprintf(sub, sizeof sub, "%s/r", run_dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    run_put("r/config.json", "{\"data\": \"d\", \"model\": \"nosuch\", \"rank\": 4}", 43);
    RUN("train", "-o", "r", "--resume", "latest");
    run_expect(6, "nosuch", NULL);
    RUN("train", "-o", "r", "--resume", "latest", "-m", "other");
    run_expect(6, "other", NULL);
    /* A run's configuration serves plan train, which passes over what only train knows; other commands do not. */
    run_put("c.json", "{\"data\": \"d\", \"output\": \"r\", \"save-every\": 5, \"rank\": 4}", 56);
    RUN("plan", "train", "--config", "c.json", "-m", "nomodel");
    run_expect(6, "nomodel", NULL);
    RUN("generate", "--config", "c.json", "-o", "x.png");
    run_expect(2, "\"data\"", "tress generate");
    run_put("c.json", "{\"rnak\": 4}", 11);
    RUN("plan", "train", "--config", "c.json", "-m", "nomodel");
    run_expect(2, "\"rnak\"", "did you mean \"rank\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help), cmocka_unit_test(mistakes), cmocka_unit_test(ranges), cmocka_unit_test(partners), cmocka_unit_test(outputs),
        cmocka_unit_test(config), cmocka_unit_test(training), cmocka_unit_test(harmless_words), cmocka_unit_test(closed_stdout), cmocka_unit_test(info),
    };
    return cmocka_run_group_tests(tests, run_enter, run_leave);
}
