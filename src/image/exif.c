/* exif.c - the one EXIF tag that changes how a picture looks: its orientation. CIPA DC-008 (EXIF 2.3), TIFF 6.0 section 2. */
#include "image/file_int.h"

#include <string.h>

static uint32_t take(const uint8_t *p, int n, bool little)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v = v << 8 | p[little ? n - 1 - i : i];
    return v;
}

int tr_exif_orientation(const uint8_t *exif, size_t n)
{
    if (exif && n >= 6 && !memcmp(exif, "Exif\0\0", 6)) {
        exif += 6;
        n -= 6;
    }
    if (!exif || n < 14) return 1;
    const bool little = exif[0] == 'I';
    if (memcmp(exif, little ? "II*\0" : "MM\0*", 4)) return 1;
    const uint32_t ifd = take(exif + 4, 4, little);
    if (ifd > n - 2) return 1;
    const uint32_t n_entry = take(exif + ifd, 2, little);
    for (uint32_t i = 0; i < n_entry; i++) {
        const size_t at = (size_t)ifd + 2 + (size_t)i * 12;                      /* tag, type, count, value */
        if (at + 12 > n) return 1;
        if (take(exif + at, 2, little) != 0x0112) continue;
        const uint32_t type = take(exif + at + 2, 2, little), count = take(exif + at + 4, 4, little);
        if (count != 1 || (type != 3 && type != 4)) return 1;                    /* SHORT; some writers use LONG */
        const uint32_t v = take(exif + at + 8, type == 3 ? 2 : 4, little);
        return v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}

tress_status tr_image_orient(tr_image **img, int orientation)
{
    tress_status st = TRESS_OK;
    tr_image *to = NULL;
    const tr_image *from = *img;
    if (orientation <= 1 || orientation > 8) return TRESS_OK;
    const bool swap = orientation >= 5;                                          /* 5..8 exchange rows and columns */
    const bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;   /* read from the right */
    const bool bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;  /* read from the bottom */
    const int w = swap ? from->height : from->width, h = swap ? from->width : from->height;
    const size_t pixel = (size_t)(from->channels * from->depth / 8);
    TR_TRY(tr_image_new(&to, w, h, from->channels, from->depth));
    for (int y = 0; y < h; y++) {
        uint8_t *row = (uint8_t *)to->data + (size_t)y * (size_t)w * pixel;
        for (int x = 0; x < w; x++) {
            int sx = swap ? y : x, sy = swap ? x : y;
            if (right) sx = from->width - 1 - sx;
            if (bottom) sy = from->height - 1 - sy;
            memcpy(row + (size_t)x * pixel, (const uint8_t *)from->data + ((size_t)sy * (size_t)from->width + (size_t)sx) * pixel, pixel);
        }
    }
    to->icc = (*img)->icc;
    to->n_icc = (*img)->n_icc;
    (*img)->icc = NULL;
    tr_image_free(*img);
    *img = to;
    to = NULL;
done:
    tr_image_free(to);
    return st;
}
