/* file.h - files in, bounded; files out, atomic and durable. All output of the library goes through here. */
#ifndef TRESS_CORE_FILE_H
#define TRESS_CORE_FILE_H

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The whole of a regular file of at most size_max bytes; *text is new (tr_free), with a NUL behind its *n bytes.
 * Fails: IO (missing, unreadable, not a regular file), FORMAT (too large), OOM. */
TR_CHECKED tress_status tr_file_read(char **text, size_t *n, const char *path, size_t size_max);
bool tr_file_exists(const char *path);          /* a regular file that can be read */
bool tr_dir_exists(const char *path);
TR_CHECKED tress_status tr_dir_make(const char *path);          /* with its parents; fine if it is there */
/* "a/b" into *out, new. */
TR_CHECKED tress_status tr_path_join(char **out, const char *dir, const char *name);

/* Mapped read-only. */
typedef struct tr_map { const uint8_t *bytes; size_t n; char *path; } tr_map;
TR_CHECKED tress_status tr_map_open(tr_map *out, const char *path);
void tr_map_close(tr_map *m);

/* A file that appears under its name whole or not at all: written to a temporary name beside it, flushed, renamed,
 * the folder flushed. Closing without commit removes the temporary. */
typedef struct tr_out tr_out;
TR_CHECKED tress_status tr_out_open(tr_out **out, const char *path);
TR_CHECKED tress_status tr_out_write(tr_out *f, const void *bytes, size_t n);
TR_CHECKED tress_status tr_out_commit(tr_out *f);
void tr_out_close(tr_out *f);                   /* NULL is welcome */
TR_CHECKED tress_status tr_file_write(const char *path, const void *bytes, size_t n);   /* the four in one */

#ifdef __cplusplus
}
#endif
#endif
