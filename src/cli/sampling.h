/* sampling.h - the options of the sampler and the control; generate, plan and probe sample have them. */
#ifndef TRESS_CLI_SAMPLING_H
#define TRESS_CLI_SAMPLING_H

#include "cli.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sampling_args {
    int    steps;
    double cfg_scale, shift, control_strength, control_start, control_end, skip_scale, skip_start, skip_end;
    int    sampler, control_range, control_last, control_pooled;
    cli_ints skip;
    cli_seed seed;
} sampling_args;

#define SAMPLING_OPTIONS(args, m)                                                                                                          \
    { .kind = OPT_GROUP, .help = "Sampling" },                                                                                             \
    { OPT_INT, "steps", offsetof(args, m.steps), 1, 1000, "28", "steps from noise to picture" },                                           \
    { OPT_REAL, "cfg-scale", offsetof(args, m.cfg_scale), 0, 100, "4.5", "how closely to follow the words; 1 and below: no guidance" },    \
    { OPT_SEED, "seed", offsetof(args, m.seed), 0, 0, "random", "the same seed draws the same picture, and the same noise as torch's CPU", \
      .letter = 's' },                                                                                                                     \
    { OPT_CHOICE, "sampler", offsetof(args, m.sampler), 0, 0, "euler", "the step rule", .choices = "euler|dpmpp-2m" },                     \
    { OPT_REAL, "shift", offsetof(args, m.shift), 0, 100, "0", "timestep shift; 0: the model's scheduler's own" },                         \
    { OPT_INTS, "skip-layers", offsetof(args, m.skip), 0, 1023, NULL, "skip-layer guidance: blocks that a third pass leaves out, for example 7,8,9" }, \
    { OPT_REAL, "skip-layer-scale", offsetof(args, m.skip_scale), 0, 100, "2.8", "strength of skip-layer guidance" },                      \
    { OPT_REAL, "skip-layer-start", offsetof(args, m.skip_start), 0, 1, "0.01", "share of the steps at which it begins" },                 \
    { OPT_REAL, "skip-layer-end", offsetof(args, m.skip_end), 0, 1, "0.2", "share of the steps at which it ends" },                        \
    { .kind = OPT_GROUP, .help = "Control" },                                                                                              \
    { OPT_REAL, "control-strength", offsetof(args, m.control_strength), 0, 10, "1", "how strongly the sketch steers; 0 needs no sketch" }, \
    { OPT_REAL, "control-start", offsetof(args, m.control_start), 0, 1, "0", "share of the steps at which control begins" },               \
    { OPT_REAL, "control-end", offsetof(args, m.control_end), 0, 1, "1", "share of the steps at which control ends" },                     \
    { OPT_CHOICE, "control-range", offsetof(args, m.control_range), 0, 0, "vendor", "how the VAE sees the control picture p: 127.5 p + 0.5, or 2 p - 1", \
      .choices = "vendor|signed" },                                                                                                        \
    { OPT_CHOICE, "control-last-block", offsetof(args, m.control_last), 0, 0, "vendor", "residual after the last block: added, or not",    \
      .choices = "vendor|diffusers" },                                                                                                     \
    { OPT_CHOICE, "control-pooled", offsetof(args, m.control_pooled), 0, 0, "text", "pooled vector of the ControlNet; zero: as in training, one pass for both guidance branches", \
      .choices = "text|zero" }

/* Into g, whose other members stay. false: cli_fail has said why. The list of skipped layers is a view into s. */
bool sampling_into(tress_generate_args *g, const sampling_args *s);

#ifdef __cplusplus
}
#endif
#endif
