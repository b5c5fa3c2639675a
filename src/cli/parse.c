#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Edit distance with swapped neighbours (Damerau), both words short. */
static int distance(const char *a, const char *b)
{
    enum { N = 48 };
    int d[N + 1][N + 1];
    const int n = (int)strlen(a), m = (int)strlen(b);
    if (n > N || m > N) return 2 * N;
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *cli_nearest(const char *word, const char *const *words, int n)
{
    const char *best = NULL;
    const int len = (int)strlen(word);
    int least = (len < 4 ? 1 : len < 9 ? 2 : 3) + 1;
    for (int i = 0; i < n; i++) {
        int k = distance(word, words[i]);
        if (len >= 3 && strncmp(word, words[i], (size_t)len) == 0) k = 1;        /* an abbreviation */
        if (k < least) {
            least = k;
            best = words[i];
        }
    }
    return best;
}

static const cli_option *find_name(const cli_command *c, const char *name, size_t n)
{
    for (const cli_option *o = c->options; o->kind != OPT_END; o++)
        if (o->kind != OPT_GROUP && !cli_is_place(o) && strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    return NULL;
}

static const cli_option *find_letter(const cli_command *c, char letter)
{
    for (const cli_option *o = c->options; o->kind != OPT_END; o++)
        if (letter && o->letter == letter) return o;
    return NULL;
}

static const cli_option *find_place(const cli_command *c, int i)
{
    for (const cli_option *o = c->options; o->kind != OPT_END; o++)
        if (cli_is_place(o) && i-- == 0) return o;
    return NULL;
}

static bool unknown(const cli_command *c, const char *word)
{
    const char *names[256];
    int n = 0;
    for (const cli_option *o = c->options; o->kind != OPT_END && n < 255; o++)
        if (o->kind != OPT_GROUP && !cli_is_place(o)) names[n++] = o->name;
    names[n++] = "help";
    const size_t len = strcspn(word, "=");
    const char *dashes = word + strspn(word, "-");
    const char *near = cli_nearest(cli_copy(dashes, len - (size_t)(dashes - word)), names, n);
    if (near) cli_fail(TRESS_E_ARG, "unknown option %.*s of tress %s: did you mean --%s?", (int)len, word, c->name, near);
    else cli_fail(TRESS_E_ARG, "unknown option %.*s of tress %s: see tress %s --help", (int)len, word, c->name, c->name);
    return false;
}

typedef struct given { const cli_option *o; const char *text; const char *name; } given;

/* One option of argv[*i], its value and how messages call it. */
static bool next_option(const cli_command *c, given *g, int argc, char **argv, int *i)
{
    const char *word = argv[*i], *value = NULL;
    const cli_option *o = NULL;
    bool off = false;
    if (word[1] == '-') {
        const size_t n = strcspn(word + 2, "=");
        o = find_name(c, word + 2, n);
        if (!o && strncmp(word, "--no-", 5) == 0) {
            o = find_name(c, word + 5, n - 3);
            off = o && o->kind == OPT_FLAG;
            if (!off) o = NULL;
        }
        if (word[2 + n] == '=') value = word + 2 + n + 1;
    } else {
        o = find_letter(c, word[1]);
        if (o && word[2]) value = word + 2 + (word[2] == '=');
    }
    if (!o) return unknown(c, word);
    *g = (given){ o, value, cli_format("--%s", o->name) };
    if (o->kind == OPT_FLAG) {
        if (value) {
            cli_fail(TRESS_E_ARG, "--%s takes no value, \"%s\" was given", o->name, value);
            return false;
        }
        g->text = off ? "false" : "true";
        return true;
    }
    if (!value) {
        if (*i + 1 >= argc || (argv[*i + 1][0] == '-' && argv[*i + 1][1] == '-' && argv[*i + 1][2])) {
            cli_fail(TRESS_E_ARG, "--%s needs a value: %s", o->name, o->help);
            return false;
        }
        g->text = argv[++*i];
    }
    return true;
}

static bool set_all(void *args, const given *list, int n)
{
    for (int i = 0; i < n; i++) {
        bool again = false;                         /* a list of the command line replaces that of --config */
        for (int k = 0; k < i; k++) again = again || list[k].o == list[i].o;
        if (!cli_set(list[i].o, args, list[i].text, list[i].name, again && cli_is_list(list[i].o))) return false;
    }
    return true;
}

bool cli_parse(const cli_command *c, void *args, int argc, char **argv, bool *help)
{
    given *list = cli_alloc((size_t)(argc + 1) * sizeof *list);
    int n = 0, n_place = 0;
    bool only_places = false;
    const char *config = NULL, *none = NULL;
    *help = false;
    for (const cli_option *o = c->options; o->kind != OPT_END; o++)
        if (o->value && !cli_set(o, args, o->value, o->name, false)) return false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!only_places && strcmp(word, "--") == 0) {
            only_places = true;
        } else if (!only_places && (strcmp(word, "--help") == 0 || (strcmp(word, "-h") == 0 && !find_letter(c, 'h')))) {
            *help = true;
            return true;
        } else if (!only_places && word[0] == '-' && word[1]) {
            if (!next_option(c, &list[n], argc, argv, &i)) return false;
            if (strcmp(list[n].o->name, "config") == 0) config = list[n].text;
            n++;
        } else {
            const cli_option *o = find_place(c, n_place++);
            if (!o) {
                cli_fail(TRESS_E_ARG, "\"%s\" is one argument too many for tress %s: see tress %s --help", word, c->name, c->name);
                return false;
            }
            list[n++] = (given){ o, word, o->name };
        }
    }
    if (!config && c->config_of) {
        if (!set_all(args, list, n)) return false;
        config = c->config_of(args);
        if (config && access(config, F_OK) != 0) none = config, config = NULL;
    }
    if (config && !cli_config(c, args, config)) return false;
    if (!set_all(args, list, n)) return false;
    for (const cli_option *o = c->options; o->kind != OPT_END; o++) {
        if (!o->required || *(const char **)((char *)args + o->offset)) continue;
        if (none) cli_fail(TRESS_E_ARG, "--%s is missing, and %s, which would tell it, is not there: name it here, or see tress %s --help", o->name, none, c->name);
        else if (cli_is_place(o)) cli_fail(TRESS_E_ARG, "%s is missing (%s): see tress %s --help", o->name, o->help, c->name);
        else cli_fail(TRESS_E_ARG, "--%s is missing (%s): see tress %s --help", o->name, o->help, c->name);
        return false;
    }
    return true;
}
