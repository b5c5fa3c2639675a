#include "cli.h"

#include <stdio.h>
#include <string.h>

#define WIDTH  100
#define COLUMN 32                                   /* where explanations begin */

static const char *meta_of(const cli_option *o)
{
    if (o->meta) return o->meta;
    switch (o->kind) {
    case OPT_PATH: case OPT_OUT: return "FILE";
    case OPT_DIR: return "DIR";
    case OPT_TEXT: case OPT_TEXTS: return "TEXT";
    case OPT_WORD: case OPT_CHOICE: return "WORD";
    case OPT_INT: case OPT_REAL: return "N";
    case OPT_BYTES: return "SIZE";
    case OPT_SEED: return "SEED";
    case OPT_SIZE: return "WxH";
    case OPT_PLACE: return "x,y,scale,rotate[,flip]";
    case OPT_INTS: return "N,N,...";
    case OPT_LORA: return "FILE[:weight]";
    case OPT_END: case OPT_GROUP: case OPT_FLAG: break;
    }
    return NULL;
}

/* A flag that must be turned off: its help says how. */
static bool is_on(const cli_option *o) { return o->kind == OPT_FLAG && o->value && strcmp(o->value, "true") == 0; }

/* "-p, --prompt TEXT" */
static const char *usage_of(const cli_option *o)
{
    const char *meta = meta_of(o);
    if (cli_is_place(o)) return cli_format("%s", o->name);
    const char *letter = o->letter ? cli_format("-%c, ", o->letter) : "    ";
    if (is_on(o)) return cli_format("%s--[no-]%s", letter, o->name);
    return meta ? cli_format("%s--%s %s", letter, o->name, meta) : cli_format("%s--%s", letter, o->name);
}

/* The explanation with its choices or range and its default. */
static const char *about(const cli_option *o)
{
    const char *s = o->help;
    if (o->choices) {
        const char *words = "";
        for (const char *c = o->choices; *c;) {
            const size_t len = strcspn(c, "|");
            words = cli_format("%s%s%.*s", words, *words ? ", " : "", (int)len, c);
            c += len + (c[len] == '|');
        }
        s = cli_format("%s; one of %s", s, words);
    }
    const bool number = o->kind == OPT_INT || o->kind == OPT_REAL || o->kind == OPT_INTS;
    const char *range = number && o->kind == OPT_REAL ? cli_format("%g to %g", o->min, o->max) : number ? cli_format("%.0f to %.0f", o->min, o->max) : NULL;
    const char *value = o->value && o->kind != OPT_FLAG ? (*o->value ? o->value : "\"\"") : NULL;
    if (o->required) s = cli_format("%s (required)", s);
    else if (range && value) s = cli_format("%s (%s, default %s)", s, range, value);
    else if (range) s = cli_format("%s (%s)", s, range);
    else if (value) s = cli_format("%s (default %s)", s, value);
    else if (is_on(o)) s = cli_format("%s (on)", s);
    if (cli_is_list(o)) s = cli_format("%s; may be given again", s);
    return s;
}

/* Words from column `left`, where the cursor stands, wrapped at WIDTH. */
static void wrap(const char *text, int left)
{
    int column = left;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (column > left && column + 1 + n > WIDTH) {
            printf("\n%*s", left, "");
            column = left;
        } else if (column > left) {
            putchar(' ');
            column++;
        }
        printf("%.*s", n, text);
        column += n;
        text += n;
        text += *text == ' ';
    }
    putchar('\n');
}

static void option_line(const cli_option *o)
{
    int n = printf("  %s", usage_of(o));
    if (n > COLUMN - 2) {
        putchar('\n');
        n = 0;
    }
    printf("%*s", COLUMN - n, "");
    wrap(about(o), COLUMN);
}

static const char *synopsis(const cli_command *c)
{
    const char *s = cli_format("tress %s", c->name);
    bool more = false;
    for (const cli_option *o = c->options; o->kind != OPT_END; o++) {
        if (o->kind == OPT_GROUP) continue;
        if (cli_is_place(o) && o->required) s = cli_format("%s %s", s, o->name);
        else if (cli_is_place(o)) s = cli_format("%s [%s]", s, o->name);
        else if (o->required) s = o->letter ? cli_format("%s -%c %s", s, o->letter, meta_of(o)) : cli_format("%s --%s %s", s, o->name, meta_of(o));
        else more = true;
    }
    return more ? cli_format("%s [options]", s) : s;
}

void cli_help(const cli_command *c)
{
    printf("tress %s: %s\n\nusage: %s\n", c->name, c->summary, synopsis(c));
    if (c->text) printf("\n%s", c->text);
    bool headed = false;
    for (const cli_option *o = c->options; o->kind != OPT_END; o++) {
        if (o->kind == OPT_GROUP) printf("\n%s\n", o->help);
        else if (!headed) printf("\n%s", cli_is_place(o) ? "" : "Options\n");
        if (o->kind != OPT_GROUP) option_line(o);
        headed = true;
    }
    printf("  -h, --help%*sthis page\n", COLUMN - 12, "");
    if (c->examples) printf("\nExamples\n%s", c->examples);
}

static const char exit_codes[] =
    "  0 done                     5 no usable GPU, or it failed\n"
    "  2 wrong usage              6 a file is missing, unreadable or unwritable\n"
    "  3 bad input                7 a computed value is not finite\n"
    "  4 out of memory            8 interrupted and saved, 130 interrupted\n";

void cli_help_all(void)
{
    printf("tress %s: photo-real hair from a sketch\n\nusage: tress COMMAND [options]\n\nCommands\n", tress_version());
    for (const cli_command *const *c = cli_commands; *c; c++) printf("  %-14s %s\n", (*c)->name, (*c)->summary);
    printf("\n  tress COMMAND --help explains a command; tress --version tells the version.\n"
           "\nTo begin\n"
           "  tress generate --sketch sketch.png -p \"red hair\" -o out.png\n"
           "  tress generate --sketch sketch.png --photo me.jpg --matte hair.png -p \"red hair\" -o out.png\n"
           "\nExit codes\n%s", exit_codes);
}

/* A cell of a Markdown table. */
static void cell(const char *s)
{
    for (; *s; s++) {
        if (*s == '|' || *s == '<' || *s == '*' || *s == '[') putchar('\\');
        putchar(*s);
    }
}

void cli_markdown(void)
{
    printf("# Commands\n\nMade by `make docs` from the tables that also make the parser and `--help`; a test holds this page to them.\n"
           "Every long option is a key of the JSON object that `--config FILE.json` reads; the command line wins.\n\n"
           "Results go to stdout; progress, notes and errors to stderr. Exit codes:\n\n```\n%s```\n", exit_codes);
    for (const cli_command *const *c = cli_commands; *c; c++) {
        printf("\n## tress %s\n\n%c%s.\n\n```\n%s\n```\n", (*c)->name, (*c)->summary[0] - (((*c)->summary[0] >= 'a' && (*c)->summary[0] <= 'z') ? 32 : 0),
               (*c)->summary + 1, synopsis(*c));
        if ((*c)->text) printf("\n```\n%s```\n", (*c)->text);
        bool open = false;
        for (const cli_option *o = (*c)->options; o->kind != OPT_END; o++) {
            if (o->kind == OPT_GROUP) printf("\n### %s\n", o->help);
            if (o->kind == OPT_GROUP || !open) printf("\n| option | what it does |\n|---|---|\n");
            open = true;
            if (o->kind == OPT_GROUP) continue;
            const char *u = usage_of(o);
            printf("| `%s` | ", u + strspn(u, " "));
            cell(about(o));
            printf(" |\n");
        }
        if ((*c)->examples) printf("\n```\n%s```\n", (*c)->examples);
    }
}
