/* PNG, JPEG and WebP: whatever decodes has the size it says, and can be written and read again. */
#include "fuzz.h"
#include "image/image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    tr_image *img = NULL;
    tress_status st = tr_image_decode(&img, data, n, "input");
    fuzz_expect(st);
    if (st != TRESS_OK) return 0;
    uint8_t *png = NULL;
    size_t n_png = 0;
    if ((int64_t)img->width * img->height <= 65536) {
        st = tr_image_encode_png(&png, &n_png, img, NULL);
        fuzz_expect(st);
        tr_image *again = NULL;
        if (st == TRESS_OK) {
            fuzz_expect(st = tr_image_decode(&again, png, n_png, "again"));
            if (st != TRESS_OK || again->width != img->width || again->height != img->height) abort();
        }
        tr_image_free(again);
    }
    tr_free(png);
    tr_image_free(img);
    return 0;
}
