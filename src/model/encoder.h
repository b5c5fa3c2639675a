/* encoder.h - the text encoders: CLIP's text transformer (CLIP-L, OpenCLIP bigG) and the T5 encoder. */
#ifndef TRESS_MODEL_ENCODER_H
#define TRESS_MODEL_ENCODER_H

#include "model/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_clip_config {
    int    d, n_layer, n_head, d_ff, n_position, n_vocab;
    int    d_projection;                        /* d when there is no projection */
    int    eos;                                 /* what the configuration calls the end token; -1: it does not say; 2: see below */
    tr_act act;
    float  eps;
} tr_clip_config;
typedef struct tr_clip tr_clip;
/* From config.json, or from shapes when there is none. Fails: FORMAT. */
TR_CHECKED tress_status tr_clip_config_read(tr_clip_config *out, tr_weights *w);
/* w is borrowed and must outlive the encoder. Fails: FORMAT, SHAPE, OOM. */
TR_CHECKED tress_status tr_clip_open(tr_clip **out, tr_device *d, tr_weights *w, const tr_clip_config *c);
void tr_clip_close(tr_clip *m);
const tr_clip_config *tr_clip_get_config(const tr_clip *m);
/* ids [b, n] I32 host, n <= n_position -> hidden [b, n, d], what enters the last layer, no final norm; pooled [b, d_projection],
 * the final norm and the projection of the row of the first end token. Either output may be none, and hidden any view.
 * Which token ends a text is the configuration's word (2, which many carry by mistake, means the largest id); end_id where
 * it says nothing. Fails: FORMAT (an id out of range), SHAPE, OOM, CANCELLED. */
TR_CHECKED tress_status tr_clip_encode(tr_clip *m, tr_stream *s, tr_tensor hidden, tr_tensor pooled, tr_tensor ids, int end_id);

typedef struct tr_t5_config {
    int    d, d_ff, d_kv, n_layer, n_head, n_vocab, n_bucket, distance_max;
    bool   gated, relu;                         /* relu: in place of act, as T5 before v1.1 */
    tr_act act;
    float  eps;
} tr_t5_config;
typedef struct tr_t5 tr_t5;
TR_CHECKED tress_status tr_t5_config_read(tr_t5_config *out, tr_weights *w);
TR_CHECKED tress_status tr_t5_open(tr_t5 **out, tr_device *d, tr_weights *w, const tr_t5_config *c);
void tr_t5_close(tr_t5 *m);
const tr_t5_config *tr_t5_get_config(const tr_t5 *m);
/* ids [b, n] I32 host -> hidden [b, n, d], last layer and final norm; each sample's rows may be strided.
 * Fails: FORMAT (an id out of range), SHAPE, OOM, CANCELLED. */
TR_CHECKED tress_status tr_t5_encode(tr_t5 *m, tr_stream *s, tr_tensor hidden, tr_tensor ids);

#ifdef __cplusplus
}
#endif
#endif
