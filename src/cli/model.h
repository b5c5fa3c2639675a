/* model.h - the options that name a model's files; generate, plan and probe have them. */
#ifndef TRESS_CLI_MODEL_H
#define TRESS_CLI_MODEL_H

#include "cli.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct model_args {
    const char *model, *control_net, *vae, *clip_l, *clip_g, *t5, *tokenizers, *variant, *text_cache;
    cli_loras lora;
    bool lora_merge, ignore_contract;
} model_args;

/* m: the model_args member of the args type. The networks alone: */
#define NETWORK_OPTIONS(args, m)                                                                                                           \
    { .kind = OPT_GROUP, .help = "Model" },                                                                                                \
    { OPT_DIR, "model", offsetof(args, m.model), 0, 0, NULL,                                                                               \
      "diffusers folder or original single file; without it the installed small model", .letter = 'm', .meta = "DIR|FILE" },               \
    { OPT_DIR, "control-net", offsetof(args, m.control_net), 0, 0, NULL, "ControlNet folder or file; without it MODEL/controlnet",         \
      .meta = "DIR|FILE" },                                                                                                                \
    { OPT_DIR, "vae", offsetof(args, m.vae), 0, 0, NULL, "VAE in place of the model's own", .meta = "DIR|FILE" },                          \
    { OPT_TEXT, "variant", offsetof(args, m.variant), 0, 0, NULL, "weights named NAME.VARIANT.safetensors, for example fp16",              \
      .meta = "VARIANT" }
/* Text encoders and LoRAs too: */
#define MODEL_OPTIONS(args, m)                                                                                                             \
    NETWORK_OPTIONS(args, m),                                                                                                              \
    { OPT_LORA, "lora", offsetof(args, m.lora), -16, 16, NULL, "LoRA of any known layout, with its strength (1)" },                        \
    { OPT_FLAG, "lora-merge", offsetof(args, m.lora_merge), 0, 0, NULL, "add the LoRAs into copies of the weights rather than beside them" }, \
    { OPT_FLAG, "ignore-contract", offsetof(args, m.ignore_contract), 0, 0, NULL, "use a LoRA although it was trained under another contract" }, \
    { OPT_DIR, "clip-l", offsetof(args, m.clip_l), 0, 0, NULL, "first text encoder in place of the model's own", .meta = "DIR|FILE" },     \
    { OPT_DIR, "clip-g", offsetof(args, m.clip_g), 0, 0, NULL, "second text encoder in place of the model's own", .meta = "DIR|FILE" },    \
    { OPT_DIR, "t5", offsetof(args, m.t5), 0, 0, NULL, "third text encoder in place of the model's own", .meta = "DIR|FILE" },             \
    { OPT_DIR, "tokenizers", offsetof(args, m.tokenizers), 0, 0, NULL,                                                                     \
      "folder that holds tokenizer/, tokenizer_2/ and tokenizer_3/ in place of the model's" },                                             \
    { OPT_DIR, "text-cache", offsetof(args, m.text_cache), 0, 0, NULL, "keep encoded prompts in this folder, by content" }

/* What tress.h wants; views into m. */
tress_model_args model_args_of(const model_args *m);

#ifdef __cplusplus
}
#endif
#endif
