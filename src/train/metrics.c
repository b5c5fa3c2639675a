#include "train/metrics.h"

#include "train/say_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)64 << 10)       /* a longer one is none of ours */
#define DEPTH_MAX      4
#define SAID_MAX       5                        /* damaged lines told one by one */

struct tr_metrics {
    tr_append *file;
    tr_str     line;
};

/* ---- out --------------------------------------------------------------------------------------------------- */
static bool is_utf8(const char *s)
{
    json_t *v = json_string(s);                     /* refuses anything else */
    json_decref(v);
    return v != NULL;
}

/* A name of a file need not be UTF-8; then its bytes are taken for Latin-1, so that the line is JSON in any case. */
static tress_status add_text(tr_str *b, const char *s)
{
    bool ascii = true;
    for (const char *c = s; *c; c++) ascii = ascii && (unsigned char)*c < 0x80;
    const bool plain = ascii || is_utf8(s);
    tress_status st = tr_str_add(b, "\"", 1);
    for (const unsigned char *c = (const unsigned char *)s; *c && st == TRESS_OK; c++) {
        if (*c == '"' || *c == '\\') st = tr_str_printf(b, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f || (*c >= 0x80 && !plain)) st = tr_str_printf(b, "\\u%04x", *c);
        else st = tr_str_add(b, (const char *)c, 1);
    }
    return st == TRESS_OK ? tr_str_add(b, "\"", 1) : st;
}

static tress_status add_double(tr_str *b, double v)
{
    char text[40];
    if (!isfinite(v)) return tr_str_add(b, "null", 4);
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    for (char *c = text; *c; c++)
        if (!strchr("0123456789+-e", *c)) *c = '.';             /* the decimal point of the program's locale */
    if (!strpbrk(text, ".e")) strcat(text, ".0");               /* stays a double for every reader, -0 too; fits: few digits */
    return tr_str_add(b, text, strlen(text));
}

tress_status tr_metrics_add(tr_metrics *m, const tr_field *list, int n)
{
    tress_status st = TRESS_OK;
    m->line.len = 0;
    for (int i = 0; i < n; i++) {
        TR_TRY(tr_str_add(&m->line, i ? ", " : "{", i ? 2 : 1));
        TR_TRY(add_text(&m->line, list[i].name));
        TR_TRY(tr_str_add(&m->line, ": ", 2));
        switch (list[i].kind) {
        case TR_FIELD_DOUBLE: TR_TRY(add_double(&m->line, list[i].d)); break;
        case TR_FIELD_INT: TR_TRY(tr_str_printf(&m->line, "%" PRId64, list[i].i)); break;
        case TR_FIELD_TEXT: TR_TRY(add_text(&m->line, list[i].s)); break;
        }
    }
    TR_TRY(tr_str_add(&m->line, n ? "}\n" : "{}\n", n ? 2 : 3));
    if (m->line.len > LINE_MAX_BYTES)
        TR_TRY(tr_fail(TRESS_E_ARG, "a line of metrics of %zu bytes, expected at most %zu", m->line.len, LINE_MAX_BYTES));
    TR_TRY(tr_append_add(m->file, m->line.s, m->line.len));
done:
    return st;
}

tress_status tr_metrics_sync(tr_metrics *m) { return tr_append_sync(m->file); }

void tr_metrics_close(tr_metrics *m)
{
    if (!m) return;
    tr_append_close(m->file);
    tr_str_fini(&m->line);
    tr_free(m);
}

/* ---- in ---------------------------------------------------------------------------------------------------- */
typedef struct lines { const char *at, *end; int64_t i; } lines;
typedef struct line { const char *s; size_t n; bool whole; /* it has an end of line */ } line;

static bool next_line(lines *l, line *out)
{
    if (l->at >= l->end) return false;
    const char *nl = memchr(l->at, '\n', (size_t)(l->end - l->at));
    *out = (line){ l->at, (size_t)((nl ? nl : l->end) - l->at), nl != NULL };
    l->at = nl ? nl + 1 : l->end;
    l->i++;
    return true;
}

/* *o = NULL: no JSON object. Only the lack of memory is a failure. */
static tress_status parse(json_t **o, line l, const char *path)
{
    json_t *v = NULL;
    *o = NULL;
    if (l.n > LINE_MAX_BYTES) return TRESS_OK;
    const tress_status st = tr_json_parse(&v, l.s, l.n, DEPTH_MAX, path);
    if (st == TRESS_E_OOM) return st;
    if (st == TRESS_OK && json_is_object(v)) *o = v;
    else json_decref(v);
    return TRESS_OK;
}

/* -1: the line has no step. */
static int64_t step_of(const json_t *o)
{
    const json_t *v = json_object_get(o, "step");
    return json_is_integer(v) && json_integer_value(v) >= 0 ? json_integer_value(v) : -1;
}

/* What is to become of a line, by the step to go on from. */
typedef enum verdict { KEEP, KEEP_DAMAGED, COMPLETE, CUT } verdict;

static tress_status judge(verdict *out, line l, int64_t step, const char *path)
{
    json_t *o = NULL;
    tress_status st = parse(&o, l, path);
    if (st != TRESS_OK) return st;
    if (!o) *out = l.whole ? KEEP_DAMAGED : CUT;
    else if (step >= 0 && step_of(o) > step) *out = CUT;
    else *out = l.whole ? KEEP : COMPLETE;
    json_decref(o);
    return TRESS_OK;
}

/* The file as it is to be, if that is not as it is. */
static tress_status repair(const char *path, int64_t step, tr_say say, void *self)
{
    tress_status st = TRESS_OK;
    tr_map map = { 0 };
    tr_out *f = NULL;
    line l;
    int64_t n_change = 0, n_damaged = 0;
    if (!tr_file_exists(path)) return TRESS_OK;     /* what else may stand there, opening it for writing will tell */
    TR_TRY(tr_map_open(&map, path));
    const char *begin = (const char *)map.bytes;
    for (lines at = { begin, begin + map.n, 0 }; next_line(&at, &l); ) {
        verdict v = KEEP;
        TR_TRY(judge(&v, l, step, path));
        n_change += v == COMPLETE || v == CUT;
        if (v == KEEP_DAMAGED && ++n_damaged <= SAID_MAX) tr_say_line(say, self, "%s: line %" PRId64 " is damaged", path, at.i);
    }
    if (n_damaged > SAID_MAX) tr_say_line(say, self, "%s: %" PRId64 " lines are damaged in all", path, n_damaged);
    if (n_change == 0) goto done;
    TR_TRY(tr_out_open(&f, path));
    for (lines at = { begin, begin + map.n, 0 }; next_line(&at, &l); ) {
        verdict v = KEEP;
        TR_TRY(judge(&v, l, step, path));
        if (v == CUT) continue;
        TR_TRY(tr_out_write(f, l.s, l.n));
        TR_TRY(tr_out_write(f, "\n", 1));
    }
    TR_TRY(tr_out_commit(f));
done:
    tr_out_close(f);
    tr_map_close(&map);
    return st;
}

tress_status tr_metrics_open(tr_metrics **out, const char *path, int64_t step, tr_say say, void *self)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    tr_metrics *m = NULL;
    TR_TRY(repair(path, step, say, self));
    TR_TRY(tr_alloc(&p, sizeof *m));
    m = p;
    TR_TRY(tr_append_open(&m->file, path, TR_APPEND_ANY));
    *out = m;
    m = NULL;
done:
    tr_metrics_close(m);
    return st;
}

tress_status tr_series_reserve(tr_series *s, int64_t n)
{
    tress_status st = TRESS_OK;
    void *p = s->step, *q = s->value;
    if (n <= s->cap) return TRESS_OK;
    TR_TRY(tr_realloc(&p, (size_t)s->cap * sizeof *s->step, (size_t)n * sizeof *s->step));
    s->step = p;
    TR_TRY(tr_realloc(&q, (size_t)s->cap * sizeof *s->value, (size_t)n * sizeof *s->value));
    s->value = q;
    s->cap = n;
done:
    return st;
}

tress_status tr_series_add(tr_series *s, int64_t step, double value)
{
    tress_status st = TRESS_OK;
    TR_ASSERT(isfinite(value));
    if (s->n == s->cap) TR_TRY(tr_series_reserve(s, s->cap ? s->cap * 2 : 256));
    s->step[s->n] = step;
    s->value[s->n] = value;
    s->n++;
done:
    return st;
}

void tr_series_fini(tr_series *s)
{
    tr_free(s->step);
    tr_free(s->value);
    *s = (tr_series){ 0 };
}

tress_status tr_metrics_read(const char *path, const char *const *name, int n, tr_series *out)
{
    tress_status st = TRESS_OK;
    tr_map map = { 0 };
    json_t *o = NULL;
    line l;
    if (!tr_file_exists(path)) return TRESS_OK;
    TR_TRY(tr_map_open(&map, path));
    const char *begin = (const char *)map.bytes;
    for (lines at = { begin, begin + map.n, 0 }; next_line(&at, &l); ) {
        TR_TRY(parse(&o, l, path));
        const int64_t step = o ? step_of(o) : -1;
        for (int k = 0; k < n && step >= 0; k++) {
            const json_t *v = json_object_get(o, name[k]);
            const double d = json_number_value(v);
            if (json_is_number(v) && isfinite(d)) TR_TRY(tr_series_add(&out[k], step, d));
        }
        json_decref(o);
        o = NULL;
    }
done:
    json_decref(o);
    tr_map_close(&map);
    return st;
}
