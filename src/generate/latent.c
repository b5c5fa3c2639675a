#include "generate/latent.h"

/* ---- encode and decode ----------------------------------------------------------------------------------- */

static tress_status choose_band(int *out, const tr_bundle *m, bool decode, int h, int w)
{
    return tr_vae_choose_band(out, m->vae, m->weights[TR_MODULE_VAE], decode, h, w,
                              tr_device_is_host(m->host->device) ? m->host->memory_max : m->host->card_max);
}

tress_status tr_latent_encode(tr_tensor *out, tr_bundle *m, tr_stream *s, tr_planes image, bool shifted, int64_t b)
{
    tress_status st = TRESS_OK;
    const int f = tr_vae_factor(m->vae), h = image.h / f, w = image.w / f, c = tr_vae_get_config(m->vae)->latent_channels;
    tr_tensor z = tr_none();
    void *host = NULL;
    int band = 0;
    TR_ASSERT(image.c == 3 && image.h % f == 0 && image.w % f == 0);
    TR_TRY(choose_band(&band, m, false, h, w));
    TR_TRY(tr_alloc_array(&host, (int64_t)c * h * w, sizeof(float)));
    TR_TRY(tr_vae_encode_scaled(m->vae, s, host, NULL, image.data, h, w, shifted, band));
    TR_TRY(tr_device_take(tr_stream_device(s), &z, TR_F32, TR_DIMS(b, c, h, w)));
    for (int64_t i = 0; i < b; i++) TR_TRY(tr_upload(s, tr_slice(z, 0, i, 1), host));
    TR_TRY(tr_stream_sync(s));
    *out = z;
    z = tr_none();
done:
    if (!tr_is_none(z)) tr_device_give(tr_stream_device(s), z);
    tr_free(host);
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
    TR_TRY(tr_vae_decode_scaled(m->vae, s, p.data, host, h, w, band));
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
    const int f = tr_vae_config_factor(&m->vae_config), side = h > w ? h : w;
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
    TR_TRY(tr_vae_decode_scaled(p->m->vae, s, p->planes.data, p->small, h, w, 0));
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
