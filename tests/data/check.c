/* Listing and checking a data set: the three layouts, every problem with its file, hostile folders, the report, the sheet. */
#include "data/draw.h"

/* The findings as lines "unfit|warning PATH TEXT", paths from the data set on. */
static char *findings(const tr_check *c)
{
    static char text[65536];
    size_t n = 0;
    text[0] = 0;
    for (int i = 0; i < c->found.n && n < sizeof text - 2048; i++) {
        const tr_finding *f = &c->found.at[i];
        const char *path = strncmp(f->path, draw_dir, strlen(draw_dir)) == 0 ? f->path + strlen(draw_dir) : f->path;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s %s %s\n", f->unfit ? "unfit" : "warning", path, f->text);
    }
    return text;
}

/* The check must find exactly n problems and n_warning warnings, and say each of the words given. */
static void expect(int n, int n_warning, const char *a, const char *b)
{
    looked l = look(2);
    const char *text = findings(l.c);
    if (l.c->n_unfit != n || l.c->n_warning != n_warning) fail_msg("%d problems and %d warnings, expected %d and %d:\n%s", l.c->n_unfit, l.c->n_warning, n, n_warning, text);
    if (a && !strstr(text, a)) fail_msg("no \"%s\" in:\n%s", a, text);
    if (b && !strstr(text, b)) fail_msg("no \"%s\" in:\n%s", b, text);
    const tress_status st = tr_check_verdict(l.c);
    assert_int_equal(st, n ? TRESS_E_FORMAT : TRESS_OK);
    if (n) assert_non_null(strstr(tr_message(), draw_dir));
    look_end(&l);
}

static void test_flat(void **state)
{
    (void)state;
    make_folders();
    put_item("b", 64, 48, 30);
    put_item("a", 64, 64, 10);
    put_item("c.d", 64, 48, 20);
    put_bytes(in_dir("img/.hidden.png"), "x", 1);
    expect(0, 0, NULL, NULL);
    looked l = look(1);
    assert_int_equal(l.d->layout, TR_DATA_FLAT);
    assert_int_equal(l.d->n_item, 3);
    assert_string_equal(l.d->item[0].name, "a");
    assert_string_equal(l.d->item[1].name, "b");
    assert_string_equal(l.d->item[2].name, "c.d");
    assert_string_equal(l.d->item[2].path[TR_DATA_SKETCH], in_dir("sketch/c.d.png"));
    assert_int_equal(l.c->facts[1].width, 64);
    assert_int_equal(l.c->facts[1].height, 48);
    /* a disc of 16 in 64 x 64, its edge two pixels soft: pi 16^2 plus at most the soft ring's curvature, 2 pi (1/12) 2^2 / 4 */
    const double disc = M_PI * 16 * 16 / 4096;
    if (!(fabs(l.c->facts[0].hair - disc) < 0.002)) fail_msg("hair %g, expected %g", l.c->facts[0].hair, disc);
    assert_true(l.c->facts[0].strokes == 3 * 23 / 4096.0);
    assert_true(l.c->facts[0].inside > 0.95);
    assert_int_equal(l.c->hair.n, 3);
    assert_true(l.c->hair.min <= l.c->hair.median && l.c->hair.median <= l.c->hair.max && l.c->hair.min < l.c->hair.max);
    look_end(&l);
}

static void test_layouts(void **state)
{
    (void)state;
    static const char *const halves[] = { "train", "test" };
    char from[512], to[512];
    for (int half_first = 0; half_first < 2; half_first++) {
        make_folders();
        for (int h = 0; h < 2; h++) {
            put_item("x", 48, 48, 5 + 40 * h);
            put_item(h ? "y" : "w", 48, 48, 25 + 40 * h);
            assert_true(!half_first || mkdir(in_dir("%s", halves[h]), 0777) == 0);
            for (int k = 0; k < TR_DATA_KINDS; k++) {
                const char *kind = tr_data_kind_name((tr_data_kind)k);
                const char *folder = half_first ? in_dir("%s/%s", halves[h], kind) : in_dir("%s/%s", kind, halves[h]);
                assert_int_equal(mkdir(folder, 0777), 0);
                for (int i = 0; i < 2; i++) {
                    const char *name = i == 0 ? "x.png" : h ? "y.png" : "w.png";
                    snprintf(from, sizeof from, "%s", in_dir("%s/%s", kind, name));
                    snprintf(to, sizeof to, "%.300s/%s", folder, name);
                    assert_int_equal(rename(from, to), 0);
                }
            }
        }
        if (half_first)
            for (int k = 0; k < TR_DATA_KINDS; k++) assert_int_equal(rmdir(in_dir("%s", tr_data_kind_name((tr_data_kind)k))), 0);
        looked l = look(2);
        if (l.c->n_unfit + l.c->n_warning) fail_msg("%s", findings(l.c));
        assert_int_equal(l.d->layout, half_first ? TR_DATA_HALF_FIRST : TR_DATA_KIND_FIRST);
        assert_int_equal(l.d->n_item, 4);
        assert_int_equal(l.d->n_test, 2);
        static const char *const names[] = { "w", "x", "x", "y" };
        for (int i = 0; i < 4; i++) {
            assert_string_equal(l.d->item[i].name, names[i]);
            assert_int_equal(l.d->item[i].test, i >= 2);
            assert_non_null(strstr(l.d->item[i].path[1], i >= 2 ? "test" : "train"));
        }
        look_end(&l);
        if (!half_first) {
            put_image(draw_photo(8, 8, 1), in_dir("img/stray.png"));
            expect(0, 1, "warning /img/stray.png lies beside train/ and test/", NULL);
            assert_int_equal(rename(in_dir("matte/test"), in_dir("matte/tset")), 0);
            expect(5, 2, "unfit /matte/test there is no such folder", "unfit /img/test/x.png has no matte of the same stem");
        }
        draw_leave(NULL);
        draw_enter(NULL);
    }
}

static void test_two_layouts(void **state)
{
    (void)state;
    make_folders();
    put_item("a", 48, 48, 5);
    mkdir(in_dir("train"), 0777);
    mkdir(in_dir("train/img"), 0777);
    expect(1, 0, "keep one of the two", NULL);
}

static void test_pairs(void **state)
{
    (void)state;
    make_folders();
    put_item("a", 48, 48, 5);
    put_item("b", 48, 48, 25);
    put_item("c", 48, 48, 45);
    unlink(in_dir("matte/a.png"));
    unlink(in_dir("matte/b.png"));
    unlink(in_dir("sketch/b.png"));
    expect(3, 0, "unfit /img/a.png has no matte of the same stem", "unfit /img/b.png has no matte and no sketch of the same stem");
    put_image(draw_photo(48, 48, 1), in_dir("img/c.jpg"));
    expect(5, 0, "unfit /img/c.png has the same stem as", NULL);
    looked l = look(1);
    assert_int_equal(l.d->n_item, 0);
    look_end(&l);
    put_bytes(in_dir("sketch/notes.txt"), "x", 1);
    put_bytes(in_dir("sketch/z.psd"), "x", 1);
    expect(5, 1, "warning /sketch holds 2 files that are no PNG, JPEG or WebP by their names and are left out: notes.txt, ...", "holds no picture with its matte and sketch");
}

static void test_hostile(void **state)
{
    (void)state;
    make_folders();
    put_item("a", 48, 48, 5);
    assert_int_equal(symlink("/nowhere/at/all.png", in_dir("img/link.png")), 0);
    assert_int_equal(symlink("loop.png", in_dir("img/loop.png")), 0);
    assert_int_equal(mkfifo(in_dir("img/pipe.png"), 0666), 0);
    assert_int_equal(mkdir(in_dir("img/folder.png"), 0777), 0);
    put_bytes(in_dir("img/zero.png"), "", 0);
    put_image(draw_photo(8, 8, 0), in_dir("img/red\x1b[31m\nunfit.png"));
    put_image(draw_photo(8, 8, 0), in_dir("img/\xff\xfe.png"));
    put_image(draw_photo(8, 8, 0), in_dir("img/\xc2\x9b" "c1.png"));
    put_image(draw_photo(8, 8, 0), in_dir("img/\xe2\x80\xaegnp.png"));
    expect(9, 0, "unfit /img/link.png is a link to nothing", "unfit /img/pipe.png is not a regular file");
    expect(9, 0, "unfit /img/loop.png is a link to nothing", "unfit /img/folder.png is a folder, expected a picture");
    expect(9, 0, "unfit /img/zero.png is empty: it has 0 bytes", "unfit /img/red\\x1b[31m\\x0aunfit.png has a name with control characters");
    looked l = look(2);
    assert_int_equal(l.d->n_item, 1);
    for (int json = 0; json < 2; json++) {
        tr_str s = { 0 };
        ok(tr_check_report(&s, l.c, json, NULL));
        for (size_t i = 0; i < s.len; i++)
            if ((unsigned char)s.s[i] < 32 && s.s[i] != '\n') fail_msg("byte %02x in the report", s.s[i]);
        assert_null(strstr(s.s, "\xc2\x9b"));
        assert_null(strstr(s.s, "\xe2\x80\xae"));
        if (json) {
            json_t *o = NULL;
            ok(tr_json_parse(&o, s.s, s.len, 8, "report"));
            assert_int_equal(json_array_size(json_object_get(o, "problems")), 9);
            json_decref(o);
        }
        tr_str_fini(&s);
    }
    look_end(&l);
    /* a link to a picture is a picture, and names in any script are names */
    draw_leave(NULL);
    draw_enter(NULL);
    make_folders();
    put_item("a", 48, 48, 5);
    assert_int_equal(rename(in_dir("img/a.png"), in_dir("elsewhere")), 0);
    assert_int_equal(symlink("../elsewhere", in_dir("img/a.png")), 0);
    put_item("\xeb\xa8\xb8\xeb\xa6\xac \xf0\x9f\x92\x87", 48, 48, 65);
    expect(0, 0, NULL, NULL);
}

static void test_no_folder(void **state)
{
    (void)state;
    tr_dataset *d = NULL;
    assert_int_equal(tr_dataset_list(&d, in_dir("none")), TRESS_E_IO);
    assert_non_null(strstr(tr_message(), in_dir("none")));
    put_bytes(in_dir("file"), "x", 1);
    assert_int_equal(tr_dataset_list(&d, in_dir("file")), TRESS_E_IO);
    assert_null(d);
    unlink(in_dir("file"));
    expect(1, 0, "holds no folders img/, matte/ and sketch/", NULL);
    make_folders();
    expect(1, 0, "holds no picture with its matte and sketch", NULL);
    if (geteuid() != 0) {
        chmod(in_dir("matte"), 0);
        assert_int_equal(tr_dataset_list(&d, draw_dir), TRESS_E_IO);
        assert_non_null(strstr(tr_message(), "matte"));
    }
}

/* One fit item beside what each case spoils, so that exactly the spoilt is named. */
static void test_unfit_files(void **state)
{
    (void)state;
    make_folders();
    put_item("good", 64, 64, 5);
    put_item("x", 64, 64, 25);
    put_bytes(in_dir("img/x.png"), "not a picture at all", 20);
    expect(1, 0, "unfit /img/x.png begins with 6e 6f 74 20", NULL);
    put_item("x", 64, 64, 25);
    char *bytes = NULL;
    size_t n = 0;
    ok(tr_file_read(&bytes, &n, in_dir("matte/x.png"), 1 << 20));
    put_bytes(in_dir("matte/x.png"), bytes, n / 2);
    tr_free(bytes);
    expect(1, 0, "unfit /matte/x.png ", NULL);
    put_item("x", 64, 64, 25);
    put_image(draw_sketch(64, 32, 32, 16, 8), in_dir("sketch/x.png"));
    expect(1, 0, "unfit /sketch/x.png is 64 x 32, but ", "/img/x.png is 64 x 64");
    put_image(draw_sketch(64, 64, 32, 28, 0), in_dir("sketch/x.png"));
    expect(1, 0, "unfit /sketch/x.png the sketch is empty", NULL);
    if (geteuid() != 0) {
        put_item("x", 64, 64, 25);
        chmod(in_dir("sketch/x.png"), 0);
        expect(1, 0, "unfit /sketch/x.png cannot be opened", NULL);
    }
}

static void put_matte(double r, int in, int out)
{
    put_image(draw_matte(128, 128, 64, 64, r, in, out), in_dir("matte/x.png"));
}

static void test_mattes(void **state)
{
    (void)state;
    make_folders();
    put_item("x", 128, 128, 25);
    put_image(draw_sketch(128, 128, 64, 64, 14), in_dir("sketch/x.png"));
    put_matte(200, 0, 0);
    expect(1, 0, "unfit /matte/x.png the matte is empty: all", NULL);
    put_matte(30, 1, 0);                        /* a map of labels, not of white */
    expect(1, 0, "unfit /matte/x.png the matte is empty: its brightest value is 1 of 255", NULL);
    put_matte(200, 255, 255);
    expect(1, 0, "unfit /matte/x.png the matte is full", NULL);
    put_matte(20, 255, 0);                      /* hair of a twelfth, and of three quarters: fit as it is, unfit inverted */
    expect(0, 0, NULL, NULL);
    put_matte(20, 0, 255);
    expect(1, 0, "unfit /matte/x.png the matte is inverted", NULL);
    put_matte(62, 255, 0);
    expect(0, 0, NULL, NULL);
    put_matte(62, 0, 255);
    expect(1, 0, "unfit /matte/x.png the matte is inverted", "100 % of the strokes");
    put_matte(58, 30, 255);                     /* grey hair, white round it on less than half of the picture: told by the border */
    expect(1, 0, "unfit /matte/x.png the matte is inverted", "88 % of the strokes");
    put_matte(85, 255, 0);
    expect(0, 1, "warning /matte/x.png hair covers 99.2 % of the picture, hardly", NULL);
    put_image(draw_sketch(128, 128, 64, 64, 4), in_dir("sketch/x.png"));
    put_matte(4, 255, 0);
    expect(0, 2, "warning /matte/x.png hair covers only 0.3", "warning /sketch/x.png strokes cover 0.15 %");
}

static void test_strokes(void **state)
{
    (void)state;
    make_folders();
    put_item("x", 128, 128, 25);
    put_image(draw_matte(128, 128, 40, 64, 20, 255, 0), in_dir("matte/x.png"));
    put_image(draw_sketch(128, 128, 70, 64, 22), in_dir("sketch/x.png"));        /* 48 to 91: a fifth of it in the hair, half of it far away */
    expect(0, 1, "% of the strokes lie away from the matte", NULL);
    put_image(draw_sketch(128, 128, 52, 64, 22), in_dir("sketch/x.png"));        /* 30 to 73: most of it near the hair */
    expect(0, 0, NULL, NULL);
    put_image(draw_sketch(128, 128, 105, 64, 22), in_dir("sketch/x.png"));       /* wholly elsewhere: nothing could be learned */
    expect(1, 0, "unfit /matte/x.png the matte is inverted, or of another picture", NULL);
    tr_image *thick = new_image(128, 128, 3);
    for (int y = 40; y < 88; y++)
        for (int x = 24; x < 56; x++) set_stroke(thick, x, y, 255, 255, 255);
    put_image(thick, in_dir("sketch/x.png"));
    expect(0, 1, "warning /sketch/x.png strokes cover 9.4 %", NULL);
}

static void copy_file(const char *from, const char *to)
{
    char *bytes = NULL;
    size_t n = 0;
    ok(tr_file_read(&bytes, &n, from, 1 << 20));
    put_bytes(to, bytes, n);
    tr_free(bytes);
}

static void test_same_bytes(void **state)
{
    (void)state;
    make_folders();
    put_item("a", 64, 64, 5);
    put_item("b", 64, 64, 25);
    put_item("c", 64, 64, 45);
    copy_file(in_dir("img/a.png"), in_dir("img/c.png"));
    copy_file(in_dir("matte/a.png"), in_dir("matte/c.png"));
    copy_file(in_dir("sketch/a.png"), in_dir("sketch/c.png"));
    copy_file(in_dir("sketch/a.png"), in_dir("sketch/b.png"));
    expect(0, 2, "warning /img/c.png has the same bytes as", "warning /sketch/b.png has the same bytes as");
    draw_leave(NULL);
    draw_enter(NULL);
    make_folders();
    put_item("a", 64, 64, 5);
    for (int k = 0; k < TR_DATA_KINDS; k++) {
        const char *kind = tr_data_kind_name((tr_data_kind)k);
        mkdir(in_dir("%s/train", kind), 0777);
        mkdir(in_dir("%s/test", kind), 0777);
        copy_file(in_dir("%s/a.png", kind), in_dir("%s/test/b.png", kind));
        rename(in_dir("%s/a.png", kind), in_dir("%s/train/a.png", kind));
    }
    expect(0, 1, "warning /img/test/b.png has the same bytes as", "a picture of test/ would be trained on");
}

static void test_threads(void **state)
{
    (void)state;
    make_folders();
    char name[16];
    for (int i = 0; i < 70; i++) {              /* more than a chunk */
        snprintf(name, sizeof name, "%02d", i);
        put_item(name, 32, 32, i % 50);
        if (i % 9 == 0) put_bytes(in_dir("matte/%02d.png", i), "x", 1);
    }
    tr_str text[2] = { { 0 } };
    tr_image *sheet[2] = { NULL };
    for (int k = 0; k < 2; k++) {
        looked l = look(k ? 8 : 1);
        assert_int_equal(l.c->n_unfit, 8);
        ok(tr_check_report(&text[k], l.c, true, "s.png"));
        ok(tr_check_report(&text[k], l.c, false, "s.png"));
        ok(tr_check_sheet(&sheet[k], l.c, k ? 8 : 1));
        look_end(&l);
    }
    assert_string_equal(text[0].s, text[1].s);
    assert_int_equal(tr_image_bytes(sheet[0]), tr_image_bytes(sheet[1]));
    assert_memory_equal(sheet[0]->data, sheet[1]->data, tr_image_bytes(sheet[0]));
    for (int k = 0; k < 2; k++) {
        tr_str_fini(&text[k]);
        tr_image_free(sheet[k]);
    }
}

static int n_told;
static void told(void *self, int64_t i, int64_t n)
{
    (void)self;
    assert_true(i >= 0 && i <= n && n == 3);
    n_told++;
}
static bool stop(void *self) { return (void)self, true; }

static void test_hooks(void **state)
{
    (void)state;
    tr_check *c = NULL;
    tr_dataset *d = NULL;
    make_folders();
    put_item("a", 48, 48, 5);
    put_item("b", 48, 48, 25);
    put_item("c", 48, 48, 45);
    ok(tr_dataset_list(&d, draw_dir));
    tr_data_hooks h = { NULL, told, NULL, NULL };
    ok(tr_check_run(&c, d, 1, &h));
    assert_true(n_told >= 2);
    tr_check_free(c);
    c = NULL;
    h.cancelled = stop;
    assert_int_equal(tr_check_run(&c, d, 1, &h), TRESS_E_CANCELLED);
    assert_null(c);
    tr_dataset_free(d);
}

static void test_sheet(void **state)
{
    (void)state;
    tr_image *sheet = NULL;
    make_folders();
    put_item("a", 64, 64, 5);
    put_item("b", 64, 64, 25);
    put_bytes(in_dir("sketch/b.png"), "x", 1);
    looked l = look(2);
    ok(tr_check_sheet(&sheet, l.c, 2));
    /* two cells of 448 beside each other, gaps of 8; the disc's middle is at (0.5, 0.45) of each */
    const uint8_t *v = sheet->data;
#define AT(x, y) (v + 3 * ((int64_t)(y) * sheet->width + (x)))
    const uint8_t *hair = AT(8 + 224, 8 + 202 + 30), *bare = AT(8 + 40, 8 + 40);
    assert_true(hair[0] > 160 && hair[1] < 90 && bare[0] < 50);
    bool green = false;
    for (int y = 8; y < 456; y++) green |= AT(8 + 224, y)[1] == 255 && AT(8 + 224, y)[0] == 0;
    assert_true(green);
    assert_true(AT(8, 8)[0] < 50 && AT(464, 8)[0] == 255 && AT(464, 8)[1] == 0);        /* the second is framed */
    tr_image_free(sheet);
    look_end(&l);
    /* of very many only some are shown, the spoilt ones always */
    char name[16];
    for (int i = 0; i < 400; i++) {
        snprintf(name, sizeof name, "z%03d", i);
        put_item(name, 16, 16, i % 250);
    }
    l = look(2);
    ok(tr_check_sheet(&sheet, l.c, 2));
    const int n_column = 16, pitch = 224 + 8;   /* ceil(sqrt(1.3 * 192)) */
    assert_int_equal(sheet->width, 8 + n_column * pitch);
    assert_int_equal(sheet->height, 8 + (TR_SHEET_ITEMS / n_column) * (pitch + 12));
    tr_image_free(sheet);
    look_end(&l);
    for (int i = 0; i < 400; i++) put_bytes(in_dir("matte/z%03d.png", i), "x", 1);        /* more spoilt ones than are shown */
    l = look(2);
    assert_int_equal(l.c->n_unfit, 401);
    ok(tr_check_sheet(&sheet, l.c, 2));
    assert_int_equal(sheet->height, 8 + (TR_SHEET_ITEMS / n_column) * (pitch + 12));
    tr_image_free(sheet);
    look_end(&l);
    draw_leave(NULL);
    draw_enter(NULL);
    l = look(1);
    sheet = NULL;
    ok(tr_check_sheet(&sheet, l.c, 1));
    assert_null(sheet);
    look_end(&l);
}

static void test_real(void **state)
{
    (void)state;
    const char *dir = TRESS_SOURCE_DIR "/../shared/data/braid";
    tr_dataset *d = NULL;
    tr_check *c = NULL;
    if (!tr_dir_exists(dir)) {
        print_message("no real photos here\n");
        skip();
    }
    ok(tr_dataset_list(&d, dir));
    ok(tr_check_run(&c, d, 2, NULL));
    assert_int_equal(d->n_item, 6);
    assert_int_equal(c->n_unfit + c->n_warning, 0);
    tr_check_free(c);
    tr_dataset_free(d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, draw_enter, draw_leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flat), TEST(test_layouts), TEST(test_two_layouts), TEST(test_pairs), TEST(test_hostile), TEST(test_no_folder), TEST(test_unfit_files),
        TEST(test_mattes), TEST(test_strokes), TEST(test_same_bytes), TEST(test_threads), TEST(test_hooks), TEST(test_sheet), TEST(test_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
