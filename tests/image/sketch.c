/* Strokes, polarity and control pictures. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "image/golden.h"

#define W 64
#define H 48

static tr_image *blank(int channels, int depth, const int *value)
{
    tr_image *img = NULL;
    assert_int_equal(tr_image_new(&img, W, H, channels, depth), TRESS_OK);
    for (int i = 0; i < W * H; i++)
        for (int c = 0; c < channels; c++) {
            if (depth == 8) ((uint8_t *)img->data)[i * channels + c] = (uint8_t)value[c];
            else ((uint16_t *)img->data)[i * channels + c] = (uint16_t)(value[c] * 257);
        }
    return img;
}

static void stroke(tr_image *img, const int *value)                              /* rows 20 to 22, columns 5 to 58 */
{
    for (int y = 20; y < 23; y++)
        for (int x = 5; x < 59; x++)
            for (int c = 0; c < img->channels; c++) {
                const int at = (y * W + x) * img->channels + c;
                if (img->depth == 8) ((uint8_t *)img->data)[at] = (uint8_t)value[c];
                else ((uint16_t *)img->data)[at] = (uint16_t)(value[c] * 257);
            }
}

static bool in_stroke(int x, int y)
{
    return y >= 20 && y < 23 && x >= 5 && x < 59;
}

/* Threshold and polarity: the least step that is a stroke, and the largest that is not. */
static void test_polarity(void **state)
{
    static const struct { int channels, depth, canvas[4], stroke[4]; bool light, found; } cases[] = {
        { 3, 8, { 0, 0, 0 }, { 0, 11, 0 }, false, true },       { 3, 8, { 0, 0, 0 }, { 10, 10, 10 }, false, false },
        { 3, 8, { 100, 90, 80 }, { 100, 90, 69 }, false, true }, { 3, 8, { 100, 90, 80 }, { 100, 90, 70 }, false, false },
        { 3, 8, { 255, 255, 255 }, { 239, 239, 239 }, true, true }, { 3, 8, { 255, 255, 255 }, { 240, 240, 240 }, true, false },
        { 1, 8, { 128 }, { 112 }, true, true },                 { 1, 8, { 127 }, { 255 }, false, true },
        { 1, 8, { 235 }, { 225 }, true, false },                { 1, 8, { 235 }, { 100 }, true, true },
        { 1, 16, { 0 }, { 11 }, false, true },                  { 1, 16, { 255 }, { 239 }, true, true },
        { 4, 8, { 9, 200, 3, 0 }, { 0, 0, 0, 255 }, false, true }, { 4, 8, { 0, 0, 0, 10 }, { 255, 255, 255, 10 }, false, false },
        { 2, 8, { 0, 0 }, { 0, 11 }, false, true },             { 4, 8, { 255, 255, 255, 255 }, { 0, 0, 0, 255 }, true, true },
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        tr_image *img = blank(cases[k].channels, cases[k].depth, cases[k].canvas);
        tr_strokes s = { 0 };
        tr_planes out = { 0 };
        stroke(img, cases[k].stroke);
        assert_int_equal(tr_strokes_read(&s, img), TRESS_OK);
        if (s.light != cases[k].light) fail_msg("case %zu: light %d", k, s.light);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                if (s.mask.data[y * W + x] != (float)(cases[k].found && in_stroke(x, y))) fail_msg("case %zu at %d, %d", k, x, y);
        assert_true(fabs(s.coverage - (cases[k].found ? 3.0 * 54 / (W * H) : 0)) < 1e-12);
        if (cases[k].found) {
            const int c = img->channels < 3 ? 0 : 1;
            assert_true(fabsf(tr_plane(s.rgb, 1)[21 * W + 30] - (float)cases[k].stroke[c] / 255.0f) < 1e-6f);
        }
        assert_true(tr_plane(s.rgb, 1)[0] == 0);
        for (int kind = TRESS_CONTROL_LINES; kind <= TRESS_CONTROL_RAW; kind++) {
            const tress_status st = tr_sketch_render(&out, img, W, H, (tress_control_image)kind);
            assert_int_equal(st, cases[k].found || kind == TRESS_CONTROL_RAW ? TRESS_OK : TRESS_E_FORMAT);
            if (st == TRESS_OK && kind == TRESS_CONTROL_LINES)
                for (int c = 0; c < 3; c++) assert_memory_equal(tr_plane(out, c), s.mask.data, W * H * sizeof(float));
            if (st == TRESS_OK && kind == TRESS_CONTROL_COLOUR) assert_memory_equal(out.data, s.rgb.data, 3 * W * H * sizeof(float));
            tr_planes_fini(&out);
        }
        tr_strokes_fini(&s);
        tr_image_free(img);
    }
}

static void test_pure_unchanged(void **state)
{
    tr_image *img = NULL;
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        tr_planes out = { 0 };
        assert_int_equal(tr_image_new(&img, 96, 80, channels, 8), TRESS_OK);
        for (int y = 0; y < 80; y++)
            for (int x = 0; x < 96; x++)
                memset((uint8_t *)img->data + (y * 96 + x) * channels, tr_philox_uniform(9, 0, (uint64_t)(y * 96 + x)) < 0.1f ? 255 : 0, (size_t)channels);
        assert_int_equal(tr_sketch_render(&out, img, 96, 80, TRESS_CONTROL_LINES), TRESS_OK);
        for (int i = 0; i < 96 * 80; i++)
            for (int c = 0; c < 3; c++) assert_true(tr_plane(out, c)[i] == (float)((uint8_t *)img->data)[i * channels] / 255.0f);
        tr_planes_fini(&out);
        tr_image_free(img);
    }
}

/* Eight-connected pieces of a plane, and of its ground (four-connected), by flooding. */
static int pieces(tr_planes m, bool of_mask)
{
    int n = 0;
    uint8_t *seen = calloc((size_t)(m.w * m.h), 1);
    int *stack = malloc(sizeof(int) * (size_t)(m.w * m.h) * 8);
    assert_true(seen && stack);
    for (int i = 0; i < m.w * m.h; i++) {
        if (seen[i] || (m.data[i] > 0) != of_mask) continue;
        int top = 0;
        n++;
        stack[top++] = i;
        seen[i] = 1;
        while (top) {
            const int at = stack[--top], x = at % m.w, y = at / m.w;
            for (int dy = -1; dy <= 1; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    const int u = x + dx, v = y + dy;
                    if (u < 0 || v < 0 || u >= m.w || v >= m.h || (!of_mask && dx && dy) || seen[v * m.w + u] || (m.data[v * m.w + u] > 0) != of_mask) continue;
                    seen[v * m.w + u] = 1;
                    stack[top++] = v * m.w + u;
                }
        }
    }
    free(seen);
    free(stack);
    return n;
}

static void line(tr_planes m, double x0, double y0, double x1, double y1, double width)
{
    for (int y = 0; y < m.h; y++)
        for (int x = 0; x < m.w; x++) {
            const double dx = x1 - x0, dy = y1 - y0, px = x + 0.5 - x0, py = y + 0.5 - y0;
            double t = (px * dx + py * dy) / (dx * dx + dy * dy);
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            if (hypot(px - t * dx, py - t * dy) <= width / 2) m.data[y * m.w + x] = 1;
        }
}

/* Strokes of 1 to 3 pixels stay whole and narrow from a quarter to twice the size: as many pieces, none wide. */
static void test_sizes(void **state)
{
    static const int sizes[] = { 128, 200, 256, 384, 511, 512, 640, 1024 };
    (void)state;
    for (int width = 1; width <= 3; width++)
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            tr_planes m = { 0 };
            tr_image *img = NULL;
            tr_planes out = { 0 };
            assert_int_equal(tr_planes_new(&m, 1, 512, 512), TRESS_OK);
            line(m, 40, 40, 470, 60, width + 0.2);                               /* one piece of three */
            line(m, 470, 60, 460, 400, width + 0.2);
            line(m, 460, 400, 40, 40, width + 0.2);
            line(m, 30, 100, 200, 470, width + 0.2);
            line(m, 300, 500, 300, 440, width + 0.2);
            line(m, 100, 300.5, 20, 300.5, width + 0.2);
            assert_int_equal(tr_planes_image(&img, m, 8), TRESS_OK);
            const int n_in = pieces(m, true);
            assert_int_equal(tr_sketch_render(&out, img, sizes[k], sizes[k], TRESS_CONTROL_LINES), TRESS_OK);
            tr_planes one = { 1, out.h, out.w, out.data };
            int area = 0, area_in = 0;
            for (int i = 0; i < sizes[k] * sizes[k]; i++) {
                assert_true(out.data[i] == 0 || out.data[i] == 1);
                area += out.data[i] > 0;
            }
            for (int i = 0; i < 512 * 512; i++) area_in += m.data[i] > 0;
            const double f = sizes[k] / 512.0, length = area_in / (width + 0.2) * f, mean = area / length;
            if (pieces(one, true) != n_in) fail_msg("%d px at %d: %d pieces, expected %d", width, sizes[k], pieces(one, true), n_in);
            if (pieces(one, false) != pieces(m, false)) fail_msg("%d px at %d: %d holes", width, sizes[k], pieces(one, false));
            /* never wider than the pen of width + 0.2, half a pixel of raster a side; never thinner than a line */
            const double most = f < 1 ? fmax(1.5, width * f + 0.8) : width + 1.2;
            if (!(mean > 0.75 && mean <= most)) fail_msg("%d px at %d: mean width %.2f, at most %.2f", width, sizes[k], mean, most);
            tr_planes_fini(&out);
            tr_planes_fini(&m);
            tr_image_free(img);
        }
}

/* Pixels that touch by a corner alone hang together at any larger size too, and are at most two wide. */
static void test_corners(void **state)
{
    static const int sizes[] = { 257, 260, 273, 300, 320, 350, 384, 450, 512, 650, 777 };
    (void)state;
    tr_image *img = NULL;
    int n_in = 0;
    assert_int_equal(tr_image_new(&img, 256, 256, 3, 8), TRESS_OK);
    for (int k = 0; k < 8; k++)
        for (double r = 20; r < 110; r += 0.25) {
            const int x = (int)(128 + r * cos(0.2 + k * M_PI / 4)), y = (int)(128 + r * sin(0.2 + k * M_PI / 4));
            uint8_t *v = (uint8_t *)img->data + 3 * (y * 256 + x);
            n_in += v[0] == 0;
            memset(v, 255, 3);
        }
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        tr_planes out = { 0 };
        int n = 0;
        assert_int_equal(tr_sketch_render(&out, img, sizes[k], sizes[k], TRESS_CONTROL_LINES), TRESS_OK);
        if (pieces((tr_planes){ 1, out.h, out.w, out.data }, true) != 8)
            fail_msg("at %d: %d pieces, expected 8", sizes[k], pieces((tr_planes){ 1, out.h, out.w, out.data }, true));
        for (int i = 0; i < sizes[k] * sizes[k]; i++) n += out.data[i] > 0;
        if (!(n < 2 * n_in * sizes[k] / 256)) fail_msg("at %d: %d pixels of %d", sizes[k], n, n_in);
        tr_planes_fini(&out);
    }
    tr_image_free(img);
}

/* A ring stays a ring: no hair grows on its edge. */
static void test_smooth(void **state)
{
    static const int sizes[] = { 300, 700, 1024, 1400 };
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        const int n = sizes[k];
        tr_planes m = { 0 }, out = { 0 };
        tr_image *img = NULL;
        assert_int_equal(tr_planes_new(&m, 1, 512, 512), TRESS_OK);
        for (int y = 0; y < 512; y++)
            for (int x = 0; x < 512; x++) m.data[y * 512 + x] = fabs(hypot(x - 255.3, y - 250.7) - 200) < 1.6;
        assert_int_equal(tr_planes_image(&img, m, 8), TRESS_OK);
        assert_int_equal(tr_sketch_render(&out, img, n, n, TRESS_CONTROL_LINES), TRESS_OK);
        for (int y = 1; y < n - 1; y++)
            for (int x = 1; x < n - 1; x++) {
                int n_near = -1;
                if (!(out.data[y * n + x] > 0)) continue;
                for (int i = 0; i < 9; i++) n_near += out.data[(y + i / 3 - 1) * n + x + i % 3 - 1] > 0;
                if (n_near < 2) fail_msg("at %d: an end at %d, %d", n, x, y);
            }
        tr_planes one = { 1, n, n, out.data };
        assert_int_equal(pieces(one, true), 1);
        assert_int_equal(pieces(one, false), 2);
        tr_planes_fini(&m);
        tr_planes_fini(&out);
        tr_image_free(img);
    }
}

/* A filled shape stays filled when the picture grows. */
static void test_filled(void **state)
{
    tr_image *img = blank(1, 8, (int[]){ 0 });
    tr_planes out = { 0 };
    double area = 0;
    (void)state;
    for (int y = 10; y < 40; y++)
        for (int x = 10; x < 50; x++) ((uint8_t *)img->data)[y * W + x] = 255;
    assert_int_equal(tr_sketch_render(&out, img, 2 * W, 2 * H, TRESS_CONTROL_LINES), TRESS_OK);
    for (int i = 0; i < 4 * W * H; i++) area += out.data[i];
    assert_true(area > 0.3 * 4 * 30 * 40);
    tr_planes_fini(&out);
    tr_image_free(img);
}

static void test_colour(void **state)
{
    tr_image *img = blank(3, 8, (int[]){ 0, 0, 0 });
    tr_planes out = { 0 }, lines = { 0 };
    (void)state;
    stroke(img, (int[]){ 200, 100, 50 });
    for (int k = 0; k < 2; k++) {
        const int w = k ? W * 2 : W / 2, h = k ? H * 2 : H / 2;
        assert_int_equal(tr_sketch_render(&out, img, w, h, TRESS_CONTROL_COLOUR), TRESS_OK);
        assert_int_equal(tr_sketch_render(&lines, img, w, h, TRESS_CONTROL_LINES), TRESS_OK);
        for (int i = 0; i < w * h; i++)
            for (int c = 0; c < 3; c++) {
                static const float want[3] = { 200 / 255.0f, 100 / 255.0f, 50 / 255.0f };
                assert_true(fabsf(tr_plane(out, c)[i] - want[c] * lines.data[i]) < 1e-5f);
            }
        tr_planes_fini(&out);
        tr_planes_fini(&lines);
    }
    tr_image_free(img);
}

static void test_range(void **state)
{
    float v[3] = { 0, 0.5f, 1 };
    const tr_planes p = { 1, 1, 3, v };
    (void)state;
    tr_control_range_apply(p, TRESS_RANGE_VENDOR);
    assert_true(v[0] == 0.5f && v[1] == 64.25f && v[2] == 128.0f);
    v[0] = 0, v[1] = 0.5f, v[2] = 1;
    tr_control_range_apply(p, TRESS_RANGE_SIGNED);
    assert_true(v[0] == -1 && v[1] == 0 && v[2] == 1);
}

/* The real drawings: strokes on black, 2 to 4 % of the picture; sizes up and down keep them whole. */
static void test_real(void **state)
{
    static const char *const names[] = { "braid/sketch/braid_1.png", "braid/sketch/braid_4.png", "braid-test/sketch/braid_2534.png", "braid-test/sketch/braid_2590.png" };
    const char *dir = getenv("TRESS_SHARED_DATA");
    char path[1024];
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        tr_image *img = NULL;
        tr_strokes s = { 0 };
        snprintf(path, sizeof path, "%s/%s", dir ? dir : TRESS_SOURCE_DIR "/../shared/data", names[k]);
        if (!tr_file_exists(path)) {
            print_message("no %s: skipped\n", path);
            skip();
        }
        assert_int_equal(tr_image_read(&img, path), TRESS_OK);
        assert_int_equal(tr_strokes_read(&s, img), TRESS_OK);
        assert_false(s.light);
        if (!(s.coverage > 0.015 && s.coverage < 0.045)) fail_msg("%s: coverage %g", path, s.coverage);
        for (int size = 256; size <= 1024; size *= 4) {
            tr_planes out = { 0 };
            double n = 0;
            assert_int_equal(tr_sketch_render(&out, img, size, size, TRESS_CONTROL_LINES), TRESS_OK);
            for (int i = 0; i < size * size; i++) n += out.data[i];
            const double share = n / size / size, r = share / s.coverage;        /* lines keep pixels of width: the share goes as 1/size */
            if (!(size == 256 ? r > 0.9 && r < 2 : r > 0.35 && r < 0.75)) fail_msg("%s at %d: coverage %g of %g", path, size, share, s.coverage);
            tr_planes_fini(&out);
        }
        tr_strokes_fini(&s);
        tr_image_free(img);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_polarity), cmocka_unit_test(test_pure_unchanged), cmocka_unit_test(test_sizes), cmocka_unit_test(test_corners), cmocka_unit_test(test_smooth), cmocka_unit_test(test_filled),
        cmocka_unit_test(test_colour),   cmocka_unit_test(test_range),          cmocka_unit_test(test_real),
    };
    return cmocka_run_group_tests_name("image/sketch", tests, NULL, NULL);
}
