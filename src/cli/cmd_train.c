/* tress train: a LoRA from a folder of photos, mattes and sketches. */
#include "model.h"
#include "training.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

typedef struct train_args {
    cli_common    common;
    model_args    model;
    training_args training;
    const char   *data, *out, *resume, *latent_cache, *sample_embeds;
    int           validate_every, sample_every, save_every, keep_checkpoints, sample_count, sample_steps;
} train_args;

static const cli_option options[] = {
    { .kind = OPT_GROUP, .help = "What to learn from" },
    { OPT_DIR, "data", offsetof(train_args, data), 0, 0, NULL, "folder with img/, matte/ and sketch/, as tress check wants it; a run that is resumed knows its own", .required = true, .meta = "DIR" },
    { OPT_OUT, "output", offsetof(train_args, out), 0, 0, NULL, "folder of the run, new or empty: lora.safetensors, checkpoints, metrics, sheets", .letter = 'o', .required = true, .meta = "RUN" },
    { OPT_TEXT, "resume", offsetof(train_args, resume), 0, 0, NULL, "go on from the newest checkpoint of RUN, or from this file", .meta = "latest|FILE" },
    TRAINING_DATA_OPTIONS(train_args, training),
    { OPT_DIR, "latent-cache", offsetof(train_args, latent_cache), 0, 0, NULL, "folder of encoded pictures, which runs may share; without it RUN/latents", .meta = "DIR" },
    TRAINING_OPTIONS(train_args, training),
    { .kind = OPT_GROUP, .help = "What is shown and kept" },
    { OPT_INT, "validate-every", offsetof(train_args, validate_every), 0, 100000000, "100", "steps between two looks at the pictures held out; 0: never" },
    { OPT_INT, "sample-every", offsetof(train_args, sample_every), 0, 100000000, "250", "steps between two sheets; 0: never" },
    { OPT_INT, "save-every", offsetof(train_args, save_every), 0, 100000000, "250", "steps between two checkpoints; one is always written at the end" },
    { OPT_INT, "keep-checkpoints", offsetof(train_args, keep_checkpoints), 1, 1000000, "3", "how many of the newest stay" },
    { OPT_INT, "sample-count", offsetof(train_args, sample_count), 0, 64, "4", "pictures on a sheet, those held out first" },
    { OPT_INT, "sample-steps", offsetof(train_args, sample_steps), 1, 1000, "20", "steps from noise to picture, for the sheets" },
    { OPT_PATH, "sample-embeds", offsetof(train_args, sample_embeds), 0, 0, NULL, "encoded words for the sheets, from tress probe text; without it zero text, as in training" },
    NETWORK_OPTIONS(train_args, model),
    CLI_MACHINE(train_args),
    { .kind = OPT_END },
};

/* A run that goes on takes its options from where it keeps them. */
static const char *config_of(const void *args)
{
    const train_args *a = args;
    return a->resume && a->out ? cli_format("%s/config.json", a->out) : NULL;
}

static tress_status run(tress *t, const void *args)
{
    const train_args *a = args;
    tress_train_args g;
    if (a->resume && strcmp(a->resume, "latest") != 0 && cli_check_in("--resume", a->resume) != TRESS_OK)
        return cli_fail(cli_status(), "%s (it takes \"latest\" or a checkpoint file)", cli_format("%s", cli_message()));
    tress_train_defaults(&g);
    training_into(&g, &a->training);
    if (a->training.seed.random) {
        uint32_t x = 0;
        if (getentropy(&x, sizeof x) != 0) return cli_fail(TRESS_E_IO, "--seed random: the system gives no random numbers");
        g.seed = x % 100000000;
        cli_note("seed %" PRIu64, g.seed);
    }
    g.data = a->data;
    g.run = a->out;
    g.resume = a->resume;
    g.latent_cache = a->latent_cache;
    g.sample_embeds = a->sample_embeds;
    g.validate_every = a->validate_every;
    g.sample_every = a->sample_every;
    g.save_every = a->save_every;
    g.keep_checkpoints = a->keep_checkpoints;
    g.sample_count = a->sample_count;
    g.sample_steps = a->sample_steps;
    const tress_model_args m = model_args_of(&a->model);
    const tress_status st = tress_train(t, &m, &g);
    if (st == TRESS_OK) printf("%s/lora.safetensors\n", a->out);
    return st;
}

const cli_command cli_train = {
    "train", "teach a LoRA hair from photos, mattes and sketches", sizeof(train_args), options, run, .gpu = true,
    .text = "Adapters on the attention of the frozen transformer learn, and nothing else. They are shown the sketch\n"
            "through the frozen ControlNet, no words, and are scored inside the matte alone; docs/train.md tells how.\n"
            "RUN/loss.svg and RUN/samples/ show how it goes, RUN/lora.safetensors is the result.\n"
            "Ctrl-C and TERM save within a step and end with exit code 8. --resume latest goes on with the options that\n"
            "RUN/config.json keeps, also after a crash, and comes to the same bytes as if nothing had happened; more --steps\n"
            "prolong a run. A full disk is waited for.\n",
    .examples = "  tress check --data dataset/braid --sheet braid.png\n"
                "  tress train --data dataset/braid -o runs/braid --steps 1000\n"
                "  tress train -o runs/braid --resume latest --steps 2000\n"
                "  tress generate --sketch sketch.png --lora runs/braid/lora.safetensors -o out.png\n",
    .config_of = config_of,
};
