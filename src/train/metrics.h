/* metrics.h - RUN/metrics.jsonl: one JSON object a line, each appended whole by one write. Figures of a step carry "step". */
#ifndef TRESS_TRAIN_METRICS_H
#define TRESS_TRAIN_METRICS_H

#include "train/checkpoint.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_field_kind { TR_FIELD_DOUBLE, TR_FIELD_INT, TR_FIELD_TEXT } tr_field_kind;
typedef struct tr_field { const char *name; tr_field_kind kind; double d; int64_t i; const char *s; } tr_field;
static inline tr_field tr_field_double(const char *name, double d) { tr_field f = { name, TR_FIELD_DOUBLE, d, 0, NULL }; return f; }
static inline tr_field tr_field_int(const char *name, int64_t i) { tr_field f = { name, TR_FIELD_INT, 0, i, NULL }; return f; }
static inline tr_field tr_field_text(const char *name, const char *s) { tr_field f = { name, TR_FIELD_TEXT, 0, 0, s }; return f; }

typedef struct tr_metrics tr_metrics;
/* Open for appending, the file made where it is missing. step >= 0: the run goes on after that step, so lines with a larger "step" are
 * cut away, the file replaced atomically. A torn last line is completed if only its end of line is missing, else cut away, whatever step
 * is. A line in the middle that is no JSON object stays and is said, with its number. step < 0: nothing has a step that is too large.
 * Fails: IO, OOM. */
TR_CHECKED tress_status tr_metrics_open(tr_metrics **out, const char *path, int64_t step, tr_say say, void *self);
/* One line. A double is written with as few digits as give it back; NaN and infinity become null. Allocates nothing but to grow its
 * buffer. Fails: IO (tr_disk_full; then nothing of the line is in the file), OOM,
 * ARG (more than 64 KiB). */
TR_CHECKED tress_status tr_metrics_add(tr_metrics *m, const tr_field *list, int n);
TR_CHECKED tress_status tr_metrics_sync(tr_metrics *m);         /* on the disk */
void tr_metrics_close(tr_metrics *m);                           /* NULL is welcome */

/* (step, value) pairs in the order of the file. Zero-initialise; tr_series_fini. */
typedef struct tr_series { int64_t *step; double *value; int64_t n, cap; } tr_series;
TR_CHECKED tress_status tr_series_reserve(tr_series *s, int64_t n);      /* room for n in all. Fails: OOM */
TR_CHECKED tress_status tr_series_add(tr_series *s, int64_t step, double value);        /* value finite. Fails: OOM */
void tr_series_fini(tr_series *s);
/* Append to out[k] what lines of the file say of name[k], for n names in one reading; lines without "step" or the name, and values that
 * are null, count for nothing. A missing file is an empty one. Fails: IO, OOM. */
TR_CHECKED tress_status tr_metrics_read(const char *path, const char *const *name, int n, tr_series *out);

#ifdef __cplusplus
}
#endif
#endif
