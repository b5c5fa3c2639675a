/* tress eval: how good pictures of hair are, in numbers. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct eval_args {
    cli_common  common;
    const char *photo, *matte, *result, *sketch, *truth, *old_matte, *alpha, *data, *results, *colour, *light, *csv, *html;
    int         edit_grow;
} eval_args;

static const cli_option options[] = {
    { .kind = OPT_GROUP, .help = "One picture" },
    { OPT_PATH, "photo", offsetof(eval_args, photo), 0, 0, NULL, "the photo that the hair was drawn into" },
    { OPT_PATH, "matte", offsetof(eval_args, matte), 0, 0, NULL, "where the hair was to go" },
    { OPT_PATH, "result", offsetof(eval_args, result), 0, 0, NULL, "the picture to judge" },
    { OPT_PATH, "sketch", offsetof(eval_args, sketch), 0, 0, NULL, "the drawing it follows" },
    { OPT_PATH, "truth", offsetof(eval_args, truth), 0, 0, NULL, "the same picture as it should be" },
    { OPT_PATH, "old-matte", offsetof(eval_args, old_matte), 0, 0, NULL, "as of the drawing" },
    { OPT_PATH, "alpha", offsetof(eval_args, alpha), 0, 0, NULL, "what --alpha-out wrote; without it the alpha is made of the mattes as drawing makes it" },
    { .kind = OPT_GROUP, .help = "A folder of them" },
    { OPT_DIR, "data", offsetof(eval_args, data), 0, 0, NULL, "folder with img/, matte/, sketch/: img/ is the truth, and bald/, if it is there, the photos" },
    { OPT_DIR, "results", offsetof(eval_args, results), 0, 0, NULL, "what was drawn: NAME.png, or NAME-1.png, NAME-2.png, ..." },
    { .kind = OPT_GROUP, .help = "What was asked for" },
    { OPT_INT, "edit-grow", offsetof(eval_args, edit_grow), -1, 4096, "-1", "as of the drawing" },
    { OPT_TEXT, "colour", offsetof(eval_args, colour), 0, 0, NULL, "hair colour: a word, such as \"dark brown\", or #rrggbb; without it scenes.jsonl's" },
    { OPT_TEXT, "light", offsetof(eval_args, light), 0, 0, NULL, "x,y,z towards the light: right, down, to the viewer; without it scenes.jsonl's" },
    { .kind = OPT_GROUP, .help = "Reports" },
    { OPT_OUT, "csv", offsetof(eval_args, csv), 0, 0, NULL, "also write a table, a line a picture" },
    { OPT_OUT, "html", offsetof(eval_args, html), 0, 0, NULL, "also write a page with the pictures, which needs no other file" },
    CLI_MACHINE(eval_args),
    { .kind = OPT_END },
};

static bool read_light(double out[3], const char *text)
{
    const char *s = text;
    for (int i = 0; i < 3; i++) {
        char *end;
        out[i] = strtod(s, &end);
        if (end == s || *end != (i < 2 ? ',' : '\0') || !(out[i] >= -1e6 && out[i] <= 1e6)) return false;
        s = end + 1;
    }
    return true;
}

static tress_status check(tress_eval_args *e, const eval_args *a)
{
    tress_status st;
    if (!a->data != !a->results) return cli_fail(TRESS_E_ARG, "--data and --results need each other: pictures, and what was drawn for them");
    if (a->data && (a->photo || a->matte || a->result || a->sketch || a->truth || a->old_matte || a->alpha))
        return cli_fail(TRESS_E_ARG, "--data names a folder of pictures; --photo, --matte, --result and the like name one");
    if (!a->data && (!a->photo || !a->matte || !a->result)) return cli_fail(TRESS_E_ARG, "--photo, --matte and --result are needed, or --data and --results");
    if (a->csv && (st = cli_check_out("--csv", a->csv, "csv")) != TRESS_OK) return st;
    if (a->html && (st = cli_check_out("--html", a->html, "html|htm")) != TRESS_OK) return st;
    tress_eval_defaults(e);
    if (a->light && !read_light(e->light, a->light)) return cli_fail(TRESS_E_ARG, "--light \"%s\": expected x,y,z, such as -0.4,-0.6,0.7", a->light);
    e->has_light = a->light != NULL;
    e->photo = a->photo, e->matte = a->matte, e->result = a->result, e->sketch = a->sketch, e->truth = a->truth, e->old_matte = a->old_matte;
    e->alpha = a->alpha, e->data = a->data, e->results = a->results, e->colour = a->colour, e->csv = a->csv, e->html = a->html;
    e->edit_grow = a->edit_grow;
    return TRESS_OK;
}

static tress_status run(tress *t, const void *args)
{
    tress_eval_args e;
    char *report = NULL;
    tress_status st = check(&e, args);
    if (st == TRESS_OK) st = tress_eval(t, &e, &report);
    cli_progress_clear();
    if (report) fputs(report, stdout);
    tress_text_free(report);
    return st;
}

const cli_command cli_eval = {
    "eval", "measure pictures of hair: background, border, strokes, colour, light", sizeof(eval_args), options, run,
    .text = "Metrics that need no network, as JSON: what changed where nothing should, whether a border shows, whether the hair follows the\n"
            "strokes, its colour, and how near it comes to a known truth. What cannot be measured on a picture is null.\n",
    .examples = "  tress eval --photo me.jpg --matte hair.png --sketch sketch.png --result out.png\n"
                "  tress eval --data scenes --results drawn --html eval.html --csv eval.csv > eval.json\n",
};
