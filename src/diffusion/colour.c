#include "diffusion/colour.h"

#include <math.h>

#define GUIDE_SIGMA 0.4f
#define REACH 6.0                               /* sigma of G in latent pixels where the longer side has REACH_SIDE */
#define REACH_SIDE 128.0

struct tr_colour {
    tr_colour_args a;
    tr_device *device;
    tr_tensor  hair, share;                     /* [1, 1, h, w] m; guide m / G(m), 0 where m is */
    tr_tensor  blur_w, blur_h;                  /* [w, w], [h, h]: G along rows and columns */
};

/* out [n, n]: row i has the weights of a Gaussian at i. What lies past the border does not count: the share makes up for it. */
static void gaussian(float *out, int64_t n, double reach)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) out[i * n + j] = (float)(exp(-0.5 * (double)((i - j) * (i - j)) / (reach * reach)) / (reach * sqrt(2 * 3.14159265358979323846)));
}

/* share [h, w] = guide m / G(m). */
static void weigh(float *share, float *rows, const float *m, const float *bw, const float *bh, int64_t h, int64_t w, float guide)
{
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            double sum = 0;
            for (int64_t k = 0; k < w; k++) sum += (double)bw[x * w + k] * (double)m[y * w + k];
            rows[y * w + x] = (float)sum;
        }
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            double sum = 0;
            for (int64_t k = 0; k < h; k++) sum += (double)bh[y * h + k] * (double)rows[k * w + x];
            share[y * w + x] = m[y * w + x] > 0 ? (float)((double)guide * (double)m[y * w + x] / sum) : 0;
        }
}

static tress_status put(tr_tensor *out, tr_stream *s, tr_dims d, const float *from)
{
    tress_status st = TRESS_OK;
    TR_TRY(tr_device_take(tr_stream_device(s), out, TR_F32, d));
    TR_TRY(tr_upload(s, *out, from));
    TR_TRY(tr_stream_sync(s));
done:
    return st;
}

tress_status tr_colour_new(tr_colour **out, tr_stream *s, const tr_colour_args *a)
{
    tress_status st = TRESS_OK;
    tr_colour *c = NULL;
    float *bw = NULL, *bh = NULL, *share = NULL, *rows = NULL;
    void *p = NULL;
    const int64_t h = a->picture.shape[2], w = a->picture.shape[3];
    const double reach = REACH * (double)(h > w ? h : w) / REACH_SIDE;
    TR_TRY(tr_alloc(&p, sizeof *c));
    c = p;
    *c = (tr_colour){ .a = *a, .device = tr_stream_device(s) };
    c->a.hair = NULL;
    TR_TRY(tr_alloc_array(&p, w * w, sizeof *bw));
    bw = p;
    TR_TRY(tr_alloc_array(&p, h * h, sizeof *bh));
    bh = p;
    TR_TRY(tr_alloc_array(&p, h * w, sizeof *share));
    share = p;
    TR_TRY(tr_alloc_array(&p, h * w, sizeof *rows));
    rows = p;
    gaussian(bw, w, reach);
    gaussian(bh, h, reach);
    weigh(share, rows, a->hair, bw, bh, h, w, a->guide);
    TR_TRY(put(&c->hair, s, TR_DIMS(1, 1, h, w), a->hair));
    TR_TRY(put(&c->share, s, TR_DIMS(1, 1, h, w), share));
    TR_TRY(put(&c->blur_w, s, TR_DIMS(w, w), bw));
    TR_TRY(put(&c->blur_h, s, TR_DIMS(h, h), bh));
    *out = c;
    c = NULL;
done:
    tr_free(bw);
    tr_free(bh);
    tr_free(share);
    tr_free(rows);
    tr_colour_free(c);
    return st;
}

void tr_colour_free(tr_colour *c)
{
    if (!c) return;
    const tr_tensor own[] = { c->hair, c->share, c->blur_w, c->blur_h };
    for (int i = 0; i < 4; i++)
        if (!tr_is_none(own[i])) tr_device_give(c->device, own[i]);
    tr_free(c);
}

static tress_status scratch_like(tr_stream *s, tr_tensor *out, tr_tensor x)
{
    return tr_scratch(s, out, TR_F32, TR_DIMS(x.shape[0], x.shape[1], x.shape[2], x.shape[3]));
}

/* d = share G(m d), a pass along the rows, a pass along the columns. */
static tress_status smooth(tr_colour *c, tr_stream *s, tr_tensor d)
{
    static const int turned[] = { 0, 1, 3, 2 };
    tress_status st = TRESS_OK;
    const int64_t b = d.shape[0], k = d.shape[1], h = d.shape[2], w = d.shape[3];
    tr_tensor other, zero;
    TR_TRY(scratch_like(s, &other, d));
    TR_TRY(scratch_like(s, &zero, d));
    TR_TRY(tr_set(s, zero, 0));
    TR_TRY(tr_blend(s, d, c->hair, d, zero));
    TR_TRY(tr_linear(s, tr_reshape(other, TR_DIMS(b * k * h, w)), tr_reshape(d, TR_DIMS(b * k * h, w)), c->blur_w, tr_none(), tr_none(), tr_none(), NULL));
    const tr_tensor across = tr_reshape(d, TR_DIMS(b, k, w, h)), done = tr_reshape(other, TR_DIMS(b, k, w, h));
    TR_TRY(tr_copy(s, across, tr_permute(other, turned)));
    TR_TRY(tr_linear(s, tr_reshape(done, TR_DIMS(b * k * w, h)), tr_reshape(across, TR_DIMS(b * k * w, h)), c->blur_h, tr_none(), tr_none(), tr_none(), NULL));
    TR_TRY(tr_copy(s, d, tr_permute(done, turned)));
    TR_TRY(tr_blend(s, d, c->share, d, zero));
done:
    return st;
}

tress_status tr_colour_after(tr_colour *c, tr_stream *s, tr_tensor x, tr_tensor x0, float sigma, float next)
{
    tress_status st = TRESS_OK;
    const tr_arena_mark mark = tr_scratch_push(s);
    const float start = c->a.start, guide = c->a.guide;
    tr_tensor d;
    TR_TRY(scratch_like(s, &d, x));
    if (guide > 0 && sigma > GUIDE_SIGMA) {
        for (int64_t i = 0; i < x.shape[0]; i++) TR_TRY(tr_axpby(s, tr_slice(d, 0, i, 1), 1, c->a.picture, -1, tr_slice(x0, 0, i, 1)));
        TR_TRY(smooth(c, s, d));
        TR_TRY(tr_axpby(s, x0, 1, x0, 1, d));
        TR_TRY(tr_axpby(s, x, 1, x, 1 - next / sigma, d));
    }
    if (start > 0 && sigma > start && next <= start) {
        for (int64_t i = 0; i < x.shape[0]; i++)
            TR_TRY(tr_axpby(s, tr_slice(d, 0, i, 1), 1 - next, c->a.picture, next, tr_slice(c->a.noise, 0, i, 1)));
        TR_TRY(tr_blend(s, x, c->hair, d, x));
    }
done:
    tr_scratch_pop(s, mark);
    return st;
}
