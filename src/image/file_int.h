/* file_int.h - the three kinds of picture files behind image/file.h. */
#ifndef TRESS_IMAGE_FILE_INT_H
#define TRESS_IMAGE_FILE_INT_H

#include "image/file.h"

/* What a decoder found beside the samples. */
typedef struct tr_file_extra {
    int         orientation;                    /* EXIF, 1..8 */
    const char *keyword;                        /* in: the text wanted, or NULL */
    char       *text;                           /* its value, new, or NULL */
} tr_file_extra;

/* Samples as stored: orientation not applied. *out is new. where names the file. */
TR_CHECKED tress_status tr_png_decode(tr_image **out, tr_file_extra *extra, const uint8_t *bytes, size_t n, const char *where);
TR_CHECKED tress_status tr_jpeg_decode(tr_image **out, tr_file_extra *extra, const uint8_t *bytes, size_t n, const char *where);
TR_CHECKED tress_status tr_webp_decode(tr_image **out, tr_file_extra *extra, const uint8_t *bytes, size_t n, const char *where);
/* *bytes is new (tr_free). */
TR_CHECKED tress_status tr_png_encode(uint8_t **bytes, size_t *n, const tr_image *img, const char *const *text);
TR_CHECKED tress_status tr_jpeg_encode(uint8_t **bytes, size_t *n, const tr_image *img);
TR_CHECKED tress_status tr_webp_encode(uint8_t **bytes, size_t *n, const tr_image *img);

/* The orientation in an EXIF block (TIFF header first, with or without "Exif\0\0" before it): 1..8; 1 when it has none or
 * is damaged, since metadata is no reason to refuse a picture. */
int tr_exif_orientation(const uint8_t *exif, size_t n);
/* Turn and mirror so that the picture stands upright. *img is replaced. */
TR_CHECKED tress_status tr_image_orient(tr_image **img, int orientation);

#define TR_EXTRA_BYTES_MAX ((size_t)64 << 20)   /* of profiles, texts and other chunks beside the samples */

#endif
