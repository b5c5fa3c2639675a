#include "api/train_int.h"

#include <string.h>

#define COLUMNS 6
#define CELL_MAX 384
#define ITEMS_MAX 64

struct tr_train_sheets {
    tr_bundle *m;
    const tress_train_args *a;
    const tr_prepare_spec  *spec;
    tr_image  *fixed[ITEMS_MAX][COLUMNS];       /* sketch, matte, photo, base: the same on every sheet */
    tr_image  *control[ITEMS_MAX];              /* the control picture as training sees it */
    tress_hooks hooks;                          /* the caller's, while drawings have none */
    int        i_drawn, n_draw;                 /* of the sheet that is being drawn, the base's pictures before the first one with it; 0: none */
    double     begin;
};

tress_status tr_train_sheets_new(tr_train_sheets **out, tr_bundle *m, const tress_train_args *a, const tr_prepare_spec *spec)
{
    tress_status st = TRESS_OK;
    void *p = NULL;
    TR_TRY(tr_alloc(&p, sizeof **out));
    *out = p;
    **out = (tr_train_sheets){ .m = m, .a = a, .spec = spec };
done:
    return st;
}

static void drop_item(tr_train_sheets *k, int i)
{
    for (int c = 0; c < COLUMNS; c++) tr_image_free(k->fixed[i][c]);
    tr_image_free(k->control[i]);
    memset(k->fixed[i], 0, sizeof k->fixed[i]);
    k->control[i] = NULL;
}

void tr_train_sheets_free(tr_train_sheets *k)
{
    if (!k) return;
    for (int i = 0; i < ITEMS_MAX; i++) drop_item(k, i);
    tr_free(k);
}

/* Zero text and zero pooled vector as in training, no guidance; or words that were encoded beforehand. */
static tress_generate_args args_for(const tr_train_sheets *k, int i)
{
    tress_generate_args g;
    tress_generate_defaults(&g);
    g.n_step = k->a->sample_steps;
    g.cfg_scale = 1;
    g.seed = k->a->seed + (uint64_t)i;
    g.zero_text = !k->a->sample_embeds;
    g.embeds_in = k->a->sample_embeds;
    g.zero_text_rows = k->a->zero_text_rows;
    g.control_range = k->a->control_range;
    g.control_last = k->a->control_last;
    g.control_pooled = TRESS_POOLED_ZERO;
    return g;
}

/* A sheet takes minutes where a step takes seconds: what it is at is told drawing by drawing. */
static void tell(const tr_train_sheets *k)
{
    const double seconds = tr_seconds() - k->begin;
    if (k->hooks.progress)
        k->hooks.progress(k->hooks.self, &(tress_progress){ .stage = "sheet", .i = k->i_drawn, .n = k->n_draw, .seconds = seconds,
                                                            .left = k->i_drawn ? seconds / k->i_drawn * (k->n_draw - k->i_drawn) : -1 });
}

/* The picture moves from the result to *out. */
static tress_status draw(tr_image **out, tr_train_sheets *k, const tress_generate_args *g)
{
    tress_status st = TRESS_OK;
    tr_result *r = NULL;
    TR_TRY(tr_draw(&r, k->m, g));
    k->i_drawn++;
    tell(k);
    *out = r->image[0];
    r->image[0] = NULL;
done:
    tr_result_free(r);
    return st;
}

static tress_status draw_from_sketch(tr_image **out, tr_train_sheets *k, int i)
{
    tress_generate_args g = args_for(k, i);
    g.sketch = k->control[i];
    g.control_image = TRESS_CONTROL_RAW;        /* it is the control picture already */
    g.width = k->control[i]->width;
    g.height = k->control[i]->height;
    return draw(out, k, &g);
}

static tress_status prepare_item(tr_train_sheets *k, int i, const tr_data_item *item)
{
    tress_status st = TRESS_OK;
    tr_prepared p = { 0 };
    tr_image *img[TR_DATA_KINDS] = { NULL };
    char hash[65];
    drop_item(k, i);                            /* a drawing that failed is begun anew */
    for (int j = 0; j < TR_DATA_KINDS; j++) TR_TRY(tr_data_load(&img[j], hash, item->path[j]));
    TR_TRY(tr_prepare(&p, k->spec, img, item->name, false, 0));
    TR_TRY(tr_planes_image(&k->control[i], p.control, 8));
    k->fixed[i][0] = img[TR_DATA_SKETCH];
    k->fixed[i][1] = img[TR_DATA_MATTE];
    k->fixed[i][2] = img[TR_DATA_IMG];
    memset(img, 0, sizeof img);
    TR_TRY(draw_from_sketch(&k->fixed[i][3], k, i));
done:
    for (int j = 0; j < TR_DATA_KINDS; j++) tr_image_free(img[j]);
    tr_prepared_fini(&p);
    return st;
}

static tress_status draw_into_photo(tr_image **out, tr_train_sheets *k, int i)
{
    tress_generate_args g = args_for(k, i);
    g.sketch = k->fixed[i][0];
    g.matte = k->fixed[i][1];
    g.photo = k->fixed[i][2];
    g.control_image = k->a->control_image;
    g.width = k->control[i]->width;
    g.height = k->control[i]->height;
    return draw(out, k, &g);
}

static tress_status draw_sheet(tr_train_sheets *k, tr_image **out, const tr_data_item *const *item, int n)
{
    static const char *const title[COLUMNS] = { "sketch", "matte", NULL, "base", "LoRA", "in the photo" };
    tress_status st = TRESS_OK;
    tr_image *own[ITEMS_MAX][2] = { { NULL } };
    const tr_image *picture[ITEMS_MAX * COLUMNS];
    const char *label[ITEMS_MAX * COLUMNS];
    for (int i = 0; i < n; i++) {
        TR_TRY(draw_from_sketch(&own[i][0], k, i));
        TR_TRY(draw_into_photo(&own[i][1], k, i));
        for (int c = 0; c < COLUMNS; c++) {
            picture[i * COLUMNS + c] = c < 4 ? k->fixed[i][c] : own[i][c - 4];
            label[i * COLUMNS + c] = title[c] ? title[c] : item[i]->name;
        }
    }
    const int side = k->spec->resolution;
    TR_TRY(tr_sheet(out, picture, label, n * COLUMNS, COLUMNS, side < CELL_MAX ? side : CELL_MAX));
done:
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 2; c++) tr_image_free(own[i][c]);
    return st;
}

tress_status tr_train_sheets_draw(tr_train_sheets *k, tr_image **out, const tr_data_item *const *item, int n, bool bare)
{
    tress_status st = TRESS_OK;
    const tress_hooks hooks = k->m->host->hooks;
    TR_ASSERT(n <= ITEMS_MAX);
    if (k->i_drawn == k->n_draw) {                                                              /* a sheet begins */
        k->i_drawn = 0;
        k->n_draw = bare ? 3 * n : 2 * n;
        k->begin = tr_seconds();
    }
    k->hooks = hooks;
    k->m->host->hooks = (tress_hooks){ .self = hooks.self, .cancelled = hooks.cancelled };     /* the sheet tells, not each drawing */
    if (k->i_drawn == 0) tell(k);
    if (bare)
        for (int i = 0; st == TRESS_OK && i < n; i++) st = prepare_item(k, i, item[i]);
    else st = draw_sheet(k, out, item, n);
    k->m->host->hooks = hooks;
    return st == TRESS_OK || st == TRESS_E_CANCELLED ? st : tr_note(st, "drawing the sample sheet");
}
