#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool bad(const char *name, const char *text, const char *expected)
{
    cli_fail(TRESS_E_ARG, "%s is \"%s\", expected %s", name, text, expected);
    return false;
}

/* Digits with at most a minus in front: no blanks, no plus, no hexadecimals, no tail. */
static bool read_int(const char *s, long long *out)
{
    const char *d = s + (*s == '-');
    if (!*d || d[strspn(d, "0123456789")]) return false;
    errno = 0;
    *out = strtoll(s, NULL, 10);
    return errno == 0;
}

static bool read_real(const char *s, double *out)
{
    char *end = NULL;
    if (!*s || s[strspn(s, "0123456789+-.eE")] || *s == '+') return false;
    *out = strtod(s, &end);
    return end != s && !*end && isfinite(*out);
}

static bool set_int(const cli_option *o, int *out, const char *text, const char *name)
{
    long long x = 0;
    if (!read_int(text, &x) || (double)x < o->min || (double)x > o->max) {
        char want[96];
        snprintf(want, sizeof want, "a whole number from %.0f to %.0f", o->min, o->max);
        return bad(name, text, want);
    }
    *out = (int)x;
    return true;
}

static bool set_real(const cli_option *o, double *out, const char *text, const char *name)
{
    if (!read_real(text, out) || !(*out >= o->min && *out <= o->max)) {
        char want[96];
        snprintf(want, sizeof want, "a number from %g to %g", o->min, o->max);
        return bad(name, text, want);
    }
    return true;
}

static bool set_bytes(int64_t *out, const char *text, const char *name)
{
    static const struct { const char *unit; double bytes; } unit[] = {
        { "", 1 }, { "KiB", 0x1p10 }, { "MiB", 0x1p20 }, { "GiB", 0x1p30 }, { "TiB", 0x1p40 }, { "kB", 1e3 }, { "MB", 1e6 }, { "GB", 1e9 }, { "TB", 1e12 },
    };
    const size_t n = strspn(text, "0123456789.");
    char number[32] = "";
    double x = 0;
    if (n > 0 && n < sizeof number) {
        memcpy(number, text, n);
        for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
            if (strcmp(text + n, unit[i].unit) == 0 && read_real(number, &x) && x * unit[i].bytes < 0x1p62) {
                *out = (int64_t)(x * unit[i].bytes);
                return true;
            }
    }
    return bad(name, text, "a number of bytes such as 500MB or 24GiB");
}

static bool set_seed(cli_seed *out, const char *text, const char *name)
{
    if (strcmp(text, "random") == 0) {
        *out = (cli_seed){ 0, true };
        return true;
    }
    errno = 0;
    const unsigned long long x = strtoull(text, NULL, 10);
    if (!*text || text[strspn(text, "0123456789")] || errno) return bad(name, text, "random or a whole number from 0 to 18446744073709551615");
    *out = (cli_seed){ x, false };
    return true;
}

static bool set_size(const cli_option *o, cli_size *out, const char *text, const char *name)
{
    char w[16] = "";
    long long x = 0, y = 0;
    const char *cross = strchr(text, 'x');
    if (cross && cross - text < (long)sizeof w) memcpy(w, text, (size_t)(cross - text));
    if (!cross || !read_int(w, &x) || !read_int(cross + 1, &y) || (double)x < o->min || (double)x > o->max || (double)y < o->min || (double)y > o->max) {
        char want[96];
        snprintf(want, sizeof want, "WIDTHxHEIGHT, each from %.0f to %.0f, such as 1024x1024", o->min, o->max);
        return bad(name, text, want);
    }
    *out = (cli_size){ (int)x, (int)y };
    return true;
}

/* The numbers of a comma list into x[max]; how many, or -1. */
static int split(const char *text, double *x, int max)
{
    int n = 0;
    for (const char *s = text;; s++) {
        const size_t len = strcspn(s, ",");
        char piece[64] = "";
        if (n == max || len >= sizeof piece) return -1;
        memcpy(piece, s, len);
        if (!read_real(piece, &x[n++])) return -1;
        s += len;
        if (!*s) return n;
    }
}

static bool set_place(tress_place *out, const char *text, const char *name)
{
    double v[5] = { 0 };
    const int n = split(text, v, 5);
    if (n < 4 || fabs(v[0]) > 1e6 || fabs(v[1]) > 1e6 || !(v[2] >= 0.01 && v[2] <= 100) || fabs(v[3]) > 360 || (n == 5 && v[4] != 0 && v[4] != 1))
        return bad(name, text, "x,y,scale,rotate[,flip]: the photo's pixel, scale 0.01 to 100, degrees -360 to 360, flip 0 or 1");
    *out = (tress_place){ .on = true, .x = v[0], .y = v[1], .scale = v[2], .rotate = v[3], .flip = v[4] != 0 };
    return true;
}

static bool set_ints(const cli_option *o, cli_ints *out, const char *text, const char *name)
{
    double v[CLI_LIST_MAX];
    const int n = split(text, v, CLI_LIST_MAX);
    bool ok = n > 0;
    for (int i = 0; ok && i < n; i++) ok = v[i] == floor(v[i]) && v[i] >= o->min && v[i] <= o->max;
    if (!ok) {
        char want[96];
        snprintf(want, sizeof want, "whole numbers from %.0f to %.0f with commas between, such as 7,8,9", o->min, o->max);
        return bad(name, text, want);
    }
    out->n = n;
    for (int i = 0; i < n; i++) out->item[i] = (int)v[i];
    return true;
}

/* FILE or FILE:weight. A colon belongs to the name unless a number follows it to the end. */
static bool set_lora(const cli_option *o, cli_loras *out, const char *text, const char *name)
{
    double weight = 1;
    const char *colon = strrchr(text, ':');
    size_t n = strlen(text);
    if (colon && read_real(colon + 1, &weight)) n = (size_t)(colon - text);
    else weight = 1;
    if (n == 0 || !(weight >= o->min && weight <= o->max)) {
        char want[96];
        snprintf(want, sizeof want, "FILE or FILE:weight with a weight from %g to %g", o->min, o->max);
        return bad(name, text, want);
    }
    if (out->n == CLI_LIST_MAX) return bad(name, text, "at most 64 of them");
    out->item[out->n++] = (tress_lora_ref){ cli_copy(text, n), (float)weight };
    return true;
}

/* The place of text among "a|b|c", or -1. */
static int place_of(const char *text, const char *choices)
{
    const size_t n = strlen(text);
    int i = 0;
    for (const char *s = choices; *s; i++) {
        const size_t len = strcspn(s, "|");
        if (len == n && memcmp(s, text, n) == 0) return i;
        s += len + (s[len] == '|');
    }
    return -1;
}

static bool bad_choice(const cli_option *o, const char *text, const char *name)
{
    char want[512] = "";
    for (const char *s = o->choices; *s;) {
        const size_t len = strcspn(s, "|");
        const char *joint = s == o->choices ? "" : s[len] ? ", " : " or ";
        snprintf(want + strlen(want), sizeof want - strlen(want), "%s%.*s", joint, (int)len, s);
        s += len + (s[len] == '|');
    }
    return bad(name, text, want);
}

bool cli_is_list(const cli_option *o) { return o->kind == OPT_TEXTS || o->kind == OPT_LORA; }
bool cli_is_place(const cli_option *o) { return o->name && o->name[0] >= 'A' && o->name[0] <= 'Z'; }

void cli_clear(const cli_option *o, void *args)
{
    void *p = (char *)args + o->offset;
    if (o->kind == OPT_TEXTS) *(cli_texts *)p = (cli_texts){ .n = 0 };
    if (o->kind == OPT_LORA) *(cli_loras *)p = (cli_loras){ .n = 0 };
}

bool cli_set(const cli_option *o, void *args, const char *text, const char *name, bool add)
{
    void *p = (char *)args + o->offset;
    if (!add) cli_clear(o, args);
    switch (o->kind) {
    case OPT_END: case OPT_GROUP: return true;
    case OPT_PATH: case OPT_DIR: case OPT_OUT:
        if (!*text) return bad(name, text, "a name");
        *(const char **)p = text;
        return true;
    case OPT_TEXT: *(const char **)p = text; return true;
    case OPT_WORD:
        if (place_of(text, o->choices) < 0) return bad_choice(o, text, name);
        *(const char **)p = text;
        return true;
    case OPT_CHOICE:
        if (place_of(text, o->choices) < 0) return bad_choice(o, text, name);
        *(int *)p = place_of(text, o->choices);
        return true;
    case OPT_FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) return bad(name, text, "true or false");
        *(bool *)p = *text == 't';
        return true;
    case OPT_INT: return set_int(o, p, text, name);
    case OPT_REAL: return set_real(o, p, text, name);
    case OPT_BYTES: return set_bytes(p, text, name);
    case OPT_SEED: return set_seed(p, text, name);
    case OPT_SIZE: return set_size(o, p, text, name);
    case OPT_PLACE: return set_place(p, text, name);
    case OPT_INTS: return set_ints(o, p, text, name);
    case OPT_LORA: return set_lora(o, p, text, name);
    case OPT_TEXTS: break;
    }
    cli_texts *list = p;
    if (list->n == CLI_LIST_MAX) return bad(name, text, "at most 64 of them");
    list->item[list->n++] = text;
    return true;
}
