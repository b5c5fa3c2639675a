#include "data/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one item -------------------------------------------------------------------------------------------- */

typedef struct check_job {
    const tr_dataset *data;
    tr_data_facts *facts;                       /* [n_item] */
    int            first;
    tr_findings   *found;                       /* [chunk] of items first .. */
} check_job;

/* The last failure as a finding of its file: the message names the file first, which the finding does already. Memory is no fault of
 * the file's. */
static tress_status record(tr_findings *f, tress_status why, int i_item, const char *path)
{
    if (why == TRESS_E_OOM) return why;
    const char *text = tr_message();
    const size_t n = strlen(path);
    if (strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0) text += n + 2;
    char copy[1024];
    const size_t len = strnlen(text, sizeof copy - 1);
    memcpy(copy, text, len);
    copy[len] = 0;
    return tr_findings_add(f, true, i_item, path, "%s", copy);
}

static tress_status check_sizes(tr_findings *f, int i, const tr_data_item *item, tr_image *const img[TR_DATA_KINDS])
{
    tress_status st = TRESS_OK;
    const tr_image *like = NULL;
    int k_like = 0;
    for (int k = 0; k < TR_DATA_KINDS; k++) {
        if (!img[k]) continue;
        if (!like) {
            like = img[k];
            k_like = k;
        } else if (img[k]->width != like->width || img[k]->height != like->height) {
            TR_TRY(tr_findings_add(f, true, i, item->path[k], "is %d x %d, but %s is %d x %d", img[k]->width, img[k]->height, item->path[k_like],
                                   like->width, like->height));
        }
    }
done:
    return st;
}

static double mean_of(tr_planes p)
{
    double sum = 0;
    const int64_t n = (int64_t)p.w * p.h;
    for (int64_t i = 0; i < n; i++) sum += (double)p.data[i];
    return sum / (double)n;
}

static double border_mean(tr_planes p)
{
    double sum = 0;
    int64_t n = 0;
    for (int y = 0; y < p.h; y++)
        for (int x = 0; x < p.w; x += y == 0 || y == p.h - 1 || p.w == 1 ? 1 : p.w - 1, n++) sum += (double)p.data[(int64_t)y * p.w + x];
    return sum / (double)n;
}

static tress_status check_matte(tr_planes *out, tr_data_facts *a, tr_findings *f, int i, const char *path, const tr_image *img)
{
    tress_status st = TRESS_OK;
    tr_planes m = { 0 };
    float most = 0;
    st = tr_matte_read(&m, img, path);
    if (st != TRESS_OK) return record(f, st, i, path);
    for (int64_t k = 0; k < (int64_t)m.w * m.h; k++) most = fmaxf(most, m.data[k]);
    a->hair = mean_of(m);
    if (!(most > 0.5f)) {
        TR_TRY(tr_findings_add(f, true, i, path, "the matte is empty: its brightest value is %.0f of 255; hair is white", 255.0 * (double)most));
        goto done;
    }
    if (a->hair < 0.005) TR_TRY(tr_findings_add(f, false, i, path, "hair covers only %.2g %% of the picture", 100 * a->hair));
    if (a->hair > 0.95) TR_TRY(tr_findings_add(f, false, i, path, "hair covers %.3g %% of the picture, hardly anything is left round it", 100 * a->hair));
    *out = m;
    m = (tr_planes){ 0 };
done:
    tr_planes_fini(&m);
    return st;
}

static tress_status check_strokes(tr_strokes *out, tr_data_facts *a, tr_findings *f, int i, const char *path, const tr_image *img)
{
    tress_status st = TRESS_OK;
    tr_strokes s = { 0 };
    TR_TRY(tr_strokes_read(&s, img));
    a->strokes = s.coverage;
    if (s.coverage == 0) {
        TR_TRY(tr_findings_add(f, true, i, path, "the sketch is empty: every pixel is like its border"));
        goto done;
    }
    if (s.coverage < 0.005 || s.coverage > 0.08)
        TR_TRY(tr_findings_add(f, false, i, path, "strokes cover %.2g %% of the picture; 0.5 %% to 8 %% is usual", 100 * s.coverage));
    *out = s;
    s = (tr_strokes){ 0 };
done:
    tr_strokes_fini(&s);
    return st;
}

/* Share of the strokes within r pixels of the matte. */
static tress_status near_matte(double *out, tr_planes matte, tr_planes strokes, double r)
{
    tress_status st = TRESS_OK;
    tr_planes hair = { 0 }, d = { 0 };
    const int64_t n = (int64_t)matte.w * matte.h;
    int64_t n_near = 0, n_all = 0;
    TR_TRY(tr_planes_new(&hair, 1, matte.h, matte.w));
    for (int64_t i = 0; i < n; i++) hair.data[i] = matte.data[i] > 0.1f;         /* compression leaves grey dust */
    TR_TRY(tr_distance(&d, hair));
    for (int64_t i = 0; i < n; i++) {
        n_all += strokes.data[i] > 0;
        n_near += strokes.data[i] > 0 && (double)d.data[i] <= r;
    }
    *out = (double)n_near / (double)n_all;
done:
    tr_planes_fini(&hair);
    tr_planes_fini(&d);
    return st;
}

static tress_status check_together(tr_data_facts *a, tr_findings *f, int i, const char *path, tr_planes matte, tr_planes strokes)
{
    tress_status st = TRESS_OK;
    double sum = 0, n = 0, near = 0;
    for (int64_t k = 0; k < (int64_t)matte.w * matte.h; k++)
        if (strokes.data[k] > 0) {
            sum += (double)matte.data[k];
            n++;
        }
    a->inside = sum / n;
    if (a->inside < 0.25 && (a->hair > 0.5 || border_mean(matte) > 0.5 || a->inside < 0.05)) {
        TR_TRY(tr_findings_add(f, true, i, path, "the matte is inverted, or of another picture: %.0f %% of the strokes lie where it is black; hair is white",
                               100 * (1 - a->inside)));
        goto done;
    }
    if (a->inside >= 0.5) goto done;                                             /* then so many lie near it too */
    TR_TRY(near_matte(&near, matte, strokes, ceil(24.0 * (matte.w > matte.h ? matte.w : matte.h) / 1024)));
    if (near < 0.5) TR_TRY(tr_findings_add(f, false, i, path, "%.0f %% of the strokes lie away from the matte", 100 * (1 - near)));
done:
    return st;
}

static tress_status check_item(void *self, int64_t i_chunk, int i_thread)
{
    tress_status st = TRESS_OK;
    const check_job *j = self;
    const int i = j->first + (int)i_chunk;
    const tr_data_item *item = &j->data->item[i];
    tr_data_facts *a = &j->facts[i];
    tr_findings *f = &j->found[i_chunk];
    tr_image *img[TR_DATA_KINDS] = { NULL };
    tr_planes matte = { 0 };
    tr_strokes strokes = { 0 };
    (void)i_thread;
    a->hair = a->strokes = a->inside = -1;
    for (int k = 0; k < TR_DATA_KINDS; k++) {
        st = tr_data_load(&img[k], a->hash[k], item->path[k]);
        if (st != TRESS_OK) TR_TRY(record(f, st, i, item->path[k]));
    }
    if (img[TR_DATA_IMG]) {
        a->width = img[TR_DATA_IMG]->width;
        a->height = img[TR_DATA_IMG]->height;
    }
    TR_TRY(check_sizes(f, i, item, img));
    if (img[TR_DATA_MATTE]) TR_TRY(check_matte(&matte, a, f, i, item->path[TR_DATA_MATTE], img[TR_DATA_MATTE]));
    if (img[TR_DATA_SKETCH]) TR_TRY(check_strokes(&strokes, a, f, i, item->path[TR_DATA_SKETCH], img[TR_DATA_SKETCH]));
    if (matte.data && strokes.mask.data && matte.w == strokes.mask.w && matte.h == strokes.mask.h)
        TR_TRY(check_together(a, f, i, item->path[TR_DATA_MATTE], matte, strokes.mask));
done:
    for (int k = 0; k < TR_DATA_KINDS; k++) tr_image_free(img[k]);
    tr_planes_fini(&matte);
    tr_strokes_fini(&strokes);
    return st;
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

/* The findings of `from` behind those of `to`; from is empty then. */
static tress_status move_findings(tr_findings *to, tr_findings *from)
{
    tress_status st = TRESS_OK;
    if (to->n + from->n > to->cap) {
        void *p = to->at;
        const int cap = 2 * (to->n + from->n);
        TR_TRY(tr_realloc(&p, (size_t)to->cap * sizeof *to->at, (size_t)cap * sizeof *to->at));
        to->at = p;
        to->cap = cap;
    }
    if (from->n > 0) memcpy(to->at + to->n, from->at, (size_t)from->n * sizeof *from->at);
    to->n += from->n;
    from->n = 0;
done:
    return st;
}

typedef struct same { const char *hash; int i; } same;

static int by_hash(const void *a, const void *b)
{
    const same *x = a, *y = b;
    const int c = strcmp(x->hash, y->hash);
    return c != 0 ? c : x->i - y->i;
}

/* Files of the same bytes. Mattes and sketches count only where the photos differ: a copied triplet is told once. */
static tress_status find_same(tr_check *c, tr_data_kind kind)
{
    tress_status st = TRESS_OK;
    const tr_dataset *d = c->data;
    same *all = NULL;
    int n = 0;
    TR_TRY(tr_alloc_array((void **)&all, d->n_item + 1, sizeof *all));
    for (int i = 0; i < d->n_item; i++)
        if (c->facts[i].hash[kind][0]) all[n++] = (same){ c->facts[i].hash[kind], i };
    if (n > 1) qsort(all, (size_t)n, sizeof *all, by_hash);
    for (int k = 1, first = 0; k < n; k++) {
        if (strcmp(all[k].hash, all[first].hash) != 0) {
            first = k;
            continue;
        }
        const int a = all[first].i, b = all[k].i;
        const bool same_photo = strcmp(c->facts[a].hash[TR_DATA_IMG], c->facts[b].hash[TR_DATA_IMG]) == 0;
        if (kind == TR_DATA_IMG && d->item[a].test != d->item[b].test)
            TR_TRY(tr_findings_add(&c->found, false, b, d->item[b].path[kind], "has the same bytes as %s: a picture of test/ would be trained on", d->item[a].path[kind]));
        else if (kind == TR_DATA_IMG || !same_photo)
            TR_TRY(tr_findings_add(&c->found, false, b, d->item[b].path[kind], "has the same bytes as %s%s", d->item[a].path[kind], same_photo ? "" : ", but the photos differ"));
    }
done:
    tr_free(all);
    return st;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the facts' values at `offset` that are known. */
static tress_status spread(tr_spread *out, const tr_check *c, size_t offset)
{
    tress_status st = TRESS_OK;
    double *v = NULL;
    int n = 0;
    TR_TRY(tr_alloc_array((void **)&v, c->data->n_item + 1, sizeof *v));
    for (int i = 0; i < c->data->n_item; i++) {
        const double x = *(const double *)(const void *)((const char *)&c->facts[i] + offset);
        if (x >= 0) v[n++] = x;
    }
    *out = (tr_spread){ 0 };
    if (n == 0) goto done;
    qsort(v, (size_t)n, sizeof *v, by_value);
    *out = (tr_spread){ n, v[0], n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2, v[n - 1] };
done:
    tr_free(v);
    return st;
}

static tress_status copy_findings(tr_findings *to, const tr_findings *from)
{
    tress_status st = TRESS_OK;
    for (int i = 0; i < from->n; i++) TR_TRY(tr_findings_add(to, from->at[i].unfit, from->at[i].i_item, from->at[i].path, "%s", from->at[i].text));
done:
    return st;
}

static void count_findings(tr_check *c)
{
    for (int i = 0; i < c->found.n; i++) {
        const tr_finding *f = &c->found.at[i];
        if (f->unfit) c->n_unfit++;
        else c->n_warning++;
        if (f->i_item < 0) continue;
        if (f->unfit) c->facts[f->i_item].unfit = true;
        else c->facts[f->i_item].warned = true;
    }
}

#define CHUNK 64                                /* items between two looks at the cancel hook */

tress_status tr_check_run(tr_check **out, const tr_dataset *data, int n_thread, const tr_data_hooks *hooks)
{
    tress_status st = TRESS_OK;
    tr_check *c = NULL;
    tr_findings found[CHUNK] = { { 0 } };
    const tr_data_hooks none = { 0 };
    const int n = data->n_item;
    if (!hooks) hooks = &none;
    TR_TRY(tr_alloc((void **)&c, sizeof *c));
    c->data = data;
    TR_TRY(tr_alloc_array((void **)&c->facts, n + 1, sizeof *c->facts));
    TR_TRY(copy_findings(&c->found, &data->found));
    for (int i = 0; i < n; i += CHUNK) {
        check_job j = { .data = data, .facts = c->facts, .first = i, .found = found };
        const int n_chunk = n - i < CHUNK ? n - i : CHUNK;
        if (hooks->progress) hooks->progress(hooks->self, i, n);
        if (hooks->cancelled && hooks->cancelled(hooks->self)) TR_TRY(tr_fail(TRESS_E_CANCELLED, "interrupted after %d of %d pictures", i, n));
        TR_TRY(tr_parallel(n_thread, n_chunk, check_item, &j));
        for (int k = 0; k < n_chunk; k++) {
            TR_TRY(move_findings(&c->found, &found[k]));
            tr_findings_fini(&found[k]);
        }
    }
    if (hooks->progress && n > 0) hooks->progress(hooks->self, n, n);
    for (int k = 0; k < TR_DATA_KINDS; k++) TR_TRY(find_same(c, (tr_data_kind)k));
    TR_TRY(spread(&c->hair, c, offsetof(tr_data_facts, hair)));
    TR_TRY(spread(&c->strokes, c, offsetof(tr_data_facts, strokes)));
    count_findings(c);
    *out = c;
    c = NULL;
done:
    for (int k = 0; k < CHUNK; k++) tr_findings_fini(&found[k]);
    tr_check_free(c);
    return st;
}

void tr_check_free(tr_check *c)
{
    if (!c) return;
    tr_findings_fini(&c->found);
    tr_free(c->facts);
    tr_free(c);
}

tress_status tr_check_verdict(const tr_check *c)
{
    for (int i = 0; i < c->found.n; i++) {
        const tr_finding *f = &c->found.at[i];
        if (f->unfit)
            return tr_fail(TRESS_E_FORMAT, "%s: unfit to train on: %d problem%s, the first: %s %s", c->data->dir, c->n_unfit, c->n_unfit > 1 ? "s" : "", f->path, f->text);
    }
    return TRESS_OK;
}
