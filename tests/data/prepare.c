/* One frame for photo, matte and sketch: sizes, the one map, padding, chance, strokes that stay. */
#include "data/draw.h"

static tr_prepare_spec plain(int resolution)
{
    return (tr_prepare_spec){ .resolution = resolution, .multiple = 16, .side_max = 4096, .cell = 8, .seed = 7 };
}

static void free_images(tr_image *img[TR_DATA_KINDS])
{
    for (int k = 0; k < TR_DATA_KINDS; k++) tr_image_free(img[k]);
}

static tr_prepared prepare(const tr_prepare_spec *s, tr_image *const img[TR_DATA_KINDS], const char *name, bool augment, uint64_t draw)
{
    tr_prepared p = { 0 };
    ok(tr_prepare(&p, s, img, name, augment, draw));
    assert_int_equal(p.photo.w, p.width);
    assert_int_equal(p.control.h, p.height);
    assert_int_equal(p.mask.w, p.width / s->cell);
    for (int64_t i = 0; i < 3ll * p.width * p.height; i++)
        if (!(p.photo.data[i] >= 0 && p.photo.data[i] <= 1 && p.control.data[i] >= 0 && p.control.data[i] <= 1)) fail_msg("a value outside 0..1");
    for (int64_t i = 0; i < (int64_t)p.mask.w * p.mask.h; i++)
        if (!(p.mask.data[i] >= 0 && p.mask.data[i] <= 1)) fail_msg("a mask value outside 0..1");
    return p;
}

/* ---- sizes ----------------------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
    (void)state;
    static const int resolution[] = { 64, 256, 500, 512, 1024 };
    int w, h;
    for (int r = 0; r < 5; r++) {
        tr_prepare_spec s = plain(resolution[r]);
        tr_prepare_size(&w, &h, &s, 300, 100);
        assert_int_equal(w, resolution[r] / 16 * 16);
        assert_int_equal(h, w);
        s.buckets = true;
        for (int pw = 100; pw <= 1000; pw += 7)
            for (int ph = 100; ph <= 1000; ph += 113) {
                tr_prepare_size(&w, &h, &s, pw, ph);
                assert_true(w % 16 == 0 && h % 16 == 0 && w >= resolution[r] / 2 && h >= resolution[r] / 2);
                assert_true((int64_t)w * h <= (int64_t)resolution[r] * resolution[r]);
                assert_true((int64_t)w * h > (int64_t)resolution[r] * resolution[r] / 4 * 3 || resolution[r] < 256);
                const double off = fabs(log((double)w / h * ph / pw));            /* at most a step's worth where the shape is allowed */
                if (pw <= 3 * ph && ph <= 3 * pw && resolution[r] >= 256 && !(off < log(1.17))) fail_msg("%d x %d for %d x %d at %d", w, h, pw, ph, resolution[r]);
            }
    }
    tr_prepare_spec s = plain(1024);
    s.buckets = true;
    static const int want[][4] = { { 512, 512, 1024, 1024 }, { 3000, 2000, 1216, 832 }, { 2000, 3000, 832, 1216 }, { 1920, 1080, 1344, 768 } };
    for (int i = 0; i < 4; i++) {
        tr_prepare_size(&w, &h, &s, want[i][0], want[i][1]);
        if (w != want[i][2] || h != want[i][3]) fail_msg("%d x %d becomes %d x %d", want[i][0], want[i][1], w, h);
    }
    s.side_max = 1100;
    tr_prepare_size(&w, &h, &s, 300, 100);
    assert_true(w <= 1100);
}

static void refused(tr_prepare_spec s, const char *why)
{
    assert_int_equal(tr_prepare_check(&s), TRESS_E_ARG);
    if (!strstr(tr_message(), why)) fail_msg("\"%s\" does not say \"%s\"", tr_message(), why);
}

static void test_refused(void **state)
{
    (void)state;
    tr_prepare_spec s = plain(1024);
    ok(tr_prepare_check(&s));
#define WITH(field, value) (s = plain(1024), s.field = (value), s)
    refused(WITH(resolution, 32), "--resolution 32");
    refused(WITH(resolution, 5000), "--resolution 5000");
    refused(WITH(mask_blur, -1), "--mask-blur -1");
    refused(WITH(mask_grow, NAN), "--mask-grow");
    refused(WITH(augment.rotate, 90), "--augment-rotate 90");
    refused(WITH(augment.translate, 0.6), "--augment-translate");
    refused(WITH(augment.scale, 2), "--augment-scale");
    refused(WITH(augment.stroke_width, 17), "--augment-stroke-width");
    s = plain(1024);
    s.augment.stroke_width = 1;
    s.control_image = TRESS_CONTROL_RAW;
    refused(s, "raw");
    /* too thin to be scaled: 30000 x 4 at a height of 1024 */
    tr_image *img[TR_DATA_KINDS] = { draw_photo(30000, 4, 0), draw_matte(30000, 4, 100, 2, 2, 255, 0), draw_sketch(30000, 4, 100, 2, 2) };
    tr_prepared p = { 0 };
    s = plain(1024);
    assert_int_equal(tr_prepare(&p, &s, img, "thin", false, 0), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "picture thin"));
    tr_image_free(img[TR_DATA_SKETCH]);
    img[TR_DATA_SKETCH] = draw_sketch(30000, 5, 100, 2, 2);
    assert_int_equal(tr_prepare(&p, &s, img, "thin", false, 0), TRESS_E_SHAPE);
    free_images(img);
}

/* ---- the one map ----------------------------------------------------------------------------------------- */

/* At its own size nothing is resampled: the very pixels. */
static void test_untouched(void **state)
{
    (void)state;
    tr_image *img[TR_DATA_KINDS] = { draw_photo(128, 128, 99), draw_matte(128, 128, 60, 60, 30, 255, 0), draw_sketch(128, 128, 60, 60, 20) };
    tr_prepare_spec s = plain(128);
    for (int fit = 0; fit < 2; fit++)
        for (int buckets = 0; buckets < 2; buckets++) {
            s.fit = (tr_data_fit)fit;
            s.buckets = buckets;
            tr_prepared p = prepare(&s, img, "a", true, 5);       /* augmentation asked for, but nothing switched on */
            tr_planes rgb = { 0 }, lines = { 0 }, matte = { 0 }, cells = { 0 };
            ok(tr_image_rgb(&rgb, img[0]));
            ok(tr_sketch_render(&lines, img[2], 128, 128, TRESS_CONTROL_LINES));
            ok(tr_matte_read(&matte, img[1], "m"));
            ok(tr_area_reduce(&cells, matte, 8));
            for (int i = 0; i < 3 * 128 * 128; i++)
                if (!(fabsf(p.photo.data[i] - rgb.data[i]) <= 1e-6f)) fail_msg("photo %d: %g, expected %g", i, (double)p.photo.data[i], (double)rgb.data[i]);
            assert_memory_equal(p.control.data, lines.data, sizeof(float) * 3 * 128 * 128);
            for (int i = 0; i < 256; i++) assert_true(fabsf(p.mask.data[i] - cells.data[i]) <= 1e-6f);
            tr_planes_fini(&rgb);
            tr_planes_fini(&lines);
            tr_planes_fini(&matte);
            tr_planes_fini(&cells);
            tr_prepared_fini(&p);
        }
    free_images(img);
}

/* A 5 x 5 dot at (x, y) of an otherwise black sketch. */
static void dot(tr_image *img, int x, int y)
{
    for (int v = -2; v <= 2; v++)
        for (int u = -2; u <= 2; u++) set_stroke(img, x + u, y + v, 255, 255, 255);
}

/* Photo and matte are ramps and the sketch has dots: each tells where it was read, and all must tell what the map says. */
static void same_place(const tr_prepare_spec *s, int w, int h, uint64_t draw)
{
    static const double at[3][2] = { { 0.4, 0.45 }, { 0.6, 0.5 }, { 0.5, 0.62 } };
    tr_image *img[TR_DATA_KINDS] = { new_image(w, h, 3), new_image(w, h, 1), new_image(w, h, 3) };
    tr_image *wide = NULL;                      /* 16 bit, so that steps are no matter */
    ok(tr_image_new(&wide, w, h, 3, 16));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint16_t *v = (uint16_t *)wide->data + 3 * (y * w + x);
            v[0] = (uint16_t)(65535.0 * (x + 0.5) / w + 0.5);
            v[1] = (uint16_t)(65535.0 * (y + 0.5) / h + 0.5);
            ((uint8_t *)img[1]->data)[y * w + x] = (uint8_t)(255.0 * (x + y + 1) / (w + h) + 0.5);
        }
    tr_image_free(img[0]);
    img[0] = wide;
    for (int k = 0; k < 3; k++) dot(img[2], (int)(at[k][0] * w), (int)(at[k][1] * h));
    tr_prepared p = prepare(s, img, "ramp", true, draw);
    const tr_affine m = p.map;
    const double pixel = sqrt(fabs(m.a * m.e - m.b * m.d));       /* photo pixels per frame pixel */
    int64_t n_in = 0, n_out = 0;
    for (int y = 0; y < p.height; y++)
        for (int x = 0; x < p.width; x++) {
            const double px = x + 0.5, py = y + 0.5, sx = m.a * px + m.b * py + m.c, sy = m.d * px + m.e * py + m.f;
            const int64_t i = (int64_t)y * p.width + x;
            const double edge = 3 * fmax(1, pixel);               /* the filters' reach */
            if (sx > edge && sy > edge && sx < w - edge && sy < h - edge) {
                const double r = (double)p.photo.data[i] * w - sx, g = (double)tr_plane(p.photo, 1)[i] * h - sy;
                /* a ramp is reproduced exactly, but for 16-bit rounding and a prefiltered size rounded to whole pixels */
                if (!(fabs(r) < 0.05 && fabs(g) < 0.05)) fail_msg("draw %d: frame %d, %d reads the photo at %g, %g; the map says %g, %g", (int)draw, x, y, r + sx, g + sy, sx, sy);
                n_in++;
            } else if (sx < -edge || sy < -edge || sx > w + edge || sy > h + edge) {
                assert_true(p.photo.data[i] == 0.5f && p.control.data[i] == 0);
                n_out++;
            }
        }
    assert_true(n_in > p.width * p.height / 4);
    for (int y = 0; y < p.mask.h; y++)
        for (int x = 0; x < p.mask.w; x++) {
            const double px = (x + 0.5) * s->cell, py = (y + 0.5) * s->cell, sx = m.a * px + m.b * py + m.c, sy = m.d * px + m.e * py + m.f;
            const double reach = s->cell * pixel + 3;
            const double got = (double)p.mask.data[y * p.mask.w + x];
            if (sx > reach && sy > reach && sx < w - reach && sy < h - reach) {
                if (!(fabs(got * (w + h) - (sx + sy)) < 0.5 * (w + h) / 255 + 0.1)) fail_msg("cell %d, %d: %g, the map says %g", x, y, got * (w + h), sx + sy);
            } else if (sx < -reach || sy < -reach || sx > w + reach || sy > h + reach) {
                assert_true(got == 0);
            }
        }
    for (int k = 0; k < 3; k++) {               /* each dot's middle, by the strokes that the map sends near it */
        const double wx = (int)(at[k][0] * w) + 0.5, wy = (int)(at[k][1] * h) + 0.5;
        double sum_x = 0, sum_y = 0, n = 0;
        for (int y = 0; y < p.height; y++)
            for (int x = 0; x < p.width; x++) {
                const double px = x + 0.5, py = y + 0.5, sx = m.a * px + m.b * py + m.c, sy = m.d * px + m.e * py + m.f;
                if (p.control.data[(int64_t)y * p.width + x] > 0 && hypot(sx - wx, sy - wy) < 12) sum_x += sx, sum_y += sy, n++;
            }
        const double fx = (m.e * (wx - m.c) - m.b * (wy - m.f)) / (m.a * m.e - m.b * m.d), fy = (m.a * (wy - m.f) - m.d * (wx - m.c)) / (m.a * m.e - m.b * m.d);
        if (fx < 20 || fy < 20 || fx > p.width - 20 || fy > p.height - 20) continue;
        if (!(n > 0 && hypot(sum_x / n - wx, sum_y / n - wy) < 1.0 * fmax(1, pixel))) fail_msg("draw %d: dot %d is at %g, %g, expected %g, %g", (int)draw, k, sum_x / n, sum_y / n, wx, wy);
    }
    (void)n_out;
    tr_prepared_fini(&p);
    free_images(img);
}

static void test_one_map(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 256, 256 }, { 400, 250 }, { 150, 333 }, { 777, 512 } };
    for (int i = 0; i < 4; i++)
        for (int fit = 0; fit < 2; fit++)
            for (int k = 0; k < 2; k++) {
                tr_prepare_spec s = plain(256);
                s.fit = (tr_data_fit)fit;
                s.buckets = k;
                same_place(&s, sizes[i][0], sizes[i][1], 0);
                s.augment = (tr_augment){ true, 15, 0.1, 0.2, 0 };
                for (uint64_t draw = 0; draw < 4; draw++) same_place(&s, sizes[i][0], sizes[i][1], draw);
            }
}

/* The crop goes where the hair is; hair larger than the frame is not cut. */
static void test_crop_keeps_hair(void **state)
{
    (void)state;
    static const double where[][3] = { { 60, 64, 40 }, { 340, 64, 40 }, { 200, 64, 50 }, { 200, 64, 30 } };
    tr_prepare_spec s = plain(128);
    for (int i = 0; i < 4; i++)
        for (int turned = 0; turned < 2; turned++) {
            const int w = turned ? 128 : 400, h = turned ? 400 : 128;
            const double cx = where[i][turned], cy = where[i][!turned], r = where[i][2];
            tr_image *img[TR_DATA_KINDS] = { draw_photo(w, h, 0), draw_matte(w, h, cx, cy, r, 255, 0), draw_sketch(w, h, cx, cy, 20) };
            tr_prepared p = prepare(&s, img, "a", false, 0);
            double sum = 0;
            for (int k = 0; k < 256; k++) sum += (double)p.mask.data[k] * 64;
            assert_true(fabs(sum - M_PI * r * r) < 0.01 * M_PI * r * r);         /* all of it, at its own scale */
            tr_prepared_fini(&p);
            free_images(img);
        }
    /* a band of hair over the whole width: the photo is made smaller until it fits, and the rest is padding without weight */
    tr_image *img[TR_DATA_KINDS] = { draw_photo(400, 128, 0), new_image(400, 128, 1), draw_sketch(400, 128, 200, 64, 150) };
    for (int y = 40; y < 88; y++) memset((uint8_t *)img[1]->data + 400 * y + 20, 255, 360);
    tr_prepared p = prepare(&s, img, "a", false, 0);
    const double k = 128 / 360.0;
    double sum = 0;
    for (int i = 0; i < 256; i++) sum += (double)p.mask.data[i] * 64;
    if (!(fabs(sum - 360 * 48 * k * k) < 0.03 * sum)) fail_msg("%g of %g", sum, 360 * 48 * k * k);
    assert_true(p.photo.data[0] == 0.5f && p.photo.data[64 * 128] != 0.5f);
    tr_prepared_fini(&p);
    free_images(img);
}

static void test_letterbox(void **state)
{
    (void)state;
    tr_prepare_spec s = plain(128);
    s.fit = TR_DATA_LETTERBOX;
    s.mask_grow = 64;                           /* pixels at 1024: 8 here */
    s.mask_blur = 64;
    tr_image *img[TR_DATA_KINDS] = { draw_photo(256, 128, 0), draw_matte(256, 128, 128, 64, 63, 255, 0), draw_sketch(256, 128, 128, 64, 60) };
    tr_prepared p = prepare(&s, img, "a", false, 0);
    for (int y = 0; y < 128; y++) {             /* the picture lies in rows 32 .. 95 */
        const bool in = y >= 32 && y < 96;
        assert_true((p.photo.data[y * 128 + 3] != 0.5f) == in);
        for (int x = 0; x < 16; x++)
            if (!in) assert_true(p.mask.data[y / 8 * 16 + x] == 0);
    }
    assert_true(p.mask.data[4 * 16 + 8] > 0.5f);                  /* dilation and blur reach the photo's edge, and end there */
    tr_prepared_fini(&p);
    free_images(img);
}

/* A disc dilated by r and blurred has its half-way line at radius + r, and blurring once leaves its sum. */
static void test_mask(void **state)
{
    (void)state;
    tr_prepare_spec s = plain(512);
    tr_image *img[TR_DATA_KINDS] = { draw_photo(512, 512, 0), draw_matte(512, 512, 256, 256, 100, 255, 0), draw_sketch(512, 512, 256, 256, 60) };
    static const double grow[] = { 0, 0, 40, 40 }, blur[] = { 0, 32, 0, 32 };
    for (int k = 0; k < 4; k++) {
        s.mask_grow = grow[k];
        s.mask_blur = blur[k];
        tr_prepared p = prepare(&s, img, "a", false, 0);
        const double r = 100 + grow[k] / 2;     /* pixels at 1024, halved at 512 */
        double sum = 0, most = 0;
        for (int i = 0; i < 64 * 64; i++) {
            const double v = (double)p.mask.data[i], d = hypot((i % 64 + 0.5) * 8 - 256, (double)(i / 64 + 0.5) * 8 - 256);
            sum += v * 64;
            most = fmax(most, v);
            if (blur[k] > 0 && fabs(d - (r + 16)) < 4) assert_true(v > 0.08 && v < 0.25);         /* one sigma out: 0.16 and curvature */
            if (blur[k] == 0 && d > r + 8) assert_true(v == 0);
        }
        /* a distance of at most r takes in half a pixel less or more than the ideal disc's edge */
        if (!(fabs(sum - M_PI * r * r) < 2 * M_PI * r * (grow[k] > 0 ? 0.75 : 0.25))) fail_msg("grow %g, blur %g: %g, expected %g", grow[k], blur[k], sum, M_PI * r * r);
        assert_true(fabs(most - 1) < 1e-3);
        tr_prepared_fini(&p);
    }
    free_images(img);
}

/* ---- chance ---------------------------------------------------------------------------------------------- */

static bool equal(const tr_prepared *a, const tr_prepared *b)
{
    const size_t n = sizeof(float) * 3 * (size_t)a->width * (size_t)a->height;
    return a->width == b->width && a->height == b->height && memcmp(a->photo.data, b->photo.data, n) == 0 && memcmp(a->control.data, b->control.data, n) == 0 &&
           memcmp(a->mask.data, b->mask.data, sizeof(float) * (size_t)a->mask.w * (size_t)a->mask.h) == 0;
}

static void test_chance(void **state)
{
    (void)state;
    tr_image *img[TR_DATA_KINDS] = { draw_photo(96, 96, 99), draw_matte(96, 96, 40, 50, 25, 255, 0), draw_sketch(96, 96, 40, 50, 20) };
    tr_prepare_spec s = plain(64);
    tr_prepared bare = prepare(&s, img, "a", false, 0);
    s.augment = (tr_augment){ true, 15, 0.1, 0.2, 8 };
    tr_prepared off = prepare(&s, img, "a", false, 3), p[4];
    assert_true(equal(&bare, &off));            /* not asked for */
    p[0] = prepare(&s, img, "a", true, 3);
    p[1] = prepare(&s, img, "a", true, 3);
    p[2] = prepare(&s, img, "a", true, 4);
    p[3] = prepare(&s, img, "b", true, 3);
    assert_true(equal(&p[0], &p[1]));
    assert_false(equal(&p[0], &p[2]));
    assert_false(equal(&p[0], &p[3]));
    s.seed++;
    tr_prepared other = prepare(&s, img, "a", true, 3);
    assert_false(equal(&p[0], &other));
    tr_prepared_fini(&other);
    tr_prepared_fini(&bare);
    tr_prepared_fini(&off);
    for (int i = 0; i < 4; i++) tr_prepared_fini(&p[i]);
    /* flips alone: the plain picture or its mirror image, bit for bit, each about half of the times */
    s = plain(64);
    bare = prepare(&s, img, "a", false, 0);
    s.augment.flip = true;
    int n_flip = 0;
    for (uint64_t draw = 0; draw < 64; draw++) {
        tr_prepared q = prepare(&s, img, "a", true, draw);
        const bool same = equal(&q, &bare);
        n_flip += !same;
        for (int k = 0; !same && k < 3; k++)
            for (int y = 0; y < 64; y++)
                for (int x = 0; x < 64; x++) {
                    const int i = y * 64 + x, j = y * 64 + 63 - x;
                    assert_true(fabsf(tr_plane(q.photo, k)[i] - tr_plane(bare.photo, k)[j]) <= 1e-6f && tr_plane(q.control, k)[i] == tr_plane(bare.control, k)[j]);
                }
        tr_prepared_fini(&q);
    }
    assert_true(n_flip > 16 && n_flip < 48);    /* 4 sigma of 32 */
    tr_prepared_fini(&bare);
    /* the map keeps to the bounds, and uses them */
    s = plain(64);
    s.augment = (tr_augment){ false, 15, 0.25, 0.5, 0 };
    double turn[2] = { 9, -9 }, scale[2] = { 9, -9 }, across[2] = { 99, -99 };
    for (uint64_t draw = 0; draw < 200; draw++) {
        tr_prepared q = prepare(&s, img, "a", true, draw);
        const double t = atan2(q.map.d, q.map.e) * 180 / M_PI, k = 96 / 64.0 / hypot(q.map.d, q.map.e);
        turn[0] = fmin(turn[0], t), turn[1] = fmax(turn[1], t);
        scale[0] = fmin(scale[0], k), scale[1] = fmax(scale[1], k);
        /* where the photo's centre lies in the frame */
        const double det = q.map.a * q.map.e - q.map.b * q.map.d, fx = (q.map.e * (48 - q.map.c) - q.map.b * (48 - q.map.f)) / det;
        across[0] = fmin(across[0], fx), across[1] = fmax(across[1], fx);
        tr_prepared_fini(&q);
    }
    assert_true(turn[0] >= -15 && turn[0] < -14 && turn[1] <= 15 && turn[1] > 14);
    assert_true(scale[0] >= 0.65 && scale[0] < 0.70 && scale[1] <= 1.52 && scale[1] > 1.45);
    assert_true(across[0] < 20 && across[1] > 40);
    free_images(img);
}

/* ---- strokes --------------------------------------------------------------------------------------------- */

/* Pieces of plane 0 that hang together by sides or corners. */
static int count_pieces(tr_planes p)
{
    const int w = p.w, h = p.h;
    int *stack = NULL, n_piece = 0;
    uint8_t *seen = NULL;
    ok(tr_alloc_array((void **)&stack, (int64_t)w * h, sizeof *stack));
    ok(tr_alloc_array((void **)&seen, (int64_t)w * h, 1));
    for (int i = 0; i < w * h; i++) {
        int n = 0;
        if (!(p.data[i] > 0) || seen[i]) continue;
        n_piece++;
        seen[i] = 1;
        stack[n++] = i;
        while (n > 0) {
            const int at = stack[--n];
            for (int y = at / w - 1; y <= at / w + 1; y++)
                for (int x = at % w - 1; x <= at % w + 1; x++)
                    if (x >= 0 && y >= 0 && x < w && y < h && p.data[y * w + x] > 0 && !seen[y * w + x]) seen[y * w + x] = 1, stack[n++] = y * w + x;
        }
    }
    tr_free(stack);
    tr_free(seen);
    return n_piece;
}

static double share(tr_planes p)
{
    double n = 0;
    for (int64_t i = 0; i < (int64_t)p.w * p.h; i++) n += p.data[i] > 0;
    return n;
}

/* Lines of one pixel in eight directions, apart from each other, in the middle of the picture: whatever is done to them, eight lines. */
static void test_strokes_stay(void **state)
{
    (void)state;
    enum { SIDE = 512 };
    tr_image *img[TR_DATA_KINDS] = { draw_photo(SIDE, SIDE, 0), draw_matte(SIDE, SIDE, 256, 256, 150, 255, 0), new_image(SIDE, SIDE, 3) };
    double length = 0;
    for (int k = 0; k < 8; k++) {
        const double t = k * M_PI / 4 + 0.2, c = cos(t), s = sin(t);
        int last_x = -1, last_y = -1;
        for (double r = 40; r < 140; r += 0.25) {
            const int x = (int)(256 + r * c), y = (int)(256 + r * s);
            length += x != last_x || y != last_y;
            last_x = x, last_y = y;
            set_stroke(img[2], x, y, 255, 30 * k, 10);
        }
    }
    for (int kind = 0; kind <= TRESS_CONTROL_COLOUR; kind += TRESS_CONTROL_COLOUR)
        for (int resolution = 256; resolution <= 768; resolution += 256) {
            tr_prepare_spec s = plain(resolution);
            s.control_image = (tress_control_image)kind;
            s.augment = (tr_augment){ true, 15, 0.02, 0.1, 0 };
            for (uint64_t draw = 0; draw < 8; draw++) {
                tr_prepared p = prepare(&s, img, "star", true, draw);
                const double k = 512 / hypot(p.map.d, p.map.e) / 512, n = share(p.control);
                if (count_pieces(p.control) != 8) fail_msg("kind %d, %d, draw %d: %d pieces", kind, resolution, (int)draw, count_pieces(p.control));
                /* a pen of one pixel stays one: turned, a line of the same length has up to sqrt 2 pixels more than its longer side counts, and
                 * may be two wide where it lies between pixels, half of the time */
                if (!(n > 0.6 * k * length && n < 1.5 * sqrt(2) * k * length)) fail_msg("kind %d, %d, draw %d: %g pixels for a length of %g", kind, resolution, (int)draw, n, k * length);
                tr_prepared_fini(&p);
            }
        }
    free_images(img);
}

static void test_stroke_width(void **state)
{
    (void)state;
    tr_image *img[TR_DATA_KINDS] = { draw_photo(256, 256, 0), draw_matte(256, 256, 128, 128, 80, 255, 0), new_image(256, 256, 3) };
    for (int x = 60; x < 200; x++) set_stroke(img[2], x, 100, 200, 100, 50), set_stroke(img[2], x, 160, 50, 100, 200);
    tr_prepare_spec s = plain(256);
    s.control_image = TRESS_CONTROL_COLOUR;
    tr_prepared bare = prepare(&s, img, "a", false, 0);
    s.augment.stroke_width = 16;                /* at 1024: 4 here */
    bool seen[6] = { false };
    for (uint64_t draw = 0; draw < 60; draw++) {
        tr_prepared p = prepare(&s, img, "a", true, draw);
        int width = 0;
        for (int y = 80; y < 120; y++) width += p.control.data[y * 256 + 128] > 0;
        assert_true(width >= 1 && width <= 5);
        seen[width] = true;
        assert_memory_equal(p.photo.data, bare.photo.data, sizeof(float) * 3 * 256 * 256);
        assert_memory_equal(p.mask.data, bare.mask.data, sizeof(float) * 32 * 32);
        for (int i = 0; i < 256 * 256; i++) {   /* each in the colour of its own line */
            if (!(p.control.data[i] > 0)) continue;
            const float want = i / 256 < 130 ? bare.control.data[100 * 256 + 128] : bare.control.data[160 * 256 + 128];
            assert_true(p.control.data[i] == want);
        }
        tr_prepared_fini(&p);
    }
    for (int k = 1; k <= 5; k++) assert_true(seen[k]);
    tr_prepared_fini(&bare);
    free_images(img);
}

/* A raw sketch is moved like the photo, and its padding has the colour of its own canvas. */
static void test_raw(void **state)
{
    (void)state;
    tr_image *img[TR_DATA_KINDS] = { draw_photo(256, 128, 0), draw_matte(256, 128, 128, 64, 40, 255, 0), new_image(256, 128, 3) };
    memset(img[2]->data, 240, tr_image_bytes(img[2]));
    for (int x = 100; x < 156; x++) set_stroke(img[2], x, 64, 0, 0, 0);
    tr_prepare_spec s = plain(128);
    s.control_image = TRESS_CONTROL_RAW;
    s.fit = TR_DATA_LETTERBOX;
    for (int turned = 0; turned < 2; turned++) {
        s.augment.rotate = turned * 10;
        tr_prepared p = prepare(&s, img, "a", true, 1);
        assert_true(fabsf(p.control.data[0] - 240 / 255.0f) < 1e-6f && fabsf(p.control.data[40 * 128 + 64] - 240 / 255.0f) < 0.01f);
        assert_true(p.control.data[64 * 128 + 64] < 0.8f);
        tr_prepared_fini(&p);
    }
    free_images(img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_refused), cmocka_unit_test(test_untouched), cmocka_unit_test(test_one_map),
        cmocka_unit_test(test_crop_keeps_hair), cmocka_unit_test(test_letterbox), cmocka_unit_test(test_mask), cmocka_unit_test(test_chance),
        cmocka_unit_test(test_strokes_stay), cmocka_unit_test(test_stroke_width), cmocka_unit_test(test_raw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
