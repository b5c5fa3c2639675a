/* check.h - is a data set fit to train on? Every file is decoded; every problem is named with its file.
 *
 * Unfit, to be mended first: what listing found (dataset.h); a file that does not decode; photo, matte and sketch of different sizes; an
 * empty matte (nothing over one half) or a full one (everything over 0.99); an inverted matte; a sketch without strokes.
 * A matte is inverted when less than a quarter of the strokes lies in it (by its mean value under them) and either it covers more than
 * half of the picture or of the picture's border, which hair hardly does without being drawn on, or less than a twentieth of the
 * strokes lies in it at all.
 * Warnings: strokes on less than 0.5 % or more than 8 % of the pixels; more than half of the strokes beyond ceil(24 max(w, h) / 1024)
 * pixels from the matte; hair on less than 0.5 % or more than 95 % of the picture; files of the same bytes, and such in train and test. */
#ifndef TRESS_DATA_CHECK_H
#define TRESS_DATA_CHECK_H

#include "data/load.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_data_facts {
    char   hash[TR_DATA_KINDS][65];             /* SHA-256 of the file's bytes; "" when it could not be read */
    int    width, height;                       /* of the photo; 0: unknown */
    double hair;                                /* mean of the matte, 0..1; < 0: unknown */
    double strokes;                             /* share of stroke pixels; < 0: unknown */
    double inside;                              /* mean of the matte under the strokes; < 0: unknown */
    bool   unfit, warned;                       /* some finding is of this item */
} tr_data_facts;

typedef struct tr_spread { int n; double min, median, max; } tr_spread;         /* n = 0: of nothing */

typedef struct tr_check {
    const tr_dataset *data;                     /* borrowed */
    tr_data_facts *facts;                       /* [data->n_item] */
    tr_findings    found;                       /* the listing's first, then by item, then duplicates */
    int            n_unfit, n_warning;
    tr_spread      hair, strokes;
} tr_check;
/* *out is new, the same for any n_thread; it borrows data. Unfit data is no failure: see n_unfit. Fails: OOM, CANCELLED. */
TR_CHECKED tress_status tr_check_run(tr_check **out, const tr_dataset *data, int n_thread, const tr_data_hooks *hooks /* NULL: none */);
void tr_check_free(tr_check *c);

/* TRESS_E_FORMAT with the number of problems and the first of them, when there are any. */
TR_CHECKED tress_status tr_check_verdict(const tr_check *c);

/* Lines for people, or one JSON object, behind what is in out. sheet: where the contact sheet was written, or NULL. Fails: OOM. */
TR_CHECKED tress_status tr_check_report(tr_str *out, const tr_check *c, bool json, const char *sheet);

/* The photos with their mattes in red and their strokes in green, at most TR_SHEET_ITEMS of them (those with findings first, the others
 * evenly spread), framed red when unfit and amber when warned of. *out is new; NULL when there is no item. Fails: OOM. */
#define TR_SHEET_ITEMS 192
TR_CHECKED tress_status tr_check_sheet(tr_image **out, const tr_check *c, int n_thread);

#ifdef __cplusplus
}
#endif
#endif
