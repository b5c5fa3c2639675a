/* tress check: is a data set fit to train on? */
#include "cli.h"

#include <stdio.h>

typedef struct check_args {
    cli_common  common;
    const char *data, *sheet;
    bool        json;
} check_args;

static const cli_option options[] = {
    { OPT_DIR, "data", offsetof(check_args, data), 0, 0, NULL, "folder with img/, matte/ and sketch/, paired by name; also with train/ and test/", .required = true },
    { OPT_OUT, "sheet", offsetof(check_args, sheet), 0, 0, NULL, "contact sheet: photos with mattes in red and strokes in green (.png, .jpg, .webp)" },
    { OPT_FLAG, "json", offsetof(check_args, json), 0, 0, NULL, "one JSON object rather than lines for people" },
    CLI_MACHINE(check_args),
    { .kind = OPT_END },
};

static tress_status run(tress *t, const void *args)
{
    const check_args *a = args;
    char *report = NULL;
    tress_status st = a->sheet ? cli_check_out("--sheet", a->sheet, "png|jpg|jpeg|webp") : TRESS_OK;
    if (st == TRESS_OK) st = tress_check(t, &(tress_check_args){ .data = a->data, .sheet = a->sheet, .json = a->json }, &report);
    cli_progress_clear();
    if (report) fputs(report, stdout);                    /* also of unfit data */
    tress_text_free(report);
    return st;
}

const cli_command cli_check = {
    "check", "look through a data set: what is unfit to train on, and what is odd", sizeof(check_args), options, run,
    .text = "Every file is decoded, and every problem is named with its file. Unfit data is exit code 3: unpaired or broken files, sizes that\n"
            "differ, mattes that are empty, full or inverted, empty sketches. Warnings leave it at 0.\n",
    .examples = "  tress check --data dataset/braid --sheet braid.png\n"
                "  tress check --data dataset/braid --json\n",
};
