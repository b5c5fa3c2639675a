/* tress bench: how fast the parts of a drawing are on this machine. */
#include "model.h"

#include <stdio.h>

typedef struct bench_args {
    cli_common  common;
    model_args  model;
    const char *what, *preset;
    cli_size    size;
    int         batch, n_repeat, n_step, text_rows, control_pooled, reference_rows, draw_rows, rank, gradient_checkpointing;
    double      cfg_scale;
} bench_args;

static const cli_option options[] = {
    { OPT_WORD, "PART", offsetof(bench_args, what), 0, 0, NULL, "what to time", .required = true, .choices = "transformer|controlnet|step|vae|text|generate|train-step" },
    { OPT_WORD, "preset", offsetof(bench_args, preset), 0, 0, NULL, "random weights of these shapes in place of a model", .choices = "sd35-large|sd35-medium|mini" },
    { OPT_SIZE, "size", offsetof(bench_args, size), 16, 4096, NULL, "pixels; without it the model's own size" },
    { OPT_INT, "batch", offsetof(bench_args, batch), 1, 64, "1", "pictures at once", .letter = 'b' },
    { OPT_INT, "repeat", offsetof(bench_args, n_repeat), 1, 1000, "10", "how often, after once that does not count; the median is told", .letter = 'r' },
    { OPT_INT, "steps", offsetof(bench_args, n_step), 1, 1000, "28", "of generate" },
    { OPT_REAL, "cfg-scale", offsetof(bench_args, cfg_scale), -1000, 1000, "4.5", "above 1: both guidance branches in one batch" },
    { OPT_INT, "text-rows", offsetof(bench_args, text_rows), 1, 4096, "333", "rows of words in each branch" },
    { OPT_CHOICE, "control-pooled", offsetof(bench_args, control_pooled), 0, 0, "text", "zero: one pass of the ControlNet serves both branches", .choices = "text|zero" },
    { OPT_INT, "reference-rows", offsetof(bench_args, reference_rows), 0, 65536, "0", "rows of a photo that the drawing attends to, run once before" },
    { OPT_INT, "draw-rows", offsetof(bench_args, draw_rows), 0, 65536, "0", "tokens that are drawn, as --draw-tokens edit does; 0: all" },
    { OPT_INT, "rank", offsetof(bench_args, rank), 1, 4096, "16", "of the adapters of train-step" },
    { OPT_CHOICE, "gradient-checkpointing", offsetof(bench_args, gradient_checkpointing), 0, 0, "auto", "of train-step; auto: off", .choices = "auto|on|attention|off" },
    MODEL_OPTIONS(bench_args, model),
    CLI_MACHINE(bench_args),
    CLI_VRAM(bench_args),
    { .kind = OPT_END },
};

static void print_line(void *self, const char *json)
{
    (void)self;
    printf("%s\n", json);
    fflush(stdout);
}

static tress_status run(tress *t, const void *args)
{
    const bench_args *a = args;
    const tress_model_args m = model_args_of(&a->model);
    tress_bench_args b;
    tress_bench_defaults(&b);
    b.what = a->what;
    b.preset = a->preset;
    b.width = a->size.width;
    b.height = a->size.height;
    b.batch = a->batch;
    b.n_repeat = a->n_repeat;
    b.n_step = a->n_step;
    b.text_rows = a->text_rows;
    b.cfg_scale = (float)a->cfg_scale;
    b.reference_rows = a->reference_rows;
    b.draw_rows = a->draw_rows;
    b.control_pooled = (tress_control_pooled)a->control_pooled;
    b.rank = a->rank;
    b.gradient_checkpointing = (tress_checkpointing)a->gradient_checkpointing;
    return tress_bench(t, &m, &b, print_line, NULL);
}

const cli_command cli_bench = {
    "bench", "time the parts of a drawing on this machine", sizeof(bench_args), options, run, .gpu = true,
    .text = "One JSON object a line: milliseconds (median, least, most), TFLOP and TFLOP/s, the rate of a large product measured in the\n"
            "same run and the share of it that was reached, and peak bytes on the device. Random numbers are drawn, nothing is saved.\n"
            "Under a --max-vram too small for them, blocks come from host memory as in tress generate.\n",
    .examples = "  tress bench step\n  tress bench step --preset sd35-large --backend cuda --dtype bf16\n"
                "  tress bench step --preset sd35-large --backend cuda --max-vram 12\n"
                "  tress bench train-step --preset sd35-large --batch 4 --gradient-checkpointing attention\n",
};
