/* scan_int.h - JSON read in one pass, value by value, for vocabulary files: no tree, no allocation per value, so that the
 * 49,408 entries of CLIP's vocabulary are read in a tenth of the time that building a tree of them takes (bench/log.md).
 * Strict as core/json.h: depth bounded without recursion, valid UTF-8 only, no trailing bytes. */
#ifndef TRESS_TEXT_SCAN_INT_H
#define TRESS_TEXT_SCAN_INT_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_scan {
    const char *where;                          /* the file, for messages; borrowed */
    const char *s;                              /* the text, borrowed; a NUL stands behind its n bytes */
    size_t n, at;
    int depth;
    bool is_object[17];                         /* of each open bracket */
    bool first;                                 /* nothing was read yet inside the last opened bracket */
    char *room; size_t n_room;                  /* where strings with escapes are put together */
} tr_scan;

typedef struct tr_text_view { const char *s; size_t n; } tr_text_view;

void tr_scan_init(tr_scan *p, const char *text, size_t n, const char *where);
void tr_scan_fini(tr_scan *p);
/* "file: byte 123: what" */
tress_status tr_scan_fail(const tr_scan *p, const char *what);

/* What stands next: one of { [ " - 0 t f n (0 for any digit), } ] at an end of a bracket, or NUL at the end of the text. */
char tr_scan_peek(tr_scan *p);
/* Into an object or array. Fails: FORMAT when something else stands there or the depth passes 16. */
TR_CHECKED tress_status tr_scan_enter(tr_scan *p, char bracket);
/* The next member of the bracket entered last: *more false when it is closed, which leaves it. For objects *key is the
 * key, a view good until the next string is read; for arrays key may be NULL. */
TR_CHECKED tress_status tr_scan_next(tr_scan *p, bool *more, tr_text_view *key);
/* As tr_scan_next, with stable as in tr_scan_string. */
TR_CHECKED tress_status tr_scan_next_stable(tr_scan *p, bool *more, tr_text_view *key, bool *stable);
/* A string; the view is good until the next string is read. One without escapes is a view into the text itself and lasts as
 * long: *stable, true before, is false after a string with escapes. stable may be NULL. */
TR_CHECKED tress_status tr_scan_string(tr_scan *p, tr_text_view *out, bool *stable);
TR_CHECKED tress_status tr_scan_int(tr_scan *p, int64_t *out, int64_t min, int64_t max);
TR_CHECKED tress_status tr_scan_double(tr_scan *p, double *out);        /* finite */
TR_CHECKED tress_status tr_scan_bool(tr_scan *p, bool *out);
TR_CHECKED tress_status tr_scan_skip(tr_scan *p);                       /* any value */
TR_CHECKED tress_status tr_scan_end(tr_scan *p);                        /* nothing but blanks may follow */
bool tr_scan_is(tr_text_view v, const char *s);

#ifdef __cplusplus
}
#endif
#endif
