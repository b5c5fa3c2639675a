/* light.c - where does the light on the hair come from? Luminance of sure hair is fitted by a + b . n, n the normals of the ellipsoid in the
 * matte's box (a head of hair is round): b points towards the light. Its direction on the picture is compared; the depth of a light
 * cannot be told from hair, whose own shadows darken it towards the rim. */
#include "eval/eval_int.h"

#include <math.h>

/* Solve m x = r, 4 x 4, by elimination with pivots; false when it is singular. */
static bool solve(double x[4], double m[4][5])
{
    for (int i = 0; i < 4; i++) {
        int best = i;
        for (int k = i + 1; k < 4; k++)
            if (fabs(m[k][i]) > fabs(m[best][i])) best = k;
        if (!(fabs(m[best][i]) > 1e-9)) return false;
        for (int c = 0; c < 5; c++) {
            const double t = m[i][c];
            m[i][c] = m[best][c];
            m[best][c] = t;
        }
        for (int k = i + 1; k < 4; k++) {
            const double f = m[k][i] / m[i][i];
            for (int c = i; c < 5; c++) m[k][c] -= f * m[i][c];
        }
    }
    for (int i = 3; i >= 0; i--) {
        x[i] = m[i][4];
        for (int k = i + 1; k < 4; k++) x[i] -= m[i][k] * x[k];
        x[i] /= m[i][i];
    }
    return true;
}

/* Towards the light, right and down, of any length; false where there is too little hair. */
static bool fit(double out[2], const eval_view *v, tr_planes light)
{
    int x0 = v->w, y0 = v->h, x1 = -1, y1 = -1;
    for (int y = 0; y < v->h; y++)
        for (int x = 0; x < v->w; x++) {
            if (!(v->matte.data[(int64_t)y * v->w + x] > 0.5f)) continue;
            if (x < x0) x0 = x;
            if (x > x1) x1 = x;
            if (y < y0) y0 = y;
            if (y > y1) y1 = y;
        }
    if (x1 - x0 < 8 || y1 - y0 < 8) return false;
    const double cx = (x0 + x1) / 2.0, cy = (y0 + y1) / 2.0, rx = (x1 - x0 + 1) / 2.0, ry = (y1 - y0 + 1) / 2.0;
    double m[4][5] = { { 0 } }, b[4];
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++) {
            const int64_t i = (int64_t)y * v->w + x;
            if (!(v->matte.data[i] > 0.9f)) continue;
            double nx = (x - cx) / rx, ny = (y - cy) / ry, flat = nx * nx + ny * ny;
            if (flat > 1) nx /= sqrt(flat), ny /= sqrt(flat), flat = 1;
            const double f[5] = { 1, nx, ny, sqrt(1 - flat), (double)light.data[i] };
            for (int j = 0; j < 4; j++)
                for (int k = 0; k < 5; k++) m[j][k] += f[j] * f[k];
        }
    if (m[0][0] < 64 || !solve(b, m)) return false;
    out[0] = b[1];
    out[1] = b[2];
    return true;
}

static double between(const double a[2], const double b[2])                 /* degrees, 0 to 180; NaN where one has no direction */
{
    const double dot = a[0] * b[0] + a[1] * b[1], turn = a[0] * b[1] - a[1] * b[0];
    return hypot(a[0], a[1]) > 1e-6 && hypot(b[0], b[1]) > 1e-6 ? fabs(atan2(turn, dot)) * (180 / M_PI) : NAN;
}

static double sides(const eval_view *v, tr_planes light)                    /* log of left over right of the hair's middle */
{
    double sx = 0, mass = 0, sum[2] = { 0, 0 }, weight[2] = { 0, 0 };
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        sx += (double)v->matte.data[i] * (double)(i % v->w);
        mass += (double)v->matte.data[i];
    }
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        const int right = (double)(i % v->w) > sx / mass;
        sum[right] += (double)(v->matte.data[i] * light.data[i]);
        weight[right] += (double)v->matte.data[i];
    }
    return log((sum[0] / weight[0] + 1e-4) / (sum[1] / weight[1] + 1e-4));
}

tress_status eval_light(double *value, const eval_view *v)
{
    double mine[2], its[2];
    const bool fits = fit(mine, v, v->result.light);
    if (fits && v->in->light && hypot(v->in->light[0], v->in->light[1]) > 0.1)          /* a light from the front has no direction on the picture */
        value[TR_METRIC_LIGHT] = between(mine, v->in->light);
    if (!v->truth.light.data) return TRESS_OK;
    if (fits && fit(its, v, v->truth.light)) value[TR_METRIC_LIGHT_TRUTH] = between(mine, its);
    value[TR_METRIC_LIGHT_SIDES] = fabs(sides(v, v->result.light) - sides(v, v->truth.light));
    return TRESS_OK;
}
