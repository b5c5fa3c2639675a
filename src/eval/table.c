/* table.c - rows of metrics as JSON and CSV, and their quartiles. */
#include "eval/eval_int.h"

#include <math.h>
#include <stdlib.h>

static const char *better_name(tr_better b)
{
    static const char *const name[] = { "low", "high", "one", "none" };
    return name[b];
}

int tr_eval_quartiles(double out[3], const tr_eval_table *t, tr_metric m)
{
    double *v = NULL;
    int n = 0;
    out[0] = out[1] = out[2] = NAN;
    if (t->n == 0 || tr_alloc_array((void **)&v, t->n, sizeof *v) != TRESS_OK) return 0;
    for (int i = 0; i < t->n; i++)
        if (!isnan(t->row[i].value[m])) v[n++] = t->row[i].value[m];
    eval_sort(v, n);
    for (int q = 0; n > 0 && q < 3; q++) {
        const double at = (n - 1) * (q + 1) / 4.0;
        const int k = (int)at;
        out[q] = v[k] + (at - k) * (v[k + 1 < n ? k + 1 : k] - v[k]);
    }
    tr_free(v);
    return n;
}

void tr_eval_table_fini(tr_eval_table *t)
{
    for (int i = 0; i < t->n; i++) {
        tr_free(t->row[i].name);
        tr_free(t->row[i].view);
    }
    tr_free(t->row);
    *t = (tr_eval_table){ 0 };
}

static json_t *number(double v) { return isnan(v) ? json_null() : json_real(v); }

tress_status tr_eval_json(tr_str *out, const tr_eval_table *t)
{
    tress_status st = TRESS_OK;
    json_t *o = json_object(), *rows = json_array(), *metrics = json_object();
    char *text = NULL;
    int bad = 0;
    for (int i = 0; i < t->n; i++) {
        json_t *r = json_object();
        bad |= json_object_set_new(r, "name", json_string(t->row[i].name)) | json_object_set_new(r, "sha256", json_string(t->row[i].sha256));
        for (int m = 0; m < TR_METRICS; m++) bad |= json_object_set_new(r, tr_metric_get((tr_metric)m)->key, number(t->row[i].value[m]));
        bad |= json_array_append_new(rows, r);
    }
    for (int m = 0; m < TR_METRICS; m++) {
        const tr_metric_info *info = tr_metric_get((tr_metric)m);
        double q[3];
        const int n = tr_eval_quartiles(q, t, (tr_metric)m);
        bad |= json_object_set_new(metrics, info->key, json_pack("{s:s, s:s, s:i, s:o, s:o, s:o}", "better", better_name(info->better), "text", info->text, "n", n,
                                                                 "q1", number(q[0]), "median", number(q[1]), "q3", number(q[2])));
    }
    bad |= json_object_set_new(o, "tress", json_string(TRESS_VERSION)) | json_object_set(o, "rows", rows) | json_object_set(o, "metrics", metrics);
    text = bad ? NULL : json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (!text) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the report"));
    TR_TRY(tr_str_printf(out, "%s\n", text));
done:
    free(text);
    json_decref(o);
    json_decref(rows);
    json_decref(metrics);
    return st;
}

/* A field of CSV: in quotes where it needs them (RFC 4180). */
static tress_status field(tr_str *out, const char *s)
{
    tress_status st = TRESS_OK;
    bool plain = true;
    for (const char *p = s; *p; p++) plain &= *p != ',' && *p != '"' && *p != '\n' && *p != '\r';
    if (plain) return tr_str_printf(out, "%s", s);
    TR_TRY(tr_str_printf(out, "\""));
    for (const char *p = s; *p; p++) TR_TRY(tr_str_printf(out, "%s%c", *p == '"' ? "\"" : "", *p));
    TR_TRY(tr_str_printf(out, "\""));
done:
    return st;
}

tress_status tr_eval_csv(tr_str *out, const tr_eval_table *t)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_str_printf(out, "name,sha256"));
    for (int m = 0; m < TR_METRICS; m++) TR_TRY(tr_str_printf(out, ",%s", tr_metric_get((tr_metric)m)->key));
    TR_TRY(tr_str_printf(out, "\n"));
    for (int i = 0; i < t->n; i++) {
        TR_TRY(field(out, t->row[i].name));
        TR_TRY(tr_str_printf(out, ",%s", t->row[i].sha256));
        for (int m = 0; m < TR_METRICS; m++) {
            const double v = t->row[i].value[m];
            TR_TRY(isnan(v) ? tr_str_printf(out, ",") : tr_str_printf(out, ",%.9g", v));
        }
        TR_TRY(tr_str_printf(out, "\n"));
    }
done:
    return st;
}
