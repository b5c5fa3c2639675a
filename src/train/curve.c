#include "train/curve.h"

#include "train/curve_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pixels of the whole, of the chart and of the strip below it. */
#define WIDTH   960
#define HEIGHT  560
#define LEFT    66.0
#define RIGHT   936.0
#define TOP     92.0
#define BOTTOM  420.0
#define STRIP_TOP    452.0
#define STRIP_BOTTOM 506.0
#define TITLE_MAX 96                            /* characters of the title */
#define LOG_FROM  30.0                          /* a range that wide is shown by logarithms */

/* Grounds of either kind: the second half of the style takes over where the viewer's is dark. */
static const char style[] =
    "text{font-family:Inter,system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;font-size:12px;fill:#52606d}"
    ".title{font-size:18px;font-weight:600;fill:#1f2933}.paper{fill:#ffffff}.strong{font-weight:600;fill:#323f4b}"
    ".grid{stroke:#e4e7eb;stroke-width:1}.frame{stroke:#9aa5b1;stroke-width:1;fill:none}"
    ".line{fill:none;stroke-linejoin:round;stroke-linecap:round}"
    ".raw{stroke:#3b82f6;stroke-width:1;stroke-opacity:.3}.key{stroke-width:2;stroke-opacity:.45}"
    ".band{fill:#3b82f6;fill-opacity:.13;stroke:none}.smooth{stroke:#1d4ed8;stroke-width:2.4}"
    ".v0{stroke:#ea580c;stroke-width:2.2}.d0{fill:#ea580c;stroke:#ffffff;stroke-width:1.2}.thin{stroke-width:1.3;stroke-opacity:.85}"
    ".v1{stroke:#0d9488}.v2{stroke:#65a30d}.v3{stroke:#ca8a04}.v4{stroke:#db2777}.v5{stroke:#7c3aed}.v6{stroke:#64748b}.v7{stroke:#92400e}"
    ".rate{stroke:#64748b;stroke-width:1.6}.area{fill:#64748b;fill-opacity:.14;stroke:none}"
    "@media (prefers-color-scheme:dark){text{fill:#9aa5b1}.title{fill:#f5f7fa}.paper{fill:#14181d}.strong{fill:#cbd2d9}"
    ".grid{stroke:#262d35}.frame{stroke:#52606d}.raw{stroke:#60a5fa}.band{fill:#60a5fa}"
    ".smooth{stroke:#60a5fa}.v0{stroke:#fb923c}.d0{fill:#fb923c;stroke:#14181d}}";

/* ---- text -------------------------------------------------------------------------------------------------- */
/* v with so many decimals, whatever the program's locale has for a point. */
static tress_status add_number(tr_str *b, double v, int decimals)
{
    char text[400];
    snprintf(text, sizeof text, "%.*f", decimals, v);
    for (char *c = text; *c; c++)
        if (!strchr("0123456789-", *c)) *c = '.';
    const char *s = text;
    if (*s == '-' && strspn(s + 1, "0.") == strlen(s + 1)) s++;                /* no "-0.0" */
    return tr_str_add(b, s, strlen(s));
}

/* A pair of pixels, to a tenth. */
static tress_status add_pair(tr_str *b, double x, double y)
{
    tress_status st = add_number(b, x, 1);
    if (st == TRESS_OK) st = tr_str_add(b, " ", 1);
    return st == TRESS_OK ? add_number(b, y, 1) : st;
}

/* name="12.3" */
static tress_status add_attribute(tr_str *b, const char *name, double v)
{
    tress_status st = tr_str_printf(b, " %s=\"", name);
    if (st == TRESS_OK) st = add_number(b, v, 1);
    return st == TRESS_OK ? tr_str_add(b, "\"", 1) : st;
}

/* Four significant digits: 0.1234, 12.34, 1.234e-05. */
static tress_status add_short(tr_str *b, double v)
{
    char text[40];
    const double a = fabs(v);
    if (a == 0) return tr_str_add(b, "0", 1);
    if (a < 1e-3 || a >= 1e6) {
        snprintf(text, sizeof text, "%.2e", v);
        char *e = strchr(text, 'e');
        const int power = e ? atoi(e + 1) : 0;
        if (e) *e = 0;
        char *end = text + strlen(text);
        while (end > text && end[-1] == '0') *--end = 0;        /* 1.00 becomes 1 */
        if (end > text && !strchr("0123456789", end[-1])) *--end = 0;
        for (char *c = text; *c; c++)
            if (!strchr("0123456789-", *c)) *c = '.';
        return tr_str_printf(b, "%se%d", text, power);
    }
    return add_number(b, v, a >= 100 ? 1 : a >= 10 ? 2 : a >= 1 ? 3 : 4);
}

/* The length in bytes of the character at s, 0 where it is no UTF-8 that XML may hold. */
static size_t character(const unsigned char *s)
{
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7f;
    const size_t n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0))) return 0;                 /* overlong, surrogate */
    if (n == 3 && s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe) return 0;                                      /* U+FFFE, U+FFFF */
    if (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))) return 0;
    return n;
}

static tress_status add_escaped(tr_str *b, const char *text)
{
    tress_status st = TRESS_OK;
    int n = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s && st == TRESS_OK; n++) {
        if (n == TITLE_MAX) return tr_str_add(b, "\xe2\x80\xa6", 3);
        const size_t k = character(s);
        if (k == 0) st = tr_str_add(b, "?", 1);
        else if (*s == '&') st = tr_str_add(b, "&amp;", 5);
        else if (*s == '<') st = tr_str_add(b, "&lt;", 4);
        else if (*s == '>') st = tr_str_add(b, "&gt;", 4);
        else st = tr_str_add(b, (const char *)s, k);
        s += k ? k : 1;
    }
    return st;
}

/* 1500 as "1,500". */
static tress_status add_count(tr_str *b, double v)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.0f", v);
    const size_t n = strlen(digits);
    tress_status st = TRESS_OK;
    for (size_t i = 0; i < n && st == TRESS_OK; i++) st = tr_str_printf(b, "%s%c", i && (n - i) % 3 == 0 ? "," : "", digits[i]);
    return st;
}

/* A step at the axis: 500, 12k, 1.5M. */
static tress_status add_step(tr_str *b, double v)
{
    const double unit = v >= 1e6 ? 1e6 : v >= 1e4 ? 1e3 : 1;
    const double q = v / unit;
    int decimals = 0;
    for (double t = q; decimals < 3 && fabs(t - round(t)) > 1e-6; t *= 10) decimals++;
    tress_status st = unit == 1 ? add_count(b, v) : add_number(b, q, decimals);
    return st == TRESS_OK ? tr_str_printf(b, "%s", unit == 1e6 ? "M" : unit == 1e3 ? "k" : "") : st;
}

/* ---- parts ------------------------------------------------------------------------------------------------- */
typedef struct chart {
    const tr_curve *c;
    tr_axis   x, y;
    tr_points raw, band[TR_BANDS], smooth, line[TR_CURVE_LINES], lr;      /* raw or bands */
    double    last_step;
    bool      empty;
} chart;

/* Where a value stands; far beyond the frame there is nothing to see. */
static double height_of(const tr_axis *y, double v)
{
    const double at = tr_axis_at(y, y->log ? fmax(v, y->v0 / 1e3) : v);
    return at < -1e4 ? -1e4 : at > 1e4 ? 1e4 : at;
}

/* The area between two lines of the same steps. */
static tress_status add_band(tr_str *b, const tr_points *low, const tr_points *high, const tr_axis *x, const tr_axis *y)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_str_printf(b, "<path class=\"band\" d=\"M"));
    for (int i = 0; i < low->n + high->n; i++) {
        const tr_point p = i < low->n ? low->p[i] : high->p[low->n + high->n - 1 - i];
        if (i) TR_TRY(tr_str_add(b, "L", 1));
        TR_TRY(add_pair(b, tr_axis_at(x, p.x), height_of(y, p.y)));
    }
    TR_TRY(tr_str_printf(b, "Z\"/>\n"));
done:
    return st;
}

static tress_status add_path(tr_str *b, const tr_points *p, const tr_axis *x, const tr_axis *y, const char *class)
{
    tress_status st = TRESS_OK;
    if (p->n == 0) return TRESS_OK;
    TR_TRY(tr_str_printf(b, "<path class=\"line %s\" d=\"M", class));
    for (int i = 0; i < p->n; i++) {
        if (i) TR_TRY(tr_str_add(b, "L", 1));
        TR_TRY(add_pair(b, tr_axis_at(x, p->p[i].x), height_of(y, p->p[i].y)));
    }
    if (p->n == 1) TR_TRY(tr_str_printf(b, "h0.1"));             /* a dot, by its round cap */
    TR_TRY(tr_str_printf(b, "\"/>\n"));
done:
    return st;
}

/* A text at x, y. */
static tress_status begin_text(tr_str *b, double x, double y, const char *anchor, const char *class)
{
    tress_status st = tr_str_printf(b, "<text text-anchor=\"%s\"", anchor);
    if (st == TRESS_OK && class) st = tr_str_printf(b, " class=\"%s\"", class);
    if (st == TRESS_OK) st = add_attribute(b, "x", x);
    if (st == TRESS_OK) st = add_attribute(b, "y", y);
    return st == TRESS_OK ? tr_str_add(b, ">", 1) : st;
}

static tress_status add_axes(tr_str *b, const chart *k)
{
    tress_status st = TRESS_OK;
    double tick[TR_TICKS];
    int decimals = 0;
    const double foot = k->c->lr ? STRIP_BOTTOM : BOTTOM;
    const int n_y = tr_axis_ticks(&k->y, 8, false, tick, &decimals);
    for (int i = 0; i < n_y; i++) {
        const double at = tr_axis_at(&k->y, tick[i]);
        TR_TRY(tr_str_printf(b, "<path class=\"grid\" d=\"M"));
        TR_TRY(add_pair(b, LEFT, at));
        TR_TRY(tr_str_printf(b, "H%.0f\"/>", RIGHT));
        TR_TRY(begin_text(b, LEFT - 8, at + 4, "end", NULL));
        const int d = decimals < 0 ? tr_decimals(tick[i]) : decimals;
        TR_TRY(d > 4 || fabs(tick[i]) >= 1e6 ? add_short(b, tick[i]) : add_number(b, tick[i], d));
        TR_TRY(tr_str_printf(b, "</text>\n"));
    }
    const int n_x = tr_axis_ticks(&k->x, 10, true, tick, &decimals);
    for (int i = 0; i < n_x; i++) {
        const double at = tr_axis_at(&k->x, tick[i]);
        TR_TRY(tr_str_printf(b, "<path class=\"grid\" d=\"M"));
        TR_TRY(add_pair(b, at, TOP));
        TR_TRY(tr_str_printf(b, "V%.0f", BOTTOM));
        if (k->c->lr) {
            TR_TRY(tr_str_printf(b, "M"));
            TR_TRY(add_pair(b, at, STRIP_TOP));
            TR_TRY(tr_str_printf(b, "V%.0f", STRIP_BOTTOM));
        }
        TR_TRY(tr_str_printf(b, "\"/>"));
        TR_TRY(begin_text(b, at, foot + 18, "middle", NULL));
        TR_TRY(add_step(b, tick[i]));
        TR_TRY(tr_str_printf(b, "</text>\n"));
    }
    TR_TRY(begin_text(b, (LEFT + RIGHT) / 2, foot + 38, "middle", NULL));
    TR_TRY(tr_str_printf(b, "step</text>\n"));
done:
    return st;
}

static tress_status add_frame(tr_str *b, double top, double bottom)
{
    return tr_str_printf(b, "<path class=\"frame\" d=\"M%.0f %.0fV%.0fH%.0f\"/>\n", LEFT, top, bottom, RIGHT);
}

static tress_status add_strip(tr_str *b, const chart *k)
{
    tress_status st = TRESS_OK;
    double most = 0;
    for (int i = 0; i < k->lr.n; i++) most = fmax(most, k->lr.p[i].y);
    const tr_axis y = { 0, most > 0 ? most * 1.12 : 1, STRIP_BOTTOM, STRIP_TOP, false };
    if (k->lr.n > 0) {
        TR_TRY(tr_str_printf(b, "<path class=\"area\" d=\"M"));
        TR_TRY(add_pair(b, tr_axis_at(&k->x, k->lr.p[0].x), STRIP_BOTTOM));
        for (int i = 0; i < k->lr.n; i++) {
            TR_TRY(tr_str_add(b, "L", 1));
            TR_TRY(add_pair(b, tr_axis_at(&k->x, k->lr.p[i].x), tr_axis_at(&y, k->lr.p[i].y)));
        }
        TR_TRY(tr_str_printf(b, "V%.0fZ\"/>\n", STRIP_BOTTOM));
        TR_TRY(add_path(b, &k->lr, &k->x, &y, "rate"));
        if (most > 0) {
            TR_TRY(begin_text(b, LEFT - 8, tr_axis_at(&y, most) + 4, "end", NULL));
            TR_TRY(add_short(b, most));
            TR_TRY(tr_str_printf(b, "</text>"));
        }
    }
    TR_TRY(begin_text(b, LEFT - 8, STRIP_BOTTOM + 4, "end", NULL));
    TR_TRY(tr_str_printf(b, "0</text>"));
    TR_TRY(begin_text(b, LEFT, STRIP_TOP - 8, "start", NULL));
    TR_TRY(tr_str_printf(b, "learning rate</text>\n"));
    TR_TRY(add_frame(b, STRIP_TOP, STRIP_BOTTOM));
done:
    return st;
}

/* Its class, then the name; *at moves on by about the width of both. */
static tress_status add_key(tr_str *b, double *at, const char *class, const char *name, bool dot)
{
    tress_status st = TRESS_OK;
    const double y = TOP - 22;
    TR_TRY(tr_str_printf(b, "<path class=\"line %s\" d=\"M", class));
    TR_TRY(add_pair(b, *at, y));
    TR_TRY(tr_str_printf(b, "h20\"/>"));
    if (dot) {
        TR_TRY(tr_str_printf(b, "<circle class=\"d0\" r=\"3.4\""));
        TR_TRY(add_attribute(b, "cx", *at + 10));
        TR_TRY(add_attribute(b, "cy", y));
        TR_TRY(tr_str_printf(b, "/>"));
    }
    TR_TRY(begin_text(b, *at + 26, y + 4, "start", NULL));
    TR_TRY(add_escaped(b, name));
    TR_TRY(tr_str_printf(b, "</text>\n"));
    *at += 26 + 6.6 * (double)strlen(name) + 20;                 /* the mean width of a letter of 12 pixels */
done:
    return st;
}

static tress_status add_head(tr_str *b, const chart *k)
{
    tress_status st = TRESS_OK;
    double at = LEFT;
    TR_TRY(begin_text(b, LEFT, 34, "start", "title"));
    TR_TRY(add_escaped(b, k->c->title));
    TR_TRY(tr_str_printf(b, "</text>\n"));
    TR_TRY(begin_text(b, RIGHT, 34, "end", "strong"));
    if (k->empty) {
        TR_TRY(tr_str_printf(b, "no steps yet"));
    } else {
        TR_TRY(tr_str_printf(b, "step "));
        TR_TRY(add_count(b, k->last_step));
        if (k->smooth.n) {
            TR_TRY(tr_str_printf(b, " \xc2\xb7 loss "));
            TR_TRY(add_short(b, k->smooth.p[k->smooth.n - 1].y));
        }
        if (k->c->n_line && k->line[0].n) {
            TR_TRY(tr_str_printf(b, " \xc2\xb7 validation "));
            TR_TRY(add_short(b, k->line[0].p[k->line[0].n - 1].y));
        }
    }
    TR_TRY(tr_str_printf(b, "</text>\n"));
    TR_TRY(add_key(b, &at, "raw key", "loss of a step", false));
    TR_TRY(add_key(b, &at, "smooth", "smoothed", false));
    for (int i = 0; i < k->c->n_line; i++) {
        char class[32];
        snprintf(class, sizeof class, i ? "thin v%d" : "v%d", i);
        TR_TRY(add_key(b, &at, class, k->c->line[i].name, i == 0));
    }
done:
    return st;
}

static tress_status add_lines(tr_str *b, const chart *k)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_str_printf(b, "<g clip-path=\"url(#chart)\">\n"));
    TR_TRY(add_path(b, &k->raw, &k->x, &k->y, "raw"));
    if (k->band[0].n) {
        TR_TRY(add_band(b, &k->band[0], &k->band[3], &k->x, &k->y));
        TR_TRY(add_band(b, &k->band[1], &k->band[2], &k->x, &k->y));
    }
    for (int i = k->c->n_line - 1; i >= 1; i--) {
        char class[32];
        snprintf(class, sizeof class, "thin v%d", i);
        TR_TRY(add_path(b, &k->line[i], &k->x, &k->y, class));
    }
    TR_TRY(add_path(b, &k->smooth, &k->x, &k->y, "smooth"));
    if (k->c->n_line) {
        const tr_points *p = &k->line[0];
        TR_TRY(add_path(b, p, &k->x, &k->y, "v0"));
        for (int i = 0; i < p->n && p->n <= 60; i++) {           /* more would be a string of beads */
            TR_TRY(tr_str_printf(b, "<circle class=\"d0\" r=\"3.4\""));
            TR_TRY(add_attribute(b, "cx", tr_axis_at(&k->x, p->p[i].x)));
            TR_TRY(add_attribute(b, "cy", height_of(&k->y, p->p[i].y)));
            TR_TRY(tr_str_printf(b, "/>"));
        }
    }
    TR_TRY(tr_str_printf(b, "</g>\n"));
done:
    return st;
}

/* ---- the whole --------------------------------------------------------------------------------------------- */
/* About a fortieth of the run so far weighs most: smooth enough to read, quick enough to show a turn. */
static double weight_for(const tr_curve *c)
{
    if (c->smoothing >= 0) return c->smoothing;
    const double n = (double)c->loss->n / 40;
    return 1 - 1 / (n < 5 ? 5 : n > 500 ? 500 : n);
}

static void widen(const tr_points *p, double *least, double *most)
{
    for (int i = 0; i < p->n; i++) {
        *least = fmin(*least, p->p[i].y);
        *most = fmax(*most, p->p[i].y);
    }
}

static void see_last(chart *k, const tr_points *p)
{
    if (p->n) k->last_step = fmax(k->last_step, p->p[p->n - 1].x);
}

static void set_axes(chart *k)
{
    double least = INFINITY, most = -INFINITY, low = INFINITY, high = -INFINITY;
    see_last(k, &k->smooth);
    see_last(k, &k->lr);
    for (int i = 0; i < k->c->n_line; i++) see_last(k, &k->line[i]);
    widen(&k->smooth, &low, &high);
    for (int i = 0; i < k->c->n_line; i++) widen(&k->line[i], &low, &high);
    least = low, most = high;
    tr_series_range(k->c->loss, &least, &most);
    k->empty = !(least <= most);
    if (k->empty) least = 0, most = 1;
    k->x = (tr_axis){ 0, k->last_step > 1 ? k->last_step : 1, LEFT, RIGHT, false };
    if (least > 0 && high / low > LOG_FROM) {
        k->y = (tr_axis){ fmax(least / 1.15, most * 1e-30), most * 1.15, BOTTOM, TOP, true };
        return;
    }
    double room = 0.05 * (most - least);
    if (!(room > 1e-9 * fmax(fabs(least), fabs(most)))) room = fmax(0.1 * fabs(most), 1e-6);       /* a flat line, in the middle */
    /* zero belongs into the picture when it is not far: a loss has a floor there */
    const bool from_zero = least >= 0 && least < 0.6 * most;
    k->y = (tr_axis){ from_zero ? 0 : least - room, most + room, BOTTOM, TOP, false };
}

tress_status tr_curve_draw(tr_str *out, const tr_curve *c)
{
    tress_status st = TRESS_OK;
    chart k = { .c = c };
    const size_t before = out->len;
    TR_ASSERT(c->n_line >= 0 && c->n_line <= TR_CURVE_LINES && c->smoothing < 1);
    if (c->loss->n > TR_MANY) TR_TRY(tr_points_bands(k.band, c->loss));
    else TR_TRY(tr_points_envelope(&k.raw, c->loss));
    TR_TRY(tr_points_smooth(&k.smooth, c->loss, weight_for(c)));
    for (int i = 0; i < c->n_line; i++) TR_TRY(tr_points_envelope(&k.line[i], c->line[i].series));
    if (c->lr) TR_TRY(tr_points_envelope(&k.lr, c->lr));
    set_axes(&k);
    const int height = c->lr ? HEIGHT : HEIGHT - (int)(STRIP_BOTTOM - BOTTOM);
    TR_TRY(tr_str_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\"", WIDTH, height,
                         WIDTH, height));
    TR_TRY(tr_str_printf(out, " role=\"img\">\n<title>"));
    TR_TRY(add_escaped(out, c->title));
    TR_TRY(tr_str_printf(out, "</title>\n<style>"));
    TR_TRY(tr_str_add(out, style, sizeof style - 1));
    TR_TRY(tr_str_printf(out, "</style>\n<defs><clipPath id=\"chart\"><path d=\"M%.0f %.0fH%.0fV%.0fH%.0fZ\"/></clipPath></defs>\n", LEFT,
                         TOP, RIGHT + 4, BOTTOM, LEFT));
    TR_TRY(tr_str_printf(out, "<rect class=\"paper\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n", WIDTH, height));
    TR_TRY(add_head(out, &k));
    TR_TRY(add_axes(out, &k));
    TR_TRY(add_lines(out, &k));
    TR_TRY(add_frame(out, TOP, BOTTOM));
    if (c->lr) TR_TRY(add_strip(out, &k));
    TR_TRY(tr_str_printf(out, "</svg>\n"));
done:
    if (st != TRESS_OK && out->s) out->s[out->len = before] = 0;
    tr_free(k.raw.p);
    for (int i = 0; i < TR_BANDS; i++) tr_free(k.band[i].p);
    tr_free(k.smooth.p);
    tr_free(k.lr.p);
    for (int i = 0; i < TR_CURVE_LINES; i++) tr_free(k.line[i].p);
    return st;
}

tress_status tr_curve_write(const char *path, const tr_curve *c)
{
    tress_status st = TRESS_OK;
    tr_str text = { 0 };
    TR_TRY(tr_curve_draw(&text, c));
    TR_TRY(tr_file_write(path, text.s, text.len));
done:
    tr_str_fini(&text);
    return st;
}
