/* file.h - PNG, JPEG and WebP, by libpng, libjpeg-turbo and libwebp behind fences: at most TR_PIXELS_MAX pixels, 500
 * JPEG scans, 64 MiB of profiles and texts beside the pixels; a size that the file cannot hold is refused before anything
 * is allocated; library warnings about damage are errors. Grey and RGB alone: a CMYK JPEG is refused, since only its own
 * profile says what its colours are. */
#ifndef TRESS_IMAGE_FILE_H
#define TRESS_IMAGE_FILE_H

#include "image/pixels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out is new. The kind is told by the first bytes, not by the name. EXIF orientation is applied (JPEG, PNG eXIf, WebP);
 * palettes and 1/2/4-bit grey are widened; the ICC profile is kept, gamma is not applied. Fails: IO, FORMAT, OOM. */
TR_CHECKED tress_status tr_image_read(tr_image **out, const char *path);
TR_CHECKED tress_status tr_image_decode(tr_image **out, const void *bytes, size_t n, const char *where);
/* By the ending: .png (text: pairs of keyword and UTF-8 value ending in NULL, or NULL), .jpg/.jpeg (quality 95, 4:4:4, 8
 * bit, no alpha), .webp (lossless, 8 bit, grey as RGB). What the kind cannot hold is TRESS_E_ARG. Atomic (core/file.h). */
TR_CHECKED tress_status tr_image_write(const tr_image *img, const char *path, const char *const *text);
/* As tr_image_write, into memory: name tells the kind by its ending. *bytes is new (tr_free). */
TR_CHECKED tress_status tr_image_encode(uint8_t **bytes, size_t *n, const tr_image *img, const char *name, const char *const *text);
/* PNG into memory; *bytes is new (tr_free). */
TR_CHECKED tress_status tr_image_encode_png(uint8_t **bytes, size_t *n, const tr_image *img, const char *const *text);
/* The value of a PNG text chunk, new (tr_free); NULL in *value when there is none. */
TR_CHECKED tress_status tr_image_read_text(char **value, const char *path, const char *keyword);

/* "libpng 1.6.39, libjpeg-turbo 2.1.5, libwebp 1.2.4" */
void tr_image_libraries(char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
