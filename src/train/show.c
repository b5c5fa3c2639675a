#include "train/show.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const float tr_validation_sigma[TR_VALIDATION_N] = { 0.1f, 0.3f, 0.5f, 0.7f, 0.9f };

#define SMOOTH 0.98                             /* weight of the past: about the last fifty steps */
#define CURVE_SECONDS 30
#define RATE_SMOOTH 0.9
#define RESERVE_MAX (1 << 16)                   /* steps whose numbers have room from the start: 2 MiB */

struct tr_show {
    char       *dir, *svg;
    tress_hooks hooks;
    tr_metrics *metrics;
    tr_events  *events;
    tr_series   loss, lr, validation, each[TR_VALIDATION_N];
    tr_mean     smooth;
    double      smoothed, images_per_second, begin, last, curve_at;
    int64_t     first, total;
};

static void say(void *self, const char *text)
{
    const tress_hooks *h = self;
    if (h->note) h->note(h->self, text);
}

static const char *level_name(int i) { return (const char *[]){ "validation_loss_0.1", "validation_loss_0.3", "validation_loss_0.5", "validation_loss_0.7", "validation_loss_0.9" }[i]; }

/* What earlier processes of the run wrote. */
static tress_status read_past(tr_show *w, const char *path)
{
    tress_status st = TRESS_OK;
    const char *name[3 + TR_VALIDATION_N] = { "loss", "learning_rate", "validation_loss" };
    tr_series out[3 + TR_VALIDATION_N] = { { 0 } };
    for (int i = 0; i < TR_VALIDATION_N; i++) name[3 + i] = level_name(i);
    st = tr_metrics_read(path, name, 3 + TR_VALIDATION_N, out);
    w->loss = out[0];
    w->lr = out[1];
    w->validation = out[2];
    memcpy(w->each, out + 3, sizeof w->each);
    for (int64_t i = 0; st == TRESS_OK && i < w->loss.n; i++) w->smoothed = tr_mean_add(&w->smooth, w->loss.value[i]);
    return st;
}

tress_status tr_show_open(tr_show **out, const char *dir, int64_t step, int64_t total, bool resumed, const tress_hooks *hooks)
{
    tress_status st = TRESS_OK;
    tr_show *w = NULL;
    char *path = NULL;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, sizeof *w));
    w = p;
    w->hooks = *hooks;
    w->smooth = tr_mean_start(SMOOTH);
    w->first = step;
    w->total = total;
    w->begin = w->last = tr_seconds();
    TR_TRY(tr_strdup(&w->dir, dir));
    TR_TRY(tr_path_join(&w->svg, dir, "loss.svg"));
    TR_TRY(tr_path_join(&path, dir, "metrics.jsonl"));
    TR_TRY(tr_metrics_open(&w->metrics, path, step, say, &w->hooks));
    TR_TRY(read_past(w, path));
    const int64_t more = total - step < RESERVE_MAX ? total - step : RESERVE_MAX;
    TR_TRY(tr_series_reserve(&w->loss, w->loss.n + more));
    TR_TRY(tr_series_reserve(&w->lr, w->lr.n + more));
    TR_TRY(tr_events_open(&w->events, dir, resumed ? step : -1));
    *out = w;
    w = NULL;
done:
    tr_free(path);
    tr_show_close(w);
    return st;
}

void tr_show_close(tr_show *w)
{
    if (!w) return;
    tr_metrics_close(w->metrics);
    tr_events_close(w->events);
    tr_series_fini(&w->loss);
    tr_series_fini(&w->lr);
    tr_series_fini(&w->validation);
    for (int i = 0; i < TR_VALIDATION_N; i++) tr_series_fini(&w->each[i]);
    tr_free(w->dir);
    tr_free(w->svg);
    tr_free(w);
}

/* ---- steps ------------------------------------------------------------------------------------------------ */
tress_status tr_show_step_done(tr_show *w, const tr_show_step *s)
{
    tress_status st = TRESS_OK;
    const double now = tr_seconds(), rate = (double)s->n_image / fmax(now - w->last, 1e-9);
    w->images_per_second = w->images_per_second > 0 ? RATE_SMOOTH * w->images_per_second + (1 - RATE_SMOOTH) * rate : rate;
    w->last = now;
    if (isfinite(s->loss)) {                    /* as read_past takes it: whether the gradients were finite, the log does not say */
        w->smoothed = tr_mean_add(&w->smooth, s->loss);
        TR_TRY(tr_series_add(&w->loss, s->step, s->loss));
    }
    TR_TRY(tr_series_add(&w->lr, s->step, s->learning_rate));
    if (!w->hooks.progress) goto done;
    char text[96];
    const int64_t n = s->step - w->first;
    const double seconds = now - w->begin;
    snprintf(text, sizeof text, "loss %.4f, mean %.4f, %.*f images/s", s->loss, w->smoothed, w->images_per_second < 10 ? 2 : 1, w->images_per_second);
    w->hooks.progress(w->hooks.self, &(tress_progress){ .stage = "train", .i = s->step, .n = w->total, .seconds = seconds,
                                                        .left = seconds / (double)n * (double)(w->total - s->step), .text = text });
done:
    return st;
}

tress_status tr_show_step_metrics(tr_show *w, const tr_show_step *s)
{
    const tr_field list[] = {
        tr_field_int("step", s->step), tr_field_double("loss", s->loss), tr_field_double("loss_smoothed", w->smoothed),
        tr_field_double("learning_rate", s->learning_rate), tr_field_double("grad_norm", s->grad_norm), tr_field_double("loss_scale", s->scale),
        tr_field_int("skipped", s->n_skipped), tr_field_double("epoch", s->epoch), tr_field_double("images_per_second", w->images_per_second),
        tr_field_double("seconds", tr_seconds() - w->begin),
    };
    return tr_metrics_add(w->metrics, list, sizeof list / sizeof *list);
}

tress_status tr_show_step_events(tr_show *w, const tr_show_step *s)
{
    const tr_scalar list[] = {
        { "train/loss", s->loss }, { "train/loss_smoothed", w->smoothed }, { "train/learning_rate", s->learning_rate }, { "train/grad_norm", s->grad_norm },
        { "train/loss_scale", s->scale }, { "train/skipped_steps", (double)s->n_skipped }, { "train/epoch", s->epoch },
        { "speed/images_per_second", w->images_per_second },
    };
    return tr_events_scalars(w->events, s->step, list, sizeof list / sizeof *list);
}

/* ---- validation -------------------------------------------------------------------------------------------- */
tress_status tr_show_validation_metrics(tr_show *w, int64_t step, const double loss[TR_VALIDATION_N], double mean)
{
    tress_status st = TRESS_OK;
    tr_field list[2 + TR_VALIDATION_N] = { tr_field_int("step", step), tr_field_double("validation_loss", mean) };
    for (int i = 0; i < TR_VALIDATION_N; i++) list[2 + i] = tr_field_double(level_name(i), loss[i]);
    TR_TRY(tr_metrics_add(w->metrics, list, 2 + TR_VALIDATION_N));
    if (isfinite(mean)) TR_TRY(tr_series_add(&w->validation, step, mean));
    for (int i = 0; i < TR_VALIDATION_N; i++)
        if (isfinite(loss[i])) TR_TRY(tr_series_add(&w->each[i], step, loss[i]));
done:
    return st;
}

tress_status tr_show_validation_events(tr_show *w, int64_t step, const double loss[TR_VALIDATION_N], double mean)
{
    static const char *const tag[TR_VALIDATION_N] = { "validation/sigma_0.1", "validation/sigma_0.3", "validation/sigma_0.5", "validation/sigma_0.7", "validation/sigma_0.9" };
    tr_scalar list[1 + TR_VALIDATION_N] = { { "validation/loss", mean } };
    for (int i = 0; i < TR_VALIDATION_N; i++) list[1 + i] = (tr_scalar){ tag[i], loss[i] };
    return tr_events_scalars(w->events, step, list, 1 + TR_VALIDATION_N);
}

/* ---- pictures ---------------------------------------------------------------------------------------------- */
#define SHEET_NAME "samples/step-%06" PRId64 ".png"

tress_status tr_show_sheet_file(tr_show *w, int64_t step, const tr_image *sheet)
{
    tress_status st = TRESS_OK;
    tr_str path = { 0 };
    TR_TRY(tr_str_printf(&path, "%s/" SHEET_NAME, w->dir, step));
    TR_TRY(tr_image_write(sheet, path.s, NULL));
done:
    tr_str_fini(&path);
    return st;
}

bool tr_show_has_sheet(const tr_show *w, int64_t step)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/" SHEET_NAME, w->dir, step);
    return n > 0 && (size_t)n < sizeof path && tr_file_exists(path);
}

tress_status tr_show_sheet_events(tr_show *w, int64_t step, const tr_image *sheet)
{
    tress_status st = TRESS_OK;
    uint8_t *bytes = NULL;
    size_t n = 0;
    TR_TRY(tr_image_encode_png(&bytes, &n, sheet, NULL));
    TR_TRY(tr_events_image(w->events, step, "samples", bytes, n, sheet->width, sheet->height, sheet->channels));
done:
    tr_free(bytes);
    return st;
}

bool tr_show_has_validation(const tr_show *w, int64_t step)
{
    return w->validation.n > 0 && w->validation.step[w->validation.n - 1] == step;
}

bool tr_show_curve_is_old(const tr_show *w) { return tr_seconds() - w->curve_at > CURVE_SECONDS; }

tress_status tr_show_curve(tr_show *w)
{
    const char *slash = strrchr(w->dir, '/');
    tr_curve_line line[1 + TR_VALIDATION_N];
    tr_curve c = { .title = slash && slash[1] ? slash + 1 : w->dir, .loss = &w->loss, .lr = &w->lr, .line = line, .smoothing = SMOOTH };
    static const char *const name[TR_VALIDATION_N] = { "\u03c3 0.1", "\u03c3 0.3", "\u03c3 0.5", "\u03c3 0.7", "\u03c3 0.9" };
    if (w->validation.n > 0) {
        line[c.n_line++] = (tr_curve_line){ "validation", &w->validation };
        for (int i = 0; i < TR_VALIDATION_N; i++) line[c.n_line++] = (tr_curve_line){ name[i], &w->each[i] };
    }
    w->curve_at = tr_seconds();
    return tr_curve_write(w->svg, &c);
}

tress_status tr_show_sync(tr_show *w)
{
    const tress_status st = tr_metrics_sync(w->metrics);
    return st == TRESS_OK ? tr_events_sync(w->events) : st;
}
