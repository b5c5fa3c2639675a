/* The composite: the photo's own bytes wherever alpha is 0, for every kind of photo; boxes; sheets; planes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "image/golden.h"

static double uniform(uint64_t stream, uint64_t i)
{
    return tr_philox_uniform(77, stream, i);
}

static tr_image *random_photo(int w, int h, int channels, int depth, uint64_t stream)
{
    tr_image *img = NULL;
    assert_int_equal(tr_image_new(&img, w, h, channels, depth), TRESS_OK);
    for (size_t i = 0; i < tr_image_bytes(img); i++) ((uint8_t *)img->data)[i] = (uint8_t)(256 * uniform(stream, i));
    return img;
}

static double value(const tr_image *img, int64_t i)
{
    return img->depth == 8 ? ((const uint8_t *)img->data)[i] / 255.0 : ((const uint16_t *)img->data)[i] / 65535.0;
}

/* A matte of a few discs, the alpha from it, a drawn picture of noise: over random sizes, all channels, both depths. */
static void test_bytes(void **state)
{
    int64_t n_same = 0, n_changed = 0;
    (void)state;
    for (uint64_t k = 0; k < 64; k++) {
        const int w = 3 + (int)(90 * uniform(1, k)), h = 3 + (int)(70 * uniform(2, k)), channels = 1 + (int)(k % 4), depth = k / 4 % 2 ? 16 : 8;
        const double r = 9 * uniform(3, k);
        tr_image *photo = random_photo(w, h, channels, depth, 10 + k), *out = NULL;
        tr_planes matte = { 0 }, none = { 0 }, alpha = { 0 }, drawn = { 0 }, region = { 0 };
        int box[4];
        assert_int_equal(tr_image_set_icc(photo, "profile", 7), TRESS_OK);
        assert_int_equal(tr_planes_new(&matte, 1, h, w), TRESS_OK);
        const double cx = w * uniform(4, k), cy = h * uniform(5, k), size = 1 + 8 * uniform(6, k);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) matte.data[y * w + x] = hypot(x + 0.5 - cx, y + 0.5 - cy) < size ? 0.5f : 0;
        assert_int_equal(tr_composite_alpha(&alpha, matte, none, r), TRESS_OK);
        assert_int_equal(tr_edit_region(&region, matte, none, r), TRESS_OK);
        tr_edit_box(box, region);
        assert_int_equal(tr_planes_new(&drawn, 3, box[3] - box[1], box[2] - box[0]), TRESS_OK);
        const int64_t n_drawn = (int64_t)drawn.w * drawn.h;
        for (int64_t i = 0; i < 3 * n_drawn; i++) drawn.data[i] = (float)(1.2 * uniform(7, (uint64_t)i) - 0.1);   /* beyond 0..1 too */
        assert_int_equal(tr_composite(&out, photo, drawn, box, alpha), TRESS_OK);
        assert_true(out->width == w && out->height == h && out->channels == channels && out->depth == depth && out->n_icc == 7);
        const size_t pixel = (size_t)(channels * depth / 8);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const int64_t i = (int64_t)y * w + x;
                const float a = alpha.data[i];
                /* the definition of alpha, by looking everywhere */
                double d = INFINITY;
                for (int v = 0; v < h; v++)
                    for (int u = 0; u < w; u++)
                        if (matte.data[v * w + u] > 0) d = fmin(d, hypot(u - x, v - y));
                const double t = d == 0 ? 1 : d >= r ? 0 : 1 - d / r;
                if (!(fabs(a - t * t * (3 - 2 * t)) <= 1e-6)) fail_msg("%g at distance %g of %g", a, d, r);
                if (d >= r && d > 0) assert_true(a == 0);
                if (a == 0) {
                    assert_memory_equal((uint8_t *)out->data + (size_t)i * pixel, (uint8_t *)photo->data + (size_t)i * pixel, pixel);
                    n_same++;
                    continue;
                }
                assert_true(x >= box[0] && x < box[2] && y >= box[1] && y < box[3]);
                n_changed++;
                double v[3];
                for (int c = 0; c < 3; c++) v[c] = fmin(1, fmax(0, tr_plane(drawn, c)[(y - box[1]) * drawn.w + x - box[0]]));
                if (channels < 3) v[0] = 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
                for (int c = 0; c < channels; c++) {
                    const double p = value(photo, i * channels + c), step = depth == 8 ? 255 : 65535;
                    const double want = c == channels - 1 && channels % 2 == 0 ? p : a * v[c] + (1 - a) * p;
                    if (!(fabs(value(out, i * channels + c) - want) * step <= 0.51)) fail_msg("picture %d at %d, %d", (int)k, x, y);
                }
            }
        tr_image_free(photo);
        tr_image_free(out);
        tr_planes_fini(&matte);
        tr_planes_fini(&alpha);
        tr_planes_fini(&drawn);
        tr_planes_fini(&region);
    }
    assert_true(n_same > 20000 && n_changed > 5000);
}

/* Photos out of files of every kind, palettes among them, come out of the composite and of a PNG as they went in. */
static void test_files(void **state)
{
    static const char *const names[] = { "palette4.png", "palette8-trns.png", "grey1.png", "ga16.png", "rgba16-adam7.png", "exif6.jpg", "alpha.webp", "icc.png", "grey.jpg" };
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        char path[512];
        tr_image *photo = NULL, *out = NULL, *back = NULL;
        tr_planes alpha = { 0 }, drawn = { 0 };
        uint8_t *bytes = NULL;
        size_t n = 0;
        snprintf(path, sizeof path, GOLDEN "files/%s", names[k]);
        assert_int_equal(tr_image_read(&photo, path), TRESS_OK);
        assert_int_equal(tr_planes_new(&alpha, 1, photo->height, photo->width), TRESS_OK);
        assert_int_equal(tr_planes_new(&drawn, 3, photo->height, photo->width), TRESS_OK);
        alpha.data[3 * photo->width + 4] = 1;
        const int box[4] = { 0, 0, photo->width, photo->height };
        assert_int_equal(tr_composite(&out, photo, drawn, box, alpha), TRESS_OK);
        assert_int_equal(tr_image_encode_png(&bytes, &n, out, NULL), TRESS_OK);
        assert_int_equal(tr_image_decode(&back, bytes, n, "out.png"), TRESS_OK);
        const size_t pixel = (size_t)(photo->channels * photo->depth / 8), at = (size_t)(3 * photo->width + 4) * pixel;
        assert_int_equal(back->channels, photo->channels);
        assert_int_equal(back->depth, photo->depth);
        assert_int_equal(back->n_icc, photo->n_icc);
        assert_memory_equal(back->data, photo->data, at);
        assert_memory_equal((uint8_t *)back->data + at + pixel, (uint8_t *)photo->data + at + pixel, tr_image_bytes(photo) - at - pixel);
        tr_free(bytes);
        tr_image_free(photo);
        tr_image_free(out);
        tr_image_free(back);
        tr_planes_fini(&alpha);
        tr_planes_fini(&drawn);
    }
}

static void test_refused(void **state)
{
    tr_image *photo = random_photo(20, 10, 3, 8, 1), *out = NULL;
    tr_planes alpha = { 0 }, drawn = { 0 }, none = { 0 }, old = { 0 };
    (void)state;
    assert_int_equal(tr_planes_new(&alpha, 1, 10, 20), TRESS_OK);
    assert_int_equal(tr_planes_new(&drawn, 3, 5, 5), TRESS_OK);
    assert_int_equal(tr_composite(&out, photo, drawn, (int[4]){ 0, 0, 6, 5 }, alpha), TRESS_E_SHAPE);
    assert_int_equal(tr_composite(&out, photo, drawn, (int[4]){ 16, 0, 21, 5 }, alpha), TRESS_E_SHAPE);
    assert_int_equal(tr_composite(&out, photo, drawn, (int[4]){ -1, 0, 4, 5 }, alpha), TRESS_E_SHAPE);
    alpha.w = 19;
    assert_int_equal(tr_composite(&out, photo, drawn, (int[4]){ 0, 0, 5, 5 }, alpha), TRESS_E_SHAPE);
    alpha.w = 20;
    drawn.data[12] = NAN;
    assert_int_equal(tr_composite(&out, photo, drawn, (int[4]){ 0, 0, 5, 5 }, alpha), TRESS_OK);   /* not looked at under alpha 0 */
    tr_image_free(out);
    out = NULL;
    alpha.data[2 * 20 + 2] = 0.5f;
    assert_int_equal(tr_composite(&out, photo, drawn, (int[4]){ 0, 0, 5, 5 }, alpha), TRESS_E_NONFINITE);
    assert_null(out);
    assert_int_equal(tr_planes_new(&old, 1, 9, 20), TRESS_OK);
    assert_int_equal(tr_composite_alpha(&none, alpha, old, 3), TRESS_E_SHAPE);
    assert_int_equal(tr_composite_alpha(&none, alpha, none, NAN), TRESS_E_ARG);
    tr_planes_fini(&alpha);
    tr_planes_fini(&drawn);
    tr_planes_fini(&old);
    tr_image_free(photo);
}

static void test_box(void **state)
{
    static const struct { int w, h, x0, y0, x1, y1, box[4]; } cases[] = {
        { 400, 300, 100, 100, 150, 140, { 85, 80, 165, 160 } },                  /* 50 x 1.6 = 80 round (125, 120) */
        { 400, 300, 0, 0, 50, 40, { 0, 0, 80, 80 } },                            /* moved in from the corner */
        { 400, 300, 350, 260, 400, 300, { 320, 220, 400, 300 } },
        { 400, 300, 20, 20, 270, 280, { 0, 0, 400, 300 } },                      /* 416: the whole photo */
        { 400, 300, 100, 20, 300, 220, { 40, 0, 360, 300 } },                    /* 320: cut to the height */
        { 64, 64, 10, 10, 11, 11, { 9, 9, 11, 11 } },                            /* 1.6 rounded up */
        { 64, 48, 0, 0, 0, 0, { 0, 0, 64, 48 } },                                /* nothing to edit */
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        tr_planes r = { 0 };
        int box[4];
        assert_int_equal(tr_planes_new(&r, 1, cases[k].h, cases[k].w), TRESS_OK);
        for (int y = cases[k].y0; y < cases[k].y1; y++)
            for (int x = cases[k].x0; x < cases[k].x1; x++) r.data[y * r.w + x] = 1;
        tr_edit_box(box, r);
        for (int i = 0; i < 4; i++)
            if (box[i] != cases[k].box[i]) fail_msg("case %zu: %d %d %d %d", k, box[0], box[1], box[2], box[3]);
        tr_planes_fini(&r);
    }
}

static void test_sheet(void **state)
{
    static const char *const labels[] = { "a wide one", NULL, "머리 grey", "a label that is too long for its cell" };
    tr_image *pictures[4] = { 0 }, *sheet = NULL;
    (void)state;
    assert_int_equal(tr_image_new(&pictures[0], 90, 30, 3, 8), TRESS_OK);
    assert_int_equal(tr_image_new(&pictures[1], 20, 60, 3, 16), TRESS_OK);
    assert_int_equal(tr_image_new(&pictures[2], 8, 8, 1, 8), TRESS_OK);
    assert_int_equal(tr_image_new(&pictures[3], 8, 8, 4, 8), TRESS_OK);
    memset(pictures[0]->data, 255, tr_image_bytes(pictures[0]));
    assert_int_equal(tr_sheet(&sheet, (const tr_image *const *)pictures, labels, 4, 3, 60), TRESS_OK);
    assert_int_equal(sheet->width, 8 + 3 * 68);
    assert_int_equal(sheet->height, 8 + 2 * (60 + 8 + 12));
    const uint8_t *v = sheet->data;
#define AT(x, y) v[((y) * sheet->width + (x)) * 3]
    assert_true(AT(0, 0) == 119 && AT(9, 9) == 119);                             /* ground; above the wide picture */
    assert_true(AT(10, 38) == 255 && AT(66, 38) == 255);                         /* fitted: 60 x 20 in the middle */
    assert_true(AT(10, 26) == 119 && AT(10, 50) == 119);
    assert_true(AT(106, 10) == 0 && AT(80, 10) == 119);                          /* the tall one */
    assert_true(AT(150, 20) == 0);                                               /* enlarged grey */
    assert_true(AT(20, 100) == 119);                                             /* wholly transparent */
    int n_lit[3] = { 0 };
    for (int i = 0; i < 3; i++)
        for (int y = 72; y < 80; y++)
            for (int x = 0; x < 68; x++) n_lit[i] += AT(8 + i * 68 + x, y) == 255;
    assert_true(n_lit[0] > 60 && n_lit[1] == 0 && n_lit[2] > 60);
    tr_image_free(sheet);
    sheet = NULL;
    assert_int_equal(tr_sheet(&sheet, (const tr_image *const *)pictures, NULL, 0, 3, 60), TRESS_E_ARG);
    assert_int_equal(tr_sheet(&sheet, (const tr_image *const *)pictures, NULL, 4, 0, 60), TRESS_E_ARG);
    assert_int_equal(tr_sheet(&sheet, (const tr_image *const *)pictures, NULL, 4, 2, 60), TRESS_OK);
    assert_int_equal(sheet->height, 8 + 2 * 68);
    tr_image_free(sheet);
    for (int i = 0; i < 4; i++) tr_image_free(pictures[i]);
}

static void test_planes(void **state)
{
    (void)state;
    for (int depth = 8; depth <= 16; depth += 8)                                 /* every value there and back */
        for (int channels = 1; channels <= 4; channels++) {
            const int n = depth == 8 ? 256 : 65536;
            tr_image *img = NULL, *back = NULL;
            tr_planes rgb = { 0 }, grey = { 0 }, alpha = { 0 };
            assert_int_equal(tr_image_new(&img, 256, n / 256, channels, depth), TRESS_OK);
            for (int i = 0; i < n * channels; i++) {
                if (depth == 8) ((uint8_t *)img->data)[i] = (uint8_t)(i / channels + i % channels * 50);
                else ((uint16_t *)img->data)[i] = (uint16_t)(i / channels + i % channels * 5000);
            }
            assert_int_equal(tr_image_rgb(&rgb, img), TRESS_OK);
            assert_int_equal(tr_image_grey(&grey, img), TRESS_OK);
            assert_int_equal(tr_image_alpha(&alpha, img), TRESS_OK);
            assert_int_equal(tr_planes_image(&back, rgb, depth), TRESS_OK);
            for (int i = 0; i < n; i++) {
                for (int c = 0; c < 3; c++) assert_true(value(back, i * 3 + c) == value(img, i * channels + (channels < 3 ? 0 : c)));
                const double y = channels < 3 ? value(img, i * channels) : 0.299 * value(img, i * channels) + 0.587 * value(img, i * channels + 1) + 0.114 * value(img, i * channels + 2);
                assert_true(fabs(grey.data[i] - y) <= 2e-7);
                assert_true(fabs(alpha.data[i] - (channels % 2 ? 1 : value(img, i * channels + channels - 1))) <= 1e-7);
            }
            tr_image_free(img);
            tr_image_free(back);
            tr_planes_fini(&rgb);
            tr_planes_fini(&grey);
            tr_planes_fini(&alpha);
        }
    float v[8] = { -1, 0.5f / 255, 1.5f / 255, 2.5f / 255, 1.0f, 7, 0.2f, 0.999f };     /* half to even, clamped */
    static const uint8_t want[8] = { 0, 0, 2, 2, 255, 255, 51, 255 };
    tr_planes p = { 1, 2, 4, v };
    tr_image *img = NULL;
    assert_int_equal(tr_planes_image(&img, p, 8), TRESS_OK);
    assert_memory_equal(img->data, want, 8);
    tr_image_free(img);
    img = NULL;
    v[3] = NAN;
    assert_int_equal(tr_planes_image(&img, p, 8), TRESS_E_NONFINITE);
    v[3] = INFINITY;
    assert_int_equal(tr_planes_image(&img, p, 16), TRESS_E_NONFINITE);
    p.c = 2;
    assert_int_equal(tr_planes_image(&img, p, 8), TRESS_E_ARG);
    assert_int_equal(tr_image_new(&img, 0, 5, 3, 8), TRESS_E_ARG);
    assert_int_equal(tr_image_new(&img, 65536, 1, 3, 8), TRESS_E_ARG);
    assert_int_equal(tr_image_new(&img, 10000, 10000, 3, 8), TRESS_E_ARG);
    assert_int_equal(tr_image_new(&img, 5, 5, 5, 8), TRESS_E_ARG);
    assert_int_equal(tr_image_new(&img, 5, 5, 3, 12), TRESS_E_ARG);
    assert_null(img);
}

/* Bands that all enter whole give the drawn picture, none the photo, half their mean; and a fine texture is kept where the tone is taken over. */
static void test_bands(void **state)
{
    (void)state;
    for (int k = 0; k < 6; k++) {
        const int w = (int[]){ 64, 33, 5, 1, 130, 71 }[k], h = (int[]){ 64, 47, 7, 9, 3, 130 }[k];
        tr_planes photo = { 0 }, drawn = { 0 }, want = { 0 }, alpha = { 0 };
        for (int half = 0; half < 3; half++) {                      /* alpha 0, 1/2, 1 everywhere */
            assert_int_equal(tr_planes_new(&photo, 3, h, w), TRESS_OK);
            assert_int_equal(tr_planes_new(&drawn, 3, h, w), TRESS_OK);
            assert_int_equal(tr_planes_new(&want, 3, h, w), TRESS_OK);
            assert_int_equal(tr_planes_new(&alpha, 1, h, w), TRESS_OK);
            for (int i = 0; i < 3 * w * h; i++) {
                photo.data[i] = (float)uniform(21, (uint64_t)i);
                drawn.data[i] = (float)uniform(22, (uint64_t)i);
                want.data[i] = photo.data[i] + (float)half / 2 * (drawn.data[i] - photo.data[i]);
            }
            for (int i = 0; i < w * h; i++) alpha.data[i] = (float)half / 2;
            assert_int_equal(tr_join_bands(drawn, photo, alpha, 5), TRESS_OK);
            for (int i = 0; i < 3 * w * h; i++)
                if (!(fabsf(drawn.data[i] - want.data[i]) <= 1e-5f)) fail_msg("%d x %d, %d halves: %g for %g", w, h, half, (double)drawn.data[i], (double)want.data[i]);
            tr_planes_fini(&photo);
            tr_planes_fini(&drawn);
            tr_planes_fini(&want);
            tr_planes_fini(&alpha);
        }
    }
    tr_planes photo = { 0 }, drawn = { 0 }, alpha = { 0 };
    assert_int_equal(tr_planes_new(&photo, 1, 128, 256), TRESS_OK);
    assert_int_equal(tr_planes_new(&drawn, 1, 128, 256), TRESS_OK);
    assert_int_equal(tr_planes_new(&alpha, 1, 128, 256), TRESS_OK);
    for (int y = 0; y < 128; y++)
        for (int x = 0; x < 256; x++) {
            const int i = y * 256 + x;
            photo.data[i] = 0.3f;
            drawn.data[i] = 0.6f + (x & 1 ? 0.1f : -0.1f);          /* lighter, and striped */
            alpha.data[i] = x >= 128;
        }
    assert_int_equal(tr_join_bands(drawn, photo, alpha, 5), TRESS_OK);
    const float *v = drawn.data + 64 * 256;
    double stripes = 0, tone[2] = { 0, 0 };
    for (int x = 136; x < 144; x++) stripes += fabs((double)(v[x + 1] - v[x])) / 8;
    for (int x = 0; x < 8; x++) {
        tone[0] += (double)v[120 + x] / 8;
        tone[1] += (double)v[128 + x] / 8;
    }
    assert_true(stripes > 0.18);                                    /* the fine octave is all there close to the border */
    assert_true(tone[1] - tone[0] < 0.15);                          /* and the step of 0.3 in tone is not: it is climbed over 32 pixels */
    assert_true(fabsf(v[255] - v[253]) < 1e-3f && fabs((double)(v[255] + v[254]) / 2 - 0.6) < 0.01);
    tr_planes wrong = alpha;
    wrong.w = 255;
    assert_int_equal(tr_join_bands(drawn, photo, wrong, 5), TRESS_E_SHAPE);
    tr_planes_fini(&photo);
    tr_planes_fini(&drawn);
    tr_planes_fini(&alpha);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_bands), cmocka_unit_test(test_files), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_box),   cmocka_unit_test(test_sheet), cmocka_unit_test(test_planes),
    };
    return cmocka_run_group_tests_name("image/composite", tests, NULL, NULL);
}
