/* tress plan: what a drawing will cost in memory and work, before anything is loaded. */
#include "drawing.h"
#include "training.h"

#include <stdio.h>
#include <string.h>

typedef struct plan_args {
    cli_common    common;
    model_args    model;
    sampling_args sampling;
    drawing_args  drawing;
    const char   *work;
    bool          json;
} plan_args;

static const cli_option options[] = {
    { OPT_WORD, "WORK", offsetof(plan_args, work), 0, 0, "generate", "what to plan; tress plan train has options of its own", .choices = "generate" },
    { .kind = OPT_GROUP, .help = "Results" },
    { OPT_FLAG, "json", offsetof(plan_args, json), 0, 0, NULL, "one JSON object rather than a table" },
    DRAWING_OPTIONS(plan_args, drawing),
    MODEL_OPTIONS(plan_args, model),
    SAMPLING_OPTIONS(plan_args, sampling),
    LATENT_OPTIONS(plan_args, drawing),
    CLI_MACHINE(plan_args),
    CLI_VRAM(plan_args),
    { .kind = OPT_END },
};

static void print_card(const tress_plan *p, tress_plan_card c)
{
    printf("with CUDA itself     %.1f MiB\n", (double)(tress_plan_peak_bytes(p) + c.own_bytes) / 0x1p20);
    if (c.most_bytes > 0) printf("may be               %.1f MiB\n", (double)(c.most_bytes + c.own_bytes) / 0x1p20);
    if (c.free_bytes > 0) printf("free on the card     %.1f MiB\n", (double)c.free_bytes / 0x1p20);
    if (c.pinned_bytes > 0) printf("waits in host memory %.1f MiB\n", (double)c.pinned_bytes / 0x1p20);
    if (*c.residency) printf("%s\n", c.residency);
}

static void print_table(const tress_plan *p, const char *size)
{
    int w = 0, h = 0;
    const tress_plan_card c = tress_plan_get_card(p);
    tress_plan_size(p, &w, &h);
    printf("%-20s %12s %12s %12s\n", "part", "weights MiB", "work MiB", "GFLOP");
    for (int i = 0; i < tress_plan_count(p); i++) {
        const tress_plan_part q = tress_plan_at(p, i);
        printf("%-20s %12.1f %12.1f %12.1f\n", q.name, (double)q.weight_bytes / 0x1p20, (double)q.work_bytes / 0x1p20, q.flops / 1e9);
    }
    printf("%-20s %dx%d\npeak                 %.1f MiB\n", size, w, h, (double)tress_plan_peak_bytes(p) / 0x1p20);
    if (c.residency) print_card(p, c);
}

static void print_json(const tress_plan *p)
{
    int w = 0, h = 0;
    const tress_plan_card c = tress_plan_get_card(p);
    tress_plan_size(p, &w, &h);
    printf("{\"width\": %d, \"height\": %d, \"peak_bytes\": %lld, \"parts\": [", w, h, (long long)tress_plan_peak_bytes(p));
    for (int i = 0; i < tress_plan_count(p); i++) {
        const tress_plan_part q = tress_plan_at(p, i);
        printf("%s{\"name\": \"%s\", \"weight_bytes\": %lld, \"work_bytes\": %lld, \"flops\": %.0f}", i ? ", " : "", q.name, (long long)q.weight_bytes,
               (long long)q.work_bytes, q.flops);
    }
    printf("]");
    if (c.residency)
        printf(", \"card\": {\"own_bytes\": %lld, \"most_bytes\": %lld, \"free_bytes\": %lld, \"pinned_bytes\": %lld, \"residency\": \"%s\"}", (long long)c.own_bytes,
               (long long)c.most_bytes, (long long)c.free_bytes, (long long)c.pinned_bytes, c.residency);
    printf("}\n");
}

/* size: what the picture's size is called. */
static void print_plan(const tress_plan *p, const char *size, bool json)
{
    if (json) print_json(p);
    else print_table(p, size);
}

/* Without a sketch: one stroke on a page of the size that would be drawn, so that the ControlNet counts. */
static tress_status stand_in(tress *t, tress_image **out, const tress_model_args *model, const tress_generate_args *args)
{
    tress_plan *p = NULL;
    tress_generate_args g = *args;
    tress_model_args m = *model;
    int w = 0, h = 0;
    g.control_strength = 0;
    m.no_control = true;
    tress_status st = tress_plan_generate(t, &m, &g, &p);
    if (st != TRESS_OK) return st;
    tress_plan_size(p, &w, &h);
    tress_plan_free(p);
    unsigned char *page = memset(cli_alloc((size_t)w * (size_t)h), 255, (size_t)w * (size_t)h);
    memset(page + (size_t)w * (size_t)(h / 2) + w / 4, 0, (size_t)w / 2);
    return tress_image_new(t, out, &(tress_image_info){ .width = w, .height = h, .channels = 1, .depth = 8 }, page);
}

static tress_status run(tress *t, const void *args)
{
    const plan_args *a = args;
    drawing_pictures pictures = { 0 };
    tress_generate_args g;
    tress_plan *p = NULL;
    sampling_args s = a->sampling;
    tress_model_args m = model_args_of(&a->model);
    const bool no_sketch = !a->drawing.sketch && !a->drawing.photo && s.control_strength > 0;
    if (no_sketch) s.control_strength = 0;
    tress_status st = drawing_check(&a->drawing, &s);
    if (st == TRESS_OK) st = drawing_open(t, &pictures, &g, &a->drawing, &a->sampling);
    if (st == TRESS_OK && no_sketch) st = stand_in(t, &pictures.sketch, &m, &g);
    if (st == TRESS_OK) {
        g.sketch = pictures.sketch;
        m.no_control = !g.sketch;
        st = tress_plan_generate(t, &m, &g, &p);
    }
    if (st == TRESS_OK) print_plan(p, "size drawn at", a->json);
    tress_plan_free(p);
    drawing_close(&pictures);
    return st;
}

const cli_command cli_plan = {
    "plan", "tell the memory and work a drawing needs, before anything is loaded", sizeof(plan_args), options, run, .gpu = true, .plans = true,
    .examples = "  tress plan -m sd3.5-large --size 1024x1024\n  tress plan generate -m sd3.5-large --sketch s.png -b 4 --json\n",
};

/* ---- plan train --------------------------------------------------------------------------------------------- */
extern const cli_command cli_train;             /* whose configurations it reads */

typedef struct plan_train_args {
    cli_common    common;
    model_args    model;
    training_args training;
    bool          json;
} plan_train_args;

static const cli_option train_options[] = {
    { .kind = OPT_GROUP, .help = "Results" },
    { OPT_FLAG, "json", offsetof(plan_train_args, json), 0, 0, NULL, "one JSON object rather than a table" },
    TRAINING_DATA_OPTIONS(plan_train_args, training),
    TRAINING_OPTIONS(plan_train_args, training),
    NETWORK_OPTIONS(plan_train_args, model),
    CLI_MACHINE(plan_train_args),
    { .kind = OPT_END },
};

static tress_status run_train(tress *t, const void *args)
{
    const plan_train_args *a = args;
    tress_train_args g;
    tress_plan *p = NULL;
    const tress_model_args m = model_args_of(&a->model);
    tress_train_defaults(&g);
    training_into(&g, &a->training);
    const tress_status st = tress_plan_train(t, &m, &g, &p);
    if (st == TRESS_OK) print_plan(p, "size trained at", a->json);
    tress_plan_free(p);
    return st;
}

const cli_command cli_plan_train = {
    "plan train", "tell the memory and work of a training, before anything is loaded", sizeof(plan_train_args), train_options, run_train, .gpu = true, .plans = true,
    .text = "Of one step in a square frame, with the gradient checkpointing that tress train would choose: none, or what it\n"
            "takes to come under --max-vram. The options are those of tress train, and its --config RUN/config.json.\n",
    .examples = "  tress plan train -m sd3.5-large --resolution 1024 --max-vram 24\n"
                "  tress plan train --config runs/braid/config.json --batch 4\n",
    .kin = &cli_train,
};
