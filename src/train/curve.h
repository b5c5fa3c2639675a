/* curve.h - loss.svg: what a run has done so far, as a picture that any browser shows, on light and dark grounds. The loss of each step
 * thin, smoothed strong, validation with points, the learning rate in a strip below. At most about a thousand points a line: of many
 * steps the chart keeps each column's least and greatest value, of very many it shows where all and where the middle 80 % lie. */
#ifndef TRESS_TRAIN_CURVE_H
#define TRESS_TRAIN_CURVE_H

#include "train/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Steps of a series rise; a point that does not rise above the one before is not drawn. */
typedef struct tr_curve_line { const char *name; const tr_series *series; } tr_curve_line;
#define TR_CURVE_LINES 8
typedef struct tr_curve {
    const char          *title;                 /* the run's name; any text */
    const tr_series     *loss;
    const tr_series     *lr;                    /* NULL: no strip */
    const tr_curve_line *line;                  /* validation; the first is drawn strong, as the mean of the others */
    int                  n_line;                /* 0 to TR_CURVE_LINES */
    double               smoothing;             /* weight of the past in the running mean, below 1; < 0: chosen from the number of steps */
} tr_curve;

/* The picture as text, appended to *out. Fails: OOM. */
TR_CHECKED tress_status tr_curve_draw(tr_str *out, const tr_curve *c);
/* The same into a file, replaced atomically. Fails: IO, OOM. */
TR_CHECKED tress_status tr_curve_write(const char *path, const tr_curve *c);

/* The running mean of TensorBoard's charts, its start corrected: m = w m + (1 - w) v, shown as m / (1 - w^n). */
typedef struct tr_mean { double weight, m, left; } tr_mean;
static inline tr_mean tr_mean_start(double weight) { tr_mean m = { weight, 0, 1 }; return m; }
double tr_mean_add(tr_mean *m, double v);       /* the mean so far */

#ifdef __cplusplus
}
#endif
#endif
