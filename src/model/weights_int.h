/* weights_int.h - inside of weights: the object, and the steps that fill it. */
#ifndef TRESS_MODEL_WEIGHTS_INT_H
#define TRESS_MODEL_WEIGHTS_INT_H

#include "model/weights.h"

typedef struct tr_weight {
    char       *name;                           /* diffusers name; owned */
    const char *source, *file;                  /* name in the file, path of the file; views into the mapping's owner */
    tr_tensor   t;
    tr_tensor   placed;                         /* its copy on a device, or none */
    int         group;                          /* of the copy, -1: none */
    bool        used;
} tr_weight;

typedef struct tr_weight_piece { tr_tensor memory; int64_t size, used; bool vectors; } tr_weight_piece;       /* U8 [size] */

struct tr_weights {
    tr_module module;
    tr_layout layout;
    char     *where;                            /* path as given or found, for messages */
    json_t   *config;
    bool      shapes_only, random;              /* random: with numbers */
    tr_dtype  shapes_dtype;

    tr_safetensors **file;
    int        n_file;
    tr_weight *item;                            /* sorted by name */
    int        n_item, cap_item;
    int32_t   *slot;                            /* open addressing: item number + 1, 0 empty; n_slot a power of two */
    uint32_t   n_slot;
    void     **own;                             /* copies of rearranged tensors */
    int        n_own, cap_own;
    char     **note;
    int        n_note, cap_note;
    void      *zeros;                           /* shapes only: read-only pages that stand for every tensor */
    size_t     n_zeros;
    void     **zeros_old;                       /* smaller ones, still pointed at: base, size as pairs */
    size_t    *n_zeros_old;
    int        n_old, cap_old;
    int64_t    bytes;
    tr_stream *stream;                          /* of the device that copies lie on; NULL: none */
    tr_weight_piece *piece;                     /* device memory; the last one of each kind is being filled */
    int        n_piece, cap_piece;
    void      *pattern;                         /* random: what is repeated, host memory */
    int64_t    group_bytes[TR_GROUP_MAX], matrix_bytes;         /* of matrices asked for */
    int64_t    matrix_room;                     /* shapes only: of those that will be and do not travel; 0: unknown */
    struct tr_travel *travel;                   /* weights_travel.c; NULL: every group stays */
};

#define TR_NAME_MAX 257                         /* 256 bytes and the NUL */

/* weights_find.c: the files that path stands for, opened into w->file, w->where and w->config. */
TR_CHECKED tress_status tr_weights_find_files(tr_weights *w, const char *path, const char *variant);
TR_CHECKED tress_status tr_weights_add_file(tr_weights *w, const char *path);
/* A file that may hold this module when the original file `beside` does not; *out new, or NULL when there is none. */
TR_CHECKED tress_status tr_weights_find_beside(char **out, const char *beside, tr_module module);

/* Which module a folder's own config.json says it is; CLIP-L by its activation. *known: whether it says so. */
TR_CHECKED tress_status tr_weights_folder_module(tr_module *out, bool *known, const char *dir);

/* weights_map.c: w->file into w->item, in diffusers' names. *absent: the files hold nothing of this module. */
TR_CHECKED tress_status tr_weights_map(tr_weights *w, bool *absent);
bool tr_weights_is_here(const tr_weights *w);                   /* would it find anything? */

/* weights_check.c */
TR_CHECKED tress_status tr_weights_add_note(tr_weights *w, const char *format, ...) TR_PRINTF(2, 3);
/* weights_notes.c: what is known of the released models against what is here. */
TR_CHECKED tress_status tr_weights_add_notes(tr_weights *w);

/* weights_place.c */
/* *out = the copy of t on w's device; a view of t itself where w has none. */
TR_CHECKED tress_status tr_weights_copy(tr_weights *w, tr_tensor *out, tr_tensor t, int group);
/* *bad: one of the copies holds a NaN or an infinity. Ends the copying, as tr_weights_placed. */
TR_CHECKED tress_status tr_weights_placed_check(tr_weights *w, bool *bad);
/* *out = random numbers of these dims on w's device. */
TR_CHECKED tress_status tr_weights_draw(tr_weights *w, tr_tensor *out, tr_dims d, int group);
/* weights_travel.c: the group of a name, -1 for none. */
int tr_weights_group_of(const char *name);
/* *out = n bytes of the group's slot, where its next tensor goes; what is copied there is kept by the next tr_weights_need. */
TR_CHECKED tress_status tr_weights_slot(tr_weights *w, void **out, int64_t n, int group);
bool tr_weights_group_travels(const tr_weights *w, int group);
TR_CHECKED tress_status tr_weights_settle(tr_weights *w);         /* what lies in slots is in host memory too */
void tr_weights_travel_free(tr_weights *w);
void tr_weights_unplace(tr_weights *w);

/* weights.c */
TR_CHECKED tress_status tr_weights_add(tr_weights *w, const char *name, const char *source, const char *file, tr_tensor t);
TR_CHECKED tress_status tr_weights_own(tr_weights *w, void **out, size_t n);      /* memory that lives as long as w */
TR_CHECKED tress_status tr_weights_index(tr_weights *w);                          /* sort, refuse duplicates, build the table */
/* Make room for one more item of `size` bytes in *p. */
TR_CHECKED tress_status tr_weights_grow(void *p, int n, int *cap, size_t size);
float tr_weights_value(tr_tensor t, int64_t i);                                   /* element i of a contiguous float tensor */

#endif
