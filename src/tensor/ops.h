/* ops.h - the ops: what models are made of. ops.def lists them with their shapes. Back ends enter by this side door.
 * Wrong shapes are our own bug and assert; what can fail is memory or the device. */
#ifndef TRESS_TENSOR_OPS_H
#define TRESS_TENSOR_OPS_H

#include "tensor/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tr_act {
    TR_ACT_NONE,
    TR_ACT_SILU,
    TR_ACT_GELU_TANH,                           /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    TR_ACT_GELU_ERF,
    TR_ACT_GELU_QUICK                           /* x sigmoid(1.702 x) */
} tr_act;

/* What a linear layer does with h = x w^T + b + low up^T before it stores:
 *     y = residual + gate * (mul * act(scale * h)) + more_scale * more        each part optional */
typedef struct tr_epilogue {
    tr_act    act;
    float     scale;                            /* 0 stands for 1, so { 0 } is the plain layer */
    tr_tensor mul;                              /* [n, m]: gated feed-forward */
    tr_tensor gate;                             /* [g, m] */
    tr_tensor residual;                         /* [n, m] rows strided; may be y */
    tr_tensor more;                             /* [n, m]: what a ControlNet adds */
    float     more_scale;
} tr_epilogue;

/* o_i = sum_j p_ij v_j over the keys of all segments, p = softmax_j(scale q_i k_j + bias_ij + key_logw_j + query_logw_i),
 * exactly one softmax over the union (Reference Attention is one more segment).
 * q, o [b, n_q, h, d]; k, v [b, n_k, h, d]; any strides, the last one 1.
 * q2, o2 [b, n_q2, h, d]: what another stream asks of the same keys, in the same pass; then no bias, query_logw or causal segment. */
#define TR_SEGMENT_MAX 4
typedef struct tr_attention_segment {
    tr_tensor k, v;
    tr_tensor bias;                             /* F32 [h, n_q, n_k], or none */
    tr_tensor key_logw;                         /* F32 [n_k], or none */
    tr_tensor query_logw;                       /* F32 [n_q], or none; -infinity leaves the segment out for that query */
    bool      causal;                           /* key j is seen by query i only if j <= i */
} tr_attention_segment;
typedef struct tr_attention_args {
    tr_tensor q, o;
    tr_tensor lse;                              /* F32 [b, h, n_q], or none: log of the softmax's denominator */
    tr_tensor q2, o2;                           /* or none */
    float     scale;
    int       n_segment;
    tr_attention_segment segment[TR_SEGMENT_MAX];
} tr_attention_args;

/* Backward of one segment of attention. With p the softmax over the union of all segments, which lse gives,
 *     p_ij = exp(scale q_i k_j + key_logw_j + query_logw_i - lse_i)      ds_ij = p_ij (do_i . v_j - do_i . o_i)
 *     dv_j = sum_i p_ij do_i      dk_j = scale sum_i ds_ij q_i      dq_i = scale sum_j ds_ij k_j
 * q, o, d_o, dq [b, n_q, h, d]; k, v, dk, dv [b, n_k, h, d]; any strides, the last one 1.  Dao et al. 2022, arXiv:2205.14135, alg. 4 */
typedef struct tr_attention_back_args {
    tr_tensor q, o, d_o;
    tr_tensor lse;                              /* F32 [b, h, n_q], as attention gave it */
    tr_tensor k, v;
    tr_tensor key_logw, query_logw;             /* as in tr_attention_segment */
    float     scale;
    tr_tensor dq;                               /* or none */
    tr_tensor dk, dv;                           /* both or neither */
    bool      add_q, add_kv;                    /* added to what dq, and dk and dv, hold; else they are replaced */
} tr_attention_back_args;

#define TR_CONV_ROWS 4
/* The bytes of a result depend on where it lies in tiles of 4 x 4: rows asked for in bands come out as in one call if the
 * bands begin and end at multiples of TR_CONV_ROWS rows of y, the last one where it likes. The VAE's exact bands rely on it.
 * On a GPU this holds for F32 streams, at any rows. On narrow ones cuDNN chooses its kernel by the height: bands agree with the whole
 * within the rounding of the result; the same call gives the same bytes every time. */
typedef struct tr_conv_args {
    int stride;                                 /* 1 or 2 */
    int pad_top, pad_left, pad_bottom, pad_right;        /* zeros; with upsample 2, -1 leaves one enlarged row or column out */
    int upsample;                               /* 1, or 2: x is read as its nearest-neighbour enlargement */
    tr_tensor residual;                         /* [b, h', w', m] added to the result, or none; may be y */
} tr_conv_args;

/* One step of AdamW with decoupled decay (Loshchilov and Hutter 2019, arXiv:1711.05101), with g' = grad_scale g:
 *     m = m + (1 - beta1) (g' - m);  v = beta2 v + (1 - beta2) g'^2
 *     p = p - (lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps) + lr weight_decay p)
 * Operation by operation what torch.optim.AdamW does to one F32 tensor, but for the decay: there p is first multiplied by
 * 1 - lr weight_decay, which at 1e-4 and 1e-4 is 1 in F32. Beside the update it is not lost.
 * The settings are double as they are there: 1 - beta2 is formed before it is rounded, and 1 - 0.999f is not 0.001f. */
typedef struct tr_adamw_args {
    double  lr;
    double  beta1, beta2;                       /* in 0..1, below 1 */
    double  eps, weight_decay;
    float   grad_scale;                         /* undoes a loss scale and clips, in one factor; 1 for neither */
    int64_t step;                               /* from 1 */
} tr_adamw_args;

/* Moments of 8 bits: a block of 256 is its largest magnitude, in F32, and for each element the place in a sorted table of 256
 * fractions of it, dense near 0: Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", arXiv:2110.02861,
 * section 2, the tables as bitsandbytes' create_dynamic_map(signed, 7, 8) makes them. m uses the signed one, where 0 is code
 * 127, v the unsigned one. The moments are decoded, the step is done in F32, p included, then they are encoded again.
 * The code is that of the nearest entry; but a v above 0 never becomes 0, it becomes the least entry: an m that outlives its
 * v would be divided by next to nothing. */
#define TR_ADAMW8_BLOCK 256

#define OP(name, params, args) TR_CHECKED tress_status tr_##name params;
#include "tensor/ops.def"
#undef OP

/* ---- for back ends --------------------------------------------------------------------------------------- */
/* Everything a back end does, as one table, so that one can also come out of a shared object at run time: memory first
 * (self is what `open` made), then the ops. A slot is NULL until it is written; the front door then names the op. */
typedef struct tr_backend {
    const char *name;                           /* "cpu" */
    bool is_host;                               /* its memory can be read by the CPU */
    tress_status (*open)(void **self, const tr_device_spec *spec, char *text, size_t n_text);   /* text: a name for people */
    void (*close)(void *self);
    tress_status (*take)(void *self, void **out, size_t n);      /* 256-byte aligned, not zeroed */
    void (*give)(void *self, void *p, size_t n);
    tress_status (*upload)(void *self, void *to, const void *from, size_t n);
    tress_status (*download)(void *self, void *to, const void *from, size_t n);
    tress_status (*sync)(void *self);
    /* What tr_record (stream.h) is made of. NULL, all four: this back end gains nothing by recording. */
    tress_status (*record_begin)(void *self);
    tress_status (*record_end)(void *self, void **record);      /* record NULL: what was recorded is dropped */
    tress_status (*record_run)(void *self, void *record);
    void (*record_free)(void *self, void *record);
    tress_status (*free_bytes)(void *self, int64_t *out);        /* of its memory, that nobody uses; NULL: unknown */
    tress_status (*pin)(void *self, void **out, size_t n);       /* host memory that fetch reads; not zeroed */
    void (*unpin)(void *self, void *p);
    /* As tr_fetch and tr_fetch_wait. */
    tress_status (*fetch)(void *self, int lane, void *to, const void *from, size_t n);
    tress_status (*fetch_wait)(void *self, int lane);
#define OP(name, params, args) tress_status (*name) params;
#include "tensor/ops.def"
#undef OP
} tr_backend;
void *tr_device_backend(const tr_device *d);    /* what the back end's `open` made */

/* A back end in a shared object exports one function, tr_backend_entry, and calls the library that loaded it through this table
 * alone. NULL: the two were not built together. */
typedef struct tr_backend_host {
    const char *version;                        /* TRESS_VERSION of the library */
    size_t      n_backend;                      /* sizeof(tr_backend) there: another set of ops has another size */
    tress_status (*fail)(tress_status st, const char *format, va_list ap);
    void (*assert_failed)(const char *what, const char *file, int line);
    void *(*stream_backend)(const tr_stream *s);                /* tr_device_backend of the stream's device */
    tr_dtype (*stream_dtype)(const tr_stream *s);
} tr_backend_host;
typedef const tr_backend *tr_backend_entry(const tr_backend_host *host);
#define TR_BACKEND_ENTRY "tress_backend_enter"

#define OP(name, params, args) tress_status tr_cpu_##name params; tress_status tr_cuda_##name params;
#include "tensor/ops.def"
#undef OP
extern const tr_backend tr_backend_cpu;

#ifdef __cplusplus
}
#endif
#endif
