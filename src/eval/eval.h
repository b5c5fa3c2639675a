/* eval.h - how good a picture of hair is, in numbers that need no network. The door of eval. Floor 4.
 * What each says, and in which direction it is good, stands in metrics.def. A metric that cannot be measured on some picture (no
 * truth, no stroke, no border inside the photo) is NaN, which reports write as null or leave empty. */
#ifndef TRESS_EVAL_EVAL_H
#define TRESS_EVAL_EVAL_H

#include "core/core.h"
#include "image/image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_metric {
#define METRIC(name, key, better, text) TR_METRIC_##name,
#include "eval/metrics.def"
#undef METRIC
    TR_METRICS
} tr_metric;
typedef enum tr_better { TR_BETTER_LOW, TR_BETTER_HIGH, TR_BETTER_ONE, TR_BETTER_NONE } tr_better;
typedef struct tr_metric_info { const char *key, *text; tr_better better; } tr_metric_info;
const tr_metric_info *tr_metric_get(tr_metric m);

/* CIE L*a*b* of D65 from sRGB in 0..1, and back. IEC 61966-2-1, CIE 15. */
typedef struct tr_lab { double l, a, b; } tr_lab;
tr_lab tr_lab_of(const double rgb[3]);
double tr_srgb_linear(double v);                /* 0..1 to linear light */
/* CIEDE2000. Sharma, Wu and Dalal 2005, The CIEDE2000 color-difference formula, eqs. 2 to 22; kL = kC = kH = 1. */
double tr_de00(tr_lab p, tr_lab q);

/* A colour asked for: a box in Lab, which is a point for a colour in numbers. */
typedef struct tr_wanted { tr_lab low, high; } tr_wanted;
/* A word of the palette ("dark brown", "red", ...) or "#rrggbb". The palette's bands are the middle four fifths of what the renderer of hair
 * makes of its word. Fails: ARG (naming the words). */
TR_CHECKED tress_status tr_wanted_read(tr_wanted *out, const char *text);

/* The pictures of one row; all are borrowed and have one size. */
typedef struct tr_eval_input {
    const tr_image  *photo, *result;
    const tr_image  *truth;                     /* the same hair as it should be; NULL: unknown */
    const tr_image  *sketch;                    /* NULL: none */
    const tr_image  *matte, *old_matte;         /* old_matte may be NULL */
    const tr_image  *alpha;                     /* the composite's; NULL: as drawing makes it of the mattes */
    int              edit_grow;                 /* of that; < 0: as drawing chooses it */
    const tr_wanted *colour;                    /* NULL: none was asked for */
    const double    *light;                     /* [3] towards the light: right, down, to the viewer; NULL: unknown */
} tr_eval_input;
/* value[TR_METRICS]. Fails: SHAPE (sizes differ), FORMAT (an empty matte), OOM. */
TR_CHECKED tress_status tr_eval_row(double value[TR_METRICS], const tr_eval_input *in);

/* ---- a table of rows ------------------------------------------------------------------------------------- */
typedef struct tr_eval_entry {
    char   *name;                               /* owned */
    double  value[TR_METRICS];
    char    sha256[65];                         /* of the result's samples */
    uint8_t *view;                              /* owned: photo, sketch on it, result, truth side by side as JPEG; NULL: not wanted */
    size_t  n_view;
} tr_eval_entry;
typedef struct tr_eval_table { tr_eval_entry *row; int n; } tr_eval_table;
void tr_eval_table_fini(tr_eval_table *t);
/* First, second and third quartile of a metric over the rows that have it, by linear interpolation; NaN of none. Returns how many. */
int tr_eval_quartiles(double out[3], const tr_eval_table *t, tr_metric m);
/* Reports, added to out. JSON: {"tress", "rows": [{"name", "sha256", key: value...}], "metrics": {key: {"better", "text", "n", "q1", "median", "q3"}}}.
 * CSV: a header, one line a row. HTML: one page that needs no other file. Fails: OOM. */
TR_CHECKED tress_status tr_eval_json(tr_str *out, const tr_eval_table *t);
TR_CHECKED tress_status tr_eval_csv(tr_str *out, const tr_eval_table *t);
TR_CHECKED tress_status tr_eval_html(tr_str *out, const tr_eval_table *t, const char *title);
/* The picture of an entry's row. */
TR_CHECKED tress_status tr_eval_view(tr_eval_entry *e, const tr_eval_input *in);

#ifdef __cplusplus
}
#endif
#endif
