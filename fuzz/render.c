/* What is done with pictures once they are read: strokes, control pictures, mattes, regions, fills, composites, sheets. The
 * first four bytes choose sizes, the rest is the picture. */
#include "fuzz.h"
#include "image/image.h"

#include <stdlib.h>

static void all_in_range(tr_planes p)
{
    for (int64_t i = 0; i < (int64_t)p.c * p.h * p.w; i++)
        if (!(p.data[i] >= 0 && p.data[i] <= 1)) abort();
}

static void render(const tr_image *img, int w, int h)
{
    for (int kind = TRESS_CONTROL_LINES; kind <= TRESS_CONTROL_RAW; kind++) {
        tr_planes p = { 0 };
        const tress_status st = tr_sketch_render(&p, img, w, h, (tress_control_image)kind);
        fuzz_expect(st);
        if (st == TRESS_OK) all_in_range(p);
        tr_planes_fini(&p);
    }
}

/* The image as photo and as its own matte: whatever alpha leaves alone must keep its bytes. */
static void compose(const tr_image *img, double r)
{
    tr_planes matte = { 0 }, none = { 0 }, soft = { 0 }, region = { 0 }, alpha = { 0 }, rgb = { 0 }, full = { 0 }, drawn = { 0 };
    tr_image *out = NULL, *sheet = NULL;
    int box[4];
    tress_status st = tr_matte_read(&matte, img, "input");
    fuzz_expect(st);
    if (st == TRESS_OK) fuzz_expect(st = tr_matte_soft(&soft, matte));
    if (st == TRESS_OK) all_in_range(soft);
    if (st == TRESS_OK) fuzz_expect(st = tr_edit_region(&region, matte, none, r));
    if (st == TRESS_OK) fuzz_expect(st = tr_composite_alpha(&alpha, matte, none, r));
    if (st == TRESS_OK) fuzz_expect(st = tr_image_rgb(&rgb, img));
    if (st == TRESS_OK) fuzz_expect(st = tr_fill(&full, rgb, region));
    if (st == TRESS_OK) {
        tr_edit_box(box, region);
        fuzz_expect(st = tr_resize_box(&drawn, full, (double[4]){ box[0], box[1], box[2], box[3] }, box[2] - box[0], box[3] - box[1], TR_FILTER_LANCZOS));
    }
    if (st == TRESS_OK) fuzz_expect(st = tr_composite(&out, img, drawn, box, alpha));
    if (st == TRESS_OK) {
        const size_t pixel = (size_t)(img->channels * img->depth / 8);
        for (int64_t i = 0; i < (int64_t)img->width * img->height; i++)
            for (size_t k = 0; k < pixel; k++)
                if (alpha.data[i] == 0 && ((uint8_t *)out->data)[(size_t)i * pixel + k] != ((uint8_t *)img->data)[(size_t)i * pixel + k]) abort();
        fuzz_expect(st = tr_sheet(&sheet, (const tr_image *const[]){ img, out }, NULL, 2, 2, 16 + (int)r));
    }
    tr_planes_fini(&matte);
    tr_planes_fini(&soft);
    tr_planes_fini(&region);
    tr_planes_fini(&alpha);
    tr_planes_fini(&rgb);
    tr_planes_fini(&full);
    tr_planes_fini(&drawn);
    tr_image_free(out);
    tr_image_free(sheet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    tr_image *img = NULL;
    if (n < 4) return 0;
    const tress_status st = tr_image_decode(&img, data + 4, n - 4, "input");
    fuzz_expect(st);
    if (st == TRESS_OK && (int64_t)img->width * img->height <= 4096 && img->width <= 512 && img->height <= 512) {
        render(img, 1 + data[0] % 64, 1 + data[1] % 64);
        compose(img, data[2] % 32 + data[3] / 256.0);
        tr_planes rgb = { 0 }, turned = { 0 };
        if (tr_image_rgb(&rgb, img) == TRESS_OK) {
            const tr_affine m = tr_affine_place(img->width, img->height, data[0], data[1], (1 + data[2]) / 32.0, data[3] * 1.5, data[3] & 1);
            fuzz_expect(tr_affine_apply(&turned, rgb, m, 1 + data[1] % 64, 1 + data[0] % 64, data[2] & 1 ? TR_FILTER_BICUBIC : TR_FILTER_BILINEAR, 0));
            if (turned.data) all_in_range(turned);
        }
        tr_planes_fini(&rgb);
        tr_planes_fini(&turned);
    }
    tr_image_free(img);
    return 0;
}
