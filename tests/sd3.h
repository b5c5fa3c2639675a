/* sd3.h - for tests of the SD3 networks: a golden of tools/golden/{mmdit,controlnet,lora}.py opened, its model folder written
 * by the seeded formula, its inputs made, and stages held against it. */
#ifndef TRESS_TESTS_SD3_H
#define TRESS_TESTS_SD3_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model.h"

#include <unistd.h>
#include "seeded.h"

/* fp32 against fp32: the project's own limit. */
#define SD3_TOLERANCE 1e-5

#define OK(call)                                                                                    \
    do {                                                                                            \
        const tress_status ok_st = (call);                                                          \
        if (ok_st != TRESS_OK) fail_msg("%s: %s", #call, tr_message());                              \
    } while (0)
/* The call fails with this status and its message holds `part`. */
#define FAILS(call, status, part)                                                                   \
    do {                                                                                            \
        const tress_status ok_st = (call);                                                          \
        if (ok_st != (status) || !strstr(tr_message(), part))                                        \
            fail_msg("%s: status %d, expected %d; message \"%s\", expected \"%s\" in it", #call, ok_st, status, tr_message(), part); \
    } while (0)

typedef struct sd3_golden {
    char            json_path[512], folder[512];
    json_t         *note;
    tr_safetensors *file;
    uint64_t        seed;
    int64_t         h, w, n_text, b;
    float           timestep[8];
} sd3_golden;

/* case: "mmdit-sd3-medium". folder: where the model's weights were written, with config.json. */
static inline void sd3_golden_open(sd3_golden *g, const char *name, tr_dtype t)
{
    char path[512];
    *g = (sd3_golden){ 0 };
    snprintf(g->json_path, sizeof g->json_path, "%s/tests/golden/model/%s.json", TRESS_SOURCE_DIR, name);
    snprintf(path, sizeof path, "%s/tests/golden/model/%s.safetensors", TRESS_SOURCE_DIR, name);
    snprintf(g->folder, sizeof g->folder, "%s/test-%s-%d-%s", TRESS_BINARY_DIR, name, (int)getpid(), tr_dtype_name(t));
    OK(seeded_json(&g->note, g->json_path));
    OK(tr_safetensors_open(&g->file, path));
    OK(seeded_folder(g->json_path, g->folder, "diffusion_pytorch_model.safetensors", t));
    g->seed = (uint64_t)json_integer_value(json_object_get(g->note, "seed"));
    g->h = json_integer_value(json_array_get(json_object_get(g->note, "size"), 0));
    g->w = json_integer_value(json_array_get(json_object_get(g->note, "size"), 1));
    g->n_text = json_integer_value(json_object_get(g->note, "n_text"));
    g->b = (int64_t)json_array_size(json_object_get(g->note, "timestep"));
    for (int64_t i = 0; i < g->b; i++)
        g->timestep[i] = (float)json_real_value(json_array_get(json_object_get(g->note, "timestep"), (size_t)i));
}

static inline void sd3_golden_close(sd3_golden *g)
{
    char path[600];
    static const char *const name[] = { "config.json", "diffusion_pytorch_model.safetensors" };
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", g->folder, name[i]);
        remove(path);
    }
    remove(g->folder);
    tr_safetensors_close(g->file);
    json_decref(g->note);
}

static inline tr_tensor sd3_new(tr_dims d)
{
    size_t n;
    void *p = NULL;
    OK(tr_bytes(&n, TR_F32, d));
    OK(tr_alloc(&p, n));
    return tr_view(p, TR_F32, d);
}

/* seeded_normal under that name. */
static inline tr_tensor sd3_input(const sd3_golden *g, const char *name, tr_dims d)
{
    const tr_tensor t = sd3_new(d);
    seeded_normal(t.data, tr_count(t), name, g->seed, 0, 1);
    return t;
}

/* ||got - golden|| / ||golden||; fails where the golden has no such tensor or another size. */
static inline double sd3_error(const sd3_golden *g, const char *name, tr_tensor got)
{
    tr_tensor want;
    char a[TR_DIMS_TEXT], b[TR_DIMS_TEXT];
    float *value = NULL;
    if (!tr_safetensors_find(g->file, name, &want)) fail_msg("the golden has no %s", name);
    if (tr_count(want) != tr_count(got))
        fail_msg("%s is %s, golden %s", name, tr_dims_text(a, got.rank, got.shape), tr_dims_text(b, want.rank, want.shape));
    tr_dims d = { .rank = want.rank };
    for (int i = 0; i < want.rank; i++) d.n[i] = want.shape[i];
    OK(tr_alloc_array((void **)&value, tr_count(want), sizeof *value));
    OK(tr_safetensors_read_f32(g->file, name, value, d));
    const double e = seeded_error(got.data, value, tr_count(got));
    tr_free(value);
    return e;
}

/* A probe that holds every stage against the golden and counts them. */
typedef struct sd3_stages { const sd3_golden *golden; int n; double worst; char worst_name[64]; } sd3_stages;
static inline void sd3_stage(void *self, const char *stage, int block, tr_tensor t)
{
    sd3_stages *k = self;
    char name[64];
    if (block < 0) snprintf(name, sizeof name, "%s", stage);
    else snprintf(name, sizeof name, "%s.%d", stage, block);
    if (strcmp(name, "tokens") == 0 && !tr_safetensors_find(k->golden->file, name, &(tr_tensor){ 0 })) return;
    const double e = sd3_error(k->golden, name, t);
    if (!(e <= SD3_TOLERANCE)) fail_msg("stage %s: relative error %.3g, expected at most %.3g", name, e, SD3_TOLERANCE);
    if (e > k->worst) {
        k->worst = e;
        snprintf(k->worst_name, sizeof k->worst_name, "%s", name);
    }
    k->n++;
}

/* The golden's weights with some values of config.json replaced by JSON texts. */
typedef struct sd3_config_case { const char *key, *value, *part; } sd3_config_case;      /* part: of the message expected */
static inline tr_weights *sd3_weights_with(const sd3_golden *g, tr_module module, const sd3_config_case *list, int n)
{
    char path[600];
    tr_weights *w = NULL;
    json_t *config = json_deep_copy(json_object_get(g->note, "config"));
    for (int i = 0; i < n; i++) {
        json_t *value = json_loads(list[i].value, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        assert_int_equal(json_object_set_new(config, list[i].key, value), 0);
    }
    snprintf(path, sizeof path, "%s/config.json", g->folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    OK(tr_weights_open(&w, g->folder, module, NULL));
    return w;
}

static inline void sd3_device(tr_device **d, tr_stream **s, int n_thread, bool dry)
{
    OK(tr_device_open(d, &(tr_device_spec){ .kind = TRESS_BACKEND_CPU, .n_thread = n_thread, .dry = dry }));
    OK(tr_stream_new(s, *d));
}

/* The transformer of a golden, its inputs and room for its output. */
typedef struct sd3_mmdit {
    sd3_golden  golden;
    tr_device  *device;
    tr_stream  *stream;
    tr_weights *weights;
    tr_mmdit   *model;
    tr_mmdit_config config;
    tr_mmdit_args args;
} sd3_mmdit;

static inline void sd3_mmdit_open(sd3_mmdit *f, const char *name, tr_dtype t, int n_thread)
{
    *f = (sd3_mmdit){ 0 };
    sd3_golden_open(&f->golden, name, t);
    sd3_device(&f->device, &f->stream, n_thread, false);
    OK(tr_weights_open(&f->weights, f->golden.folder, TR_MODULE_TRANSFORMER, NULL));
    OK(tr_mmdit_config_read(&f->config, f->weights));
    OK(tr_mmdit_open(&f->model, f->device, f->weights, &f->config));
    sd3_golden *g = &f->golden;
    f->args = (tr_mmdit_args){
        .x = sd3_input(g, "x", TR_DIMS(g->b, f->config.channels_in, g->h, g->w)),
        .context = sd3_input(g, "context", TR_DIMS(g->b, g->n_text, f->config.d_context)),
        .pooled = sd3_input(g, "pooled", TR_DIMS(g->b, f->config.d_pooled)),
        .timestep = tr_view(g->timestep, TR_F32, TR_DIMS(g->b)),
        .residual_scale = 1,
        .out = sd3_new(TR_DIMS(g->b, f->config.channels_out, g->h, g->w)),
    };
}

static inline void sd3_mmdit_close(sd3_mmdit *f)
{
    tr_free(f->args.x.data);
    tr_free(f->args.context.data);
    tr_free(f->args.pooled.data);
    tr_free(f->args.out.data);
    tr_mmdit_close(f->model);
    tr_weights_close(f->weights);
    tr_stream_free(f->stream);
    tr_device_close(f->device);
    sd3_golden_close(&f->golden);
}

#endif
