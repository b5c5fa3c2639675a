/* draw.c - the C library in one page: a sketch and a few words into a picture, with a progress line, stopped by Ctrl-C.
 *
 *     cc examples/draw.c $(pkg-config --cflags --libs tress) -o draw
 *     ./draw models/mini examples/sketch/wavy.png "long wavy red hair" out.png
 */
#include <signal.h>
#include <stdio.h>
#include <tress.h>

static volatile sig_atomic_t stop;

static void on_interrupt(int number)
{
    (void)number;
    stop = 1;
}

static bool cancelled(void *self)
{
    (void)self;
    return stop != 0;
}

static void progress(void *self, const tress_progress *p)
{
    (void)self;
    fprintf(stderr, "\r%-8s %3lld of %-4lld %5.1f s ", p->stage, (long long)p->i, (long long)p->n, p->seconds);
}

int main(int argc, char **argv)
{
    if (argc != 5) return fprintf(stderr, "usage: draw MODEL SKETCH.png PROMPT OUT.png\n"), 2;
    signal(SIGINT, on_interrupt);

    tress *t = NULL;
    tress_model *model = NULL;
    tress_image *sketch = NULL;
    tress_result *result = NULL;
    const tress_options options = { .hooks = { .progress = progress, .cancelled = cancelled } };
    tress_generate_args args;
    tress_generate_defaults(&args);
    args.prompt = argv[3];
    args.seed = 7;

    tress_status st = tress_new(&t, &options);
    if (st == TRESS_OK) st = tress_image_load(t, &sketch, argv[2]);
    args.sketch = sketch;
    if (st == TRESS_OK) st = tress_model_open(t, &model, &(tress_model_args){ .model = argv[1] });
    if (st == TRESS_OK) st = tress_generate(model, &args, &result);
    if (st == TRESS_OK) st = tress_result_save(t, result, 0, argv[4]);
    fprintf(stderr, "\n%s\n", st == TRESS_OK ? argv[4] : tress_last_error());

    tress_result_free(result);
    tress_image_free(sketch);
    tress_model_close(model);
    tress_free(t);
    return tress_exit_code(st);
}
