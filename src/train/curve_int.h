/* curve_int.h - curve.c draws what curve_points.c has thinned out and measured. */
#ifndef TRESS_TRAIN_CURVE_INT_H
#define TRESS_TRAIN_CURVE_INT_H

#include "train/curve.h"

#define TR_COLUMNS 500                          /* of the chart; an envelope has two points in each */

typedef struct tr_point { double x, y; } tr_point;                       /* step, value */
typedef struct tr_points { tr_point *p; int n; } tr_points;              /* p owned: tr_free */
/* Least and greatest value of each column, in the order they came; all points where they are few. */
TR_CHECKED tress_status tr_points_envelope(tr_points *out, const tr_series *s);
/* For so many points that an envelope would be a wall: columns' least, 10 %, 90 % and greatest value, at their middle. */
#define TR_BANDS 4
#define TR_MANY  (16 * TR_COLUMNS)
TR_CHECKED tress_status tr_points_bands(tr_points out[TR_BANDS], const tr_series *s);
/* The running mean at the end of each column. */
TR_CHECKED tress_status tr_points_smooth(tr_points *out, const tr_series *s, double weight);

/* An axis: value v lies at at0 + (v - v0) / (v1 - v0) (at1 - at0), of logarithms on a logarithmic one. */
typedef struct tr_axis { double v0, v1, at0, at1; bool log; } tr_axis;
double tr_axis_at(const tr_axis *a, double v);
/* Round values within the axis, about n of them, n + 1 at most; whole numbers if asked. *decimals: what they need behind the point,
 * -1 on a logarithmic axis, where each has its own. */
#define TR_TICKS 16
int tr_axis_ticks(const tr_axis *a, int n, bool whole, double tick[TR_TICKS], int *decimals);
int tr_decimals(double v);                      /* of 1, 2 or 5 times a power of ten */
/* Widen least .. most by the values of a series, without a tail of half a percent at either end. */
void tr_series_range(const tr_series *s, double *least, double *most);

#endif
