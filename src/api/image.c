#include "api/api_int.h"
#include "image/image.h"

#include <string.h>

/* The handle is not read by any of these today; it is part of the calls so that limits per handle can come. */

tress_status tress_image_load(tress *t, tress_image **out, const char *path)
{
    if (!t || !out || !path) return tr_fail(TRESS_E_ARG, "tress_image_load: handle, out and path must be given");
    return tr_image_read(out, path);
}

tress_status tress_image_new(tress *t, tress_image **out, const tress_image_info *info, const void *pixels)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    if (!t || !out || !info || !pixels) return tr_fail(TRESS_E_ARG, "tress_image_new: handle, out, info and pixels must be given");
    if (info->width < 1 || info->height < 1 || info->channels < 1 || info->channels > 4 || (info->depth != 8 && info->depth != 16))
        return tr_fail(TRESS_E_ARG, "tress_image_new: %d x %d pixels of %d channels of %d bits; expected sides from 1, 1 to 4 channels, 8 or 16 bits",
                       info->width, info->height, info->channels, info->depth);
    TR_TRY(tr_image_new(&img, info->width, info->height, info->channels, info->depth));
    memcpy(img->data, pixels, (size_t)info->width * (size_t)info->height * (size_t)info->channels * (size_t)(info->depth / 8));
    *out = img;
    img = NULL;
done:
    tr_image_free(img);
    return st;
}

tress_status tress_image_save(tress *t, const tress_image *img, const char *path, const char *const *text)
{
    if (!t || !img || !path) return tr_fail(TRESS_E_ARG, "tress_image_save: handle, picture and path must be given");
    return tr_image_write(img, path, text);
}

tress_status tress_image_sheet(tress *t, tress_image **out, const tress_image *const *pictures, const char *const *labels, int n, int n_column, int cell)
{
    if (!t || !out || !pictures) return tr_fail(TRESS_E_ARG, "tress_image_sheet: handle, out and pictures must be given");
    if (n < 1 || n > 4096 || n_column < 1 || cell < 16 || cell > 4096)
        return tr_fail(TRESS_E_ARG, "tress_image_sheet: %d pictures in %d columns of cells of %d; expected 1 to 4096 pictures, columns from 1, cells of 16 to 4096", n, n_column, cell);
    return tr_sheet(out, pictures, labels, n, n_column, cell);
}

tress_image_info tress_image_get_info(const tress_image *img)
{
    tress_image_info i = { 0 };
    if (!img) return i;
    return (tress_image_info){ img->width, img->height, img->channels, img->depth, img->icc != NULL };
}

const void *tress_image_pixels(const tress_image *img) { return img ? img->data : NULL; }
void tress_image_free(tress_image *img) { tr_image_free(img); }
