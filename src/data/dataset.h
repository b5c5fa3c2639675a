/* dataset.h - what lies in a data set folder: photos, mattes and sketches, paired by the stem of their names. Listing opens no
 * picture. Everything that is not as it should be is recorded and named; only a folder that cannot be read fails.
 *     DIR/{img,matte,sketch}/   DIR/{img,matte,sketch}/{train,test}/   DIR/{train,test}/{img,matte,sketch}/
 * Files are regular ones, or links to such, ending in .png, .jpg, .jpeg or .webp; hidden ones are passed over. */
#ifndef TRESS_DATA_DATASET_H
#define TRESS_DATA_DATASET_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_data_kind { TR_DATA_IMG, TR_DATA_MATTE, TR_DATA_SKETCH, TR_DATA_KINDS } tr_data_kind;
const char *tr_data_kind_name(tr_data_kind k);  /* "img", "matte", "sketch" */

typedef struct tr_data_item {
    char *name;                                 /* the stem: printable UTF-8 */
    char *path[TR_DATA_KINDS];
    bool  test;                                 /* lies in a test/ half */
} tr_data_item;

/* Something a person should know. Unfit: training would be wrong or impossible until it is mended; else a warning. */
typedef struct tr_finding {
    bool  unfit;
    int   i_item;                               /* -1: of no item */
    char *path;                                 /* the file or folder, control characters made harmless */
    char *text;
} tr_finding;
typedef struct tr_findings { tr_finding *at; int n, cap; } tr_findings;
/* A copy of path and the printf-ed text. Fails: OOM. */
TR_CHECKED tress_status tr_findings_add(tr_findings *f, bool unfit, int i_item, const char *path, const char *format, ...) TR_PRINTF(5, 6);
void tr_findings_fini(tr_findings *f);

typedef enum tr_data_layout { TR_DATA_EMPTY, TR_DATA_FLAT, TR_DATA_KIND_FIRST, TR_DATA_HALF_FIRST } tr_data_layout;
#define TR_DATA_FILES_MAX 1000000               /* names read in all folders together */

typedef struct tr_dataset {
    char          *dir;
    tr_data_layout layout;
    tr_data_item  *item;                        /* [n_item] sorted by name, then train before test; only complete ones */
    int            n_item, n_test;
    tr_findings    found;                       /* in the order of folders and names */
} tr_dataset;
/* *out is new. Fails: IO (dir is missing or unreadable), FORMAT (more than TR_DATA_FILES_MAX names), OOM. */
TR_CHECKED tress_status tr_dataset_list(tr_dataset **out, const char *dir);
void tr_dataset_free(tr_dataset *d);

/* A key of its own for each picture, by its name alone: what chance hangs on, so that adding pictures changes nothing for others. */
uint64_t tr_data_key(const char *name);

#ifdef __cplusplus
}
#endif
#endif
