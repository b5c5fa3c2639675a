/* lab.c - colours as people see them, and how far apart they are. */
#include "eval/eval.h"

#include <math.h>

double tr_srgb_linear(double v) { return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4); }

static double cube_root(double t) { return t > 216.0 / 24389 ? cbrt(t) : (24389.0 / 27 * t + 16) / 116; }

tr_lab tr_lab_of(const double rgb[3])
{
    const double r = tr_srgb_linear(rgb[0]), g = tr_srgb_linear(rgb[1]), b = tr_srgb_linear(rgb[2]);
    const double x = cube_root((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
    const double y = cube_root(0.2126729 * r + 0.7151522 * g + 0.0721750 * b);
    const double z = cube_root((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
    return (tr_lab){ 116 * y - 16, 500 * (x - y), 200 * (y - z) };
}

static double radians(double degrees) { return degrees * (M_PI / 180); }

static double hue(double a, double b)           /* degrees, 0 to 360; 0 of grey */
{
    const double h = atan2(b, a) * (180 / M_PI);
    return a == 0 && b == 0 ? 0 : h < 0 ? h + 360 : h;
}

double tr_de00(tr_lab p, tr_lab q)
{
    const double c7 = pow((hypot(p.a, p.b) + hypot(q.a, q.b)) / 2, 7), pow25 = 6103515625.0;      /* 25^7 */
    const double g = 0.5 * (1 - sqrt(c7 / (c7 + pow25)));
    const double a1 = (1 + g) * p.a, a2 = (1 + g) * q.a, c1 = hypot(a1, p.b), c2 = hypot(a2, q.b), h1 = hue(a1, p.b), h2 = hue(a2, q.b);
    const bool grey = c1 * c2 == 0;
    const double dh = grey ? 0 : h2 - h1 > 180 ? h2 - h1 - 360 : h2 - h1 < -180 ? h2 - h1 + 360 : h2 - h1;
    const double mean_h = grey ? h1 + h2 : fabs(h1 - h2) <= 180 ? (h1 + h2) / 2 : h1 + h2 < 360 ? (h1 + h2 + 360) / 2 : (h1 + h2 - 360) / 2;
    const double mean_l = (p.l + q.l) / 2, mean_c = (c1 + c2) / 2, l50 = (mean_l - 50) * (mean_l - 50), mean_c7 = pow(mean_c, 7);
    const double t = 1 - 0.17 * cos(radians(mean_h - 30)) + 0.24 * cos(radians(2 * mean_h)) + 0.32 * cos(radians(3 * mean_h + 6)) -
                     0.20 * cos(radians(4 * mean_h - 63));
    const double turn = 30 * exp(-((mean_h - 275) / 25) * ((mean_h - 275) / 25));
    const double l = (q.l - p.l) / (1 + 0.015 * l50 / sqrt(20 + l50)), c = (c2 - c1) / (1 + 0.045 * mean_c);
    const double h = 2 * sqrt(c1 * c2) * sin(radians(dh / 2)) / (1 + 0.015 * mean_c * t);
    const double rt = -sin(radians(2 * turn)) * 2 * sqrt(mean_c7 / (mean_c7 + pow25));
    return sqrt(l * l + c * c + h * h + rt * c * h);
}
