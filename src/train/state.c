#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "tress.run."                     /* of identity fields in the metadata */

/* ---- identity -------------------------------------------------------------------------------------------- */
tress_status tr_identity_add(tr_identity *d, const char *name, const char *format, ...)
{
    tress_status st = TRESS_OK;
    char text[1024];
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    TR_ASSERT(len >= 0 && (size_t)len < sizeof text);
    if (d->n == d->cap) {
        const int cap = d->cap ? 2 * d->cap : 32;
        void *p = d->at;
        TR_TRY(tr_realloc(&p, (size_t)d->cap * sizeof *d->at, (size_t)cap * sizeof *d->at));
        d->at = p;
        d->cap = cap;
    }
    tr_identity_field *f = &d->at[d->n];
    TR_TRY(tr_strdup(&f->name, name));
    d->n++;
    TR_TRY(tr_strdup(&f->value, text));
done:
    return st;
}

tress_status tr_identity_add_number(tr_identity *d, const char *name, double value)
{
    char text[40];
    if (value == floor(value) && fabs(value) < 1e15) return tr_identity_add(d, name, "%.0f", value);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back;
        if (sscanf(text, "%lf", &back) == 1 && back == value) break;
    }
    return tr_identity_add(d, name, "%s", text);
}

void tr_identity_fini(tr_identity *d)
{
    for (int i = 0; i < d->n; i++) {
        tr_free(d->at[i].name);
        tr_free(d->at[i].value);
    }
    tr_free(d->at);
    memset(d, 0, sizeof *d);
}

static void field_key(char key[128], const char *name) { snprintf(key, 128, PREFIX "%s", name); }

tress_status tr_identity_check(const tr_identity *d, const tr_checkpoint *c)
{
    char key[128];
    for (int i = 0; i < d->n; i++) {
        field_key(key, d->at[i].name);
        const char *was = tr_checkpoint_meta(c, key), *now = d->at[i].value;
        if (!was) return tr_fail(TRESS_E_FORMAT, "%s says nothing of the run's %s", tr_checkpoint_file(c), d->at[i].name);
        if (strcmp(was, now) != 0)
            return tr_fail(TRESS_E_FORMAT, "%s was written with %s %s, now it is %s: a run goes on only as it began; begin a new one to change it",
                           tr_checkpoint_file(c), d->at[i].name, was, now);
    }
    return TRESS_OK;
}

/* ---- save -------------------------------------------------------------------------------------------------- */
/* The numbers that are no tensors. */
typedef struct numbers { int64_t step, taken, scale_log2, good, bad, skipped; } numbers;
static const struct { const char *key; size_t at; int64_t min, max; } fields[] = {
    { "tress.step", offsetof(numbers, step), 0, INT64_C(999999999) },       { "tress.taken", offsetof(numbers, taken), 0, INT64_C(999999999) },
    { "tress.scale_log2", offsetof(numbers, scale_log2), 0, 127 },          { "tress.scale_good", offsetof(numbers, good), 0, TR_SCALE_GROWTH },
    { "tress.scale_bad", offsetof(numbers, bad), 0, TR_SCALE_BAD },         { "tress.skipped", offsetof(numbers, skipped), 0, INT64_C(999999999) },
};
#define N_FIELD (int)(sizeof fields / sizeof *fields)

tress_status tr_state_save(const char *dir, int64_t step, tr_trainer *t, tr_stream *s, tr_trainer_state *room, const tr_identity *d, const char *config)
{
    tress_status st = TRESS_OK;
    char *path = NULL, number[N_FIELD][24], (*key)[128] = NULL;
    const char **meta = NULL;
    void *p = NULL;
    const tr_scale *scale = tr_trainer_scale(t);
    const numbers v = { step, tr_trainer_taken(t), lrint(log2(scale->scale)), scale->n_good, scale->n_bad, scale->n_skipped };
    int n = 0;
    TR_TRY(tr_trainer_state_get(room, t, s));
    TR_TRY(tr_alloc_array(&p, 2 * (d->n + N_FIELD + 1) + 1, sizeof *meta));
    meta = p;
    TR_TRY(tr_alloc_array(&p, d->n + 1, sizeof *key));
    key = p;
    for (int i = 0; i < N_FIELD; i++) {
        int64_t x;
        memcpy(&x, (const char *)&v + fields[i].at, sizeof x);
        snprintf(number[i], sizeof number[i], "%" PRId64, x);
        meta[n++] = fields[i].key;
        meta[n++] = number[i];
    }
    for (int i = 0; i < d->n; i++) {
        field_key(key[i], d->at[i].name);
        meta[n++] = key[i];
        meta[n++] = d->at[i].value;
    }
    meta[n++] = "tress.config";
    meta[n++] = config;
    TR_TRY(tr_checkpoint_path(&path, dir, step));
    TR_TRY(tr_checkpoint_save(path, room->list, room->n, meta));
done:
    tr_free(path);
    tr_free(key);
    tr_free(meta);
    return st;
}

/* ---- load -------------------------------------------------------------------------------------------------- */
tress_status tr_state_load(const tr_checkpoint *c, tr_trainer *t, tr_stream *s, tr_trainer_state *room, const tr_identity *d, int64_t *step)
{
    tress_status st = TRESS_OK;
    numbers v;
    TR_TRY(tr_identity_check(d, c));
    for (int i = 0; i < N_FIELD; i++) {
        int64_t x;
        TR_TRY(tr_checkpoint_int(c, fields[i].key, fields[i].min, fields[i].max, &x));
        memcpy((char *)&v + fields[i].at, &x, sizeof x);
    }
    TR_TRY(tr_trainer_state_get(room, t, s));
    if (tr_checkpoint_count(c) != room->n)
        TR_TRY(tr_fail(TRESS_E_FORMAT, "%s holds %d tensors, this run's state has %d", tr_checkpoint_file(c), tr_checkpoint_count(c), room->n));
    for (int i = 0; i < room->n; i++) TR_TRY(tr_checkpoint_read(c, room->list[i].name, room->list[i].t));
    TR_TRY(tr_trainer_state_set(t, s, room, v.taken));
    tr_scale *scale = tr_trainer_scale(t);
    scale->scale = ldexp(1, (int)v.scale_log2);
    scale->n_good = v.good;
    scale->n_bad = v.bad;
    scale->n_skipped = v.skipped;
    *step = v.step;
done:
    return st;
}
