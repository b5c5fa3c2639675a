/* tress.h - draw photo-real hair from a sketch with Stable Diffusion 3.5, a Canny ControlNet and a LoRA.
 *
 *     tress *t = NULL;
 *     tress_model *m = NULL;
 *     tress_result *r = NULL;
 *     tress_image *sketch = NULL;
 *     tress_generate_args g;
 *     tress_generate_defaults(&g);
 *     if (tress_new(&t, NULL) || tress_image_load(t, &sketch, "sketch.png") ||
 *         tress_model_open(t, &m, &(tress_model_args){ .model = "models/mini" }) ||
 *         (g.sketch = sketch, g.prompt = "red hair", tress_generate(m, &g, &r)) ||
 *         tress_image_save(t, tress_result_image(r, 0), "out.png", NULL))
 *         fprintf(stderr, "%s\n", tress_last_error());
 *     tress_result_free(r); tress_image_free(sketch); tress_model_close(m); tress_free(t);
 *
 * Ownership words: new (the caller frees), borrowed (must outlive the call or object), view (nobody frees).
 * One handle serves one thread at a time; different handles are independent. The library never prints and never exits. */
#ifndef TRESS_H
#define TRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(TRESS_BUILD) && defined(__GNUC__)
#define TRESS_API __attribute__((visibility("default")))
#else
#define TRESS_API
#endif
#ifdef __GNUC__
#define TRESS_CHECKED __attribute__((warn_unused_result))
#else
#define TRESS_CHECKED
#endif

/* What a call came to. tress_exit_code() maps each to the exit code of the command line. */
typedef enum tress_status {
    TRESS_OK = 0,
    TRESS_E_ARG,         /* an argument or option is wrong or lacks its partner          exit 2 */
    TRESS_E_FORMAT,      /* a file is malformed, or holds NaN or infinity                exit 3 */
    TRESS_E_SHAPE,       /* sizes do not fit each other                                  exit 3 */
    TRESS_E_CONTRACT,    /* a LoRA was trained under another contract, or matches nothing  exit 3 */
    TRESS_E_OOM,         /* memory                                                       exit 4 */
    TRESS_E_GPU,         /* the GPU failed, or there is none                             exit 5 */
    TRESS_E_IO,          /* a file is missing, unreadable, unwritable; the disk is full  exit 6 */
    TRESS_E_NONFINITE,   /* a NaN or infinity was computed                               exit 7 */
    TRESS_E_SAVED,       /* interrupted, and the work so far is saved                    exit 8 */
    TRESS_E_CANCELLED    /* interrupted, nothing written                                 exit 130 */
} tress_status;

TRESS_API int         tress_exit_code(tress_status st);
TRESS_API const char *tress_status_name(tress_status st);      /* "out of memory"; never NULL */
/* The message of the calling thread's last failure: file, tensor or option, what was found, what was expected. Never NULL. */
TRESS_API const char *tress_last_error(void);
TRESS_API const char *tress_version(void);                      /* "0.1.0" */

/* ---- the handle ------------------------------------------------------------------------------------------ */
typedef enum tress_backend { TRESS_BACKEND_AUTO, TRESS_BACKEND_CPU, TRESS_BACKEND_CUDA } tress_backend;

typedef struct tress_progress {
    const char *stage;            /* "text", "encode", "sample", "decode", "load", "convert", "download", "check", "latents", "train", "sheet" */
    int64_t     i, n;             /* done, of how many (n = 0: unknown) */
    double      seconds, left;    /* since the stage began; estimate to its end, < 0 when unknown */
    const char *text;             /* more worth showing, "loss 0.1234": view, may be NULL */
} tress_progress;

typedef struct tress tress;
typedef struct tress_image tress_image;

typedef struct tress_hooks {                                    /* each may be NULL */
    void *self;
    void (*progress)(void *self, const tress_progress *p);
    void (*note)(void *self, const char *text);                 /* one line worth telling a person */
    void (*preview)(void *self, const tress_image *rgb, int step, int n_step);  /* a small view; asked for by preview_every */
    bool (*cancelled)(void *self);                              /* polled at every block: true ends the work */
} tress_hooks;

typedef struct tress_options {
    tress_backend backend;        /* AUTO: the GPU where one can be used, else the CPU */
    const char   *dtype;          /* the type activations are kept in: "f32", and on a GPU "f16" and "bf16"; NULL: "f16" on a GPU, "f32" on the CPU */
    int           n_thread;       /* 0: every core the process may use */
    int64_t       memory_max;     /* bytes of host memory, 0: no limit; checked by a plan before any work. On the CPU for weights in use and
                                     activations together, with a GPU for weights that wait for their turn there */
    int64_t       max_vram;       /* bytes of a GPU's memory for everything, CUDA itself included: what does not fit waits in host memory and
                                     comes when it is needed. 0: what is free when the handle is made, less a margin */
    bool          plan_only;      /* for plans alone: backend CUDA needs no card, and nothing can be computed */
    tress_hooks   hooks;
} tress_options;

TRESS_API TRESS_CHECKED tress_status tress_new(tress **out, const tress_options *opt /* NULL: defaults */);
TRESS_API void tress_free(tress *t);                            /* NULL is welcome, here and in every _free and _close */

/* ---- pictures -------------------------------------------------------------------------------------------- */
struct tress_image_info {
    int  width, height;           /* after EXIF orientation */
    int  channels;                /* 1 grey, 2 grey+alpha, 3 RGB, 4 RGBA */
    int  depth;                   /* 8 or 16 bits a channel */
    bool icc;                     /* carries a colour profile */
};
typedef struct tress_image_info tress_image_info;

/* PNG, JPEG or WebP, at most 64 megapixels. */
TRESS_API TRESS_CHECKED tress_status tress_image_load(tress *t, tress_image **out, const char *path);
/* A picture from memory: rows of width * channels samples (uint8_t or uint16_t in host order), copied. */
TRESS_API TRESS_CHECKED tress_status tress_image_new(tress *t, tress_image **out, const tress_image_info *info, const void *pixels);
/* By the ending of path: .png, .jpg, .webp. Replaced atomically. text: pairs {key, value, key, value, NULL}, or NULL; PNG only. */
TRESS_API TRESS_CHECKED tress_status tress_image_save(tress *t, const tress_image *img, const char *path, const char *const *text);
/* Pictures in a grid of cells, n_column to a row, each fitted into cell x cell pixels; labels[n] or NULL. *out is new. */
TRESS_API TRESS_CHECKED tress_status tress_image_sheet(tress *t, tress_image **out, const tress_image *const *pictures,
                                                       const char *const *labels, int n, int n_column, int cell);
TRESS_API tress_image_info tress_image_get_info(const tress_image *img);
TRESS_API const void *tress_image_pixels(const tress_image *img);   /* view */
TRESS_API void tress_image_free(tress_image *img);

/* ---- a model --------------------------------------------------------------------------------------------- */
typedef struct tress_model tress_model;

typedef struct tress_lora_ref { const char *file; float weight; } tress_lora_ref;

typedef struct tress_model_args {
    const char *model;            /* diffusers folder or original single file; NULL: the installed models/mini */
    const char *control_net;      /* folder or file; NULL: MODEL/controlnet */
    const char *vae;              /* folder or file in place of the model's own; NULL: the model's */
    const char *clip_l, *clip_g, *t5;           /* single files or folders in place of the model's own; NULL: the model's */
    const char *tokenizers;       /* folder that holds tokenizer/, tokenizer_2/, tokenizer_3/; NULL: the model's */
    const char *variant;          /* "fp16": pick NAME.fp16.safetensors; NULL: plain names first, then fp16 */
    const char *text_cache;       /* folder for encodings by content hash; NULL: none */
    const tress_lora_ref *lora;   /* [n_lora] */
    int         n_lora;
    bool        lora_merge;       /* add the LoRAs into copies of the weights rather than beside them at run time */
    bool        ignore_contract;
    bool        no_control;       /* open without a ControlNet */
} tress_model_args;

/* Everything named in args is copied. Fails: IO, FORMAT, SHAPE, CONTRACT, OOM, GPU. t is borrowed. */
TRESS_API TRESS_CHECKED tress_status tress_model_open(tress *t, tress_model **out, const tress_model_args *args);
TRESS_API void tress_model_close(tress_model *m);

/* ---- drawing --------------------------------------------------------------------------------------------- */
typedef enum tress_control_image { TRESS_CONTROL_LINES, TRESS_CONTROL_CANNY, TRESS_CONTROL_COLOUR, TRESS_CONTROL_RAW } tress_control_image;
typedef enum tress_control_range { TRESS_RANGE_VENDOR, TRESS_RANGE_SIGNED } tress_control_range;   /* 127.5 p + 0.5; 2 p - 1 */
typedef enum tress_control_last  { TRESS_LAST_VENDOR, TRESS_LAST_DIFFUSERS } tress_control_last;   /* residual after the last block: added; not */
typedef enum tress_control_pooled { TRESS_POOLED_TEXT, TRESS_POOLED_ZERO } tress_control_pooled;
typedef enum tress_sampler { TRESS_SAMPLER_EULER, TRESS_SAMPLER_DPMPP_2M } tress_sampler;
/* How a drawing attends to the photo round it. CLEAN: the photo as it is, run once; STAIRCASE: noised up to 0.6, made anew a few times;
 * NOISED: as noised as the drawing, made anew at every step. AUTO: off without a photo and with inpaint; what the LoRA was trained
 * with; else STAIRCASE. */
typedef enum tress_reference { TRESS_REFERENCE_AUTO, TRESS_REFERENCE_OFF, TRESS_REFERENCE_CLEAN, TRESS_REFERENCE_STAIRCASE, TRESS_REFERENCE_NOISED } tress_reference;
/* Which tokens are drawn: all, or those of the region that may change, with the reference in place of the others. */
typedef enum tress_draw_tokens { TRESS_DRAW_ALL, TRESS_DRAW_EDIT } tress_draw_tokens;

typedef enum tress_blend { TRESS_BLEND_FEATHER, TRESS_BLEND_BANDS } tress_blend;   /* the drawn into the photo: by one alpha; octave by octave */

typedef struct tress_place { bool on; double x, y, scale, rotate; bool flip; } tress_place;

typedef struct tress_generate_args {
    const tress_image *sketch;                 /* required unless control_strength is 0 or the model has no ControlNet */
    const tress_image *photo, *matte;          /* both or neither; one size, unless place.on and the matte has the sketch's */
    const tress_image *old_matte;              /* where the photo's own hair may go too; NULL: none */
    const char *prompt, *negative;             /* NULL: "" */
    bool        zero_text;                     /* zero rows and pooled vector, no guidance */
    int         zero_text_rows;                /* 333 */
    int         width, height;                 /* 0: by the rules of docs/generate.md */
    int         n_step;                        /* 28 */
    float       cfg_scale;                     /* 4.5; guidance is on above 1 */
    uint64_t    seed;
    bool        seed_random;                   /* true: draw a seed; tress_result_seed tells it */
    int         batch;                         /* 1 */
    float       strength;                      /* 1: from noise; below: from the noised photo */
    bool        inpaint;                       /* blend with the re-noised photo at each step */
    tress_reference reference;
    float       reference_strength;            /* 0.5: p weighs each key of the photo p / (1 - p), at most 32; 0: off */
    int         reference_rows;                /* 1536: tokens of the photo, those nearest to the region that may change */
    int         reference_first, reference_last;    /* blocks that see it; < 0: 8 and 30 of 38, and as much of other depths */
    tress_draw_tokens draw_tokens;
    float       colour_start, colour_guide, colour_reference;    /* 0, 0, 0: the strokes' colours into the matte; docs/generate.md */
    int         edit_grow;                     /* px round the matte that may change; < 0: 24 max(W,H) / 1024 */
    tress_place place;                         /* the sketch, and a matte of the sketch's size, by one map onto the photo */
    tress_blend blend;
    bool        overlay;                       /* make tress_result_overlay */
    tress_control_image  control_image;
    tress_control_range  control_range;
    tress_control_last   control_last;
    tress_control_pooled control_pooled;
    float       control_strength, control_start, control_end;    /* 1, 0, 1 */
    float       control_strength_outside;      /* of the sketch away from the matte; < 0: as control_strength */
    tress_sampler sampler;
    float       shift;                         /* 0: the scheduler's own (3.0) */
    const int  *skip_layer;                    /* skip-layer guidance: blocks left out of a third pass; NULL: off */
    int         n_skip_layer;
    float       skip_layer_scale, skip_layer_start, skip_layer_end;   /* 2.8, 0.01, 0.2 */
    int         max_sequence_length;           /* T5 rows: 256 */
    int         vae_band;                      /* rows of latent decoded at once, exact; 0: by memory */
    int         preview_every;                 /* steps between preview callbacks; 0: none */
    const char *latents_in, *latents_out, *embeds_in;    /* safetensors files; NULL: none */
    bool        dry_run;                       /* check everything, load nothing heavy, draw nothing: the result has no pictures */
} tress_generate_args;

typedef struct tress_result tress_result;

TRESS_API void tress_generate_defaults(tress_generate_args *args);
/* Draw. *out is new. Fails: ARG, FORMAT, SHAPE, OOM, GPU, IO, NONFINITE, CANCELLED; then *out is untouched. */
TRESS_API TRESS_CHECKED tress_status tress_generate(tress_model *m, const tress_generate_args *args, tress_result **out);
TRESS_API void tress_result_free(tress_result *r);
TRESS_API int                tress_result_count(const tress_result *r);
TRESS_API const tress_image *tress_result_image(const tress_result *r, int i);      /* view */
TRESS_API const tress_image *tress_result_control(const tress_result *r);           /* view: the control picture as used; NULL: none */
TRESS_API const tress_image *tress_result_alpha(const tress_result *r);             /* view: 16-bit composite alpha; NULL without a photo */
TRESS_API const tress_image *tress_result_overlay(const tress_result *r);           /* view: the photo, matte in red, strokes in green, as they lie on it; also of a
                                                                                     * dry run. NULL unless args.overlay */
TRESS_API uint64_t           tress_result_seed(const tress_result *r);
TRESS_API const char        *tress_result_parameters(const tress_result *r, int i); /* view: the `parameters` text other tools read */
TRESS_API const char        *tress_result_json(const tress_result *r, int i);       /* view: everything that made picture i, as JSON */
/* Write picture i with its texts: `parameters` and `tress` (the JSON) in a PNG, the pixels alone in other kinds. */
TRESS_API TRESS_CHECKED tress_status tress_result_save(tress *t, const tress_result *r, int i, const char *path);

/* ---- training -------------------------------------------------------------------------------------------- */
typedef enum tress_precision { TRESS_PRECISION_AUTO, TRESS_PRECISION_FP16, TRESS_PRECISION_BF16, TRESS_PRECISION_NO } tress_precision;  /* auto: fp16 on a GPU, no on the CPU */
typedef enum tress_checkpointing {
    TRESS_CHECKPOINTING_AUTO,                  /* as much is kept from forward to backward as max_vram allows */
    TRESS_CHECKPOINTING_ON,                    /* the inputs of blocks alone: least memory */
    TRESS_CHECKPOINTING_ATTENTION,             /* and what attention gave */
    TRESS_CHECKPOINTING_OFF                    /* all: nothing is computed twice */
} tress_checkpointing;
typedef enum tress_optimizer { TRESS_OPTIMIZER_ADAMW, TRESS_OPTIMIZER_ADAMW8BIT } tress_optimizer;
typedef enum tress_lr_schedule { TRESS_LR_CONSTANT, TRESS_LR_LINEAR, TRESS_LR_COSINE, TRESS_LR_POLYNOMIAL } tress_lr_schedule;
typedef enum tress_timestep_sampling { TRESS_TIMESTEP_LOGIT_NORMAL, TRESS_TIMESTEP_UNIFORM, TRESS_TIMESTEP_MODE, TRESS_TIMESTEP_COSMAP } tress_timestep_sampling;
typedef enum tress_mask_normalize { TRESS_MASK_PER_SAMPLE, TRESS_MASK_PER_BATCH, TRESS_MASK_NONE } tress_mask_normalize;
typedef enum tress_fit { TRESS_FIT_CROP, TRESS_FIT_LETTERBOX } tress_fit;

/* Every member has the name of its option in the command line, where docs/train.md explains it. */
typedef struct tress_train_args {
    const char *data;                          /* folder of img/, matte/, sketch/ */
    const char *run;                           /* folder that the run lives in, made if need be; in use by one process at a time */
    const char *resume;                        /* "latest", or a checkpoint file; NULL: a new run, whose folder must be empty */
    const char *latent_cache;                  /* folder of encoded pictures, may be shared by runs; NULL: RUN/latents */
    /* what learns */
    int         rank;                          /* 16 */
    float       alpha;                         /* 0: the rank */
    const char *targets;                       /* "to_q,to_k,to_v,to_out": also add_q_proj, add_k_proj, add_v_proj, to_add_out */
    const int  *block;                         /* [n_block] the blocks that learn; n_block 0: all */
    int         n_block;
    float       lora_dropout;                  /* 0 */
    /* pictures */
    int         resolution;                    /* 0: the model's own size, 1024 for SD3.5 */
    tress_fit   fit;
    bool        buckets;                       /* true: frames of several shapes */
    bool        augment_flip;
    double      augment_rotate, augment_translate, augment_scale, augment_stroke_width;     /* the most of each; 0 */
    int         augment_variants;              /* 4: kept of each picture; 0: drawn afresh at each step */
    double      mask_grow, mask_blur;          /* pixels at 1024; 0 */
    double      validation_split;              /* 0.1 */
    tress_control_image control_image;
    tress_control_range control_range;
    tress_control_last  control_last;
    float       sketch_dropout;                /* share of samples that train without their sketch; 0 */
    /* the step */
    int64_t     steps;                         /* 2000 */
    int         batch, gradient_accumulation;  /* 1, 1 */
    double      learning_rate;                 /* 1e-4 */
    tress_lr_schedule lr_schedule;
    int64_t     warmup_steps;                  /* 0 */
    tress_optimizer optimizer;
    double      beta1, beta2, epsilon, weight_decay, max_grad_norm;     /* 0.9, 0.999, 1e-8, 1e-4, 1 */
    double      ema;                           /* decay of the running average; 0: none */
    tress_timestep_sampling timestep_sampling;
    double      logit_mean, logit_std, mode_scale, training_shift;      /* 0, 1, 1.29, 1 */
    tress_mask_normalize mask_normalize;
    float       unmasked_weight;               /* 0 */
    int         zero_text_rows;                /* 333 */
    uint64_t    seed;                          /* 0 */
    /* memory */
    tress_precision mixed_precision;
    tress_checkpointing gradient_checkpointing;
    int64_t     max_vram;                      /* bytes for weights and activations; 0: what the machine has */
    /* seeing and keeping */
    int64_t     validate_every, sample_every, save_every;               /* 100, 250, 250; 0: never (a checkpoint is always written at the end) */
    int         keep_checkpoints;              /* 3 */
    int         sample_count, sample_steps;    /* 4 pictures to a sheet, 20 steps each */
    const char *sample_embeds;                 /* safetensors with encoded words for the sheets; NULL: zero text, as in training */
} tress_train_args;

TRESS_API void tress_train_defaults(tress_train_args *args);
/* Train a LoRA: RUN/lora.safetensors, with checkpoints, metrics and sheets beside it. Checkpoints are whole and intact or not there; a run
 * that is interrupted, killed or out of disk goes on from its last one with the same bytes as if nothing had happened.
 * model: its lora, lora_merge and ignore_contract are not used.
 * Fails: ARG, FORMAT (unfit data, or a resume that does not fit, naming the field), SHAPE, CONTRACT, OOM, GPU, IO, NONFINITE,
 * SAVED (interrupted; the run is saved), CANCELLED (interrupted before there was anything to save). */
TRESS_API TRESS_CHECKED tress_status tress_train(tress *t, const tress_model_args *model, const tress_train_args *args);

/* ---- looking inside -------------------------------------------------------------------------------------- */
/* One forward of one module on named tensors: what holds tress against any other implementation.
 *   transformer  hidden_states, encoder_hidden_states, pooled_projections, timestep, optional residuals.N -> sample
 *   controlnet   hidden_states, controlnet_cond, pooled_projections, timestep,
 *                encoder_hidden_states if the net reads words                                          -> residuals.N
 *   vae-encode   image                                                                                 -> mean, logvar
 *   vae-decode   latent                                                                                -> image
 *   clip-l, clip-g, t5   input_ids                                                          -> hidden, pooled (not t5)
 *   tokenize     text                                                                             -> clip_l, clip_g, t5
 *   text         text                                                       -> encoder_hidden_states, pooled_projections
 *   sample       latents, encoder_hidden_states, pooled_projections, both with negative_, optional controlnet_cond
 *                                                                                                     -> latents
 *   train-step   latents, control, noise [B,16,h,w], mask [B,1,h,w], sigma [B]; model.lora: what to begin with (at most one, its weight 1)
 *                -> loss [1], grad.KEY before clipping, lora.KEY after one step of the optimiser; KEY as in a LoRA file
 * Floats are F32, ids I32, batch first; latents are scaled as the transformer sees them, vae-* are raw; docs/probe.md. */
typedef struct tress_probe_args {
    const char *module;
    const char *in, *out;                      /* safetensors files; in is not read by tokenize and text */
    const char *text;                          /* for tokenize and text; NULL: "" */
    const tress_generate_args *sample;         /* steps, guidance, control, sampler, skipped layers; NULL: the defaults */
    const struct tress_train_args *train;      /* for train-step; NULL: the defaults */
} tress_probe_args;
/* Opens of the model only what the module needs. Fails: ARG, IO, FORMAT, SHAPE, OOM, GPU, NONFINITE, CANCELLED. */
TRESS_API TRESS_CHECKED tress_status tress_probe(tress *t, const tress_model_args *model, const tress_probe_args *args);

/* What a drawing will cost, found by running its very code on a device that counts and computes nothing: no weight is
 * read and no activation is allocated. The pictures of args count with their sizes and the region that may change. */
typedef struct tress_plan tress_plan;
typedef struct tress_plan_part {
    const char *name;                          /* "text_encoder", "vae encode", "sample", ... in the order of work: view */
    int64_t     weight_bytes;                  /* mapped from files, shared with the page cache; on a GPU those that are on it */
    int64_t     work_bytes;                    /* the most memory taken beside the weights */
    double      flops;                         /* of the whole part: all its steps */
} tress_plan_part;
TRESS_API TRESS_CHECKED tress_status tress_plan_generate(tress *t, const tress_model_args *model,
                                                         const tress_generate_args *args, tress_plan **out);
/* The same of training at args' resolution and batch; no data are read. The level of gradient checkpointing that is chosen is a part's name. */
TRESS_API TRESS_CHECKED tress_status tress_plan_train(tress *t, const tress_model_args *model, const tress_train_args *args, tress_plan **out);
TRESS_API void tress_plan_free(tress_plan *p);
TRESS_API int             tress_plan_count(const tress_plan *p);
TRESS_API tress_plan_part tress_plan_at(const tress_plan *p, int i);
TRESS_API int64_t         tress_plan_peak_bytes(const tress_plan *p);     /* weights and work of the hungriest moment; on a GPU loading included */
typedef struct tress_plan_card {               /* of a plan for a GPU */
    const char *residency;                     /* what stays on it and what comes from host memory, for people: view; NULL: the plan is for the CPU */
    int64_t own_bytes;                         /* what CUDA and its libraries may take beside all that is planned */
    int64_t most_bytes;                        /* what the plan was to stay within; 0: anything goes */
    int64_t free_bytes;                        /* on the card now; 0: there is none here */
    int64_t pinned_bytes;                      /* of host memory, for weights that wait for their turn */
} tress_plan_card;
TRESS_API tress_plan_card tress_plan_get_card(const tress_plan *p);
TRESS_API void            tress_plan_size(const tress_plan *p, int *width, int *height);   /* the size drawn at */

/* How fast the parts of a drawing are here, beside what the machine allows. Nothing is read where a preset is named: weights are random. */
typedef struct tress_bench_args {
    const char *what;             /* "transformer", "controlnet", "step", "vae", "text", "generate", "train-step" */
    const char *preset;           /* "sd35-large", "sd35-medium", "mini": shapes with random weights; NULL: the model of model args */
    int   width, height;          /* pixels, multiples of 16; 0: 1024 (mini: 256) */
    int   batch;                  /* pictures at once, >= 1 */
    int   n_repeat;               /* timed, after one that is not; the median counts */
    int   n_step;                 /* of generate */
    int   text_rows;              /* of a branch: 333; 1: a zero text as one row */
    float cfg_scale;              /* above 1: both branches in a batch of 2 */
    tress_control_pooled control_pooled;
    int   rank;                   /* of train-step: 16 */
    tress_checkpointing gradient_checkpointing;        /* of train-step; auto: off */
    int   reference_rows;         /* of a photo that the drawing attends to, run once (clean) in the default window of blocks; 0: none */
    int   draw_rows;              /* tokens that are drawn, of ControlNet and transformer; 0: all */
} tress_bench_args;
TRESS_API void tress_bench_defaults(tress_bench_args *a);
/* line is called with one JSON object per figure: what, ms, ms_least, ms_most, tflop, tflops, limit_tflops, share, peak_bytes, weight_bytes.
 * Fails: ARG, OOM, GPU, and what opening a model fails with. */
TRESS_API TRESS_CHECKED tress_status tress_bench(tress *t, const tress_model_args *model, const tress_bench_args *args,
                                                 void (*line)(void *self, const char *json), void *self);

/* The machine, its CPU's abilities, threads, back ends and library versions. *out is new: lines for people, or one JSON object. */
TRESS_API TRESS_CHECKED tress_status tress_info(tress *t, bool json, char **out);
TRESS_API void tress_text_free(char *text);

/* ---- weight files ---------------------------------------------------------------------------------------- */
typedef struct tress_convert_args {
    const char *from;             /* diffusers model or module folder, or a single file: original, ControlNet, clip_l, ... */
    const char *to;               /* ends in .safetensors: one file in the original layout; else a folder, new or empty */
    const char *dtype;            /* "f32", "f16", "bf16", "f8e4m3"; NULL: as stored. Values are rounded to nearest even */
    const char *modules;          /* "transformer,controlnet,vae,text_encoder,text_encoder_2,text_encoder_3"; NULL: all that from has */
    const char *variant;          /* of from; NULL: plain names first, then fp16 */
    const char *tokenizers;       /* folder that holds tokenizer/, tokenizer_2/, tokenizer_3/ for a new folder; NULL: from's own */
    int64_t     shard_bytes;      /* files of a folder are at most about this large; 0: 5e9 */
} tress_convert_args;
/* Weights from one layout into another, streamed: a few MiB of memory for any size. to appears whole or not at all; an existing
 * file is replaced, a folder that is not empty is refused. Fails: ARG, IO, FORMAT, SHAPE, OOM, CANCELLED. */
TRESS_API TRESS_CHECKED tress_status tress_convert(tress *t, const tress_convert_args *args);
/* The same with the LoRAs added into the transformer: W + weight (alpha / r) B A, rounded once to the type written. */
TRESS_API TRESS_CHECKED tress_status tress_lora_merge(tress *t, const tress_convert_args *args, const tress_lora_ref *lora, int n_lora);

/* What a LoRA file holds: layout, layers, ranks, size, the contract it was trained under. *out is new (tress_text_free): lines for
 * people, or one JSON object. Fails: IO, FORMAT, SHAPE, OOM. */
TRESS_API TRESS_CHECKED tress_status tress_lora_info(tress *t, const char *file, bool json, char **out);
typedef struct tress_lora_convert_args {
    const char *from;             /* a LoRA file of any known layout, or a PEFT folder */
    const char *to;               /* file; for "peft" a folder, new or empty. Replaced atomically */
    const char *format;           /* "diffusers", "peft", "kohya", "comfyui", "onetrainer" */
    bool        drop_text_encoders;    /* leave adapters of text encoders out, which tress does not apply; else they are refused */
} tress_lora_convert_args;
/* Written in F32 with its scale folded in, so that every reader of that layout applies the same change of the weights. */
TRESS_API TRESS_CHECKED tress_status tress_lora_convert(tress *t, const tress_lora_convert_args *args);

/* ---- weights from the Hugging Face hub ---------------------------------------------------------------------- */
typedef struct tress_pull_args {
    const char *repo;             /* "stabilityai/stable-diffusion-3.5-large" */
    const char *revision;         /* branch, tag or commit; NULL: "main" */
    const char *to;               /* folder, made if it is not there; NULL: the last part of repo */
    const char *const *include;   /* [n_include] patterns; * spans folders. n_include = 0: what tress reads, no duplicates */
    int n_include;
    const char *const *exclude;   /* [n_exclude] patterns */
    int n_exclude;
    const char *variant;          /* "fp16": weights of this variant where there are some; NULL: those without */
    const char *endpoint;         /* NULL: HF_ENDPOINT, else https://huggingface.co */
    const char *token;            /* NULL: HF_TOKEN, HF_TOKEN_PATH or HF_HOME/token as the hub's client finds it; "": none */
    bool dry_run;                 /* look, but fetch nothing */
} tress_pull_args;
/* Fetch the files that are not there yet. Each is written to NAME.part, goes on from there after an interruption, is checked against
 * the hub's SHA-256 and gets its name when it is whole. The token goes to the endpoint's host alone. *report is new
 * (tress_text_free): a line for each file with its size and what became of it. report may be NULL.
 * Fails: ARG, FORMAT (a wrong hash or listing: the part is removed), IO (network, access, disk), OOM, SAVED (cancelled). */
TRESS_API TRESS_CHECKED tress_status tress_pull(tress *t, const tress_pull_args *args, char **report);

/* ---- procedural pictures of hair ------------------------------------------------------------------------------ */
typedef struct tress_synth_args {
    const char *to;               /* folder, made if it is not there */
    const char *style;            /* "straight", "bob", "three-strand braid"; "braids": any plait; "open": any other; NULL: any */
    uint64_t    seed;             /* of the first picture; the next has the next */
    bool        seed_random;      /* draw a first seed below 10^8 instead; the names tell it */
    int         count;            /* at least 1 */
    int         size;             /* pixels a side, even, 64 to 2048; 0: 256 */
    bool        bald;             /* the same people without hair too, in bald/ */
} tress_synth_args;
/* Draw a data set of rendered portraits: TO/img, TO/matte, TO/sketch (and TO/bald) as NAME.png, NAME the seed in eight digits, and
 * TO/scenes.jsonl with seed, caption, style, colour and the direction of the light. One seed gives the same scene on every machine.
 * Pictures of the same name are replaced. Fails: ARG, IO, OOM, SAVED (cancelled: what is written is whole). */
TRESS_API TRESS_CHECKED tress_status tress_synth(tress *t, const tress_synth_args *args);

/* ---- data sets to train on -------------------------------------------------------------------------------------- */
typedef struct tress_check_args {
    const char *data;             /* folder: img/ matte/ sketch/, also with train/ and test/ in each, or the other way round */
    const char *sheet;            /* .png, .jpg or .webp: photos with mattes in red and strokes in green; NULL: none */
    bool        json;             /* the report as one JSON object rather than lines for people */
} tress_check_args;
/* Is a data set fit to train on? Every file is decoded and every problem named with its file; docs/data.md has the rules. *report is
 * new (tress_text_free) also when the data is unfit, which is TRESS_E_FORMAT; any other failure leaves it untouched.
 * Fails: ARG, FORMAT, IO, OOM, CANCELLED. */
TRESS_API TRESS_CHECKED tress_status tress_check(tress *t, const tress_check_args *args, char **report);

/* ---- how good pictures are --------------------------------------------------------------------------------------- */
/* Paths, of one picture (photo, matte and result at least), or of a folder of them (data and results). */
typedef struct tress_eval_args {
    const char *photo, *matte, *result;
    const char *sketch, *truth, *old_matte, *alpha;      /* NULL: none. alpha: what --alpha-out wrote; else as drawing makes it of the mattes */
    const char *data;             /* folder of img/ matte/ sketch/: img holds the truth, and the photos too unless bald/ does; scenes.jsonl of
                                   * tress_synth tells colour and light */
    const char *results;          /* folder of what was drawn: NAME.png, NAME-1.png, ... */
    int         edit_grow;        /* as of the drawing; < 0: 24 max(W,H) / 1024 */
    const char *colour;           /* the one asked for: a word as "dark brown", or "#8a3b1c"; NULL: none, or scenes.jsonl's */
    bool        has_light;
    double      light[3];         /* towards the light: right, down, to the viewer */
    const char *csv, *html;       /* files to write too; NULL: none */
} tress_eval_args;
TRESS_API void tress_eval_defaults(tress_eval_args *args);
/* Measure. *report is new (tress_text_free): JSON with a row for each picture and the quartiles of each metric. docs/eval.md says what they are.
 * Fails: ARG, FORMAT, SHAPE, IO, OOM, CANCELLED; then *report is untouched. */
TRESS_API TRESS_CHECKED tress_status tress_eval(tress *t, const tress_eval_args *args, char **report);

#ifdef __cplusplus
}
#endif
#endif
