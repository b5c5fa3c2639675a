#include "training.h"

void training_into(tress_train_args *a, const training_args *t)
{
    a->rank = t->rank;
    a->alpha = (float)t->alpha;
    a->targets = t->targets;
    a->block = t->blocks.item;
    a->n_block = t->blocks.n;
    a->lora_dropout = (float)t->lora_dropout;
    a->resolution = t->resolution;
    a->fit = (tress_fit)t->fit;
    a->buckets = t->buckets;
    a->augment_flip = t->augment_flip;
    a->augment_rotate = t->augment_rotate;
    a->augment_translate = t->augment_translate;
    a->augment_scale = t->augment_scale;
    a->augment_stroke_width = t->augment_stroke_width;
    a->augment_variants = t->augment_variants;
    a->mask_grow = t->mask_grow;
    a->mask_blur = t->mask_blur;
    a->validation_split = t->validation_split;
    a->sketch_dropout = (float)t->sketch_dropout;
    a->control_image = (tress_control_image)t->control_image;
    a->control_range = (tress_control_range)t->control_range;
    a->control_last = (tress_control_last)t->control_last;
    a->steps = t->steps;
    a->batch = t->batch;
    a->gradient_accumulation = t->gradient_accumulation;
    a->learning_rate = t->learning_rate;
    a->lr_schedule = (tress_lr_schedule)t->lr_schedule;
    a->warmup_steps = t->warmup_steps;
    a->optimizer = (tress_optimizer)t->optimizer;
    a->beta1 = t->beta1;
    a->beta2 = t->beta2;
    a->epsilon = t->epsilon;
    a->weight_decay = t->weight_decay;
    a->max_grad_norm = t->max_grad_norm;
    a->ema = t->ema;
    a->timestep_sampling = (tress_timestep_sampling)t->timestep_sampling;
    a->logit_mean = t->logit_mean;
    a->logit_std = t->logit_std;
    a->mode_scale = t->mode_scale;
    a->training_shift = t->training_shift;
    a->mask_normalize = (tress_mask_normalize)t->mask_normalize;
    a->unmasked_weight = (float)t->unmasked_weight;
    a->zero_text_rows = t->zero_text_rows;
    a->seed = t->seed.value;
    a->mixed_precision = (tress_precision)t->mixed_precision;
    a->gradient_checkpointing = (tress_checkpointing)t->gradient_checkpointing;
    a->max_vram = (int64_t)(t->max_vram * 0x1p30);
}
