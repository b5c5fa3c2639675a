#include "image/file.h"

#include <stdio.h>

#include <jpeglib.h>
#include <png.h>
#include <webp/decode.h>

/* The version of libjpeg-turbo is a number sequence, not a string. */
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

void tr_image_libraries(char *out, size_t size)
{
    const int webp = WebPGetDecoderVersion();
    snprintf(out, size, "libpng %s, libjpeg-turbo %s, libwebp %d.%d.%d", png_get_libpng_ver(NULL), TEXT(LIBJPEG_TURBO_VERSION),
             webp >> 16, webp >> 8 & 255, webp & 255);
}
