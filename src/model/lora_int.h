/* lora_int.h - inside of the LoRA files: the object, and keys of every layout taken apart. */
#ifndef TRESS_MODEL_LORA_INT_H
#define TRESS_MODEL_LORA_INT_H

#include "model/lora.h"

#define TR_LORA_NAME_MAX 512

typedef struct tr_lora_text { char *key, *value; } tr_lora_text;
struct tr_lora {
    char          *path;
    tr_lora_format format;
    tr_lora_pair  *pair;                        /* sorted by layer */
    int            n_pair, cap_pair;
    tr_lora_text  *meta;
    int            n_meta, cap_meta;
};

typedef enum tr_lora_role { TR_LORA_DOWN, TR_LORA_UP, TR_LORA_ALPHA } tr_lora_role;
typedef enum tr_lora_kind { TR_LORA_KEY_LAYER, TR_LORA_KEY_TEXT, TR_LORA_KEY_UNKNOWN } tr_lora_kind;

/* A key of a file: which tensor of which module. */
typedef struct tr_lora_key {
    tr_lora_kind   kind;
    tr_lora_role   role;
    tr_lora_format format;
    char           module[TR_LORA_NAME_MAX];    /* the key without its ending: pairs share it */
} tr_lora_key;
/* Fails: FORMAT when the key belongs to another kind of adapter or to none. */
TR_CHECKED tress_status tr_lora_key_read(tr_lora_key *out, const char *key, const char *path);

/* The transformer layers that a module's name stands for: 1, or the 3 of a fused tensor. */
typedef struct tr_lora_target { char layer[3][TR_LORA_NAME_MAX]; int n; tr_key_kind kind; } tr_lora_target;
/* Fails: CONTRACT when there is no such layer. */
TR_CHECKED tress_status tr_lora_target_read(tr_lora_target *out, const char *module, tr_lora_format f, const char *path);
/* The rule of the original layout for a diffusers layer, NULL when there is none. */
const tr_key_rule *tr_lora_rule(const char *layer, tr_key_match *m);

TR_CHECKED tress_status tr_lora_grow(void *p, int n, int *cap, size_t size);

#endif
