/* bench_cpu.c - times of the parts of a drawing on the CPU, as JSON lines for bench/cpu_vs_diffusers.py.
 *
 *     bench_cpu step   MODEL N_THREAD REPEAT        a guided step: 256x256, both branches, ControlNet, 333 text rows
 *     bench_cpu decode MODEL N_THREAD REPEAT        the VAE's decode of 256x256
 *     bench_cpu block  MODEL N_THREAD REPEAT        block 0 of the transformer at 1024 image tokens and 333 text rows: a forward with
 *                                                   all blocks less one that skips it
 *     bench_cpu train  MODEL N_THREAD REPEAT BATCH  a training step: 256x256, ControlNet, rank 16, AdamW; and the peak of the process
 *     bench_cpu first  MODEL SKETCH N_THREAD        a drawing, stopped when its first step is done; the caller times the process
 *
 * Medians in milliseconds; the first round warms up and does not count. */
#include "generate/generate.h"
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define REPEAT_MAX 101
#define SIDE 32                                 /* latent pixels of 256x256 */
#define ROWS 333

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, by_value);
    return t[n / 2];
}

static tress_status filled(tr_tensor *out, tr_stream *s, tr_dims d, uint64_t key)
{
    tress_status st = TRESS_OK;
    void *host = NULL;
    int64_t n = 1;
    for (int i = 0; i < d.rank; i++) n *= d.n[i];
    TR_TRY(tr_alloc_array(&host, n, sizeof(float)));
    tr_philox_normal(host, n, key, 0);
    TR_TRY(tr_device_take(tr_stream_device(s), out, TR_F32, d));
    TR_TRY(tr_upload(s, *out, host));
    TR_TRY(tr_stream_sync(s));
done:
    tr_free(host);
    return st;
}

static tress_status bench_step(tr_bundle *m, tr_stream *s, int n_repeat)
{
    tress_status st = TRESS_OK;
    tr_guide *g = NULL;
    double t[REPEAT_MAX];
    const tr_mmdit_config *c = tr_mmdit_get_config(m->transformer);
    tr_tensor context, pooled, context_neg, pooled_neg, condition, x, v;
    TR_TRY(filled(&context, s, TR_DIMS(1, ROWS, c->d_context), 1));
    TR_TRY(filled(&pooled, s, TR_DIMS(1, c->d_pooled), 2));
    TR_TRY(filled(&context_neg, s, TR_DIMS(1, ROWS, c->d_context), 3));
    TR_TRY(filled(&pooled_neg, s, TR_DIMS(1, c->d_pooled), 4));
    TR_TRY(filled(&condition, s, TR_DIMS(1, 16, SIDE, SIDE), 5));
    TR_TRY(filled(&x, s, TR_DIMS(1, 16, SIDE, SIDE), 6));
    TR_TRY(filled(&v, s, TR_DIMS(1, 16, SIDE, SIDE), 7));
    const tr_guide_args a = { .transformer = m->transformer, .controlnet = m->controlnet, .context = context, .pooled = pooled, .context_neg = context_neg,
                              .pooled_neg = pooled_neg, .condition = condition, .cfg_scale = 4.5f, .control_strength = 1, .control_end = 1, .n_step = 28 };
    TR_TRY(tr_guide_new(&g, s, &a, 1, SIDE, SIDE));
    for (int i = -1; i < n_repeat; i++) {
        const double begin = tr_seconds();
        TR_TRY(tr_guide_velocity(g, s, v, x, 0.7f, 3));
        if (i >= 0) t[i] = 1000 * (tr_seconds() - begin);
    }
    const tr_stream_stats n = tr_stream_count(s);
    printf("{\"what\": \"step\", \"ms\": %.3f, \"gflop\": %.3f}\n", median(t, n_repeat), n.flops / (n_repeat + 1) / 1e9);
done:
    tr_guide_free(g);
    return st;
}

static tress_status bench_decode(tr_bundle *m, tr_stream *s, int n_repeat)
{
    tress_status st = TRESS_OK;
    double t[REPEAT_MAX];
    tr_tensor z, image;
    TR_TRY(filled(&z, s, TR_DIMS(1, 16, SIDE, SIDE), 1));
    TR_TRY(filled(&image, s, TR_DIMS(1, 3, 8 * SIDE, 8 * SIDE), 2));
    for (int i = -1; i < n_repeat; i++) {
        const double begin = tr_seconds();
        TR_TRY(tr_vae_decode(m->vae, s, image, z, 0));
        if (i >= 0) t[i] = 1000 * (tr_seconds() - begin);
    }
    const tr_stream_stats n = tr_stream_count(s);
    printf("{\"what\": \"decode\", \"ms\": %.3f, \"gflop\": %.3f}\n", median(t, n_repeat), n.flops / (n_repeat + 1) / 1e9);
done:
    return st;
}

static tress_status bench_block(tr_bundle *m, tr_stream *s, int n_repeat)
{
    tress_status st = TRESS_OK;
    static const int first[] = { 0 };
    double t[REPEAT_MAX];
    float timestep = 700;
    const tr_mmdit_config *c = tr_mmdit_get_config(m->transformer);
    tr_mmdit_args a = { .timestep = tr_view(&timestep, TR_F32, TR_DIMS(1)), .skip = first };
    TR_TRY(filled(&a.x, s, TR_DIMS(1, 16, 64, 64), 1));
    TR_TRY(filled(&a.out, s, TR_DIMS(1, 16, 64, 64), 2));
    TR_TRY(filled(&a.context, s, TR_DIMS(1, ROWS, c->d_context), 3));
    TR_TRY(filled(&a.pooled, s, TR_DIMS(1, c->d_pooled), 4));
    for (int i = -1; i < n_repeat; i++) {
        double times[2];
        for (int skip = 0; skip < 2; skip++) {
            a.n_skip = skip;
            const double begin = tr_seconds();
            TR_TRY(tr_mmdit_forward(m->transformer, s, &a));
            times[skip] = 1000 * (tr_seconds() - begin);
        }
        if (i >= 0) t[i] = times[0] - times[1];
    }
    printf("{\"what\": \"block\", \"ms\": %.3f}\n", median(t, n_repeat));
done:
    return st;
}

static tress_status bench_train(tr_bundle *m, tr_stream *s, int n_repeat, int batch)
{
    static const tr_trainer_spec spec = TR_TRAINER_SPEC_DEFAULT;
    tress_status st = TRESS_OK;
    tr_trainer *t = NULL;
    tr_tensor z, noise, control, mask;
    float sigma[TR_TRAIN_BATCH_MAX];
    double time[REPEAT_MAX], flops = 0;
    tr_train_loss loss;
    tr_train_update update;
    struct rusage usage;
    if (batch < 1 || batch > TR_TRAIN_BATCH_MAX) TR_TRY(tr_fail(TRESS_E_ARG, "a batch of 1 to %d", TR_TRAIN_BATCH_MAX));
    TR_TRY(filled(&z, s, TR_DIMS(batch, 16, SIDE, SIDE), 1));
    TR_TRY(filled(&noise, s, TR_DIMS(batch, 16, SIDE, SIDE), 2));
    TR_TRY(filled(&control, s, TR_DIMS(batch, 16, SIDE, SIDE), 3));
    TR_TRY(filled(&mask, s, TR_DIMS(batch, 1, SIDE, SIDE), 4));
    for (int64_t i = 0; i < tr_count(mask); i++) ((float *)mask.data)[i] = ((float *)mask.data)[i] > 0;
    for (int i = 0; i < batch; i++) sigma[i] = (float)(i + 1) / (float)(batch + 1);
    TR_TRY(tr_trainer_new(&t, s, m->transformer, m->controlnet, &spec));
    const tr_train_batch b = { .b = batch, .h = SIDE, .w = SIDE, .latents = z.data, .control = control.data, .noise = noise.data, .mask = mask.data, .sigma = sigma };
    for (int i = -1; i < n_repeat; i++) {
        const double begin = tr_seconds(), before = tr_stream_count(s).flops;
        TR_TRY(tr_trainer_accumulate(t, s, &b, 1, &loss, NULL));
        TR_TRY(tr_trainer_update(t, s, 1e-4, true, &update));
        if (i >= 0) time[i] = 1000 * (tr_seconds() - begin);
        flops = tr_stream_count(s).flops - before;
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"what\": \"train\", \"batch\": %d, \"ms\": %.3f, \"gflop\": %.3f, \"peak_mib\": %.1f}\n", batch, median(time, n_repeat), flops / 1e9,
           (double)usage.ru_maxrss / 1024);
done:
    tr_trainer_free(t);
    return st;
}

static bool stop_now;
static void on_progress(void *self, const tress_progress *p)
{
    (void)self;
    if (strcmp(p->stage, "sample") == 0 && p->i == 1) stop_now = true;
}
static bool is_stopped(void *self) { return (void)self, stop_now; }

static tress_status bench_first(const char *model, const char *sketch, int n_thread)
{
    tress_status st = TRESS_OK;
    tr_host h = { 0 };
    tr_bundle *m = NULL;
    tr_image *img = NULL;
    tr_result *r = NULL;
    const tress_options opt = { .backend = TRESS_BACKEND_CPU, .n_thread = n_thread, .hooks = { .progress = on_progress, .cancelled = is_stopped } };
    tress_generate_args g = { .zero_text_rows = 333, .n_step = 28, .cfg_scale = 4.5f, .batch = 1, .strength = 1, .edit_grow = -1, .control_strength = 1,
                              .control_end = 1, .max_sequence_length = 256, .width = 256, .height = 256, .seed = 1, .prompt = "long wavy red hair" };
    TR_TRY(tr_host_init(&h, &opt));
    TR_TRY(tr_image_read(&img, sketch));
    g.sketch = img;
    TR_TRY(tr_bundle_open(&m, &h, &(tress_model_args){ .model = model }, TR_WANT_ALL));
    st = tr_draw(&r, m, &g);
    if (st == TRESS_E_CANCELLED && stop_now) st = TRESS_OK;
    printf("{\"what\": \"first\"}\n");
done:
    tr_result_free(r);
    tr_image_free(img);
    tr_bundle_close(m);
    if (h.device) tr_host_fini(&h);
    return st;
}

int main(int argc, char **argv)
{
    tress_status st = TRESS_OK;
    tr_host h = { 0 };
    tr_bundle *m = NULL;
    tr_stream *s = NULL;
    const bool train = argc == 6 && strcmp(argv[1], "train") == 0;
    if (argc != 5 && !train) return fprintf(stderr, "usage: bench_cpu step|decode|block MODEL N_THREAD REPEAT, train MODEL N_THREAD REPEAT BATCH, or first MODEL SKETCH N_THREAD\n"), 2;
    if (strcmp(argv[1], "first") == 0) {
        TR_TRY(bench_first(argv[2], argv[3], atoi(argv[4])));
        goto done;
    }
    const int n_repeat = atoi(argv[4]);
    if (n_repeat < 1 || n_repeat > REPEAT_MAX) TR_TRY(tr_fail(TRESS_E_ARG, "1 to %d repeats", REPEAT_MAX));
    TR_TRY(tr_host_init(&h, &(tress_options){ .backend = TRESS_BACKEND_CPU, .n_thread = atoi(argv[3]) }));
    TR_TRY(tr_stream_new(&s, h.device));
    const int want = train || strcmp(argv[1], "step") == 0 ? TR_WANT_TRANSFORMER | TR_WANT_CONTROLNET : strcmp(argv[1], "decode") == 0 ? TR_WANT_VAE : TR_WANT_TRANSFORMER;
    TR_TRY(tr_bundle_open(&m, &h, &(tress_model_args){ .model = argv[2] }, want));
    if (train) TR_TRY(bench_train(m, s, n_repeat, atoi(argv[5])));
    else if (strcmp(argv[1], "step") == 0) TR_TRY(bench_step(m, s, n_repeat));
    else if (strcmp(argv[1], "decode") == 0) TR_TRY(bench_decode(m, s, n_repeat));
    else TR_TRY(bench_block(m, s, n_repeat));
done:
    if (st != TRESS_OK) fprintf(stderr, "bench_cpu: %s\n", tr_message());
    tr_stream_free(s);
    tr_bundle_close(m);
    if (h.device) tr_host_fini(&h);
    return tress_exit_code(st);
}
