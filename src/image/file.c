/* file.c - picture files: which kind is it, and to whom does it go. */
#include "image/file_int.h"

#include <string.h>
#include <strings.h>

/* The largest a picture within the limits can be: 64 megapixels of 8 bytes, and the chunks beside them. */
#define FILE_BYTES_MAX ((size_t)TR_PIXELS_MAX * 8 + TR_EXTRA_BYTES_MAX)

static tress_status decode(tr_image **out, tr_file_extra *extra, const uint8_t *bytes, size_t n, const char *where)
{
    extra->orientation = 1;
    if (n >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8)) return tr_png_decode(out, extra, bytes, n, where);
    if (n >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3)) return tr_jpeg_decode(out, extra, bytes, n, where);
    if (n >= 12 && !memcmp(bytes, "RIFF", 4) && !memcmp(bytes + 8, "WEBP", 4)) return tr_webp_decode(out, extra, bytes, n, where);
    if (n < 12) return tr_fail(TRESS_E_FORMAT, "%s: %zu bytes are no picture; expected PNG, JPEG or WebP", where, n);
    return tr_fail(TRESS_E_FORMAT, "%s: begins with %02x %02x %02x %02x; expected a PNG, JPEG or WebP picture", where, bytes[0], bytes[1], bytes[2],
                   bytes[3]);
}

tress_status tr_image_decode(tr_image **out, const void *bytes, size_t n, const char *where)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    tr_file_extra extra = { 0 };
    TR_TRY(decode(&img, &extra, bytes, n, where));
    TR_TRY(tr_image_orient(&img, extra.orientation));
    *out = img;
    img = NULL;
done:
    tr_image_free(img);
    tr_free(extra.text);
    return st;
}

tress_status tr_image_read(tr_image **out, const char *path)
{
    tress_status st = TRESS_OK;
    char *bytes = NULL;
    size_t n = 0;
    TR_TRY(tr_file_read(&bytes, &n, path, FILE_BYTES_MAX));
    TR_TRY(tr_image_decode(out, bytes, n, path));
done:
    tr_free(bytes);
    return st;
}

tress_status tr_image_read_text(char **value, const char *path, const char *keyword)
{
    tress_status st = TRESS_OK;
    char *bytes = NULL;
    size_t n = 0;
    tr_image *img = NULL;
    tr_file_extra extra = { .keyword = keyword };
    TR_TRY(tr_file_read(&bytes, &n, path, FILE_BYTES_MAX));
    TR_TRY(decode(&img, &extra, (const uint8_t *)bytes, n, path));
    *value = extra.text;
    extra.text = NULL;
done:
    tr_free(extra.text);
    tr_image_free(img);
    tr_free(bytes);
    return st;
}

tress_status tr_image_encode_png(uint8_t **bytes, size_t *n, const tr_image *img, const char *const *text)
{
    return tr_png_encode(bytes, n, img, text);
}

tress_status tr_image_encode(uint8_t **bytes, size_t *n, const tr_image *img, const char *name, const char *const *text)
{
    const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
    if (dot && !strcasecmp(dot, ".png")) return tr_png_encode(bytes, n, img, text);
    const bool jpeg = dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg")), webp = dot && !strcasecmp(dot, ".webp");
    if (!jpeg && !webp) return tr_fail(TRESS_E_ARG, "%s: the name of a picture ends in .png, .jpg or .webp", name);
    if (text && text[0]) return tr_fail(TRESS_E_ARG, "%s: only a PNG carries texts", name);
    return jpeg ? tr_jpeg_encode(bytes, n, img) : tr_webp_encode(bytes, n, img);
}

tress_status tr_image_write(const tr_image *img, const char *path, const char *const *text)
{
    tress_status st = TRESS_OK;
    uint8_t *bytes = NULL;
    size_t n = 0;
    TR_TRY(tr_image_encode(&bytes, &n, img, path, text));
    TR_TRY(tr_file_write(path, bytes, n));
done:
    tr_free(bytes);
    return st;
}
