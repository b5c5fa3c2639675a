/* wanted.c - colours by name. The bands are what the renderer of hair makes of its words: tools/colour_bands.py prints them. */
#include "eval/eval.h"

#include <string.h>

static const struct { const char *word; tr_wanted band; } palette[] = {
    { "black", { { 10.9, 0.6, 0.1 }, { 21.3, 4.1, 6.7 } } },
    { "dark brown", { { 17, 3.4, 6.4 }, { 38.6, 8.9, 15.6 } } },
    { "brown", { { 26.4, 5.2, 11.5 }, { 43.2, 12.2, 24 } } },
    { "auburn", { { 27.7, 10.2, 15.3 }, { 49.4, 21.5, 29 } } },
    { "red", { { 33, 15, 23.1 }, { 53.1, 33.9, 39.5 } } },
    { "dark blonde", { { 41, 3.6, 17.5 }, { 62.1, 11.5, 31.9 } } },
    { "blonde", { { 52.3, -0.5, 19.8 }, { 78, 8.9, 37.1 } } },
    { "platinum blonde", { { 62, -2.8, 5 }, { 92.8, 3.1, 20 } } },
    { "grey", { { 57, -0.8, -2.2 }, { 84.9, 5, 17.6 } } },
    { "pink", { { 44.7, 28.7, -3.4 }, { 67.1, 46.1, 11.3 } } },
    { "blue", { { 31.8, 6.1, -44.3 }, { 49.5, 14.2, -22 } } },
    { "purple", { { 29.7, 25.2, -40.5 }, { 48.8, 43.1, -14.4 } } },
    { "green", { { 42.2, -34, 16.5 }, { 57.8, -17.9, 26.2 } } },
};
enum { N_WORD = sizeof palette / sizeof *palette };

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

tress_status tr_wanted_read(tr_wanted *out, const char *text)
{
    tress_status st = TRESS_OK;
    tr_str words = { 0 };
    for (int i = 0; i < N_WORD; i++)
        if (strcmp(text, palette[i].word) == 0) return *out = palette[i].band, TRESS_OK;
    if (text[0] == '#' && strlen(text) == 7) {
        double rgb[3];
        bool good = true;
        for (int c = 0; c < 3; c++) {
            const int high = hex(text[1 + 2 * c]), low = hex(text[2 + 2 * c]);
            good &= high >= 0 && low >= 0;
            rgb[c] = (16 * high + low) / 255.0;
        }
        if (good) return out->low = out->high = tr_lab_of(rgb), TRESS_OK;
    }
    for (int i = 0; i < N_WORD; i++) TR_TRY(tr_str_printf(&words, ", %s", palette[i].word));
    TR_TRY(tr_fail(TRESS_E_ARG, "colour \"%.64s\", expected #rrggbb%s", text, words.s));
done:
    tr_str_fini(&words);
    return st;
}
