/* One map for photo, matte and sketch; what must not change does not change by a byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "generate/canvas.h"

static const tr_canvas_rules rules = { .multiple = 16, .side_max = 384, .side_own = 128, .cell = 8, .needs_sketch = true };

static tr_image *blank(int w, int h, int channels, int depth)
{
    tr_image *img = NULL;
    assert_int_equal(tr_image_new(&img, w, h, channels, depth), TRESS_OK);
    return img;
}

static void fill_box(tr_image *img, int x0, int y0, int x1, int y1, uint8_t v)
{
    assert_int_equal(img->depth, 8);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) memset((uint8_t *)img->data + ((size_t)y * (size_t)img->width + (size_t)x) * (size_t)img->channels, v, (size_t)img->channels);
}

static tr_image *noisy(int w, int h, int channels, int depth)
{
    tr_image *img = blank(w, h, channels, depth);
    uint32_t s = 12345;
    const size_t n = (size_t)w * (size_t)h * (size_t)channels * (size_t)(depth / 8);
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        ((uint8_t *)img->data)[i] = (uint8_t)(s >> 24);
    }
    return img;
}

static tr_image *sketch_of(int w, int h)
{
    tr_image *img = blank(w, h, 3, 8);
    fill_box(img, w / 2 - 2, h / 4, w / 2, 3 * h / 4, 255);
    return img;
}

static tress_generate_args defaults(void)
{
    return (tress_generate_args){ .batch = 1, .strength = 1, .edit_grow = -1, .control_strength = 1, .place = { .scale = 1 } };
}

static void size_without_photo(void **state)
{
    (void)state;
    tr_image *sketch = sketch_of(200, 121);
    tress_generate_args a = defaults();
    tr_canvas c;
    a.sketch = sketch;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    assert_int_equal(c.width, 208);                                 /* 200 / 16 = 12.5, up */
    assert_int_equal(c.height, 128);
    assert_int_equal(c.control.w, 208);
    assert_int_equal(c.control.h, 128);
    assert_null(c.alpha.data);
    tr_canvas_fini(&c);
    a.width = 135, a.height = 90;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    assert_int_equal(c.width, 128);
    assert_int_equal(c.height, 96);
    tr_canvas_fini(&c);
    a.width = 1, a.height = 384;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    assert_int_equal(c.width, 16);
    tr_canvas_fini(&c);
    a.width = 512, a.height = 384;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "384"));
    a.width = 0;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);  /* one side alone */
    tr_canvas_rules free_rules = rules;
    free_rules.needs_sketch = false;
    a = defaults();
    assert_int_equal(tr_canvas_make(&c, &a, &free_rules), TRESS_OK);
    assert_int_equal(c.width, 128);
    assert_null(c.control.data);
    tr_canvas_fini(&c);
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    assert_non_null(strstr(tr_message(), "--sketch"));
    tr_image_free(sketch);
}

static void pure_sketch_passes_unchanged(void **state)
{
    (void)state;
    tr_image *sketch = sketch_of(128, 96);
    tress_generate_args a = defaults();
    tr_canvas c;
    a.sketch = sketch;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 128 * 96; k++)
            assert_true(tr_plane(c.control, i)[k] == (float)((const uint8_t *)sketch->data)[3 * k] / 255);
    tr_canvas_fini(&c);
    tr_image_free(sketch);
}

static void box_and_paste(int channels, int depth)
{
    const int w = 300, h = 200;
    tr_image *photo = noisy(w, h, channels, depth), *matte = blank(w, h, 1, 8), *sketch = sketch_of(w, h), *out = NULL;
    tress_generate_args a = defaults();
    tr_canvas c;
    tr_planes drawn = { 0 };
    fill_box(matte, 180, 90, 220, 130, 255);
    a.photo = photo, a.matte = matte, a.sketch = sketch;
    fill_box(sketch, 190, 100, 193, 125, 255);
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    /* R = ceil(24 * 300 / 1024) = 8: the region is 56 pixels square, the box 1.6 times that round (200, 110) */
    const int side = c.box[2] - c.box[0];
    assert_int_equal(side, c.box[3] - c.box[1]);
    assert_in_range(side, 88, 92);
    assert_in_range((c.box[0] + c.box[2]) / 2, 198, 202);
    assert_in_range((c.box[1] + c.box[3]) / 2, 108, 112);
    assert_int_equal(c.width, 128);
    assert_int_equal(c.height, 128);
    assert_int_equal(c.mask.w, 16);
    assert_int_equal(c.rgb.w, 128);
    double stroke = 0;
    for (int k = 0; k < 128 * 128; k++) stroke += (double)tr_plane(c.control, 1)[k];
    assert_true(stroke > 50);                                       /* the stroke inside the box is there */
    float mask_min = 1, mask_max = 0;
    for (int k = 0; k < 16 * 16; k++) {
        mask_min = fminf(mask_min, c.mask.data[k]);
        mask_max = fmaxf(mask_max, c.mask.data[k]);
    }
    assert_true(mask_min < 0.01f && mask_max == 1.0f);

    assert_int_equal(tr_planes_new(&drawn, 3, 128, 128), TRESS_OK);
    for (int k = 0; k < 3 * 128 * 128; k++) drawn.data[k] = 0.5f;
    assert_int_equal(tr_canvas_finish(&out, &c, drawn), TRESS_OK);
    assert_int_equal(out->width, w);
    assert_int_equal(out->channels, channels);
    assert_int_equal(out->depth, depth);
    const size_t pixel = (size_t)channels * (size_t)(depth / 8);
    int n_kept = 0, n_changed = 0, n_hair = 0;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const size_t i = (size_t)y * (size_t)w + (size_t)x;
            const bool same = memcmp((char *)out->data + i * pixel, (char *)photo->data + i * pixel, pixel) == 0;
            const double dx = fmax(fmax(180 - x, x - 219), 0), dy = fmax(fmax(90 - y, y - 129), 0), far = sqrt(dx * dx + dy * dy);
            if (c.alpha.data[i] == 0 && !same) fail_msg("pixel (%d, %d) lies outside and is not the photo's", x, y);
            if (far > 8 && c.alpha.data[i] != 0) fail_msg("pixel (%d, %d) is %g from the matte and has alpha %g", x, y, far, (double)c.alpha.data[i]);
            if (far == 0 && c.alpha.data[i] != 1) fail_msg("pixel (%d, %d) is hair and has alpha %g", x, y, (double)c.alpha.data[i]);
            n_kept += c.alpha.data[i] == 0;
            n_changed += !same;
            n_hair += far == 0;
        }
    assert_true(n_kept > 50000 && n_hair == 1600 && n_changed >= 1500);
    tr_image_free(out);
    tr_planes_fini(&drawn);
    tr_canvas_fini(&c);
    tr_image_free(photo);
    tr_image_free(matte);
    tr_image_free(sketch);
}

static void into_photos_of_every_kind(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 4; channels++)
        for (int depth = 8; depth <= 16; depth += 8) box_and_paste(channels, depth);
}

static void placed_where_it_lay(void **state)
{
    (void)state;
    tr_image *photo = noisy(300, 200, 3, 8), *matte = blank(300, 200, 1, 8), *sketch = sketch_of(300, 200);
    tress_generate_args a = defaults();
    tr_canvas plain, placed;
    fill_box(matte, 120, 60, 180, 140, 200);
    a.photo = photo, a.matte = matte, a.sketch = sketch;
    for (int kind = 0; kind < 2; kind++) {
        a.control_image = kind ? TRESS_CONTROL_COLOUR : TRESS_CONTROL_LINES;
        a.place.on = false;
        assert_int_equal(tr_canvas_make(&plain, &a, &rules), TRESS_OK);
        a.place = (tress_place){ true, 150, 100, 1, 0, false };     /* the sketch's centre on the photo's */
        assert_int_equal(tr_canvas_make(&placed, &a, &rules), TRESS_OK);
        assert_memory_equal(plain.control.data, placed.control.data, sizeof(float) * 3 * (size_t)plain.width * (size_t)plain.height);
        tr_canvas_fini(&placed);
        a.place.x += 20;                                            /* moved: the same box of the matte and the sketch, elsewhere */
        assert_int_equal(tr_canvas_make(&placed, &a, &rules), TRESS_OK);
        assert_true(placed.box[0] == plain.box[0] + 20 && placed.box[1] == plain.box[1] && placed.box[2] == plain.box[2] + 20);
        assert_memory_equal(plain.control.data, placed.control.data, sizeof(float) * 3 * (size_t)plain.width * (size_t)plain.height);
        tr_canvas_fini(&placed);
        a.place.rotate = 30;
        assert_int_equal(tr_canvas_make(&placed, &a, &rules), TRESS_OK);
        assert_memory_not_equal(plain.control.data, placed.control.data, sizeof(float) * 3 * (size_t)plain.width * (size_t)plain.height);
        tr_canvas_fini(&placed);
        tr_canvas_fini(&plain);
    }
    tr_image *small = sketch_of(64, 64);
    a.sketch = small;                                               /* any size may be placed */
    a.place = (tress_place){ true, 150, 100, 1.5, 30, true };
    assert_int_equal(tr_canvas_make(&placed, &a, &rules), TRESS_OK);
    tr_canvas_fini(&placed);
    a.place.on = false;
    assert_int_equal(tr_canvas_make(&placed, &a, &rules), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "64 x 64"));
    assert_non_null(strstr(tr_message(), "--place"));
    tr_image_free(small);
    tr_image_free(photo);
    tr_image_free(matte);
    tr_image_free(sketch);
}

static void whole_photo_and_shape(void **state)
{
    (void)state;
    tr_image *photo = noisy(300, 150, 3, 8), *matte = blank(300, 150, 1, 8), *sketch = sketch_of(300, 150);
    tress_generate_args a = defaults();
    tr_canvas c;
    fill_box(matte, 40, 20, 260, 130, 255);                         /* the square round it is larger than the photo */
    a.photo = photo, a.matte = matte, a.sketch = sketch;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    assert_true(c.box[0] == 0 && c.box[1] == 0 && c.box[2] == 300 && c.box[3] == 150);
    assert_int_equal(c.width, 176);                                 /* 128^2 pixels as 2 : 1: 181 x 90.5 */
    assert_int_equal(c.height, 96);
    tr_canvas_fini(&c);
    a.width = 256, a.height = 256;                                  /* fitted, not squashed */
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    assert_int_equal(c.width, 256);
    assert_int_equal(c.height, 128);
    tr_canvas_fini(&c);
    tr_image_free(photo);
    tr_image_free(matte);
    tr_image_free(sketch);
}

/* A sketch and a matte of its size go by one map: hair of 40 x 20 on another head, turned a quarter, twice as large. */
static void matte_moves_with_the_sketch(void **state)
{
    (void)state;
    tr_image *photo = noisy(300, 200, 3, 8), *matte = blank(64, 64, 1, 8), *sketch = blank(64, 64, 3, 8), *overlay = NULL, *bare = blank(300, 200, 3, 8);
    tress_generate_args a = defaults();
    tr_canvas c;
    fill_box(matte, 12, 22, 52, 42, 255);
    fill_box(sketch, 12, 22, 14, 42, 255);                          /* a stroke along the matte's left side */
    a.photo = photo, a.matte = matte, a.sketch = sketch, a.edit_grow = 4;
    a.place = (tress_place){ true, 200, 90, 2, 90, false };
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    assert_true(fabs(c.landed - 1) < 1e-9);
    for (int y = 0; y < 200; y++)                                   /* left goes up: 180..220 across, 50..130 down */
        for (int x = 0; x < 300; x++) {
            const double dx = fmax(fmax(180 - x, x - 219), 0), dy = fmax(fmax(50 - y, y - 129), 0), far = sqrt(dx * dx + dy * dy);
            const float alpha = c.alpha.data[y * 300 + x];
            if (far == 0 && alpha != 1) fail_msg("hair at %d, %d has alpha %g", x, y, (double)alpha);
            if (far > 6 && alpha != 0) fail_msg("%d, %d, %g from the hair, has alpha %g", x, y, far, (double)alpha);
        }
    tr_canvas_fini(&c);
    /* the overlay: red hair, green stroke at its upper end, else the photo */
    a.photo = bare;
    assert_int_equal(tr_canvas_overlay(&overlay, &a), TRESS_OK);
    const uint8_t *v = overlay->data, *stroke = v + 3 * (52 * 300 + 200), *hair = v + 3 * (100 * 300 + 200), *out = v + 3 * (52 * 300 + 230);
    assert_true(stroke[1] == 255 && stroke[0] == 0);
    assert_true(hair[0] == 102 && hair[1] == 0);
    assert_true(out[0] == 0 && out[1] == 0);
    tr_image_free(overlay);
    a.photo = photo;
    /* mirrored first: the stroke's end goes down */
    a.place.flip = true;
    assert_int_equal(tr_canvas_overlay(&overlay, &a), TRESS_OK);
    v = overlay->data;
    assert_true(v[3 * (127 * 300 + 200) + 1] == 255 && v[3 * (127 * 300 + 200)] == 0);
    tr_image_free(overlay);
    /* outside, half outside */
    a.place = (tress_place){ true, 500, 90, 1, 0, false };
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    assert_non_null(strstr(tr_message(), "lays the matte outside the photo of 300 x 200"));
    a.place = (tress_place){ true, 10, 90, 1, 0, false };            /* the matte reaches in, its left side does not */
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    assert_non_null(strstr(tr_message(), "lays the strokes over pixels -10 to -9 across and 80 to 99 down"));
    fill_box(sketch, 50, 22, 52, 42, 255);
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
    assert_true(fabs(c.landed - 0.5) < 1e-9);
    tr_canvas_fini(&c);
    /* a matte of neither size */
    tr_image *other = blank(65, 64, 1, 8);
    fill_box(other, 12, 22, 52, 42, 255);
    a.matte = other;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "65 x 64"));
    tr_image_free(other);
    tr_image_free(photo);
    tr_image_free(bare);
    tr_image_free(matte);
    tr_image_free(sketch);
}

/* Joined by bands: the photo's bytes where alpha is 0, the drawn picture deep inside, and a step in tone climbed over a wider border. */
static void joined_by_bands(void **state)
{
    (void)state;
    tr_image *photo = blank(256, 256, 3, 8), *matte = blank(256, 256, 1, 8), *sketch = sketch_of(256, 256), *out[2];
    tress_generate_args a = defaults();
    tr_canvas c;
    tr_planes drawn = { 0 };
    int steepest[2] = { 0, 0 };
    const uint8_t *v[2];
    fill_box(photo, 0, 0, 256, 256, 100);
    fill_box(photo, 0, 0, 3, 256, 11);
    fill_box(matte, 78, 78, 178, 178, 255);
    a.photo = photo, a.matte = matte, a.sketch = sketch, a.edit_grow = 12;
    for (int k = 0; k < 2; k++) {
        a.blend = k ? TRESS_BLEND_BANDS : TRESS_BLEND_FEATHER;
        assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_OK);
        assert_int_equal(tr_planes_new(&drawn, 3, c.height, c.width), TRESS_OK);
        for (int i = 0; i < 3 * c.height * c.width; i++) drawn.data[i] = 160 / 255.0f;
        assert_int_equal(tr_canvas_finish(&out[k], &c, drawn), TRESS_OK);
        v[k] = out[k]->data;
        for (int i = 0; i < 256 * 256; i++)
            if (c.alpha.data[i] == 0) assert_memory_equal(v[k] + 3 * i, (uint8_t *)photo->data + 3 * i, 3);
        assert_int_equal(v[k][3 * (128 * 256 + 128)], 160);
        for (int x = 60; x < 128; x++) {
            const int step = v[k][3 * (128 * 256 + x)] - v[k][3 * (128 * 256 + x - 1)];
            assert_true(step >= 0);
            if (step > steepest[k]) steepest[k] = step;
        }
        tr_planes_fini(&drawn);
        tr_canvas_fini(&c);
    }
    if (!(steepest[1] <= 0.85 * steepest[0])) fail_msg("bands climb by %d a pixel, one border by %d", steepest[1], steepest[0]);
    for (int k = 0; k < 2; k++) tr_image_free(out[k]);
    tr_image_free(photo);
    tr_image_free(matte);
    tr_image_free(sketch);
}

/* The reference is the photo away from the region, and nothing inside the region reaches it or chooses its tokens. */
static void reference_without_the_region(void **state)
{
    (void)state;
    tr_canvas_rules with = rules;
    with.needs_reference = true;
    with.side_own = 320;
    for (int kind = 0; kind < 2; kind++) {                          /* drawn smaller than the box, and larger */
        const int w = kind ? 150 : 500, h = kind ? 110 : 400, cx = w / 3, cy = h / 2, reach = h / 8;
        tr_image *photo = noisy(w, h, 3, 8), *matte = blank(w, h, 1, 8), *old = blank(w, h, 1, 8), *sketch = sketch_of(w, h);
        tress_generate_args a = defaults();
        tr_canvas one, two;
        fill_box(matte, cx - reach, cy - reach, cx + reach, cy + reach, 255);
        fill_box(old, cx + reach, cy - 3, cx + reach + 9, cy + 3, 90);
        a.photo = photo, a.matte = matte, a.old_matte = old, a.sketch = sketch, a.edit_grow = 7;
        assert_int_equal(tr_canvas_make(&one, &a, &rules), TRESS_OK);
        assert_null(one.reference.data);
        tr_canvas_fini(&one);
        assert_int_equal(tr_canvas_make(&one, &a, &with), TRESS_OK);
        /* every pixel within 7 of a matte becomes another */
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const double dx = fmax(fmax(cx - reach - x, x - (cx + reach - 1)), 0), dy = fmax(fmax(cy - reach - y, y - (cy + reach - 1)), 0);
                const double ox = fmax(fmax(cx + reach - x, x - (cx + reach + 8)), 0), oy = fmax(fmax(cy - 3 - y, y - (cy + 2)), 0);
                if (fmin(hypot(dx, dy), hypot(ox, oy)) <= 7) fill_box(photo, x, y, x + 1, y + 1, (uint8_t)(x * 7 + y * 3));
            }
        assert_int_equal(tr_canvas_make(&two, &a, &with), TRESS_OK);
        const size_t n = (size_t)one.width * (size_t)one.height;
        assert_memory_equal(one.reference.data, two.reference.data, sizeof(float) * 3 * n);
        assert_memory_not_equal(one.rgb.data, two.rgb.data, sizeof(float) * 3 * n);
        assert_memory_not_equal(one.held.data, two.held.data, sizeof(float) * 3 * n);       /* the mattes alone are filled there */
        tr_canvas_fini(&two);
        fill_box(photo, cx - reach, cy - reach, cx + reach, cy + reach, 3);
        fill_box(photo, cx + reach, cy - 3, cx + reach + 9, cy + 3, 5);
        tr_canvas three;
        assert_int_equal(tr_canvas_make(&three, &a, &with), TRESS_OK);
        fill_box(photo, cx - reach, cy - reach, cx + reach, cy + reach, 203);
        fill_box(photo, cx + reach, cy - 3, cx + reach + 9, cy + 3, 205);
        assert_int_equal(tr_canvas_make(&two, &a, &with), TRESS_OK);
        assert_memory_equal(three.held.data, two.held.data, sizeof(float) * 3 * n);
        tr_canvas_fini(&three);
        /* tokens: by looking at every photo pixel under each */
        const int tw = one.width / 16, th = one.height / 16;
        assert_true(one.edited.w == tw && one.edited.h == th && one.soft.w == tw && one.soft.h == th);
        int n_in = 0, n_far = 0;
        for (int j = 0; j < th; j++)
            for (int i = 0; i < tw; i++) {
                const double sx = (double)(one.box[2] - one.box[0]) / tw, sy = (double)(one.box[3] - one.box[1]) / th;
                const double x0 = one.box[0] + i * sx, x1 = x0 + sx, y0 = one.box[1] + j * sy, y1 = y0 + sy;
                bool touches = false;
                for (int y = (int)floor(y0 + 1e-9); y < y1 - 1e-9; y++)
                    for (int x = (int)floor(x0 + 1e-9); x < x1 - 1e-9; x++) {
                        const double dx = fmax(fmax(cx - reach - x, x - (cx + reach - 1)), 0), dy = fmax(fmax(cy - reach - y, y - (cy + reach - 1)), 0);
                        const double ox = fmax(fmax(cx + reach - x, x - (cx + reach + 8)), 0), oy = fmax(fmax(cy - 3 - y, y - (cy + 2)), 0);
                        touches |= fmin(hypot(dx, dy), hypot(ox, oy)) <= 7;
                    }
                if ((one.edited.data[j * tw + i] == 1) != touches) fail_msg("token %d, %d of picture %d", i, j, kind);
                double sum = 0;
                for (int v = 0; v < 16; v++)
                    for (int u = 0; u < 16; u++) sum += (double)one.hair.data[(16 * j + v) * one.width + 16 * i + u];
                assert_true(fabs(sum / 256 - (double)one.soft.data[j * tw + i]) <= 1e-6);
                n_in += touches;
                /* a token whose neighbours are out too is the photo's own, as far as the filter reaches */
                bool lonely = true;
                for (int v = -1; v <= 1; v++)
                    for (int u = -1; u <= 1; u++)
                        if (j + v >= 0 && j + v < th && i + u >= 0 && i + u < tw) lonely &= one.edited.data[(j + v) * tw + i + u] == 0;
                if (!lonely) continue;
                n_far++;
                for (int k = 0; k < 3; k++)
                    for (int y = 16 * j; y < 16 * j + 16; y++)
                        assert_memory_equal(tr_plane(one.reference, k) + (size_t)y * (size_t)one.width + 16 * i, tr_plane(one.rgb, k) + (size_t)y * (size_t)one.width + 16 * i, 64);
            }
        if (n_in < 9 || n_far < 9) fail_msg("%d tokens touched, %d far away", n_in, n_far);
        tr_canvas_fini(&one);
        tr_canvas_fini(&two);
        tr_image_free(photo);
        tr_image_free(matte);
        tr_image_free(old);
        tr_image_free(sketch);
    }
}

static void bad_pictures(void **state)
{
    (void)state;
    tr_image *photo = noisy(100, 80, 3, 8), *matte = blank(100, 80, 1, 8), *other = blank(90, 80, 1, 8), *sketch = sketch_of(100, 80);
    tress_generate_args a = defaults();
    tr_canvas c;
    a.sketch = sketch, a.photo = photo;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    a.photo = NULL, a.matte = matte;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    a.photo = photo;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_FORMAT);     /* nothing in the matte */
    a.matte = other;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "90 x 80"));
    fill_box(matte, 0, 0, 100, 80, 255);
    a.matte = matte;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_FORMAT);     /* all of it */
    fill_box(matte, 0, 0, 100, 20, 0);
    fill_box(sketch, 0, 0, 100, 80, 0);
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_FORMAT);     /* no stroke */
    a = defaults();
    a.sketch = sketch, a.inpaint = true;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    a.inpaint = false, a.place.on = true;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    a.place.on = false, a.old_matte = matte;
    assert_int_equal(tr_canvas_make(&c, &a, &rules), TRESS_E_ARG);
    tr_image_free(photo);
    tr_image_free(matte);
    tr_image_free(other);
    tr_image_free(sketch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_without_photo),
        cmocka_unit_test(pure_sketch_passes_unchanged),
        cmocka_unit_test(into_photos_of_every_kind),
        cmocka_unit_test(placed_where_it_lay),
        cmocka_unit_test(whole_photo_and_shape),
        cmocka_unit_test(matte_moves_with_the_sketch),
        cmocka_unit_test(joined_by_bands),
        cmocka_unit_test(reference_without_the_region),
        cmocka_unit_test(bad_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
