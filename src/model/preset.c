#include "model/preset.h"

#include <string.h>

static const tr_vae_config vae = { 3, 3, 16, 4, { 128, 256, 512, 512 }, 2, 32, 1.5305f, 0.0609f, false, false, true };
static const tr_clip_config clip_l = { 768, 12, 12, 3072, 77, 49408, 768, 49407, TR_ACT_GELU_QUICK, 1e-5f };
static const tr_clip_config clip_g = { 1280, 32, 20, 5120, 77, 49408, 1280, 49407, TR_ACT_GELU_ERF, 1e-5f };
static const tr_t5_config t5 = { 4096, 10240, 64, 24, 64, 32128, 32, 128, true, false, TR_ACT_GELU_TANH, 1e-6f };

/* n_head heads of 64, n_block blocks, the first n_dual of them with a second attention, n_control blocks of the ControlNet. */
static void sd3(tr_preset *p, int n_block, int n_head, int n_dual, int n_control, int pos_max, int sample_size, int d_context, int d_pooled)
{
    p->transformer = (tr_mmdit_config){ .n_block = n_block, .n_head = n_head, .d_head = 64, .channels_in = 16, .channels_out = 16, .patch = 2,
                                        .d_context = d_context, .d_pooled = d_pooled, .pos_max = pos_max, .sample_size = sample_size, .qk_norm = true };
    for (int i = 0; i < n_dual; i++) p->transformer.dual[i] = true;
    p->controlnet = (tr_controlnet_config){ .n_block = n_control, .n_head = n_head, .d_head = 64, .patch = 2, .channels_in = 16, .d_pooled = d_pooled,
                                            .qk_norm = true };
    p->vae = vae;
    p->clip_l = clip_l;
    p->clip_g = clip_g;
    p->t5 = t5;
}

tress_status tr_preset_get(tr_preset *out, const char *name)
{
    tr_preset p = { 0 };
    if (strcmp(name, "sd35-large") == 0) {
        p.name = "sd35-large";
        sd3(&p, 38, 38, 0, 19, 192, 128, 4096, 2048);
    } else if (strcmp(name, "sd35-medium") == 0) {
        p.name = "sd35-medium";
        sd3(&p, 24, 24, 13, 12, 384, 128, 4096, 2048);
    } else if (strcmp(name, "mini") == 0) {
        p.name = "mini";
        sd3(&p, 6, 4, 0, 3, 64, 32, 320, 320);
        p.vae = (tr_vae_config){ 3, 3, 16, 4, { 32, 64, 128, 128 }, 2, 16, 0.8643790f, -0.0395086f, false, false, true };
        p.clip_l = (tr_clip_config){ 128, 4, 2, 512, 77, 3072, 128, 3071, TR_ACT_GELU_QUICK, 1e-5f };
        p.clip_g = (tr_clip_config){ 192, 4, 3, 768, 77, 3072, 192, 3071, TR_ACT_GELU_ERF, 1e-5f };
        p.t5 = (tr_t5_config){ 320, 512, 64, 3, 5, 2048, 32, 128, true, false, TR_ACT_GELU_TANH, 1e-6f };
    } else {
        return tr_fail(TRESS_E_ARG, "there is no preset %s: expected sd35-large, sd35-medium or mini", name);
    }
    *out = p;
    return TRESS_OK;
}
