/* sheet.c - a contact sheet of pictures, each with a label under it.
 *
 *     sheet OUT.png N_COLUMN CELL LABEL=PICTURE... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tress.h>

#define PICTURE_MAX 64

int main(int argc, char **argv)
{
    tress *t = NULL;
    tress_image *picture[PICTURE_MAX] = { NULL }, *out = NULL;
    const char *label[PICTURE_MAX];
    const int n = argc - 4;
    if (n < 1 || n > PICTURE_MAX) return fprintf(stderr, "usage: sheet OUT.png N_COLUMN CELL LABEL=PICTURE... (at most %d)\n", PICTURE_MAX), 2;

    tress_status st = tress_new(&t, NULL);
    for (int i = 0; i < n && st == TRESS_OK; i++) {
        char *path = strchr(argv[4 + i], '=');
        label[i] = argv[4 + i];
        if (path) *path++ = '\0';
        else path = argv[4 + i];
        st = tress_image_load(t, &picture[i], path);
    }
    if (st == TRESS_OK) st = tress_image_sheet(t, &out, (const tress_image *const *)picture, label, n, atoi(argv[2]), atoi(argv[3]));
    if (st == TRESS_OK) st = tress_image_save(t, out, argv[1], NULL);
    if (st != TRESS_OK) fprintf(stderr, "sheet: %s\n", tress_last_error());
    for (int i = 0; i < n; i++) tress_image_free(picture[i]);
    tress_image_free(out);
    tress_free(t);
    return tress_exit_code(st);
}
