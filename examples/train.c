/* train.c - training in one page: a LoRA from a folder of photos, mattes and sketches, with a line of progress. Ctrl-C saves the run;
 * the same command again goes on with it.
 *
 *     cc examples/train.c $(pkg-config --cflags --libs tress) -o train
 *     tress synth -o data --style braids -n 16
 *     ./train models/mini data run 500
 *     tress generate -m models/mini --sketch data/sketch/00000001.png --lora run/lora.safetensors -o out.png
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
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
    fprintf(stderr, "\r%-8s %3lld of %-4lld %s %5.0f s left \033[K", p->stage, (long long)p->i, (long long)p->n, p->text ? p->text : "", p->left > 0 ? p->left : 0.0);
}

static void note(void *self, const char *text)
{
    (void)self;
    fprintf(stderr, "\r%s\033[K\n", text);
}

int main(int argc, char **argv)
{
    if (argc != 5) return fprintf(stderr, "usage: train MODEL DATA RUN STEPS\n"), 2;
    signal(SIGINT, on_interrupt);

    tress *t = NULL;
    char *report = NULL;
    struct stat info;
    const tress_options options = { .hooks = { .progress = progress, .note = note, .cancelled = cancelled } };
    tress_train_args args;
    tress_train_defaults(&args);
    args.data = argv[2];
    args.run = argv[3];
    args.resume = stat(argv[3], &info) == 0 ? "latest" : NULL;
    args.steps = atoll(argv[4]);
    args.rank = 8;
    args.alpha = 8;
    args.augment_flip = true;

    tress_status st = tress_new(&t, &options);
    if (st == TRESS_OK) st = tress_check(t, &(tress_check_args){ .data = args.data }, &report);
    if (report) fprintf(stderr, "\n%s", report);                /* of unfit data too */
    if (st == TRESS_OK) st = tress_train(t, &(tress_model_args){ .model = argv[1] }, &args);
    fprintf(stderr, "\n%s\n", st == TRESS_OK ? "done: the LoRA is in RUN/lora.safetensors" : tress_last_error());

    tress_text_free(report);
    tress_free(t);
    return tress_exit_code(st);                                 /* 8 when it was interrupted and saved */
}
