/* cli.h - the command line. A command is one file with one table of options; the table makes the parser, --help, the shell
 * completions, the keys of --config and docs/commands.md. Sees tress.h and nothing else of ours.
 * stdout is for results; progress, notes and errors go to stderr. */
#ifndef TRESS_CLI_CLI_H
#define TRESS_CLI_CLI_H

#include "tress.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cli_kind {                 /* what args + offset holds */
    OPT_END, OPT_GROUP,                 /* nothing; a heading, its text in help */
    OPT_PATH, OPT_DIR, OPT_OUT,         /* const char *: a file to read, a folder (or file) to read, a file to write */
    OPT_TEXT, OPT_WORD,                 /* const char *; one of choices */
    OPT_CHOICE,                         /* int: the place of the word in choices */
    OPT_FLAG,                           /* bool; --no-NAME turns it off again */
    OPT_INT, OPT_REAL, OPT_BYTES,       /* int, double, int64_t: "24GiB" */
    OPT_SEED,                           /* cli_seed: a number or "random" */
    OPT_SIZE,                           /* cli_size: "1024x1024" */
    OPT_PLACE,                          /* tress_place: x,y,scale,rotate[,flip] */
    OPT_INTS, OPT_TEXTS, OPT_LORA       /* cli_ints: 7,8,9; cli_texts, cli_loras: given again, they add up */
} cli_kind;

#define CLI_LIST_MAX 64
typedef struct cli_seed  { uint64_t value; bool random; } cli_seed;
typedef struct cli_size  { int width, height; } cli_size;
typedef struct cli_ints  { int item[CLI_LIST_MAX]; int n; } cli_ints;
typedef struct cli_texts { const char *item[CLI_LIST_MAX + 1]; int n; } cli_texts;
typedef struct cli_loras { tress_lora_ref item[CLI_LIST_MAX]; int n; } cli_loras;

typedef struct cli_option {
    cli_kind    kind;
    const char *name;                   /* in capitals: an argument by its place, else --name */
    size_t      offset;
    double      min, max;               /* of numbers and of each number of a list */
    const char *value;                  /* the default as one would type it; NULL: absent (NULL, 0, false) */
    const char *help;
    char        letter;                 /* -p for --prompt; 0: none */
    bool        required;
    const char *meta;                   /* how help calls the value; NULL: by the kind */
    const char *choices;                /* "auto|cpu|cuda" */
} cli_option;

/* What every command has; its args begin with it. */
typedef struct cli_common {
    int         backend;
    const char *dtype;
    int         n_thread;
    int64_t     memory_max;
    double      vram;                   /* GiB, of commands that have CLI_VRAM */
    bool        quiet;
    const char *config;
} cli_common;

typedef struct cli_command {
    const char       *name;             /* "generate", "lora info" */
    const char       *summary;          /* one line */
    size_t            size;             /* of args */
    const cli_option *options;
    tress_status    (*run)(tress *t, const void *args);
    const char       *text;             /* more for --help and docs; NULL: nothing */
    const char       *examples;         /* lines; NULL: none */
    bool              no_handle;        /* run gets t == NULL */
    bool              gpu;              /* --backend auto looks for a GPU; else it is the CPU */
    bool              plans;            /* nothing is computed: --backend cuda needs no card */
    const struct cli_command *kin;      /* keys of --config that only this command knows are passed over; NULL: they are mistakes */
    const char     *(*config_of)(const void *args);     /* a file that stands in for --config where none is named, if it is there; may be NULL */
} cli_command;

extern const cli_command *const cli_commands[];         /* ends in NULL, in the order of help */

#define CLI_MACHINE(args)                                                                                                           \
    { .kind = OPT_GROUP, .help = "Machine" },                                                                                       \
    { OPT_CHOICE, "backend", offsetof(args, common.backend), 0, 0, "auto", "where to compute; cuda without a usable GPU is exit 5", \
      .choices = "auto|cpu|cuda" },                                                                                                 \
    { OPT_WORD, "dtype", offsetof(args, common.dtype), 0, 0, NULL, "type of the activations; without it f16 on a GPU, f32 on the CPU", \
      .choices = "f32|f16|bf16" },                                                                                                  \
    { OPT_INT, "threads", offsetof(args, common.n_thread), 0, 4096, "0", "CPU threads; 0: every core; the result is the same bytes" }, \
    { OPT_BYTES, "memory-max", offsetof(args, common.memory_max), 0, 0, NULL, "refuse work that needs more host memory, for example 24GiB" }, \
    CLI_WORDS(args)
#define CLI_VRAM(args)                                                                                                              \
    { OPT_REAL, "max-vram", offsetof(args, common.vram), 0, 1e6, "0",                                                               \
      "what a GPU may give, CUDA itself included: weights that do not fit wait in host memory; 0: what is free there", .meta = "GiB" }
#define CLI_WORDS(args)                                                                                                             \
    { OPT_FLAG, "quiet", offsetof(args, common.quiet), 0, 0, NULL, "no progress and no notes", .letter = 'q' },                     \
    { OPT_PATH, "config", offsetof(args, common.config), 0, 0, NULL,                                                                \
      "read options from a JSON object with the long names as keys; the command line wins" }

/* ---- parse.c ----------------------------------------------------------------------------------------------- */
/* Defaults, then --config, then argv into args (zeroed, command->size bytes). false: cli_fail has the message.
 * *help is set when --help was among argv. */
bool cli_parse(const cli_command *c, void *args, int argc, char **argv, bool *help);
/* One value by its option. name is how the message calls it ("--steps", "key \"steps\" of run.json"). */
bool cli_set(const cli_option *o, void *args, const char *text, const char *name, bool add);
void cli_clear(const cli_option *o, void *args);        /* a list becomes empty */
bool cli_is_list(const cli_option *o);
bool cli_is_place(const cli_option *o);                 /* FILE rather than --file */
bool cli_config(const cli_command *c, void *args, const char *path);
/* The word of words[n] that was probably meant, or NULL. */
const char *cli_nearest(const char *word, const char *const *words, int n);

/* ---- text.c ------------------------------------------------------------------------------------------------ */
/* Keep the message for main to print, and return st (2, 3, 6 ... follow from it). */
tress_status cli_fail(tress_status st, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 2, 3)))
#endif
    ;
const char *cli_message(void);                          /* of the last cli_fail; "" if there was none */
tress_status cli_status(void);                          /* of the last cli_fail */
void  cli_note(const char *format, ...)                 /* "note: ..." to stderr, unless --quiet */
#ifdef __GNUC__
    __attribute__((format(printf, 1, 2)))
#endif
    ;
void  cli_line(const char *prefix, const char *text);   /* one line to stderr, control characters made harmless */
void *cli_alloc(size_t n);                              /* zeroed; freed by cli_free_all. Exits with 4 when there is no memory */
char *cli_copy(const char *s, size_t n);
char *cli_format(const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 1, 2)))
#endif
    ;
void  cli_free_all(void);

/* ---- help.c, complete.c ------------------------------------------------------------------------------------- */
void cli_help_all(void);                                /* to stdout */
void cli_help(const cli_command *c);
void cli_markdown(void);
bool cli_completions(const char *shell);                /* false: not a shell we know */

/* ---- progress.c --------------------------------------------------------------------------------------------- */
/* A bar on a terminal, plain lines elsewhere. */
void cli_progress_init(bool quiet);
tress_hooks cli_progress_hooks(void);
void cli_progress_clear(void);                          /* take the bar away before other words */
bool cli_is_quiet(void);
void cli_signals_init(void);                            /* INT and TERM end the work, the second at once with 130 */

/* ---- files.c ------------------------------------------------------------------------------------------------- */
/* Before work starts: can `path` be written? Its folder is there and may be written, it is no folder itself.
 * endings: "png|jpg|jpeg|webp", or NULL for any. */
tress_status cli_check_out(const char *option, const char *path, const char *endings);
tress_status cli_check_in(const char *option, const char *path);        /* a regular file that can be read: else TRESS_E_IO */
char *cli_numbered(const char *path, int i, int n);     /* OUT.png, or OUT-3.png when n > 1 */

#ifdef __cplusplus
}
#endif
#endif
