/* sheet.h - contact sheets: cells of one size in a grid. */
#ifndef TRESS_IMAGE_SHEET_H
#define TRESS_IMAGE_SHEET_H

#include "image/pixels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out is new: n pictures, each fitted (never squashed) into cell x cell, n_column to a row, on a mid-grey ground with a gap of 8.
 * labels[n] may be NULL; drawn under each cell in a built-in letter set of 8 x 8 pixels when given (ASCII; other
 * letters are boxes), cut at the cell's width. Transparent pictures show the ground. Fails: ARG (sizes), OOM. */
TR_CHECKED tress_status tr_sheet(tr_image **out, const tr_image *const *pictures, const char *const *labels, int n, int n_column, int cell);

#ifdef __cplusplus
}
#endif
#endif
