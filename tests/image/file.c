/* Picture files against the samples they were made from, and against everything that can be wrong with one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "image/image.h"
#include "io/io.h"

#include <jpeglib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER TRESS_SOURCE_DIR "/tests/golden/image/"

static json_t *about;                           /* file name -> facts */
static tr_safetensors *want;

static int open_goldens(void **state)
{
    char *text = NULL;
    size_t n = 0;
    json_t *whole = NULL;
    (void)state;
    if (tr_file_read(&text, &n, FOLDER "images.json", 1 << 20) || tr_json_parse(&whole, text, n, 8, "images.json")) return -1;
    about = json_incref(json_object_get(whole, "files"));
    json_decref(whole);
    tr_free(text);
    return tr_safetensors_open(&want, FOLDER "images.safetensors") == TRESS_OK && about ? 0 : -1;
}

static int close_goldens(void **state)
{
    (void)state;
    json_decref(about);
    tr_safetensors_close(want);
    return 0;
}

static char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, FOLDER "files/%s", name);
    return path;
}

/* Largest difference of a picture from the golden; -1 when sizes or depths differ. */
static int difference(const tr_image *img, tr_tensor t)
{
    if (t.rank != 3 || t.shape[0] != img->height || t.shape[1] != img->width || t.shape[2] != img->channels) return -1;
    if ((t.dtype == TR_U8 ? 8 : 16) != img->depth) return -1;
    int most = 0;
    for (int64_t i = 0; i < tr_count(t); i++) {
        uint16_t w = 0;
        if (t.dtype == TR_U8) w = ((const uint8_t *)t.data)[i];
        else memcpy(&w, (const uint8_t *)t.data + 2 * i, 2);
        const int v = t.dtype == TR_U8 ? ((const uint8_t *)img->data)[i] : ((const uint16_t *)img->data)[i];
        if (abs(v - w) > most) most = abs(v - w);
    }
    return most;
}

static void test_samples(void **state)
{
    int n_read = 0;
    const char *name;
    json_t *facts;
    (void)state;
    json_object_foreach(about, name, facts) {
        tr_tensor t;
        tr_image *img = NULL;
        if (!tr_safetensors_find(want, name, &t)) continue;
        const tress_status st = tr_image_read(&img, path_of(name));
        if (st != TRESS_OK) fail_msg("%s: %s", name, tr_message());
        const bool lossy = strstr(name, ".jpg") || !strcmp(name, "lossy.webp") || !strcmp(name, "alpha.webp");
        const int d = difference(img, t);
        /* libjpeg and libwebp may be of another version than Pillow's: chroma upsampling differs by a step or two */
        if (d < 0 || d > (lossy ? 2 : 0)) fail_msg("%s: %d x %d x %d, %d bits: differs by %d", name, img->width, img->height, img->channels, img->depth, d);
        const char *icc = json_string_value(json_object_get(facts, "icc"));
        if (icc) {
            tr_sha256 *h = NULL;
            char hex[65];
            assert_non_null(img->icc);
            assert_int_equal(tr_sha256_new(&h), TRESS_OK);
            assert_int_equal(tr_sha256_add(h, img->icc, img->n_icc), TRESS_OK);
            assert_int_equal(tr_sha256_hex(h, hex), TRESS_OK);
            assert_string_equal(hex, icc);
            tr_sha256_free(h);
        } else {
            assert_null(img->icc);
        }
        tr_image_free(img);
        n_read++;
    }
    assert_in_range(n_read, 50, 100);
}

static void test_refused(void **state)
{
    int n_refused = 0;
    const char *name;
    json_t *facts;
    (void)state;
    json_object_foreach(about, name, facts) {
        const char *cause = json_string_value(json_object_get(facts, "refused"));
        tr_image *img = NULL;
        if (!cause) continue;
        tr_mem_reset_peak();
        const int64_t before = tr_mem_now().bytes;
        const tress_status st = tr_image_read(&img, path_of(name));
        if (st != TRESS_E_FORMAT || img) fail_msg("%s: status %d", name, (int)st);
        if (!strstr(tr_message(), name) || !strstr(tr_message(), cause)) fail_msg("%s: \"%s\" lacks \"%s\"", name, tr_message(), cause);
        assert_int_equal(tr_mem_now().bytes, before);
        if (tr_mem_now().peak_bytes - before > 4 << 20) fail_msg("%s took %lld bytes", name, (long long)(tr_mem_now().peak_bytes - before));
        n_refused++;
    }
    assert_in_range(n_refused, 10, 100);
    tr_image *img = NULL;
    assert_int_equal(tr_image_read(&img, path_of("missing.png")), TRESS_E_IO);
    assert_int_equal(tr_image_read(&img, FOLDER), TRESS_E_IO);
}

/* 80 MiB of text in 80 KB: whatever is done with it, it may not take more memory than the budget. */
static void test_text_bomb(void **state)
{
    tr_image *img = NULL;
    (void)state;
    tr_mem_reset_peak();
    const int64_t before = tr_mem_now().bytes;
    const tress_status st = tr_image_read(&img, path_of("text-bomb.png"));
    assert_true(st == TRESS_OK || st == TRESS_E_FORMAT);
    assert_true(tr_mem_now().peak_bytes - before < (130ll << 20));
    tr_image_free(img);
    assert_int_equal(tr_mem_now().bytes, before);
}

/* Every beginning of every file, and every byte of it changed: an error or a picture, never a crash or a leak. */
static void test_damage(void **state)
{
    const char *name;
    json_t *facts;
    int64_t n_case = 0, n_open = 0;
    (void)state;
    json_object_foreach(about, name, facts) {
        char *bytes = NULL;
        size_t n = 0;
        if (!strcmp(name, "text-bomb.png")) continue;
        assert_int_equal(tr_file_read(&bytes, &n, path_of(name), 1 << 20), TRESS_OK);
        const int64_t before = tr_mem_now().bytes;
        for (size_t len = 0; len < n; len++) {
            tr_image *img = NULL;
            uint8_t *part = malloc(len ? len : 1);                               /* exact, so that ASan sees a step beyond */
            assert_non_null(part);
            memcpy(part, bytes, len);
            if (tr_image_decode(&img, part, len, name) != TRESS_E_FORMAT) fail_msg("%s cut to %zu of %zu bytes: read", name, len, n);
            free(part);
            n_case++;
        }
        for (size_t i = 0; i < n; i++) {
            static const uint8_t flip[] = { 0x01, 0x80, 0xff };
            for (size_t k = 0; k < sizeof flip; k++) {
                tr_image *img = NULL;
                bytes[i] = (char)(bytes[i] ^ flip[k]);
                const tress_status st = tr_image_decode(&img, bytes, n, name);
                if (st != TRESS_OK && st != TRESS_E_FORMAT) fail_msg("%s, byte %zu flipped by %02x: status %d, %s", name, i, flip[k], (int)st, tr_message());
                n_open += st == TRESS_OK;
                tr_image_free(img);
                bytes[i] = (char)(bytes[i] ^ flip[k]);
                n_case++;
            }
        }
        assert_int_equal(tr_mem_now().bytes, before);
        tr_free(bytes);
    }
    print_message("%lld damaged files, %lld of them still pictures\n", (long long)n_case, (long long)n_open);
    assert_true(n_case > 50000);
}

/* A valid progressive JPEG of n scans: every coefficient on its own, bit by bit. */
static void many_scans(unsigned char **mem, unsigned long *n_mem, int n_scan)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr e;
    jpeg_scan_info scan[1 + 63 * 11];
    int n = 0;
    scan[n++] = (jpeg_scan_info){ .comps_in_scan = 1 };
    for (int k = 1; k < 64; k++)
        for (int al = 10; al >= 0; al--)
            scan[n++] = (jpeg_scan_info){ .comps_in_scan = 1, .Ss = k, .Se = k, .Ah = al == 10 ? 0 : al + 1, .Al = al };
    c.err = jpeg_std_error(&e);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, mem, n_mem);
    c.image_width = c.image_height = 16;
    c.input_components = 1;
    c.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&c);
    c.scan_info = scan;
    c.num_scans = n_scan;
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < 16; y++) {
        unsigned char line[16];
        for (int x = 0; x < 16; x++) line[x] = (unsigned char)(x * y);
        JSAMPROW row = line;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
}

static void test_scans(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        static const int n_scan[3] = { 12, 500, 694 };
        unsigned char *mem = NULL;
        unsigned long n = 0;
        tr_image *img = NULL;
        many_scans(&mem, &n, n_scan[k]);
        const tress_status st = tr_image_decode(&img, mem, n, "scans.jpg");
        assert_int_equal(st, k < 2 ? TRESS_OK : TRESS_E_FORMAT);
        if (k == 2) assert_non_null(strstr(tr_message(), "500 scans"));
        tr_image_free(img);
        free(mem);
    }
}

static void fill(tr_image *img, uint64_t seed)
{
    uint8_t *v = img->data;
    for (size_t i = 0; i < tr_image_bytes(img); i++) v[i] = (uint8_t)(256 * tr_philox_uniform(seed, 0, i));
}

static void same(const tr_image *a, const tr_image *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->depth, b->depth);
    assert_memory_equal(a->data, b->data, tr_image_bytes(a));
    assert_int_equal(a->n_icc, b->n_icc);
    if (a->icc) assert_memory_equal(a->icc, b->icc, a->n_icc);
}

static void test_round_trip(void **state)
{
    tr_image *profiled = NULL;
    char path[256];
    (void)state;
    assert_int_equal(tr_image_read(&profiled, path_of("icc.png")), TRESS_OK);
    snprintf(path, sizeof path, "%s/image-file-%ld.png", TRESS_BINARY_DIR, (long)getpid());
    for (int channels = 1; channels <= 4; channels++)
        for (int depth = 8; depth <= 16; depth += 8)
            for (int icc = 0; icc < 2; icc++) {
                tr_image *img = NULL, *back = NULL;
                assert_int_equal(tr_image_new(&img, 37, 21, channels, depth), TRESS_OK);
                fill(img, (uint64_t)(channels * depth));
                if (icc && channels >= 3) assert_int_equal(tr_image_set_icc(img, profiled->icc, profiled->n_icc), TRESS_OK);
                assert_int_equal(tr_image_write(img, path, NULL), TRESS_OK);
                assert_int_equal(tr_image_read(&back, path), TRESS_OK);
                same(img, back);
                tr_image_free(back);
                back = NULL;
                uint8_t *bytes = NULL;
                size_t n = 0;
                if (depth == 8 && channels >= 3) {                               /* WebP */
                    assert_int_equal(tr_image_encode(&bytes, &n, img, "a.webp", NULL), TRESS_OK);
                    assert_int_equal(tr_image_decode(&back, bytes, n, "a.webp"), TRESS_OK);
                    same(img, back);
                } else if (depth == 8) {
                    assert_int_equal(tr_image_encode(&bytes, &n, img, "b.WEBP", NULL), TRESS_OK);
                    assert_int_equal(tr_image_decode(&back, bytes, n, "b.webp"), TRESS_OK);
                    assert_int_equal(back->channels, channels + 2);
                    for (int i = 0; i < 37 * 21; i++) {
                        const uint8_t *from = (uint8_t *)img->data + i * channels, *to = (uint8_t *)back->data + i * (channels + 2);
                        assert_true(to[0] == from[0] && to[1] == from[0] && to[2] == from[0]);
                        if (channels == 2) assert_int_equal(to[3], from[1]);
                    }
                } else {
                    assert_int_equal(tr_image_encode(&bytes, &n, img, "a.webp", NULL), TRESS_E_ARG);
                }
                tr_image_free(back);
                back = NULL;
                tr_free(bytes);
                bytes = NULL;
                if (depth == 8 && channels % 2) {                                /* JPEG */
                    for (int i = 0; i < 37 * 21 * channels; i++) ((uint8_t *)img->data)[i] = (uint8_t)(i / channels / 37 * 5 + i % channels * 40);
                    assert_int_equal(tr_image_encode(&bytes, &n, img, "a.jpeg", NULL), TRESS_OK);
                    assert_int_equal(tr_image_decode(&back, bytes, n, "a.jpg"), TRESS_OK);
                    assert_int_equal(back->channels, channels);
                    assert_int_equal(back->n_icc, img->n_icc);
                    for (int i = 0; i < 37 * 21 * channels; i++)
                        assert_true(abs(((uint8_t *)img->data)[i] - ((uint8_t *)back->data)[i]) <= 6);
                } else {
                    assert_int_equal(tr_image_encode(&bytes, &n, img, "a.jpg", NULL), TRESS_E_ARG);
                }
                tr_free(bytes);
                tr_image_free(back);
                tr_image_free(img);
            }
    /* a profile over several JPEG markers */
    tr_image *img = NULL, *back = NULL;
    uint8_t *icc = NULL, *bytes = NULL;
    size_t n = 0;
    const size_t n_icc = 200001;
    assert_int_equal(tr_alloc((void **)&icc, n_icc), TRESS_OK);
    for (size_t i = 0; i < n_icc; i++) icc[i] = (uint8_t)(i * i >> 3);
    assert_int_equal(tr_image_new(&img, 8, 8, 3, 8), TRESS_OK);
    assert_int_equal(tr_image_set_icc(img, icc, n_icc), TRESS_OK);
    assert_int_equal(tr_image_encode(&bytes, &n, img, "a.jpg", NULL), TRESS_OK);
    assert_int_equal(tr_image_decode(&back, bytes, n, "a.jpg"), TRESS_OK);
    assert_int_equal(back->n_icc, n_icc);
    assert_memory_equal(back->icc, icc, n_icc);
    tr_free(icc);
    tr_free(bytes);
    tr_image_free(img);
    tr_image_free(back);
    tr_image_free(profiled);
    unlink(path);
}

static void test_text(void **state)
{
    static const char *const text[] = { "parameters", "red hair\nSteps: 28, Seed: 1", "tress", "{\"prompt\": \"머리 ✓\"}", NULL };
    static const char *const bad[] = { " outer", "x", NULL };
    static const char *const names[][2] = { { "parameters", "red hair\nSteps: 28" }, { "tress", "머리 é" }, { "late", "z" }, { "after", "behind the pixels" } };
    tr_image *img = NULL;
    char path[256], *value = NULL;
    (void)state;
    snprintf(path, sizeof path, "%s/image-text-%ld.png", TRESS_BINARY_DIR, (long)getpid());
    assert_int_equal(tr_image_new(&img, 3, 2, 3, 8), TRESS_OK);
    assert_int_equal(tr_image_write(img, path, text), TRESS_OK);
    for (int i = 0; i < 4; i += 2) {
        assert_int_equal(tr_image_read_text(&value, path, text[i]), TRESS_OK);
        assert_string_equal(value, text[i + 1]);
        tr_free(value);
        value = NULL;
    }
    assert_int_equal(tr_image_read_text(&value, path, "absent"), TRESS_OK);
    assert_null(value);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(tr_image_read_text(&value, path_of("text.png"), names[i][0]), TRESS_OK);
        assert_non_null(value);
        assert_string_equal(value, names[i][1]);
        tr_free(value);
        value = NULL;
    }
    unlink(path);
    assert_int_equal(tr_image_write(img, path, bad), TRESS_E_ARG);
    assert_int_equal(tr_image_write(img, "x.jpg", text), TRESS_E_ARG);
    assert_int_equal(tr_image_write(img, "x.bmp", NULL), TRESS_E_ARG);
    assert_int_equal(tr_image_write(img, "folder.png/x", NULL), TRESS_E_ARG);
    assert_false(tr_file_exists(path));
    assert_int_equal(tr_image_write(img, "/nonexistent-folder/x.png", NULL), TRESS_E_IO);
    tr_image_free(img);
}

/* Fail the nth allocation, for all n, on the way in and out. */
static void test_no_memory(void **state)
{
    static const char *const names[] = { "rgba16-adam7.png", "palette4-trns.png", "icc.png", "exif6.jpg", "icc.jpg", "icc-exif.webp", "text.png" };
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        char *bytes = NULL;
        size_t n = 0;
        assert_int_equal(tr_file_read(&bytes, &n, path_of(names[k]), 1 << 20), TRESS_OK);
        const int64_t before = tr_mem_now().bytes;
        for (int64_t i = 1;; i++) {
            tr_image *img = NULL;
            tr_mem_fail_at(i);
            const tress_status st = tr_image_decode(&img, bytes, n, names[k]);
            tr_mem_fail_at(0);
            tr_image_free(img);
            assert_int_equal(tr_mem_now().bytes, before);
            if (st == TRESS_OK) break;
            if (st != TRESS_E_OOM) fail_msg("%s, allocation %lld: status %d: %s", names[k], (long long)i, (int)st, tr_message());
            assert_true(i < 200);
        }
        tr_image *img = NULL;
        assert_int_equal(tr_image_decode(&img, bytes, n, names[k]), TRESS_OK);
        for (int64_t i = 1;; i++) {
            uint8_t *out = NULL;
            size_t n_out = 0;
            tr_mem_fail_at(i);
            const tress_status st = tr_image_encode(&out, &n_out, img, k < 3 ? "a.png" : k < 5 ? "a.jpg" : "a.webp", NULL);
            tr_mem_fail_at(0);
            tr_free(out);
            if (st == TRESS_OK) break;
            if (st != TRESS_E_OOM) fail_msg("%s, allocation %lld: status %d: %s", names[k], (long long)i, (int)st, tr_message());
            assert_true(i < 200);
        }
        tr_image_free(img);
        tr_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples), cmocka_unit_test(test_refused),    cmocka_unit_test(test_text_bomb), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_scans),   cmocka_unit_test(test_round_trip), cmocka_unit_test(test_text),      cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("image/file", tests, open_goldens, close_goldens);
}
