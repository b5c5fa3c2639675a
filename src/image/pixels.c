/* pixels.c - pictures and planes: making, freeing, turning one into the other. */
#include "image/pixels.h"

#include <math.h>
#include <string.h>

static tress_status check_size(int c, int h, int w)
{
    if (c < 1 || h < 1 || w < 1) return tr_fail(TRESS_E_ARG, "a picture of %d x %d with %d channels", w, h, c);
    if ((int64_t)w * h > TR_PIXELS_MAX || w > TR_SIDE_MAX || h > TR_SIDE_MAX)
        return tr_fail(TRESS_E_ARG, "a picture of %d x %d is over the limit of %lld pixels and %d a side", w, h, TR_PIXELS_MAX, TR_SIDE_MAX);
    return TRESS_OK;
}

tress_status tr_image_new(tr_image **out, int width, int height, int channels, int depth)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    TR_TRY(check_size(channels, height, width));
    if (channels > 4 || (depth != 8 && depth != 16))
        TR_TRY(tr_fail(TRESS_E_ARG, "a picture of %d channels of %d bits; expected 1 to 4 of 8 or 16", channels, depth));
    TR_TRY(tr_alloc((void **)&img, sizeof *img));
    *img = (tr_image){ .width = width, .height = height, .channels = channels, .depth = depth };
    TR_TRY(tr_alloc_array(&img->data, (int64_t)width * height, (size_t)(channels * depth / 8)));
    *out = img;
    img = NULL;
done:
    tr_image_free(img);
    return st;
}

tress_status tr_image_copy(tr_image **out, const tr_image *from)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    TR_TRY(tr_image_new(&img, from->width, from->height, from->channels, from->depth));
    memcpy(img->data, from->data, tr_image_bytes(from));
    TR_TRY(tr_image_set_icc(img, from->icc, from->n_icc));
    *out = img;
    img = NULL;
done:
    tr_image_free(img);
    return st;
}

tress_status tr_image_set_icc(tr_image *img, const void *icc, size_t n)
{
    tress_status st = TRESS_OK;
    uint8_t *copy = NULL;
    if (icc && n) {
        TR_TRY(tr_alloc_raw((void **)&copy, n));
        memcpy(copy, icc, n);
    }
    tr_free(img->icc);
    img->icc = copy;
    img->n_icc = copy ? n : 0;
done:
    return st;
}

size_t tr_image_bytes(const tr_image *img)
{
    return (size_t)img->width * (size_t)img->height * (size_t)(img->channels * img->depth / 8);
}

void tr_image_free(tr_image *img)
{
    if (!img) return;
    tr_free(img->data);
    tr_free(img->icc);
    tr_free(img);
}

tress_status tr_planes_new(tr_planes *out, int c, int h, int w)
{
    tress_status st = TRESS_OK;
    tr_planes p = { .c = c, .h = h, .w = w };
    TR_TRY(check_size(c, h, w));
    TR_TRY(tr_alloc_array((void **)&p.data, (int64_t)c * h * w, sizeof(float)));
    *out = p;
done:
    return st;
}

void tr_planes_fini(tr_planes *p)
{
    tr_free(p->data);
    *p = (tr_planes){ 0 };
}

/* Channel i_from of img into a plane, 0..1. */
static void take_channel(float *to, const tr_image *img, int i_from)
{
    const int64_t n = (int64_t)img->width * img->height;
    const int step = img->channels;
    if (img->depth == 8) {
        const uint8_t *from = (const uint8_t *)img->data + i_from;
        for (int64_t i = 0; i < n; i++) to[i] = (float)from[i * step] / 255.0f;
    } else {
        const uint16_t *from = (const uint16_t *)img->data + i_from;
        for (int64_t i = 0; i < n; i++) to[i] = (float)from[i * step] / 65535.0f;
    }
}

tress_status tr_image_rgb(tr_planes *out, const tr_image *img)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    TR_TRY(tr_planes_new(&p, 3, img->height, img->width));
    for (int c = 0; c < 3; c++) {
        if (img->channels >= 3 || c == 0) take_channel(tr_plane(p, c), img, c);
        else memcpy(tr_plane(p, c), p.data, (size_t)p.w * (size_t)p.h * sizeof(float));
    }
    *out = p;
done:
    return st;
}

tress_status tr_image_grey(tr_planes *out, const tr_image *img)
{
    static const float weight[3] = { 0.299f, 0.587f, 0.114f };                   /* ITU-R BT.601 luma */
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    const int64_t n = (int64_t)img->width * img->height;
    const int step = img->channels;
    TR_TRY(tr_planes_new(&p, 1, img->height, img->width));
    if (step < 3) {
        take_channel(p.data, img, 0);
    } else if (img->depth == 8) {
        const uint8_t *v = img->data;
        for (int64_t i = 0; i < n; i++, v += step)
            p.data[i] = (weight[0] * (float)v[0] + weight[1] * (float)v[1] + weight[2] * (float)v[2]) / 255.0f;
    } else {
        const uint16_t *v = img->data;
        for (int64_t i = 0; i < n; i++, v += step)
            p.data[i] = (weight[0] * (float)v[0] + weight[1] * (float)v[1] + weight[2] * (float)v[2]) / 65535.0f;
    }
    *out = p;
done:
    return st;
}

tress_status tr_image_alpha(tr_planes *out, const tr_image *img)
{
    tress_status st = TRESS_OK;
    tr_planes p = { 0 };
    TR_TRY(tr_planes_new(&p, 1, img->height, img->width));
    if (img->channels == 2 || img->channels == 4) {
        take_channel(p.data, img, img->channels - 1);
    } else {
        const int64_t n = (int64_t)p.w * p.h;
        for (int64_t i = 0; i < n; i++) p.data[i] = 1.0f;
    }
    *out = p;
done:
    return st;
}

tress_status tr_planes_image(tr_image **out, tr_planes p, int depth)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    const int64_t n = (int64_t)p.w * p.h;
    if (p.c != 1 && p.c != 3) TR_TRY(tr_fail(TRESS_E_ARG, "a picture of %d planes; expected 1 or 3", p.c));
    TR_TRY(tr_image_new(&img, p.w, p.h, p.c, depth));
    for (int c = 0; c < p.c; c++) {
        const float *from = tr_plane(p, c);
        int64_t n_bad = 0;
        if (depth == 8) {
            uint8_t *to = (uint8_t *)img->data + c;
            for (int64_t i = 0; i < n; i++) {
                n_bad += !isfinite(from[i]);
                to[i * p.c] = (uint8_t)tr_quantise(from[i], 255.0f);
            }
        } else {
            uint16_t *to = (uint16_t *)img->data + c;
            for (int64_t i = 0; i < n; i++) {
                n_bad += !isfinite(from[i]);
                to[i * p.c] = (uint16_t)tr_quantise(from[i], 65535.0f);
            }
        }
        if (n_bad) TR_TRY(tr_fail(TRESS_E_NONFINITE, "%" PRId64 " of %" PRId64 " values of a picture are not finite", n_bad, n));
    }
    *out = img;
    img = NULL;
done:
    tr_image_free(img);
    return st;
}
