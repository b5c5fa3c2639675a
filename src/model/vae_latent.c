#include "model/vae_latent.h"

#include "model/vae_int.h"

#include <math.h>

static tress_status check_finite(tr_stream *s, tr_tensor t, const char *what)
{
    tress_status st = TRESS_OK;
    int64_t bad = 0;
    TR_TRY(tr_count_nonfinite(s, t, &bad));
    if (bad > 0)
        TR_TRY(tr_fail(TRESS_E_NONFINITE, "the VAE's %s holds %" PRId64 " NaN or infinite values of %" PRId64, what, bad, tr_count(t)));
done:
    return st;
}

/* ---- bands ----------------------------------------------------------------------------------------------- */

/* Bytes the VAE may take where the caller sets no limit. */
static int64_t work_max(const tr_vae *v) { return (int64_t)(tr_device_is_host(v->device) ? 2 : 8) << 30; }
#define BAND_MIN 8                              /* latent rows */

/* What the VAE takes for latents of h x w in bands of `band` latent rows, counted on a device that computes nothing. */
static tress_status vae_work(int64_t *out, const tr_vae *like, tr_weights *weights, bool decode, int h, int w, int band)
{
    tress_status st = TRESS_OK;
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_vae *v = NULL;
    tr_tensor z, image;
    const tr_vae_config *c = &like->config;
    const int f = tr_vae_factor(like);
    const tr_device_spec dry = tr_device_dry_spec(like->device);
    TR_TRY(tr_device_open(&d, &dry));
    TR_TRY(tr_stream_new(&s, d));
    TR_TRY(tr_vae_open(&v, d, weights, c));
    TR_TRY(tr_scratch(s, &z, TR_F32, TR_DIMS(1, c->latent_channels, h, w)));
    TR_TRY(tr_scratch(s, &image, TR_F32, TR_DIMS(1, 3, (int64_t)f * h, (int64_t)f * w)));
    if (decode) TR_TRY(tr_vae_decode(v, s, image, z, band));
    else TR_TRY(tr_vae_encode(v, s, z, tr_none(), image, f * band));
    *out = tr_device_peak(d);
done:
    tr_vae_close(v);
    tr_stream_free(s);
    tr_device_close(d);
    return st;
}

tress_status tr_vae_choose_band(int *out, const tr_vae *v, tr_weights *weights, bool decode, int h, int w, int64_t memory_max)
{
    tress_status st = TRESS_OK;
    int64_t limit = work_max(v), work = 0;
    int band = 0;
    if (memory_max > 0) {
        limit = memory_max - tr_device_bytes(v->device);
        if (tr_device_is_host(v->device)) limit -= tr_weights_bytes(weights);       /* elsewhere they are counted there */
        if (limit > work_max(v)) limit = work_max(v);
    }
    TR_TRY(vae_work(&work, v, weights, decode, h, w, 0));
    while (work > limit && band != BAND_MIN) {
        const int half = ((band ? band : h) + 1) / 2;
        band = half < BAND_MIN ? BAND_MIN : half;
        if (band >= h) break;
        TR_TRY(vae_work(&work, v, weights, decode, h, w, band));
    }
    *out = band < h ? band : 0;
done:
    return st;
}

/* ---- encode ---------------------------------------------------------------------------------------------- */

tress_status tr_vae_encode_scaled(tr_vae *v, tr_stream *s, float *mean, float *std, const float *image, int h, int w, bool shifted, int band)
{
    tress_status st = TRESS_OK;
    const tr_vae_config *c = &v->config;
    const int f = tr_vae_factor(v);
    const int64_t n = (int64_t)c->latent_channels * h * w;
    const float shift = shifted ? c->shift : 0;
    tr_tensor pixels, m, logvar = tr_none();
    const tr_arena_mark mark = tr_scratch_push(s);
    TR_TRY(tr_scratch(s, &pixels, TR_F32, TR_DIMS(1, 3, (int64_t)f * h, (int64_t)f * w)));
    TR_TRY(tr_scratch(s, &m, TR_F32, TR_DIMS(1, c->latent_channels, h, w)));
    if (std) TR_TRY(tr_scratch(s, &logvar, TR_F32, TR_DIMS(1, c->latent_channels, h, w)));
    TR_TRY(tr_upload(s, pixels, image));
    TR_TRY(tr_vae_encode(v, s, m, logvar, pixels, f * band));
    TR_TRY(check_finite(s, m, "encoding"));
    if (std) TR_TRY(check_finite(s, logvar, "log-variance"));
    TR_TRY(tr_download(s, mean, m));
    if (std) TR_TRY(tr_download(s, std, logvar));
    TR_TRY(tr_stream_sync(s));
    for (int64_t i = 0; i < n; i++) mean[i] = (mean[i] - shift) * c->scale;
    for (int64_t i = 0; std && i < n; i++) std[i] = (float)(exp(0.5 * (double)std[i]) * (double)c->scale);
done:
    tr_scratch_pop(s, mark);
    return st;
}

/* ---- decode ---------------------------------------------------------------------------------------------- */

tress_status tr_vae_decode_scaled(tr_vae *v, tr_stream *s, float *image, float *z, int h, int w, int band)
{
    tress_status st = TRESS_OK;
    const tr_vae_config *c = &v->config;
    const int f = tr_vae_factor(v);
    const int64_t n = (int64_t)c->latent_channels * h * w;
    tr_tensor raw, pixels;
    const tr_arena_mark mark = tr_scratch_push(s);
    for (int64_t i = 0; i < n; i++) z[i] = z[i] / c->scale + c->shift;          /* as diffusers rounds it */
    TR_TRY(tr_scratch(s, &raw, TR_F32, TR_DIMS(1, c->latent_channels, h, w)));
    TR_TRY(tr_scratch(s, &pixels, TR_F32, TR_DIMS(1, 3, (int64_t)f * h, (int64_t)f * w)));
    TR_TRY(tr_upload(s, raw, z));
    TR_TRY(tr_vae_decode(v, s, pixels, raw, band));
    TR_TRY(check_finite(s, pixels, "picture"));
    TR_TRY(tr_download(s, image, pixels));
    TR_TRY(tr_stream_sync(s));
    for (int64_t i = 0; i < 3 * (int64_t)f * h * f * w; i++) {
        const float p = image[i] * 0.5f + 0.5f;
        image[i] = p < 0 ? 0 : p > 1 ? 1 : p;
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}
