/* training.h - the options of training; train, plan train and probe train-step have them. */
#ifndef TRESS_CLI_TRAINING_H
#define TRESS_CLI_TRAINING_H

#include "cli.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct training_args {
    const char *targets;
    cli_ints blocks;
    int      rank, resolution, fit, augment_variants, control_image, control_range, control_last, batch, gradient_accumulation, lr_schedule, optimizer,
             timestep_sampling, mask_normalize, zero_text_rows, mixed_precision, gradient_checkpointing;
    int      steps, warmup_steps;
    bool     buckets, augment_flip;
    double   alpha, lora_dropout, augment_rotate, augment_translate, augment_scale, augment_stroke_width, mask_grow, mask_blur, validation_split, sketch_dropout,
             learning_rate, beta1, beta2, epsilon, weight_decay, max_grad_norm, ema, logit_mean, logit_std, mode_scale, training_shift, unmasked_weight, max_vram;
    cli_seed seed;
} training_args;

/* t: the training_args member of the args type. What a single step hangs on: */
#define TRAINING_ADAPTER_OPTIONS(args, t) \
    { .kind = OPT_GROUP, .help = "What learns" }, \
    { OPT_INT, "rank", offsetof(args, t.rank), 1, 4096, "16", "rank of the adapters: how much they can learn, and the size of the file" }, \
    { OPT_REAL, "alpha", offsetof(args, t.alpha), 0, 1e6, "0", "the adapters' part is multiplied by alpha / rank; 0: alpha is the rank" }, \
    { OPT_TEXT, "targets", offsetof(args, t.targets), 0, 0, "to_q,to_k,to_v,to_out", \
      "projections that learn; there are add_q_proj, add_k_proj, add_v_proj and to_add_out, too", .meta = "LIST" }, \
    { OPT_INTS, "blocks", offsetof(args, t.blocks), 0, 1023, NULL, "blocks that learn, for example 8,9,10; without it all" }, \
    { OPT_REAL, "lora-dropout", offsetof(args, t.lora_dropout), 0, 0.99, "0", "share of the adapters' inputs left out at random" }
#define TRAINING_LOSS_OPTIONS(args, t) \
    { OPT_CHOICE, "mask-normalize", offsetof(args, t.mask_normalize), 0, 0, "per-sample", "what the masked loss is divided by", .choices = "per-sample|per-batch|none" }, \
    { OPT_REAL, "unmasked-weight", offsetof(args, t.unmasked_weight), 0, 1, "0", "weight of what lies outside the matte" }, \
    { OPT_INT, "zero-text-rows", offsetof(args, t.zero_text_rows), 1, 4096, "333", "how many rows of text the one zero row stands for" }
#define TRAINING_OPTIMIZER_OPTIONS(args, t) \
    { .kind = OPT_GROUP, .help = "The optimiser" }, \
    { OPT_REAL, "learning-rate", offsetof(args, t.learning_rate), 0, 1, "1e-4", "how far a step goes" }, \
    { OPT_CHOICE, "optimizer", offsetof(args, t.optimizer), 0, 0, "adamw", "adamw8bit keeps its moments in 8 bits", .choices = "adamw|adamw8bit" }, \
    { OPT_REAL, "beta1", offsetof(args, t.beta1), 0, 0.9999999, "0.9", "decay of the first moment" }, \
    { OPT_REAL, "beta2", offsetof(args, t.beta2), 0, 0.9999999, "0.999", "decay of the second moment" }, \
    { OPT_REAL, "epsilon", offsetof(args, t.epsilon), 1e-30, 1, "1e-8", "added to the root of the second moment" }, \
    { OPT_REAL, "weight-decay", offsetof(args, t.weight_decay), 0, 1000, "1e-4", "decoupled decay of the adapters" }, \
    { OPT_REAL, "max-grad-norm", offsetof(args, t.max_grad_norm), 0, 1e9, "1", "gradients are clipped to this norm; 0: they are not" }
#define TRAINING_MEMORY_OPTIONS(args, t) \
    { .kind = OPT_GROUP, .help = "Memory" }, \
    { OPT_CHOICE, "mixed-precision", offsetof(args, t.mixed_precision), 0, 0, "auto", "number type of activations; auto: fp16 on a GPU, no (32 bits) on the CPU, which emulates the others", .choices = "auto|fp16|bf16|no" }, \
    { OPT_CHOICE, "gradient-checkpointing", offsetof(args, t.gradient_checkpointing), 0, 0, "auto", \
      "what is computed twice to save memory: off nothing, attention all but attention, on all; auto: as little as --max-vram allows", .choices = "auto|on|attention|off" }
/* A whole training: */
#define TRAINING_OPTIONS(args, t) \
    TRAINING_ADAPTER_OPTIONS(args, t), \
    { .kind = OPT_GROUP, .help = "The step" }, \
    { OPT_INT, "steps", offsetof(args, t.steps), 1, 100000000, "2000", "steps of the optimiser in all, those before a resume included" }, \
    { OPT_INT, "batch", offsetof(args, t.batch), 1, 256, "1", "pictures at once", .letter = 'b' }, \
    { OPT_INT, "gradient-accumulation", offsetof(args, t.gradient_accumulation), 1, 256, "1", "batches to one step" }, \
    { OPT_CHOICE, "lr-schedule", offsetof(args, t.lr_schedule), 0, 0, "constant", "how the learning rate goes on after the warm-up", .choices = "constant|linear|cosine|polynomial" }, \
    { OPT_INT, "warmup-steps", offsetof(args, t.warmup_steps), 0, 100000000, "0", "steps in which the learning rate rises from 0" }, \
    { OPT_CHOICE, "timestep-sampling", offsetof(args, t.timestep_sampling), 0, 0, "logit-normal", "how noise levels are drawn", .choices = "logit-normal|uniform|mode|cosmap" }, \
    { OPT_REAL, "logit-mean", offsetof(args, t.logit_mean), -10, 10, "0", "of logit-normal; above 0: more noise" }, \
    { OPT_REAL, "logit-std", offsetof(args, t.logit_std), 0.01, 10, "1", "of logit-normal" }, \
    { OPT_REAL, "mode-scale", offsetof(args, t.mode_scale), -1, 1.75, "1.29", "of mode" }, \
    { OPT_REAL, "training-shift", offsetof(args, t.training_shift), 0.01, 100, "1", "shift of the noise levels; 3 is the sampler's: coarse shapes rather than strands" }, \
    { OPT_REAL, "sketch-dropout", offsetof(args, t.sketch_dropout), 0, 0.99, "0", "share of the samples that learn without their sketch" }, \
    TRAINING_LOSS_OPTIONS(args, t), \
    { OPT_CHOICE, "control-last-block", offsetof(args, t.control_last), 0, 0, "vendor", "residual after the last block: added, or not", .choices = "vendor|diffusers" }, \
    TRAINING_OPTIMIZER_OPTIONS(args, t), \
    { OPT_REAL, "ema", offsetof(args, t.ema), 0, 0.9999999, "0", "decay of a running average, of which sheets, validation and the LoRA are then made; 0: none" }, \
    { OPT_SEED, "seed", offsetof(args, t.seed), 0, 0, "0", "of everything that is drawn by chance", .letter = 's' }, \
    TRAINING_MEMORY_OPTIONS(args, t), \
    { OPT_REAL, "max-vram", offsetof(args, t.max_vram), 0, 1e6, "0", "what weights and a step may take together; 0: no limit", .meta = "GiB" }

#define TRAINING_DATA_OPTIONS(args, t) \
    { .kind = OPT_GROUP, .help = "Pictures" }, \
    { OPT_INT, "resolution", offsetof(args, t.resolution), 0, 8192, "0", \
      "a frame has at most so many pixels squared; 0: the model's own size, 1024 for SD3.5, 256 for the small model" }, \
    { OPT_CHOICE, "fit", offsetof(args, t.fit), 0, 0, "crop", "how a photo comes into its frame: cut round the hair, or whole with a border", .choices = "crop|letterbox" }, \
    { OPT_FLAG, "buckets", offsetof(args, t.buckets), 0, 0, "true", "frames of several shapes, each photo in the nearest; without them all are square" }, \
    { OPT_REAL, "mask-grow", offsetof(args, t.mask_grow), 0, 256, "0", "widen the matte by so many pixels at 1024" }, \
    { OPT_REAL, "mask-blur", offsetof(args, t.mask_blur), 0, 256, "0", "then soften it with a Gaussian of so many pixels at 1024" }, \
    { OPT_CHOICE, "control-image", offsetof(args, t.control_image), 0, 0, "lines", "how the sketch becomes the control picture", .choices = "lines|canny|colour|raw" }, \
    { OPT_CHOICE, "control-range", offsetof(args, t.control_range), 0, 0, "vendor", "how the VAE sees the control picture p: 127.5 p + 0.5, or 2 p - 1", .choices = "vendor|signed" }, \
    { OPT_REAL, "validation-split", offsetof(args, t.validation_split), 0, 0.5, "0.1", "share of the pictures held out, where there is no test/ half" }, \
    { OPT_FLAG, "augment-flip", offsetof(args, t.augment_flip), 0, 0, NULL, "mirror half of the pictures" }, \
    { OPT_REAL, "augment-rotate", offsetof(args, t.augment_rotate), 0, 45, "0", "turn by up to so many degrees" }, \
    { OPT_REAL, "augment-translate", offsetof(args, t.augment_translate), 0, 0.5, "0", "move by up to this share of the frame" }, \
    { OPT_REAL, "augment-scale", offsetof(args, t.augment_scale), 0, 1, "0", "enlarge or shrink by up to this share" }, \
    { OPT_REAL, "augment-stroke-width", offsetof(args, t.augment_stroke_width), 0, 16, "0", "make the sketch's strokes wider by up to so many pixels at 1024" }, \
    { OPT_INT, "augment-variants", offsetof(args, t.augment_variants), 0, 1024, "4", "variants of each changed picture that are kept encoded; 0: a new one at every step" }

/* Into a, whose other members stay; views into t. */
void training_into(tress_train_args *a, const training_args *t);

#ifdef __cplusplus
}
#endif
#endif
