/* Pictures of hair measured: one, or a folder of them. */
#include "api/api_int.h"
#include "data/data.h"
#include "eval/eval.h"

#include <stdio.h>
#include <string.h>

typedef struct files { char *photo, *result, *truth, *sketch, *matte, *old_matte, *alpha; } files;   /* paths, owned; NULL: none */
enum { N_FILE = 7 };

typedef struct row_job {
    files      files;
    tr_wanted  colour;
    double     light[3];
    bool       has_colour, has_light;
} row_job;

typedef struct eval_job {
    const tress_eval_args *args;
    row_job      *row;
    tr_eval_table table;
    tr_stage      stage;
} eval_job;

static void files_fini(files *f)
{
    char **const path[N_FILE] = { &f->photo, &f->result, &f->truth, &f->sketch, &f->matte, &f->old_matte, &f->alpha };
    for (int i = 0; i < N_FILE; i++) {
        tr_free(*path[i]);
        *path[i] = NULL;
    }
}

/* ---- a folder -------------------------------------------------------------------------------------------- */

/* What scenes.jsonl, which the renderer writes, says of each name; an empty object without one. */
static tress_status read_scenes(json_t **out, const char *dir)
{
    tress_status st = TRESS_OK;
    char *path = NULL, *text = NULL;
    json_t *all = json_object(), *one = NULL;
    size_t n = 0;
    if (!all) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the scenes"));
    TR_TRY(tr_path_join(&path, dir, "scenes.jsonl"));
    if (tr_file_exists(path)) TR_TRY(tr_file_read(&text, &n, path, (size_t)1 << 28));       /* else the pictures are not rendered */
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n');
        const size_t len = end ? (size_t)(end - line) : strlen(line);
        const char *name = NULL;
        if (len > 0) {
            TR_TRY(tr_json_parse(&one, line, len, 8, path));
            TR_TRY(tr_json_string(&name, one, "name", NULL, path));
            if (name && json_object_set(all, name, one)) TR_TRY(tr_fail(TRESS_E_OOM, "no memory for the scenes"));
            json_decref(one);
            one = NULL;
        }
        line += len + (end != NULL);
    }
    *out = all;
    all = NULL;
done:
    json_decref(all);
    json_decref(one);
    tr_free(path);
    tr_free(text);
    return st;
}

static tress_status read_scene(row_job *r, const json_t *scene, const char *dir)
{
    tress_status st = TRESS_OK;
    const char *colour = NULL;
    if (!scene) return TRESS_OK;
    TR_TRY(tr_json_string(&colour, scene, "colour", NULL, dir));
    if (colour && tr_wanted_read(&r->colour, colour) == TRESS_OK) r->has_colour = true;    /* a word of another palette asks nothing of us */
    const json_t *light = json_object_get(scene, "light");
    if (json_array_size(light) != 3) return TRESS_OK;
    for (int i = 0; i < 3; i++) r->light[i] = json_number_value(json_array_get(light, (size_t)i));
    r->has_light = true;
done:
    return st;
}

static const char *picture_ending(const char *name)
{
    static const char *const ending[] = { ".png", ".jpg", ".jpeg", ".webp" };
    const size_t n = strlen(name);
    for (size_t k = 0; k < sizeof ending / sizeof *ending; k++)
        if (n > strlen(ending[k]) && strcmp(name + n - strlen(ending[k]), ending[k]) == 0) return name + n - strlen(ending[k]);
    return NULL;
}

/* Is file the result of item: NAME.png, or NAME-1.png of a batch? */
static bool result_of(const char *file, const char *item)
{
    const char *end = picture_ending(file);
    const size_t n = strlen(item);
    if (!end || strncmp(file, item, n) != 0) return false;
    const char *p = file + n;
    if (p == end) return true;
    if (*p != '-' || p + 1 == end) return false;
    for (p++; p < end; p++)
        if (*p < '0' || *p > '9') return false;
    return true;
}

/* The file of that stem in dir, if it is there. */
static tress_status find_file(char **out, const char *dir, char **list, int n, const char *stem)
{
    for (int i = 0; i < n; i++) {
        const char *end = picture_ending(list[i]);
        if (end && (size_t)(end - list[i]) == strlen(stem) && strncmp(list[i], stem, strlen(stem)) == 0) return tr_path_join(out, dir, list[i]);
    }
    return TRESS_OK;
}

static tress_status add_row(eval_job *j, int *cap, const char *name)
{
    tress_status st = TRESS_OK;
    const int n = j->table.n;
    if (n == *cap) {
        void *rows = NULL, *entries = NULL;
        const int more = *cap ? 2 * *cap : 64;
        TR_TRY(tr_alloc_array(&rows, more, sizeof *j->row));
        st = tr_alloc_array(&entries, more, sizeof *j->table.row);
        if (st != TRESS_OK) tr_free(rows);
        TR_TRY(st);
        if (n) {
            memcpy(rows, j->row, (size_t)n * sizeof *j->row);
            memcpy(entries, j->table.row, (size_t)n * sizeof *j->table.row);
        }
        tr_free(j->row);
        tr_free(j->table.row);
        j->row = rows;
        j->table.row = entries;
        *cap = more;
    }
    TR_TRY(tr_strdup(&j->table.row[n].name, name));
    j->table.n++;
done:
    return st;
}

static tress_status list_folder(eval_job *j, tress *t)
{
    tress_status st = TRESS_OK;
    const tress_eval_args *a = j->args;
    tr_dataset *d = NULL;
    json_t *scenes = NULL;
    char *bald = NULL, **result = NULL, **photo = NULL;
    int n_result = 0, n_photo = 0, cap = 0, n_without = 0;
    TR_TRY(tr_dataset_list(&d, a->data));
    TR_TRY(read_scenes(&scenes, a->data));
    TR_TRY(tr_path_join(&bald, a->data, "bald"));
    const bool has_bald = tr_dir_exists(bald);
    if (has_bald) TR_TRY(tr_dir_list(&photo, &n_photo, bald));
    TR_TRY(tr_dir_list(&result, &n_result, a->results));
    for (int i = 0; i < d->n_item; i++) {
        const tr_data_item *item = &d->item[i];
        const int before = j->table.n;
        for (int k = 0; k < n_result; k++) {
            if (!result_of(result[k], item->name)) continue;
            char stem[256];
            snprintf(stem, sizeof stem, "%.*s", (int)(picture_ending(result[k]) - result[k]), result[k]);
            TR_TRY(add_row(j, &cap, stem));
            row_job *r = &j->row[j->table.n - 1];
            TR_TRY(tr_path_join(&r->files.result, a->results, result[k]));
            TR_TRY(tr_strdup(&r->files.truth, item->path[TR_DATA_IMG]));
            TR_TRY(tr_strdup(&r->files.matte, item->path[TR_DATA_MATTE]));
            TR_TRY(tr_strdup(&r->files.sketch, item->path[TR_DATA_SKETCH]));
            if (has_bald) TR_TRY(find_file(&r->files.photo, bald, photo, n_photo, item->name));
            else TR_TRY(tr_strdup(&r->files.photo, item->path[TR_DATA_IMG]));
            if (!r->files.photo) TR_TRY(tr_fail(TRESS_E_IO, "%s has no picture of %s, although the folder is there", bald, item->name));
            TR_TRY(read_scene(r, json_object_get(scenes, item->name), a->data));
        }
        n_without += j->table.n == before;
    }
    if (j->table.n == 0) TR_TRY(tr_fail(TRESS_E_FORMAT, "%s holds no result for any of the %d pictures of %s: NAME.png or NAME-1.png is expected", a->results, d->n_item, a->data));
    if (n_without) tr_host_note(&t->host, "%d of the %d pictures of %s have no result in %s", n_without, d->n_item, a->data, a->results);
done:
    tr_names_free(result, n_result);
    tr_names_free(photo, n_photo);
    tr_free(bald);
    json_decref(scenes);
    tr_dataset_free(d);
    return st;
}

/* ---- one picture ----------------------------------------------------------------------------------------- */

static tress_status copy(char **out, const char *path) { return path ? tr_strdup(out, path) : TRESS_OK; }

static tress_status list_one(eval_job *j)
{
    tress_status st = TRESS_OK;
    const tress_eval_args *a = j->args;
    const char *base = strrchr(a->result, '/');
    int cap = 0;
    TR_TRY(add_row(j, &cap, base ? base + 1 : a->result));
    files *f = &j->row[0].files;
    TR_TRY(copy(&f->photo, a->photo));
    TR_TRY(copy(&f->result, a->result));
    TR_TRY(copy(&f->truth, a->truth));
    TR_TRY(copy(&f->sketch, a->sketch));
    TR_TRY(copy(&f->matte, a->matte));
    TR_TRY(copy(&f->old_matte, a->old_matte));
    TR_TRY(copy(&f->alpha, a->alpha));
done:
    return st;
}

/* ---- the work -------------------------------------------------------------------------------------------- */

static tress_status measure(void *self, int64_t i, int i_thread)
{
    eval_job *j = self;
    row_job *r = &j->row[i];
    tr_eval_entry *e = &j->table.row[i];
    tress_status st = TRESS_OK;
    const char *const path[N_FILE] = { r->files.photo, r->files.result, r->files.truth, r->files.sketch, r->files.matte, r->files.old_matte, r->files.alpha };
    tr_image *img[N_FILE] = { NULL };
    tr_sha256 *hash = NULL;
    (void)i_thread;
    for (int k = 0; k < N_FILE; k++)
        if (path[k]) TR_TRY(tr_image_read(&img[k], path[k]));
    const tr_eval_input in = { .photo = img[0], .result = img[1], .truth = img[2], .sketch = img[3], .matte = img[4], .old_matte = img[5], .alpha = img[6],
                               .edit_grow = j->args->edit_grow, .colour = r->has_colour ? &r->colour : NULL, .light = r->has_light ? r->light : NULL };
    TR_TRY(tr_eval_row(e->value, &in));
    TR_TRY(tr_sha256_new(&hash));
    TR_TRY(tr_sha256_add(hash, img[1]->data, tr_image_bytes(img[1])));
    TR_TRY(tr_sha256_hex(hash, e->sha256));
    if (j->args->html) TR_TRY(tr_eval_view(e, &in));
done:
    tr_sha256_free(hash);
    for (int k = 0; k < N_FILE; k++) tr_image_free(img[k]);
    return st == TRESS_OK ? st : tr_note(st, "measuring %s", r->files.result);
}

static tress_status check(tress *t, const tress_eval_args *a, char **report)
{
    if (!t || !a || !report) return tr_fail(TRESS_E_ARG, "tress_eval: handle, args and a place for the report must be given");
    if (!a->data != !a->results) return tr_fail(TRESS_E_ARG, "%s needs %s", a->data ? "--data" : "--results", a->data ? "--results, the folder of what was drawn" : "--data");
    if (a->data && (a->photo || a->result || a->truth || a->sketch || a->matte || a->old_matte || a->alpha))
        return tr_fail(TRESS_E_ARG, "--data names a folder of pictures; --photo, --result and the others name one");
    if (!a->data && (!a->photo || !a->matte || !a->result))
        return tr_fail(TRESS_E_ARG, "--photo, --matte and --result are needed, or --data and --results");
    return TRESS_OK;
}

#define CHUNK 16                                /* pictures between two looks at the cancel hook */

static tress_status write_text(const char *path, tress_status (*make)(tr_str *, const tr_eval_table *), const tr_eval_table *t)
{
    tress_status st = TRESS_OK;
    tr_str text = { .max = (size_t)1 << 30 };
    TR_TRY(make(&text, t));
    TR_TRY(tr_file_write(path, text.s, text.len));
done:
    tr_str_fini(&text);
    return st;
}

static tress_status page(tr_str *out, const tr_eval_table *t) { return tr_eval_html(out, t, "tress eval"); }

void tress_eval_defaults(tress_eval_args *args)
{
    if (args) *args = (tress_eval_args){ .edit_grow = -1 };
}

typedef struct part { eval_job *j; int64_t first; } part;

static tress_status measure_part(void *self, int64_t i, int i_thread)
{
    const part *p = self;
    return measure(p->j, p->first + i, i_thread);
}

tress_status tress_eval(tress *t, const tress_eval_args *a, char **report)
{
    tress_status st = check(t, a, report);
    eval_job j = { .args = a };
    tr_str json = { .max = (size_t)1 << 30 };
    if (st != TRESS_OK) return st;
    TR_TRY(a->data ? list_folder(&j, t) : list_one(&j));
    for (int i = 0; i < j.table.n; i++) {
        row_job *r = &j.row[i];
        if (a->colour) TR_TRY(tr_wanted_read(&r->colour, a->colour));
        r->has_colour |= a->colour != NULL;
        if (a->has_light) memcpy(r->light, a->light, sizeof r->light);
        r->has_light |= a->has_light;
    }
    TR_TRY(tr_stage_begin(&j.stage, &t->host, "eval", j.table.n));
    for (int64_t i = 0; i < j.table.n; i += CHUNK) {
        const int64_t n = j.table.n - i < CHUNK ? j.table.n - i : CHUNK;
        TR_TRY(tr_parallel(tr_device_threads(t->host.device), n, measure_part, &(part){ &j, i }));
        tr_stage_done(&j.stage, i + n);
        if (t->host.hooks.cancelled && t->host.hooks.cancelled(t->host.hooks.self)) TR_TRY(tr_fail(TRESS_E_CANCELLED, "interrupted"));
    }
    TR_TRY(tr_eval_json(&json, &j.table));
    if (a->csv) TR_TRY(write_text(a->csv, tr_eval_csv, &j.table));
    if (a->html) TR_TRY(write_text(a->html, page, &j.table));
    *report = json.s;
    json = (tr_str){ 0 };
done:
    tr_stage_end(&j.stage);
    for (int i = 0; i < j.table.n; i++) files_fini(&j.row[i].files);
    tr_free(j.row);
    tr_eval_table_fini(&j.table);
    tr_str_fini(&json);
    return st;
}
