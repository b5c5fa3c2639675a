#include "slope.h"

#include "check_int.h"

#include <math.h>

void check_slope(check *c, const double *dx, slope_forward *forward, void *self, const double *x, int64_t n, const double *dy,
                 int64_t m, double size)
{
    static const double weight[] = { 1, -8, 8, -1 };
    const double h = 1e-3 * size;
    double *at = check_room(c, n), *y = check_room(c, m), most = 0;
    for (int64_t j = 0; j < n; j++) {
        at[j] = x[j];
        most = fmax(most, fabs(dx[j]));
    }
    for (int64_t j = 0; j < n; j++) {
        double slope = 0;
        for (int k = 0; k < 4; k++) {
            at[j] = x[j] + (k < 2 ? k - 2 : k - 1) * h;
            forward(self, y, at);
            for (int64_t i = 0; i < m; i++) slope += weight[k] * dy[i] * y[i] / (12 * h);
        }
        at[j] = x[j];
        if (!(fabs(slope - dx[j]) <= 1e-9 * most))
            check_fault(c, "the backward reference is no slope: element %" PRId64 " is %.12g, differences give %.12g", j, dx[j],
                        slope);
    }
}
