/* encoder.h - the text encoders: CLIP's text transformer (CLIP-L, OpenCLIP bigG) and the T5 encoder. */
#ifndef TRESS_MODEL_ENCODER_H
#define TRESS_MODEL_ENCODER_H

#include "model/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tr_clip_config { int d, n_layer, n_head, d_ff, n_position, n_vocab, d_projection; tr_act act; float eps; } tr_clip_config;
typedef struct tr_clip tr_clip;
TR_CHECKED tress_status tr_clip_config_read(tr_clip_config *out, tr_weights *w);
TR_CHECKED tress_status tr_clip_open(tr_clip **out, tr_device *d, tr_weights *w, const tr_clip_config *c);
void tr_clip_close(tr_clip *m);
const tr_clip_config *tr_clip_get_config(const tr_clip *m);
/* ids [b, n] I32 host -> hidden [b, n, d] of the next to last layer, no final norm; pooled [b, d_projection] at the first
 * end_id. Either output may be none. Fails: FORMAT when an id is out of range. */
TR_CHECKED tress_status tr_clip_encode(tr_clip *m, tr_stream *s, tr_tensor hidden, tr_tensor pooled, tr_tensor ids, int end_id);

typedef struct tr_t5_config { int d, d_ff, d_kv, n_layer, n_head, n_vocab, n_bucket, distance_max; bool gated; tr_act act; float eps; } tr_t5_config;
typedef struct tr_t5 tr_t5;
TR_CHECKED tress_status tr_t5_config_read(tr_t5_config *out, tr_weights *w);
TR_CHECKED tress_status tr_t5_open(tr_t5 **out, tr_device *d, tr_weights *w, const tr_t5_config *c);
void tr_t5_close(tr_t5 *m);
const tr_t5_config *tr_t5_get_config(const tr_t5 *m);
/* ids [b, n] I32 host -> hidden [b, n, d], last layer. */
TR_CHECKED tress_status tr_t5_encode(tr_t5 *m, tr_stream *s, tr_tensor hidden, tr_tensor ids);

#ifdef __cplusplus
}
#endif
#endif
