/* tress completions: what a shell reads to complete tress. */
#include "cli.h"

typedef struct completions_args {
    cli_common  common;
    const char *shell;
} completions_args;

static const cli_option options[] = {
    { OPT_WORD, "SHELL", offsetof(completions_args, shell), 0, 0, NULL, "whose", .required = true, .choices = "bash|zsh|fish" },
    { .kind = OPT_END },
};

static tress_status run(tress *t, const void *args)
{
    const completions_args *a = args;
    (void)t;
    return cli_completions(a->shell) ? TRESS_OK : cli_fail(TRESS_E_ARG, "SHELL is \"%s\", expected bash, zsh or fish", a->shell);
}

const cli_command cli_completions_cmd = {
    "completions", "print completions for a shell", sizeof(completions_args), options, run,
    .examples = "  tress completions bash > ~/.local/share/bash-completion/completions/tress\n"
                "  tress completions zsh > ~/.zfunc/_tress\n"
                "  tress completions fish > ~/.config/fish/completions/tress.fish\n",
    .no_handle = true,
};
