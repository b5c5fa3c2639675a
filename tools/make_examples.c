/* make_examples.c - draw examples/{photo,matte,sketch}: portraits, and hair to put on them.
 *     make_examples FOLDER [NAME]...      all of them, or those named */
#include "make_examples/examples.h"

#include <stdio.h>
#include <string.h>

static const portrait portraits[] = {
    { "ada", -0.10, 0.02, 0.96, 0.84, 0.9, 1.10, 0.85, { 0.72, 0.44, 0.33 }, { 0.50, 0.13, 0.13 }, { 0.10, 0.16, 0.22 }, { 0.10, 0.16, 0.24 }, { 0.05, 0.028, 0.016 },
      false, { { 0.30, 0.33, 0.36 }, { 0.15, 0.14, 0.15 } }, { 0.35, 0.33, 0.28 }, { -0.55, 0.60, 0.75 }, 1.10, 11 },
    { "ben", 0.13, 0.03, 1.00, 1.06, 1.2, 0.85, 1.35, { 0.30, 0.155, 0.095 }, { 0.26, 0.095, 0.075 }, { 0.045, 0.022, 0.010 }, { 0.42, 0.40, 0.36 }, { 0.014, 0.011, 0.010 },
      true, { { 0.16, 0.24, 0.25 }, { 0.10, 0.12, 0.11 } }, { 0.20, 0.34, 0.30 }, { 0.60, 0.55, 0.75 }, 0.86, 23 },
    { "mina", 0.05, -0.02, 0.97, 0.88, 0.7, 1.02, 0.95, { 0.66, 0.43, 0.30 }, { 0.42, 0.12, 0.12 }, { 0.05, 0.026, 0.014 }, { 0.34, 0.09, 0.07 }, { 0.012, 0.010, 0.010 },
      false, { { 0.42, 0.30, 0.22 }, { 0.20, 0.13, 0.10 } }, { 0.50, 0.34, 0.18 }, { -0.35, 0.65, 0.80 }, 1.00, 37 },
};

static const hairstyle styles[] = { { "straight", 1 }, { "wavy", 2 }, { "bob", 3 }, { "ponytail", 4 }, { "braid", 5 }, { "bun", 6 } };

static tress_status save(const tr_image *img, const char *folder, const char *kind, const char *name)
{
    tress_status st = TRESS_OK;
    tr_str path = { 0 };
    TR_TRY(tr_str_printf(&path, "%s/%s", folder, kind));
    TR_TRY(tr_dir_make(path.s));
    TR_TRY(tr_str_printf(&path, "/%s.png", name));
    TR_TRY(tr_image_write(img, path.s, NULL));
done:
    tr_str_fini(&path);
    return st;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], name)) return true;
    return argc == 2;
}

int main(int argc, char **argv)
{
    tress_status st = TRESS_OK;
    tr_image *a = NULL, *b = NULL;
    if (argc < 2) {
        fprintf(stderr, "usage: make_examples FOLDER [NAME]...\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
        if (!wanted(styles[i].name, argc, argv)) continue;
        TR_TRY(hair_draw(&a, &b, &styles[i]));
        TR_TRY(save(a, argv[1], "sketch", styles[i].name));
        TR_TRY(save(b, argv[1], "matte", styles[i].name));
        tr_image_free(a);
        tr_image_free(b);
        a = b = NULL;
    }
    for (size_t i = 0; i < sizeof portraits / sizeof portraits[0]; i++) {
        if (!wanted(portraits[i].name, argc, argv)) continue;
        TR_TRY(portrait_draw(&a, &portraits[i]));
        TR_TRY(save(a, argv[1], "photo", portraits[i].name));
        tr_image_free(a);
        a = NULL;
    }
done:
    tr_image_free(a);
    tr_image_free(b);
    if (st != TRESS_OK) fprintf(stderr, "make_examples: %s\n", tr_message());
    return tress_exit_code(st);
}
