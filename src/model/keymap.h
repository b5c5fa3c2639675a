/* keymap.h - the names of the field's layouts beside diffusers' own, as tables that read both ways: loading, converting and
 * LoRA files share them. A pattern is a tensor name in which # stands for an index, ~ for an index counted from the other end
 * (VAE levels), and a final $ for "weight" or "bias".
 * Source: diffusers loaders/single_file_utils.py and scripts/convert_sd3_controlnet_to_diffusers.py; docs/formats.md. */
#ifndef TRESS_MODEL_KEYMAP_H
#define TRESS_MODEL_KEYMAP_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_layout {
    TR_LAYOUT_DIFFUSERS,                        /* the names tress uses; no table */
    TR_LAYOUT_MMDIT,                            /* original transformer: joint_blocks.* */
    TR_LAYOUT_CONTROLNET,                       /* original 8B ControlNet: transformer_blocks.*.attn.qkv */
    TR_LAYOUT_VAE,                              /* original VAE: encoder.down.* */
    TR_LAYOUT_VAE_OLD,                          /* diffusers before 0.18: query, key, value, proj_attn */
    TR_LAYOUT_CLIP_BARE,                        /* CLIP without the text_model. prefix */
    TR_LAYOUT_OPENCLIP,                         /* CLIP as OpenCLIP writes it: resblocks */
    TR_LAYOUT_N
} tr_layout;

typedef enum tr_key_kind {
    TR_KEY_PLAIN,
    TR_KEY_THIRD,                               /* rows of a fused q, k, v: third number `part` */
    TR_KEY_SWAP,                                /* halves of dim 0 exchanged */
    TR_KEY_SWAP_LAST,                           /* the same, in the last block only */
    TR_KEY_SQUEEZE,                             /* theirs is [m, n, 1, 1], ours [m, n] */
    TR_KEY_TRANSPOSE                            /* theirs is [n, m] */
} tr_key_kind;

typedef struct tr_key_rule { const char *ours, *theirs; tr_key_kind kind; int part; } tr_key_rule;
/* The table of a layout, *n rules; view. TR_LAYOUT_DIFFUSERS has none. */
const tr_key_rule *tr_key_rules(tr_layout l, int *n);

/* What the marks of a pattern stood for. n_mirror is given by the caller: how many levels ~ counts. */
typedef struct tr_key_match { int index[2], n_index; bool bias; int n_mirror; } tr_key_match;
/* Does name fit the pattern? flat: dots of the pattern are underscores in name, and the pattern's ".$" is not there. */
bool tr_key_fits(const char *pattern, bool flat, const char *name, tr_key_match *m);
/* The name that the pattern gives for m. layer: without the final ".$". Fails: FORMAT when it takes more than n bytes. */
TR_CHECKED tress_status tr_key_name(char *out, size_t n, const char *pattern, bool flat, bool layer, const tr_key_match *m);

#ifdef __cplusplus
}
#endif
#endif
