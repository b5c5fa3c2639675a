/* truth.c - how near the hair comes to the hair that was there, where that is known. */
#include "eval/eval_int.h"

#include <math.h>

/* ---- pixel by pixel -------------------------------------------------------------------------------------- */

static tress_status psnr(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    tr_planes o = { 0 }, t = { 0 };
    double sum = 0, weight = 0;
    const int64_t n = (int64_t)v->w * v->h;
    TR_TRY(tr_image_rgb(&o, v->in->result));
    TR_TRY(tr_image_rgb(&t, v->in->truth));
    for (int64_t i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) {
            const double d = (double)(o.data[c * n + i] - t.data[c * n + i]);
            sum += (double)v->matte.data[i] * d * d;
        }
        weight += 3 * (double)v->matte.data[i];
    }
    value[TR_METRIC_PSNR] = 10 * log10(weight / fmax(sum, 1e-10 * weight));             /* 100 dB: the same */
done:
    tr_planes_fini(&o);
    tr_planes_fini(&t);
    return st;
}

/* ---- structure ------------------------------------------------------------------------------------------- */

/* Wang et al. 2004: means, variances and covariance under a Gaussian of 1.5; averaged where hair is 5 pixels deep. */
static tress_status ssim(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    tr_planes m = { 0 }, blurred = { 0 }, out = { 0 }, deep = { 0 };
    const int64_t n = (int64_t)v->w * v->h;
    const double c1 = 2.55 * 2.55, c2 = 7.65 * 7.65;
    double sum = 0;
    int64_t n_deep = 0;
    TR_TRY(tr_planes_new(&m, 5, v->h, v->w));
    TR_TRY(tr_planes_new(&out, 1, v->h, v->w));
    for (int64_t i = 0; i < n; i++) {
        const float a = v->result.luma.data[i], b = v->truth.luma.data[i];
        const float all[5] = { a, b, a * a, b * b, a * b };
        for (int c = 0; c < 5; c++) m.data[c * n + i] = all[c];
        out.data[i] = v->matte.data[i] <= 0.9f;
    }
    TR_TRY(tr_gaussian(&blurred, m, 1.5));
    TR_TRY(tr_distance(&deep, out));
    for (int64_t i = 0; i < n; i++) {
        if (!(deep.data[i] > 5)) continue;
        const double a = (double)blurred.data[i], b = (double)blurred.data[n + i], va = (double)blurred.data[2 * n + i] - a * a,
                     vb = (double)blurred.data[3 * n + i] - b * b, co = (double)blurred.data[4 * n + i] - a * b;
        sum += (2 * a * b + c1) * (2 * co + c2) / ((a * a + b * b + c1) * (va + vb + c2));
        n_deep++;
    }
    if (n_deep) value[TR_METRIC_SSIM] = sum / (double)n_deep;
done:
    tr_planes_fini(&m);
    tr_planes_fini(&blurred);
    tr_planes_fini(&out);
    tr_planes_fini(&deep);
    return st;
}

/* Xue et al. 2014 (GMSD): slopes by Prewitt's operator, c = 170. */
static void detail(double *value, const eval_view *v)
{
    double sum = 0, weight = 0;
    for (int y = 1; y < v->h - 1; y++)
        for (int x = 1; x < v->w - 1; x++) {
            const int64_t i = (int64_t)y * v->w + x, w = v->w;
            double g[2];
            for (int k = 0; k < 2; k++) {
                const float *p = (k ? v->truth : v->result).luma.data + i;
                double dx = 0, dy = 0;
                for (int t = -1; t <= 1; t++) {
                    dx += (double)(p[t * w + 1] - p[t * w - 1]) / 3;
                    dy += (double)(p[w + t] - p[-w + t]) / 3;
                }
                g[k] = hypot(dx, dy);
            }
            sum += (double)v->matte.data[i] * (2 * g[0] * g[1] + 170) / (g[0] * g[0] + g[1] * g[1] + 170);
            weight += (double)v->matte.data[i];
        }
    if (weight > 0) value[TR_METRIC_DETAIL] = sum / weight;
}

/* ---- the spectrum ---------------------------------------------------------------------------------------- */

#define OCTAVES 4

/* The power p of amplitudes f^-p, by the energy of octaves: in two dimensions an octave at f holds f^(2 - 2p). NaN where one is empty. */
static tress_status fall(double *out, const eval_view *v, tr_planes luma)
{
    tress_status st = TRESS_OK;
    tr_planes x = { 0 }, fine = { 0 }, coarse = { 0 };
    const int64_t n = (int64_t)v->w * v->h;
    double mean = 0, weight = 0, sk = 0, se = 0, skk = 0, ske = 0;
    for (int64_t i = 0; i < n; i++) {
        mean += (double)(v->matte.data[i] * luma.data[i]);
        weight += (double)v->matte.data[i];
    }
    mean /= weight;
    TR_TRY(tr_planes_new(&x, 1, v->h, v->w));
    for (int64_t i = 0; i < n; i++) x.data[i] = v->matte.data[i] * (luma.data[i] - (float)mean);
    TR_TRY(tr_gaussian(&fine, x, 0.6));
    for (int k = 0; k < OCTAVES; k++) {
        double energy = 0;
        TR_TRY(tr_gaussian(&coarse, x, 1.2 * (1 << k)));
        for (int64_t i = 0; i < n; i++) {
            const double d = (double)(fine.data[i] - coarse.data[i]);
            energy += (double)v->matte.data[i] * d * d;
        }
        const double e = log2(fmax(energy / weight, 1e-12));
        sk += k;
        se += e;
        skk += k * k;
        ske += k * e;
        tr_planes_fini(&fine);
        fine = coarse;
        coarse = (tr_planes){ 0 };
    }
    *out = 1 + (OCTAVES * ske - sk * se) / (OCTAVES * skk - sk * sk) / 2;
done:
    tr_planes_fini(&x);
    tr_planes_fini(&fine);
    tr_planes_fini(&coarse);
    return st;
}

/* ---- light and tone -------------------------------------------------------------------------------------- */

static tress_status veil(tr_planes *out, const eval_view *v, tr_planes lab, double sigma)
{
    tress_status st = TRESS_OK;
    tr_planes m = { 0 }, b = { 0 };
    const int64_t n = (int64_t)v->w * v->h;
    TR_TRY(tr_planes_new(&m, 4, v->h, v->w));
    for (int64_t i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) m.data[c * n + i] = v->matte.data[i] * lab.data[c * n + i];
        m.data[3 * n + i] = v->matte.data[i];
    }
    TR_TRY(tr_gaussian(&b, m, sigma));
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) b.data[c * n + i] /= fmaxf(b.data[3 * n + i], 1e-6f);
    *out = b;
    b = (tr_planes){ 0 };
done:
    tr_planes_fini(&m);
    tr_planes_fini(&b);
    return st;
}

static tress_status shade(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    tr_planes o = { 0 }, t = { 0 };
    double sum = 0, weight = 0;
    const double sigma = fmax(2, 16 * v->scale);
    TR_TRY(veil(&o, v, v->result.lab, sigma));
    TR_TRY(veil(&t, v, v->truth.lab, sigma));
    for (int64_t i = 0; i < (int64_t)v->w * v->h; i++) {
        if (!(v->matte.data[i] > 0)) continue;
        sum += (double)v->matte.data[i] * tr_de00(eval_lab(o, i), eval_lab(t, i));
        weight += (double)v->matte.data[i];
    }
    value[TR_METRIC_SHADE] = sum / weight;
done:
    tr_planes_fini(&o);
    tr_planes_fini(&t);
    return st;
}

tress_status eval_truth(double *value, const eval_view *v)
{
    tress_status st = TRESS_OK;
    double mine, its;
    if (!v->truth.luma.data) return TRESS_OK;
    TR_TRY(psnr(value, v));
    TR_TRY(ssim(value, v));
    detail(value, v);
    TR_TRY(fall(&mine, v, v->result.luma));
    TR_TRY(fall(&its, v, v->truth.luma));
    value[TR_METRIC_SPECTRUM] = fabs(mine - its);
    TR_TRY(shade(value, v));
done:
    return st;
}
