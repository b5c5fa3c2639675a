/* tress probe: one forward of one module on named tensors, to hold tress against any other implementation. */
#include "model.h"
#include "sampling.h"
#include "training.h"

#include <string.h>

typedef struct probe_args {
    cli_common    common;
    model_args    model;
    sampling_args sampling;
    training_args training;
    const char   *module, *in, *out, *text;
} probe_args;

static const cli_option options[] = {
    { OPT_WORD, "MODULE", offsetof(probe_args, module), 0, 0, NULL, "what to run", .required = true,
      .choices = "transformer|controlnet|vae-encode|vae-decode|clip-l|clip-g|t5|tokenize|text|sample|train-step" },
    { .kind = OPT_GROUP, .help = "Tensors" },
    { OPT_PATH, "in", offsetof(probe_args, in), 0, 0, NULL, "safetensors file with the inputs; not for tokenize and text" },
    { OPT_OUT, "out", offsetof(probe_args, out), 0, 0, NULL, "safetensors file for the results", .letter = 'o', .required = true },
    { OPT_TEXT, "text", offsetof(probe_args, text), 0, 0, "", "the words of tokenize and text" },
    MODEL_OPTIONS(probe_args, model),
    SAMPLING_OPTIONS(probe_args, sampling),
    TRAINING_ADAPTER_OPTIONS(probe_args, training),
    { .kind = OPT_GROUP, .help = "The loss" },
    TRAINING_LOSS_OPTIONS(probe_args, training),
    TRAINING_OPTIMIZER_OPTIONS(probe_args, training),
    TRAINING_MEMORY_OPTIONS(probe_args, training),
    CLI_MACHINE(probe_args),
    { .kind = OPT_END },
};

static tress_status run(tress *t, const void *args)
{
    const probe_args *a = args;
    tress_generate_args g;
    tress_train_args train;
    tress_status st = TRESS_OK;
    const bool words = strcmp(a->module, "tokenize") == 0 || strcmp(a->module, "text") == 0;
    if (!words && !a->in) return cli_fail(TRESS_E_ARG, "--in is missing: %s reads its inputs from a safetensors file", a->module);
    if (words && a->in) return cli_fail(TRESS_E_ARG, "%s reads --text, not --in", a->module);
    tress_generate_defaults(&g);
    if (!sampling_into(&g, &a->sampling)) return cli_status();
    tress_train_defaults(&train);
    training_into(&train, &a->training);
    train.control_last = g.control_last;
    if ((st = cli_check_out("-o", a->out, "safetensors")) != TRESS_OK) return st;
    const tress_model_args ma = model_args_of(&a->model);
    return tress_probe(t, &ma, &(tress_probe_args){ .module = a->module, .in = a->in, .out = a->out, .text = a->text, .sample = &g, .train = &train });
}

const cli_command cli_probe = {
    "probe", "run one module on named tensors, to compare with other programs", sizeof(probe_args), options, run, .gpu = true,
    .text = "  transformer   hidden_states, encoder_hidden_states, pooled_projections, timestep, optional residuals.N -> sample\n"
            "  controlnet    hidden_states, controlnet_cond, pooled_projections, timestep -> residuals.N\n"
            "  vae-encode    image -> mean, logvar          vae-decode  latent -> image\n"
            "  clip-l, clip-g, t5   input_ids -> hidden, pooled (not t5)\n"
            "  tokenize      --text -> clip_l, clip_g, t5\n"
            "  text          --text -> encoder_hidden_states, pooled_projections\n"
            "  sample        latents, encoder_hidden_states, pooled_projections, both with negative_, optional\n"
            "                controlnet_cond, and the sampling options -> latents\n"
            "  train-step    latents, control, noise, mask, sigma, and the options of tress train; --lora to begin with\n"
            "                -> loss, grad.KEY, lora.KEY after one step of the optimiser\n"
            "Floats are F32, ids I32, batch first.\n",
    .examples = "  tress probe tokenize -m sd3.5-large --text \"red hair\" -o ids.safetensors\n"
                "  tress probe vae-decode -m sd3.5-large --in latent.safetensors -o image.safetensors\n",
};
