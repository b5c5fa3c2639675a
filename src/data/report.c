/* report.c - what a check found, for people and for programs. */
#include "data/check.h"

#include <stdlib.h>
#include <string.h>

#define LINES_MAX 200                           /* of each kind of finding; JSON has them all */

static const char *layout_text(tr_data_layout l)
{
    switch (l) {
    case TR_DATA_FLAT: return "img/ matte/ sketch/";
    case TR_DATA_KIND_FIRST: return "img/ matte/ sketch/ with train/ and test/ in each";
    case TR_DATA_HALF_FIRST: return "train/ and test/ with img/ matte/ sketch/ in each";
    case TR_DATA_EMPTY: break;
    }
    return "none that is known";
}

/* Distinct sizes and how many photos have each, the most frequent first. */
typedef struct size { int width, height, n; } size;

static int by_extent(const void *a, const void *b)
{
    const size *x = a, *y = b;
    return x->width != y->width ? x->width - y->width : x->height - y->height;
}

static int by_count(const void *a, const void *b)
{
    const size *x = a, *y = b;
    return x->n != y->n ? y->n - x->n : by_extent(a, b);
}

static tress_status count_sizes(size **out, int *n, const tr_check *c)
{
    tress_status st = TRESS_OK;
    size *all = NULL;
    int n_all = 0, n_kind = 0;
    TR_TRY(tr_alloc_array((void **)&all, c->data->n_item + 1, sizeof *all));
    for (int i = 0; i < c->data->n_item; i++)
        if (c->facts[i].width > 0) all[n_all++] = (size){ c->facts[i].width, c->facts[i].height, 1 };
    if (n_all > 1) qsort(all, (size_t)n_all, sizeof *all, by_extent);
    for (int i = 0; i < n_all; i++) {
        if (n_kind > 0 && by_extent(&all[n_kind - 1], &all[i]) == 0) all[n_kind - 1].n++;
        else all[n_kind++] = all[i];
    }
    if (n_kind > 1) qsort(all, (size_t)n_kind, sizeof *all, by_count);
    *out = all;
    *n = n_kind;
    all = NULL;
done:
    tr_free(all);
    return st;
}

/* ---- lines ----------------------------------------------------------------------------------------------- */

static tress_status add_spread(tr_str *s, const char *title, tr_spread v)
{
    if (v.n == 0) return TRESS_OK;
    return tr_str_printf(s, "%-10s%.3g %% to %.3g %% of the picture, median %.3g %%\n", title, 100 * v.min, 100 * v.max, 100 * v.median);
}

static tress_status add_findings(tr_str *s, const tr_check *c, bool unfit, const char *title)
{
    tress_status st = TRESS_OK;
    int n = 0;
    for (int i = 0; i < c->found.n; i++) {
        const tr_finding *f = &c->found.at[i];
        if (f->unfit == unfit && n++ < LINES_MAX) TR_TRY(tr_str_printf(s, "%-10s%s %s\n", title, f->path, f->text));
    }
    if (n > LINES_MAX) TR_TRY(tr_str_printf(s, "%-10sand %d more\n", title, n - LINES_MAX));
done:
    return st;
}

static tress_status as_lines(tr_str *s, const tr_check *c, const size *sizes, int n_size, const char *sheet)
{
    tress_status st = TRESS_OK;
    const tr_dataset *d = c->data;
    TR_TRY(tr_str_printf(s, "%-10s%s\n%-10s%s\n", "data", d->dir, "layout", layout_text(d->layout)));
    TR_TRY(tr_str_printf(s, "%-10s%d, %d of them in test/\n", "pictures", d->n_item, d->n_test));
    if (n_size > 0) TR_TRY(tr_str_printf(s, "%-10s", "sizes"));
    for (int i = 0; i < n_size && i < 8; i++) TR_TRY(tr_str_printf(s, "%s%d x %d (%d)", i ? ", " : "", sizes[i].width, sizes[i].height, sizes[i].n));
    if (n_size > 0) TR_TRY(n_size > 8 ? tr_str_printf(s, " and %d more\n", n_size - 8) : tr_str_printf(s, "\n"));
    TR_TRY(add_spread(s, "hair", c->hair));
    TR_TRY(add_spread(s, "strokes", c->strokes));
    if (sheet) TR_TRY(tr_str_printf(s, "%-10s%s\n", "sheet", sheet));
    TR_TRY(add_findings(s, c, true, "unfit"));
    TR_TRY(add_findings(s, c, false, "warning"));
    TR_TRY(tr_str_printf(s, "%-10s%s: %d problem%s, %d warning%s\n", "verdict", c->n_unfit ? "unfit" : "fit", c->n_unfit, c->n_unfit == 1 ? "" : "s",
                         c->n_warning, c->n_warning == 1 ? "" : "s"));
done:
    return st;
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static bool set(json_t *o, const char *key, json_t *v) { return json_object_set_new(o, key, v) == 0; }

static json_t *known(double v) { return v >= 0 ? json_real(v) : json_null(); }

static json_t *spread_json(tr_spread v)
{
    return v.n == 0 ? json_null() : json_pack("{s:f, s:f, s:f}", "min", v.min, "median", v.median, "max", v.max);
}

static bool put_findings(json_t *o, const tr_check *c, bool unfit, const char *key)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; ok && i < c->found.n; i++) {
        const tr_finding *f = &c->found.at[i];
        if (f->unfit == unfit) ok = json_array_append_new(list, json_pack("{s:s, s:s}", "file", f->path, "text", f->text)) == 0;
    }
    return set(o, key, list) && ok;
}

static bool put_items(json_t *o, const tr_check *c)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; ok && i < c->data->n_item; i++) {
        const tr_data_facts *a = &c->facts[i];
        json_t *v = json_pack("{s:s, s:b, s:i, s:i}", "name", c->data->item[i].name, "test", c->data->item[i].test, "width", a->width, "height", a->height);
        ok = v && set(v, "hair", known(a->hair)) && set(v, "strokes", known(a->strokes)) && set(v, "strokes_inside", known(a->inside)) &&
             json_array_append(list, v) == 0;
        json_decref(v);
    }
    return set(o, "items", list) && ok;
}

static bool put_sizes(json_t *o, const size *sizes, int n)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; ok && i < n; i++)
        ok = json_array_append_new(list, json_pack("{s:i, s:i, s:i}", "width", sizes[i].width, "height", sizes[i].height, "count", sizes[i].n)) == 0;
    return set(o, "sizes", list) && ok;
}

static tress_status as_json(tr_str *s, const tr_check *c, const size *sizes, int n_size, const char *sheet)
{
    tress_status st;
    static const char *const layouts[] = { "none", "flat", "kind-first", "half-first" };
    char *text = NULL;
    json_t *o = json_object();
    json_t *dir = json_string(c->data->dir), *file = sheet ? json_string(sheet) : json_null();
    /* a folder's own name need not be UTF-8 */
    const bool ok = o && set(o, "data", dir ? dir : json_null()) && set(o, "layout", json_string(layouts[c->data->layout])) && set(o, "fit", json_boolean(c->n_unfit == 0)) &&
                    set(o, "pictures", json_integer(c->data->n_item)) && set(o, "test", json_integer(c->data->n_test)) && put_sizes(o, sizes, n_size) &&
                    set(o, "hair", spread_json(c->hair)) && set(o, "strokes", spread_json(c->strokes)) && set(o, "sheet", file ? file : json_null()) &&
                    put_findings(o, c, true, "problems") && put_findings(o, c, false, "warnings") && put_items(o, c);
    if (ok) text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    st = text ? tr_str_printf(s, "%s\n", text) : tr_fail(TRESS_E_OOM, "no memory to describe %s", c->data->dir);
    free(text);                                                           /* jansson's own */
    json_decref(o);
    return st;
}

tress_status tr_check_report(tr_str *out, const tr_check *c, bool json, const char *sheet)
{
    tress_status st = TRESS_OK;
    size *sizes = NULL;
    int n = 0;
    TR_TRY(count_sizes(&sizes, &n, c));
    TR_TRY(json ? as_json(out, c, sizes, n, sheet) : as_lines(out, c, sizes, n, sheet));
done:
    tr_free(sizes);
    return st;
}
