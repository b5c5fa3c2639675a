/* small.h - the small seeded models of tests/golden/train, opened, with the inputs of their steps. */
#ifndef TRESS_TESTS_TRAIN_SMALL_H
#define TRESS_TESTS_TRAIN_SMALL_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "seeded.h"
#include "train/trainer.h"

#include <unistd.h>

#define OK(call)                                                                         \
    do {                                                                                 \
        const tress_status ok_st = (call);                                               \
        if (ok_st != TRESS_OK) fail_msg("%s: status %d: %s", #call, ok_st, tr_message()); \
    } while (0)

typedef struct small {
    json_t         *note;
    tr_safetensors *golden;
    tr_device      *device;
    tr_stream      *stream;
    tr_weights     *weights[2];
    tr_mmdit       *transformer;
    tr_controlnet  *controlnet;
    uint64_t        seed;
    int64_t         b, h, w;
    int             n_step;
} small;

static inline void small_open(small *m, const char *kind, int n_thread)
{
    static const char *const module[] = { "transformer", "controlnet" };
    char path[512], folder[600], config[32];
    tr_mmdit_config tc;
    tr_controlnet_config cc;
    *m = (small){ 0 };
    snprintf(path, sizeof path, "%s/tests/golden/train/%s.json", TRESS_SOURCE_DIR, kind);
    OK(seeded_json(&m->note, path));
    for (int i = 0; i < 2; i++) {
        snprintf(folder, sizeof folder, "%s/test-train-%s-%d-%s", TRESS_BINARY_DIR, kind, (int)getpid(), module[i]);
        snprintf(config, sizeof config, "%s_config", module[i]);
        OK(seeded_folder_of(path, module[i], config, folder, "diffusion_pytorch_model.safetensors", TR_F32));
        OK(tr_weights_open(&m->weights[i], folder, i ? TR_MODULE_CONTROLNET : TR_MODULE_TRANSFORMER, NULL));
        char inside[700];
        snprintf(inside, sizeof inside, "%s/config.json", folder);      /* mapped and read: the names may go */
        remove(inside);
        snprintf(inside, sizeof inside, "%s/diffusion_pytorch_model.safetensors", folder);
        remove(inside);
        remove(folder);
    }
    snprintf(path, sizeof path, "%s/tests/golden/train/%s.safetensors", TRESS_SOURCE_DIR, kind);
    OK(tr_safetensors_open(&m->golden, path));
    OK(tr_device_open(&m->device, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = n_thread }));
    OK(tr_stream_new(&m->stream, m->device));
    OK(tr_mmdit_config_read(&tc, m->weights[0]));
    OK(tr_mmdit_open(&m->transformer, m->device, m->weights[0], &tc));
    OK(tr_controlnet_config_read(&cc, m->weights[1]));
    OK(tr_controlnet_open(&m->controlnet, m->device, m->weights[1], &cc));
    m->seed = (uint64_t)json_integer_value(json_object_get(m->note, "seed"));
    m->b = json_integer_value(json_object_get(m->note, "batch"));
    m->h = json_integer_value(json_array_get(json_object_get(m->note, "size"), 0));
    m->w = json_integer_value(json_array_get(json_object_get(m->note, "size"), 1));
    m->n_step = (int)json_integer_value(json_object_get(m->note, "n_step"));
}

static inline void small_close(small *m)
{
    tr_controlnet_close(m->controlnet);
    tr_mmdit_close(m->transformer);
    for (int i = 0; i < 2; i++) tr_weights_close(m->weights[i]);
    tr_stream_free(m->stream);
    tr_device_close(m->device);
    tr_safetensors_close(m->golden);
    json_decref(m->note);
}

#define SMALL_CELLS (16 * 16)
#define SMALL_BATCH 2
typedef struct small_inputs {
    float latents[SMALL_BATCH * 16 * SMALL_CELLS], control[SMALL_BATCH * 16 * SMALL_CELLS], noise[SMALL_BATCH * 16 * SMALL_CELLS];
    float mask[SMALL_BATCH * SMALL_CELLS], sigma[SMALL_BATCH];
} small_inputs;

/* The inputs of step n, from 1. The batch is a view into x. */
static inline tr_train_batch small_batch(const small *m, small_inputs *x, int n)
{
    char name[64];
    const int64_t cells = m->h * m->w;
    const struct { const char *name; float *to; } part[] = { { "latents", x->latents }, { "control", x->control }, { "noise", x->noise } };
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "step.%d.%s", n, part[i].name);
        seeded_normal(part[i].to, m->b * 16 * cells, name, m->seed, 0, 1);
    }
    snprintf(name, sizeof name, "step.%d.mask", n);
    seeded_normal(x->mask, m->b * cells, name, m->seed, 0.5, 0.5);
    for (int64_t i = 0; i < m->b * cells; i++) x->mask[i] = x->mask[i] < 0 ? 0 : x->mask[i] > 1 ? 1 : x->mask[i];
    const json_t *sigma = json_array_get(json_object_get(m->note, "sigma"), (size_t)n - 1);
    for (int64_t i = 0; i < m->b; i++) x->sigma[i] = (float)json_real_value(json_array_get(sigma, (size_t)i));
    return (tr_train_batch){ .b = m->b, .h = m->h, .w = m->w, .latents = x->latents, .control = x->control, .noise = x->noise, .mask = x->mask,
                             .sigma = x->sigma, .draw = (uint64_t)n };
}

/* A as the goldens begin, B normal with deviation b_std (0: zero). */
static inline void small_begin(const small *m, tr_trainer *t, double b_std)
{
    tr_adapters *k = tr_trainer_adapters(t);
    for (int i = 0; i < tr_adapters_count(k); i++) {
        const tr_tensor p = tr_adapters_param(k, i);
        const char *name = tr_adapters_name(k, i);
        if (strstr(name, "lora_A")) seeded_weight(p.data, name, m->seed, TR_DIMS(p.shape[0], p.shape[1]));
        else seeded_normal(p.data, tr_count(p), name, m->seed, 0, b_std);
    }
}

#endif
