#include "api/api_int.h"
#include "synth/synth.h"

#include <stdio.h>
#include <string.h>

/* What a style option may mean: one style, or all of a kind. */
typedef struct choice { int style[32], n; } choice;

static tress_status choose(choice *out, const char *word)
{
    const int n = tr_synth_style_count();
    choice c = { .n = 0 };
    TR_ASSERT(n <= 32);
    if (!word) return *out = (choice){ { -1 }, 1 }, TRESS_OK;
    for (int i = 0; i < n; i++) {
        const bool plait = tr_synth_style_is_plait(i);
        if (strcmp(word, tr_synth_style_name(i)) == 0 || (plait && strcmp(word, "braids") == 0) || (!plait && strcmp(word, "open") == 0)) c.style[c.n++] = i;
    }
    if (c.n == 0) {
        tr_str names = { 0 };
        tress_status st = TRESS_OK;
        for (int i = 0; i < n && st == TRESS_OK; i++) st = tr_str_printf(&names, ", %s", tr_synth_style_name(i));
        if (st == TRESS_OK) st = tr_fail(TRESS_E_ARG, "style \"%s\", expected open, braids%s", word, names.s);
        tr_str_fini(&names);
        return st;
    }
    *out = c;
    return TRESS_OK;
}

static tress_status write_planes(const char *to, const char *folder, uint64_t seed, tr_planes p)
{
    tress_status st = TRESS_OK;
    tr_image *img = NULL;
    tr_str path = { 0 };
    TR_TRY(tr_str_printf(&path, "%s/%s/%08" PRIu64 ".png", to, folder, seed));
    TR_TRY(tr_planes_image(&img, p, 8));
    TR_TRY(tr_image_write(img, path.s, NULL));
done:
    tr_image_free(img);
    tr_str_fini(&path);
    return st;
}

typedef struct batch {
    const tress_synth_args *args;
    choice    choice;
    int       size;
    uint64_t  first;
    tr_str   *line;                             /* [n] of scenes.jsonl */
} batch;

static tress_status draw_one(void *self, int64_t i, int i_thread)
{
    (void)i_thread;
    batch *b = self;
    tress_status st = TRESS_OK;
    tr_synth_picture p = { 0 };
    const uint64_t seed = b->first + (uint64_t)i;
    TR_TRY(tr_synth_draw(&p, seed, b->choice.style[seed % (uint64_t)b->choice.n], b->size));
    TR_TRY(write_planes(b->args->to, "img", seed, p.photo));
    TR_TRY(write_planes(b->args->to, "matte", seed, p.matte));
    TR_TRY(write_planes(b->args->to, "sketch", seed, p.sketch));
    if (b->args->bald) TR_TRY(write_planes(b->args->to, "bald", seed, p.bald));
    TR_TRY(tr_str_printf(&b->line[i], "{\"seed\": %" PRIu64 ", \"name\": \"%08" PRIu64 "\", \"caption\": \"%s\", \"style\": \"%s\", \"colour\": \"%s\", "
                         "\"light\": [%.4f, %.4f, %.4f], \"strokes\": %d}\n", seed, seed, p.caption, p.style, p.colour,
                         (double)p.light[0], (double)p.light[1], (double)p.light[2], p.n_stroke));
done:
    tr_synth_picture_fini(&p);
    return st;
}

static tress_status make_folders(const tress_synth_args *a)
{
    static const char *const name[] = { "img", "matte", "sketch", "bald" };
    for (int i = 0; i < (a->bald ? 4 : 3); i++) {
        char *path = NULL;
        tress_status st = tr_path_join(&path, a->to, name[i]);
        if (st == TRESS_OK) st = tr_dir_make(path);
        tr_free(path);
        if (st != TRESS_OK) return st;
    }
    return TRESS_OK;
}

#define CHUNK 16                                /* pictures between two looks at the cancel hook */

tress_status tress_synth(tress *t, const tress_synth_args *a)
{
    tress_status st = TRESS_OK;
    tr_str all = { .max = (size_t)1 << 30 }, line[CHUNK] = { { 0 } };
    char *path = NULL;
    tr_stage stage = { 0 };
    uint64_t seed = a->seed;
    batch b = { .args = a, .size = a->size ? a->size : 256, .line = line };
    if (!a->to) TR_TRY(tr_fail(TRESS_E_ARG, "synth needs a folder to write to"));
    if (a->count < 1) TR_TRY(tr_fail(TRESS_E_ARG, "count %d, expected at least 1", a->count));
    if (a->seed_random) {
        TR_TRY(tr_random_seed(&seed));
        seed %= 100000000;
    }
    if (seed > UINT64_MAX - (uint64_t)a->count) TR_TRY(tr_fail(TRESS_E_ARG, "seed %" PRIu64 " leaves no room for %d pictures", seed, a->count));
    TR_TRY(choose(&b.choice, a->style));
    TR_TRY(make_folders(a));
    TR_TRY(tr_path_join(&path, a->to, "scenes.jsonl"));
    TR_TRY(tr_stage_begin(&stage, &t->host, "synth", a->count));
    for (int64_t i = 0; i < a->count; i += CHUNK) {
        const int64_t n = a->count - i < CHUNK ? a->count - i : CHUNK;
        b.first = seed + (uint64_t)i;
        TR_TRY(tr_parallel(tr_device_threads(t->host.device), n, draw_one, &b));
        for (int k = 0; k < (int)n; k++) {
            TR_TRY(tr_str_add(&all, line[k].s, line[k].len));
            tr_str_fini(&line[k]);
        }
        tr_stage_done(&stage, i + n);
        if (t->host.hooks.cancelled && t->host.hooks.cancelled(t->host.hooks.self)) {
            TR_TRY(tr_file_write(path, all.s, all.len));
            TR_TRY(tr_fail(TRESS_E_SAVED, "interrupted after %" PRId64 " of %d pictures", i + n, a->count));
        }
    }
    TR_TRY(tr_file_write(path, all.s, all.len));
done:
    tr_stage_end(&stage);
    for (int k = 0; k < CHUNK; k++) tr_str_fini(&line[k]);
    tr_str_fini(&all);
    tr_free(path);
    return st;
}
