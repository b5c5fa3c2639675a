#include "generate/latent.h"

#include <string.h>

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

#define WORK_MAX ((int64_t)2 << 30)             /* bytes the VAE may take where the caller sets no limit */
#define BAND_MIN 8                              /* latent rows */

/* What the VAE takes for latents of h x w in bands of `band` latent rows, counted on a device that computes nothing. */
static tress_status vae_work(int64_t *out, const tr_bundle *m, bool decode, int h, int w, int band)
{
    tress_status st = TRESS_OK;
    tr_device *d = NULL;
    tr_stream *s = NULL;
    tr_vae *v = NULL;
    tr_tensor z, image;
    const tr_vae_config *c = tr_vae_get_config(m->vae);
    const int f = tr_vae_factor(m->vae);
    const tr_device_spec dry = { .kind = TRESS_BACKEND_CPU, .n_thread = tr_device_threads(m->host->device), .dry = true };
    TR_TRY(tr_device_open(&d, &dry));
    TR_TRY(tr_stream_new(&s, d));
    TR_TRY(tr_vae_open(&v, d, m->weights[TR_MODULE_VAE], c));
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

/* The highest band that keeps to the limit, 0 for all rows at once; BAND_MIN where none does. */
static tress_status choose_band(int *out, const tr_bundle *m, bool decode, int h, int w)
{
    tress_status st = TRESS_OK;
    int64_t limit = WORK_MAX, work = 0;
    int band = 0;
    if (m->host->memory_max > 0) {
        limit = m->host->memory_max - tr_weights_bytes(m->weights[TR_MODULE_VAE]) - tr_device_bytes(m->host->device);
        if (limit > WORK_MAX) limit = WORK_MAX;
    }
    TR_TRY(vae_work(&work, m, decode, h, w, 0));
    while (work > limit && band != BAND_MIN) {
        const int half = ((band ? band : h) + 1) / 2;
        band = half < BAND_MIN ? BAND_MIN : half;
        if (band >= h) break;
        TR_TRY(vae_work(&work, m, decode, h, w, band));
    }
    *out = band < h ? band : 0;
done:
    return st;
}

/* ---- encode ---------------------------------------------------------------------------------------------- */

tress_status tr_latent_encode(tr_tensor *out, tr_bundle *m, tr_stream *s, tr_planes image, bool shifted, int64_t b)
{
    tress_status st = TRESS_OK;
    const tr_vae_config *c = tr_vae_get_config(m->vae);
    const int f = tr_vae_factor(m->vae), h = image.h / f, w = image.w / f;
    const int64_t n = (int64_t)c->latent_channels * h * w;
    const float shift = shifted ? c->shift : 0;
    tr_tensor pixels, mean, z = tr_none();
    void *host = NULL;
    const tr_arena_mark mark = tr_scratch_push(s);
    int band = 0;
    TR_ASSERT(image.c == 3 && image.h % f == 0 && image.w % f == 0);
    TR_TRY(choose_band(&band, m, false, h, w));
    TR_TRY(tr_scratch(s, &pixels, TR_F32, TR_DIMS(1, 3, image.h, image.w)));
    TR_TRY(tr_scratch(s, &mean, TR_F32, TR_DIMS(1, c->latent_channels, h, w)));
    TR_TRY(tr_upload(s, pixels, image.data));
    TR_TRY(tr_vae_encode(m->vae, s, mean, tr_none(), pixels, f * band));
    TR_TRY(check_finite(s, mean, "encoding"));
    TR_TRY(tr_alloc_array(&host, n, sizeof(float)));
    TR_TRY(tr_download(s, host, mean));
    TR_TRY(tr_stream_sync(s));
    for (int64_t i = 0; i < n; i++) ((float *)host)[i] = (((float *)host)[i] - shift) * c->scale;
    TR_TRY(tr_device_take(tr_stream_device(s), &z, TR_F32, TR_DIMS(b, c->latent_channels, h, w)));
    for (int64_t i = 0; i < b; i++) TR_TRY(tr_upload(s, tr_slice(z, 0, i, 1), host));
    TR_TRY(tr_stream_sync(s));
    *out = z;
    z = tr_none();
done:
    tr_scratch_pop(s, mark);
    if (!tr_is_none(z)) tr_device_give(tr_stream_device(s), z);
    tr_free(host);
    return st;
}

/* ---- decode ---------------------------------------------------------------------------------------------- */

/* raw [n] = z / scale + shift, on the host, as diffusers rounds it. */
static void unscale(float *z, int64_t n, const tr_vae_config *c)
{
    for (int64_t i = 0; i < n; i++) z[i] = z[i] / c->scale + c->shift;
}

/* host z [c, h, w] scaled -> planes in 0..1 */
static tress_status decode_host(tr_planes to, tr_bundle *m, tr_stream *s, float *z, int h, int w, int band)
{
    tress_status st = TRESS_OK;
    const tr_vae_config *c = tr_vae_get_config(m->vae);
    const int f = tr_vae_factor(m->vae);
    tr_tensor raw, image;
    const tr_arena_mark mark = tr_scratch_push(s);
    unscale(z, (int64_t)c->latent_channels * h * w, c);
    TR_TRY(tr_scratch(s, &raw, TR_F32, TR_DIMS(1, c->latent_channels, h, w)));
    TR_TRY(tr_scratch(s, &image, TR_F32, TR_DIMS(1, 3, (int64_t)f * h, (int64_t)f * w)));
    TR_TRY(tr_upload(s, raw, z));
    TR_TRY(tr_vae_decode(m->vae, s, image, raw, band));
    TR_TRY(check_finite(s, image, "picture"));
    TR_TRY(tr_download(s, to.data, image));
    TR_TRY(tr_stream_sync(s));
    for (int64_t i = 0; i < (int64_t)3 * to.h * to.w; i++) {
        const float p = to.data[i] * 0.5f + 0.5f;
        to.data[i] = p < 0 ? 0 : p > 1 ? 1 : p;
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}

tress_status tr_latent_decode(tr_planes *out, tr_bundle *m, tr_stream *s, tr_tensor z, int64_t i, int band)
{
    tress_status st = TRESS_OK;
    const int h = (int)z.shape[2], w = (int)z.shape[3], f = tr_vae_factor(m->vae);
    tr_planes p = { 0 };
    void *host = NULL;
    if (band < 0) TR_TRY(tr_fail(TRESS_E_ARG, "--vae-band %d, it must be 0 or more latent rows", band));
    if (band == 0) TR_TRY(choose_band(&band, m, true, h, w));
    TR_TRY(tr_planes_new(&p, 3, f * h, f * w));
    TR_TRY(tr_alloc_array(&host, z.shape[1] * h * w, sizeof(float)));
    TR_TRY(tr_download(s, host, tr_slice(z, 0, i, 1)));
    TR_TRY(tr_stream_sync(s));
    TR_TRY(decode_host(p, m, s, host, h, w, band));
    *out = p;
    p = (tr_planes){ 0 };
done:
    tr_free(host);
    tr_planes_fini(&p);
    return st;
}

/* ---- previews -------------------------------------------------------------------------------------------- */

struct tr_preview {
    tr_bundle *m;
    int    c, h, w, k;                          /* latent extents; k x k cells become one */
    float *z, *small;                           /* [c, h, w], [c, h / k, w / k] */
    tr_planes planes;                           /* [3, 8 h / k, 8 w / k] */
    tr_image *image;
};

tress_status tr_preview_new(tr_preview **out, tr_bundle *m, int c, int h, int w)
{
    tress_status st = TRESS_OK;
    tr_preview *p = NULL;
    void *v = NULL;
    const int f = tr_vae_factor(m->vae), side = h > w ? h : w;
    int k = (side + 31) / 32;
    if (k > h) k = h;
    if (k > w) k = w;
    TR_TRY(tr_alloc(&v, sizeof *p));
    p = v;
    *p = (tr_preview){ .m = m, .c = c, .h = h, .w = w, .k = k };
    TR_TRY(tr_alloc_array(&v, (int64_t)c * h * w, sizeof(float)));
    p->z = v;
    TR_TRY(tr_alloc_array(&v, (int64_t)c * (h / k) * (w / k), sizeof(float)));
    p->small = v;
    TR_TRY(tr_planes_new(&p->planes, 3, f * (h / k), f * (w / k)));
    TR_TRY(tr_image_new(&p->image, p->planes.w, p->planes.h, 3, 8));
    *out = p;
    p = NULL;
done:
    tr_preview_free(p);
    return st;
}

tress_status tr_preview_make(tr_preview *p, tr_stream *s, tr_tensor x0, const tr_image **view)
{
    tress_status st = TRESS_OK;
    const int k = p->k, h = p->h / k, w = p->w / k;
    TR_TRY(tr_download(s, p->z, tr_slice(x0, 0, 0, 1)));
    TR_TRY(tr_stream_sync(s));
    for (int i = 0; i < p->c * h * w; i++) {
        const int ch = i / (h * w), y = i / w % h, x = i % w;
        float sum = 0;
        for (int j = 0; j < k * k; j++) sum += p->z[((int64_t)ch * p->h + y * k + j / k) * p->w + x * k + j % k];
        p->small[i] = sum / (float)(k * k);
    }
    TR_TRY(decode_host(p->planes, p->m, s, p->small, h, w, 0));
    uint8_t *to = p->image->data;
    const int64_t n = (int64_t)p->planes.h * p->planes.w;
    for (int64_t i = 0; i < n; i++)
        for (int ch = 0; ch < 3; ch++) to[3 * i + ch] = (uint8_t)(tr_plane(p->planes, ch)[i] * 255 + 0.5f);
    *view = p->image;
done:
    return st;
}

void tr_preview_free(tr_preview *p)
{
    if (!p) return;
    tr_free(p->z);
    tr_free(p->small);
    tr_planes_fini(&p->planes);
    tr_image_free(p->image);
    tr_free(p);
}

/* ---- noise and files ------------------------------------------------------------------------------------- */

tress_status tr_noise_make(tr_tensor *out, tr_stream *s, tr_dims d, uint64_t seed, const char *path)
{
    tress_status st = TRESS_OK;
    tr_safetensors *f = NULL;
    tr_tensor x = tr_none();
    void *host = NULL;
    int64_t n = 1;
    for (int i = 0; i < d.rank; i++) n *= d.n[i];
    TR_TRY(tr_alloc_array(&host, n, sizeof(float)));
    if (path) {
        TR_TRY(tr_safetensors_open(&f, path));
        TR_TRY(tr_safetensors_read_f32(f, "latents", host, d));
    } else {
        tr_mt19937 g;
        tr_mt19937_init(&g, seed);
        tr_mt19937_normal(&g, host, n);
    }
    TR_TRY(tr_device_take(tr_stream_device(s), &x, TR_F32, d));
    TR_TRY(tr_upload(s, x, host));
    TR_TRY(tr_stream_sync(s));
    *out = x;
    x = tr_none();
done:
    if (!tr_is_none(x)) tr_device_give(tr_stream_device(s), x);
    tr_safetensors_close(f);
    tr_free(host);
    return st;
}

tress_status tr_latent_save(tr_stream *s, tr_tensor z, const char *name, const char *path)
{
    tress_status st = TRESS_OK;
    void *host = NULL;
    tr_dims d = { .rank = z.rank };
    for (int i = 0; i < z.rank; i++) d.n[i] = z.shape[i];
    TR_TRY(tr_alloc_array(&host, tr_count(z), sizeof(float)));
    TR_TRY(tr_download(s, host, z));
    TR_TRY(tr_stream_sync(s));
    TR_TRY(tr_safetensors_write(path, &(tr_named){ name, tr_view(host, TR_F32, d) }, 1, NULL));
done:
    tr_free(host);
    return st;
}
