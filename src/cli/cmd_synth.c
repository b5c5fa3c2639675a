/* tress synth: rendered portraits with hair, as a data set. */
#include "cli.h"

#include <stdio.h>

typedef struct synth_args {
    cli_common  common;
    const char *to, *style;
    cli_seed    seed;
    int         count, size;
    bool        bald;
} synth_args;

static const cli_option options[] = {
    { OPT_OUT, "output", offsetof(synth_args, to), 0, 0, NULL, "folder for img/, matte/, sketch/ and scenes.jsonl", .letter = 'o', .required = true, .meta = "DIR" },
    { .kind = OPT_GROUP, .help = "What to draw" },
    { OPT_INT, "count", offsetof(synth_args, count), 1, 1000000, "24", "how many pictures", .letter = 'n' },
    { OPT_SEED, "seed", offsetof(synth_args, seed), 0, 0, "1", "of the first picture; each next one adds 1", .letter = 's' },
    { OPT_TEXT, "style", offsetof(synth_args, style), 0, 0, NULL, "\"open\", \"braids\", or one style, for example \"bob\" or \"fishtail braid\"; without it any" },
    { OPT_INT, "size", offsetof(synth_args, size), 64, 2048, "256", "pixels a side, an even number" },
    { OPT_FLAG, "bald", offsetof(synth_args, bald), 0, 0, NULL, "the same people without hair too, in bald/" },
    CLI_MACHINE(synth_args),
    { .kind = OPT_END },
};

static tress_status run(tress *t, const void *args)
{
    const synth_args *a = args;
    tress_status st = tress_synth(t, &(tress_synth_args){ .to = a->to, .style = a->style, .seed = a->seed.value, .seed_random = a->seed.random,
                                                          .count = a->count, .size = a->size,
                                                          .bald = a->bald });
    if (st == TRESS_OK) printf("%s\n", a->to);
    return st;
}

const cli_command cli_synth = {
    "synth", "draw rendered portraits with hair as a data set", sizeof(synth_args), options, run,
    .text = "Every picture follows from its seed alone: a head and its hair strand by strand, a light, a place, the matte, and a sketch\n"
            "as a person would draw it, each stroke in a colour of its own. Nothing in it comes from a photograph.\n",
    .examples = "  tress synth -o dataset/braid --style braids -n 24\n"
                "  tress synth -o portraits -n 100 --bald --size 512\n",
};
