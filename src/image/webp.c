/* webp.c - WebP by libwebp: lossy, lossless and alpha in, lossless out, colour profile and EXIF by its container. */
#include "image/file_int.h"

#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

static const char *cause(VP8StatusCode s)
{
    switch (s) {
    case VP8_STATUS_OUT_OF_MEMORY:       return "no memory";
    case VP8_STATUS_BITSTREAM_ERROR:     return "bad bit stream";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "unsupported feature";
    case VP8_STATUS_NOT_ENOUGH_DATA:     return "the file ends too early";
    default:                             return "cannot be decoded";
    }
}

tress_status tr_webp_decode(tr_image **out, tr_file_extra *extra, const uint8_t *bytes, size_t n, const char *where)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    WebPDemuxer *demux = NULL;
    WebPChunkIterator chunk;
    WebPBitstreamFeatures f;
    const WebPData data = { bytes, n };
    memset(&chunk, 0, sizeof chunk);

    VP8StatusCode s = WebPGetFeatures(bytes, n, &f);
    if (s != VP8_STATUS_OK) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: damaged WebP: %s", where, cause(s)));
    if (f.has_animation) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: WebP animation; expected a still picture", where));
    if ((int64_t)f.width * f.height > TR_PIXELS_MAX)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: WebP of %d x %d pixels; at most %lld are read", where, f.width, f.height, TR_PIXELS_MAX));
    demux = WebPDemux(&data);
    if (!demux) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: damaged WebP: its chunks do not fit together", where));

    const int n_channel = f.has_alpha ? 4 : 3;
    TR_TRY(tr_image_new(&img, f.width, f.height, n_channel, 8));
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: this libwebp is of another version than its headers", where));
    config.output.colorspace = n_channel == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = img->data;
    config.output.u.RGBA.stride = f.width * n_channel;
    config.output.u.RGBA.size = tr_image_bytes(img);
    s = WebPDecode(bytes, n, &config);
    if (s == VP8_STATUS_OUT_OF_MEMORY) TR_TRY(tr_fail(TRESS_E_OOM, "%s: no memory to decode a WebP of %d x %d", where, f.width, f.height));
    if (s != VP8_STATUS_OK) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s: damaged WebP: %s", where, cause(s)));

    if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk)) extra->orientation = tr_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
    WebPDemuxReleaseChunkIterator(&chunk);
    memset(&chunk, 0, sizeof chunk);
    if (WebPDemuxGetChunk(demux, "ICCP", 1, &chunk) && chunk.chunk.size <= TR_EXTRA_BYTES_MAX)
        TR_TRY(tr_image_set_icc(img, chunk.chunk.bytes, chunk.chunk.size));
    *out = img;
    img = NULL;
done:
    WebPDemuxReleaseChunkIterator(&chunk);
    WebPDemuxDelete(demux);
    tr_image_free(img);
    return st;
}

tress_status tr_webp_encode(uint8_t **bytes, size_t *n, const tr_image *img)
{
    tress_status st = TRESS_OK;
    uint8_t *copy = NULL, *wide = NULL;
    const uint8_t *pixels = img->data;
    WebPMux *mux = NULL;
    WebPData whole = { NULL, 0 };
    WebPConfig config;
    WebPPicture pic;
    WebPMemoryWriter mem;
    const int n_channel = img->channels <= 2 ? img->channels + 2 : img->channels;
    WebPMemoryWriterInit(&mem);
    if (!WebPPictureInit(&pic)) return tr_fail(TRESS_E_ARG, "this libwebp is of another version than its headers");

    if (img->depth != 8) TR_TRY(tr_fail(TRESS_E_ARG, "a WebP holds 8 bits a channel; the picture has %d: write a PNG", img->depth));
    if (img->width > WEBP_MAX_DIMENSION || img->height > WEBP_MAX_DIMENSION)
        TR_TRY(tr_fail(TRESS_E_ARG, "a WebP is at most %d pixels a side; the picture has %d x %d: write a PNG", WEBP_MAX_DIMENSION, img->width, img->height));
    if (img->channels <= 2) {                                                    /* WebP knows no grey */
        const int64_t n_pixel = (int64_t)img->width * img->height;
        TR_TRY(tr_alloc_array((void **)&wide, n_pixel, (size_t)n_channel));
        for (int64_t i = 0; i < n_pixel; i++) {
            memset(wide + i * n_channel, pixels[i * img->channels], 3);
            if (n_channel == 4) wide[i * 4 + 3] = pixels[i * 2 + 1];
        }
        pixels = wide;
    }
    if (!WebPConfigInit(&config) || !WebPConfigLosslessPreset(&config, 6)) TR_TRY(tr_fail(TRESS_E_ARG, "libwebp refuses its own settings"));
    config.exact = 1;                                                            /* colours under alpha 0 stay */
    pic.use_argb = 1;
    pic.width = img->width;
    pic.height = img->height;
    pic.writer = WebPMemoryWrite;
    pic.custom_ptr = &mem;
    if (!(n_channel == 4 ? WebPPictureImportRGBA(&pic, pixels, img->width * 4) : WebPPictureImportRGB(&pic, pixels, img->width * 3)) ||
        !WebPEncode(&config, &pic))
        TR_TRY(tr_fail(pic.error_code == VP8_ENC_ERROR_BAD_DIMENSION ? TRESS_E_ARG : TRESS_E_OOM, "writing a WebP of %d x %d: libwebp error %d",
                       img->width, img->height, (int)pic.error_code));
    if (img->icc) {
        const WebPData picture = { mem.mem, mem.size }, icc = { img->icc, img->n_icc };
        mux = WebPMuxNew();
        if (!mux || WebPMuxSetImage(mux, &picture, 0) != WEBP_MUX_OK || WebPMuxSetChunk(mux, "ICCP", &icc, 0) != WEBP_MUX_OK ||
            WebPMuxAssemble(mux, &whole) != WEBP_MUX_OK)
            TR_TRY(tr_fail(TRESS_E_OOM, "no memory to put a profile of %zu bytes into a WebP", img->n_icc));
    }
    const uint8_t *from = whole.bytes ? whole.bytes : mem.mem;
    const size_t n_from = whole.bytes ? whole.size : mem.size;
    TR_TRY(tr_alloc_raw((void **)&copy, n_from));
    memcpy(copy, from, n_from);
    *bytes = copy;
    *n = n_from;
done:
    WebPDataClear(&whole);
    WebPMuxDelete(mux);
    WebPPictureFree(&pic);
    WebPMemoryWriterClear(&mem);
    tr_free(wide);
    return st;
}
