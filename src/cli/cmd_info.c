/* tress info: the machine, back ends and versions. */
#include "cli.h"

#include <stdio.h>

typedef struct info_args {
    cli_common common;
    bool json;
} info_args;

static const cli_option options[] = {
    { OPT_FLAG, "json", offsetof(info_args, json), 0, 0, NULL, "one JSON object rather than lines for people" },
    CLI_MACHINE(info_args),
    { .kind = OPT_END },
};

static tress_status run(tress *t, const void *args)
{
    const info_args *a = args;
    char *text = NULL;
    tress_status st = tress_info(t, a->json, &text);
    if (st == TRESS_OK) fputs(text, stdout);
    tress_text_free(text);
    return st;
}

const cli_command cli_info = { "info", "show the machine, the back ends and the versions", sizeof(info_args), options, run };
