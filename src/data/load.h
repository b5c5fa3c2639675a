/* load.h - one file of a data set: its bytes' SHA-256 and its picture, from one reading. */
#ifndef TRESS_DATA_LOAD_H
#define TRESS_DATA_LOAD_H

#include "data/dataset.h"
#include "image/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Who is told how far the work is, and who may end it; each may be NULL. Called from the caller's own thread. */
typedef struct tr_data_hooks {
    void *self;
    void (*progress)(void *self, int64_t i, int64_t n);
    void (*note)(void *self, const char *text);
    bool (*cancelled)(void *self);
} tr_data_hooks;

/* *out is new (tr_image_free). hash, 64 digits and a NUL, is valid whenever the file could be read. Fails: IO, FORMAT, OOM. */
TR_CHECKED tress_status tr_data_load(tr_image **out, char hash[65], const char *path);
/* All three of an item, by kind; each must still have the bytes that hash tells. Fails also: FORMAT (a file has changed). */
TR_CHECKED tress_status tr_data_load_item(tr_image *out[TR_DATA_KINDS], const tr_data_item *item, const char *const hash[TR_DATA_KINDS]);

#ifdef __cplusplus
}
#endif
#endif
