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
/* The names in a folder, without "." and "..", sorted by their bytes; *list is new (tr_names_free). Fails: IO, OOM. */
TR_CHECKED tress_status tr_dir_list(char ***list, int *n, const char *path);
void tr_names_free(char **list, int n);         /* NULL is welcome */
TR_CHECKED tress_status tr_file_remove(const char *path);       /* fine if it is not there */
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
/* Room for n bytes in all, so that a full disk is found before the first is written. Where the file system cannot, nothing happens. */
TR_CHECKED tress_status tr_out_reserve(tr_out *f, size_t n);
TR_CHECKED tress_status tr_out_commit(tr_out *f);
/* The same; between the flush and the rename `check` reads the file under its temporary name, from the disk rather than from the
 * cache where the system can: what it refuses never gets the name. */
typedef tress_status (*tr_out_check)(void *self, const char *temp);
TR_CHECKED tress_status tr_out_commit_checked(tr_out *f, tr_out_check check, void *self);
void tr_out_close(tr_out *f);                   /* NULL is welcome */
TR_CHECKED tress_status tr_file_write(const char *path, const void *bytes, size_t n);   /* the four in one */
/* Remove the temporaries that a killed process left in a folder; *n of them. Only for a folder that is ours alone (flock).
 * Fails: IO (the folder cannot be read, or one cannot be removed), OOM. */
TR_CHECKED tress_status tr_out_sweep(const char *dir, int *n);

/* A log: records at the end of a file, each by one write, whole or not at all: what a failed write left is cut off again. */
typedef struct tr_append tr_append;
typedef enum tr_append_mode { TR_APPEND_ANY, TR_APPEND_NEW /* fails if the file is there */ } tr_append_mode;
TR_CHECKED tress_status tr_append_open(tr_append **out, const char *path, tr_append_mode mode);
TR_CHECKED tress_status tr_append_add(tr_append *f, const void *bytes, size_t n);
TR_CHECKED tress_status tr_append_sync(tr_append *f);           /* on the disk, whatever happens to the machine */
void tr_append_close(tr_append *f);             /* NULL is welcome */

#ifdef __cplusplus
}
#endif
#endif
