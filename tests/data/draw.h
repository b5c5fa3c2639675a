/* draw.h - tiny data sets drawn for the tests of data: a photo whose colours tell where one is, a soft disc of hair, strokes on it. */
#ifndef TRESS_TESTS_DRAW_H
#define TRESS_TESTS_DRAW_H

#include "data/data.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void ok(tress_status st)
{
    if (st != TRESS_OK) fail_msg("%s: %s", tress_status_name(st), tr_message());
}

static char draw_dir[64];                       /* a fresh folder for each test */

static inline int draw_enter(void **state)
{
    (void)state;
    strcpy(draw_dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/tress-data-XXXXXX" : "/tmp/tress-data-XXXXXX");
    return mkdtemp(draw_dir) ? 0 : -1;
}

static inline int draw_leave(void **state)
{
    char cmd[256];
    (void)state;
    snprintf(cmd, sizeof cmd, "chmod -R u+w '%s'; rm -rf '%s'", draw_dir, draw_dir);
    return system(cmd);
}

/* draw_dir/NAME, in one of a few buffers that take turns */
static inline const char *in_dir(const char *format, ...) TR_PRINTF(1, 2);
static inline const char *in_dir(const char *format, ...)
{
    static char buf[8][512];
    static int turn;
    char *out = buf[turn++ & 7], name[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    snprintf(out, sizeof buf[0], "%s/%s", draw_dir, name);
    return out;
}

static inline void put_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) fail_msg("%s cannot be written", path);
}

static inline tr_image *new_image(int w, int h, int channels)
{
    tr_image *img = NULL;
    ok(tr_image_new(&img, w, h, channels, 8));
    return img;
}

/* Red rises across, green down, blue is `tone`. */
static inline tr_image *draw_photo(int w, int h, int tone)
{
    tr_image *img = new_image(w, h, 3);
    uint8_t *v = img->data;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, v += 3) v[0] = (uint8_t)(255 * x / w), v[1] = (uint8_t)(255 * y / h), v[2] = (uint8_t)tone;
    return img;
}

/* A disc of radius r round (cx, cy), `in` inside and `out` outside, two pixels soft. */
static inline tr_image *draw_matte(int w, int h, double cx, double cy, double r, int in, int out)
{
    tr_image *img = new_image(w, h, 1);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            double t = (r + 1 - hypot(x + 0.5 - cx, y + 0.5 - cy)) / 2;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            ((uint8_t *)img->data)[y * w + x] = (uint8_t)(out + t * (in - out) + 0.5);
        }
    return img;
}

static inline void set_stroke(tr_image *img, int x, int y, int r, int g, int b)
{
    if (x < 0 || y < 0 || x >= img->width || y >= img->height) return;
    uint8_t *v = (uint8_t *)img->data + 3 * ((int64_t)y * img->width + x);
    v[0] = (uint8_t)r, v[1] = (uint8_t)g, v[2] = (uint8_t)b;
}

/* Three level strokes of one pixel, of length 2 r, round (cx, cy), on black. */
static inline tr_image *draw_sketch(int w, int h, double cx, double cy, double r)
{
    tr_image *img = new_image(w, h, 3);
    for (int k = -1; k <= 1; k++)
        for (int x = (int)(cx - r); x < (int)(cx + r); x++) set_stroke(img, x, (int)(cy + k * r / 2), 255, 128 + 60 * k, 40);
    return img;
}

static inline void put_image(tr_image *img /* taken */, const char *path)
{
    ok(tr_image_write(img, path, NULL));
    tr_image_free(img);
}

static inline void make_folders(void)
{
    for (int k = 0; k < TR_DATA_KINDS; k++) assert_int_equal(mkdir(in_dir("%s", tr_data_kind_name((tr_data_kind)k)), 0777), 0);
}

/* A fit item of its own tone: img/, matte/ and sketch/ + sub + NAME.png. */
static inline void put_item(const char *name, int w, int h, int tone)
{
    const double cx = w * 0.5 + tone * 0.01, cy = h * 0.45, r = 0.25 * (w < h ? w : h);
    tr_image *sketch = draw_sketch(w, h, cx, cy, r * 0.7);
    for (int64_t i = 0; i < (int64_t)w * h; i++)
        if (((uint8_t *)sketch->data)[3 * i]) ((uint8_t *)sketch->data)[3 * i + 2] = (uint8_t)tone;
    put_image(draw_photo(w, h, tone), in_dir("img/%s.png", name));
    put_image(draw_matte(w, h, cx, cy, r, 255, 0), in_dir("matte/%s.png", name));
    put_image(sketch, in_dir("sketch/%s.png", name));
}

typedef struct looked { tr_dataset *d; tr_check *c; } looked;

static inline looked look(int n_thread)
{
    looked l = { NULL, NULL };
    ok(tr_dataset_list(&l.d, draw_dir));
    ok(tr_check_run(&l.c, l.d, n_thread, NULL));
    return l;
}

static inline void look_end(looked *l)
{
    tr_check_free(l->c);
    tr_dataset_free(l->d);
}

#endif
