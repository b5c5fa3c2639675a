#include "model.h"

tress_model_args model_args_of(const model_args *m)
{
    return (tress_model_args){
        .model = m->model, .control_net = m->control_net, .vae = m->vae, .clip_l = m->clip_l, .clip_g = m->clip_g, .t5 = m->t5,
        .tokenizers = m->tokenizers, .variant = m->variant, .text_cache = m->text_cache, .lora = m->lora.n ? m->lora.item : NULL,
        .n_lora = m->lora.n, .lora_merge = m->lora_merge, .ignore_contract = m->ignore_contract,
    };
}
