/* tress convert: weights from one layout or number type into another. And tress lora merge, which adds
 * adapters on the way. */
#include "cli.h"

#include <stdio.h>

#define CONVERT_OPTIONS(args, m)                                                                                                           \
    { .kind = OPT_GROUP, .help = "What to write" },                                                                                        \
    { OPT_WORD, "dtype", offsetof(args, m.dtype), 0, 0, NULL, "type of the numbers; without it as they are stored", .choices = "f32|f16|bf16|f8e4m3" }, \
    { OPT_TEXT, "modules", offsetof(args, m.modules), 0, 0, NULL, "only these, with commas between: transformer, controlnet, vae, text_encoder, text_encoder_2, text_encoder_3", \
      .meta = "LIST" },                                                                                                                    \
    { OPT_TEXT, "variant", offsetof(args, m.variant), 0, 0, NULL, "read weights named NAME.VARIANT.safetensors", .meta = "VARIANT" },      \
    { OPT_DIR, "tokenizers", offsetof(args, m.tokenizers), 0, 0, NULL, "folder that holds tokenizer/, tokenizer_2/, tokenizer_3/ for a new model folder" }, \
    { OPT_BYTES, "shard-size", offsetof(args, m.shard_bytes), 0, 0, "5GB", "files of a folder are at most about this large" }

typedef struct convert_args {
    cli_common common;
    tress_convert_args c;
} convert_args;

static const cli_option convert_options[] = {
    { OPT_DIR, "FROM", offsetof(convert_args, c.from), 0, 0, NULL, "model folder, module folder or single file", .required = true },
    { OPT_OUT, "TO", offsetof(convert_args, c.to), 0, 0, NULL, "NAME.safetensors: one file in the original layout; else a new diffusers folder", .required = true },
    CONVERT_OPTIONS(convert_args, c),
    CLI_MACHINE(convert_args),
    { .kind = OPT_END },
};

static tress_status run_convert(tress *t, const void *args)
{
    const convert_args *a = args;
    tress_status st = tress_convert(t, &a->c);
    if (st == TRESS_OK) printf("%s\n", a->c.to);
    return st;
}

const cli_command cli_convert = {
    "convert", "turn weights into another layout or number type", sizeof(convert_args), convert_options, run_convert,
    .text = "Streams: a model of any size needs a few MiB of memory. What is written appears whole or not at all.\n",
    .examples = "  tress convert sd3.5_large.safetensors sd3.5-large --dtype bf16\n  tress convert sd3.5-large sd3.5_large.safetensors\n",
};

typedef struct merge_args {
    cli_common common;
    tress_convert_args c;
    cli_loras lora;
} merge_args;

static const cli_option merge_options[] = {
    { OPT_DIR, "FROM", offsetof(merge_args, c.from), 0, 0, NULL, "model folder, module folder or single file", .required = true },
    { OPT_OUT, "TO", offsetof(merge_args, c.to), 0, 0, NULL, "NAME.safetensors: one file in the original layout; else a new diffusers folder", .required = true },
    { OPT_LORA, "lora", offsetof(merge_args, lora), -16, 16, NULL, "LoRA to add, with its strength (1); at least one" },
    CONVERT_OPTIONS(merge_args, c),
    CLI_MACHINE(merge_args),
    { .kind = OPT_END },
};

static tress_status run_merge(tress *t, const void *args)
{
    const merge_args *a = args;
    if (a->lora.n == 0) return cli_fail(TRESS_E_ARG, "--lora is missing: name at least one");
    tress_status st = tress_lora_merge(t, &a->c, a->lora.item, a->lora.n);
    if (st == TRESS_OK) printf("%s\n", a->c.to);
    return st;
}

const cli_command cli_lora_merge = {
    "lora merge", "add LoRAs into a model's weights", sizeof(merge_args), merge_options, run_merge,
    .examples = "  tress lora merge sd3.5-large sd3.5-large-braid --lora braid.safetensors:0.8 --dtype bf16\n",
};
