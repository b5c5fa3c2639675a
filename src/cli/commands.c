/* The commands, in the order of help. */
#include "cli.h"

extern const cli_command cli_generate, cli_plan, cli_pull, cli_info, cli_convert, cli_lora_info, cli_lora_convert, cli_lora_merge,
                         cli_train, cli_plan_train, cli_check, cli_eval, cli_synth, cli_probe, cli_bench, cli_completions_cmd;

const cli_command *const cli_commands[] = {
    &cli_generate, &cli_train, &cli_check, &cli_eval, &cli_plan_train, &cli_plan, &cli_pull, &cli_info, &cli_convert, &cli_lora_info, &cli_lora_convert, &cli_lora_merge,
    &cli_synth, &cli_probe, &cli_bench, &cli_completions_cmd, NULL,
};
