/* page.c - rows of metrics and their pictures as one HTML page, which needs no other file. */
#include "eval/eval_int.h"

#include <math.h>
#include <string.h>

/* Text where markup may not be: names come from files. */
static tress_status words(tr_str *out, const char *s)
{
    tress_status st = TRESS_OK;
    for (const char *p = s; *p; p++) {
        const char *safe = *p == '<' ? "&lt;" : *p == '>' ? "&gt;" : *p == '&' ? "&amp;" : *p == '"' ? "&quot;" : NULL;
        TR_TRY(safe ? tr_str_printf(out, "%s", safe) : tr_str_add(out, p, 1));
    }
done:
    return st;
}

static tress_status base64(tr_str *out, const uint8_t *b, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    tress_status st = TRESS_OK;
    for (size_t i = 0; i < n; i += 3) {
        const uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);
        const char c[4] = { digit[v >> 18], digit[v >> 12 & 63], i + 1 < n ? digit[v >> 6 & 63] : '=', i + 2 < n ? digit[v & 63] : '=' };
        TR_TRY(tr_str_add(out, c, 4));
    }
done:
    return st;
}

static int digits(double v) { return fabs(v) >= 100 ? 0 : fabs(v) >= 10 ? 1 : fabs(v) >= 1 ? 2 : 3; }

static tress_status cell(tr_str *out, double v)
{
    return isnan(v) ? tr_str_printf(out, "<td>") : tr_str_printf(out, "<td>%.*f", digits(v), v);
}

static const char style[] =
    "body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1240px;padding:0 1em;color:#1c1c1c;background:#fff}"
    "h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse;margin:.5em 0}"
    "th,td{padding:.15em .7em;border-bottom:1px solid #ddd;text-align:right;font-variant-numeric:tabular-nums}"
    "th:first-child,td:first-child,td.t{text-align:left}td.t{color:#555}img{max-width:100%;display:block;margin:.4em 0;border-radius:3px}"
    "section{border-top:1px solid #ddd;padding:.6em 0}dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(19em,1fr));gap:.1em 1.5em;margin:.3em 0;font-size:.9em}"
    "dl div{display:flex;justify-content:space-between;border-bottom:1px dotted #ddd}dt{color:#555}dd{margin:0;font-variant-numeric:tabular-nums}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td,section,dl div{border-color:#3a3a3a}td.t,dt{color:#9a9a9a}}";

static tress_status summary(tr_str *out, const tr_eval_table *t)
{
    static const char *const good[] = { "low", "high", "1", "" };
    tress_status st = TRESS_OK;
    TR_TRY(tr_str_printf(out, "<table><tr><th>metric<th>good<th>n<th>quartile<th>median<th>quartile<th style=\"text-align:left\">what it says\n"));
    for (int m = 0; m < TR_METRICS; m++) {
        const tr_metric_info *info = tr_metric_get((tr_metric)m);
        double q[3];
        const int n = tr_eval_quartiles(q, t, (tr_metric)m);
        if (n == 0) continue;
        TR_TRY(tr_str_printf(out, "<tr><td>%s<td>%s<td>%d", info->key, good[info->better], n));
        for (int k = 0; k < 3; k++) TR_TRY(cell(out, q[k]));
        TR_TRY(tr_str_printf(out, "<td class=t>%s\n", info->text));
    }
    TR_TRY(tr_str_printf(out, "</table>\n"));
done:
    return st;
}

static tress_status row(tr_str *out, const tr_eval_entry *e)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_str_printf(out, "<section><b>"));
    TR_TRY(words(out, e->name));
    TR_TRY(tr_str_printf(out, "</b>\n"));
    if (e->view) {
        TR_TRY(tr_str_printf(out, "<img loading=lazy alt=\"matte and strokes on the photo, the photo, the result, the truth\" src=\"data:image/jpeg;base64,"));
        TR_TRY(base64(out, e->view, e->n_view));
        TR_TRY(tr_str_printf(out, "\">\n"));
    }
    TR_TRY(tr_str_printf(out, "<dl>"));
    for (int m = 0; m < TR_METRICS; m++) {
        const double v = e->value[m];
        if (isnan(v)) continue;
        TR_TRY(tr_str_printf(out, "<div><dt>%s<dd>%.*f</div>", tr_metric_get((tr_metric)m)->key, digits(v), v));
    }
    TR_TRY(tr_str_printf(out, "</dl></section>\n"));
done:
    return st;
}

tress_status tr_eval_html(tr_str *out, const tr_eval_table *t, const char *title)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_str_printf(out, "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>"));
    TR_TRY(words(out, title));
    TR_TRY(tr_str_printf(out, "</title><style>%s</style>\n<h1>", style));
    TR_TRY(words(out, title));
    TR_TRY(tr_str_printf(out, "</h1>\n<p>%d picture%s. Each: matte and strokes on the photo, the photo, the result, and the truth where it is known.</p>\n", t->n, t->n == 1 ? "" : "s"));
    TR_TRY(summary(out, t));
    TR_TRY(tr_str_printf(out, "<h2>Picture by picture</h2>\n"));
    for (int i = 0; i < t->n; i++) TR_TRY(row(out, &t->row[i]));
    TR_TRY(tr_str_printf(out, "</html>\n"));
done:
    return st;
}

/* ---- the picture of a row -------------------------------------------------------------------------------- */

#define CELL 288                                /* pixels a side at most */
#define GAP 6

tress_status tr_eval_view(tr_eval_entry *e, const tr_eval_input *in)
{
    tress_status st = TRESS_OK;
    tr_planes rgb = { 0 }, matte = { 0 }, part = { 0 }, all = { 0 };
    tr_strokes strokes = { 0 };
    tr_image *img = NULL;
    const tr_image *const picture[4] = { in->photo, in->photo, in->result, in->truth };
    const int longer = in->photo->width > in->photo->height ? in->photo->width : in->photo->height, n = in->truth ? 4 : 3;
    const double f = fmin(1, (double)CELL / longer);
    const int w = (int)fmax(1, round(in->photo->width * f)), h = (int)fmax(1, round(in->photo->height * f));
    TR_TRY(tr_planes_new(&all, 3, h, n * w + (n - 1) * GAP));
    for (int64_t i = 0; i < (int64_t)3 * all.h * all.w; i++) all.data[i] = 0.5f;
    for (int k = 0; k < n; k++) {
        TR_TRY(tr_image_rgb(&rgb, picture[k]));
        if (k == 0) {
            TR_TRY(tr_matte_read(&matte, in->matte, "the matte"));
            if (in->sketch) TR_TRY(tr_strokes_read(&strokes, in->sketch));
            TR_TRY(tr_overlay(rgb, matte, strokes.mask));
        }
        TR_TRY(tr_resize(&part, rgb, w, h, TR_FILTER_LANCZOS));
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < h; y++)
                memcpy(tr_plane(all, c) + (int64_t)y * all.w + (int64_t)k * (w + GAP), tr_plane(part, c) + (int64_t)y * w, sizeof(float) * (size_t)w);
        tr_planes_fini(&rgb);
        tr_planes_fini(&part);
    }
    TR_TRY(tr_planes_image(&img, all, 8));
    TR_TRY(tr_image_encode(&e->view, &e->n_view, img, "view.jpg", NULL));
done:
    tr_planes_fini(&rgb);
    tr_planes_fini(&matte);
    tr_planes_fini(&part);
    tr_planes_fini(&all);
    tr_strokes_fini(&strokes);
    tr_image_free(img);
    return st;
}
