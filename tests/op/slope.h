/* slope.h - a backward reference against central differences of its forward reference, in float64. */
#ifndef TRESS_TESTS_OP_SLOPE_H
#define TRESS_TESTS_OP_SLOPE_H

#include "check.h"

/* What dx stands for: the slope of sum of dy y(x), y the forward reference of m numbers of n. */
typedef void slope_forward(void *self, double *y, const double *x);

/* dx[j] must be (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h, f(x) = sum of dy y(x), for every j of n. h is 1e-3 of
 * `size`, the size of x over which y bends: the rule's own error is h^4 times the fifth derivative, 1e-12 of the slope, and
 * rounding brings 2^-53 / 1e-3 = 1e-13 of the terms of f; 1e-9 of the largest slope is allowed. A fault names the element. */
void check_slope(check *c, const double *dx, slope_forward *forward, void *self, const double *x, int64_t n, const double *dy,
                 int64_t m, double size);

#endif
