/* tress lora info and convert: look into adapters, and turn them into the layout of another program. */
#include "cli.h"

#include <stdio.h>

typedef struct info_args {
    cli_common  common;
    const char *file;
    bool        json;
} info_args;

static const cli_option info_options[] = {
    { OPT_PATH, "FILE", offsetof(info_args, file), 0, 0, NULL, "LoRA file of any known layout, or a PEFT folder", .required = true },
    { OPT_FLAG, "json", offsetof(info_args, json), 0, 0, NULL, "one JSON object rather than lines for people" },
    CLI_MACHINE(info_args),
    { .kind = OPT_END },
};

static tress_status run_info(tress *t, const void *args)
{
    const info_args *a = args;
    char *text = NULL;
    tress_status st = tress_lora_info(t, a->file, a->json, &text);
    if (st == TRESS_OK) fputs(text, stdout);
    tress_text_free(text);
    return st;
}

const cli_command cli_lora_info = {
    "lora info", "show a LoRA's layout, layers, ranks and contract", sizeof(info_args), info_options, run_info,
    .examples = "  tress lora info braid.safetensors\n",
};

typedef struct lora_args {
    cli_common common;
    tress_lora_convert_args c;
} lora_args;

static const cli_option lora_options[] = {
    { OPT_PATH, "FROM", offsetof(lora_args, c.from), 0, 0, NULL, "LoRA file of any known layout, or a PEFT folder", .required = true },
    { OPT_OUT, "TO", offsetof(lora_args, c.to), 0, 0, NULL, "the new file; a folder for peft", .required = true },
    { .kind = OPT_GROUP, .help = "What to write" },
    { OPT_WORD, "format", offsetof(lora_args, c.format), 0, 0, "diffusers", "keys and scales as this program reads them",
      .choices = "diffusers|peft|kohya|comfyui|onetrainer" },
    { OPT_FLAG, "drop-text-encoders", offsetof(lora_args, c.drop_text_encoders), 0, 0, NULL, "leave adapters of text encoders out; else they are refused" },
    CLI_MACHINE(lora_args),
    { .kind = OPT_END },
};

static tress_status run_lora(tress *t, const void *args)
{
    const lora_args *a = args;
    tress_status st = tress_lora_convert(t, &a->c);
    if (st == TRESS_OK) printf("%s\n", a->c.to);
    return st;
}

const cli_command cli_lora_convert = {
    "lora convert", "turn a LoRA into the layout of another program", sizeof(lora_args), lora_options, run_lora,
    .examples = "  tress lora convert braid.safetensors braid-kohya.safetensors --format kohya\n",
};
