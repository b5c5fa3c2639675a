/* tress pull: weights from the Hugging Face hub. */
#include "cli.h"

#include <stdio.h>

typedef struct pull_args {
    cli_common  common;
    const char *repo, *to, *revision, *variant;
    cli_texts   include, exclude;
    bool        dry_run;
} pull_args;

static const cli_option options[] = {
    { OPT_TEXT, "REPO", offsetof(pull_args, repo), 0, 0, NULL, "for example stabilityai/stable-diffusion-3.5-large", .required = true },
    { OPT_OUT, "TO", offsetof(pull_args, to), 0, 0, NULL, "folder for the files; without it the last part of REPO" },
    { .kind = OPT_GROUP, .help = "What to fetch" },
    { OPT_TEXT, "revision", offsetof(pull_args, revision), 0, 0, "main", "branch, tag or commit", .meta = "NAME" },
    { OPT_TEXT, "variant", offsetof(pull_args, variant), 0, 0, NULL, "weights of this variant where there are some, for example fp16", .meta = "VARIANT" },
    { OPT_TEXTS, "include", offsetof(pull_args, include), 0, 0, NULL, "only files that match, for example 'vae/*'; without it what tress reads", .meta = "PATTERN" },
    { OPT_TEXTS, "exclude", offsetof(pull_args, exclude), 0, 0, NULL, "leave out files that match", .meta = "PATTERN" },
    { OPT_FLAG, "dry-run", offsetof(pull_args, dry_run), 0, 0, NULL, "say what would be fetched, but fetch nothing" },
    { .kind = OPT_GROUP, .help = "Words" },
    CLI_WORDS(pull_args),
    { .kind = OPT_END },
};

static tress_status run(tress *t, const void *args)
{
    const pull_args *a = args;
    char *report = NULL;
    tress_status st = tress_pull(t, &(tress_pull_args){ .repo = a->repo, .revision = a->revision, .to = a->to, .include = a->include.item,
                                                        .n_include = a->include.n, .exclude = a->exclude.item, .n_exclude = a->exclude.n,
                                                        .variant = a->variant, .dry_run = a->dry_run }, &report);
    if (st == TRESS_OK) fputs(report, stdout);
    tress_text_free(report);
    return st;
}

const cli_command cli_pull = {
    "pull", "fetch weights from the Hugging Face hub", sizeof(pull_args), options, run,
    .text = "Fetches the diffusers folder of a model without the single files that double it. An interrupted fetch goes on\n"
            "where it stopped; large files are checked against the hub's SHA-256. Gated models such as SD3.5 need their\n"
            "licence accepted on the model's page and a token: HF_TOKEN, or what the hub's own client has stored.\n"
            "HF_ENDPOINT names another server with the same layout.\n",
    .examples = "  HF_TOKEN=hf_... tress pull stabilityai/stable-diffusion-3.5-large\n"
                "  tress pull stabilityai/stable-diffusion-3.5-large-controlnet-canny sd3.5-large/controlnet\n"
                "  tress pull stabilityai/stable-diffusion-3.5-medium --include 'vae/*' --dry-run\n",
};
