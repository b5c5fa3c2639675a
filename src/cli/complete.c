/* Shell completions from the option tables. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static bool is_file(const cli_option *o) { return o->kind == OPT_PATH || o->kind == OPT_DIR || o->kind == OPT_OUT || o->kind == OPT_LORA; }

/* "lora info" -> "lora_info" */
static const char *joined(const char *name)
{
    char *s = cli_copy(name, strlen(name));
    for (char *c = s; *c; c++)
        if (*c == ' ') *c = '_';
    return s;
}

/* "a|b|c" -> "a b c" */
static const char *spaced(const char *choices)
{
    char *s = cli_copy(choices, strlen(choices));
    for (char *c = s; *c; c++)
        if (*c == '|') *c = ' ';
    return s;
}

/* The first words of all commands, each once; the second words of "lora". */
static void print_words(const char *first, const char *sep)
{
    const char *last = "", *joint = "";
    for (const cli_command *const *c = cli_commands; *c; c++) {
        const char *name = (*c)->name;
        const size_t n = strcspn(name, " ");
        if (first) {
            if (strlen(first) != n || memcmp(first, name, n) != 0 || !name[n]) continue;
            printf("%s%s", joint, name + n + 1);
        } else {
            if (strlen(last) == n && memcmp(last, name, n) == 0) continue;
            printf("%s%.*s", joint, (int)n, name);
            last = cli_copy(name, n);
        }
        joint = sep;
    }
}

static void bash(void)
{
    printf("# bash completion of tress; made by: tress completions bash\n"
           "_tress()\n{\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]} opts= words=\n"
           "    COMPREPLY=()\n"
           "    if [[ $COMP_CWORD == 1 ]]; then\n"
           "        COMPREPLY=($(compgen -W '");
    print_words(NULL, " ");
    printf(" --help --version' -- \"$cur\"))\n        return\n    fi\n"
           "    if [[ $cmd == lora ]]; then\n"
           "        if [[ $COMP_CWORD == 2 ]]; then COMPREPLY=($(compgen -W '");
    print_words("lora", " ");
    printf("' -- \"$cur\")); return; fi\n"
           "        cmd=lora_${COMP_WORDS[2]}\n"
           "    fi\n"
           "    case $cmd in\n");
    for (const cli_command *const *c = cli_commands; *c; c++) {
        printf("    %s)\n        case $prev in\n", joined((*c)->name));
        for (const cli_option *o = (*c)->options; o->kind != OPT_END; o++) {
            if (o->kind == OPT_GROUP || o->kind == OPT_FLAG || cli_is_place(o)) continue;
            printf("        --%s", o->name);
            if (o->letter) printf("|-%c", o->letter);
            if (o->choices) printf(") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", spaced(o->choices));
            else if (o->kind == OPT_DIR) printf(") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
            else if (is_file(o)) printf(") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
            else printf(") return ;;\n");
        }
        printf("        esac\n        opts='--help");
        for (const cli_option *o = (*c)->options; o->kind != OPT_END; o++)
            if (o->kind != OPT_GROUP && !cli_is_place(o)) printf(" --%s", o->name);
        printf("' words='");
        for (const cli_option *o = (*c)->options; o->kind != OPT_END; o++)
            if (cli_is_place(o) && o->choices) printf("%s", spaced(o->choices));
        printf("' ;;\n");
    }
    printf("    esac\n"
           "    if [[ $cur == -* || -z $cur ]]; then COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\")); fi\n"
           "    if [[ $cur != -* ]]; then compopt -o filenames; COMPREPLY+=($(compgen -W \"$words\" -f -- \"$cur\")); fi\n"
           "}\n"
           "complete -F _tress tress\n");
}

/* Inside single quotes and [] of _arguments. */
static void zsh_text(const char *s)
{
    for (; *s; s++) {
        if (*s == '\'') printf("'\\''");
        else if (*s == '[' || *s == ']' || *s == ':' || *s == '\\') printf("\\%c", *s);
        else putchar(*s);
    }
}

static void zsh(void)
{
    printf("#compdef tress\n# zsh completion of tress; made by: tress completions zsh\n_tress() {\n    local cmd=$words[2]\n"
           "    if (( CURRENT == 2 )); then\n        local -a commands=(");
    const char *last = "";
    for (const cli_command *const *c = cli_commands; *c; c++) {
        const size_t n = strcspn((*c)->name, " ");
        if (strlen(last) == n && memcmp(last, (*c)->name, n) == 0) continue;
        last = cli_copy((*c)->name, n);
        printf("\n            '%s:", last);
        zsh_text((*c)->name[n] ? "look into, convert and merge adapters" : (*c)->summary);
        printf("'");
    }
    printf(")\n        _describe command commands\n        return\n    fi\n"
           "    if [[ $cmd == lora ]]; then\n        if (( CURRENT == 3 )); then compadd ");
    print_words("lora", " ");
    printf("; return; fi\n        cmd=lora_$words[3]; shift words; (( CURRENT-- ))\n    fi\n"
           "    shift words; (( CURRENT-- ))\n    case $cmd in\n");
    for (const cli_command *const *c = cli_commands; *c; c++) {
        printf("    %s) _arguments '(-h --help)'{-h,--help}'[explain the command]'", joined((*c)->name));
        for (const cli_option *o = (*c)->options; o->kind != OPT_END; o++) {
            if (o->kind == OPT_GROUP) continue;
            printf(" \\\n        ");
            if (cli_is_place(o)) {
                printf("'%s%s", o->required ? ":" : "::", o->name);
            } else {
                if (o->letter) printf("%s'(-%c --%s)'{-%c,--%s}'[", cli_is_list(o) ? "\\*" : "", o->letter, o->name, o->letter, o->name);
                else printf("'%s--%s[", cli_is_list(o) ? "*" : "", o->name);
                zsh_text(o->help);
                printf("]");
                if (o->kind != OPT_FLAG) printf(":%s", o->name);
            }
            if (o->choices) printf(":(%s)", spaced(o->choices));
            else if (is_file(o)) printf(":_files");
            else if (o->kind != OPT_FLAG || cli_is_place(o)) printf(": ");
            printf("'");
        }
        printf(" ;;\n");
    }
    printf("    esac\n}\n_tress \"$@\"\n");
}

static void fish_text(const char *s)
{
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\') putchar('\\');
        putchar(*s);
    }
}

static void fish(void)
{
    printf("# fish completion of tress; made by: tress completions fish\n");
    const char *last = "";
    for (const cli_command *const *c = cli_commands; *c; c++) {
        const char *name = (*c)->name;
        const size_t n = strcspn(name, " ");
        if (strlen(last) != n || memcmp(last, name, n) != 0) {
            last = cli_copy(name, n);
            printf("complete -c tress -n __fish_use_subcommand -f -a %s -d '", last);
            fish_text(name[n] ? "look into, convert and merge adapters" : (*c)->summary);
            printf("'\n");
        }
        const char *when = name[n] ? cli_format("'__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s'", (int)n, name, name + n + 1)
                                   : cli_format("'__fish_seen_subcommand_from %s'", name);
        if (name[n]) {
            printf("complete -c tress -n '__fish_seen_subcommand_from %.*s; and not __fish_seen_subcommand_from %s' -f -a %s -d '", (int)n, name,
                   "info convert merge", name + n + 1);
            fish_text((*c)->summary);
            printf("'\n");
        }
        for (const cli_option *o = (*c)->options; o->kind != OPT_END; o++) {
            if (o->kind == OPT_GROUP) continue;
            if (cli_is_place(o)) {
                if (o->choices) printf("complete -c tress -n %s -f -a '%s'\n", when, spaced(o->choices));
                continue;
            }
            printf("complete -c tress -n %s -l %s", when, o->name);
            if (o->letter) printf(" -s %c", o->letter);
            if (o->kind != OPT_FLAG) printf(is_file(o) ? " -r -F" : " -x");
            if (o->choices) printf(" -a '%s'", spaced(o->choices));
            printf(" -d '");
            fish_text(o->help);
            printf("'\n");
        }
    }
}

bool cli_completions(const char *shell)
{
    if (strcmp(shell, "bash") == 0) bash();
    else if (strcmp(shell, "zsh") == 0) zsh();
    else if (strcmp(shell, "fish") == 0) fish();
    else return false;
    return true;
}
