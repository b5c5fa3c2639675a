#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The command that argv begins with and how many words its name has; NULL: none. */
static const cli_command *find(int argc, char **argv, int *n_word)
{
    for (const cli_command *const *c = cli_commands; *c; c++) {
        const char *space = strchr((*c)->name, ' ');
        const size_t n = space ? (size_t)(space - (*c)->name) : strlen((*c)->name);
        if (strlen(argv[0]) != n || memcmp(argv[0], (*c)->name, n) != 0) continue;
        if (space && (argc < 2 || strcmp(argv[1], space + 1) != 0)) continue;
        *n_word = space ? 2 : 1;
        return *c;
    }
    return NULL;
}

static bool is_family(const char *word)
{
    for (const cli_command *const *c = cli_commands; *c; c++)
        if (strncmp((*c)->name, word, strlen(word)) == 0 && (*c)->name[strlen(word)] == ' ') return true;
    return false;
}

static tress_status unknown(int argc, char **argv)
{
    const char *names[64], *word = argv[0];
    int n = 0;
    if (is_family(word)) {
        const char *list = "";
        for (const cli_command *const *c = cli_commands; *c; c++)
            if (strncmp((*c)->name, word, strlen(word)) == 0) list = cli_format("%s%stress %s", list, *list ? ", " : "", (*c)->name);
        return argc > 1 ? cli_fail(TRESS_E_ARG, "tress %s has no command \"%s\": there are %s", word, argv[1], list)
                        : cli_fail(TRESS_E_ARG, "tress %s needs a command: there are %s", word, list);
    }
    for (const cli_command *const *c = cli_commands; *c && n < 62; c++) names[n++] = cli_copy((*c)->name, strcspn((*c)->name, " "));
    names[n++] = "help";
    const char *near = cli_nearest(word + strspn(word, "-"), names, n);
    return near ? cli_fail(TRESS_E_ARG, "unknown command \"%s\": did you mean %s?", word, near)
                : cli_fail(TRESS_E_ARG, "unknown command \"%s\": see tress --help", word);
}

static tress_status run(const cli_command *c, int argc, char **argv)
{
    tress *t = NULL;
    bool help = false;
    void *args = cli_alloc(c->size);
    if (!cli_parse(c, args, argc, argv, &help)) return cli_status();
    if (help) {
        cli_help(c);
        return TRESS_OK;
    }
    if (c->no_handle) return c->run(NULL, args);
    const cli_common *common = args;
    cli_progress_init(common->quiet);
    const tress_options options = {
        .backend = common->backend == TRESS_BACKEND_AUTO && !c->gpu ? TRESS_BACKEND_CPU : (tress_backend)common->backend, .dtype = common->dtype,
        .n_thread = common->n_thread, .memory_max = common->memory_max, .max_vram = (int64_t)(common->vram * 0x1p30), .plan_only = c->plans,
        .hooks = cli_progress_hooks(),
    };
    tress_status st = tress_new(&t, &options);
    if (st == TRESS_OK) st = c->run(t, args);
    tress_free(t);
    return st;
}

static tress_status dispatch(int argc, char **argv)
{
    int n_word = 0;
    if (argc == 0) return cli_fail(TRESS_E_ARG, "a command is missing: see tress --help");
    const bool is_help = strcmp(argv[0], "help") == 0;
    if (is_help && argc == 2 && strcmp(argv[1], "--markdown") == 0) return cli_markdown(), TRESS_OK;
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || (is_help && argc == 1)) return cli_help_all(), TRESS_OK;
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "-V") == 0 || strcmp(argv[0], "version") == 0)
        return printf("tress %s\n", tress_version()), TRESS_OK;
    if (is_help) argc--, argv++;
    const cli_command *c = find(argc, argv, &n_word);
    if (!c && argc == 2 && is_family(argv[0]) && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) return cli_help_all(), TRESS_OK;
    if (!c && is_help && argc == 1 && is_family(argv[0])) return cli_help_all(), TRESS_OK;
    if (!c) return unknown(argc, argv);
    if (is_help) return cli_help(c), TRESS_OK;
    return run(c, argc - n_word, argv + n_word);
}

int main(int argc, char **argv)
{
    cli_signals_init();
    tress_status st = dispatch(argc - 1, argv + 1);
    cli_progress_clear();
    if (st != TRESS_OK) cli_line("tress: ", cli_status() != TRESS_OK ? cli_message() : tress_last_error());
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (st == TRESS_OK) cli_line("tress: ", cli_format("stdout cannot be written: %s", strerror(errno)));
        if (st == TRESS_OK) st = TRESS_E_IO;
    }
    cli_free_all();
    return tress_exit_code(st);
}
