/* pixels.h - a picture as samples, and as planes of floats. */
#ifndef TRESS_IMAGE_PIXELS_H
#define TRESS_IMAGE_PIXELS_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Samples as a file has them, interleaved, rows packed; 16-bit ones in host order. EXIF orientation is already applied. */
struct tress_image {
    int      width, height, channels, depth;    /* channels 1..4; depth 8 or 16 */
    void    *data;                              /* owned */
    uint8_t *icc;                               /* owned colour profile, or NULL */
    size_t   n_icc;
};
typedef struct tress_image tr_image;
#define TR_PIXELS_MAX (64ll << 20)              /* the most a picture may have */
#define TR_SIDE_MAX 65535                       /* the longest side, that of JPEG */

TR_CHECKED tress_status tr_image_new(tr_image **out, int width, int height, int channels, int depth);   /* zeroed */
TR_CHECKED tress_status tr_image_copy(tr_image **out, const tr_image *from);                            /* with its profile */
/* A copy of n bytes of icc becomes the profile; NULL takes it away. */
TR_CHECKED tress_status tr_image_set_icc(tr_image *img, const void *icc, size_t n);
size_t tr_image_bytes(const tr_image *img);     /* of its samples */
void tr_image_free(tr_image *img);

/* Planes of floats, [c, h, w] contiguous; colours in 0..1 unless said otherwise. */
typedef struct tr_planes { int c, h, w; float *data; } tr_planes;           /* data owned */
TR_CHECKED tress_status tr_planes_new(tr_planes *out, int c, int h, int w);
void tr_planes_fini(tr_planes *p);
static inline float *tr_plane(tr_planes p, int i) { return p.data + (int64_t)i * p.h * p.w; }
/* RGB [3, h, w] in 0..1; grey is repeated, alpha is dropped (colours as stored, not premultiplied). */
TR_CHECKED tress_status tr_image_rgb(tr_planes *out, const tr_image *img);
/* [1, h, w]: the one channel, or luma 0.299 R + 0.587 G + 0.114 B. */
TR_CHECKED tress_status tr_image_grey(tr_planes *out, const tr_image *img);
/* [1, h, w]: the alpha channel; all ones without one. */
TR_CHECKED tress_status tr_image_alpha(tr_planes *out, const tr_image *img);
/* Planes [1 or 3, h, w] clamped to 0..1 and rounded half to even into a picture of that depth. Fails: NONFINITE. */
TR_CHECKED tress_status tr_planes_image(tr_image **out, tr_planes p, int depth);
/* v in 0..1 to 0..max, rounded half to even: at 2^23 the spacing of floats is 1. NaN gives 0. */
static inline uint32_t tr_quantise(float v, float max)
{
    const float clamped = v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f;
    return (uint32_t)((clamped * max + 8388608.0f) - 8388608.0f);
}

#ifdef __cplusplus
}
#endif
#endif
