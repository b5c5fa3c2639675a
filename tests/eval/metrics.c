/* Each metric on pictures whose answer is known. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/eval.h"

#define W 256
#define H 240

static tr_image *picture(int channels)
{
    tr_image *img = NULL;
    assert_int_equal(tr_image_new(&img, W, H, channels, 8), TRESS_OK);
    return img;
}

static uint8_t *at(tr_image *img, int x, int y) { return (uint8_t *)img->data + ((size_t)y * W + (size_t)x) * (size_t)img->channels; }

static void paint(tr_image *img, int x, int y, double r, double g, double b)
{
    const double v[3] = { r, g, b };
    for (int c = 0; c < img->channels; c++) at(img, x, y)[c] = (uint8_t)fmin(255, fmax(0, nearbyint(v[c])));
}

static void flood(tr_image *img, double r, double g, double b)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) paint(img, x, y, r, g, b);
}

typedef struct scene {
    tr_image *photo, *result, *truth, *sketch, *matte, *alpha;
    tr_wanted colour;
    double light[3];
    bool has_colour, has_light;
    double v[TR_METRICS];
} scene;

/* Hair in a disc of 60 round (128, 120), everything grey of 120. */
static scene scene_new(void)
{
    scene s = { .photo = picture(3), .result = picture(3), .matte = picture(1) };
    flood(s.photo, 120, 120, 120);
    flood(s.result, 120, 120, 120);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) paint(s.matte, x, y, hypot(x - 128, y - 120) <= 60 ? 255 : 0, 0, 0);
    return s;
}

static void measure(scene *s)
{
    const tr_eval_input in = { .photo = s->photo, .result = s->result, .truth = s->truth, .sketch = s->sketch, .matte = s->matte, .alpha = s->alpha,
                               .edit_grow = -1, .colour = s->has_colour ? &s->colour : NULL, .light = s->has_light ? s->light : NULL };
    assert_int_equal(tr_eval_row(s->v, &in), TRESS_OK);
}

static void scene_free(scene *s)
{
    tr_image_free(s->photo);
    tr_image_free(s->result);
    tr_image_free(s->truth);
    tr_image_free(s->sketch);
    tr_image_free(s->matte);
    tr_image_free(s->alpha);
}

static void near(const scene *s, tr_metric m, double want, double tolerance)
{
    if (!(fabs(s->v[m] - want) <= tolerance)) fail_msg("%s is %g, expected %g", tr_metric_get(m)->key, s->v[m], want);
}
#define NEAR(s, metric, want, tolerance) near(&(s), TR_METRIC_##metric, want, tolerance)

static double hash(int x, int y) { return (double)tr_philox_uniform(5, (uint64_t)y, (uint64_t)x); }

/* R = 24 * 256 / 1024 = 6: pixels farther than that from the disc are the photo's. */
static void background(void **state)
{
    (void)state;
    scene s = scene_new();
    measure(&s);
    NEAR(s, BACKGROUND_MAX, 0, 0);
    NEAR(s, BACKGROUND_CHANGED, 0, 0);
    paint(s.result, 128, 120, 255, 0, 0);                           /* hair may change, and what is within 6 pixels */
    paint(s.result, 128 + 65, 120, 255, 0, 0);
    measure(&s);
    NEAR(s, BACKGROUND_MAX, 0, 0);
    paint(s.result, 128 + 66, 120, 120, 127, 120);
    paint(s.result, 0, 0, 119, 120, 118);
    measure(&s);
    int64_t n = 0;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            bool out = true;
            for (int v = -5; v <= 5; v++)
                for (int u = -5; u <= 5; u++)
                    if (u * u + v * v < 36 && (x + u - 128) * (x + u - 128) + (y + v - 120) * (y + v - 120) <= 3600) out = false;
            n += out;
        }
    NEAR(s, BACKGROUND_MAX, 7, 0);
    NEAR(s, BACKGROUND_CHANGED, 2, 0);
    NEAR(s, BACKGROUND_MEAN, 10.0 / (3 * (double)n), 1e-12);
    scene_free(&s);
}

/* A step of known colour at the border, then one that is climbed slowly, on ground that is rough everywhere. */
static void border(void **state)
{
    (void)state;
    scene s = scene_new();
    s.alpha = picture(1);
    for (int kind = 0; kind < 3; kind++) {
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const double far = hypot(x - 128, y - 120) - 60, rough = 6 * (hash(x, y) - 0.5);
                paint(s.alpha, x, y, far < 30 ? 255 : 0, 0, 0);     /* the border lies at 30 from the hair */
                const double in = kind == 0 ? 0 : kind == 1 ? far < 30 : fmin(1, fmax(0, (60 - far) / 60));
                paint(s.photo, x, y, 120 + rough, 120 + rough, 120 + rough);
                paint(s.result, x, y, 120 + rough + 40 * in, 120 + rough, 120 + rough);
            }
        measure(&s);
        NEAR(s, SEAM_PHOTO, 1, 0.12);
        if (kind == 0) {
            NEAR(s, SEAM_RATIO, 1, 0.12);
            NEAR(s, SEAM_P95, 1, 0.12);
            assert_true(s.v[TR_METRIC_TONE] == s.v[TR_METRIC_TONE_PHOTO] && s.v[TR_METRIC_TONE] < 1.5);
            NEAR(s, RING, 0, 0);
        } else if (kind == 1) {
            assert_true(s.v[TR_METRIC_SEAM_RATIO] > 3 && s.v[TR_METRIC_SEAM_P95] > 2 && s.v[TR_METRIC_SEAM_Z] > 10);
            const double in[3] = { 160 / 255.0, 120 / 255.0, 120 / 255.0 }, out[3] = { 120 / 255.0, 120 / 255.0, 120 / 255.0 };
            NEAR(s, TONE, tr_de00(tr_lab_of(in), tr_lab_of(out)), 1.5);
            NEAR(s, RING, tr_de00(tr_lab_of(in), tr_lab_of(out)), 1.5);
        } else {
            NEAR(s, SEAM_RATIO, 1, 0.15);                           /* as steep beside it as at it */
            assert_true(s.v[TR_METRIC_TONE] < 4);
        }
    }
    /* without roughness the step's difference is exact */
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            paint(s.photo, x, y, 120, 120, 120);
            paint(s.result, x, y, hypot(x - 128, y - 120) < 90 ? 150 : 120, 120, 120);
        }
    measure(&s);
    const double in[3] = { 150 / 255.0, 120 / 255.0, 120 / 255.0 }, out[3] = { 120 / 255.0, 120 / 255.0, 120 / 255.0 };
    NEAR(s, TONE, tr_de00(tr_lab_of(in), tr_lab_of(out)), 0.02);
    NEAR(s, TONE_PHOTO, 0, 0.001);
    assert_true(isnan(s.v[TR_METRIC_RING_TRUTH]) && isnan(s.v[TR_METRIC_PSNR]) && isnan(s.v[TR_METRIC_LIFT]) && isnan(s.v[TR_METRIC_COLOUR]));
    scene_free(&s);
}

/* Strokes that the hair follows, moved from where it does, and on a hair without any edge. */
static void strokes(void **state)
{
    (void)state;
    scene s = scene_new();
    s.sketch = picture(3);
    for (int moved = 0; moved < 2; moved++) {
        flood(s.sketch, 0, 0, 0);
        flood(s.result, 120, 120, 120);
        for (int k = 0; k < 3; k++)
            for (int y = 90; y < 150; y++) {
                const int x = 98 + 30 * k;
                for (int t = 0; t < 3; t++) paint(s.sketch, x + t + (moved ? 9 : 0), y, 255, 0, 0);
                paint(s.result, x + 1, y, 240, 240, 240);           /* a bright strand: an edge on both of its sides */
            }
        measure(&s);
        if (moved) {
            assert_true(s.v[TR_METRIC_LIFT] < 0.1);
            assert_true(s.v[TR_METRIC_PRECISION] < 0.1);
        } else {
            assert_true(s.v[TR_METRIC_RECALL] > 0.93 && s.v[TR_METRIC_LIFT] > 0.9 && s.v[TR_METRIC_PRECISION] > 0.93);
        }
    }
    for (int y = 0; y < H; y++)                                     /* edges everywhere: found under every stroke, and no merit */
        for (int x = 0; x < W; x++) {
            const double v = hash(x / 4, y / 4) > 0.5 ? 255 : 0;
            paint(s.result, x, y, v, v, v);
        }
    measure(&s);
    if (!(s.v[TR_METRIC_RECALL] > 0.6 && s.v[TR_METRIC_LIFT] < 0.3)) fail_msg("recall %g, lift %g", s.v[TR_METRIC_RECALL], s.v[TR_METRIC_LIFT]);
    flood(s.result, 120, 120, 120);
    measure(&s);
    NEAR(s, RECALL, 0, 0);
    NEAR(s, LIFT, 0, 0);
    assert_true(isnan(s.v[TR_METRIC_PRECISION]));
    scene_free(&s);
}

/* Strands at one angle under strokes at another. */
static void directions(void **state)
{
    (void)state;
    scene s = scene_new();
    s.sketch = picture(3);
    s.truth = picture(3);
    for (int k = 0; k < 5; k++) {
        const double angle = (double[]){ 0, 0.2, -0.4, 0.9, M_PI / 2 }[k];         /* of the hair, from the vertical strokes */
        flood(s.sketch, 0, 0, 0);
        for (int y = 80; y < 160; y++) paint(s.sketch, 128, y, 255, 0, 0);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const double v = 120 + 80 * sin((x * cos(angle) + y * sin(angle)) * 2 * M_PI / 7);
                paint(s.result, x, y, v, v, v);
                const double t = 120 + 80 * sin(x * 2 * M_PI / 9);                 /* the truth is upright */
                paint(s.truth, x, y, t, t, t);
            }
        measure(&s);
        NEAR(s, AGREEMENT, cos(2 * angle), 0.02);
        NEAR(s, ANGLE, fabs(angle) * 180 / M_PI, 1);
        NEAR(s, AGREEMENT_TRUTH, cos(2 * angle), 0.02);
    }
    scene_free(&s);
}

/* Two strokes that cross: over hair that is woven there, and over hair that runs straight through. */
static void crossings(void **state)
{
    (void)state;
    scene s = scene_new();
    s.sketch = picture(3);
    for (int t = -30; t <= 30; t++) {
        paint(s.sketch, 128 + t, 120 + t, 255, 0, 0);
        paint(s.sketch, 128 + t, 120 - t, 0, 255, 0);
    }
    for (int woven = 0; woven < 2; woven++) {
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const bool down = woven && hypot(x - 128, y - 120) < 12 && x < 128;
                const double v = 120 + 80 * sin((down ? x - y : x + y) * 2 * M_PI / 8);
                paint(s.result, x, y, v, v, v);
            }
        measure(&s);
        NEAR(s, CROSSING, woven, 0);
        if (!woven) NEAR(s, CROSSING_CHANCE, 0, 0);
        else assert_true(s.v[TR_METRIC_CROSSING_CHANCE] < 0.3);
    }
    scene_free(&s);
}

static void colour(void **state)
{
    (void)state;
    scene s = scene_new();
    const double hair[3] = { 90 / 255.0, 50 / 255.0, 30 / 255.0 }, other[3] = { 60 / 255.0, 50 / 255.0, 90 / 255.0 };
    s.sketch = picture(3);
    s.truth = picture(3);
    flood(s.sketch, 0, 0, 0);
    flood(s.truth, 60, 50, 90);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            if (at(s.matte, x, y)[0]) paint(s.result, x, y, 90, 50, 30);
    for (int y = 90; y < 150; y++) {
        paint(s.sketch, 110, y, 90, 50, 30);                        /* a stroke of the hair's colour, two of another */
        paint(s.sketch, 130, y, 60, 50, 90);
        paint(s.sketch, 150, y, 61, 50, 90);
    }
    s.has_colour = true;
    s.colour.low = s.colour.high = tr_lab_of(other);
    measure(&s);
    NEAR(s, COLOUR, tr_de00(tr_lab_of(hair), tr_lab_of(other)), 1e-3);
    NEAR(s, COLOUR_TRUTH, tr_de00(tr_lab_of(hair), tr_lab_of(other)), 1e-3);
    NEAR(s, COLOUR_STROKES, tr_de00(tr_lab_of(hair), tr_lab_of(other)), 0.2);      /* the middle of the three */
    const tr_lab p = tr_lab_of(hair), q = tr_lab_of(other);
    double turn = fabs(atan2(p.b, p.a) - atan2(q.b, q.a)) * 180 / M_PI;
    turn = fmin(turn, 360 - turn);
    NEAR(s, HUE, turn, 0.01);
    s.colour.low = (tr_lab){ p.l - 5, p.a - 5, p.b - 5 };           /* inside a band there is no difference */
    s.colour.high = (tr_lab){ p.l + 5, p.a + 1, p.b + 1 };
    measure(&s);
    NEAR(s, COLOUR, 0, 1e-3);
    scene_free(&s);
}

/* Hair that fills half of the matte; hair that reaches beyond it. */
static void matte(void **state)
{
    (void)state;
    scene s = scene_new();
    s.alpha = picture(1);
    flood(s.alpha, 255, 0, 0);
    for (int kind = 0; kind < 3; kind++) {
        flood(s.result, 230, 230, 230);
        int64_t n = 0, n_hair = 0;
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const bool sure = at(s.matte, x, y)[0] == 255, hair = kind == 0 ? sure : kind == 1 ? sure && x < 140 : hypot(x - 128, y - 120) < 80;
                const double v = 60 + 15 * sin(x * 2 * M_PI / 6);
                if (hair) paint(s.result, x, y, v, v * 0.7, v * 0.5);
                n += sure;
                n_hair += sure && hair;
            }
        measure(&s);
        NEAR(s, HOLE, 1 - (double)n_hair / (double)n, 0.001);
        if (kind < 2) NEAR(s, LEAK, 0, 0.02);
        else NEAR(s, LEAK, (80.0 * 80 - 62 * 62) / (80.0 * 80), 0.06);             /* all beyond 2 pixels, each as clear as the rest */
    }
    scene_free(&s);
}

static void blur(tr_image *img, double sigma)
{
    tr_planes p = { 0 }, b = { 0 };
    tr_image *soft = NULL;
    assert_int_equal(tr_image_rgb(&p, img), TRESS_OK);
    assert_int_equal(tr_gaussian(&b, p, sigma), TRESS_OK);
    assert_int_equal(tr_planes_image(&soft, b, 8), TRESS_OK);
    memcpy(img->data, soft->data, tr_image_bytes(img));
    tr_image_free(soft);
    tr_planes_fini(&p);
    tr_planes_fini(&b);
}

static void truth(void **state)
{
    (void)state;
    scene s = scene_new();
    s.truth = picture(3);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            const double v = 60 + 120 * hash(x, y / 8);
            paint(s.truth, x, y, v, v, v);
        }
    memcpy(s.result->data, s.truth->data, tr_image_bytes(s.truth));
    measure(&s);
    NEAR(s, PSNR, 100, 0);
    NEAR(s, SSIM, 1, 1e-6);
    NEAR(s, DETAIL, 1, 1e-9);
    NEAR(s, SPECTRUM, 0, 0);
    NEAR(s, SHADE, 0, 0);
    NEAR(s, RING_TRUTH, 0, 0);
    NEAR(s, LIGHT_SIDES, 0, 0);
    for (int y = 0; y < H; y++)                                     /* 10 lighter: 20 log10(255 / 10), no detail lost */
        for (int x = 0; x < W; x++) {
            const double v = at(s.truth, x, y)[0] + 10;
            paint(s.result, x, y, v, v, v);
        }
    measure(&s);
    NEAR(s, PSNR, 20 * log10(25.5), 1e-4);
    NEAR(s, DETAIL, 1, 1e-9);
    NEAR(s, SPECTRUM, 0, 1e-6);
    assert_true(s.v[TR_METRIC_SHADE] > 2 && s.v[TR_METRIC_SHADE] < 6);
    memcpy(s.result->data, s.truth->data, tr_image_bytes(s.truth));
    blur(s.result, 1.5);                                            /* softer: tone and light stay */
    measure(&s);
    assert_true(s.v[TR_METRIC_SSIM] < 0.8 && s.v[TR_METRIC_DETAIL] < 0.9 && s.v[TR_METRIC_SPECTRUM] > 0.3);
    assert_true(s.v[TR_METRIC_SHADE] < 1);
    memcpy(s.result->data, s.truth->data, tr_image_bytes(s.truth));
    for (int y = 0; y < H; y++)                                     /* another ground, which windows deep in the hair do not see */
        for (int x = 0; x < W; x++)
            if (hypot(x - 128, y - 120) > 61.5) paint(s.result, x, y, 255, 0, 0);
    measure(&s);
    NEAR(s, SSIM, 1, 1e-3);
    NEAR(s, PSNR, 100, 0);
    for (int y = 0; y < H; y++)                                     /* another light: the strands stay */
        for (int x = 0; x < W; x++) {
            const double v = at(s.truth, x, y)[0] * (0.6 + 0.8 * x / W);
            paint(s.result, x, y, v, v, v);
        }
    measure(&s);
    assert_true(s.v[TR_METRIC_SHADE] > 2.5);
    assert_true(s.v[TR_METRIC_SSIM] > 0.8);
    scene_free(&s);
}

/* A ball under a light, and the same ball lit from elsewhere. */
static void light(void **state)
{
    (void)state;
    scene s = scene_new();
    s.truth = picture(3);
    s.has_light = true;
    for (int k = 0; k < 6; k++) {
        const double a = k * M_PI / 3 + 0.2, l[3] = { 0.8 * cos(a), 0.8 * sin(a), 0.6 };
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const double nx = (x - 128) / 60.5, ny = (y - 120) / 60.5, nz = sqrt(fmax(0, 1 - nx * nx - ny * ny));
                for (int t = 0; t < 2; t++) {                       /* the truth is lit from the other side */
                    const double linear = 0.35 + 0.3 * ((t ? -1 : 1) * (nx * l[0] + ny * l[1]) + nz * l[2]);
                    const double v = 255 * (1.055 * pow(fmax(0, linear), 1 / 2.4) - 0.055);
                    paint(t ? s.truth : s.result, x, y, v, v, v);
                }
            }
        for (int i = 0; i < 3; i++) s.light[i] = l[i];
        measure(&s);
        NEAR(s, LIGHT, 0, 1);
        NEAR(s, LIGHT_TRUTH, 180, 1.5);
        if (fabs(cos(a)) > 0.3) assert_true(s.v[TR_METRIC_LIGHT_SIDES] > 0.2);
    }
    s.light[0] = s.light[1] = 0;                                    /* from the front: no direction */
    measure(&s);
    assert_true(isnan(s.v[TR_METRIC_LIGHT]));
    scene_free(&s);
}

static void bad_pictures(void **state)
{
    (void)state;
    scene s = scene_new();
    tr_image *small = NULL;
    assert_int_equal(tr_image_new(&small, W, H - 1, 3, 8), TRESS_OK);
    tr_eval_input in = { .photo = s.photo, .result = small, .matte = s.matte, .edit_grow = -1 };
    assert_int_equal(tr_eval_row(s.v, &in), TRESS_E_SHAPE);
    assert_non_null(strstr(tr_message(), "the result is 256 x 239"));
    in.result = s.result, in.sketch = small;
    assert_int_equal(tr_eval_row(s.v, &in), TRESS_E_SHAPE);
    in.sketch = NULL;
    flood(s.matte, 0, 0, 0);
    assert_int_equal(tr_eval_row(s.v, &in), TRESS_E_FORMAT);
    tr_image_free(small);
    scene_free(&s);
}

/* Grey of 16 bits, a picture of one pixel's width, a matte at the frame: nothing overflows, and what cannot be measured is NaN. */
static void odd_pictures(void **state)
{
    (void)state;
    static const int size[][2] = { { 1, 40 }, { 40, 1 }, { 3, 3 }, { 17, 90 } };
    for (int k = 0; k < 4; k++) {
        tr_image *photo = NULL, *matte = NULL, *sketch = NULL;
        const int w = size[k][0], h = size[k][1];
        double v[TR_METRICS];
        assert_int_equal(tr_image_new(&photo, w, h, 1, 16), TRESS_OK);
        assert_int_equal(tr_image_new(&matte, w, h, 1, 8), TRESS_OK);
        assert_int_equal(tr_image_new(&sketch, w, h, 3, 8), TRESS_OK);
        for (int i = 0; i < w * h; i++) ((uint16_t *)photo->data)[i] = (uint16_t)(i * 2711);
        for (int i = 0; i < w * h / 2; i++) ((uint8_t *)matte->data)[i] = 255;
        ((uint8_t *)sketch->data)[0] = 255;
        const tr_eval_input in = { .photo = photo, .result = photo, .truth = photo, .sketch = sketch, .matte = matte, .edit_grow = 1 };
        assert_int_equal(tr_eval_row(v, &in), TRESS_OK);
        assert_true(v[TR_METRIC_PSNR] == 100 && isnan(v[TR_METRIC_LIGHT]));
        tr_image_free(photo);
        tr_image_free(matte);
        tr_image_free(sketch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(background), cmocka_unit_test(border), cmocka_unit_test(strokes), cmocka_unit_test(directions), cmocka_unit_test(crossings),
        cmocka_unit_test(colour), cmocka_unit_test(matte), cmocka_unit_test(truth), cmocka_unit_test(light), cmocka_unit_test(bad_pictures),
        cmocka_unit_test(odd_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
