#include "data/load.h"

#include <string.h>

#define FILE_BYTES_MAX ((size_t)TR_PIXELS_MAX * 8 + ((size_t)64 << 20))        /* the most that a picture can be, and what lies beside it */

tress_status tr_data_load(tr_image **out, char hash[65], const char *path)
{
    tress_status st = TRESS_OK;
    tr_sha256 *h = NULL;
    char *bytes = NULL;
    size_t n = 0;
    hash[0] = 0;
    TR_TRY(tr_file_read(&bytes, &n, path, FILE_BYTES_MAX));
    TR_TRY(tr_sha256_new(&h));
    TR_TRY(tr_sha256_add(h, bytes, n));
    TR_TRY(tr_sha256_hex(h, hash));
    TR_TRY(tr_image_decode(out, bytes, n, path));
done:
    tr_sha256_free(h);
    tr_free(bytes);
    return st;
}

tress_status tr_data_load_item(tr_image *out[TR_DATA_KINDS], const tr_data_item *item, const char *const hash[TR_DATA_KINDS])
{
    tress_status st = TRESS_OK;
    tr_image *img[TR_DATA_KINDS] = { NULL };
    char now[65];
    for (int k = 0; k < TR_DATA_KINDS; k++) {
        TR_TRY(tr_data_load(&img[k], now, item->path[k]));
        if (strcmp(now, hash[k]) != 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: has changed since the data set was checked", item->path[k]));
    }
    memcpy(out, img, sizeof img);
    memset(img, 0, sizeof img);
done:
    for (int k = 0; k < TR_DATA_KINDS; k++) tr_image_free(img[k]);
    return st;
}
