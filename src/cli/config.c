#include "cli.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_MAX 1048576                          /* bytes: a run's configuration is a page */

/* A JSON value as one would type it on the command line; NULL: not of the option's kind. */
static const char *as_typed(const cli_option *o, const json_t *v)
{
    switch (o->kind) {
    case OPT_FLAG: return json_is_boolean(v) ? (json_is_true(v) ? "true" : "false") : NULL;
    case OPT_INT: return json_is_integer(v) ? cli_format("%" JSON_INTEGER_FORMAT, json_integer_value(v)) : NULL;
    case OPT_REAL: return json_is_number(v) ? cli_format("%.17g", json_number_value(v)) : NULL;
    case OPT_SEED: case OPT_BYTES:
        if (json_is_integer(v)) return cli_format("%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    default: break;
    }
    return json_is_string(v) ? cli_copy(json_string_value(v), json_string_length(v)) : NULL;
}

static bool wrong_kind(const cli_option *o, const char *name)
{
    const char *want = o->kind == OPT_FLAG ? "true or false" : o->kind == OPT_INT ? "a whole number" : o->kind == OPT_REAL ? "a number" :
                       cli_is_list(o) ? "a string or an array of strings" : o->kind == OPT_INTS ? "an array of whole numbers" : "a string";
    cli_fail(TRESS_E_ARG, "%s is not %s", name, want);
    return false;
}

static bool set_key(const cli_option *o, void *args, const json_t *v, const char *name)
{
    if (json_is_array(v) && cli_is_list(o)) {
        cli_clear(o, args);
        for (size_t i = 0; i < json_array_size(v); i++) {
            const char *text = as_typed(o, json_array_get(v, i));
            if (!text) return wrong_kind(o, name);
            if (!cli_set(o, args, text, name, true)) return false;
        }
        return true;
    }
    if (json_is_array(v) && o->kind == OPT_INTS) {
        const char *text = "";
        for (size_t i = 0; i < json_array_size(v); i++) {
            const json_t *x = json_array_get(v, i);
            if (!json_is_integer(x)) return wrong_kind(o, name);
            text = cli_format("%s%s%" JSON_INTEGER_FORMAT, text, i ? "," : "", json_integer_value(x));
        }
        return cli_set(o, args, text, name, false);
    }
    const char *text = as_typed(o, v);
    return text ? cli_set(o, args, text, name, false) : wrong_kind(o, name);
}

static json_t *load(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        cli_check_in("--config", path);             /* says why */
        return NULL;
    }
    char *text = cli_alloc(CONFIG_MAX + 1);
    const size_t n = fread(text, 1, CONFIG_MAX + 1, f);
    const bool failed = ferror(f) != 0;
    fclose(f);
    if (failed || n > CONFIG_MAX) {
        if (failed) cli_fail(TRESS_E_IO, "%s: cannot be read", path);
        else cli_fail(TRESS_E_FORMAT, "%s: has more than a MiB, which no configuration has", path);
        return NULL;
    }
    json_error_t e;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!o) cli_fail(TRESS_E_FORMAT, "%s: bad JSON at line %d, column %d: %s", path, e.line, e.column, e.text);
    else if (!json_is_object(o)) cli_fail(TRESS_E_FORMAT, "%s: is not a JSON object", path);
    else return o;
    json_decref(o);
    return NULL;
}

static bool knows(const cli_command *c, const char *key)
{
    for (const cli_option *o = c->options; o->kind != OPT_END; o++)
        if (o->kind != OPT_GROUP && !cli_is_place(o) && strcmp(o->name, key) == 0) return true;
    return false;
}

bool cli_config(const cli_command *c, void *args, const char *path)
{
    const char *key, *names[256];
    json_t *v, *root = load(path);
    bool ok = root != NULL;
    json_object_foreach(root, key, v) {
        const cli_option *o = c->options;
        int n = 0;
        for (; o->kind != OPT_END; o++) {
            if (o->kind == OPT_GROUP || cli_is_place(o) || strcmp(o->name, "config") == 0) continue;
            if (strcmp(o->name, key) == 0) break;
            if (n < 256) names[n++] = o->name;
        }
        const char *name = cli_format("%s: key \"%s\"", path, key);
        if (o->kind != OPT_END) {
            ok = set_key(o, args, v, name);
        } else if (!c->kin || !knows(c->kin, key)) {
            const char *near = cli_nearest(key, names, n);
            if (near) cli_fail(TRESS_E_ARG, "%s is not an option of tress %s: did you mean \"%s\"?", name, c->name, near);
            else cli_fail(TRESS_E_ARG, "%s is not an option of tress %s", name, c->name);
            ok = false;
        }
        if (!ok) break;
    }
    json_decref(root);
    return ok;
}
